"""JSON of bodies as messages: nothing that was stored fails to be told."""

import json
import math

from google.protobuf import json_format, struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from ingot.server.core.json_values import JsonValue
from ingot.server.rpc import json_structs

NUMBERS = st.integers(-(2**53), 2**53) | st.floats()
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
LEAVES = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES: st.SearchStrategy[JsonValue] = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=20,
)


def plain(value: JsonValue) -> JsonValue:
    """Return a value as it comes back: numbers are floats there, and what is no number is text."""
    match value:
        case bool() | None | str():
            return value
        case int() | float():
            return float(value) if math.isfinite(value) else str(value)
        case dict():
            return {name: plain(each) for name, each in value.items()}
        case _:
            assert isinstance(value, list)
            return [plain(each) for each in value]


@given(st.dictionaries(TEXTS, VALUES, min_size=1, max_size=4))
def test_what_is_told_is_what_was_stored(values: dict[str, JsonValue]) -> None:
    message = json_structs.struct(values)
    assert message is not None
    back = struct_pb2.Struct.FromString(message.SerializeToString())
    assert json_format.MessageToDict(back) == plain(values)


def test_nothing_stays_unset() -> None:
    assert json_structs.struct({}) is None


def test_what_is_nested_too_deep_for_a_message_is_told_as_text() -> None:
    deep: JsonValue = "end"
    for _ in range(200):
        deep = {"in": deep}
    message = json_structs.struct({"top": deep})
    assert message is not None
    found: JsonValue = json_format.MessageToDict(struct_pb2.Struct.FromString(message.SerializeToString()))
    levels = 0
    while isinstance(found, dict):
        found, levels = next(iter(found.values())), levels + 1
    assert isinstance(found, str)
    assert levels >= 20
    assert found.count('"in"') + levels == 201
    assert json.loads(found)
