"""The digests of one FindMissing: each is looked up once, however often it is asked for.

A look at a chunk that others have takes longer than one at a chunk that nobody has. Thousands for one digest
would add up to an answer that takes visibly long, and so tell whether it is stored for somebody else.
"""

from collections.abc import Sequence

from ingot.content import digests


def distinct(packed: bytes) -> bytes:
    """Return packed digests without those that came before."""
    size = digests.DIGEST_SIZE
    each = dict.fromkeys(packed[start : start + size] for start in range(0, len(packed), size))
    return packed if len(each) * size == len(packed) else b"".join(each)


def missing(packed: bytes, asked: bytes, present: Sequence[int]) -> bytes:
    """Return the bitmap of those digests of `packed` that do not stand at `present` in `asked`."""
    size = digests.DIGEST_SIZE
    count = len(packed) // size
    if len(asked) < len(packed):
        here = {asked[at * size : (at + 1) * size] for at in present}
        present = [at for at in range(count) if packed[at * size : (at + 1) * size] in here]
    bits = bytearray(b"\xff" * (count // 8)) + bytearray([(1 << count % 8) - 1] if count % 8 else [])
    for at in present:
        bits[at >> 3] &= ~(1 << (at & 7))
    return bytes(bits)
