"""Pickles that run code when loaded, made opcode by opcode, and joblib files made by hand."""

import builtins
import collections
import os
import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Calls:
    """Loading a pickle of it calls a function."""

    function: Callable[..., object]
    arguments: tuple[object, ...]

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.function, self.arguments


EVIL = Calls(os.system, ("echo pwned",))


def evil(protocol: int = 4) -> bytes:
    """Return a pickle that runs a program."""
    return pickle.dumps({"weights": [1, 2, 3], "x": EVIL}, protocol)


def text(value: str) -> bytes:
    """Return the opcode of a short text."""
    data = value.encode()
    return b"\x8c" + bytes([len(data)]) + data


HIDDEN = {  # pickles with the offset of the opcode that imports
    "protocol 0": (b"cos\nsystem\n(S'id'\ntR.", 0),
    "behind values": (b"(lp0\nI1\naI2\na" + b"cposix\nsystem\n(S'id'\ntR.", 13),
    "INST": (b"(S'id'\nios\nsystem\n.", 7),
    "OBJ": (b"\x80\x02(cos\nsystem\nU\x02ido.", 3),
    "memoised names": (
        b"\x80\x04"
        + text("os")
        + b"\x94"
        + text("system")
        + b"\x9400h\x00h\x01\x93"
        + text("id")
        + b"\x85R.",
        2 + 5 + 9 + 2 + 4,
    ),
    "escaped names": (b"\x80\x04Vo\\u0073\nS'sys\\x74em'\n\x93" + text("id") + b"\x85R.", 2 + 9 + 13),
    "duplicated name": (b"\x80\x04" + text("code") + b"2\x93.", 9),
    "another order": (
        b"\x80\x04" + text("os") + text("collections") + b"0" + text("system") + b"\x93.",
        2 + 4 + 13 + 1 + 8,
    ),
    "dotted name": (b"\x80\x04" + text("collections") + text("_sys.modules") + b"\x93.", 2 + 13 + 14),
    "dotted name of a library": (
        b"\x80\x04" + text("sklearn.base") + text("os.system") + b"\x93.",
        2 + 14 + 11,
    ),
    "name made while loading": (
        b"\x80\x04c_codecs\nencode\n" + text("os") + b"\x85R" + text("system") + b"\x93.",
        2 + 16 + 4 + 2 + 8,
    ),
    "number of the memo taken twice": (  # so the next one is 1 again, and not 2
        b"\x80\x04"
        + text("collections")
        + b"q\x01q\x010"
        + text("os")
        + b"\x940h\x01"
        + text("system")
        + b"\x93.",
        2 + 13 + 5 + 4 + 2 + 2 + 8,
    ),
    "extension registry": (b"\x80\x02\x82\x07.", 2),
    "call of what a call returned": (b"\x80\x04ccollections\ndeque\n)R)R.", 2 + 19 + 3),
    "second pickle": (pickle.dumps([1, 2], 4) + b"cos\nsystem\n(S'id'\ntR.", len(pickle.dumps([1, 2], 4))),
    "broken behind it": (b"\x80\x04cos\nsystem\n" + text("id") + b"\x85R\xff\xff\xff", 2),
    "cut behind it": (b"\x80\x04cos\nsystem\nX\xff\xff\xff\x7f", 2),
}

SAFE_VALUES: dict[str, object] = {
    "plain": {"a": [1, 2.5, None, True, "x" * 1000], "b": (b"bytes", {1, 2}, frozenset({3}))},
    "ordered": collections.OrderedDict(a=1),
    "default": collections.defaultdict(list, a=[1]),
    "array": np.arange(1000, dtype=np.float32).reshape(10, 100),
    "scalar": np.float64(1.5),
    "objects": np.array([1, "a", None], dtype=object),
    "structured": np.zeros(3, dtype=[("a", "i4"), ("b", "f8")]),
    "random": np.random.default_rng(1),
    "complex": 1 + 2j,
    "range": builtins.range(3),
}


def joblib_file(
    values: list[np.ndarray],
    raw: list[bytes] | None = None,
    *,
    aligned: bool = True,
    protocol: int = 2,
    before: bytes = b"",
) -> bytes:
    """Return a joblib file with a list of arrays; `raw` replaces their bytes, or the pickles of objects.

    `protocol` is that of arrays of objects, `before` opcodes that leave the stack as it is.
    """
    out = bytearray(b"\x80\x04" + before + b"]\x94(")
    for number, value in enumerate(values):
        out += b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}("
        out += text("subclass") + b"cnumpy\nndarray\n"
        out += text("shape") + b"(" + b"".join(b"J" + struct.pack("<i", each) for each in value.shape) + b"t"
        out += text("order") + text("C") + text("dtype") + pickle.dumps(value.dtype, 2)[2:-1]
        out += text("allow_mmap") + b"\x88"
        if aligned:
            out += text("numpy_array_alignment_bytes") + b"K\x10"
        out += b"ub"
        if value.dtype.hasobject:
            out += raw[number] if raw else pickle.dumps(value, protocol)
            continue
        if aligned:
            padding = 16 - (len(out) + 1) % 16
            out += bytes([padding]) + b"\xff" * padding
        out += raw[number] if raw else value.tobytes()
    return bytes(out + b"e.")
