"""Summaries and previews of versions between the wire and the rules."""

from ingot.server.core.contents import FileSummary, Part, Row, VersionSummary, WantedRows
from ingot.server.core.errors import invalid_field
from ingot.server.core.facts import LARGEST
from ingot.server.rpc import convert_comparing, convert_facts
from ingot.server.rpc.content_reading import MOST_TENSORS, Shown
from ingot.v1 import catalog_pb2 as pb

_TENSORS = 200
_ROWS, _MOST_ROWS = 20, 200
_PARTS = {
    pb.PREVIEW_PART_UNSPECIFIED: Part.FIRST,
    pb.PREVIEW_PART_FIRST: Part.FIRST,
    pb.PREVIEW_PART_LAST: Part.LAST,
    pb.PREVIEW_PART_RANDOM: Part.RANDOM,
}


def tensors_of(asked: int) -> int:
    """Return how many tensors to list. Raises Invalid (FIELD_INVALID)."""
    return _count("max_tensors", asked, _TENSORS, MOST_TENSORS)


def wanted_rows_of(request: pb.PreviewVersionRequest) -> WantedRows:
    """Return which rows to show. Raises Invalid (FIELD_INVALID)."""
    if request.part not in _PARTS:
        raise invalid_field("part", f"expected a PreviewPart, got {request.part}")
    return WantedRows(_PARTS[request.part], _count("rows", request.rows, _ROWS, _MOST_ROWS), request.seed)


def summary_message(found: VersionSummary) -> pb.VersionSummary:
    """Return what the files of a version say."""
    kind = found.version.artifact.kind
    return pb.VersionSummary(
        version=str(found.version),
        digest=f"blake3:{found.digest.hex()}",
        model=convert_facts.model_facts(found.facts, kind),
        dataset=convert_facts.dataset_facts(found.facts, kind),
        formats=[
            pb.FormatShare(format=each.format, file_count=each.files, size_bytes=each.size_bytes)
            for each in found.formats
        ],
        files=map(_file, found.files),
        tensors=[
            pb.TensorInfo(path=each.path, name=each.name, dtype=each.dtype, shape=each.shape)
            for each in found.tensors
        ],
        findings=[
            pb.ContentFinding(
                path=each.path, reason=each.reason, message=each.message, byte_offset=each.byte_offset
            )
            for each in found.findings
        ],
        complete=found.complete,
    )


def preview_message(found: Shown) -> pb.PreviewVersionResponse:
    """Return rows of a file."""
    return pb.PreviewVersionResponse(
        version=str(found.look.name),
        path=found.path,
        format=found.preview.format,
        columns=found.preview.columns,
        rows=map(_row, found.preview.rows),
        sampling=_sampling(found),
        data_file_count=found.data_files,
    )


def _sampling(found: Shown) -> pb.PreviewSampling.ValueType:
    name = found.preview.sampling.name
    return pb.PreviewSampling.Value(f"PREVIEW_SAMPLING_{'UNSPECIFIED' if name == 'NONE' else name}")


def _row(row: Row) -> pb.PreviewRow:
    return pb.PreviewRow(
        number=row.number,
        byte_offset=row.offset,
        value=None if row.value is None else convert_comparing.value_of(row.value),
        text=row.text,
        problem=row.problem,
    )


def _file(each: FileSummary) -> pb.FileSummary:
    return pb.FileSummary(
        path=each.path,
        format=each.format,
        size_bytes=each.size_bytes,
        parameter_count=min(each.parameters, LARGEST),
        tensor_count=min(each.tensors, LARGEST),
        dtypes=each.dtypes,
        architecture=each.architecture,
        record_count=each.records,
        estimated=each.estimated,
        columns=each.columns,
        note=each.note,
    )


def _count(field: str, asked: int, default: int, most: int) -> int:
    if asked < 0:
        raise invalid_field(
            field, f"expected 0 or more, got {asked}", next_step=f"Leave it out for {default}."
        )
    return min(asked, most) or default
