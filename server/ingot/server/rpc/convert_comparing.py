"""What differs between versions, and the history of aliases, between the wire and the rules."""

from google.protobuf import struct_pb2

from ingot.server.core.artifacts import AliasMove
from ingot.server.core.comparing import ChangeKind, FileChange, FileTotals, ValueChange
from ingot.server.core.json_values import JsonValue
from ingot.server.core.names import ArtifactName
from ingot.server.domain.version_changes import Comparison, VersionChange
from ingot.server.rpc import convert_catalog
from ingot.server.rpc import convert_common as common
from ingot.v1 import catalog_pb2 as pb

_TOTALS = (
    *("added", "removed", "changed", "same", "added_bytes", "removed_bytes"),
    *("changed_bytes_before", "changed_bytes_after", "same_bytes"),
)


def change_of(request: pb.UpdateVersionRequest, change: VersionChange) -> VersionChange:
    """Return `change` with what an update says. Raises Invalid (FIELD_INVALID)."""
    message = request.version
    return VersionChange(
        change.reference,
        message.changelog,
        convert_catalog.json_of(message.metadata, "version.metadata"),
        convert_catalog.json_of(message.performance_metrics, "version.performance_metrics"),
        tuple(request.update_mask.paths),
        tuple(field.name for field, _ in message.ListFields()),
        message.etag,
    )


def comparison_message(found: Comparison) -> pb.CompareVersionsResponse:
    """Return what differs."""
    return pb.CompareVersionsResponse(
        base=convert_catalog.version_message(found.base) if found.base else None,
        other=convert_catalog.version_message(found.other) if found.other else None,
        metadata=map(_value_change, found.metadata),
        performance_metrics=map(_value_change, found.metrics),
        totals=_totals(found.totals) if found.totals else None,
        files=map(_file_change, found.files.items),
        next_page_token=found.files.next_token,
    )


def move_message(artifact: ArtifactName, move: AliasMove) -> pb.AliasMove:
    """Return one move of an alias of an artifact."""
    return pb.AliasMove(
        version=str(artifact.version(move.version)) if move.version else "",
        previous=str(artifact.version(move.previous)) if move.previous else "",
        time=common.timestamp(move.time),
        moved_by=move.moved_by,
    )


def value_of(value: JsonValue) -> struct_pb2.Value:
    """Return a JSON value as a message."""
    held = convert_catalog.struct_of({"value": value})
    return held.fields["value"] if held else struct_pb2.Value()


def _value_change(change: ValueChange) -> pb.ValueChange:
    return pb.ValueChange(
        path=change.path,
        change=_kind(change.kind),
        before=None if change.kind is ChangeKind.ADDED else value_of(change.before),
        after=None if change.kind is ChangeKind.REMOVED else value_of(change.after),
        difference=change.difference,
    )


def _file_change(change: FileChange) -> pb.FileChange:
    return pb.FileChange(
        path=change.path,
        change=_kind(change.kind),
        size_before=change.size_before,
        size_after=change.size_after,
        root_before=_root(change.root_before),
        root_after=_root(change.root_after),
    )


def _totals(totals: FileTotals) -> pb.FileTotals:
    return pb.FileTotals(**{name: getattr(totals, name) for name in _TOTALS})


def _kind(kind: ChangeKind) -> pb.ChangeKind.ValueType:
    return pb.ChangeKind.Value(f"CHANGE_KIND_{kind.name}")


def _root(root: bytes) -> str:
    return f"blake3:{root.hex()}" if root else ""
