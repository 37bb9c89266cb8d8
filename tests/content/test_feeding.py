"""A file that comes in pieces is cut as it is when whole, however it comes."""

import random

import pytest

from helpers.patterns import pattern
from ingot.content import chunking, feeding


def fed(data: bytes, sizes: random.Random, largest: int) -> list[tuple[bytes, bytes]]:
    feeder, found, position = feeding.Feeder(), [], 0
    while position < len(data):
        size = sizes.randint(1, largest)
        found += feeder.feed(data[position : position + size])
        position += size
    return [(digest, bytes(piece)) for digest, piece in [*found, *feeder.finish()]]


@pytest.mark.parametrize("size", [0, 1, 70_000, feeding.WINDOW, feeding.WINDOW + 1, 20_000_003])
@pytest.mark.parametrize("largest", [300_000, 2_500_000, 9_000_000])
def test_pieces_are_cut_like_the_whole(size: int, largest: int) -> None:
    data = pattern(f"fed {size}", size)
    whole = [
        (each.digest, data[each.offset : each.offset + each.length]) for each in chunking.cut_bytes(data)
    ]
    assert fed(data, random.Random(size + largest), largest) == whole


def test_single_bytes_are_cut_like_the_whole_and_gather_in_one_buffer() -> None:
    data = pattern("single", 200_000)
    feeder = feeding.Feeder()
    for at in range(len(data)):
        assert feeder.feed(data[at : at + 1]) == []
    assert [len(piece) for _, piece in feeder.finish()] == [each.length for each in chunking.cut_bytes(data)]
