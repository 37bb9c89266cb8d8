"""Reports reach the server once, in order, whatever happens on the way."""

import threading
from collections.abc import Sequence

from helpers.eventually import eventually
from ingot.client import Precondition, Unreachable
from ingot.v1 import common_pb2, training_pb2, workers_pb2
from ingot.worker.reports import LARGEST_BATCH, Event, Reports


class Server:
    """Takes batches like the server does: it forgets what it saw before by producer number."""

    def __init__(self, fail: int = 0, refuse: bool = False, gate: threading.Event | None = None) -> None:
        self.events: dict[int, Event] = {}
        self.calls = 0
        self.orders: list[workers_pb2.WorkOrder] = []
        self._fail = fail
        self._refuse = refuse
        self._gate = gate

    def __call__(self, events: Sequence[Event]) -> workers_pb2.WorkOrder:
        if self._gate is not None:
            self._gate.wait()
        self.calls += 1
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
