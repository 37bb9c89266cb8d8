"""What a validator is: a function that reads one file as a stream and tells what it found.

    registry.find(path, head, size) → Match → match.format.validate(Inspection) → FileReport

A validator reads `inspection.source`, a seekable binary file that may be a local file or ranged reads of a
tree, so it reads forward in large pieces and seeks seldom. It holds bounded memory whatever the size, loads
and runs nothing of the content, puts what it finds into `inspection.findings` with its exact place, and calls
`inspection.progress` with the number of bytes checked so far, which may raise to stop it. Broken content is a
finding and never an exception; an exception means that the file could not be read.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable

from ingot.server.core.params import FileReport, Rules
from ingot.server.formats.findings import FindingSink
from ingot.server.formats.quarantine import Quarantine

HEAD_BYTES = 64 * 1024  # of the beginning of a file, by which its format is told
READ_BYTES = 1024 * 1024

Progress = Callable[[int], None]  # bytes of the file checked so far
TensorNote = Callable[[str, str, Sequence[int]], None]  # name, type and shape of a tensor that was met


def _unheard(name: str, dtype: str, shape: Sequence[int]) -> None:
    pass


@runtime_checkable
class BinarySource(Protocol):
    """A seekable binary file that is only read; `zipfile` and `io.BufferedReader` take it too."""

    @property
    def size(self) -> int:
        """Bytes of the file; an estimate for what is unpacked on the way."""

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, at most `size`; fewer only at the end, and none there."""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a position and return it."""

    def tell(self) -> int:
        """Return the position."""

    def seekable(self) -> bool:
        """Return True."""


class Positioned:
    """What sources of a known size have in common: where they stand, and how one goes elsewhere."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._position = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a position and return it; before the beginning is there."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seekable(self) -> bool:
        """Return True: what takes a file asks for it."""
        return True


class FileSource(io.FileIO):
    """A local file as a source."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "rb")
        self.size = path.stat().st_size


@dataclass(frozen=True, slots=True)
class Inspection:
    """One file to check, and where the outcome goes."""

    path: str  # in the version
    source: BinarySource
    rules: Rules
    findings: FindingSink
    progress: Progress
    folder: Path  # for scratch files of this check; removed with it
    quarantine: Quarantine | None = None  # takes good and bad records, when rules ask for it
    tensor: TensorNote = _unheard  # hears of tensors, of the formats whose header lists them


Validator = Callable[[Inspection], FileReport]


class Family(StrEnum):
    """What a format holds; only data has records."""

    DATA = "data"
    MODEL = "model"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of a file, by which a format recognises its own."""

    data: bytes  # the first HEAD_BYTES, or all there is
    size: int  # of the file


def _never(_: Head) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Format:
    """A format: how its files are named and begin, and the check of their content.

    `extensions` are lower case with the dot (".jsonl"); several formats may share one, such as ".bin", then
    the content decides. `names` are whole file names. `recognises` is only for signs that no other format
    has by accident (a magic number): a file that is recognised but named otherwise is reported, and checked
    as what it is. A format of text has only weaker signs; they count against the names in `rivals` alone.
    """

    name: str  # as in Rules.allowed_formats and FileReport.format
    family: Family
    validate: Validator
    extensions: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    recognises: Callable[[Head], bool] = field(default=_never)
    rivals: tuple[str, ...] = ()  # formats for which its files are mistaken; any when empty
