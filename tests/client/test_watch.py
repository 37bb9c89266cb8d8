"""Watches go on after a break: no event is lost, none comes twice."""

import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

import grpc
import pytest

from helpers.eventually import eventually
from helpers.fake_channels import FakeServer, TakenCall, info
from ingot.client import Client, NotFound
from ingot.client._calls import Calls, Contact
from ingot.client._names import Names
from ingot.client._training import Training
from ingot.v1 import common_pb2, training_pb2
from ingot.v1 import training_pb2 as pb

T = TypeVar("T")


def training(server: FakeServer) -> Training:
    contact = Contact()
    contact.made = True
    calls = Calls("here", contact=contact, pause=lambda _: None, rng=random.Random(1))
    return Training(server.link, calls, Names(lambda: "ada"))


def event(seq: int) -> pb.WatchTrainingJobResponse:
    return pb.WatchTrainingJobResponse(event=common_pb2.Event(seq=seq))


SNAPSHOT = pb.WatchTrainingJobResponse(snapshot=pb.TrainingJob(name="trainingJobs/job_1"))
SYNCED = pb.WatchTrainingJobResponse(synced=common_pb2.Synced())
HEARTBEAT = pb.WatchTrainingJobResponse(heartbeat=common_pb2.Heartbeat(latest_seq=3))


def take(server: FakeServer) -> TakenCall:
    return server.take_stream("TrainingService", "WatchTrainingJob")


def numbers(messages: Sequence[pb.WatchTrainingJobResponse]) -> list[int | str]:
    return [
        each.event.seq if each.WhichOneof("message") == "event" else str(each.WhichOneof("message"))
        for each in messages
    ]


def gather(messages: Iterator[T], into: list[T]) -> None:
    for message in messages:
        into.append(message)  # noqa: PERF402  # one by one, as they come


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED]
)
@pytest.mark.contract("S0-50")
def test_a_broken_watch_goes_on_behind_the_last_event(code: grpc.StatusCode) -> None:
    breaks: list[str] = []
    with FakeServer() as server:
        watch = training(server).watch("job_1", on_break=lambda error: breaks.append(error.reason))
        seen: list[pb.WatchTrainingJobResponse] = []
        ended = server.run(lambda: gather(watch, seen))
        first = take(server)
        first.send(SNAPSHOT, event(1), HEARTBEAT, event(2))
        eventually(lambda: len(seen) == 3)
        first.fail(code, begun=True)
        second = take(server)
        second.send(SNAPSHOT, event(2), event(3), SYNCED, event(4))
        eventually(lambda: len(seen) == 6)
        second.fail(code, begun=True)
        third = take(server)
        third.send(SNAPSHOT, SYNCED, event(5))
        eventually(lambda: len(seen) == 7)
        third.end()
        ended.result(100)
        assert numbers(seen) == ["snapshot", 1, 2, 3, "synced", 4, 5]
    assert [each.request.after for each in (first, second, third)] == [0, 2, 4]
    # A call that is reset without a word was cut off by a server that stops.
    told = "UNAVAILABLE" if code is grpc.StatusCode.CANCELLED else code.name
    assert breaks == [told, told]


def test_what_will_not_get_better_ends_the_watch() -> None:
    with FakeServer() as server:
        seen = server.run(lambda: list(training(server).watch("job_1")))
        take(server).fail(grpc.StatusCode.NOT_FOUND, "no such job", [info("TRAINING_JOB_NOT_FOUND")])
        with pytest.raises(NotFound):
            seen.result(100)


def test_logs_continue_behind_the_last_line_without_the_tail() -> None:
    def line(seq: int) -> pb.ReadTrainingLogsResponse:
        return pb.ReadTrainingLogsResponse(seq=seq, line=common_pb2.LogLine(text=f"line {seq}"))

    with FakeServer() as server:
        lines: list[pb.ReadTrainingLogsResponse] = []
        ended = server.run(lambda: gather(training(server).logs("12", follow=True, tail=2), lines))
        first = server.take_stream("TrainingService", "ReadTrainingLogs")
        first.send(line(7), line(9))
        eventually(lambda: len(lines) == 2)
        first.fail(grpc.StatusCode.UNAVAILABLE, begun=True)
        second = server.take_stream("TrainingService", "ReadTrainingLogs")
        second.send(line(10))
        eventually(lambda: len(lines) == 3)
        second.end()
        ended.result(100)
        assert [each.seq for each in lines] == [7, 9, 10]
    assert (first.request.name, first.request.tail) == ("trainingJobs/job_12", 2)
    assert (second.request.after, second.request.tail) == (9, 0)


def test_config_keys_may_be_those_of_the_sources_and_a_wrong_one_gets_the_nearest() -> None:
    with FakeServer() as server:
        jobs = training(server)
        config = {"batchSize": 16, "learning_rate": 0.001, "useGPU": False, "max_time": "60s"}
        made = server.run(lambda: jobs.create("datasets/chat", output="models/tiny", config=config))
        call = server.take("TrainingService", "CreateTrainingJob")
        call.reply(training_pb2.CreateTrainingJobResponse())
        made.result(100)
        with pytest.raises(Exception, match="no setting 'batchsize'") as caught:
            jobs.create("datasets/chat", config={"batchsize": 1})
    sent = call.request
    assert (sent.dataset, sent.output_artifact) == (
        "namespaces/ada/datasets/chat",
        "namespaces/ada/models/tiny",
    )
    assert (sent.config.batch_size, sent.config.learning_rate, sent.config.max_time.seconds) == (
        16,
        0.001,
        60,
    )
    assert sent.config.HasField("use_gpu")
    assert not sent.config.HasField("epochs")
    assert getattr(caught.value, "next_step", "") == "Did you mean batch_size?"


def test_the_own_namespace_is_asked_once() -> None:
    from ingot.v1 import auth_pb2, catalog_pb2

    with FakeServer() as server:
        client = Client(link=server.link, user="ada")
        answer = server.run(lambda: [client.catalog.get(f"models/{name}").name for name in ("a", "b")])
        me = auth_pb2.GetMeResponse(namespace="namespaces/team")
        server.take("AuthService", "GetMe").reply(me)
        for name in ("a", "b"):
            call = server.take("CatalogService", "GetArtifact")
            assert call.request.name == f"namespaces/team/models/{name}"
            call.reply(catalog_pb2.GetArtifactResponse())
        answer.result(100)
