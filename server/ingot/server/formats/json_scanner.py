"""Find the exact place where JSON is broken: the first byte after which no continuation can be valid.

`orjson` is fast and says only roughly where it stopped, so it reads what is good, and this reads what is bad.
It is also the check of a JSON document of any size: a state machine that takes the text in pieces and keeps
the open brackets and the keys of the open objects. RFC 8259, and as strict as `orjson` beyond it: no lone
surrogates, no numbers beyond a double, at most MAX_DEPTH brackets open. Bytes that are no UTF-8 are not its
business (`json_document.py` looks for them); within strings it lets them pass.
"""

import json
import math
import re
from enum import Enum, auto

MAX_DEPTH = 200
MAX_KEYS = 100_000  # of one object that are compared for being there twice
_MAX_NUMBER = 1000  # characters of a number that are kept; a longer one is beyond a double or its precision
_MAX_KEY = 4096

_SPACE = re.compile(rb"[ \t\r\n]*")
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*+')
_STRING = re.compile(rb'"([^"\\\x00-\x1f]*+)"')
_NUMBER = re.compile(rb"[0-9.eE+-]*")
_EXPONENT = rb"[eE](?:[+-]?[0-9]*)"
_NUMBER_BEGUN = re.compile(  # the longest beginning of a number
    rb"-?(?:(?:0|[1-9][0-9]*)(?:\.(?:[0-9]+(?:" + _EXPONENT + rb")?)?|" + _EXPONENT + rb")?)?"
)
_NUMBER_WHOLE = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_LITERALS = {ord("t"): b"true", ord("f"): b"false", ord("n"): b"null"}


class JsonError(Exception):
    """Broken JSON: where, and what was expected there."""

    def __init__(self, offset: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.offset = offset
        self.reason = reason
        self.message = message


class _Want(Enum):
    """What may come next."""

    VALUE = auto()
    VALUE_OR_END = auto()  # after [
    KEY = auto()
    KEY_OR_END = auto()  # after {
    COLON = auto()
    COMMA_OR_END = auto()
    NOTHING = auto()  # behind the document


_EXPECTED = {
    _Want.VALUE: "a value",
    _Want.VALUE_OR_END: "a value or ]",
    _Want.KEY: "a key in double quotes",
    _Want.KEY_OR_END: "a key in double quotes or }",
    _Want.COLON: "a colon",
    _Want.COMMA_OR_END: "a comma or the closing bracket",
    _Want.NOTHING: "the end",
}


class _Part(Enum):
    """What the scanner is inside of."""

    STRUCTURE = auto()
    STRING = auto()
    ESCAPE = auto()  # behind a backslash
    HEX = auto()  # behind \\u
    NUMBER = auto()
    LITERAL = auto()


class JsonScanner:
    """Reads one JSON document in pieces: `feed` each, then `finish`; JsonError tells the first defect."""

    def __init__(self, max_depth: int = MAX_DEPTH) -> None:
        self.offset = 0  # of what comes next
        self.twice: tuple[int, str] | None = None  # the first key that its object has already: offset, key
        self.values = 0  # strings, numbers and literals
        self.deepest = 0
        self._max_depth = max_depth
        self._want = _Want.VALUE
        self._part = _Part.STRUCTURE
        self._open: list[set[str] | None] = []  # keys of each open object, None for an array
        self._begin = 0  # offset of the string, number or literal that is being read
        self._is_key = False
        self._token = bytearray()  # number, literal, key or hex digits so far
        self._high: int | None = None  # offset of a high surrogate that waits for its low one

    def feed(self, data: bytes) -> None:
        """Read the next piece."""
        at, end, base = 0, len(data), self.offset
        while at < end:
            if self._part is _Part.STRUCTURE:
                at = _end(_SPACE, data, at)
                if at < end:
                    at = self._structure(data, at, base)
            elif self._part is _Part.STRING:
                at = self._string(data, at, base)
            elif self._part is _Part.NUMBER:
                at = self._number(data, at)
            elif self._part is _Part.LITERAL:
                at = self._literal(data, at, base)
            else:
                at = self._escape(data, at, base)
        self.offset = base + end

    def finish(self) -> None:
        """Say that there is no more."""
        if self._part is _Part.NUMBER:
            self._end_number(self.offset)
        if self._part is not _Part.STRUCTURE:
            inside = "string" if self._part in (_Part.STRING, _Part.ESCAPE, _Part.HEX) else "literal"
            raise JsonError(self.offset, "json_syntax", f"The text ends inside a {inside}.")
        if self._want is not _Want.NOTHING:
            raise JsonError(
                self.offset, "json_syntax", f"The text ends too early; expected {_EXPECTED[self._want]}."
            )

    # --- structure --------------------------------------------------------------------------------------

    def _structure(self, data: bytes, at: int, base: int) -> int:
        byte, want = data[at], self._want
        if byte == 0x22 and want not in (_Want.COLON, _Want.COMMA_OR_END, _Want.NOTHING):  # "
            return self._begin_string(data, at, base)
        if want is _Want.COMMA_OR_END and byte == 0x2C:  # ,
            self._want = _Want.VALUE if self._open[-1] is None else _Want.KEY
        elif want is _Want.COLON and byte == 0x3A:  # :
            self._want = _Want.VALUE
        elif byte in (0x5D, 0x7D) and self._may_close(byte):  # ] }
            self._open.pop()
            self._ended()
        elif want in (_Want.VALUE, _Want.VALUE_OR_END):
            return self._begin_value(data, at, base)
        else:
            raise self._unexpected(byte, base + at)
        return at + 1

    def _may_close(self, byte: int) -> bool:
        if self._want not in (_Want.COMMA_OR_END, _Want.VALUE_OR_END, _Want.KEY_OR_END):
            return False
        return (self._open[-1] is None) == (byte == 0x5D)

    def _begin_value(self, data: bytes, at: int, base: int) -> int:
        byte = data[at]
        if byte in (0x5B, 0x7B):  # [ {
            if len(self._open) >= self._max_depth:
                raise JsonError(
                    base + at, "too_deep", f"More than {self._max_depth} brackets are open; expected fewer."
                )
            self._open.append(None if byte == 0x5B else set())
            self.deepest = max(self.deepest, len(self._open))
            self._want = _Want.VALUE_OR_END if byte == 0x5B else _Want.KEY_OR_END
            return at + 1
        if byte == 0x2D or 0x30 <= byte <= 0x39:
            self._part = _Part.NUMBER
        elif byte in _LITERALS:
            self._part = _Part.LITERAL
        else:
            raise self._unexpected(byte, base + at)
        self._begin = base + at
        self._token.clear()
        return at

    def _ended(self) -> None:
        """Go on behind a value."""
        self._part = _Part.STRUCTURE
        self._want = _Want.COMMA_OR_END if self._open else _Want.NOTHING

    def _unexpected(self, byte: int, offset: int) -> JsonError:
        reason = "nul" if byte == 0 else "json_syntax"
        if self._want is _Want.NOTHING:
            return JsonError(
                offset, reason, f"Something follows the value: {_shown(byte)}; expected the end."
            )
        return JsonError(offset, reason, f"Expected {_EXPECTED[self._want]}, got {_shown(byte)}.")

    # --- strings ----------------------------------------------------------------------------------------

    def _begin_string(self, data: bytes, at: int, base: int) -> int:
        self._begin = base + at
        self._is_key = self._want in (_Want.KEY, _Want.KEY_OR_END)
        if whole := _STRING.match(data, at):
            self._end_string(whole[1])
            return whole.end()
        self._part = _Part.STRING
        self._token.clear()
        return at + 1

    def _string(self, data: bytes, at: int, base: int) -> int:
        end = _end(_PLAIN, data, at)
        if self._is_key and len(self._token) < _MAX_KEY:
            self._token += data[at:end]
        if self._high is not None and (end > at or (end < len(data) and data[end] != 0x5C)):
            raise self._lone(self._high)
        if end == len(data):
            return end
        byte = data[end]
        if byte == 0x22:
            self._end_string(bytes(self._token))
        elif byte == 0x5C:
            self._part = _Part.ESCAPE
        elif byte == 0:
            raise JsonError(base + end, "nul", "A NUL byte inside a string; expected text.")
        else:
            raise JsonError(
                base + end,
                "control_character",
                f"{_shown(byte)} inside a string; expected it escaped, or the string closed before.",
            )
        return end + 1

    def _end_string(self, raw: bytes) -> None:
        if self._is_key:
            self._note_key(raw)
            self._part, self._want = _Part.STRUCTURE, _Want.COLON
        else:
            self.values += 1
            self._ended()

    def _note_key(self, raw: bytes) -> None:
        keys = self._open[-1]
        if self.twice is not None or keys is None or len(keys) >= MAX_KEYS or len(raw) >= _MAX_KEY:
            return
        text = raw.decode("utf-8", "surrogateescape")
        key = json.loads(f'"{text}"') if "\\" in text else text
        if key in keys:
            self.twice = (self._begin, key)
        keys.add(key)

    def _escape(self, data: bytes, at: int, base: int) -> int:
        byte = data[at]
        if self._part is _Part.HEX:
            return self._hex(byte, at, base)
        if self._high is not None and byte != 0x75:
            raise self._lone(self._high)
        if self._is_key:
            self._token += b"\\" + data[at : at + 1]
        if byte == 0x75:  # u
            self._part = _Part.HEX
            self._code = b""
        elif byte in b'"\\/bfnrt':
            self._part = _Part.STRING
        else:
            raise JsonError(
                base + at,
                "json_syntax",
                f'Expected one of "\\/bfnrtu behind the backslash, got {_shown(byte)}.',
            )
        return at + 1

    _code = b""

    def _hex(self, byte: int, at: int, base: int) -> int:
        if byte not in b"0123456789abcdefABCDEF":
            raise JsonError(base + at, "json_syntax", f"Expected four hex digits, got {_shown(byte)}.")
        self._code += bytes((byte,))
        if self._is_key:
            self._token.append(byte)
        if len(self._code) == 4:
            self._part = _Part.STRING
            self._surrogate(int(self._code, 16), base + at - 5)
        return at + 1

    def _surrogate(self, code: int, offset: int) -> None:
        """Take an escaped character into account; a high surrogate needs a low one right behind it."""
        if 0xDC00 <= code <= 0xDFFF:
            if self._high is None:
                raise self._lone(offset)
            self._high = None
        elif self._high is not None:
            raise self._lone(self._high)
        elif 0xD800 <= code <= 0xDBFF:
            self._high = offset

    def _lone(self, offset: int) -> JsonError:
        return JsonError(offset, "lone_surrogate", "Half of a surrogate pair; expected a whole character.")

    # --- numbers and literals ---------------------------------------------------------------------------

    def _number(self, data: bytes, at: int) -> int:
        end = _end(_NUMBER, data, at)
        if len(self._token) <= _MAX_NUMBER:
            self._token += data[at:end]
        if end < len(data):
            self._end_number(self._begin + len(self._token))
        return end

    def _end_number(self, behind: int) -> None:
        token = bytes(self._token)
        good = _end(_NUMBER_BEGUN, token, 0)
        if good < len(token):
            got = _shown(token[good])
            raise JsonError(self._begin + good, "json_syntax", f"{got} cannot stand there in a number.")
        if len(token) > _MAX_NUMBER:
            raise JsonError(self._begin, "huge_number", f"A number of more than {_MAX_NUMBER} characters.")
        if not _NUMBER_WHOLE.fullmatch(token):
            raise JsonError(behind, "json_syntax", "The number ends too early; expected a digit.")
        if math.isinf(float(token)):
            raise JsonError(self._begin, "huge_number", "The number is beyond the range of a double.")
        self.values += 1
        self._ended()

    def _literal(self, data: bytes, at: int, base: int) -> int:
        byte = data[at]
        word = _LITERALS[self._token[0] if self._token else byte]
        if byte != word[len(self._token)]:
            raise JsonError(base + at, "json_syntax", f"Expected {word.decode()}, got {_shown(byte)} in it.")
        self._token.append(byte)
        if len(self._token) == len(word):
            self.values += 1
            self._ended()
        return at + 1


def scan(text: bytes, max_depth: int = MAX_DEPTH) -> JsonScanner:
    """Read a whole document and return the scanner. Raises JsonError."""
    scanner = JsonScanner(max_depth)
    scanner.feed(text)
    scanner.finish()
    return scanner


def _end(pattern: re.Pattern[bytes], data: bytes, at: int) -> int:
    """Return where a pattern that may match nothing ends."""
    found = pattern.match(data, at)
    return found.end() if found else at


def _shown(byte: int) -> str:
    if 0x21 <= byte < 0x7F:
        return chr(byte)
    names = {0: "a NUL byte", 9: "a tab", 10: "a line feed", 13: "a carriage return", 32: "a space"}
    return names.get(byte, f"byte 0x{byte:02x}")
