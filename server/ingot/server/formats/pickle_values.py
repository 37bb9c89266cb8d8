"""What a walk over a pickle knows of the values on its stack; all else is UNTOLD.

Texts, small numbers and small tuples are known as what they are. They are needed for two things: the names of
what STACK_GLOBAL imports, and the sizes of the arrays that joblib puts between opcodes.
"""

import math
import re
from dataclasses import dataclass, field

_CODE = re.compile(r"[<>=|]?([?bBhHiIlLqQefdgFDGOSUVMmcau])(\d*)")
_CLASS = re.compile(r"_?[A-Z]\w*|\w+_(matrix|array)")
_HAS_OBJECT = 1  # of the flags of a numpy dtype
_FLAGS, _STATE = 7, 8  # place of the flags in a dtype's state, least length of one that has them
_ITEMS = 64  # most of a tuple or the fields of a dictionary that is known
_CHARACTER = 4  # bytes


@dataclass(frozen=True, slots=True)
class Import:
    """Something imported."""

    module: str
    name: str


class Untold:
    """A value of which little is known.

    UNTOLD is no name and nothing to call, an INSTANCE of a class is no name, MADE by a call may be both.
    """


@dataclass(slots=True)
class DataType:
    """A numpy dtype: bytes of an item, or None when they cannot be told."""

    item: int | None
    objects: bool  # its arrays are pickles themselves


@dataclass(slots=True)
class Wrapper:
    """What joblib puts where an array is: the bytes of the array follow when it is complete."""


@dataclass(slots=True)
class Fields:
    """A small dictionary with names as keys."""

    values: "dict[str, Value]" = field(default_factory=dict)

    def add(self, items: "list[Value]") -> None:
        """Take keys and values in turn."""
        for key, value in zip(items[::2], items[1::2], strict=False):
            if isinstance(key, str) and len(self.values) < _ITEMS:
                self.values[key] = value


Value = Import | Untold | DataType | Wrapper | Fields | str | int | None | tuple["Value", ...]
UNTOLD = Untold()
INSTANCE = Untold()
MADE = Untold()
_PLAIN = {  # classes whose instances are no names and cannot be called
    "builtins": {
        "set",
        "frozenset",
        "bytearray",
        "bytes",
        "int",
        "float",
        "complex",
        "list",
        "dict",
        "tuple",
    },
    "collections": {"OrderedDict", "defaultdict", "deque", "Counter"},
    "datetime": {"datetime", "date", "time", "timedelta", "timezone"},
    "decimal": {"Decimal"},
}
_PLAIN["__builtin__"] = _PLAIN["builtins"]
_NDARRAY = Import("numpy", "ndarray")
ARRAY = Import("joblib.numpy_pickle", "NumpyArrayWrapper")


def pack(items: list[Value]) -> Value:
    """Return a tuple of the values when it is small."""
    return tuple(items) if len(items) <= _ITEMS else UNTOLD


def called(target: Value, arguments: Value) -> Value:
    """Return what calling something safe gives."""
    if not isinstance(target, Import) or not isinstance(arguments, tuple):
        return MADE
    if target.name == "dtype" and target.module == "numpy" and arguments and isinstance(arguments[0], str):
        return _data_type(arguments[0])
    if target == ARRAY or (target.name == "_reconstructor" and arguments[:1] == (ARRAY,)):
        return Wrapper()
    if target.name in _PLAIN.get(target.module, ()):
        return UNTOLD
    if target.module.startswith(("numpy.core.", "numpy._core.")):
        if target.name == "_reconstruct" and arguments[:1] == (_NDARRAY,):
            return UNTOLD
        if (
            target.name == "scalar"
            and arguments
            and isinstance(arguments[0], DataType)
            and not arguments[0].objects
        ):
            return UNTOLD
        return MADE
    return INSTANCE if _CLASS.fullmatch(target.name) and target.module != "builtins" else MADE


def set_state(data_type: DataType, state: Value) -> None:
    """Complete a dtype by its state: one with fields may hold objects."""
    if isinstance(state, tuple) and len(state) >= _STATE:
        flags = state[_FLAGS]
        data_type.objects |= not isinstance(flags, int) or bool(flags & _HAS_OBJECT)


@dataclass(frozen=True, slots=True)
class Inline:
    """An array between opcodes: a pickle of its own, or so many raw bytes, after padding if `aligned`."""

    objects: bool
    size: int
    aligned: bool


def inline(state: Value) -> Inline | None:
    """Return what follows the state of a wrapper; None when that cannot be told."""
    if not isinstance(state, Fields):
        return None
    shape, data_type = state.values.get("shape"), state.values.get("dtype")
    if not isinstance(shape, tuple) or not isinstance(data_type, DataType):
        return None
    sizes = [each for each in shape if isinstance(each, int) and each >= 0]
    if len(sizes) != len(shape):
        return None
    if data_type.objects:
        return Inline(True, 0, False)
    if data_type.item is None:
        return None
    aligned = state.values.get("numpy_array_alignment_bytes") is not None
    return Inline(False, math.prod(sizes) * data_type.item, aligned)


def _data_type(code: str) -> DataType:
    match = _CODE.fullmatch(code)
    if match is None or not match[2]:
        return DataType(None, False)
    item = int(match[2][:12]) * (_CHARACTER if match[1] == "U" else 1)
    return DataType(item, match[1] == "O")
