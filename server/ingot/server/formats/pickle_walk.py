"""Follow the opcodes of a pickle without running any: what it imports, at which byte, and what it calls.

The walk keeps the stack and the memo of the pickle machine with values that are known only as far as needed
(`pickle_values`), so a name is found however it got to STACK_GLOBAL: memoised, duplicated, escaped. A name
that cannot be found counts as unsafe, and so do calls of what another call returned. What comes before damage
is reported before the damage.

Own code, because picklescan 1.0 would not do: it holds all opcodes (and each string) in memory, tells no
offsets, does not get past the raw arrays of joblib, and guesses the names of STACK_GLOBAL from the strings
before it. The opcode table and its names are those of `pickletools`.
"""

import codecs
import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field

from ingot.server.formats import pickle_imports as imports
from ingot.server.formats import pickle_values as values
from ingot.server.formats.pickle_imports import Verdict
from ingot.server.formats.pickle_memo import Memo
from ingot.server.formats.pickle_pieces import Damaged, Pieces
from ingot.server.formats.pickle_values import (
    INSTANCE,
    MADE,
    UNTOLD,
    DataType,
    Fields,
    Import,
    Value,
    Wrapper,
)

MOST_STACK = 1_000_000
MOST_IMPORTS = 20_000  # that are told apart
_MOST_TEXT = 512  # bytes of a text that can be a name
_MOST_LINE = 64 * 1024 * 1024  # of protocol 0, which writes everything in lines
_MOST_NAME_LINE = 4096
_TELL_EVERY = 4096  # opcodes
_LENGTHS = {
    pickletools.TAKEN_FROM_ARGUMENT1: (1, False),
    pickletools.TAKEN_FROM_ARGUMENT4: (4, True),
    pickletools.TAKEN_FROM_ARGUMENT4U: (4, False),
    pickletools.TAKEN_FROM_ARGUMENT8U: (8, False),
}
_TABLE = {ord(each.code): each for each in pickletools.opcodes}


@dataclass(slots=True)
class Seen:
    """What the walks over one file met."""

    opcodes: int = 0
    pickles: int = 0
    tensors: int = 0
    imports: dict[Import, Verdict] = field(default_factory=dict)


Report = Callable[[Verdict, str, int], None]  # what, told in words, at which byte of the content


class Walk:
    """One pass over pickles that lie in a row.

    With `guess` the content may be no pickle at all. What no machine would get past (a module that cannot be
    named so, a call of a number) is then damage, as it is for who loads it: raw numbers are full of such.
    """

    def __init__(
        self,
        pieces: Pieces,
        seen: Seen,
        report: Report,
        tell: Callable[[int], None],
        *,
        arrays: bool = False,
        guess: bool = False,
    ) -> None:
        self.skipped = 0  # arrays gone past
        self._pieces = pieces
        self._seen = seen
        self._report = report
        self._tell = tell
        self._arrays = arrays
        self._guess = guess
        self._begin: int = 0
        self._stack: list[Value] = []
        self._marks: list[int] = []  # heights of the stack
        self._memo = Memo()
        self._calls: dict[str, Callable[[Value], None]] = {
            "GLOBAL": self._global,
            "STACK_GLOBAL": self._stack_global,
            "INST": self._inst,
            "OBJ": self._obj,
            "REDUCE": self._reduce,
            "NEWOBJ": self._new,
            "NEWOBJ_EX": self._new_with_names,
            "EXT1": self._extension,
            "EXT2": self._extension,
            "EXT4": self._extension,
        }

    def pickle(self, depth: int = 0) -> None:
        """Walk over one pickle, to its STOP. Raises Damaged."""
        held = (self._stack, self._marks, self._memo)
        self._stack, self._marks, self._memo = [], [], Memo()
        while True:
            self._begin = self._pieces.place
            code = self._pieces.take(1)[0]
            opcode = _TABLE.get(code)
            if opcode is None:
                raise Damaged(f"There is no opcode {code:#04x}.")
            self._seen.opcodes += 1
            if not self._seen.opcodes % _TELL_EVERY:
                self._tell(self._begin)
            argument = self._argument(opcode)
            if opcode.name == "STOP":
                self._pop()
                break
            self._step(opcode, argument, depth)
            if len(self._stack) + len(self._marks) > MOST_STACK:
                raise Damaged(f"More than {MOST_STACK} values are on the stack.", "pickle_too_deep")
        self._seen.pickles += 1
        self._stack, self._marks, self._memo = held

    def _argument(self, opcode: pickletools.OpcodeInfo) -> Value:
        """Return the argument of an opcode, UNTOLD when it is too long to be a name."""
        kind = opcode.arg
        if kind is None:
            return None
        if kind.n >= 0:
            data = self._pieces.take(kind.n)
            return int.from_bytes(data, "little", signed=kind.name == "int4") if kind.n <= 4 else UNTOLD
        if kind.n == pickletools.UP_TO_NEWLINE:
            return self._lines(opcode.name)
        width, signed = _LENGTHS[kind.n]
        size = int.from_bytes(self._pieces.take(width), "little", signed=signed)
        if size < 0:
            raise Damaged(f"The length of a value is {size}.")
        if size > _MOST_TEXT:
            self._pieces.skip(size)
            return UNTOLD
        data = self._pieces.take(size)
        if opcode.name.startswith("LONG"):
            return int.from_bytes(data, "little", signed=True)
        return (
            data.decode("utf-8", "replace") if "UNICODE" in opcode.name or "STRING" in opcode.name else UNTOLD
        )

    def _lines(self, name: str) -> Value:
        if name in ("GLOBAL", "INST"):
            module = self._pieces.line(_MOST_NAME_LINE).decode("utf-8", "replace")
            return Import(module, self._pieces.line(_MOST_NAME_LINE).decode("utf-8", "replace"))
        line = self._pieces.line(_MOST_LINE)
        if len(line) > _MOST_TEXT:
            return UNTOLD
        try:
            if name == "UNICODE":
                return line.decode("raw-unicode-escape")
            if name == "STRING":
                return codecs.escape_decode(line.strip()[1:-1])[0].decode("utf-8", "replace")
            if name in ("INT", "LONG", "GET", "PUT"):
                return int(line.rstrip(b"L"))
        except ValueError:
            raise Damaged(f"{name} is followed by {line[:40]!r}.") from None
        return UNTOLD

    def _step(self, opcode: pickletools.OpcodeInfo, argument: Value, depth: int) -> None:
        name = opcode.name
        if name in _TEXTS:
            self._stack.append(argument)
        elif name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            self._put(len(self._memo) if name == "MEMOIZE" else argument)
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self._stack.append(self._memo.get(argument) if isinstance(argument, int) else MADE)
        elif name == "MARK":
            self._marks.append(len(self._stack))
        elif name == "POP":
            if self._marks and self._marks[-1] == len(self._stack):
                self._marks.pop()
            else:
                self._pop()
        elif name == "DUP":
            self._stack.append(self._top())
        elif name in self._calls:
            self._calls[name](argument)
        elif name == "BUILD":
            self._build(depth)
        else:
            self._other(opcode)

    def _other(self, opcode: pickletools.OpcodeInfo) -> None:
        """Do what the table says: so many values away, so many there."""
        name = opcode.name
        if name in ("EMPTY_DICT", "NONE", "EMPTY_TUPLE", "NEWTRUE", "NEWFALSE"):
            self._stack.append(_CONSTANTS[name]())
        elif name == "TUPLE":
            self._stack.append(values.pack(self._slice()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            items = [self._pop() for _ in range(int(name[-1]))]
            self._stack.append(values.pack(items[::-1]))
        elif name in ("SETITEM", "SETITEMS"):
            items = self._slice() if name == "SETITEMS" else [self._pop(), self._pop()][::-1]
            target = self._top()
            if isinstance(target, Fields):
                target.add(items)
        elif name == "DICT":
            fields = Fields()
            fields.add(self._slice())
            self._stack.append(fields)
        else:
            before = [each.name for each in opcode.stack_before]
            if "mark" in before:
                self._slice()
                before = before[: before.index("mark")]
            for _ in before:
                self._pop()
            after = MADE if name in _ELSEWHERE else UNTOLD
            self._stack.extend(after for _ in opcode.stack_after)

    def _put(self, number: Value) -> None:
        if not isinstance(number, int):
            raise Damaged("A value is memoised without a number.")
        self._memo.put(number, self._top())

    def _pop(self) -> Value:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise Damaged("An opcode takes a value and there is none.")
        return self._stack.pop()

    def _top(self) -> Value:
        value = self._pop()
        self._stack.append(value)
        return value

    def _slice(self) -> list[Value]:
        if not self._marks:
            raise Damaged("An opcode takes values down to a mark and there is none.")
        height = self._marks.pop()
        items = self._stack[height:]
        del self._stack[height:]
        return items

    def _import(self, target: Import) -> None:
        if self._guess and not (imports.is_name(target.module) and imports.is_name(target.name)):
            raise Damaged("It imports what no module is named like.")
        verdict = imports.judge(target.module, target.name)
        if target in self._seen.imports or len(self._seen.imports) < MOST_IMPORTS:
            self._seen.imports[target] = verdict
        if verdict is not Verdict.SAFE:
            self._report(verdict, f"imports {_shown(target.module)}.{_shown(target.name)}", self._begin)
        self._stack.append(target)

    def _global(self, argument: Value) -> None:
        if isinstance(argument, Import):
            self._import(argument)

    def _stack_global(self, _: Value) -> None:
        name, module = self._pop(), self._pop()
        if isinstance(name, str) and isinstance(module, str):
            self._memo.named(module, name)
            self._import(Import(module, name))
        else:
            self._need(*(each is MADE or isinstance(each, str) for each in (module, name)))
            self._report(
                Verdict.UNSAFE, "imports what is named by a value that is made while loading", self._begin
            )
            self._stack.append(UNTOLD)

    def _inst(self, argument: Value) -> None:
        self._slice()
        self._global(argument)
        self._called(self._pop(), UNTOLD)

    def _obj(self, _: Value) -> None:
        items = self._slice()
        if not items:
            raise Damaged("OBJ takes a class and there is none.")
        self._called(items[0], values.pack(items[1:]))

    def _reduce(self, _: Value) -> None:
        arguments = self._pop()
        self._called(self._pop(), arguments)

    def _new(self, _: Value) -> None:
        arguments = self._pop()
        self._stack.append(values.called(self._pop(), arguments))

    def _new_with_names(self, _: Value) -> None:
        self._pop()
        self._new(None)

    def _extension(self, argument: Value) -> None:
        self._need(False)  # nothing registers extensions any more, and without it loading stops
        what = f"imports extension {argument}, whose name only the machine that loads it knows"
        self._report(Verdict.UNSAFE, what, self._begin)
        self._stack.append(UNTOLD)

    def _called(self, target: Value, arguments: Value) -> None:
        if not isinstance(target, Import):
            self._need(target is MADE or target is INSTANCE)
            self._report(Verdict.UNSAFE, "calls what another call returned", self._begin)
        elif target.module == "torch._utils" and "tensor" in target.name:
            self._seen.tensors += 1
        result = values.called(target, arguments)
        if isinstance(arguments, tuple) and values.ARRAY in arguments and not isinstance(result, Wrapper):
            self._report(Verdict.UNSAFE, "hides where an array is", self._begin)
        self._stack.append(result)

    def _need(self, *possible: bool) -> None:
        """Stop a guess where something is used as a name, or called, that certainly is neither."""
        if self._guess and not all(possible):
            raise Damaged("It uses a value as what it is not.")

    def _build(self, depth: int) -> None:
        state = self._pop()
        target = self._top()
        if isinstance(target, DataType):
            values.set_state(target, state)
        if isinstance(target, Wrapper) and not isinstance(state, Fields):
            self._report(Verdict.UNSAFE, "hides where an array is", self._begin)
        if not self._arrays or depth or not isinstance(target, Wrapper):
            return  # inside an array of objects joblib loads a plain pickle
        array = values.inline(state)
        if array is None:
            raise Damaged(
                "The size of an array cannot be told; what follows was not checked.", "rest_unchecked"
            )
        self.skipped += 1
        if array.objects:
            self.pickle(depth + 1)
            return
        if array.aligned:
            self._pieces.skip(self._pieces.take(1)[0])
        self._pieces.skip(array.size)


def _shown(text: str) -> str:
    return text if imports.is_name(text) and len(text) <= 100 else repr(text[:100])


_TEXTS = frozenset(
    each.name
    for each in pickletools.opcodes
    if (
        each.arg is not None and (each.name.endswith(("UNICODE", "UNICODE8", "STRING")) or "INT" in each.name)
    )
    or each.name in ("LONG", "LONG1", "LONG4")
)
_ELSEWHERE = frozenset({"PERSID", "BINPERSID", "NEXT_BUFFER", "READONLY_BUFFER"})  # whoever loads gives it
_CONSTANTS: dict[str, Callable[[], Value]] = {
    "EMPTY_DICT": Fields,
    "NONE": lambda: None,
    "EMPTY_TUPLE": tuple,
    "NEWTRUE": lambda: 1,
    "NEWFALSE": lambda: 0,
}
