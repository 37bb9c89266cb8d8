"""Make the bytes of small model files, right ones and wrong ones."""

import json
import struct


def safetensors(header: object, data: bytes = b"", *, pad: int = 0) -> bytes:
    """Return a file with this header, an object or its text."""
    text = header if isinstance(header, str) else json.dumps(header, separators=(",", ":"))
    raw = text.encode() + b" " * pad
    return len(raw).to_bytes(8, "little") + raw + data


class Gguf:
    """Writes a GGUF file; `order` is the byte order as of `struct`."""

    def __init__(self, order: str = "<", version: int = 3) -> None:
        self._order = order
        self._version = version
        self._keys: list[bytes] = []
        self._tensors: list[bytes] = []

    def number(self, code: str, value: int) -> bytes:
        """Return a number in the byte order of the file."""
        return struct.pack(self._order + code, value)

    def text(self, value: str | bytes) -> bytes:
        """Return a string with its length."""
        raw = value.encode() if isinstance(value, str) else value
        return self.number("Q", len(raw)) + raw

    def key(self, name: str | bytes, kind: int, value: bytes) -> "Gguf":
        """Add a metadata key whose value is already packed."""
        self._keys.append(self.text(name) + self.number("I", kind) + value)
        return self

    def tensor(self, name: str, shape: tuple[int, ...], kind: int, begin: int) -> "Gguf":
        """Add a tensor."""
        packed = b"".join(self.number("Q", each) for each in shape)
        head = self.text(name) + self.number("I", len(shape)) + packed
        self._tensors.append(head + self.number("I", kind) + self.number("Q", begin))
        return self

    def head(self, tensors: int | None = None, keys: int | None = None) -> bytes:
        """Return the file without data; the counts are those of what was added, unless given."""
        counts = self.number("Q", len(self._tensors) if tensors is None else tensors)
        counts += self.number("Q", len(self._keys) if keys is None else keys)
        begin = b"GGUF" + self.number("I", self._version) + counts
        return begin + b"".join(self._keys) + b"".join(self._tensors)

    def file(self, data: bytes, alignment: int = 32) -> bytes:
        """Return the file with its data."""
        head = self.head()
        return head + bytes(-len(head) % alignment) + data
