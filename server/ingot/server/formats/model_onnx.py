"""Check ONNX files: the protobuf message is walked field by field, and tensors are stepped over.

The `onnx` package parses a whole model into memory, so only the wire format is read here, by the fields of
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto that hold graphs and tensors. A tensor may live in a
file beside the model; one that reaches outside the version would read any file of the machine that loads it.
"""

import math
from collections import Counter
from dataclasses import dataclass, field

from ingot.server.core.params import FileReport
from ingot.server.formats.cursor import MOST, Broken, Cursor, report_unsafe
from ingot.server.formats.seam import Family, Format, Inspection

NAME = "onnx"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DEEPEST = 64
_LONGEST = 4096  # bytes of a name or a path
_MOST_KEPT = 1000  # different names of operators, domains and files
_EXTERNAL = 1
_TYPES = {  # of TensorProto.DataType: name, bits of a value; strings have none
    1: ("float", 32),
    2: ("uint8", 8),
    3: ("int8", 8),
    4: ("uint16", 16),
    5: ("int16", 16),
    6: ("int32", 32),
    7: ("int64", 64),
    8: ("string", 0),
    9: ("bool", 8),
    10: ("float16", 16),
    11: ("double", 64),
    12: ("uint32", 32),
    13: ("uint64", 64),
    14: ("complex64", 64),
    15: ("complex128", 128),
    16: ("bfloat16", 16),
    17: ("float8e4m3fn", 8),
    18: ("float8e4m3fnuz", 8),
    19: ("float8e5m2", 8),
    20: ("float8e5m2fnuz", 8),
    21: ("uint4", 4),
    22: ("int4", 4),
    23: ("float4e2m1", 4),
    24: ("float8e8m0", 8),
    25: ("uint2", 2),
    26: ("int2", 2),
}
_INSIDE = {  # message: field number: message in it
    "model": {7: "graph", 8: "opset", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 9: "opset", 11: "attribute"},
    "tensor": {13: "entry"},
}


def check(inspection: Inspection) -> FileReport:
    """Check the structure of a model, the sizes of its tensors, and where tensors outside of it are."""
    model = _Model(inspection)
    try:
        model.read()
    except Broken as broken:
        inspection.findings.error(broken.reason, broken.message, byte_offset=broken.byte_offset)
    inspection.progress(inspection.source.size)
    return FileReport(
        path=inspection.path,
        size_bytes=inspection.source.size,
        format=NAME,
        validator=NAME,
        statistics={
            "ir_version": model.version,
            "opsets": model.opsets,
            "nodes": model.nodes,
            "tensors": sum(model.types.values()),
            "parameters": min(model.parameters, MOST),
            "types": dict(model.types),
            "external_files": sorted(model.files),
        },
    )


@dataclass(slots=True)
class _Tensor:
    name: str = ""
    shape: list[int] = field(default_factory=list)
    kind: int = 0
    raw: int | None = None  # bytes of raw_data
    raw_at: int = 0
    external: bool = False
    location: str | None = None


class _Model:
    def __init__(self, inspection: Inspection) -> None:
        self.version = 0
        self.opsets: dict[str, int] = {}
        self.nodes = 0
        self.parameters = 0
        self.types: Counter[str] = Counter()
        self.files: set[str] = set()
        self._inspection = inspection
        self._findings = inspection.findings
        self._cursor = Cursor(inspection)
        self._graphs = 0

    def read(self) -> None:
        self._message("model", self._cursor.size, 0)
        end = self._cursor.size
        if not self._graphs:
            self._findings.error("no_graph", "The model has no graph.", byte_offset=end)
        if not self.version:
            self._findings.error("no_version", "The model has no ir_version.", byte_offset=end)
        if self.version >= 3 and not self.opsets:
            self._findings.error("no_opset", "The model imports no operator set.", byte_offset=end)

    def _message(self, kind: str, end: int, depth: int) -> None:
        """Walk the fields of a message that ends at a byte."""
        if depth > _DEEPEST:
            raise Broken("too_deep", f"Messages are nested deeper than {_DEEPEST}.", self._cursor.offset)
        inside = _INSIDE.get(kind, {})
        opset: list[object] = ["", 0]
        while self._cursor.offset < end:
            number, wire, at = self._tag(end)
            if wire == _VARINT:
                value = self._varint(end)
                if kind == "model" and number == 1:
                    self.version = value
                elif kind == "opset" and number == 2:
                    opset[1] = value
            elif wire == _BYTES:
                length, below = self._length(end), inside.get(number)
                if below == "tensor":
                    self._tensor(self._cursor.offset + length, at)
                elif below is not None:
                    self.nodes += below == "node"
                    self._graphs += kind == "model" and below == "graph"
                    self._message(below, self._cursor.offset + length, depth + 1)
                elif kind == "opset" and number == 1:
                    opset[0] = self._text(length)
                else:
                    self._cursor.skip(length, "A field")
            else:
                self._fixed(wire, end, at)
        if kind == "opset" and len(self.opsets) < _MOST_KEPT and isinstance(opset[1], int):
            self.opsets[str(opset[0]) or "ai.onnx"] = min(opset[1], MOST)

    def _tensor(self, end: int, at: int) -> None:
        found = _Tensor()
        while self._cursor.offset < end:
            number, wire, place = self._tag(end)
            if wire == _VARINT:
                value = self._varint(end)
                if number == 1:
                    self._dimension(found, value, place)
                elif number == 2:
                    found.kind = value
                elif number == 14:
                    found.external = value == _EXTERNAL
            elif wire == _BYTES:
                length = self._length(end)
                stop = self._cursor.offset + length
                if number == 1:
                    while self._cursor.offset < stop:
                        self._dimension(found, self._varint(stop), place)
                elif number == 13:
                    self._entry(found, stop)
                elif number == 8 and length <= _LONGEST:
                    found.name = self._cursor.take(length, "A name").decode("utf-8", "replace")
                else:
                    if number == 9:
                        found.raw, found.raw_at = length, place
                    self._cursor.skip(length, "The data of a tensor")
            else:
                self._fixed(wire, end, place)
        self._judge(found, at)

    def _dimension(self, found: _Tensor, value: int, at: int) -> None:
        if value >= 2**63 or len(found.shape) == 64:
            raise Broken("invalid_tensor", "A dimension is negative, or there are more than 64.", at)
        found.shape.append(value)

    def _entry(self, found: _Tensor, end: int) -> None:
        """Read one entry of external_data; the place of an unsafe path is where its text begins."""
        key = ""
        while self._cursor.offset < end:
            number, wire, at = self._tag(end)
            if wire != _BYTES:
                raise Broken("invalid_field", f"Wire type {wire} in external_data; expected text.", at)
            length = self._length(end)
            at = self._cursor.offset
            text = self._text(length)
            if number == 1:
                key = text
            elif number == 2 and key == "location":
                found.location = text
                if _leaves(text):
                    message = f"A tensor is read from {text[:200]!r}; expected a path inside the version."
                    report_unsafe(self._inspection, message, at)

    def _judge(self, found: _Tensor, at: int) -> None:
        if found.kind not in _TYPES:
            message = f"A tensor has data type {found.kind}; expected 1 to {max(_TYPES)}."
            self._findings.error("unknown_type", message, byte_offset=at)
            return
        name, bits = _TYPES[found.kind]
        values = math.prod(found.shape)
        self.types[name] += 1
        self.parameters += values
        self._inspection.tensor(found.name, name, found.shape)
        needed = -(-values * bits // 8)
        if found.external and found.location is None:
            self._findings.error("no_location", "A tensor in another file has no location.", byte_offset=at)
        elif found.external and found.location is not None and len(self.files) < _MOST_KEPT:
            self.files.add(found.location[:200])
        elif found.raw is not None and bits and found.raw != needed:
            message = f"A tensor of {name} and shape {found.shape} needs {needed} bytes, got {found.raw}."
            self._findings.error("size_mismatch", message, byte_offset=found.raw_at)

    def _tag(self, end: int) -> tuple[int, int, int]:
        at = self._cursor.offset
        tag = self._varint(end)
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 2**29 or wire not in (_VARINT, _FIXED64, _BYTES, _FIXED32):
            raise Broken("invalid_field", f"Field {number} of wire type {wire} is in no ONNX model.", at)
        return number, wire, at

    def _varint(self, end: int) -> int:
        at, value = self._cursor.offset, 0
        for shift in range(0, 70, 7):
            if self._cursor.offset >= end:
                break
            byte = self._cursor.take(1, "A number")[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & (2**64 - 1)
        if self._cursor.offset >= self._cursor.size:
            raise Broken("truncated", "The file ends inside a number.", self._cursor.size)
        raise Broken("invalid_field", "A number does not end.", at)

    def _length(self, end: int) -> int:
        at = self._cursor.offset
        length = self._varint(end)
        self._cursor.need(length, "A field")
        if self._cursor.offset + length > end:
            raise Broken("invalid_field", f"A field of {length} bytes reaches out of its message.", at)
        return length

    def _fixed(self, wire: int, end: int, at: int) -> None:
        self._cursor.skip(8 if wire == _FIXED64 else 4, "A number")
        if self._cursor.offset > end:
            raise Broken("invalid_field", "A number reaches out of its message.", at)

    def _text(self, length: int) -> str:
        at = self._cursor.offset
        if length > _LONGEST:
            raise Broken("too_long", f"A name has {length} bytes; expected at most {_LONGEST}.", at)
        try:
            return self._cursor.take(length, "A name").decode("utf-8")
        except UnicodeDecodeError as failure:
            message = f"A name is no UTF-8 ({failure.reason})."
            raise Broken("invalid_utf8", message, at + failure.start) from None


def _leaves(path: str) -> bool:
    """Return whether a path leaves the folder of the model, on any system."""
    parts = path.replace("\\", "/").split("/")
    return not path or parts[0] == "" or ".." in parts or ":" in path or "\0" in path


FORMATS = (Format(NAME, Family.MODEL, check, (".onnx",)),)
