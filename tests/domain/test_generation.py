"""Text generations in memory: leases, silence, and how often a text is tried."""

import pytest

from helpers.jobs import BASE, CPU, FakeClock, digest_of, machine
from ingot.server.core.errors import Exhausted, IngotError, Precondition, Problem, Reason, Unavailable
from ingot.server.core.events import Event
from ingot.server.core.generation import GenerationAssignment, GenerationDone, GenerationRequest
from ingot.server.core.training import Desired
from ingot.server.core.workers import HeldWork, Worker, WorkerFacts, WorkPolicy
from ingot.server.domain import generation_offers
from ingot.server.domain.generation import Generations, failure_of

NAME = "generations/gen_1"
ASKED = GenerationRequest("سلام", (), 16, 0.7, 1.0, None, ())


class Bell:
    """Notes whom it wakes; implements Announcer."""

    def __init__(self) -> None:
        self.rung: list[str] = []

    def publish(self, subject: str, events: "list[Event] | tuple[Event, ...] | object") -> None:
        self.rung.append(subject)

    def wake(self, topic: str) -> None:
        self.rung.append(topic)


class Desk:
    """One generation on offer and two workers."""

    def __init__(self) -> None:
        self.clock, self.bell = FakeClock(), Bell()
        self.texts = Generations(self.bell, WorkPolicy(max_retries=2), self.clock)
        self.one, self.two = (
            Worker(number, machine().principal, WorkerFacts(str(number), (CPU,)), "", 0.0, 0.0)
            for number in (1, 2)
        )
        self.texts.open(NAME, BASE.version("1"), digest_of("base"), ASKED)

    def claim(self, worker: Worker) -> GenerationAssignment:
        found = self.texts.claim(worker)
        assert found is not None
        return found

    def failure(self) -> IngotError:
        with pytest.raises(IngotError) as error:
            self.texts.view(NAME, 0)
        return error.value


def test_it_is_offered_claimed_once_and_closed() -> None:
    desk = Desk()
    assert "work" in desk.bell.rung
    assert desk.texts.waiting()
    assert desk.claim(desk.one).attempt == 1
    assert desk.texts.claim(desk.two) is None
    assert not desk.texts.waiting()
    desk.texts.finish(desk.one, NAME, 1, GenerationDone("stop", 3, 4))
    desk.clock.advance(1)
    view = desk.texts.view(NAME, 0)
    assert view.done is not None
    assert view.done.completion_tokens == 4
    desk.texts.close(NAME)
    assert desk.texts.orders(desk.one) == []


def test_a_heartbeat_keeps_it_and_silence_loses_it() -> None:
    desk = Desk()
    desk.claim(desk.one)
    for _ in range(5):
        desk.clock.advance(15)
        assert desk.texts.extend(desk.one, HeldWork(NAME, 1)).desired is Desired.RUN
        assert desk.texts.reap() == 0
    desk.clock.advance(21)
    assert desk.texts.reap() == 1
    assert desk.claim(desk.two).attempt == 2
    assert desk.texts.extend(desk.one, HeldWork(NAME, 1)).lost
    with pytest.raises(Precondition):
        desk.texts.report(desk.one, NAME, 1, [(1, "late")])
    assert desk.texts.view(NAME, 0).pieces == ()


def test_silence_after_the_first_word_is_the_end() -> None:
    desk = Desk()
    desk.claim(desk.one)
    desk.texts.report(desk.one, NAME, 1, [(1, "Hel")])
    desk.clock.advance(21)
    desk.texts.reap()
    assert isinstance(desk.failure(), Unavailable)
    assert not desk.texts.waiting()


def test_a_text_that_kills_its_workers_is_given_up() -> None:
    desk = Desk()
    for _ in range(3):
        desk.claim(desk.one)
        desk.texts.drop_worker(desk.one.id)
    assert desk.failure().reason is Reason.PEER_LOST


def test_failures_are_tried_again_only_when_that_may_help() -> None:
    problem = Problem(Reason.OUT_OF_MEMORY, "Too large.", {}, "", 0.0)
    desk = Desk()
    desk.claim(desk.one)
    desk.texts.fail(desk.one, NAME, 1, problem, retry=True)
    assert desk.claim(desk.two).attempt == 2
    desk.texts.fail(desk.two, NAME, 2, problem, retry=False)
    assert isinstance(desk.failure(), Exhausted)
    assert desk.failure().reason is Reason.OUT_OF_MEMORY
    assert isinstance(failure_of(Problem(Reason.DATA_INVALID, "x", {}, "", 0.0)), Precondition)


def test_a_call_that_left_before_its_claim_leaves_nothing() -> None:
    desk = Desk()
    desk.texts.close(NAME)
    assert desk.texts.claim(desk.one) is None


def test_a_call_that_left_is_kept_until_its_worker_has_heard_or_is_silent() -> None:
    desk = Desk()
    desk.claim(desk.one)
    desk.texts.close(NAME)
    assert desk.bell.rung[-1] == "workers/worker_1"
    assert desk.texts.extend(desk.one, HeldWork(NAME, 1)).desired is Desired.CANCEL
    assert [grant.name for grant in desk.texts.held_by(machine().principal)] == [NAME]
    desk.clock.advance(21)
    assert desk.texts.reap() == 1
    assert desk.texts.held_by(machine().principal) == []


def test_pieces_are_counted_by_their_numbers() -> None:
    desk = Desk()
    desk.claim(desk.one)
    desk.texts.report(desk.one, NAME, 1, [(1, "a"), (2, "b")])
    desk.texts.report(desk.one, NAME, 1, [(2, "b"), (3, "c")])
    assert desk.texts.view(NAME, 0).pieces == ("a", "b", "c")
    assert desk.texts.view(NAME, 2).pieces == ("c",)


@pytest.mark.parametrize(
    ("workers", "busy", "why"),
    [
        ([], (), "no worker is online"),
        ([()], (), "1 worker is online"),
        ([()], ("worker_1",), "1 worker is online, with a training job"),
        ([(), ()], ("worker_1",), "2 workers are online, 1 of them with a training job"),
        ([("torch",)], (), "the only online worker lacks software it needs"),
        ([("torch",)] * 2, (), "none of the 2 online workers has the software it needs"),
    ],
)
def test_waiting_is_told_in_whole_sentences(
    workers: list[tuple[str, ...]], busy: tuple[str, ...], why: str
) -> None:
    online = [
        Worker(number, "", WorkerFacts(str(number), (CPU,), {}, missing), "", 0.0, 0.0)
        for number, missing in enumerate(workers, start=1)
    ]
    assert generation_offers.why(online, busy) == why
