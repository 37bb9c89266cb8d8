"""Pieces of a stream become chunks again, and every contradiction is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.patterns import pattern
from ingot.content import digests
from ingot.server.core.chunks import ChunkAssembler, ReceivedChunk
from ingot.server.core.errors import Invalid, Reason
from ingot.server.core.packs import MAX_CHUNK_SIZE


def _digest(data: bytes) -> bytes:
    return digests.chunk_digest(data)


def _joined(chunks: list[ReceivedChunk]) -> list[tuple[bytes, bytes]]:
    return [(chunk.digest, b"".join(chunk.pieces)) for chunk in chunks]


def _assembler(*chunks: bytes) -> ChunkAssembler:
    return ChunkAssembler(len(chunks), sum(map(len, chunks)))


def test_several_chunks_in_one_message() -> None:
    first, second = b"one", b"second"
    assembler = _assembler(first, second)
    done = assembler.feed(_digest(first) + _digest(second), [3, 6], first + second, more=False)
    assert _joined(done) == [(_digest(first), first), (_digest(second), second)]
    assembler.finish(2, 9)


def test_small_pieces_are_joined_and_tiny_chunks_come_in_bounded_number() -> None:
    large = pattern("joined", MAX_CHUNK_SIZE)
    assembler = ChunkAssembler(1, len(large))
    assert assembler.feed(_digest(large), [len(large)], large[:7], more=True) == []
    for start in range(7, 40_000, 7):
        assembler.feed(b"", [], large[start : min(start + 7, 40_000)], more=True)
    assembler.feed(b"", [], large[40_000:90_000], more=True)
    assembler.feed(b"", [], large[90_000:90_001], more=True)
    (done,) = assembler.feed(b"", [], large[90_001:], more=False)
    assert _joined([done]) == [(_digest(large), large)]
    assert len(done.pieces) == 4
    many = ChunkAssembler(10_000, 10_000)
    with pytest.raises(Invalid) as caught:
        many.feed(_digest(b"1") * 8193, [1] * 8193, b"1" * 8193, more=False)
    assert caught.value.reason is Reason.BAD_LENGTH


def test_a_chunk_goes_on_over_messages() -> None:
    large = pattern("large", 1000)
    assembler = _assembler(b"ab", large)
    done = assembler.feed(_digest(b"ab") + _digest(large), [2, 1000], b"ab" + large[:300], more=True)
    assert _joined(done) == [(_digest(b"ab"), b"ab")]
    assert assembler.feed(b"", [], large[300:700], more=True) == []
    done = assembler.feed(b"", [], large[700:], more=False)
    assert _joined(done) == [(_digest(large), large)]
    assembler.finish(2, 1002)


@given(
    st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=12),
    st.lists(st.integers(1, 60), min_size=1, max_size=40),
)
def test_any_cut_into_messages_gives_the_same_chunks(chunks: list[bytes], sizes: list[int]) -> None:
    assembler = _assembler(*chunks)
    found: list[tuple[bytes, bytes]] = []
    ends = [sum(map(len, chunks[: index + 1])) for index in range(len(chunks))]
    body, position, turn = b"".join(chunks), 0, 0
    while position < len(body):
        end = min(len(body), position + sizes[turn % len(sizes)])
        starting = [
            chunk for chunk, stop in zip(chunks, ends, strict=True) if position <= stop - len(chunk) < end
        ]
        packed = b"".join(map(_digest, starting))
        found += _joined(
            assembler.feed(packed, list(map(len, starting)), body[position:end], more=end not in ends)
        )
        position, turn = end, turn + 1
    assembler.finish(len(chunks), len(body))
    assert found == [(_digest(chunk), chunk) for chunk in chunks]


@pytest.mark.parametrize(
    ("packed", "lengths", "data", "more"),
    [
        (bytes(32), [4], b"abc", False),  # too few bytes
        (bytes(32), [2], b"abc", False),  # too many
        (bytes(31), [3], b"abc", False),  # half a digest
        (bytes(64), [3], b"abc", False),  # two digests, one length
        (bytes(32), [0], b"", False),  # nothing is no chunk
        (bytes(32), [MAX_CHUNK_SIZE + 1], b"abc", True),  # above the limit
        (bytes(32), [2**32 - 1], b"abc", True),
        (bytes(32), [3], b"abc", True),  # says it goes on, but it is complete
        (bytes(64), [3, 3], b"abc", False),  # a chunk that never begins
        (b"", [], b"abc", False),  # bytes of nothing
    ],
)
def test_lies_about_lengths_are_refused(packed: bytes, lengths: list[int], data: bytes, more: bool) -> None:
    assembler = ChunkAssembler(100, 2**33)
    with pytest.raises(Invalid) as refused:
        assembler.feed(packed, lengths, data, more=more)
    assert refused.value.reason is Reason.BAD_LENGTH


def test_more_than_declared_is_refused_at_once() -> None:
    assembler = ChunkAssembler(1, 3)
    with pytest.raises(Invalid, match="more than that came"):
        assembler.feed(_digest(b"abcd"), [4], b"abcd", more=False)
    assembler = ChunkAssembler(1, 100)
    with pytest.raises(Invalid, match="more than that came"):
        assembler.feed(_digest(b"a") * 2, [1, 1], b"aa", more=False)


@pytest.mark.parametrize(("chunks", "size"), [(2, 3), (0, 3), (1, 2), (1, 4)])
def test_finish_must_name_what_came(chunks: int, size: int) -> None:
    assembler = ChunkAssembler(1, 3)
    assembler.feed(_digest(b"abc"), [3], b"abc", more=False)
    with pytest.raises(Invalid) as refused:
        assembler.finish(chunks, size)
    assert refused.value.reason is Reason.BAD_LENGTH


def test_less_than_declared_is_refused_at_the_end() -> None:
    assembler = ChunkAssembler(2, 6)
    assembler.feed(_digest(b"abc"), [3], b"abc", more=False)
    with pytest.raises(Invalid, match="declares 2 chunks"):
        assembler.finish(1, 3)


def test_finish_in_the_middle_of_a_chunk_is_refused() -> None:
    assembler = ChunkAssembler(1, 3)
    assembler.feed(_digest(b"abc"), [3], b"ab", more=True)
    with pytest.raises(Invalid, match="2 of 3 bytes"):
        assembler.finish(1, 3)
