"""Watching operations: breaks lose and double nothing, resume tokens, what had ended stays away."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from helpers.background import Mover, hub_import, waiting_server
from helpers.eventually import eventually
from helpers.servers import Server
from helpers.transfers import refused
from ingot.v1 import common_pb2
from ingot.v1 import operations_pb2 as pb


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with waiting_server(tmp_path) as running:
        yield running


def start(server: Server, repository: str = "org/tiny") -> str:
    return server.member("sara").operations.StartImport(hub_import(repository)).operation.name


def piece(server: Server, name: str, after: int, most: int) -> list[common_pb2.Event]:
    """Watch until so many events have come or it ends; return the events."""
    call = server.member("sara").operations.WatchOperation(
        pb.WatchOperationRequest(name=name, after=after), timeout=100
    )
    found = []
    for message in call:
        if message.HasField("event"):
            found.append(message.event)
            if len(found) == most:
                break
    call.cancel()
    return found


def in_background(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


# --- one operation --------------------------------------------------------------------------------------


@pytest.mark.contract("S3-55")
def test_a_watch_that_breaks_again_and_again_loses_and_doubles_nothing(server: Server) -> None:
    name = start(server)
    move = Mover(server)

    def work() -> None:
        move.begin(name)
        for number in range(200):
            move.tell(name, f"a{number}", f"b{number}")
        move.succeed(name)

    body = in_background(work)
    events: list[common_pb2.Event] = []
    while not events or events[-1].state.to != "SUCCEEDED":
        events += piece(server, name, events[-1].seq if events else 0, 23)
    body.join()
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    lines = [event.log.text for event in events if event.HasField("log")]
    assert lines == [f"{letter}{number}" for number in range(200) for letter in "ab"]
    assert [event.state.to for event in events if event.HasField("state")] == [
        "QUEUED",
        "RUNNING",
        "SUCCEEDED",
    ]


def test_a_watch_begins_with_the_operation_and_ends_with_its_final_state(server: Server) -> None:
    name = start(server)
    move = Mover(server)
    call = server.member("sara").operations.WatchOperation(pb.WatchOperationRequest(name=name), timeout=100)
    assert [next(call).WhichOneof("message") for _ in range(3)] == ["snapshot", "event", "synced"]
    move.begin(name)
    assert next(call).event.state.to == "RUNNING"
    move.tell(name, done=50)
    assert next(call).event.progress.done == 50
    move.fail(name)
    assert [message.event.state.to for message in call] == ["FAILED"]
    whole = list(
        server.member("sara").operations.WatchOperation(pb.WatchOperationRequest(name=name), timeout=100)
    )
    assert whole[0].snapshot.state == pb.OPERATION_STATE_FAILED
    assert whole[-1].HasField("synced")


def test_an_operation_tried_again_is_watched_beyond_its_failure(server: Server) -> None:
    name = start(server)
    move = Mover(server)
    move.begin(name)
    move.fail(name)
    server.member("sara").operations.RetryOperation(pb.RetryOperationRequest(name=name))
    call = server.member("sara").operations.WatchOperation(pb.WatchOperationRequest(name=name), timeout=100)
    states = []
    for message in call:
        if message.HasField("synced"):
            move.begin(name)
            move.succeed(name, 2)
        states.append(message.event.state.to)
    assert [each for each in states if each] == [
        "QUEUED",
        "RUNNING",
        "FAILED",
        "QUEUED",
        "RUNNING",
        "SUCCEEDED",
    ]


def test_a_place_that_is_not_in_the_log_is_refused(server: Server) -> None:
    name = start(server)
    with refused(grpc.StatusCode.OUT_OF_RANGE, "RESUME_TOKEN_EXPIRED") as facts:
        piece(server, name, 99, 1)
    assert (facts["oldest_seq"], facts["latest_seq"]) == ("1", "1")
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"):
        piece(server, name, -1, 1)
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "NAME_INVALID"):
        piece(server, "op_1", 0, 1)


# --- several --------------------------------------------------------------------------------------------


class Watch:
    """A watch over operations, read message by message."""

    def __init__(self, server: Server, token: str = "", user: str = "sara", **wanted: object) -> None:
        request = pb.WatchOperationsRequest(resume_token=token, **wanted)  # type: ignore[arg-type]
        self.call = server.member(user).operations.WatchOperations(request, timeout=100)
        self.token = token

    def next(self) -> pb.WatchOperationsResponse:
        message = next(self.call)
        assert message.resume_token
        self.token = message.resume_token
        return message

    def until_synced(self) -> list[tuple[str, int]]:
        """Return name and state of what comes before `synced`."""
        found: list[tuple[str, int]] = []
        while not (message := self.next()).HasField("synced"):
            found.append((message.operation.name, message.operation.state))
        return found

    def leave(self) -> str:
        """End the watch; return where it stood."""
        self.call.cancel()
        return self.token


def test_all_matches_come_first_and_then_every_change(server: Server) -> None:
    one, two = start(server, "org/one"), start(server, "org/two")
    watch = Watch(server, kind="import")
    assert watch.until_synced() == [(one, pb.OPERATION_STATE_QUEUED), (two, pb.OPERATION_STATE_QUEUED)]
    Mover(server).begin(one)
    changed = watch.next().operation
    assert (changed.name, changed.state) == (one, pb.OPERATION_STATE_RUNNING)
    three = start(server, "org/three")
    assert watch.next().operation.name == three
    watch.leave()


def test_a_resumed_watch_sends_only_what_changed_since(server: Server) -> None:
    one, two = start(server, "org/one"), start(server, "org/two")
    watch = Watch(server)
    watch.until_synced()
    token = watch.leave()
    move = Mover(server)
    move.begin(two)
    for number in range(5):
        move.tell(two, f"line {number}")
    again = Watch(server, token)
    assert again.until_synced() == [(two, pb.OPERATION_STATE_RUNNING)], "the latest state, once"
    token = again.leave()
    move.succeed(two)
    assert Watch(server, token).until_synced() == [(two, pb.OPERATION_STATE_SUCCEEDED)]
    everything = Watch(server).until_synced()
    assert everything == [(one, pb.OPERATION_STATE_QUEUED), (two, pb.OPERATION_STATE_SUCCEEDED)]


def test_what_had_ended_stays_away_on_request_and_what_ends_later_comes(server: Server) -> None:
    old, live = start(server, "org/old"), start(server, "org/live")
    move = Mover(server)
    move.begin(old)
    move.succeed(old)
    watch = Watch(server, active_only=True)
    assert watch.until_synced() == [(live, pb.OPERATION_STATE_QUEUED)]
    token = watch.leave()
    move.begin(live)
    move.succeed(live)
    again = Watch(server, token, active_only=True)
    assert again.until_synced() == [(live, pb.OPERATION_STATE_SUCCEEDED)]
    assert Watch(server, active_only=True).until_synced() == []


def test_a_watch_that_breaks_again_and_again_sees_the_end_of_all(server: Server) -> None:
    names = [start(server, f"org/m{number}") for number in range(40)]
    move = Mover(server)

    def work() -> None:
        for name in names:
            move.begin(name)
            move.tell(name, "one line")
            move.succeed(name)

    runner = in_background(work)
    latest: dict[str, int] = {}
    token = ""
    seen: list[int] = []

    def look() -> bool:
        nonlocal token
        watch = Watch(server, token)
        for _ in range(7):
            message = watch.next()
            if message.HasField("operation"):
                assert message.operation.state >= latest.get(message.operation.name, 0), "never backwards"
                latest[message.operation.name] = message.operation.state
                seen.append(message.operation.state)
            elif message.HasField("synced"):
                break
        token = watch.leave()
        return all(latest.get(name) == pb.OPERATION_STATE_SUCCEEDED for name in names)

    eventually(look, timeout=100, what="the end of all")
    runner.join()
    assert seen.count(pb.OPERATION_STATE_SUCCEEDED) == len(names), "each end came once"


def test_a_resume_token_belongs_to_its_caller_and_filter(server: Server) -> None:
    start(server)
    watch = Watch(server, kind="import")
    watch.until_synced()
    token = watch.leave()
    for user, wanted in (("omid", "import"), ("sara", "export")):
        with refused(grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID"):
            Watch(server, token, user, kind=wanted).next()
    with pytest.raises(grpc.RpcError, match="The resume token cannot be used"):
        Watch(server, "made-up").next()


def test_operations_of_others_are_not_watched(server: Server) -> None:
    mine = start(server)
    watch = Watch(server, user="omid")
    assert watch.until_synced() == []
    theirs = server.member("omid").operations.StartImport(hub_import()).operation.name
    assert watch.next().operation.name == theirs
    watch.leave()
    every = server.admin.operations.WatchOperations(pb.WatchOperationsRequest(kind="import"), timeout=100)
    assert [next(every).operation.name for _ in range(2)] == [mine, theirs]
    every.cancel()
