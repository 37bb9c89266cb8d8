"""edit, tag and rm: change what is said about a model or dataset, or move it to the trash."""

from typing import TYPE_CHECKING

from ingot.client._errors import Invalid
from ingot.client.cli import formats, named, trash, values
from ingot.client.cli.command import FLAGS_WITH_VALUE, Command, Parser, declare_yes
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from google.protobuf import struct_pb2

    from ingot.v1 import catalog_pb2

_TEXTS = {
    "display_name": "title in any script",
    "description": "one paragraph",
    "language": "BCP 47 code, for example fa; several with commas",
    "license": "SPDX id or name",
    "framework": "for example pytorch",
    "task_type": "for example text-generation",
    "model_type": "llm, stt, tts, classifier",
    "source": "manual, huggingface, training, url",
    "visibility": "private, internal or public",
}

_AS_FOR_PUSH = {"display_name": ("--title",), "task_type": ("--task",), "model_type": ("--type",)}


class Edit(Command):
    """Change what is said about a model or dataset, or about one version of it. Only what is named changes.

    An empty text clears a field, the value null removes a key of --meta and --metric. The files of a version
    never change.
    """

    examples = (
        "ingot edit datasets/chat --language fa,en --description 'Small talk in two languages'",
        "ingot edit datasets/chat@1 -m 'First collection' --metric agreement=0.93",
    )
    ref: str | None
    id: str | None
    card: str | None
    status: str | None
    validation: str | None
    rule: list[str]
    changelog: str | None
    meta: list[str]
    metric: list[str]
    etag: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        named.declare(parser, "datasets/NAME, or models/NAME@VERSION", "-i", "-id", "--id")
        for field, text in _TEXTS.items():
            also = _AS_FOR_PUSH.get(field, ())
            parser.add_argument(f"--{field.replace('_', '-')}", *also, metavar="TEXT", help=text)
        parser.add_argument("--card", metavar="FILE", help="Markdown file about it")
        parser.add_argument(
            "--lifecycle",
            "--status",
            "-status",
            dest="status",
            metavar="WORD",
            help="active, deprecated, archived",
        )
        parser.add_argument(
            "--validation",
            choices=("required", "none", "server"),
            help="whether new versions must pass one before others see them",
        )
        parser.add_argument(
            "--rule",
            action="append",
            default=[],
            metavar="K=V",
            help="what they must pass, instead of the rules before (repeat); see ingot validate",
        )
        parser.add_argument("-m", "--changelog", metavar="TEXT", help="of a version: what changed")
        parser.add_argument(
            "--meta", action="append", default=[], metavar="K=V", help="of a version: keep with it (repeat)"
        )
        parser.add_argument(
            "--metric",
            action="append",
            default=[],
            metavar="K=V",
            help="of a version: how good it is (repeat)",
        )
        parser.add_argument("--etag", default="", metavar="ETAG", help="only if nobody changed it since")

    def run(self, shell: Shell) -> int:
        ref = named.chosen(self.ref, self.id)
        said = {field: value for field in _TEXTS if isinstance(value := getattr(self, field), str)}
        if self.card is not None:
            with open(self.card, encoding="utf-8") as file:
                said["card"] = file.read()
        if self.status is not None:
            said["lifecycle"] = self.status
        if self.changelog is not None or self.meta or self.metric:
            return self._version(shell, ref, of_artifact=bool(said or self.rule or self.validation))
        if not said and not self.rule and self.validation is None:
            raise Invalid(
                "There is nothing to change.",
                reason="USAGE",
                next_step="Name a field, for example --description TEXT",
            )
        from ingot.client._catalog import artifact_fields

        fields = artifact_fields(**said)  # type: ignore[arg-type]  # all of these are texts
        paths, etag = sorted(said), self.etag
        if self.rule or self.validation is not None:
            before = shell.client.catalog.get(ref)
            fields.validation.CopyFrom(self._policy(before.validation))
            paths, etag = [*paths, "validation"], etag or before.etag
        changed = shell.client.catalog.update(ref, fields, paths, etag=etag)
        name = named.short(changed.name)
        shell.out.document(changed, name, lambda: shell.out.line(name))
        return 0

    def _version(self, shell: Shell, ref: str, *, of_artifact: bool) -> int:
        """Change what is said about a version."""
        from ingot.client._references import parse_artifact

        found = parse_artifact(ref)
        if of_artifact or not (found.version or found.alias):
            raise Invalid(
                "Changelog, metadata and metrics belong to a version; the other fields do not.",
                reason="USAGE",
                next_step=f"Name a version and only these, for example {found.kind}/{found.artifact}@latest",
            )
        before = shell.client.catalog.version(found)
        changed = shell.client.versions.update(
            before.name,
            changelog=self.changelog,
            metadata=_merged(before.metadata, values.pairs(self.meta, "--meta")),
            metrics=_merged(before.performance_metrics, values.pairs(self.metric, "--metric")),
            etag=self.etag or before.etag,
        )
        name = named.short(changed.name)
        shell.out.document(changed, name, lambda: shell.out.line(name))
        return 0

    def _policy(self, before: "catalog_pb2.ValidationPolicy") -> "catalog_pb2.ValidationPolicy":
        """Return the policy with the mode and the rules that are given, others as they were."""
        from ingot.client._catalog import validation_policy
        from ingot.client.cli import validating

        mode = before.mode if self.validation is None else validation_policy(self.validation).mode
        rules = validating.rules_of(self.rule, quarantine=False) if self.rule else before.rules
        policy = validation_policy(rules=rules)
        policy.mode = mode
        return policy


def _merged(before: "struct_pb2.Struct", changes: dict[str, object]) -> dict[str, object] | None:
    """Return what a structure holds with changes, None removing a key; None when nothing changes."""
    if not changes:
        return None
    from google.protobuf import json_format

    found: dict[str, object] = json_format.MessageToDict(before)
    return {key: value for key, value in (found | changes).items() if value is not None}


class Tag(Command):
    """Add and remove tags of a model or dataset."""

    examples = ("ingot tag datasets/chat +persian +chat", "ingot tag datasets/chat -draft +reviewed")
    ref: str
    changes: list[str]

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("ref", metavar="REF", help="datasets/NAME or models/NAME")
        parser.add_argument("changes", nargs="+", metavar="+TAG|-TAG", help="what to add and to remove")

    @classmethod
    def arranged(cls, words: list[str]) -> list[str]:
        flags: list[str] = []
        rest: list[str] = []
        at = 0
        while at < len(words):
            word = words[at]
            if word in FLAGS_WITH_VALUE:
                flags += words[at : at + 2]
                at += 1
            elif word.startswith(("--", "-server=")) or word in ("-h", "-q"):
                flags.append(word)
            else:
                rest.append(word)
            at += 1
        return [*flags, "--", *rest]

    def run(self, shell: Shell) -> int:
        wrong = [change for change in self.changes if change[:1] not in ("+", "-") or len(change) < 2]
        if wrong:
            raise Invalid(
                f"Expected +TAG or -TAG, got {wrong[0]!r}.",
                reason="USAGE",
                next_step=f"Write for example: ingot tag {self.ref} +{wrong[0].lstrip('+-') or 'chat'}",
            )
        catalog = shell.client.catalog
        artifact = catalog.get(self.ref)
        tags = list(artifact.tags)
        for change in self.changes:
            tag = change[1:]
            if change[0] == "+" and tag not in tags:
                tags.append(tag)
            elif change[0] == "-" and tag in tags:
                tags.remove(tag)
        from ingot.client._catalog import artifact_fields

        changed = catalog.update(self.ref, artifact_fields(tags=tags), ["tags"], etag=artifact.etag)
        name = named.short(changed.name)
        shell.out.document(
            changed, name, lambda: shell.out.line(f"{name}: {', '.join(changed.tags) or 'no tags'}")
        )
        return 0


class Rm(Command):
    """Move a model or dataset with all its versions to the trash, or only one version of it."""

    examples = ("ingot rm models/tiny --yes", "ingot rm datasets/chat@1 --yes")
    ref: str | None
    id: str | None
    force: bool
    yes: bool

    @classmethod
    def declare(cls, parser: Parser) -> None:
        named.declare(parser, "datasets/NAME, or models/NAME@VERSION", "-i", "-id", "--id")
        parser.add_argument(
            "--force", action="store_true", help="also when training jobs, models or aliases name it"
        )
        declare_yes(parser)

    def run(self, shell: Shell) -> int:
        found = trash.reference(named.chosen(self.ref, self.id))
        if found.version:
            return trash.remove_version(shell, found, force=self.force, yes=self.yes)
        catalog = shell.client.catalog
        lost = catalog.delete(found, force=True, validate_only=True)
        name = named.short(lost.artifact.name)
        to = "is removed" if lost.artifact.HasField("fetch") else "goes to the trash"
        loss = (
            f"{name} {to} with {formats.plural(lost.version_count, 'version')}"
            f" ({formats.size(lost.size_bytes)})."
        )
        if lost.dependants:
            loss += f" These name it: {', '.join(map(named.short, lost.dependants))}."
        if not shell.confirm(loss, self.yes):
            return 8
        deleted = catalog.delete(found, force=self.force or not lost.dependants, etag=lost.artifact.etag)
        done = loss.replace(" goes ", " went ", 1).replace(" is removed ", " was removed ", 1)
        shell.out.document(deleted, name, lambda: shell.out.line(done))
        return 0
