"""Ranges of one file: what is given out was compared with its digest, whatever the server says."""

import pathlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import pipelines
from helpers.patterns import pattern
from helpers.sdk import client_over, cut_connection, member_client, write_tree
from ingot.client import Client, DataLoss, FileReader, IngotError, Integrity, Invalid, NotFound, OutOfRange
from ingot.content import chunking, digests
from ingot.v1 import transfer_pb2 as pb

MIB = 1024 * 1024
CONTENT = pattern("read", 5 * MIB + 7)
CHUNKS = list(chunking.cut_bytes(CONTENT))
BORDERS = [0, len(CONTENT), *(each.offset for each in CHUNKS)]
NEAR = st.builds(lambda at, by: max(0, at + by), st.sampled_from(BORDERS), st.integers(-2, 2))
PLACE = st.one_of(NEAR, st.integers(0, len(CONTENT)))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    files = {"f": CONTENT, "empty": b"", **{f"many/{number}": b"%d" % number for number in range(50)}}
    with member_client() as (client, _):
        client.push("models/m", write_tree(tmp_path_factory.mktemp("in"), files))
        yield client


@settings(max_examples=60, deadline=None)
@given(PLACE, st.one_of(st.none(), PLACE))
def test_any_range_is_what_the_file_has_there(client: Client, offset: int, length: int | None) -> None:
    offset = min(offset, len(CONTENT))
    got = b"".join(client.read("models/m:f", offset=offset, length=length))
    assert got == CONTENT[offset : len(CONTENT) if length is None else offset + length]


def test_ranges_that_cannot_be_are_refused(client: Client) -> None:
    reader = client.reader("models/m:f")
    assert reader.size == len(CONTENT)
    with pytest.raises(OutOfRange, match=f"has {len(CONTENT)} bytes, the range starts at") as caught:
        list(reader.read(len(CONTENT) + 1))
    assert caught.value.reason == "OFFSET_OUT_OF_RANGE"
    for offset, length in ((-1, 1), (0, -1)):
        with pytest.raises(Invalid, match="expected 0 or more, got -1"):
            list(reader.read(offset, length))
    assert list(client.read("models/m:empty")) == []
    with pytest.raises(NotFound) as missing:
        list(client.read("models/m:many"))
    assert missing.value.reason == "FILE_NOT_FOUND"


def test_a_cut_connection_costs_nothing_that_was_verified(tmp_path: pathlib.Path) -> None:
    with member_client() as (client, server):
        client.push("models/m", write_tree(tmp_path, {"f": CONTENT}))
        with cut_connection(server, after=[2 * MIB, 2 * MIB + 5]) as broken:
            assert b"".join(broken.read("models/m:f", offset=9)) == CONTENT[9:]


# --- a server that lies ---------------------------------------------------------------------------------


class Lying:
    """A server that has one file and sends of it what it is told to."""

    def __init__(self, send: Callable[[list[tuple[bytes, int, bytes]]], list[pb.Pieces]]) -> None:
        self.manifests = 0
        self.asked: list[tuple[int, int]] = []
        self.path = "f"
        self.segments = [pb.Segment(entries=digests.segment_bytes([(c.digest, c.length) for c in CHUNKS]))]
        self.root = digests.file_root("cdc", len(CONTENT), [digests.segment_digest(self.segments[0].entries)])
        self._send = send

    async def read_manifest(self, request: Any, context: Any) -> AsyncIterator[pb.ReadManifestResponse]:
        self.manifests += 1
        assert request.path == "f"
        yield pb.ReadManifestResponse(header=pb.ManifestHeader(tree="t"))
        entry = pb.FileEntry(path=self.path, size_bytes=len(CONTENT), root=self.root, profile="cdc")
        yield pb.ReadManifestResponse(files=[pb.ManifestFile(file=entry, segments=self.segments)])

    async def read_chunks(self, request: Any, context: Any) -> AsyncIterator[pb.ReadChunksResponse]:
        (wanted,) = request.ranges
        self.asked.append((wanted.first, wanted.count))
        found = [
            (each.digest, each.length, CONTENT[each.offset : each.offset + each.length])
            for each in CHUNKS[wanted.first : wanted.first + wanted.count]
        ]
        for pieces in self._send(found):
            yield pb.ReadChunksResponse(pieces=pieces)

    def read(self, work: Callable[[FileReader], object]) -> None:
        behaviours = pipelines.serving(ReadManifest=self.read_manifest, ReadChunks=self.read_chunks)
        with pipelines.rig(behaviours) as rig:
            work(client_over(rig.channel).reader("trainingJobs/job_1/checkpoints/1:f"))


def pieces(chunks: list[tuple[bytes, int, bytes]]) -> pb.Pieces:
    return pb.Pieces(
        digests=b"".join(each[0] for each in chunks),
        lengths=[each[1] for each in chunks],
        data=b"".join(each[2] for each in chunks),
    )


def flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def test_digests_are_asked_for_once_and_chunks_as_needed() -> None:
    server = Lying(lambda chunks: [pieces([each]) for each in chunks])

    def work(reader: FileReader) -> None:
        assert b"".join(reader.read(1, 1)) == CONTENT[1:2]
        assert b"".join(reader.read(CHUNKS[2].offset - 1, 2)) == CONTENT[CHUNKS[2].offset - 1 :][:2]
        assert list(reader.read(len(CONTENT), 10)) == []

    server.read(work)
    assert (server.manifests, server.asked) == (1, [(0, 1), (1, 2)])


@pytest.mark.parametrize(
    ("send", "error"),
    [
        (lambda chunks: [pieces([(d, n, flipped(data)) for d, n, data in chunks])], DataLoss),
        (lambda chunks: [pieces(chunks[1:])], DataLoss),  # from another offset
        (lambda chunks: [pieces(chunks[::-1])], DataLoss),
        (lambda chunks: [pieces([(d, n - 1, data[:-1]) for d, n, data in chunks])], DataLoss),
        (lambda chunks: [pieces(chunks), pieces(chunks)], Integrity),
        (lambda chunks: [pb.Pieces(data=b"no chunk at all")], Integrity),
    ],
)
def test_wrong_bytes_are_never_given_out(send: Any, error: type[IngotError]) -> None:
    given_out: list[bytes] = []

    def work(reader: FileReader) -> None:
        with pytest.raises(error):
            given_out.extend(reader.read(3, 3 * MIB))

    Lying(send).read(work)
    assert CONTENT[3 : 3 + 3 * MIB].startswith(b"".join(given_out))


@pytest.mark.parametrize("what", ["path", "segments"])
def test_a_manifest_that_contradicts_itself_is_not_believed(what: str) -> None:
    server = Lying(lambda chunks: [pieces(chunks)])
    if what == "path":
        server.path = "g"
    else:
        server.segments = []

    def work(reader: FileReader) -> None:
        with pytest.raises(Integrity, match="does not fit together"):
            list(reader.read())

    server.read(work)
    assert server.asked == []
