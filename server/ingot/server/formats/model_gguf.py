"""Check GGUF files: the header, the metadata and the places of the tensors; their values are not read.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md is the format. Every count in it is a promise of the
file and is held against the bytes that are there before anything is read by it. Versions 2 and 3, of both
byte orders.
"""

import math
from collections import Counter

from ingot.server.core.params import FileReport
from ingot.server.formats.cursor import MOST, Broken, Cursor
from ingot.server.formats.seam import Family, Format, Head, Inspection

NAME = "gguf"
MAGIC = b"GGUF"
_MOST_TENSORS = 100_000
_MOST_KEYS = 100_000
_MOST_STRINGS = 16_000_000  # in one array; the largest vocabularies have under a million
_MOST_KEY = 65_535  # bytes
_MOST_NAME = 64
_MOST_DIMENSIONS = 4
_DEEPEST = 8  # arrays in arrays
_KEPT = 200  # bytes of a text that goes into the statistics
_STRING, _ARRAY, _UINT32, _BOOL = 8, 9, 4, 7
_WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_ALIGNMENT = "general.alignment"
_TYPES = {  # ggml type: name, values in a block, bytes of a block
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    30: ("BF16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 36),
    20: ("IQ4_NL", 32, 18),
    39: ("MXFP4", 32, 17),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    29: ("IQ1_M", 256, 56),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
}


def check(inspection: Inspection) -> FileReport:
    """Check everything of a file but the values of its tensors."""
    file = _File(inspection)
    try:
        file.read()
    except Broken as broken:
        inspection.findings.error(broken.reason, broken.message, byte_offset=broken.byte_offset)
    inspection.progress(inspection.source.size)
    return FileReport(
        path=inspection.path,
        size_bytes=inspection.source.size,
        format=NAME,
        validator=NAME,
        statistics={
            "version": file.version,
            "architecture": file.architecture,
            "metadata_keys": len(file.keys),
            "tensors": len(file.names),
            "parameters": min(file.parameters, MOST),
            "types": dict(file.types),
        },
    )


class _File:
    def __init__(self, inspection: Inspection) -> None:
        self.version = 0
        self.architecture = ""
        self.keys: set[bytes] = set()
        self.names: set[bytes] = set()
        self.types: Counter[str] = Counter()
        self.parameters = 0
        self._inspection = inspection
        self._findings = inspection.findings
        self._cursor = Cursor(inspection)
        self._big = False
        self._alignment = 32
        self._spans: list[tuple[int, int, int]] = []  # begin and end in the data, place of the entry

    def read(self) -> None:
        if self._cursor.take(4, "The magic number") != MAGIC:
            raise Broken("invalid_magic", "The file does not begin with GGUF.", 0)
        raw = self._cursor.take(4, "The version")
        self._big = raw[:2] == b"\0\0" and raw[2:] != b"\0\0"
        self.version = int.from_bytes(raw, "big" if self._big else "little")
        if self.version not in (2, 3):
            message = f"GGUF version {self.version}; expected 2 or 3. Convert it with a current tool."
            raise Broken("unsupported_version", message, 4)
        tensors = self._count("tensors", _MOST_TENSORS, 24)
        keys = self._count("metadata keys", _MOST_KEYS, 13)
        for _ in range(keys):
            self._read_key()
        for _ in range(tensors):
            self._read_tensor()
        if tensors:
            self._check_data(tensors)

    def _number(self, width: int, what: str) -> int:
        return int.from_bytes(self._cursor.take(width, what), "big" if self._big else "little")

    def _count(self, what: str, most: int, least_bytes: int) -> int:
        at = self._cursor.offset
        count = self._number(8, f"The number of {what}")
        if count > most or count * least_bytes > self._cursor.size - self._cursor.offset:
            message = (
                f"It promises {count} {what}; expected at most {most}, and no more than the file can hold."
            )
            raise Broken("invalid_count", message, at)
        return count

    def _string(self, what: str, most: int) -> bytes:
        """Return the beginning of a string, at most `most` bytes, and go behind all of it."""
        length = self._number(8, f"The length of {what}")
        self._cursor.need(length, what)
        begin = self._cursor.take(min(length, most), what)
        self._cursor.skip(length - len(begin), what)
        return begin

    def _name(self, what: str, most: int) -> bytes:
        at = self._cursor.offset
        name = self._string(what, most + 1)
        if len(name) > most:
            raise Broken("too_long", f"{what} is longer than {most} bytes.", at)
        try:
            name.decode("utf-8")
        except UnicodeDecodeError as failure:
            place = at + 8 + failure.start
            self._findings.error("invalid_utf8", f"{what} is no UTF-8 ({failure.reason}).", byte_offset=place)
        return name

    def _read_key(self) -> None:
        at = self._cursor.offset
        key = self._name("A metadata key", _MOST_KEY)
        if key in self.keys:
            self._findings.error("duplicate_key", f"Key {_quoted(key)} is there twice.", byte_offset=at)
        self.keys.add(key)
        place = self._cursor.offset
        kind = self._number(4, "The type of a value")
        name = key.decode("utf-8", "replace")
        if name == _ALIGNMENT:
            self._read_alignment(kind, place)
        elif name == "general.architecture" and kind == _STRING:
            self.architecture = self._string("The architecture", _KEPT).decode("utf-8", "replace")
        else:
            self._skip_value(kind, place, 0)

    def _read_alignment(self, kind: int, at: int) -> None:
        value = self._number(4, "The alignment") if kind == _UINT32 else 0
        if value < 8 or value & (value - 1):
            message = f"{_ALIGNMENT} must be a uint32, a power of two from 8, got {value or f'type {kind}'}."
            raise Broken("invalid_alignment", message, at)
        self._alignment = value

    def _skip_value(self, kind: int, at: int, depth: int) -> None:
        if kind == _BOOL:
            if self._number(1, "A boolean") > 1:
                self._findings.error("invalid_value", "A boolean must be 0 or 1.", byte_offset=at + 4)
        elif kind in _WIDTHS:
            self._cursor.skip(_WIDTHS[kind], "A number")
        elif kind == _STRING:
            self._string("A text", 0)
        elif kind == _ARRAY:
            self._skip_array(depth)
        else:
            raise Broken("unknown_type", f"Metadata type {kind}; expected 0 to 12.", at)

    def _skip_array(self, depth: int) -> None:
        at = self._cursor.offset
        if depth == _DEEPEST:
            raise Broken("too_deep", f"Arrays are nested deeper than {_DEEPEST}.", at)
        kind = self._number(4, "The type of an array")
        if kind in _WIDTHS:
            length = self._number(8, "The length of an array")
            self._cursor.skip(length * _WIDTHS[kind], "An array")
        elif kind in (_STRING, _ARRAY):
            for _ in range(self._count("elements of an array", _MOST_STRINGS, 8)):
                self._skip_value(kind, at, depth + 1)
        else:
            raise Broken("unknown_type", f"Type {kind} of an array; expected 0 to 12.", at)

    def _read_tensor(self) -> None:
        at = self._cursor.offset
        name = self._name("The name of a tensor", _MOST_NAME)
        if name in self.names:
            self._findings.error("duplicate_key", f"Tensor {_quoted(name)} is there twice.", byte_offset=at)
        self.names.add(name)
        place = self._cursor.offset
        dimensions = self._number(4, "The number of dimensions")
        if dimensions > _MOST_DIMENSIONS:
            message = (
                f"Tensor {_quoted(name)} has {dimensions} dimensions; expected at most {_MOST_DIMENSIONS}."
            )
            raise Broken("invalid_tensor", message, place)
        shape = [self._number(8, "A dimension") for _ in range(dimensions)]
        place = self._cursor.offset
        kind = self._number(4, "The type of a tensor")
        if kind not in _TYPES:
            raise Broken("unknown_type", f"Tensor {_quoted(name)} has the unknown type {kind}.", place)
        label, block, width = _TYPES[kind]
        values = math.prod(shape)
        self.types[label] += 1
        self.parameters += values
        self._inspection.tensor(name.decode("utf-8", "replace"), label, shape)
        if block > 1 and (not shape or shape[0] % block):
            message = f"Tensor {_quoted(name)}: rows of {shape[:1]} values; expected a multiple of {block}"
            self._findings.error("size_mismatch", f"{message} for {label}.", byte_offset=place)
        place = self._cursor.offset
        begin = self._number(8, "The place of a tensor")
        if begin % self._alignment:
            message = f"Tensor {_quoted(name)} begins at byte {begin} of the data; expected a multiple of "
            self._findings.error("misaligned", f"{message}{self._alignment}.", byte_offset=place)
        self._spans.append((begin, begin + -(-values // block) * width, place))

    def _check_data(self, tensors: int) -> None:
        data = self._aligned(self._cursor.offset)
        done = 0
        for begin, end, at in sorted(self._spans):
            if begin < done:
                message = f"A tensor begins at byte {begin} of the data, inside one that ends at byte {done}."
                self._findings.error("overlap", message, byte_offset=at)
            elif begin > self._aligned(done):
                message = f"{begin - done} bytes before this tensor belong to none."
                self._findings.warning("hole", message, byte_offset=at)
            done = max(done, end)
        size = self._cursor.size
        if data + done > size:
            message = f"The {tensors} tensors end at byte {data + done}, but the file ends at byte {size}."
            self._findings.error("truncated", message, byte_offset=size)
        elif size > data + self._aligned(done):
            message = f"{size - data - done} bytes follow the last tensor."
            self._findings.warning("trailing_bytes", message, byte_offset=data + done)

    def _aligned(self, offset: int) -> int:
        return -(-offset // self._alignment) * self._alignment


def _quoted(name: bytes) -> str:
    return repr(name[:100].decode("utf-8", "replace"))


def _recognises(head: Head) -> bool:
    return head.data.startswith(MAGIC)


FORMATS = (Format(NAME, Family.MODEL, check, (".gguf",), (), _recognises),)
