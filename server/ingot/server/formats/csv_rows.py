"""Cut a CSV file into rows with the exact place of everything: RFC 4180, any delimiter, a stream.

A line without quotes is split, which is fast and is most lines. A line with quotes goes through a small state
machine that knows at which byte a quote opened; an open one takes the next lines in. Python's `csv` knows
neither offsets nor where in a row it stopped, and lets stray quotes pass that other readers refuse: it cuts
only lines that a pattern has found to be right.

A quote that is never closed would swallow the file: then the row ends with the line it opened in, and the
lines it swallowed are cut again without it. It is told by what ends it: a closing quote that stands where an
opening one would (behind a delimiter or at the beginning of a line), with text behind it; the end of the
file; or more than MAX_LINE_BYTES.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from ingot.server.formats.lines import MAX_LINE_BYTES
from ingot.server.formats.records import Defect

_QUOTED = re.compile(rb'[^"]*+(?:""[^"]*+)*+')  # from behind the opening quote to the closing one
QUOTE = b'"'


@dataclass(slots=True)
class Row:
    """One row; `raw` is it without its line feed, `starts` tells where each field begins in it."""

    offset: int
    raw: bytes = b""
    fields: list[bytes] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    defect: Defect | None = None  # what its quotes are wrong by; `fields` are then those before it


@dataclass(slots=True)
class _Open:
    """A row that is being read, whose last field may be open over several lines."""

    row: Row
    lines: list[bytes] = field(default_factory=list)
    size: int = 0  # of the lines before the current one, with their line feeds
    pieces: list[bytes] = field(default_factory=list)  # of the open field
    inside: bool = False  # of quotes
    quote: int = 0  # where the quote of the open field is in the row


class WholeRows:
    """Cuts lines that are whole rows with well-formed quotes, which is fast; leaves the others alone."""

    def __init__(self, delimiter: bytes) -> None:
        field = rb'(?:"([^"]*+(?:""[^"]*+)*+)"|([^"' + re.escape(delimiter) + rb"]*+))"
        self._field = re.compile(field + rb"(?:" + re.escape(delimiter) + rb"|\Z)")
        self._row = re.compile(field + rb"(?:" + re.escape(delimiter) + field + rb")*+")
        bare = rb'(?:"[^"]*+(?:""[^"]*+)*+"|[^"' + re.escape(delimiter) + rb"]*+)"
        self._fits = re.compile(bare + rb"(?:" + re.escape(delimiter) + bare + rb")*+").fullmatch
        self._delimiter = delimiter

    def fields(self, line: bytes) -> list[bytes] | None:
        """Return the fields of a line without its line end, or None."""
        if not self._row.fullmatch(line):
            return None
        found = [quoted.replace(b'""', QUOTE) or bare for quoted, bare in self._field.findall(line)]
        # At the end of a line findall matches nothing once more, unless a delimiter stands there.
        if not line.endswith(self._delimiter):
            found.pop()
        return found

    def texts(self, lines: list[bytes], text: str) -> list[list[str]] | None:
        """Return the fields of lines, which are also there as `text`, or None unless all are such rows.

        `csv` cuts them, much faster, once it is sure that it cannot see anything else in them than `fields`.
        """
        if not all(map(self._fits, [line for line in lines if QUOTE in line])):
            return None
        try:
            found = list(csv.reader(text.split("\n"), delimiter=self._delimiter.decode(), strict=True))
        except csv.Error:  # such as a field of more than 128 KiB
            return None
        return found if len(found) == len(lines) else None


class QuotedRows:
    """Cuts lines that have quotes, or that stand inside an open one."""

    def __init__(self, delimiter: bytes, most: int = MAX_LINE_BYTES) -> None:
        self._delimiter = delimiter
        self._bare = re.compile(rb'[^"' + re.escape(delimiter) + rb"]*+")
        self._open: _Open | None = None
        self._unclosed = Row(0)  # the last row that was given up
        self._most = most

    @property
    def inside(self) -> bool:
        """Whether a row goes on in the next line."""
        return self._open is not None

    def take(self, line: bytes, offset: int) -> Iterator[Row]:
        """Take the next line, which begins at `offset`, and yield the rows that end with it."""
        waiting = deque([(line, offset)])
        while waiting:
            line, offset = waiting.popleft()
            row = self._next(line, offset)
            if row is None:
                if self._open is not None and self._open.size > self._most:
                    waiting.extendleft(reversed(self._give_up()))
                    yield self._unclosed
                continue
            if row.defect is not None and row.defect.reason == "unclosed_quote":
                waiting.extendleft(reversed(self._give_up()))
                yield self._unclosed
                continue
            self._open = None
            yield row

    def finish(self) -> Iterator[Row]:
        """Yield what is left at the end of the file."""
        while self._open is not None:
            rest = self._give_up()
            yield self._unclosed
            for line, offset in rest:
                yield from self.take(line, offset)

    def _next(self, line: bytes, offset: int) -> Row | None:
        """Read a line; return its row when that ends, None while a quote is open."""
        if self._open is None:
            self._open = _Open(Row(offset))
        now = self._open
        now.lines.append(line)
        at = 0
        while True:
            end = self._quoted(now, line, at) if now.inside else self._bare_field(now, line, at)
            if end is None:
                if now.inside:
                    now.size += len(line) + 1
                    return None
                break
            at = end
        now.row.raw = b"\n".join(now.lines)
        return now.row

    def _bare_field(self, now: _Open, line: bytes, at: int) -> int | None:
        """Read a field from its beginning; return where the next one begins, None at the end of the row."""
        if line[at : at + 1] == QUOTE:
            now.inside, now.quote = True, now.size + at
            now.row.starts.append(now.size + at)
            return at + 1
        found = self._bare.match(line, at)
        end = found.end() if found else at
        now.row.starts.append(now.size + at)
        if end == len(line):
            now.row.fields.append(line[at:].removesuffix(b"\r"))
            return None
        if line[end : end + 1] == QUOTE:
            message = (
                "A quote in a field that is not quoted; expected the whole field in quotes, this doubled."
            )
            now.row.defect = Defect(0, now.size + end, "stray_quote", message, len(now.row.starts))
            return None
        now.row.fields.append(line[at:end])
        return end + len(self._delimiter)

    def _quoted(self, now: _Open, line: bytes, at: int) -> int | None:
        """Read on inside quotes; return where the next field begins, None at the end of row or line."""
        found = _QUOTED.match(line, at)
        end = found.end() if found else at
        now.pieces.append(line[at:end])
        if end == len(line):
            return None
        now.inside = False
        behind = end + 1
        value = b"\n".join(now.pieces).replace(b'""', QUOTE)
        now.pieces.clear()
        if behind == len(line) or line[behind:] == b"\r":
            now.row.fields.append(value)
            return None
        if line.startswith(self._delimiter, behind):
            now.row.fields.append(value)
            return behind + len(self._delimiter)
        looks_open = len(now.lines) > 1 and (end == 0 or line[:end].endswith(self._delimiter))
        if looks_open and now.quote < now.size:
            now.row.defect = Defect(0, now.quote, "unclosed_quote", "")
        else:
            message = "Text behind a closing quote; expected a delimiter or the end of the row."
            now.row.defect = Defect(0, now.size + behind, "text_after_quote", message, len(now.row.starts))
        return None

    def _give_up(self) -> list[tuple[bytes, int]]:
        """Close the open row behind its first line; return the lines that it had swallowed."""
        now, self._open = self._open, None
        if now is None:
            return []
        row = now.row
        kept, end = 1, len(now.lines[0])  # lines up to the one with the quote
        while end < now.quote:
            end += 1 + len(now.lines[kept])
            kept += 1
        number = sum(1 for each in row.starts if each <= now.quote)
        message = "The quote that opens here is never closed."
        row.raw = b"\n".join(now.lines[:kept])
        row.defect = Defect(0, now.quote, "unclosed_quote", message, number)
        self._unclosed = row
        found: list[tuple[bytes, int]] = []
        offset = row.offset + end + 1
        for line in now.lines[kept:]:
            found.append((line, offset))
            offset += len(line) + 1
        return found
