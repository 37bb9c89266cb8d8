"""restore and purge: take things back out of the trash, or remove them for good."""

from typing import TYPE_CHECKING

from ingot.client._errors import Invalid
from ingot.client._references import Reference, parse_tree
from ingot.client.cli import formats, named
from ingot.client.cli.command import Command, Parser, declare_yes
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from google.protobuf.struct_pb2 import Struct


class Restore(Command):
    """Take a model or dataset, or one version of it, back out of the trash."""

    examples = ("ingot restore models/tiny", "ingot restore datasets/chat@1")
    ref: str
    uid: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("ref", metavar="REF", help="the name it had, or datasets/NAME@VERSION")
        parser.add_argument(
            "--uid", default="", metavar="UID", help="which of several of that name, else the last"
        )

    def run(self, shell: Shell) -> int:
        found, catalog = reference(self.ref), shell.client.catalog
        if found.version:
            version = catalog.restore_version(found)
            name = named.short(version.name)
            shell.out.document(version, name, lambda: shell.out.line(f"{name} is back."))
            return 0
        artifact = catalog.restore(found, uid=self.uid)
        name = named.short(artifact.name)
        count = formats.plural(artifact.version_count, "version")
        shell.out.document(artifact, name, lambda: shell.out.line(f"{name} is back with {count}."))
        return 0


class Purge(Command):
    """Remove a model or dataset, or one version, that is in the trash for good.

    With --versions all versions of one that are in the trash, while it is not there itself.
    """

    examples = ("ingot purge datasets/chat@1 --yes", "ingot purge datasets/chat --versions --yes")
    ref: str
    uid: str
    versions: bool
    yes: bool

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("ref", metavar="REF", help="the name it had, or models/NAME@VERSION")
        parser.add_argument(
            "--uid", default="", metavar="UID", help="which of several of that name, else the last"
        )
        parser.add_argument("--versions", action="store_true", help="only versions that are in the trash")
        declare_yes(parser)

    def run(self, shell: Shell) -> int:
        found, catalog = reference(self.ref), shell.client.catalog
        if found.version and (self.versions or self.uid):
            raise Invalid(
                f"{self.ref} is one version; --versions and --uid are about all of {found.artifact}.",
                reason="USAGE",
                next_step="Leave out the flag, or the version.",
            )
        if found.version:
            one = catalog.purge_version(found, validate_only=True)
            what, size, dependants = str(found), one.size_bytes, one.dependants
        else:
            going = catalog.purge(found, uid=self.uid, versions_only=self.versions, validate_only=True)
            what = f"{formats.plural(going.version_count, 'version')} of {found}"
            size, dependants = going.size_bytes, going.dependants
        loss = f"{what} ({formats.size(size)}) cannot be taken back after this."
        if dependants:
            loss += f" These were made from it, or need it: {', '.join(map(named.short, dependants))}."
        if not shell.confirm(loss, self.yes):
            return 8
        if found.version:
            operation = catalog.purge_version(found).operation
        else:
            operation = catalog.purge(found, uid=self.uid, versions_only=self.versions).operation
        done = shell.client.operations.wait(operation)
        text = f"Removed {what}: {_released(done.result)} that nothing else of its namespace needs."
        shell.out.document(done, str(found), lambda: shell.out.line(text))
        if not shell.out.quiet:
            shell.out.note(
                "The disk has them when collections found them unneeded for collect_grace_seconds."
            )
        return 0


def reference(text: str) -> Reference:
    """Return the artifact or version that is meant. Raises Invalid for files, aliases and other trees."""
    found = parse_tree(text)
    if not isinstance(found, Reference) or found.path or found.alias:
        raise Invalid(
            f"Expected a model or dataset, or one of its versions; got {text!r}.",
            reason="USAGE",
            next_step="Write for example: datasets/chat or datasets/chat@2",
        )
    return found


def remove_version(shell: Shell, found: Reference, *, force: bool, yes: bool) -> int:
    """Move one version to the trash, after asking."""
    catalog = shell.client.catalog
    lost = catalog.delete_version(found, validate_only=True)
    name = named.short(lost.version.name)
    loss = f"{name} goes to the trash ({formats.size(lost.version.size_bytes)})."
    if lost.dependants:
        loss += f" These name it: {', '.join(map(named.short, lost.dependants))}."
    if not shell.confirm(loss, yes):
        return 8
    gone = catalog.delete_version(found, force=force, etag=lost.version.etag)
    done = loss.replace(" goes ", " went ", 1)
    shell.out.document(gone, name, lambda: shell.out.line(done))
    return 0


def _released(result: "Struct") -> str:
    return formats.size(result.fields["released_bytes"].number_value)
