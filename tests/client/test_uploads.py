"""Uploads through the SDK: sent as they flow, watched to their end, counted; what one stream carries."""

import datetime
import io
import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from helpers.patterns import pattern
from helpers.sdk import member_client
from ingot.client import Client, Invalid, _streams
from ingot.v1 import catalog_pb2
from ingot.v1 import transfer_pb2 as pb

MIB = 1024 * 1024


@pytest.fixture(name="client", scope="module")
def _client() -> Iterator[Client]:
    with ExitStack() as stack:
        yield stack.enter_context(member_client())[0]


def target(name: str) -> pb.NewVersion:
    return pb.NewVersion(artifact=f"namespaces/member/models/{name}", create=catalog_pb2.Artifact())


def test_a_file_is_sent_from_a_pipe_whose_length_nobody_knows(client: Client) -> None:
    content = pattern("pipe", 6 * MIB + 5)
    reply = client.uploads.send(
        target("pipe"), io.BytesIO(content).read, path="w.bin", description="From a pipe"
    )
    assert reply.upload.description == "From a pipe"
    assert reply.file.size_bytes == len(content)
    assert b"".join(client.read(f"{reply.version.name}:w.bin")) == content


def test_pieces_from_a_program_go_into_an_open_upload(client: Client) -> None:
    upload = client.uploads.open(target("pieces"))
    pieces = [pattern(f"piece {size}", size) for size in (0, 1, 3 * MIB, 10)]
    reply = client.uploads.send(upload.name, pieces, path="deep/a.bin", size_bytes=3 * MIB + 11)
    assert reply.upload.name == upload.name
    assert [file.path for file in client.uploads.files(upload.name)] == ["deep/a.bin"]
    assert client.uploads.put_chunk(upload.name, b"one chunk").outcome == pb.CHUNK_OUTCOME_STORED


def test_a_source_that_fails_leaves_no_version_and_the_same_call_goes_on(client: Client) -> None:
    again = str(uuid.uuid4())

    def broken() -> Iterator[bytes]:
        yield b"first half"
        raise RuntimeError("the program died")

    with pytest.raises(RuntimeError, match="the program died"):
        client.uploads.send(target("broken"), broken(), path="a.txt", request_id=again)
    reply = client.uploads.send(target("broken"), [b"whole"], path="a.txt", request_id=again)
    assert reply.version.name.endswith("/models/broken/versions/1")
    with pytest.raises(Invalid) as caught:
        client.uploads.send(target("broken"), [b"short"], path="b.txt", size_bytes=6)
    assert caught.value.reason == "BAD_LENGTH"


@pytest.mark.contract("S3-3", "S3-62")
def test_an_upload_is_watched_to_its_end(client: Client) -> None:
    reply = client.uploads.send(target("watched"), [b"content"], path="a.txt")
    messages = list(client.uploads.watch(reply.upload.name))
    assert messages[0].snapshot.name == reply.upload.name
    assert [each.event.state.to for each in messages if each.event.HasField("state")] == [
        "UPLOADING",
        "PROCESSING",
        "FRESH",
    ]
    later = list(client.uploads.watch(reply.upload.name, after=messages[-2].event.seq))
    assert not [each for each in later if each.HasField("event") and each.event.seq <= messages[-2].event.seq]


def test_uploads_are_counted(client: Client) -> None:
    before = client.uploads.stats()
    client.uploads.send(target("counted"), [b"x" * 1000], path="a.txt")
    after = client.uploads.stats()
    assert after.successful_uploads == before.successful_uploads + 1
    assert after.total_size == before.total_size + 1000
    assert client.uploads.stats(namespace="member").total_uploads == after.total_uploads
    tomorrow = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    assert client.uploads.stats(since=tomorrow).total_uploads == 0
    assert client.uploads.stats(until=tomorrow).total_uploads == after.total_uploads


@pytest.mark.contract("S3-35", "S3-36")
def test_streams_follow_the_size_of_what_is_pushed(client: Client) -> None:
    limits = client.uploads.capabilities()
    sizes = [(each.below_bytes // MIB, each.stream_bytes // MIB) for each in limits.stream_sizes]
    assert sizes == [(100, 16), (1024, 64), (0, 128)]
    for size, stream in ((1, 16), (100 * MIB - 1, 16), (100 * MIB, 64), (1024 * MIB - 1, 64)):
        assert _streams.stream_bytes(limits, size) == stream * MIB
    assert _streams.stream_bytes(limits, 1024 * MIB) == 128 * MIB
    assert _streams.stream_bytes(limits, 0) == limits.max_stream_bytes


@pytest.mark.contract("S3-38")
def test_there_are_no_more_workers_than_the_machine_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    for processors, workers in ((1, 2), (2, 4), (12, 24), (16, 32), (128, 32), (None, 2)):
        monkeypatch.setattr(os, "cpu_count", lambda processors=processors: processors)
        assert _streams.most_lanes() == workers
