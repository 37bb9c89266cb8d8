"""ls and show: models, datasets, their versions and files."""

import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ingot.client._errors import Invalid, NotFound
from ingot.client._references import KINDS, Reference, TreeReference, parse_tree
from ingot.client.cli import formats, named, versions
from ingot.client.cli.command import Command, Parser, declare_limit
from ingot.client.cli.output import Listing, Output
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.v1 import catalog_pb2, transfer_pb2

_CARD_BYTES = 200_000  # of a README.md that are shown


class Ls(Command):
    """List models and datasets, newest first; the files of one when a reference is given.

    A filter joins values (tag:chat, language = fa, framework != onnx), comparisons of size_bytes,
    version_count, create_time and update_time (size_bytes > 10MB) and words to search for with AND, OR, NOT
    and brackets; AND may be left out.
    """

    examples = (
        "ingot ls datasets --filter 'tag:chat size_bytes>10MB'",
        "ingot ls models --versions --sort 'size_bytes desc' --limit 10",
    )
    what: str
    filter: str
    sort: str
    versions: bool
    deleted: bool
    limit: int
    page: int

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("what", nargs="?", default="", metavar="KIND|REF", help="models, datasets or one")
        parser.add_argument("--filter", default="", metavar="F", help="only those that match")
        parser.add_argument(
            "--sort",
            default="",
            metavar="F",
            help="name, create_time, update_time, size_bytes, version_count; and ' desc'",
        )
        parser.add_argument(
            "--versions", action="store_true", help="with their versions; of a REF, all of its"
        )
        parser.add_argument("--deleted", action="store_true", help="the trash; of a REF, its versions there")
        declare_limit(parser)
        parser.add_argument("--page", type=int, default=1, metavar="N", help="page N, of --limit rows each")

    def run(self, shell: Shell) -> int:
        if self.page < 1 or (self.page > 1 and not self.limit):
            raise Invalid(
                f"--page: expected 1 or more, of --limit rows each; got {self.page} of {self.limit} rows.",
                reason="USAGE",
                next_step="Write for example: ingot ls datasets --limit 10 --page 2",
            )
        listing = Listing(shell.out, self.limit, self.page)
        if self.what and self.what not in KINDS:
            self._of_one(shell, listing)
            return 0
        if self.deleted:
            self._trash(shell, listing)
            return 0
        found = shell.client.catalog.list(
            self.what,
            namespace=self.namespace or None,
            filter=self.filter,
            order_by=self.sort,
            versions=self.versions,
            limit=listing.wanted,
        )
        if self.versions:
            versions.show_all(listing, found)
        else:
            show_artifacts(listing, found)
        return 0

    def _trash(self, shell: Shell, listing: Listing) -> None:
        """List what is in the trash: models and datasets, then single versions of others."""
        catalog, namespace = shell.client.catalog, self.namespace or None
        whole = catalog.list(
            self.what,
            namespace=namespace,
            filter=self.filter,
            order_by=self.sort,
            limit=listing.wanted,
            deleted=True,
        )
        single = catalog.trashed_versions(self.what, namespace=namespace, limit=listing.wanted)
        found: Iterator[catalog_pb2.Artifact | catalog_pb2.Version] = itertools.chain(whole, single)
        heading = ("NAME", "VERSIONS", "DELETED", "UID")
        listing.show(found, heading, _deleted_row, lambda each: named.short(each.name))

    def _of_one(self, shell: Shell, listing: Listing) -> None:
        """List versions of one, in the trash or not, or the files of the one that is named."""
        if self.versions or self.deleted:
            found = shell.client.catalog.versions(self.what, deleted=self.deleted, limit=listing.wanted)
            versions.show_list(listing, found, deleted=self.deleted)
            return
        files = shell.client.uploads.files(self.what, limit=listing.wanted)
        listing.show(files, ("PATH", "SIZE", "FORMAT", "CHUNKS"), _file_row, lambda file: file.path)


def show_artifacts(listing: Listing, found: "Iterable[catalog_pb2.Artifact]") -> None:
    """Print models and datasets, one a row."""
    heading = ("NAME", "VERSION", "SIZE", "FORMAT", "LANGUAGE", "DOWNLOADS", "UPDATED")
    listing.show(found, heading, _artifact_row, lambda artifact: named.short(artifact.name))


class Show(Command):
    """Show a model or dataset with its versions and aliases, one version of it, or one file.

    With --card its card alone, or the README.md of its newest version. With --summary what the files of a
    version say: facts, files by format, tensors, damage.
    """

    examples = ("ingot show datasets/chat", "ingot show datasets/chat@1 --summary")
    ref: str | None
    id: str | None
    card: bool
    summary: bool
    tensors: int

    @classmethod
    def declare(cls, parser: Parser) -> None:
        named.declare(parser, "datasets/NAME, models/NAME@VERSION, REF:PATH", "-i", "-id", "--id")
        parser.add_argument("--card", action="store_true", help="its card: the Markdown text about it")
        parser.add_argument("--summary", action="store_true", help="what the files of a version say")
        parser.add_argument(
            "--tensors", type=int, default=20, metavar="N", help="most tensors of a summary (20)"
        )

    def run(self, shell: Shell) -> int:
        text = named.chosen(self.ref, self.id)
        if self.card:
            return _card(shell, text)
        if self.summary:
            from ingot.client.cli import summaries

            told = shell.client.versions.summary(text, max_tensors=self.tensors)
            name = named.short(told.version)
            shell.out.document(told, name, lambda: summaries.show(shell.out, told))
            return 0
        found = parse_tree(text)
        catalog = shell.client.catalog
        if found.path:
            file = shell.client.uploads.file(found)
            shell.out.document(file, file.path, lambda: _show_file(shell.out, file))
        elif isinstance(found, TreeReference):
            tree_upload(shell, found)
        elif found.version or found.alias:
            version = catalog.version(found)
            name = named.short(version.name)
            shell.out.document(version, name, lambda: versions.show(shell.out, version))
        else:
            artifact = catalog.get(found, versions=True)
            name = named.short(artifact.name)
            shell.out.document(artifact, name, lambda: _show_artifact(shell, artifact, found))
        return 0


def _card(shell: Shell, ref: str) -> int:
    """Print the card of an artifact as it is, so that it can be edited and given back; else its README.md."""
    artifact = shell.client.catalog.get(ref)
    name = named.short(artifact.name)
    if artifact.card or shell.out.json or shell.out.quiet:
        shell.out.document(artifact, name, lambda: shell.out.line(artifact.card))
        return 0
    shell.out.note(f"It has no card of its own: ingot edit {name} --card FILE")
    if artifact.current_version:
        try:
            file = f"{artifact.current_version}:README.md"
            text = b"".join(shell.client.read(file, length=_CARD_BYTES + 1))
        except NotFound:
            return 0
        shell.out.text(text[:_CARD_BYTES].decode(errors="ignore"))
        if len(text) > _CARD_BYTES:
            shell.out.note(f"It goes on after {_CARD_BYTES:,} bytes: ingot cat {name}:README.md")
    return 0


def tree_upload(shell: Shell, found: TreeReference) -> None:
    """Show a checkpoint or an upload."""
    if found.name.startswith("uploads/"):
        import ingot.client.cli.uploads as uploads

        upload = shell.client.uploads.get(found.name)
        shell.out.document(upload, upload.name, lambda: uploads.show(shell.out, upload))
        return
    import ingot.client.cli.job_records as job_records

    job_records.show_checkpoint(shell, found.name)


def _artifact_row(artifact: "catalog_pb2.Artifact") -> tuple[str, ...]:
    return (
        named.short(artifact.name),
        artifact.current_version.rpartition("/")[2] or "-",
        formats.size(artifact.size_bytes),
        artifact.format or "-",
        artifact.language or "-",
        formats.count(artifact.usage.download_count),
        formats.moment(artifact.update_time),
    )


def _deleted_row(gone: "catalog_pb2.Artifact | catalog_pb2.Version") -> tuple[str, ...]:
    from ingot.v1 import catalog_pb2 as pb

    name, when = named.short(gone.name), formats.moment(gone.delete_time)
    if isinstance(gone, pb.Version):
        return name, "-", when, "-"
    return name, formats.count(gone.version_count), when, gone.uid


def _file_row(file: "transfer_pb2.FileEntry") -> tuple[str, ...]:
    return file.path, formats.size(file.size_bytes), file.format or "-", formats.count(file.chunk_count)


def _show_artifact(shell: Shell, artifact: "catalog_pb2.Artifact", ref: Reference) -> None:
    from ingot.v1 import catalog_pb2 as pb

    usage = artifact.usage
    first = f"{named.first_by(usage)} from {usage.first_downloaded_from}" if usage.download_count else ""
    current, stored = artifact.current_version.rpartition("/")[2], artifact.stored_bytes
    people = formats.plural(usage.unique_users, "user")
    shell.out.facts(
        {
            "name": named.short(artifact.name),
            "title": artifact.display_name,
            "description": artifact.description,
            "card": f"ingot show {ref} --card" if artifact.card else "",
            "tags": ", ".join(artifact.tags),
            "language": artifact.language,
            "license": artifact.license,
            "framework": artifact.framework,
            "task": artifact.task_type,
            "type": artifact.model_type,
            "format": artifact.format,
            "source": artifact.source,
            **versions.facts_of(artifact),
            "requirements": versions.pairs(artifact.requirements),
            "metadata": versions.pairs(artifact.metadata),
            "visibility": formats.word(pb.Visibility.Name(artifact.visibility), "VISIBILITY"),
            "status": formats.word(pb.ArtifactLifecycle.Name(artifact.lifecycle), "ARTIFACT_LIFECYCLE"),
            "validation": _policy(artifact.validation) if artifact.HasField("validation") else "",
            "owner": named.user(artifact.owner),
            "size": f"{formats.size(artifact.size_bytes)} in version {current}" if current else "",
            "stored": f"{formats.size(stored)} for all versions" if stored else "",
            "downloads": formats.count(usage.download_count),
            "accesses": f"{formats.count(usage.access_count)} by {people}",
            "first download": first,
            "registered": _fetch(artifact.fetch) if artifact.HasField("fetch") else "",
            "created": formats.moment(artifact.create_time),
            "updated": formats.moment(artifact.update_time),
        }
    )
    if artifact.versions:
        shell.out.line()
        shell.out.table([versions.HEADING, *(versions.row(version) for version in artifact.versions)])
    if artifact.version_count > len(artifact.versions):
        shell.out.note(f"The newest {len(artifact.versions)} of {artifact.version_count} versions.")
    if not artifact.versions:
        how = f"ingot import {ref}" if artifact.HasField("fetch") else f"ingot push {ref} PATH"
        shell.out.note(f"No version yet: {how}")


def _policy(policy: "catalog_pb2.ValidationPolicy") -> str:
    """Return what versions must pass before others see them."""
    from ingot.v1 import catalog_pb2 as pb

    mode = formats.word(pb.ValidationMode.Name(policy.mode), "VALIDATION_MODE")
    when = {"required": "required", "none": "on request"}.get(mode, "as the server is set")
    rules = []
    for field, value in policy.rules.ListFields():
        shown = ",".join(value) if field.is_repeated else str(value).lower()
        rules.append(f"{field.name}={shown}")
    return "\n".join([when, *rules])


def _fetch(fetch: "catalog_pb2.Fetch") -> str:
    """Return where a registered artifact is fetched from, and how far that is."""
    from ingot.v1 import catalog_pb2 as pb

    state = formats.word(pb.FetchState.Name(fetch.state), "FETCH_STATE")
    percent = f" {fetch.download_progress:.0%}" if state == "fetching" else ""
    lines = [fetch.original_url, f"{state}{percent}" + (f" by {fetch.operation}" if fetch.operation else "")]
    lines += [f"in {fetch.local_path}"] if fetch.local_path else []
    lines += [fetch.problem.message] if fetch.HasField("problem") else []
    return "\n".join(line for line in lines if line)


def _show_file(out: Output, file: "transfer_pb2.FileEntry") -> None:
    out.facts(
        {
            "path": file.path,
            "size": f"{formats.size(file.size_bytes)} ({formats.plural(file.size_bytes, 'byte')})",
            "format": file.format,
            "root": f"blake3:{file.root.hex()}",
            "blake3": file.blake3,
            "sha256": file.sha256,
            "verified": "yes" if file.verified else "no",
            "chunks": f"{formats.count(file.chunk_count)} ({file.profile})",
        }
    )
