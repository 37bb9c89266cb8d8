"""Show some rows of a data file: the first, the last, or random ones, without reading all of a large one.

    preview(path, source, WantedRows(Part.RANDOM, 20, seed=7)) → Preview

Up to SMALL bytes a file is read whole for random rows, and each row is as likely as any other. Of a larger
one the rows at random places are taken, so rows that follow long ones are likelier; what is packed with gzip
has no places, so it is read from its beginning as far as the source lets.
"""

import itertools
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import orjson

from ingot.server.core.contents import Part, Preview, Row, Sampling, TooCostly, WantedRows
from ingot.server.core.json_values import JsonValue
from ingot.server.core.params import Rules
from ingot.server.formats import csv_file, cutting, data, gzipped, json_array, lines, txt
from ingot.server.formats.cutting import ArrayElements, CsvLines, Cutter, Lines, Pace, RawRow
from ingot.server.formats.findings import FindingSink
from ingot.server.formats.registry import by_name
from ingot.server.formats.seam import HEAD_BYTES, BinarySource, Family, Head

SMALL = 4 * 1024 * 1024  # bytes up to which a file is read whole for random rows
_NUMBERED = 1024 * 1024  # the same for the last rows: only then are their numbers known
_TAIL = 256 * 1024
_MOST_TAIL = 4 * 1024 * 1024
_PLACE = 128 * 1024  # bytes that are read at a random place
_TRIES = 4  # random places for each row
_MOST_TEXT = 64 * 1024  # bytes of a row that is shown whole
_SHOWN = 2000  # characters of one that is not
_MOST_ANSWER = 1_000_000  # characters of all rows together
_DEEPEST = 16
_EXACT = 2**53  # up to here every whole number is a double
_HEAD_ROWS = 20
_PLACES = 4  # in a file whose rows are estimated


class NoRows(Exception):
    """A file has no rows that could be shown; the message says why."""


@dataclass(slots=True)
class DataFile:
    """A data file that is open: where its first row begins, and how it is cut."""

    source: BinarySource
    format: str
    begin: int
    cutter: Cutter
    pace: Pace
    columns: tuple[str, ...] = ()  # of CSV
    packed: bool = False
    findings: FindingSink = field(default_factory=lambda: FindingSink(""))

    def rows(self) -> Iterator[RawRow]:
        """Yield the rows from the first one on."""
        return self.cutter.forward(self.source, self.begin)


def open_data(path: str, source: BinarySource, pause: Callable[[], None] = lambda: None) -> DataFile:
    """Find out how a data file is cut; `pause` is called now and then by all that reads it.

    Raises NoRows, and what the source and `pause` raise.
    """
    pace = Pace(pause)
    head = source.read(HEAD_BYTES)
    source.seek(0)
    packed, findings = gzipped.is_gzip(Head(head, source.size)), FindingSink(path)
    if packed:
        source = gzipped.GzipSource(source, Rules(), findings, lambda _: None)
        path = path.removesuffix(".gz")
        head = source.read(HEAD_BYTES)
        source.seek(0)
    begin = lines.skip_mark(source, findings)
    if begin is None:
        raise NoRows(findings.kept[0].message)
    name = _format_of(path, Head(head, source.size))
    opened = DataFile(source, name, begin, Lines(pace), pace, packed=packed, findings=findings)
    if name == csv_file.NAME:
        _open_csv(opened, path, head[begin:])
    elif name == json_array.NAME:
        _open_array(opened, head[begin:])
    return opened


def preview(
    path: str, source: BinarySource, wanted: WantedRows, pause: Callable[[], None] = lambda: None
) -> Preview:
    """Return rows of a file. Raises NoRows, and what the source and `pause` raise."""
    opened = open_data(path, source, pause)
    if wanted.part is Part.LAST:
        numbered, sampling = _last(opened, wanted.count), Sampling.NONE
    elif wanted.part is Part.RANDOM:
        numbered, sampling = _random(opened, wanted)
    else:
        first = itertools.islice(opened.rows(), wanted.count)
        numbered, sampling = list(enumerate(first, 1)), Sampling.NONE
    rows = _bounded(_shown(opened, number, row) for number, row in numbered)
    if not rows and opened.findings.failed:
        raise NoRows(opened.findings.kept[0].message)
    return Preview(opened.format, rows, opened.columns or _keys(rows), sampling)


def count(opened: DataFile) -> int:
    """Return the number of rows; reads all of the file."""
    return sum(1 for _ in opened.rows())


def mean_row(opened: DataFile, size: int) -> float:
    """Return the mean bytes of a row, seen from about `size` bytes of rows at each of some places."""
    rows = taken = 0
    for part in range(_PLACES):
        place = opened.begin + (opened.source.size - opened.begin) * part // _PLACES
        begin: int | None = 0
        if part:
            opened.source.seek(place)
            begin = opened.cutter.resync(opened.source.read(_PLACE))
        if begin is not None:
            count, span = _sampled(opened, place + begin, size)
            rows, taken = rows + count, taken + span
    return taken / rows if rows else 0.0


def _sampled(opened: DataFile, start: int, size: int) -> tuple[int, int]:
    """Return how many rows begin within so many bytes, and the bytes they take."""
    rows, end = 0, start
    for row in opened.cutter.forward(opened.source, start):
        if row.offset - start >= size:
            return rows, row.offset - start
        rows, end = rows + 1, row.offset + len(row.raw) + 1
    return rows, end - start


def first_keys(rows: Iterable[RawRow]) -> tuple[str, ...]:
    """Return the keys of rows that are JSON objects, in the order of their first use."""
    keys: dict[str, None] = {}
    for row in rows:
        keys.update(dict.fromkeys(_parsed(row.raw) or ()))
    return tuple(keys)


# --- how a file is cut --------------------------------------------------------------------------------------


def _format_of(path: str, head: Head) -> str:
    named = [each.name for each in by_name(path) if each.family is Family.DATA]
    for each in data.FORMATS:
        if each.recognises(head) and (not named or named[0] in each.rivals or each.name in named):
            return each.name
    if not named:
        raise NoRows("It is none of JSON Lines, JSON, CSV and plain text.")
    return named[0]


def _open_csv(opened: DataFile, path: str, head: bytes) -> None:
    delimiter = cutting.csv_of(head, path)
    header = next(CsvLines(delimiter, 0, opened.pace).forward(opened.source, opened.begin), None)
    if header is None or header.problem:
        raise NoRows("It has no header, which CSV begins with." if header is None else header.problem)
    if len(header.fields) > csv_file.MOST_COLUMNS:
        raise NoRows(f"Its header has {len(header.fields)} fields; at most {csv_file.MOST_COLUMNS}.")
    names = [each.decode("utf-8", "replace").strip() for each in header.fields]
    taken: set[str] = set()
    for number, name in enumerate(names, 1):
        names[number - 1] = name if name and name not in taken else f"{name or 'column'}_{number}"
        taken.add(names[number - 1])
    opened.columns = tuple(names)
    opened.cutter = CsvLines(delimiter, len(names), opened.pace)
    opened.begin = header.offset + len(header.raw) + 1
    opened.source.seek(opened.begin - 1)
    if opened.source.read(1) == b"\r":  # it was taken off the header
        opened.begin += 1


def _open_array(opened: DataFile, head: bytes) -> None:
    if not json_array.is_array_of_objects(head):
        raise NoRows("It is one JSON document; only arrays of objects have rows.")
    opened.begin += head.index(b"[") + 1
    opened.cutter = ArrayElements(opened.pace)
    first = [_parsed(row.raw) for row in itertools.islice(opened.rows(), _HEAD_ROWS)]
    keys = [set(each) for each in first if each is not None]
    opened.cutter = ArrayElements(opened.pace, set.intersection(*keys) if keys else ())


# --- which rows ---------------------------------------------------------------------------------------------


def _last(opened: DataFile, most: int) -> list[tuple[int, RawRow]]:
    source = opened.source
    if opened.packed or source.size <= _NUMBERED:
        kept = deque(enumerate(opened.rows(), 1), maxlen=most)
        return list(kept)
    reach = _TAIL
    while True:
        start = max(opened.begin, source.size - reach)
        source.seek(start)
        piece = source.read(source.size - start)
        rows = opened.cutter.tail(piece, start, whole=start == opened.begin)
        if len(rows) >= most or start == opened.begin or reach >= _MOST_TAIL:
            return [(0, row) for row in rows[-most:]]
        reach *= 4


def _random(opened: DataFile, wanted: WantedRows) -> tuple[list[tuple[int, RawRow]], Sampling]:
    dice = random.Random(wanted.seed)
    if not opened.packed and opened.source.size > SMALL:
        return _at_places(opened, dice, wanted.count), Sampling.BY_OFFSET
    chosen: list[tuple[int, RawRow]] = []
    sampling = Sampling.UNIFORM
    try:
        for number, row in enumerate(opened.rows(), 1):
            if len(chosen) < wanted.count:
                chosen.append((number, row))
            elif (place := dice.randrange(number)) < wanted.count:
                chosen[place] = (number, row)
            if opened.packed and opened.source.tell() > SMALL:
                sampling = Sampling.FROM_BEGINNING
                break
    except TooCostly:
        sampling = Sampling.FROM_BEGINNING
    return sorted(chosen, key=lambda each: each[0]), sampling


def _at_places(opened: DataFile, dice: random.Random, most: int) -> list[tuple[int, RawRow]]:
    """Return the rows that begin behind random places, each once; fewer when the time is over."""
    found: dict[int, RawRow] = {}
    for _ in range(_TRIES * most):
        if len(found) >= most:
            break
        try:
            row = _row_behind(opened, dice.randrange(opened.begin, opened.source.size))
        except TooCostly:
            if found:
                break
            raise
        if row is not None:
            found[row.offset] = row
    return [(0, found[offset]) for offset in sorted(found)]


def _row_behind(opened: DataFile, place: int) -> RawRow | None:
    """Return the first row that begins behind a place; None when none seems to."""
    opened.pace.now()
    opened.source.seek(place)
    begin = opened.cutter.resync(opened.source.read(_PLACE))
    return None if begin is None else next(opened.cutter.forward(opened.source, place + begin), None)


# --- what is shown ------------------------------------------------------------------------------------------


def _shown(opened: DataFile, number: int, row: RawRow) -> Row:
    size = len(row.raw)
    if row.problem or size > _MOST_TEXT:
        why = row.problem or f"The row has {size} bytes; only its beginning is shown."
        return Row(number, row.offset, text=_text(row.raw), problem=why)
    try:
        value = _value(opened, row)
    except ValueError as failure:
        return Row(number, row.offset, text=_text(row.raw), problem=str(failure))
    return Row(number, row.offset, value)


def _value(opened: DataFile, row: RawRow) -> JsonValue:
    """Return the value of a row. Raises ValueError with what is wrong."""
    if opened.format == txt.NAME:
        return _decoded(row.raw)
    if opened.format == csv_file.NAME:
        if len(row.fields) != len(opened.columns):
            raise ValueError(f"It has {len(row.fields)} fields; expected {len(opened.columns)}.")
        return dict(zip(opened.columns, map(_decoded, row.fields), strict=True))
    found = _parsed(row.raw)
    if found is None:
        raise ValueError("It is no JSON object.")
    return {key: _plain(value, 1) for key, value in found.items()}


def _parsed(raw: bytes) -> dict[str, JsonValue] | None:
    try:
        found: object = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _plain(value: JsonValue, depth: int) -> JsonValue:
    """Return a value as an answer can hold it. Raises ValueError when it is nested too deep."""
    if depth > _DEEPEST:
        raise ValueError(f"It is nested deeper than {_DEEPEST} levels.")
    if isinstance(value, dict):
        return {key: _plain(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each, depth + 1) for each in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _EXACT:
        return str(value)
    return value


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as failure:
        raise ValueError(f"Byte {failure.start} of the row is no UTF-8 ({failure.reason}).") from None


def _text(raw: bytes) -> str:
    return raw[: 4 * _SHOWN].decode("utf-8", "replace")[:_SHOWN]


def _bounded(rows: Iterator[Row]) -> list[Row]:
    """Return rows until the answer would become too large, one at least."""
    found: list[Row] = []
    left = _MOST_ANSWER
    for row in rows:
        left -= len(row.text) + (len(orjson.dumps(row.value)) if row.value is not None else 0)
        if left < 0 and found:
            break
        found.append(row)
    return found


def _keys(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the keys of rows in the order of their first use."""
    return tuple(dict.fromkeys(key for row in rows if isinstance(row.value, dict) for key in row.value))
