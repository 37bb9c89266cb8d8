"""A file that comes in pieces is cut as it is when whole, however it comes."""

import random

import pytest

from helpers.patterns import pattern
from ingot.content import chunking, cuts, feeding


@pytest.mark.parametrize("size", [0, 1, 70_000, feeding.WINDOW, feeding.WINDOW + 1, 20_000_003])
@pytest.mark.parametrize("largest", [300_000, 2_500_000, 9_000_000])
def test_pieces_are_cut_like_the_whole(size: int, largest: int) -> None:
    data, sizes = pattern(f"fed {size}", size), random.Random(size + largest)
    feeder, found, position = feeding.Feeder(cuts.TENSOR), list[feeding.Piece](), 0
    while position < size:
        end = position + sizes.randint(1, largest)
        found += feeder.feed([data[position:end]])
        position = end
    found += feeder.feed([], last=True)
    whole = [
        (each.digest, data[each.offset : each.offset + each.length]) for each in chunking.cut_bytes(data)
    ]
    assert [(digest, bytes(piece)) for digest, piece in found] == whole


def test_single_bytes_gather_in_one_buffer_in_order() -> None:
    data = pattern("single", 200_000)
    gathered = feeding.Gathered()
    for at in range(100_000):
        gathered.add(data[at : at + 1])
    gathered.add(data[100_000:199_999])
    gathered.add(data[199_999:])
    assert gathered.size == 200_000
    parts = gathered.take()
    assert [len(part) for part in parts] == [100_000, 99_999, 1]
    assert b"".join(parts) == data
    assert (gathered.size, gathered.take()) == (0, [])
