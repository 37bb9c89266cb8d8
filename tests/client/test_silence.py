"""Connections that fall silent: what is asked again, since the next connection may answer."""

import pathlib

import grpc
import pytest

from helpers.fake_channels import FakeServer, info
from ingot.client import Client, NotFound, TimedOut
from ingot.client._calls import Calls
from ingot.client._streams import ChunkSource, Missing
from ingot.v1 import transfer_pb2 as pb

SERVICE = "TransferService"


def test_a_manifest_that_stays_away_is_asked_for_again(tmp_path: pathlib.Path) -> None:
    with FakeServer() as server:
        client = Client(link=server.link, namespace="ada", user="ada")
        pulled = server.run(lambda: client.pull("datasets/humaneval", tmp_path / "in"))
        first = server.take_stream(SERVICE, "ReadManifest")
        first.fail(grpc.StatusCode.DEADLINE_EXCEEDED, "Nothing was taken for 60 s.", [info("TOO_SLOW")])
        again = server.take_stream(SERVICE, "ReadManifest")
        again.fail(grpc.StatusCode.NOT_FOUND, "That is enough.", [info("ARTIFACT_NOT_FOUND")])
        with pytest.raises(NotFound, match="That is enough"):
            pulled.result(100)
    assert again.request == first.request


def test_a_push_asks_up_to_three_times_what_is_missing() -> None:
    chunks = [ChunkSource("a", 0, 5, bytes(32)), ChunkSource("a", 5, 5, bytes(31) + b"1")]
    with FakeServer() as server:
        missing = Missing(server.link, Calls("here"), "uploads/file_1", 8192)
        answer = server.run(lambda: missing.among(chunks))
        for _ in range(2):
            server.take(SERVICE, "FindMissing").fail(grpc.StatusCode.DEADLINE_EXCEEDED)
        server.take(SERVICE, "FindMissing").reply(pb.FindMissingResponse(missing=b"\x02"))
        assert answer.result(100) == chunks[1:]
        answer = server.run(lambda: missing.among(chunks))
        for _ in range(3):
            server.take(SERVICE, "FindMissing").fail(grpc.StatusCode.DEADLINE_EXCEEDED)
        with pytest.raises(TimedOut):
            answer.result(100)
