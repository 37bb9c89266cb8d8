"""Reports reach the server once, in order, whatever happens on the way."""

import threading
from collections.abc import Sequence

from helpers.eventually import eventually
from ingot.client import Invalid, Precondition, Unreachable
from ingot.v1 import common_pb2, training_pb2, workers_pb2
from ingot.worker.reports import LARGEST_BATCH, LARGEST_BYTES, Event, Reports


class Server:
    """Takes batches like the server does: it forgets what it saw before by producer number."""

    def __init__(self, fail: int = 0, refuse: bool = False, gate: threading.Event | None = None) -> None:
        self.events: dict[int, Event] = {}
        self.calls = 0
        self.largest = 0  # bytes of the events in one call
        self.orders: list[workers_pb2.WorkOrder] = []
        self._fail = fail
        self._refuse = refuse
        self._gate = gate

    def __call__(self, events: Sequence[Event]) -> workers_pb2.WorkOrder:
        if self._gate is not None:
            self._gate.wait()
        self.calls += 1
        self.largest = max(self.largest, sum(event.ByteSize() for event in events))
        if any(event.log.text == "malformed" for event in events):
            raise Invalid("no", reason="FIELD_INVALID")
        if self._refuse:
            raise Precondition("over", reason="ATTEMPT_OUTDATED")
        for event in events:
            self.events.setdefault(event.producer_seq, event)
        if self.calls <= self._fail:  # stored, but the answer is lost
            raise Unreachable("gone")
        return workers_pb2.WorkOrder(desired_state=training_pb2.DESIRED_STATE_RUN)


def line(text: str) -> Event:
    """Make a log event."""
    return Event(log=common_pb2.LogLine(text=text))


def test_events_arrive_in_order_and_numbered() -> None:
    server = Server()
    reports = Reports(server, server.orders.append)
    for number in range(1200):
        reports.add(line(str(number)))
    assert reports.close()
    assert [server.events[seq].log.text for seq in sorted(server.events)] == [str(n) for n in range(1200)]
    assert sorted(server.events) == list(range(1, 1201))
    assert all(event.HasField("time") for event in server.events.values())


def test_a_lost_answer_is_sent_again_under_the_same_number() -> None:
    server = Server(fail=1)
    reports = Reports(server, server.orders.append)
    reports.add(line("one"))
    assert reports.close()
    assert server.calls == 2
    assert [event.log.text for event in server.events.values()] == ["one"]


def test_an_outdated_attempt_is_told_and_says_nothing_more() -> None:
    server = Server(refuse=True)
    reports = Reports(server, server.orders.append)
    reports.add(line("one"))
    eventually(lambda: server.orders != [])
    reports.add(line("two"))
    assert reports.close()
    assert server.calls == 1
    assert [order.lost for order in server.orders] == [True]


def test_old_progress_gives_way_while_the_server_is_away_and_numbers_stay() -> None:
    gate = threading.Event()
    server = Server(gate=gate)
    reports = Reports(server, server.orders.append)
    for number in range(2000):
        reports.add(Event(progress=common_pb2.Progress(done=number)))
        reports.add(Event(metrics=common_pb2.Metrics(step=number)))
    gate.set()
    assert reports.close()
    kinds = [event.WhichOneof("body") for event in server.events.values()]
    assert kinds.count("metrics") == 2000
    assert kinds.count("progress") <= LARGEST_BATCH
    latest = max(event.progress.done for event in server.events.values() if event.HasField("progress"))
    assert latest == 1999


def test_closing_gives_up_in_time_when_the_server_stays_away() -> None:
    server = Server(fail=1_000_000)
    reports = Reports(server, server.orders.append)
    reports.add(line("one"))
    assert not reports.close(timeout=0.1)


def test_what_the_server_finds_malformed_holds_up_nothing_else() -> None:
    server = Server()
    reports = Reports(server, server.orders.append)
    for text in ("one", "malformed", "two", "three", "malformed"):
        reports.add(line(text))
    assert reports.close()
    assert [event.log.text for event in server.events.values()] == ["one", "two", "three"]


def test_long_lines_travel_in_calls_that_the_server_takes() -> None:
    gate = threading.Event()
    server = Server(gate=gate)
    reports = Reports(server, server.orders.append)
    for _ in range(LARGEST_BATCH):
        reports.add(line("x" * 60_000))
    gate.set()
    assert reports.close()
    assert len(server.events) == LARGEST_BATCH
    assert server.largest <= LARGEST_BYTES
