"""Cut data files into rows from any place: from the beginning, before the end, and around random places.

A `Cutter` knows one format. `forward` goes from the beginning of a row on, holding one piece at a time;
`resync` finds where a row begins in a piece from the middle of a file; `tail` gives the last rows of a piece
that ends where the file does. Only CSV with line ends in quotes, and arrays with objects in objects, make
`resync` guess; a guess must look like the rows at the beginning.
"""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import orjson

from ingot.server.formats import csv_file, json_array, lines
from ingot.server.formats.csv_rows import QUOTE, QuotedRows
from ingot.server.formats.seam import BinarySource, Positioned

MOST_ROW = 256 * 1024  # bytes of one row; longer ones are cut
_READ = 128 * 1024
_STEPS = 512  # between two looks at the time
_BLANK = b" \t\r\n"
_CANDIDATES = 64  # line ends that are tried
_BOUNDARY = re.compile(rb"\}[ \t\r\n]*+,[ \t\r\n]*+(?=\{)")
# Read from its end, a string goes to the quote that has no backslash before it: all quotes inside have one.
_BACKWARD = re.compile(rb'"(?:[^"]|"(?=\\))*+"|[\[\]{}"]')


@dataclass(frozen=True, slots=True)
class RawRow:
    """The bytes of a row without its line end, and where they begin; `fields` for CSV."""

    offset: int
    raw: bytes
    fields: Sequence[bytes] = ()
    problem: str = ""


class Pace:
    """Counts steps of work, and calls `pause` now and then, which may raise to stop it."""

    def __init__(self, pause: Callable[[], None] = lambda: None) -> None:
        self._pause = pause
        self._steps = 0

    def step(self) -> None:
        """Count one line, or one attempt."""
        self._steps += 1
        if self._steps % _STEPS == 0:
            self._pause()

    def now(self) -> None:
        """Look at the time now: a large step follows."""
        self._pause()


class Cutter(Protocol):
    """Cuts one format."""

    def forward(self, source: BinarySource, offset: int) -> Iterator[RawRow]:
        """Yield rows from the beginning of one to the end of the file."""

    def resync(self, piece: bytes) -> int | None:
        """Return where a row begins behind the first byte of a piece; None when none seems to."""

    def tail(self, piece: bytes, offset: int, *, whole: bool) -> list[RawRow]:
        """Return the rows of the last piece of a file, which begins at `offset`.

        With `whole` a row begins there; else what is before the first whole row is left out.
        """


class Lines:
    """JSON Lines and plain text: a row is a line that is not blank."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace

    def forward(self, source: BinarySource, offset: int) -> Iterator[RawRow]:
        """Yield rows from the beginning of one to the end of the file."""
        source.seek(offset)
        for batch in lines.batches(source, MOST_ROW):
            place = batch.offset
            for line in batch.lines:
                self._pace.step()
                if batch.cut:
                    yield RawRow(place, line, problem=_long())
                elif line.strip(_BLANK):
                    yield RawRow(place, line.removesuffix(b"\r"))
                place += len(line) + 1

    def resync(self, piece: bytes) -> int | None:
        """Return where the first whole line begins."""
        at = piece.find(b"\n")
        return None if at < 0 else at + 1

    def tail(self, piece: bytes, offset: int, *, whole: bool) -> list[RawRow]:
        """Return the lines of the last piece of a file."""
        return _tail(self, piece, offset, whole)


class CsvLines:
    """CSV with this delimiter and so many columns."""

    def __init__(self, delimiter: bytes, width: int, pace: Pace) -> None:
        self._delimiter = delimiter
        self._width = width
        self._pace = pace

    def forward(self, source: BinarySource, offset: int) -> Iterator[RawRow]:
        """Yield rows from the beginning of one to the end of the file."""
        source.seek(offset)
        quoted = QuotedRows(self._delimiter, MOST_ROW)
        for batch in lines.batches(source, MOST_ROW):
            place = batch.offset
            for line in batch.lines:
                self._pace.step()
                if batch.cut:
                    yield RawRow(place, line, problem=_long())
                elif quoted.inside or QUOTE in line:
                    for row in quoted.take(line, place):
                        yield RawRow(
                            row.offset, row.raw, row.fields, row.defect.message if row.defect else ""
                        )
                elif line.strip(_BLANK):
                    bare = line.removesuffix(b"\r")
                    yield RawRow(place, bare, bare.split(self._delimiter))
                place += len(line) + 1
        for row in quoted.finish():
            yield RawRow(row.offset, row.raw, row.fields, row.defect.message if row.defect else "")

    def resync(self, piece: bytes) -> int | None:
        """Return the line end behind which most rows have as many fields as the header."""
        best, most = None, 0.0
        at = -1
        for _ in range(_CANDIDATES):
            at = piece.find(b"\n", at + 1)
            if at < 0:
                break
            self._pace.now()
            rows = [row for row, _ in zip(self.forward(_Piece(piece[at + 1 :]), 0), range(50), strict=False)]
            rows = rows[:-1] if len(rows) > 1 else rows  # the last one may be cut
            right = sum(not row.problem and len(row.fields) == self._width for row in rows)
            share = right / len(rows) if rows else 0.0
            if share > most:
                best, most = at + 1, share
            if share == 1.0:
                break
        return best

    def tail(self, piece: bytes, offset: int, *, whole: bool) -> list[RawRow]:
        """Return the rows of the last piece of a file."""
        return _tail(self, piece, offset, whole)


class ArrayElements:
    """The objects of a JSON array; `keys` are those that all of the first ones have."""

    def __init__(self, pace: Pace, keys: Collection[str] = ()) -> None:
        self._keys = frozenset(keys)
        self._pace = pace

    def forward(self, source: BinarySource, offset: int) -> Iterator[RawRow]:
        """Yield elements from the beginning of one, or of the array, to its end."""
        source.seek(offset)
        buffer, base = b"", offset
        while block := source.read(max(_READ, len(buffer))):
            self._pace.now()
            buffer += block
            at = 0
            while True:
                self._pace.step()
                begin = json_array.between(buffer, at)
                if begin is None:
                    at = len(buffer)
                    break
                end = json_array.element_end(buffer, begin)
                if end is None:
                    at = begin
                    break
                yield RawRow(base + begin, buffer[begin:end])
                at = end
            buffer, base = buffer[at:], base + at
            if len(buffer) > MOST_ROW:
                problem = f"No record ends within {MOST_ROW} bytes from here; what follows is not shown."
                yield RawRow(base, buffer[:MOST_ROW], problem=problem)
                return
        if buffer.strip(_BLANK):
            yield RawRow(base, buffer, problem="The file ends inside this record.")

    def resync(self, piece: bytes) -> int | None:
        """Return where an object begins that has the keys which all of the first ones have."""
        for found in _BOUNDARY.finditer(piece):
            self._pace.step()
            end = json_array.element_end(piece, found.end())
            if end is None:
                return None
            try:
                keys = set(orjson.loads(piece[found.end() : end]))
            except orjson.JSONDecodeError:
                continue
            if self._keys <= keys:
                return found.end()
        return None

    def tail(self, piece: bytes, offset: int, *, whole: bool) -> list[RawRow]:
        """Return the elements of the last piece of a file, told from the end on: that needs no guess."""
        found: list[RawRow] = []
        size, depth, end = len(piece), 0, 0
        for token in _BACKWARD.finditer(piece[::-1]):
            self._pace.step()
            sign = token.group()
            if sign == b'"':
                break  # a string that begins before the piece
            if sign in (b"]", b"}"):
                depth += 1
                if depth == 2:
                    end = size - token.start()
            elif sign in (b"[", b"{"):
                depth -= 1
                if depth == 1:
                    begin = size - token.end()
                    found.append(RawRow(offset + begin, piece[begin:end]))
                elif depth == 0:
                    break
        return found[::-1]


class _Piece(Positioned):
    """Bytes in memory as a source."""

    def __init__(self, data: bytes) -> None:
        super().__init__(len(data))
        self._data = data

    def read(self, size: int = -1, /) -> bytes:
        end = len(self._data) if size < 0 else self._position + size
        found = self._data[self._position : end]
        self._position += len(found)
        return found


def csv_of(head: bytes, path: str) -> bytes:
    """Return the delimiter of a CSV file by its name and beginning."""
    return b"\t" if path.lower().endswith((".tsv", ".tab")) else csv_file.sniff(head)


def _tail(cutter: Cutter, piece: bytes, offset: int, whole: bool) -> list[RawRow]:
    """Return what a cutter finds in a piece from where a row surely begins."""
    begin = 0 if whole else cutter.resync(piece)
    if begin is None:
        return []
    return [_moved(row, offset) for row in cutter.forward(_Piece(piece), begin)]


def _moved(row: RawRow, offset: int) -> RawRow:
    return RawRow(offset + row.offset, row.raw, row.fields, row.problem)


def _long() -> str:
    return f"The row has more than {MOST_ROW} bytes; only its beginning was read."
