"""Where the tensors of a safetensors file lie: its header, read entry by entry as it flows by.

A file is 8 bytes with the length of the header (little endian), the header, and the data. The header is a
JSON object that gives each tensor its place in the data; the tensors cover the data without holes.
https://github.com/huggingface/safetensors#format is the whole format.
"""

import codecs
import json
import re
from collections.abc import Iterator
from typing import TypeGuard

from ingot.content.flow import Flow, Odd, Reading

MOST_HEADER = 100_000_000  # bytes, as the format says
MOST_TENSORS = 100_000
MOST_ENTRY = 1024 * 1024  # characters; the longest are texts in the metadata
_PREFIX = 8
_MOST_OFFSET = 2**60
_BLANK = re.compile(r"[ \t\r\n]*")


def begins(head: bytes) -> bool:
    """Return whether a file whose first 9 bytes these are may be one."""
    return 2 <= int.from_bytes(head[:_PREFIX], "little") <= MOST_HEADER and head[_PREFIX:] == b"{"


def read(head: bytes, flow: Flow) -> Reading[tuple[int, list[tuple[int, int]]]]:
    """Return where the header ends and the tensors from start to end, in order. Raises Odd."""
    length = int.from_bytes(head[:_PREFIX], "little")
    text = _Text(flow, length - (len(head) - _PREFIX))
    spans: list[tuple[int, int]] = []
    if (yield from text.sign()) == "}":
        raise Odd("no tensors")
    while True:
        name = yield from text.value()
        yield from text.expect(":")
        entry = yield from text.value()
        if name != "__metadata__":
            if not isinstance(name, str) or len(spans) == MOST_TENSORS:
                raise Odd("expected a name, and not so many")
            spans.append(_span(entry))
        if (yield from text.sign()) == "}":
            break
        yield from text.expect(",")
    yield from text.end()
    if not spans:
        raise Odd("no tensors")
    data = _PREFIX + length
    return data, [(data + start, data + end) for start, end in _in_order(spans)]


class _Text:
    """The header as text; only what was not read yet is kept."""

    def __init__(self, flow: Flow, left: int) -> None:
        self._flow, self._left = flow, left
        self._text, self._at = "", 0
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._decode = json.JSONDecoder().raw_decode

    def sign(self) -> Reading[str]:
        """Return the next character that is no blank, and stay in front of it."""
        while True:
            blank = _BLANK.match(self._text, self._at)
            self._at = blank.end() if blank else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            yield from self._more()

    def expect(self, sign: str) -> Reading[None]:
        """Go behind a character."""
        if (yield from self.sign()) != sign:
            raise Odd(f"expected {sign}")
        self._at += 1

    def value(self) -> Reading[object]:
        """Return the next value and go behind it."""
        yield from self.sign()
        while True:
            try:
                found: object
                found, end = self._decode(self._text, self._at)
            except (ValueError, RecursionError):  # wrong, or not all here
                if len(self._text) - self._at > MOST_ENTRY:
                    raise Odd("no JSON, or too much in one entry") from None
                yield from self._more()
                continue
            if end - self._at > MOST_ENTRY:
                raise Odd("too much in one entry")
            self._at = end
            return found

    def end(self) -> Reading[None]:
        """Go behind the object; nothing but spaces may follow."""
        yield from self.expect("}")
        while self._text[self._at :].isspace() or self._at == len(self._text):
            self._at = len(self._text)
            if self._left == 0:
                return
            yield from self._more()
        raise Odd("something follows the object")

    def _more(self) -> Reading[None]:
        if self._left == 0:
            raise Odd("the header ends early")
        data = yield from self._flow.some(min(self._left, MOST_ENTRY))  # what is decoded at once is bounded
        self._left -= len(data)
        try:
            fresh = self._utf8.decode(data, final=self._left == 0)
        except UnicodeDecodeError:
            raise Odd("no UTF-8") from None
        self._text, self._at = self._text[self._at :] + fresh, 0


def _span(entry: object) -> tuple[int, int]:
    span = entry.get("data_offsets") if _is_object(entry) else None
    if not _are_offsets(span):
        raise Odd("expected an object with data_offsets")
    return span[0], span[1]


def _in_order(spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    done = 0
    for start, end in sorted(spans):
        if start != done:
            raise Odd("tensors overlap, or leave a hole")
        done = end
        yield start, end


def _is_object(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)


def _are_offsets(value: object) -> TypeGuard[list[int]]:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(type(each) is int and 0 <= each < _MOST_OFFSET for each in value)
        and value[0] <= value[1]
    )
