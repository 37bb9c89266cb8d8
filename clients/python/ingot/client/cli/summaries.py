"""What the files of a version say, for people."""

from typing import TYPE_CHECKING

from ingot.client.cli import formats, named, versions
from ingot.client.cli.output import Output

if TYPE_CHECKING:
    from ingot.v1 import catalog_pb2


def show(out: Output, told: "catalog_pb2.VersionSummary") -> None:
    """Print a summary."""
    validated = told.model.validated or told.dataset.validated
    out.facts(
        {
            "version": named.short(told.version),
            "digest": told.digest,
            **versions.facts_of(told),
            "read": "all of it, by a validation" if validated else "headers and beginnings",
        }
    )
    if told.formats:
        out.line()
        rows = [
            (each.format or "-", formats.count(each.file_count), formats.size(each.size_bytes))
            for each in told.formats
        ]
        out.table([("FORMAT", "FILES", "SIZE"), *rows])
    if told.files:
        out.line()
        out.table([("FILE", "FORMAT", "SIZE", "HOLDS"), *map(_file_row, told.files)])
    if told.tensors:
        out.line()
        tensors = [
            (each.name, each.dtype, "x".join(map(str, each.shape)) or "1", each.path) for each in told.tensors
        ]
        out.table([("TENSOR", "TYPE", "SHAPE", "FILE"), *tensors])
        if len(told.tensors) < told.model.tensor_count:
            out.note(f"The first {len(told.tensors)} tensors of {told.model.tensor_count}; see --tensors.")
    for finding in told.findings:
        place = f", byte {finding.byte_offset}" if finding.HasField("byte_offset") else ""
        out.warn(f"{finding.path}{place}: {finding.message}")
    for file in told.files:
        if file.note:
            out.note(f"{file.path}: {file.note}")
    if not told.complete:
        out.note(f"A validation tells the rest: ingot validate {named.short(told.version)}")


def _file_row(file: "catalog_pb2.FileSummary") -> tuple[str, ...]:
    return (file.path, file.format or "-", formats.size(file.size_bytes), _holds(file) or "-")


def _holds(file: "catalog_pb2.FileSummary") -> str:
    if file.tensor_count:
        tensors = formats.plural(file.tensor_count, "tensor")
        return f"{formats.count(file.parameter_count)} parameters in {tensors} ({', '.join(file.dtypes)})"
    if file.HasField("record_count"):
        return f"{'about ' if file.estimated else ''}{formats.plural(file.record_count, 'record')}"
    return ""
