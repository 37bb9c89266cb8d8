"""Which tensors a file of PyTorch holds, read from its pickle step by step; nothing is imported or called.

`torch.save` writes a zip whose `data.pkl` builds a dictionary of tensors. Here its opcodes move plain values
on a stack: texts, numbers, tuples and dictionaries as they are, a storage and a tensor as what they say about
themselves, and `Opaque` for all else. So a model is described without its bytes, which may be huge, and a
pickle that would run code does nothing here. Memory is bounded by the size of the pickle, and so is time: no
step looks through a value that others may share, since a few bytes make one that nobody could write out.
"""

import itertools
import math
import pickletools
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from ingot.server.formats import zip_entries as zips
from ingot.server.formats.cursor import MOST
from ingot.server.formats.seam import BinarySource

MOST_PICKLE = 8 * 1024 * 1024  # bytes; a large language model has under one
MOST_TENSORS = 100_000
_PICKLE = "/data.pkl"
_DEEPEST = 20  # dictionaries in dictionaries
_MOST_SIZES = 64  # of a tensor
_MOST_ARGUMENTS = 16  # of what makes a tensor
_STORAGES = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
    "ComplexFloatStorage": "C64",
    "ComplexDoubleStorage": "C128",
}
_DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
    "complex64": "C64",
    "complex128": "C128",
}
_REBUILDS = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3")
_WRAPPERS = ("_rebuild_parameter", "_rebuild_parameter_with_state")


class Unreadable(Exception):
    """The tensors cannot be told; the message says why."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor: its type such as `F32`, "" when it is not known, and its shape."""

    dtype: str
    shape: tuple[int, ...]
    place: tuple[str, int] = ("", 0)  # storage and offset: equal for a tensor that is there under two names

    @property
    def values(self) -> int:
        """Return how many numbers it has."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class _Name:
    module: str
    name: str


@dataclass(frozen=True, slots=True)
class _Storage:
    dtype: str
    key: str


@dataclass(slots=True)
class _Opaque:
    state: object = None


class _Mark:
    pass


def read(source: BinarySource, pause: Callable[[], None] = lambda: None) -> dict[str, Tensor]:
    """Return the tensors of a zip of torch.save by their names; those of optimizers are left out.

    `pause` is called now and then and may raise to stop it. Raises Unreadable, zips' Damaged, and what
    `zipfile` raises.
    """
    with zips.archive(source) as archive:
        found = [each for each in archive.infolist() if each.filename.endswith(_PICKLE)]
        if len(found) != 1:
            raise Unreadable(f"It has {len(found)} entries {_PICKLE[1:]}; expected one.")
        if found[0].file_size > MOST_PICKLE or found[0].flag_bits & 1:
            raise Unreadable(f"{_PICKLE[1:]} is encrypted, or has more than {MOST_PICKLE} bytes.")
        if found[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Unreadable(f"{_PICKLE[1:]} is packed in a way that torch.save does not use.")
        with archive.open(found[0]) as opened:
            data = opened.read(MOST_PICKLE + 1)
    if len(data) > MOST_PICKLE:
        raise Unreadable(f"{_PICKLE[1:]} has more than {MOST_PICKLE} bytes.")
    return dict(_named(_Machine(pause).run(data)))


def statistics(found: Mapping[str, Tensor]) -> dict[str, object]:
    """Return counts of tensors, parameters and types; a tensor with two names counts once."""
    once = {each.place: each for each in found.values()}.values()
    return {
        "tensors": len(once),
        "parameters": min(sum(each.values for each in once), MOST),
        "dtypes": dict(Counter(each.dtype for each in once if each.dtype)),
    }


@dataclass(slots=True)
class _Machine:
    """Runs the opcodes of a pickle over plain values."""

    pause: Callable[[], None]
    stack: list[object] = field(default_factory=list)
    memo: dict[int, object] = field(default_factory=dict)

    def run(self, data: bytes) -> object:
        """Return what the pickle builds. Raises Unreadable."""
        try:
            for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
                if count % 4096 == 0:
                    self.pause()
                if opcode.name == "STOP":
                    return self.stack.pop()
                self._step(opcode, argument)
        except (ValueError, IndexError, KeyError, TypeError) as failure:
            raise Unreadable(f"{_PICKLE[1:]} is no pickle of torch.save: {failure}"[:300]) from failure
        raise Unreadable(f"{_PICKLE[1:]} does not end.")

    def _step(self, opcode: pickletools.OpcodeInfo, argument: object) -> None:
        name, stack = opcode.name, self.stack
        if name in ("BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"):
            self.memo[len(self.memo) if name == "MEMOIZE" else int(str(argument))] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self.memo[int(str(argument))])
        elif name == "MARK":
            stack.append(_Mark())
        elif name in ("EMPTY_DICT", "EMPTY_TUPLE"):
            stack.append({} if name == "EMPTY_DICT" else ())
        elif name in ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"):
            stack.append(tuple(self._many(None if name == "TUPLE" else int(name[-1]))))
        elif name in ("SETITEM", "SETITEMS"):
            self._set(self._many(2 if name == "SETITEM" else None))
        elif name not in ("PROTO", "FRAME"):
            self._make(opcode, argument)

    def _make(self, opcode: pickletools.OpcodeInfo, argument: object) -> None:
        name, stack = opcode.name, self.stack
        if name == "GLOBAL":
            module, _, named = str(argument).partition(" ")
            stack.append(_Name(module, named))
        elif name == "STACK_GLOBAL":
            match self._many(2):
                case [str(module), str(named)]:
                    stack.append(_Name(module, named))
                case _:
                    stack.append(_Opaque())
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop()))
        elif name == "REDUCE":
            stack.append(_called(*self._many(2)))
        elif name == "BUILD":
            self._build()
        else:
            self._other(opcode, argument)

    def _other(self, opcode: pickletools.OpcodeInfo, argument: object) -> None:
        """Take and put as many values as the opcode says; numbers and texts are kept."""
        before = opcode.stack_before
        if any(each.name == "stackslice" for each in before):
            self._many(None)
            if opcode.name in ("APPENDS", "ADDITEMS"):
                return  # what they go into stays
            before = [each for each in before if each.name not in ("mark", "stackslice")]
        elif opcode.name == "APPEND":
            before = before[1:]  # the list stays
            for _ in before:
                self.stack.pop()
            return
        for _ in before:
            self.stack.pop()
        for _ in opcode.stack_after:
            plain = argument is None or isinstance(argument, int | str | float)
            self.stack.append(argument if plain and opcode.arg is not None else _Opaque())

    def _many(self, count: int | None) -> list[object]:
        """Take so many values, or all down to the last mark."""
        if count is None:
            places = range(len(self.stack) - 1, -1, -1)
            at = next((index for index in places if isinstance(self.stack[index], _Mark)), None)
            if at is None:
                raise ValueError("there is no mark")
            found = self.stack[at + 1 :]
            del self.stack[at:]
            return found
        if count > len(self.stack):
            raise ValueError("the stack is empty")
        found = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return found

    def _set(self, pairs: list[object]) -> None:
        target = self.stack[-1]
        if isinstance(target, dict):
            for key, value in zip(pairs[::2], pairs[1::2], strict=True):
                if isinstance(key, str | int):
                    target[key] = value

    def _build(self) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], _Opaque):
            self.stack[-1].state = state


def _storage(told: object) -> object:
    """Return the storage that a persistent id names: ('storage', type, key, device, count)."""
    match told:
        case ("storage", _Name(_, name), str(key) | int(key), *_):
            return _Storage(_STORAGES.get(name, ""), str(key))
    return _Opaque()


def _called(function: object, arguments: object) -> object:
    """Return what a function of torch would give, as far as it matters here."""
    if not isinstance(function, _Name) or not isinstance(arguments, tuple):
        return _Opaque()
    if (function.module, function.name) == ("collections", "OrderedDict"):
        return {}
    if function.name in _WRAPPERS and arguments:
        return arguments[0]
    if function.name in _REBUILDS and len(arguments) >= 3:
        return _tensor(arguments)
    return _Opaque()


def _tensor(arguments: tuple[object, ...]) -> object:
    storage, offset, shape = arguments[:3]
    if not isinstance(storage, _Storage) or not isinstance(shape, tuple) or not isinstance(offset, int):
        return _Opaque()
    sizes = tuple(each for each in shape[:_MOST_SIZES] if isinstance(each, int) and 0 <= each < 2**48)
    if len(sizes) != len(shape):
        return _Opaque()
    named = [
        _DTYPES[each.name]
        for each in arguments[:_MOST_ARGUMENTS]
        if isinstance(each, _Name) and each.name in _DTYPES
    ]
    return Tensor((named or [storage.dtype])[0], sizes, (storage.key, offset))


def _named(root: object) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors below a value, in their order, with dotted names."""
    waiting: list[tuple[str, object, int]] = [("", root, 0)]
    seen: set[int] = set()
    count = 0
    while waiting:
        name, value, depth = waiting.pop()
        if isinstance(value, Tensor):
            yield name, value
            count += 1
            if count == MOST_TENSORS:
                return
        inside = value.state if isinstance(value, _Opaque) else value
        if isinstance(inside, dict) and depth < _DEEPEST and id(inside) not in seen:
            seen.add(id(inside))
            items = list(itertools.islice(inside.items(), max(0, MOST_TENSORS - len(waiting))))
            waiting += [
                (_joined(name, str(key)), below, depth + 1)
                for key, below in reversed(items)
                if depth or "optim" not in str(key)
            ]


def _joined(name: str, key: str) -> str:
    """Return a dotted name; modules keep what they hold under names of their own."""
    if key in ("_modules", "_parameters", "_buffers"):
        return name
    return f"{name}.{key}"[:500] if name else key[:500]
