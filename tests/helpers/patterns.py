"""Deterministic bytes for tests, by the rules of tests/vectors/README.md."""

from collections.abc import Mapping

from blake3 import blake3


def pattern(seed: str, size: int) -> bytes:
    """Return the first `size` bytes of BLAKE3's extendable output over `seed`: always the same."""
    return blake3(seed.encode()).digest(length=size)


def vector_bytes(source: Mapping[str, object]) -> bytes:
    """Return the bytes that a vector's `input` describes."""
    match source:
        case {"hex": str(text)}:
            return bytes.fromhex(text)
        case {"zeros": int(count)}:
            return bytes(count)
        case {"pattern": {"seed": str(seed), "size": int(size)}}:
            return pattern(seed, size)
        case {"parts": list(parts)}:
            return b"".join(map(vector_bytes, parts))
    raise ValueError(f"unknown input of a vector: {source!r}")
