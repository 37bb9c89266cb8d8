"""Check safetensors files: the header is read whole, the tensors are not.

A file is 8 bytes with the length of the header (little endian), the header, and the data. The header is a
JSON object that gives each tensor its dtype, shape and place in the data; the tensors cover the data without
holes.
Nothing in such a file is code. https://github.com/huggingface/safetensors#format is the whole format; its
package wants a file on disk and does not tell the place of what is wrong, so the header is read here.
"""

import json
import math
from collections import Counter
from typing import TypeGuard

from ingot.server.core.params import FileReport
from ingot.server.formats.cursor import MOST, TAKE_MOST, Broken, Cursor
from ingot.server.formats.seam import Family, Format, Head, Inspection

NAME = "safetensors"
_PREFIX = 8
_MOST_DIMENSIONS = 64
_PAUSE = 1000  # entries between two tellings of progress
_SHOWN = 20  # entries of the metadata in the statistics
_BITS = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 8),
    **dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}
_FIELDS = {"dtype", "shape", "data_offsets"}


def check(inspection: Inspection) -> FileReport:
    """Check the header of a file, and that the tensors are where it says."""
    header = _Header(inspection)
    try:
        header.read()
    except Broken as broken:
        inspection.findings.error(broken.reason, broken.message, byte_offset=broken.byte_offset)
    inspection.progress(inspection.source.size)
    return FileReport(
        path=inspection.path,
        size_bytes=inspection.source.size,
        format=NAME,
        validator=NAME,
        statistics={
            "tensors": sum(header.dtypes.values()),
            "parameters": min(header.parameters, MOST),
            "dtypes": dict(header.dtypes),
            "metadata": header.metadata,
        },
    )


class _Header:
    def __init__(self, inspection: Inspection) -> None:
        self.dtypes: Counter[str] = Counter()
        self.parameters = 0
        self.metadata: dict[str, str] = {}
        self._inspection = inspection
        self._findings = inspection.findings
        self._text = ""
        self._spans: list[tuple[int, int, int]] = []  # begin and end in the data, place in the text
        self._whole = True  # every tensor has a span
        self._decoder = json.JSONDecoder(object_pairs_hook=_pairs)

    def read(self) -> None:
        cursor = Cursor(self._inspection)
        length = int.from_bytes(cursor.take(_PREFIX, "The length of the header"), "little")
        if length > TAKE_MOST:
            message = f"The header has {length} bytes; expected at most {TAKE_MOST}."
            raise Broken("header_too_large", message, 0)
        raw = cursor.take(length, "The header")
        if not raw.startswith(b"{"):
            raise Broken("invalid_header", "The header must begin with '{'.", _PREFIX)
        try:
            self._text = raw.decode("utf-8")
        except UnicodeDecodeError as failure:
            message = f"The header is no UTF-8 here ({failure.reason})."
            raise Broken("invalid_utf8", message, _PREFIX + failure.start) from None
        del raw
        self._read_entries()
        if self._whole:
            self._check_cover(_PREFIX + length, cursor.size)

    def _read_entries(self) -> None:
        """Read entry by entry, which keeps the place of each and never holds the whole as objects."""
        seen: set[str] = set()
        at = self._blank(1)
        if self._text[at : at + 1] == "}":
            return self._check_rest(at + 1)
        while True:
            if self._text[at : at + 1] != '"':
                raise self._broken("invalid_json", "Expected the name of a tensor in quotes.", at)
            key = at
            name, at = self._value(at)
            place = self._blank(self._expect(at, ":"))
            entry, at = self._value(place)
            if not isinstance(name, str):  # never: it began with a quote
                raise self._broken("invalid_json", "Expected the name of a tensor.", key)
            if len(seen) % _PAUSE == 0:
                self._inspection.progress(_PREFIX + at)
            if name in seen:
                self._error("duplicate_key", f"{_quoted(name)} is there twice.", key)
                self._whole = False
            seen.add(name)
            if name == "__metadata__":
                self._take_metadata(entry, place)
            else:
                self._take_tensor(name, entry, place)
            at = self._blank(at)
            if self._text[at : at + 1] == "}":
                return self._check_rest(at + 1)
            at = self._blank(self._expect(at, ","))

    def _value(self, at: int) -> tuple[object, int]:
        try:
            return self._decoder.raw_decode(self._text, at)
        except json.JSONDecodeError as failure:
            raise self._broken(
                "invalid_json", f"The header is no JSON: {failure.msg}.", failure.pos
            ) from None
        except _Twice as twice:
            raise self._broken("duplicate_key", f"{_quoted(twice.key)} is there twice in it.", at) from None
        except (RecursionError, ValueError):
            raise self._broken("invalid_json", "Nested too deep, or a number without end.", at) from None

    def _check_rest(self, at: int) -> None:
        rest = self._text[at:]
        if stray := rest.lstrip(" "):  # the data may be aligned by spaces
            message = "Expected nothing but spaces behind the object."
            raise self._broken("invalid_header", message, at + len(rest) - len(stray))

    def _take_metadata(self, entry: object, at: int) -> None:
        if not _is_object(entry) or not all(isinstance(each, str) for each in entry.values()):
            self._error("invalid_metadata", "__metadata__ must be an object of strings.", at)
            return
        for key, value in list(entry.items())[:_SHOWN]:
            self.metadata[_text(key, 100)] = _text(str(value), 200)

    def _take_tensor(self, name: str, entry: object, at: int) -> None:
        wrong = _tensor_defect(entry)
        if wrong is None and _is_object(entry):
            dtype, shape, span = entry["dtype"], entry["shape"], entry["data_offsets"]
            if isinstance(dtype, str) and _are_counts(shape) and _are_counts(span):
                self.dtypes[dtype] += 1
                self.parameters += math.prod(shape)
                self._inspection.tensor(_text(name, 500), dtype, shape)
                self._spans.append((span[0], span[1], at))
                bits = math.prod(shape) * _BITS[dtype]
                if bits % 8:
                    wrong = f"{dtype} of shape {shape} ends inside a byte"
                elif span[1] - span[0] != bits // 8:
                    wrong = (
                        f"{dtype} of shape {shape} needs {bits // 8} bytes, its place has {span[1] - span[0]}"
                    )
                if wrong is not None:
                    self._error("size_mismatch", f"Tensor {_quoted(name)}: {wrong}.", at)
                return
        self._whole = False
        self._error("invalid_tensor", f"Tensor {_quoted(name)}: {wrong}.", at)

    def _check_cover(self, data: int, size: int) -> None:
        """Check that the tensors follow each other from the first to the last byte of the data."""
        done = 0
        for begin, end, at in sorted(self._spans):
            if begin != done:
                reason, word = ("overlap", "inside another") if begin < done else ("hole", "behind a hole")
                message = f"A tensor begins at byte {begin} of the data, {word}; expected byte {done}."
                self._error(reason, message, at)
            done = max(done, end)
        if data + done > size:
            message = f"The tensors end at byte {data + done}, but the file ends at byte {size}."
            self._findings.error("truncated", message, byte_offset=size)
        elif data + done < size:
            message = f"{size - data - done} bytes follow the last tensor; expected none."
            self._findings.error("trailing_bytes", message, byte_offset=data + done)

    def _blank(self, at: int) -> int:
        while self._text[at : at + 1] in (" ", "\t", "\r", "\n"):
            at += 1
        return at

    def _expect(self, at: int, sign: str) -> int:
        at = self._blank(at)
        if self._text[at : at + 1] != sign:
            raise self._broken("invalid_json", f"Expected {sign!r}.", at)
        return at + 1

    def _offset(self, at: int) -> int:
        return _PREFIX + (at if self._text.isascii() else len(self._text[:at].encode()))

    def _broken(self, reason: str, message: str, at: int) -> Broken:
        return Broken(reason, message, self._offset(at))

    def _error(self, reason: str, message: str, at: int) -> None:
        self._findings.error(reason, message, byte_offset=self._offset(at))


class _Twice(Exception):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise _Twice(key)
        found[key] = value
    return found


def _tensor_defect(entry: object) -> str | None:
    if not _is_object(entry) or set(entry) != _FIELDS:
        return "expected an object of dtype, shape and data_offsets, and nothing else"
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in _BITS:
        return f"unknown dtype {str(entry['dtype'])[:40]!r}"
    shape, span = entry["shape"], entry["data_offsets"]
    if not _are_counts(shape) or len(shape) > _MOST_DIMENSIONS:
        return "shape must be a list of integers from 0 to 2^64"
    if not _are_counts(span) or len(span) != 2 or span[1] < span[0]:
        return "data_offsets must be two integers, begin and end"
    return None


def _is_object(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)


def _are_counts(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(each) is int and 0 <= each < 2**64 for each in value)


def _text(value: str, most: int) -> str:
    return value[:most].encode("utf-8", "replace").decode()  # half a surrogate pair is in no report


def _quoted(name: str) -> str:
    return repr(name[:100])


def _recognises(head: Head) -> bool:
    length = int.from_bytes(head.data[:_PREFIX], "little")
    begin = head.data[_PREFIX : _PREFIX + 2]
    return 2 <= length <= min(TAKE_MOST, head.size - _PREFIX) and begin in (b'{"', b"{}")


FORMATS = (Format(NAME, Family.MODEL, check, (".safetensors",), (), _recognises),)
