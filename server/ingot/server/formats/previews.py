"""Show some rows of a data file: the first, the last, or random ones, without reading all of a large one.

    preview(path, source, WantedRows(Part.RANDOM, 20, seed=7)) → Preview

Up to SMALL bytes a file is read whole for random rows, and each row is as likely as any other. Of a larger
one the rows at random places are taken, so rows that follow long ones are likelier; what is packed with gzip
has no places, so it is read from its beginning as far as the source lets.
"""

import itertools
import json
import random
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import orjson

from ingot.server.core.contents import Part, Preview, Row, Sampling, TooCostly, WantedRows
from ingot.server.core.json_values import JsonValue
from ingot.server.formats import csv_file, data_files, txt
from ingot.server.formats.cutting import RawRow
from ingot.server.formats.data_files import DataFile, NoRows
from ingot.server.formats.seam import BinarySource

SMALL = 4 * 1024 * 1024  # bytes up to which a file is read whole for random rows
_NUMBERED = 1024 * 1024  # the same for the last rows: only then are their numbers known
_TAIL = 256 * 1024
_MOST_TAIL = 4 * 1024 * 1024
_TRIES = 4  # random places for each row
_MOST_TEXT = 64 * 1024  # bytes of a row that is shown whole
_SHOWN = 2000  # characters of one that is not
_MOST_ANSWER = 1_000_000  # characters of all rows together
_DEEPEST = 16
_EXACT = 2**53  # up to here every whole number is a double
_LONG_INTEGER = re.compile(rb"[0-9]{20}")  # orjson rounds whole numbers beyond 64 bits to a double


def preview(
    path: str, source: BinarySource, wanted: WantedRows, pause: Callable[[], None] = lambda: None
) -> Preview:
    """Return rows of a file. Raises NoRows, and what the source and `pause` raise."""
    opened = data_files.open_data(path, source, pause)
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
    begin = opened.cutter.resync(opened.source.read(data_files.PLACE))
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
    found = data_files.parsed(row.raw)
    if found is None:
        raise ValueError("It is no JSON object.")
    if _LONG_INTEGER.search(row.raw):
        found = _exact(row.raw) or found
    return {key: _plain(value, 1) for key, value in found.items()}


def _exact(raw: bytes) -> dict[str, JsonValue] | None:
    """Return a JSON object with all digits of its whole numbers, None when it is too much for that."""
    try:
        found: object = json.loads(raw)
    except (ValueError, RecursionError):  # a number of thousands of digits, or very many brackets
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
