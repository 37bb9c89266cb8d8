"""edit, tag and rm: change what is said about a model or dataset, or move it to the trash."""

from dataclasses import replace
from typing import TYPE_CHECKING

from ingot.client._errors import Invalid
from ingot.client._references import Reference, parse_artifact
from ingot.client.cli import describing, formats, named, trash, values
from ingot.client.cli.command import FLAGS_WITH_VALUE, Command, Parser, declare_yes
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.v1 import catalog_pb2


class Edit(describing.Describing):
    """Change what is said about a model or dataset, or about one version of it. Only what is named changes.

    An empty text clears a field, the value null removes a key of --meta, --metric and --requirement. The
    files of a version never change.
    """

    examples = (
        "ingot edit datasets/chat --language fa,en --description 'Small talk in two languages'",
        "ingot edit datasets/chat@1 -m 'First collection' --metric agreement=0.93",
    )
    ref: str | None
    id: str | None
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
        cls.declare_words(parser)
        parser.add_argument(
            "--lifecycle",
            "--status",
            "-status",
            dest="status",
            metavar="WORD",
            help="active (or ready), deprecated, archived",
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
            "--meta", action="append", default=[], metavar="K=V", help="keep with it (repeat)"
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
        found = parse_artifact(ref)
        of_version = bool(found.version or found.alias)
        meta = values.pairs(self.meta, "--meta")
        words = self.words([], {} if of_version else meta)
        if self.status is not None:
            words = replace(words, texts={**words.texts, "lifecycle": self.status})
        of_artifact = bool(words.paths or self.rule or self.validation is not None)
        if of_artifact if of_version else self.changelog is not None or self.metric:
            raise _misplaced(found)
        if of_version and (self.changelog is not None or self.metric or meta):
            changed: catalog_pb2.Artifact | catalog_pb2.Version = self._of_version(shell, found, meta)
        elif of_artifact:
            changed = self._of_artifact(shell, found, words)
        else:
            raise Invalid(
                "There is nothing to change.",
                reason="USAGE",
                next_step="Name a field, for example --description TEXT",
            )
        name = named.short(changed.name)
        shell.out.document(changed, name, lambda: shell.out.line(name))
        return 0

    def _of_artifact(self, shell: Shell, ref: Reference, words: describing.Words) -> "catalog_pb2.Artifact":
        """Change what is said about an artifact; where that depends on what is there, over what was read."""
        catalog, policy = shell.client.catalog, bool(self.rule or self.validation is not None)
        if not (words.adds or policy):
            return catalog.update(ref, words.over(), words.paths, etag=self.etag)

        def change() -> "catalog_pb2.Artifact":
            before = catalog.get(ref)
            fields, paths = words.over(before), words.paths
            if policy:
                fields.validation.CopyFrom(self._policy(before.validation))
                paths = [*paths, "validation"]
            return catalog.update(ref, fields, paths, etag=self.etag or before.etag)

        return change() if self.etag else describing.retried(change)

    def _of_version(self, shell: Shell, ref: Reference, meta: dict[str, object]) -> "catalog_pb2.Version":
        """Change what is said about a version."""
        metrics = values.pairs(self.metric, "--metric")
        named_first: list[str] = []  # an alias may move meanwhile

        def change() -> "catalog_pb2.Version":
            before = shell.client.catalog.version(named_first[0] if named_first else ref)
            named_first.append(before.name)
            return shell.client.versions.update(
                before.name,
                changelog=self.changelog,
                metadata=describing.merged(before.metadata, meta) if meta else None,
                metrics=describing.merged(before.performance_metrics, metrics) if metrics else None,
                etag=self.etag or before.etag,
            )

        return change() if self.etag else describing.retried(change)

    def _policy(self, before: "catalog_pb2.ValidationPolicy") -> "catalog_pb2.ValidationPolicy":
        """Return the policy with the mode and the rules that are given, others as they were."""
        from ingot.client._catalog import validation_policy
        from ingot.client.cli import validating

        mode = before.mode if self.validation is None else validation_policy(self.validation).mode
        rules = validating.rules_of(self.rule, quarantine=False) if self.rule else before.rules
        policy = validation_policy(rules=rules)
        policy.mode = mode
        return policy


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
        changed = describing.retried(lambda: self._change(shell))
        name = named.short(changed.name)
        shell.out.document(
            changed, name, lambda: shell.out.line(f"{name}: {', '.join(changed.tags) or 'no tags'}")
        )
        return 0

    def _change(self, shell: Shell) -> "catalog_pb2.Artifact":
        from ingot.client._catalog import artifact_fields

        catalog = shell.client.catalog
        artifact = catalog.get(self.ref)
        tags = list(artifact.tags)
        for change in self.changes:
            tag = change[1:]
            if change[0] == "+" and tag not in tags:
                tags.append(tag)
            elif change[0] == "-" and tag in tags:
                tags.remove(tag)
        return catalog.update(self.ref, artifact_fields(tags=tags), ["tags"], etag=artifact.etag)


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


def _misplaced(found: Reference) -> Invalid:
    """Return the error for what belongs to the whole and was said of a version, or the other way round."""
    whole = replace(found, version="", alias="", path="")
    kind = found.kind.removesuffix("s")
    if found == whole:
        return Invalid(
            "Changelog and metrics belong to a version.",
            reason="USAGE",
            next_step=f"Name the version: ingot edit {whole}@latest …",
        )
    return Invalid(
        f"A version has a changelog, metrics and metadata of its own; all else belongs to the whole {kind}.",
        reason="USAGE",
        next_step=f"Say it without the version: ingot edit {whole} …",
    )
