"""What one file says about a version, from its header or its beginning: for the server itself, so bounded.

Only formats whose headers tell everything are read here (safetensors, GGUF, ONNX, the pickle of a PyTorch zip
step by step), and the beginnings of data files. All else, and what is too much, is left to a validation,
which runs in a process of its own and reads everything. The source decides how much may be read: it raises
TooCostly.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ingot.server.core.contents import ContentFinding, FileSummary, TensorInfo, TooCostly
from ingot.server.core.facts import LARGEST, MOST_COLUMNS
from ingot.server.core.params import FileReport, Rules
from ingot.server.formats import (
    data_files,
    facts,
    model_gguf,
    model_onnx,
    model_safetensors,
    model_torch,
    registry,
    torch_tensors,
)
from ingot.server.formats import zip_entries as zips
from ingot.server.formats.data_files import DataFile, NoRows
from ingot.server.formats.facts import FileFacts
from ingot.server.formats.findings import FindingSink
from ingot.server.formats.pickle_pieces import Damaged
from ingot.server.formats.seam import HEAD_BYTES, BinarySource, Family, Head, Inspection

COUNTED = 4 * 1024 * 1024  # bytes up to which the records of a file are counted; else they are estimated
_SAMPLE = 32 * 1024  # bytes of rows at each of some places by which they are
_FINDINGS = 20
_LEFT = "Its tensors are told by a validation."
_COSTLY = "Reading on would take too much here; a validation tells the rest."
_CHECKS = {each.NAME: each.check for each in (model_safetensors, model_gguf, model_onnx)}
_ZIP_BROKEN = (Damaged, *zips.BROKEN)


@dataclass(slots=True)
class Summary:
    """What a file says, the tensors that were asked for, and what is wrong with it."""

    file: FileSummary
    facts: FileFacts
    tensors: list[TensorInfo] = field(default_factory=list)
    findings: list[ContentFinding] = field(default_factory=list)
    cut: bool = False  # it was too much to read: what is told is less than the file says


def may_tell(path: str, *, model: bool) -> bool:
    """Return whether a file of this name may add facts to a model, or to a dataset."""
    name = path.removesuffix(".gz")
    wanted = Family.MODEL if model else Family.DATA
    return any(each.family is wanted for each in registry.by_name(name))


def of_model_file(path: str, source: BinarySource, most: int, pause: Callable[[], None]) -> Summary:
    """Return what a file of a model says, with at most so many tensors.

    `pause` is called now and then. Raises what the source raises, but TooCostly.
    """
    tensors: list[TensorInfo] = []

    def note(name: str, dtype: str, shape: Sequence[int]) -> None:
        if len(tensors) < most:
            sizes = tuple(min(each, LARGEST) for each in shape)
            tensors.append(TensorInfo(path, name[:500].encode("utf-8", "replace").decode(), dtype, sizes))

    sink = FindingSink(path, _FINDINGS)
    name, report = "", FileReport(path=path, size_bytes=source.size)
    left = ""
    try:
        head = Head(source.read(HEAD_BYTES), source.size)
        source.seek(0)
        name = registry.find(path, head).format.name
        if name in _CHECKS:
            inspection = Inspection(path, source, Rules(), sink, lambda _: pause(), Path(), tensor=note)
            report = _CHECKS[name](inspection)
        elif name == model_torch.NAME and head.data.startswith(zips.MAGIC):
            report, left = _torch(report, source, note, pause)
        else:
            left = _LEFT
    except TooCostly:
        left = _COSTLY
    except Exception as failure:  # the parsers are strict, but what strangers send must not break an answer
        if not isinstance(failure, ValueError | LookupError | TypeError | ArithmeticError | RecursionError):
            raise
        sink.error("check_failed", f"Reading it broke with {type(failure).__name__}: it is damaged.")
    told = facts.of_file(report.model_copy(update={"format": name}))
    return Summary(_summary(told, source.size, left), told, tensors, _findings(sink), left == _COSTLY)


def of_data_file(path: str, source: BinarySource, pause: Callable[[], None]) -> Summary:
    """Return what a data file says. `pause` and raises as of_model_file."""
    sink = FindingSink(path, _FINDINGS)
    told, left = FileFacts(path, ""), ""
    try:
        opened = data_files.open_data(path, source, pause)
        told = _data(path, opened)
        sink = opened.findings if opened.packed else sink
    except TooCostly:
        left = _COSTLY
    except NoRows as none:
        left = str(none)
    return Summary(_summary(told, source.size, left), told, [], _findings(sink), left == _COSTLY)


def _torch(
    report: FileReport,
    source: BinarySource,
    note: Callable[[str, str, Sequence[int]], None],
    pause: Callable[[], None],
) -> tuple[FileReport, str]:
    try:
        found = torch_tensors.read(source, pause)
    except torch_tensors.Unreadable as why:
        return report, f"{why} {_LEFT}"
    except _ZIP_BROKEN as failure:
        return report, f"The zip cannot be read: {failure} {_LEFT}"[:300]
    for name, tensor in found.items():
        note(name, tensor.dtype, tensor.shape)
    return report.model_copy(update={"statistics": torch_tensors.statistics(found)}), ""


def _data(path: str, opened: DataFile) -> FileFacts:
    size = opened.source.size
    if size <= COUNTED and not opened.packed:
        return FileFacts(path, opened.format, records=data_files.count(opened), columns=_columns(opened))
    columns = _columns(opened)
    if opened.packed:  # its size is not known, so nothing can be estimated
        return FileFacts(path, opened.format, columns=columns)
    size_of_row = data_files.mean_row(opened, _SAMPLE)
    records = round((size - opened.begin) / size_of_row) if size_of_row else 0
    return FileFacts(path, opened.format, records=records, estimated=True, columns=columns)


def _columns(opened: DataFile) -> tuple[str, ...]:
    """Return the columns of CSV, or the keys of the first rows."""
    names = opened.columns or data_files.first_keys(itertools.islice(opened.rows(), 50))
    return tuple(names[:MOST_COLUMNS])


def _summary(told: FileFacts, size: int, left: str) -> FileSummary:
    return FileSummary(
        told.path,
        told.format,
        size,
        told.parameters,
        told.tensors,
        tuple(told.dtypes),
        told.architecture,
        told.records,
        told.estimated,
        told.columns,
        left,
    )


def _findings(sink: FindingSink) -> list[ContentFinding]:
    return [ContentFinding(each.path, each.reason, each.message, each.byte_offset) for each in sink.kept]
