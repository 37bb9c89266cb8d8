"""A push over a path that is too thin for how it begins: it sends less at once, until all arrives."""

import os
import pathlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from helpers import pipelines
from helpers.patterns import pattern
from ingot.client import Endpoint
from ingot.client._bearers import FixedToken
from ingot.client._calls import Calls
from ingot.client._channels import Link
from ingot.client._identity import headers
from ingot.client._lanes import LaneStopped
from ingot.client._progress import Reporter
from ingot.client._rates import Rate
from ingot.client._retries import Retry
from ingot.client._streams import ChunkSource, Sender, _Reader
from ingot.content import digests
from ingot.server.core.errors import Reason, TooSlow
from ingot.v1 import transfer_pb2 as pb

MIB = 1024 * 1024
KIB = 1024


def unpacked(packed: bytes) -> list[bytes]:
    return [packed[at : at + digests.DIGEST_SIZE] for at in range(0, len(packed), digests.DIGEST_SIZE)]


class ThinPath:
    """A server that finds a stream too slow unless it is the only one, short, and of small messages."""

    def __init__(self) -> None:
        self.stored: set[bytes] = set()
        self.refused = 0
        self._running = 0

    async def find_missing(self, request: pb.FindMissingRequest, context: Any) -> pb.FindMissingResponse:
        asked = unpacked(request.digests)
        bits = bytearray(len(asked) // 8 + 1)
        for at, digest in enumerate(asked):
            bits[at // 8] |= (digest not in self.stored) << (at % 8)
        return pb.FindMissingResponse(missing=bytes(bits))

    async def put_chunks(
        self, requests: AsyncIterator[pb.PutChunksRequest], context: Any
    ) -> pb.PutChunksResponse:
        self._running += 1
        try:
            return await self._taken(requests)
        finally:
            self._running -= 1

    async def _taken(self, requests: AsyncIterator[pb.PutChunksRequest]) -> pb.PutChunksResponse:
        came: list[bytes] = []
        size = 0
        async for message in requests:
            if self._running > 1 or message.header.declared_bytes > 3 * MIB or message.ByteSize() > 300 * KIB:
                self.refused += 1
                raise TooSlow(Reason.TOO_SLOW, "0 bytes came in 10 s.")
            packed = message.pieces.digests
            came += [
                packed[at : at + digests.DIGEST_SIZE] for at in range(0, len(packed), digests.DIGEST_SIZE)
            ]
            size += len(message.pieces.data)
        self.stored.update(came)
        outcomes = [pb.CHUNK_OUTCOME_STORED] * len(came)
        return pb.PutChunksResponse(outcomes=outcomes, stored_bytes=size)


def test_what_is_too_slow_goes_in_fewer_shorter_streams_of_smaller_messages(
    tmp_path: pathlib.Path,
) -> None:
    content, length = pattern("thin", 40 * MIB), 64 * KIB
    place = tmp_path / "a.bin"
    place.write_bytes(content)
    chunks = [
        ChunkSource(str(place), at, length, digests.chunk_digest(content[at : at + length]))
        for at in range(0, len(content), length)
    ]
    path = ThinPath()
    behaviours = pipelines.serving(FindMissing=path.find_missing, PutChunks=path.put_chunks)
    with pipelines.rig(behaviours) as rig:
        link = Link(Endpoint("unix:test", token="member"), lambda _: rig.channel)
        calls = Calls("here", headers("ada"), FixedToken("member"), retry=Retry(first_pause=0.01))
        limits = pb.GetCapabilitiesResponse(max_streams=16, max_digests=8192)
        sender = Sender(link, calls, "uploads/file_1", limits, Reporter(None), Rate(0), None, len(content))
        with sender.lanes:
            sender.add(chunks)
            sender.finish()
    assert path.stored == {each.digest for each in chunks}
    assert 0 < path.refused < 60


def test_a_stream_that_is_over_opens_and_closes_no_more_files(tmp_path: pathlib.Path) -> None:
    place = tmp_path / "a.bin"
    place.write_bytes(b"content")
    with _Reader() as reader:
        assert reader.read(str(place), 3, 4) == b"tent"
    before = os.listdir("/dev/fd")
    with pytest.raises(LaneStopped):  # gRPC asked for one more message
        reader.read(str(place), 0, 7)
    assert len(os.listdir("/dev/fd")) == len(before)
