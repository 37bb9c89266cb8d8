"""ls and show: models, datasets, their versions and files."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ingot.client._errors import Invalid
from ingot.client._references import KINDS, Reference, TreeReference, parse_tree
from ingot.client.cli import formats, named
from ingot.client.cli.command import Command, Parser, declare_limit
from ingot.client.cli.output import Listing, Output
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from google.protobuf import struct_pb2

    from ingot.v1 import catalog_pb2, transfer_pb2


class Ls(Command):
    """List models and datasets, newest first; the files of one when a reference is given.

    A filter joins values (tag:chat, language = fa, framework != onnx), comparisons of size_bytes,
    version_count, create_time and update_time (size_bytes > 10MB) and words to search for with AND, OR, NOT
    and brackets; AND may be left out.
    """

    examples = (
        "ingot ls datasets --filter 'tag:chat size_bytes>10MB'",
        "ingot ls models --sort 'size_bytes desc' --limit 10",
    )
    what: str
    filter: str
    sort: str
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
        parser.add_argument("--deleted", action="store_true", help="those in the trash instead")
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
        if self.deleted:
            return self._trash(shell, listing)
        if self.what and self.what not in KINDS:
            files = shell.client.uploads.files(self.what, limit=listing.wanted)
            listing.show(files, ("PATH", "SIZE", "FORMAT", "CHUNKS"), _file_row, lambda file: file.path)
            return 0
        found = shell.client.catalog.list(
            self.what,
            namespace=self.namespace or None,
            filter=self.filter,
            order_by=self.sort,
            limit=listing.wanted,
        )
        show_artifacts(listing, found)
        return 0

    def _trash(self, shell: Shell, listing: Listing) -> int:
        """List what is in the trash: models and datasets, or the versions of one."""
        catalog = shell.client.catalog
        if self.what and self.what not in KINDS:
            versions = catalog.versions(self.what, deleted=True, limit=listing.wanted)
            heading = ("NAME", "SIZE", "CREATED", "DELETED")
            listing.show(versions, heading, _deleted_version_row, lambda version: named.short(version.name))
            return 0
        found = catalog.list(
            self.what,
            namespace=self.namespace or None,
            filter=self.filter,
            order_by=self.sort,
            limit=listing.wanted,
            deleted=True,
        )
        heading = ("NAME", "VERSIONS", "DELETED", "UID")
        listing.show(found, heading, _deleted_row, lambda artifact: named.short(artifact.name))
        return 0


def show_artifacts(listing: Listing, found: "Iterable[catalog_pb2.Artifact]") -> None:
    """Print models and datasets, one a row."""
    heading = ("NAME", "VERSION", "SIZE", "FORMAT", "LANGUAGE", "DOWNLOADS", "UPDATED")
    listing.show(found, heading, _artifact_row, lambda artifact: named.short(artifact.name))


class Show(Command):
    """Show a model or dataset with its versions and aliases, one version of it, or one file.

    With --summary what the files of a version say: facts, files by format, tensors, damage.
    """

    examples = ("ingot show datasets/chat", "ingot show datasets/chat@1 --summary")
    ref: str | None
    id: str | None
    summary: bool
    tensors: int

    @classmethod
    def declare(cls, parser: Parser) -> None:
        named.declare(parser, "datasets/NAME, models/NAME@VERSION, REF:PATH", "-i", "-id", "--id")
        parser.add_argument("--summary", action="store_true", help="what the files of a version say")
        parser.add_argument(
            "--tensors", type=int, default=20, metavar="N", help="most tensors of a summary (20)"
        )

    def run(self, shell: Shell) -> int:
        text = named.chosen(self.ref, self.id)
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
            shell.out.document(version, name, lambda: _show_version(shell.out, version))
        else:
            artifact = catalog.get(found, versions=True)
            name = named.short(artifact.name)
            shell.out.document(artifact, name, lambda: _show_artifact(shell, artifact, found))
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


def _deleted_row(artifact: "catalog_pb2.Artifact") -> tuple[str, ...]:
    return (
        named.short(artifact.name),
        formats.count(artifact.version_count),
        formats.moment(artifact.delete_time),
        artifact.uid,
    )


def _deleted_version_row(version: "catalog_pb2.Version") -> tuple[str, ...]:
    return (
        named.short(version.name),
        formats.size(version.size_bytes),
        formats.moment(version.create_time),
        formats.moment(version.delete_time),
    )


def _file_row(file: "transfer_pb2.FileEntry") -> tuple[str, ...]:
    return file.path, formats.size(file.size_bytes), file.format or "-", formats.count(file.chunk_count)


def _show_artifact(shell: Shell, artifact: "catalog_pb2.Artifact", ref: Reference) -> None:
    from ingot.v1 import catalog_pb2 as pb

    usage = artifact.usage
    first = f"{usage.first_downloaded_by} from {usage.first_downloaded_from}" if usage.download_count else ""
    current, stored = artifact.current_version.rpartition("/")[2], artifact.stored_bytes
    people = formats.plural(usage.unique_users, "user")
    shell.out.facts(
        {
            "name": named.short(artifact.name),
            "title": artifact.display_name,
            "description": artifact.description,
            "tags": ", ".join(artifact.tags),
            "language": artifact.language,
            "license": artifact.license,
            "framework": artifact.framework,
            "task": artifact.task_type,
            "type": artifact.model_type,
            "format": artifact.format,
            "source": artifact.source,
            **facts_of(artifact),
            "requirements": _pairs(artifact.requirements),
            "metadata": _pairs(artifact.metadata),
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
        heading = ("VERSION", "ALIASES", "SIZE", "NEW", "FILES", "STATE", "CREATED", "CHANGES")
        shell.out.table([heading, *(_version_row(version) for version in artifact.versions)])
    if artifact.version_count > len(artifact.versions):
        shell.out.note(f"The newest {len(artifact.versions)} of {artifact.version_count} versions.")
    if not artifact.versions:
        how = f"ingot import {ref}" if artifact.HasField("fetch") else f"ingot push {ref} PATH"
        shell.out.note(f"No version yet: {how}")


def facts_of(
    said: "catalog_pb2.Artifact | catalog_pb2.Version | catalog_pb2.VersionSummary",
) -> dict[str, str]:
    """Return what was read from the files, by the name of each fact."""
    found: dict[str, str] = {}
    if said.HasField("model"):
        model = said.model
        count = formats.plural(model.tensor_count, "tensor")
        found |= {
            "architecture": model.architecture,
            "parameters": f"{formats.count(model.parameter_count)} in {count}" if model.tensor_count else "",
            "types": ", ".join(model.dtypes),
        }
    if said.HasField("dataset"):
        data = said.dataset
        about = "about " if data.estimated else ""
        found |= {
            "records": f"{about}{formats.count(data.record_count)}" if data.record_count else "",
            "columns": ", ".join(data.columns),
        }
    return found


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


def _state(version: "catalog_pb2.Version") -> str:
    """Return the state of a version, and of its approval where somebody asked for one."""
    from ingot.v1 import catalog_pb2 as pb

    state = formats.word(pb.VersionState.Name(version.state), "VERSION_STATE")
    if not version.approval:
        return state
    return f"{state}, {formats.word(pb.ApprovalState.Name(version.approval), 'APPROVAL_STATE')}"


def _version_row(version: "catalog_pb2.Version") -> tuple[str, ...]:

    return (
        version.name.rpartition("/")[2],
        ", ".join(version.aliases) or "-",
        formats.size(version.size_bytes),
        formats.size(version.new_bytes),
        formats.count(version.file_count),
        _state(version),
        formats.moment(version.create_time),
        version.changelog.partition("\n")[0] or "-",
    )


def _show_version(out: Output, version: "catalog_pb2.Version") -> None:

    origin = version.origin
    out.facts(
        {
            "name": named.short(version.name),
            "state": _state(version),
            "aliases": ", ".join(version.aliases),
            "digest": version.digest,
            "format": version.format,
            **facts_of(version),
            "files": formats.count(version.file_count),
            "size": formats.size(version.size_bytes),
            "new": f"{formats.size(version.new_bytes)} were not there before",
            "changes": version.changelog,
            "metadata": _pairs(version.metadata),
            "metrics": _pairs(version.performance_metrics),
            "made by": origin.training_job or origin.operation or origin.upload,
            "fetched from": origin.source,
            "commit": origin.hub_commit,
            "last validation": version.last_validation,
            "learned from": named.short(origin.dataset_version),
            "started from": named.short(origin.base_version),
            "creator": named.user(version.creator),
            "created": formats.moment(version.create_time),
            "stored as": version.storage_uri,
        }
    )


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


def _pairs(struct: "struct_pb2.Struct") -> str:
    from google.protobuf import json_format

    values: dict[str, object] = json_format.MessageToDict(struct)
    return "\n".join(f"{key} = {_plain(value)}" for key, value in sorted(values.items()))


def _plain(value: object) -> str:
    if isinstance(value, dict | list):
        from ingot.client.cli import plain

        return plain.dumps(plain.whole(value))
    return f"{value:g}" if isinstance(value, float) else str(value)
