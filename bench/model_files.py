"""Model files for measuring: tensors as a small language model has them, written as three formats.

A tensor is its seed and size; its bytes come from a random generator, piece by piece, so that a file of any
size takes little memory and the same tensor has the same bytes in every file.
"""

import json
import random
import struct
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

MIB = 1024 * 1024
_GGUF_WORDS = 150_000
_ALIGNMENT = 32


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of `size` bytes."""

    name: str
    size: int
    seed: str

    def pieces(self) -> Iterator[bytes]:
        """Yield its bytes."""
        source = random.Random(self.seed)
        for start in range(0, self.size, MIB):
            yield source.randbytes(min(MIB, self.size - start))


def language_model(size: int, about: str = "") -> list[Tensor]:
    """Return some 200 tensors of about `size` bytes together, in 16 bits; other ones for each `about`."""
    layers = 18
    width = max(64, int((size / 2 / (layers * 12 + 40)) ** 0.5)) // 32 * 32
    found = [("embed", 40 * width * width)]
    for layer in range(layers):
        shapes = {"q": 1, "k": 1, "v": 1, "o": 1, "gate": 2.5, "up": 2.5, "down": 3}
        found += [(f"layers.{layer}.{name}", int(part * width * width)) for name, part in shapes.items()]
        found += [(f"layers.{layer}.{name}", width) for name in ("norm", "post_norm", "q_bias", "k_bias")]
    found.append(("norm", width))
    return [Tensor(name, 2 * count // _ALIGNMENT * _ALIGNMENT, f"{about} {name}") for name, count in found]


def changed(tensors: Sequence[Tensor], share: float, size_by: float = 1.0) -> list[Tensor]:
    """Return them with others in place of those that make up this share of the bytes, at most."""
    left = share * sum(each.size for each in tensors)
    order = random.Random(1).sample(range(len(tensors)), len(tensors))
    new = list(tensors)
    for at in order:
        each = tensors[at]
        if each.size <= left:
            left -= each.size
            size = int(each.size * size_by) // _ALIGNMENT * _ALIGNMENT
            new[at] = replace(each, seed=f"{each.seed}, {share}", size=size)
    return new


def write_safetensors(place: Path, tensors: Sequence[Tensor], note: str = "") -> int:
    """Write a file and return its size."""
    header: dict[str, object] = {"__metadata__": {"format": "pt", "note": note}}
    begin = 0
    for each in tensors:
        span = [begin, begin + each.size]
        header[each.name] = {"dtype": "BF16", "shape": [each.size // 2], "data_offsets": span}
        begin += each.size
    text = json.dumps(header, separators=(",", ":")).encode()
    return _write(place, len(text).to_bytes(8, "little") + text, tensors)


def write_gguf(place: Path, tensors: Sequence[Tensor]) -> int:
    """Write a file with a vocabulary in front and return its size."""

    def text(value: str) -> bytes:
        return len(value.encode()).to_bytes(8, "little") + value.encode()

    words = b"".join(text(f"word{at:x}") for at in range(_GGUF_WORDS))
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 1)
    head += text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, _GGUF_WORDS) + words
    begin = 0
    for each in tensors:
        head += text(each.name) + struct.pack("<IQIQ", 1, each.size // 2, 1, begin)
        begin += each.size
    return _write(place, head + bytes(-len(head) % _ALIGNMENT), tensors)


def write_torch(place: Path, tensors: Sequence[Tensor]) -> int:
    """Write what `torch.save` writes, its pickle apart, and return its size."""
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr("archive/data.pkl", json.dumps([each.name for each in tensors]))
        for at, each in enumerate(tensors):
            member = zipfile.ZipInfo(f"archive/data/{at}")
            assert archive.fp is not None
            room = -(archive.fp.tell() + 30 + len(member.filename) + 4) % 64
            member.extra = struct.pack("<2sH", b"FB", room) + b"Z" * room
            with archive.open(member, "w") as file:
                for piece in each.pieces():
                    file.write(piece)
        archive.writestr("archive/version", "3\n")
    return place.stat().st_size


def _write(place: Path, head: bytes, tensors: Sequence[Tensor]) -> int:
    with place.open("wb") as file:
        file.write(head)
        for each in tensors:
            for piece in each.pieces():
                file.write(piece)
    return place.stat().st_size
