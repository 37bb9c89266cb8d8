"""JSON values as they were stored, as messages: whatever a body reported can be told.

Unlike what callers send, which is checked on its way in, this comes from programs that read the outside
world: numbers that are none become text, and so does what is nested deeper than a message may be.
"""

import json
import math
from collections.abc import Mapping

from google.protobuf import struct_pb2

from ingot.server.core.json_values import JsonObject, JsonValue

_DEPTH = 24  # levels; messages nest up to 100 deep, and each level takes three


def struct(values: JsonObject) -> struct_pb2.Struct | None:
    """Return an object as a Struct, None when it is empty."""
    return _struct(values, 1) if values else None


def _struct(values: JsonObject, depth: int) -> struct_pb2.Struct:
    return struct_pb2.Struct(fields={name: _value(each, depth) for name, each in values.items()})


def _value(value: JsonValue, depth: int) -> struct_pb2.Value:
    match value:
        case None:
            return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
        case bool():
            return struct_pb2.Value(bool_value=value)
        case int() | float():
            if math.isfinite(value):
                return struct_pb2.Value(number_value=value)
            return struct_pb2.Value(string_value=str(value))
        case str():
            return struct_pb2.Value(string_value=value)
        case _ if depth >= _DEPTH:
            return struct_pb2.Value(string_value=json.dumps(value, ensure_ascii=False))
        case Mapping():
            return struct_pb2.Value(struct_value=_struct(value, depth + 1))
        case _:
            items = [_value(each, depth + 1) for each in value]
            return struct_pb2.Value(list_value=struct_pb2.ListValue(values=items))
