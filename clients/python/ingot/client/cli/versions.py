"""Versions as rows of lists, and one version with all that is said about it."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ingot.client.cli import formats, named
from ingot.client.cli.output import Listing, Output

if TYPE_CHECKING:
    from google.protobuf import struct_pb2

    from ingot.v1 import catalog_pb2

HEADING = ("VERSION", "ALIASES", "SIZE", "NEW", "FILES", "STATE", "CREATED", "CHANGES")
_EMPTY = ("-",) * (len(HEADING) - 1)
_MOST_WHOLE = 2.0**53  # numbers of free structures are doubles: above, their digits are not all meant


def show_all(listing: Listing, found: "Iterable[catalog_pb2.Artifact]") -> None:
    """Print models and datasets with their newest versions, one a row."""
    more: list[str] = []

    def rows(artifact: "catalog_pb2.Artifact") -> Iterator[tuple[str, ...]]:
        name = named.short(artifact.name)
        if artifact.version_count > len(artifact.versions):
            more.append(name)
        for version in artifact.versions:
            yield name, *row(version)
        if not artifact.versions:
            yield name, "-", *_EMPTY

    listing.show_rows(found, ("NAME", *HEADING), rows, _names)
    for name in more:
        listing.out.note(f"{name} has more versions: ingot ls {name} --versions")


def show_list(listing: Listing, found: "Iterable[catalog_pb2.Version]", *, deleted: bool) -> None:
    """Print versions of one artifact, those in the trash with when they went there."""
    if deleted:
        listing.show(found, ("NAME", "SIZE", "CREATED", "DELETED"), _deleted_row, _name)
    else:
        listing.show(found, HEADING, row, _name)


def _state(version: "catalog_pb2.Version") -> str:
    """Return the state of a version, and of its approval where somebody asked for one."""
    from ingot.v1 import catalog_pb2 as pb

    state = formats.word(pb.VersionState.Name(version.state), "VERSION_STATE")
    if not version.approval:
        return state
    return f"{state}, {formats.word(pb.ApprovalState.Name(version.approval), 'APPROVAL_STATE')}"


def row(version: "catalog_pb2.Version") -> tuple[str, ...]:
    """Return the cells of a version, see HEADING."""
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


def show(out: Output, version: "catalog_pb2.Version") -> None:
    """Print what is said about a version."""
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
            "metadata": pairs(version.metadata),
            "metrics": pairs(version.performance_metrics),
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


def _deleted_row(version: "catalog_pb2.Version") -> tuple[str, ...]:
    return (
        _name(version),
        formats.size(version.size_bytes),
        formats.moment(version.create_time),
        formats.moment(version.delete_time),
    )


def _name(version: "catalog_pb2.Version") -> str:
    return named.short(version.name)


def _names(artifact: "catalog_pb2.Artifact") -> list[str]:
    return [_name(version) for version in artifact.versions]


def pairs(struct: "struct_pb2.Struct") -> str:
    """Return keys and values, one a line."""
    from google.protobuf import json_format

    values: dict[str, object] = json_format.MessageToDict(struct)
    return "\n".join(f"{key} = {_plain(value)}" for key, value in sorted(values.items()))


def _plain(value: object) -> str:
    from ingot.client.cli import plain

    if isinstance(value, dict | list) or (isinstance(value, float) and abs(value) < _MOST_WHOLE):
        return plain.dumps(plain.whole(value))
    return str(value)
