"""Plain dictionaries to google.protobuf.Struct."""

from collections.abc import Mapping

from google.protobuf import struct_pb2

from ingot.client._errors import Invalid


def struct_of(values: Mapping[str, object] | None, what: str) -> struct_pb2.Struct:
    """Return a Struct of JSON-like values; integers become floating point. Raises Invalid naming the key."""
    struct = struct_pb2.Struct()
    for key, value in (values or {}).items():
        try:
            struct.update({key: value})  # type: ignore[dict-item]  # it judges the value itself
        except (TypeError, ValueError, AttributeError) as failure:
            raise Invalid(
                f"{what}: the value of {key!r} is no JSON: {value!r}.",
                reason="FIELD_INVALID",
                next_step="Use text, numbers, true or false, and lists or dictionaries of these.",
            ) from failure
    return struct
