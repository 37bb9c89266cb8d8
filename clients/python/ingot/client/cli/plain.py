"""Messages as plain JSON values for `--json`: the proto's field names, numbers as numbers, bytes as hex.

The mapping of protobuf itself writes 64-bit numbers as text, which `jq '.size_bytes > 1000'` would take for
true always. Fields without presence are there even when empty, others when they are set.
"""

import json
import math
import re
from collections.abc import Mapping

from google.protobuf import json_format
from google.protobuf.message import Message

_HIGH_CONTROLS = re.compile(r"[\x7f-\x9f]")  # json writes these as they are, and some terminals obey them

Plain = dict[str, "Plain"] | list["Plain"] | str | int | float | bool | None


def dumps(value: Plain, indent: int | None = None) -> str:
    """Return the JSON text, one line unless told to indent; control characters in JSON's own notation."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _HIGH_CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def message(source: Message) -> Plain:
    """Return a message as plain values."""
    if source.DESCRIPTOR.full_name.startswith("google.protobuf."):
        known: Plain = json_format.MessageToDict(source)  # times, spans and free structures as text, as usual
        return _in_order(known)
    found: dict[str, Plain] = {}
    for field in source.DESCRIPTOR.fields:
        if field.has_presence and not source.HasField(field.name):
            continue
        value = getattr(source, field.name)
        words = field.enum_type.values_by_number if field.enum_type is not None else {}
        names = {number: known.name for number, known in words.items()}
        if isinstance(value, Mapping):
            found[field.name] = {str(key): _value(value[key], names) for key in sorted(value)}
        elif field.is_repeated:
            found[field.name] = [_value(each, names) for each in value]
        else:
            found[field.name] = _value(value, names)
    return found


def whole(value: Plain) -> Plain:
    """Return a value of a free structure in order; whole numbers, kept as doubles there, are whole again."""
    if isinstance(value, dict):
        return {key: whole(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _in_order(value: Plain) -> Plain:
    """Return a value with its keys in order; free structures come in none."""
    if isinstance(value, dict):
        return {key: _in_order(value[key]) for key in sorted(value)}
    return [_in_order(each) for each in value] if isinstance(value, list) else value


def _value(value: object, names: Mapping[int, str]) -> Plain:
    """Return one value; `names` are those of its enum, none when it is no enum."""
    if isinstance(value, Message):
        return message(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, int) and value in names:
        return names[value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if value is None or isinstance(value, bool | int | float | str):  # None is null in a free structure
        return value
    raise TypeError(f"no JSON for {type(value).__name__}")
