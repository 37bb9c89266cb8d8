"""Open data files: which format one is, where its first row begins, how it is cut, how many rows it has."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import orjson

from ingot.server.core.json_values import JsonValue
from ingot.server.core.params import Rules
from ingot.server.formats import csv_file, cutting, data, gzipped, json_array, lines
from ingot.server.formats.cutting import ArrayElements, CsvLines, Cutter, Lines, Pace, RawRow
from ingot.server.formats.findings import FindingSink
from ingot.server.formats.registry import by_name
from ingot.server.formats.seam import HEAD_BYTES, BinarySource, Family, Head

PLACE = 128 * 1024  # bytes that are read at a place in the middle of a file
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
            begin = opened.cutter.resync(opened.source.read(PLACE))
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
        keys.update(dict.fromkeys(parsed(row.raw) or ()))
    return tuple(keys)


def parsed(raw: bytes) -> dict[str, JsonValue] | None:
    """Return a row that is a JSON object, None when it is none."""
    try:
        found: object = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


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
    first = [parsed(row.raw) for row in itertools.islice(opened.rows(), _HEAD_ROWS)]
    keys = [set(each) for each in first if each is not None]
    opened.cutter = ArrayElements(opened.pace, set.intersection(*keys) if keys else ())
