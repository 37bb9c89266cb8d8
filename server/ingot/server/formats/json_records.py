"""Check JSON records, one bytes object each: the part that JSONL files and JSON arrays have in common.

The way of a good record is short: `orjson` reads it, a look-up finds its shape, two sums are kept. Anything
odd leaves that way, and `json_scanner` finds the exact place. What `orjson` lets pass silently and we do not:

- keys that an object has twice: the strings it returned are fewer than those in the text. Every string is two
  quotes, and an escaped quote is one more, so when the quotes are twice the strings, nothing was lost;
- integers beyond 64 bits, which it rounds to a double.
"""

import re
from collections.abc import Iterable, Sequence

import orjson

from ingot.server.core.params import Rules
from ingot.server.formats import json_scanner
from ingot.server.formats.findings import FindingSink
from ingot.server.formats.json_scanner import JsonError
from ingot.server.formats.records import Defect, wrong_length
from ingot.server.formats.shapes import Shape, Shapes
from ingot.server.formats.statistics import Statistics

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_LONG_INTEGER = re.compile(rb"(?<![0-9.eE+-])-?[0-9]{19,}(?![0-9.eE])")
_ROUNDED = 2.0**63


class _TooDeep(Exception):
    """A record has more levels than MAX_DEPTH."""


class JsonRecords:
    """Checks batches of records and counts what is in them."""

    def __init__(self, rules: Rules, statistics: Statistics) -> None:
        self.shapes = Shapes(rules.required_columns)
        self.long_integers = 0
        self._statistics = statistics
        self._rules = rules
        self._length_matters = rules.min_text_length is not None or rules.max_text_length is not None
        self._next = 0  # record whose text goes into the profile
        self._count = 0

    def check(self, records: Sequence[bytes]) -> list[Defect]:
        """Return the defects of records, at most one for each, in their order."""
        defects: list[Defect] = []
        lengths: list[int] = []
        known, profile = self.shapes.known, self._statistics.profile
        for index, raw in enumerate(records):
            try:
                record = orjson.loads(raw)
            except orjson.JSONDecodeError as failure:
                defects.append(_unreadable(index, raw, failure))
                continue
            if type(record) is not dict:
                defects.append(_not_object(index, raw, record))
                continue
            shape = known.get((*record, *map(type, record.values()))) or self.shapes.of(record)
            shape.count += 1
            if shape.flat:
                strings, length = shape.strings, 0
                if shape.texts:
                    values = [*record.values()]
                    for place in shape.texts:
                        length += len(values[place])
            else:
                try:
                    strings, length = _measured(record, 1)
                except _TooDeep:
                    defects.append(broken(index, raw) or Defect(index, 0, "too_deep", "It is too deep."))
                    continue
            lengths.append(length)
            if shape.missing or raw.count(b'"') != 2 * strings or self._length_matters:
                defects += self._defect(index, raw, shape, strings, length)
            if shape.floats:
                self._count_long_integers(raw, record, shape)
            if self._count + index >= self._next:  # a bad record is left out, and the next stands in for it
                self._next += profile.stride
                profile.add("\n".join(texts_of(record)))
        self._count += len(records)
        self._statistics.lengths.add(lengths)
        return defects

    def remarks(self, findings: FindingSink) -> None:
        """Report what is no fault of single records. Call it at the end."""
        if self.long_integers:
            findings.warning(
                "huge_number",
                f"{self.long_integers} records have integers beyond 64 bits, which most readers round.",
            )

    def _defect(self, index: int, raw: bytes, shape: Shape, strings: int, length: int) -> list[Defect]:
        """Return what is wrong with a record that could be read, if anything is."""
        if shape.missing:
            return [_missing(index, raw, shape)]
        if raw.count(b'"') != 2 * strings and (twice := _twice(index, raw, strings)):
            return [twice]
        return wrong_length(index, length, self._rules)

    def _count_long_integers(self, raw: bytes, record: dict[str, object], shape: Shape) -> None:
        values = [*record.values()]
        for place in shape.floats:
            value = values[place]
            if isinstance(value, float) and abs(value) >= _ROUNDED and _LONG_INTEGER.search(raw):
                self.long_integers += 1
                return


def texts_of(value: object) -> list[str]:
    """Return all strings of a record but its keys, in order."""
    found: list[str] = []
    waiting: list[object] = [value]
    while waiting:
        each = waiting.pop()
        if type(each) is str:
            found.append(each)
        elif isinstance(each, dict):
            waiting.extend(reversed(each.values()))
        elif isinstance(each, list):
            waiting.extend(reversed(each))
    return found


def _measured(value: object, depth: int) -> tuple[int, int]:
    """Return how many strings, keys among them, and how many characters of text a value has."""
    if depth > json_scanner.MAX_DEPTH:
        raise _TooDeep
    strings = length = 0
    inner: Iterable[object] = ()
    if isinstance(value, dict):
        strings, inner = len(value), value.values()
    elif isinstance(value, list):
        inner = value
    for each in inner:
        if isinstance(each, str):
            strings += 1
            length += len(each)
        elif isinstance(each, dict | list):
            more_strings, more_length = _measured(each, depth + 1)
            strings += more_strings
            length += more_length
    return strings, length


def _unreadable(index: int, raw: bytes, failure: orjson.JSONDecodeError) -> Defect:
    # What the scanner lets pass and orjson does not, if there is such a thing, is at the place orjson names.
    return broken(index, raw) or Defect(
        index,
        len(failure.doc[: failure.pos].encode()),
        "json_syntax",
        f"It cannot be read: {failure.msg}.",
    )


def broken(index: int, raw: bytes, *, whole: bool = True) -> Defect | None:
    """Return the first defect of a record: bytes that are no UTF-8, or broken JSON.

    With `whole` false it is only the beginning of one, and may end anywhere.
    """
    found: Defect | None = None
    text = raw
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as failure:
        text = raw[: failure.start]
        message = f"Byte 0x{raw[failure.start]:02x} is no UTF-8 here ({failure.reason})."
        found = Defect(index, failure.start, "invalid_utf8", message)
    scanner = json_scanner.JsonScanner()
    try:
        scanner.feed(text)
        if found is None and whole:
            scanner.finish()
    except JsonError as error:
        return Defect(index, error.offset, error.reason, error.message)
    return found


def _not_object(index: int, raw: bytes, value: object) -> Defect:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    at = len(raw) - len(raw.lstrip(b" \t\r\n"))
    message = f"Expected an object, got {names.get(type(value), 'a number')}."
    return Defect(index, at, "not_object", message)


def _missing(index: int, raw: bytes, shape: Shape) -> Defect:
    at = len(raw) - len(raw.lstrip(b" \t\r\n"))
    has = ", ".join(shape.keys[:20]) or "none"
    message = f"Missing {', '.join(shape.missing)}; the record has {has} (required_columns)."
    return Defect(index, at, "missing_column", message)


def _twice(index: int, raw: bytes, strings: int) -> Defect | None:
    """Return the key that an object has twice, when there are more strings in the text than were read."""
    if sum(1 for _ in _STRING.finditer(raw)) == strings:
        return None
    try:
        twice = json_scanner.scan(raw).twice
    except JsonError as error:  # what only the scanner refuses, such as a number of a thousand digits
        return Defect(index, error.offset, error.reason, error.message)
    if twice is None:
        return None
    return Defect(
        index, twice[0], "duplicate_key", f"The key {twice[1][:100]!r} is there twice in one object."
    )
