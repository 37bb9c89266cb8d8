"""Messages filled from plain mappings, with an error that names the key and the nearest right one."""

import difflib
from collections.abc import Mapping
from datetime import timedelta
from typing import TypeVar

from google.protobuf import duration_pb2, json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from ingot.client._errors import Invalid

M = TypeVar("M", bound=Message)
V = TypeVar("V")

_KINDS = {
    FieldDescriptor.CPPTYPE_BOOL: "true or false",
    FieldDescriptor.CPPTYPE_DOUBLE: "a number",
    FieldDescriptor.CPPTYPE_INT32: "a whole number",
    FieldDescriptor.CPPTYPE_INT64: "a whole number",
    FieldDescriptor.CPPTYPE_STRING: "text",
    FieldDescriptor.CPPTYPE_MESSAGE: "a time such as 90s",
}
_NUMBERS = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64)


def filled(target: M, values: Mapping[str, object] | M | None, what: str) -> M:
    """Return `target` with the values of a message or of a mapping. Raises Invalid naming the key."""
    if values is None:
        return target
    if isinstance(values, Message):
        target.CopyFrom(values)
        return target
    known = {name for field in target.DESCRIPTOR.fields for name in (field.name, field.json_name)}
    for key, value in values.items():
        if key not in known:
            raise _unknown(what, key, known)
        try:
            json_format.ParseDict({key: value}, target)
        except json_format.ParseError as failure:
            raise _wrong_kind(target, what, key, value) from failure
    return target


def _wrong_kind(target: Message, what: str, key: str, value: object) -> Invalid:
    field = next(field for field in target.DESCRIPTOR.fields if key in (field.name, field.json_name))
    expected = "a list" if field.is_repeated else _KINDS[field.cpp_type]
    return Invalid(
        f"{what}.{key}: expected {expected}, got {value!r}.",
        reason="FIELD_INVALID",
        facts={"field": f"{what}.{key}"},
        next_step=f"Write for example {key}=1" if field.cpp_type in _NUMBERS else "",
    )


def _unknown(what: str, key: str, known: set[str]) -> Invalid:
    near = difflib.get_close_matches(key, known, n=1)
    return Invalid(
        f"{what}: there is no setting {key!r}.",
        reason="FIELD_INVALID",
        facts={"field": f"{what}.{key}"},
        next_step=f"Did you mean {near[0]}?" if near else f"Known: {', '.join(sorted(known))}",
    )


def one_of(word: str, known: Mapping[str, V], field: str) -> V:
    """Return the value behind a word. Raises Invalid with the words there are."""
    if word not in known:
        raise Invalid(
            f"{field}: expected one of {', '.join(known)}, got {word!r}.",
            reason="FIELD_INVALID",
            facts={"field": field},
            next_step=f"Use {next(iter(known))} for example.",
        )
    return known[word]


def duration_of(span: timedelta) -> duration_pb2.Duration:
    """Return a span as a message."""
    made = duration_pb2.Duration()
    made.FromTimedelta(span)
    return made
