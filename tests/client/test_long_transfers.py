"""Transfers take the time they need: no timeout of a call ends them, and they are spread over streams."""

import itertools
import pathlib

import pytest

from helpers.patterns import pattern
from helpers.sdk import member_client, tree_of, write_tree
from helpers.transfers import transfer_rig
from ingot.client import TimedOut
from ingot.server.core.uploads import TransferLimits
from ingot.v1 import catalog_pb2, system_pb2
from ingot.v1 import transfer_pb2 as pb

MIB = 1024 * 1024


@pytest.mark.contract("S3-31")
def test_push_and_pull_outlast_the_timeout_of_calls(tmp_path: pathlib.Path) -> None:
    for timeout in (1.5, 6.0, 24.0):  # the next where the machine is too busy for any call in that time
        folder = tmp_path / f"{timeout}"
        source = write_tree(folder / "in", {"a": pattern(f"long {timeout}", 5 * MIB)})
        with member_client() as (client, _):
            impatient, rate = client.with_timeout(timeout), int(3 * MIB / timeout)
            try:
                pushed = impatient.push("datasets/chat", source, limit_rate=rate)
                pulled = impatient.pull("datasets/chat", folder / "out", limit_rate=rate)
            except TimedOut:
                continue
        assert pushed.seconds > timeout
        assert pulled.seconds > timeout
        assert tree_of(folder / "out") == tree_of(source)
        return
    raise AssertionError("none came to its end")


@pytest.mark.contract("S3-31")
def test_a_file_may_take_longer_than_a_stream_may_last() -> None:
    limits = TransferLimits(max_stream_seconds=0.4, grace_seconds=30.0)
    with transfer_rig(limits) as rig:
        pusher = rig.pusher()
        begun = rig.clock.monotonic()

        def messages() -> "itertools.chain[pb.UploadFileRequest]":
            target = pb.NewVersion(artifact="namespaces/member/datasets/chat", create=catalog_pb2.Artifact())
            first = pb.UploadFileRequest(header=pb.UploadFileHeader(version=target, path="a"))
            last = pb.UploadFileRequest(finish=pb.UploadFileFinish())
            return itertools.chain([first], slowly(), [last])

        def slowly() -> "itertools.takewhile[pb.UploadFileRequest]":
            endless = (pb.UploadFileRequest(data=b"x" * 1000) for _ in itertools.count())
            return itertools.takewhile(lambda _: rig.clock.monotonic() < begun + 1.0, endless)

        reply = pusher.stub.UploadFile(messages(), metadata=pusher.metadata)
        assert reply.upload.state == pb.UPLOAD_STATE_COMMITTED
        assert rig.clock.monotonic() - begun >= 1.0


@pytest.mark.contract("S3-2")
def test_a_large_file_goes_over_several_streams_at_once(tmp_path: pathlib.Path) -> None:
    source = write_tree(tmp_path / "in", {"large": pattern("parallel", 70 * MIB)})
    with member_client() as (client, server):
        pushed = client.push("datasets/chat", source, streams=3)
        assert pushed.sent_bytes == 70 * MIB
        request = system_pb2.ListActivityRequest(target=pushed.upload)
        activities = server.member("member").system.ListActivity(request).activities
    streams = [each for each in activities if each.method == "TransferService/PutChunks"]
    assert len(streams) >= 4
    spans = [(each.time.ToMicroseconds(), each.duration.ToMicroseconds()) for each in streams]
    overlaps = [first for first, second in itertools.combinations(sorted(spans), 2) if sum(first) > second[0]]
    assert overlaps
