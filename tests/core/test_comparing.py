"""How two objects of JSON are compared, however long the way to what differs is."""

from ingot.server.core.comparing import ChangeKind, ValueChange, compare
from ingot.server.core.json_values import JsonObject


def test_nested_objects_are_compared_key_by_key() -> None:
    before: JsonObject = {"a": {"x": 1, "y": [1, 2]}, "b": 1, "same": {"z": None}}
    after: JsonObject = {"a": {"x": 2, "z": None}, "b": True, "same": {"z": None}}
    assert compare(before, after) == (
        ValueChange(("a", "x"), ChangeKind.CHANGED, 1, 2),
        ValueChange(("a", "y"), ChangeKind.REMOVED, before=[1, 2]),
        ValueChange(("a", "z"), ChangeKind.ADDED, after=None),
        ValueChange(("b",), ChangeKind.CHANGED, 1, True),
    )


def test_a_long_key_is_not_repeated_for_all_that_stands_below_it() -> None:
    key, other = "k" * 30_000, "other"
    before = {key: {str(number): 0 for number in range(2500)}, other: {"x": 1}, "same": {"y": 1}}
    after = {key: {str(number): 1 for number in range(2500)}, other: {"x": 2}, "same": {"y": 1}}
    assert compare(before, after) == (
        ValueChange((key,), ChangeKind.CHANGED, before[key], after[key]),
        ValueChange((other,), ChangeKind.CHANGED, before[other], after[other]),
    )
