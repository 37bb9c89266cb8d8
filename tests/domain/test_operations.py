"""Operations: enqueued with the write that needs them, claimed under a fence, tried again by their policy."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from helpers.jobs import Bench, bench, person
from ingot.server.core import journal
from ingot.server.core.errors import (
    Conflict,
    Denied,
    Exhausted,
    IngotError,
    Invalid,
    NotFound,
    Precondition,
    Problem,
    Reason,
)
from ingot.server.core.events import LogLevel, LogLine, Progress, StateChange
from ingot.server.core.identity import Caller, Role, system_caller
from ingot.server.core.operation_stores import OperationFilter
from ingot.server.core.operations import (
    NewOperation,
    Operation,
    OperationOptions,
    OperationState,
    QueueLimits,
    RetryPolicy,
    Standing,
)
from ingot.server.domain.claims import MOST_LOG_BYTES
from ingot.server.domain.schedules import Schedules
from ingot.server.storage.operations_sql import SchedulesSql

ADMIN = person("root", Role.ADMIN)
RUNNER = "server/1"
LIMITS = QueueLimits({"download": 2, "maintenance": 2})
PROBLEM = Problem(Reason.SOURCE_UNREACHABLE, "The source is away.", {}, "", 0.0)
ANY = OperationFilter()
S = OperationState


@pytest.fixture
def b() -> Iterator[Bench]:
    with bench() as made:
        yield made


def wanted(url: str = "https://a/b", **more: object) -> NewOperation:
    params = {
        "source": {"kind": "urls", "files": [{"urls": [url]}]},
        "target": {"artifact": "namespaces/sara/models/tiny"},
    }
    return NewOperation("import", params, **more)  # type: ignore[arg-type]


def enqueue(
    b: Bench, new: NewOperation | None = None, caller: Caller | None = None, **options: object
) -> Operation:
    chosen = OperationOptions(**options)  # type: ignore[arg-type]
    new = dataclasses.replace(new or wanted(), options=chosen)
    return b.write(b.operations.operations.enqueue, caller or person(), new)


def take(b: Bench, queue: str = "download") -> Operation | None:
    return b.write(b.operations.claims.next, RUNNER, queue, LIMITS)


def taken(b: Bench) -> Operation:
    found = take(b)
    assert found is not None
    return found


def fail(b: Bench, operation: Operation, *, retry: bool = True, after: float | None = None) -> Operation:
    fail = b.operations.claims.fail
    return b.write(fail, operation.id, operation.attempt, PROBLEM, retry=retry, retry_after=after)


def reap(b: Bench, *alive: str) -> int:
    claims = b.operations.claims
    return len([b.write(claims.take_back, each.id, each.attempt) for each in b.read(claims.expired, alive)])


def recover(b: Bench, server: str = "server/") -> int:
    claims = b.operations.claims
    return len([b.write(claims.recover, each.id, each.attempt) for each in b.read(claims.left_by, server)])


def now(b: Bench, operation: Operation) -> Operation:
    return b.read(b.operations.operations.get, ADMIN, operation.id)


def story(b: Bench, operation: Operation) -> list[str]:
    """Return the states that the log tells of."""
    events = b.read(b.shelves.log.read, operation.name, 0, 1000)
    return [each.body.after for each in events if isinstance(each.body, StateChange)]


# --- enqueueing -----------------------------------------------------------------------------------------


@pytest.mark.contract("S4-32", "S4-33", "S4-34", "S4-35")
def test_an_import_is_tried_5_times_30_s_apart_for_10_h_in_the_queue_download(b: Bench) -> None:
    queued = enqueue(b)
    assert (queued.state, queued.queue, queued.timeout) == (S.QUEUED, "download", 36_000.0)
    for number in range(1, 6):
        running = taken(b)
        assert (running.state, running.attempt) == (S.RUNNING, number)
        after = fail(b, running)
        if number < 5:
            assert after.state is S.RETRYING
            b.clock.advance(29.9)
            assert take(b) is None
            b.clock.advance(0.2)
    assert (after.state, after.problem) == (S.FAILED, PROBLEM)
    assert story(b, queued) == ["QUEUED", *["RUNNING", "RETRYING"] * 4, "RUNNING", "FAILED"]
    remove = NewOperation("remove", {"artifact_uid": "u"}, target="namespaces/sara/models/a")
    removal = b.write(b.operations.operations.enqueue, person(), remove)
    assert removal.queue == "maintenance"


@pytest.mark.contract("S3-52")
def test_pauses_grow_as_the_policy_says_and_wait_at_least_as_long_as_the_source_asked(b: Bench) -> None:
    enqueue(b, policy=RetryPolicy(4, 10.0, 3.0), timeout=60.0)
    pauses = []
    for after in (None, None, 1000.0):
        failed = fail(b, taken(b), after=after)
        pauses.append(failed.due_time - b.clock.time)
        b.clock.advance(pauses[-1])
    assert pauses == [10.0, 30.0, 1000.0]
    assert fail(b, taken(b)).state is S.FAILED


def test_what_will_not_help_is_not_tried_again(b: Bench) -> None:
    enqueue(b)
    failed = fail(b, taken(b), retry=False)
    assert (failed.state, failed.problem, failed.finish_time) == (S.FAILED, PROBLEM, b.clock.time)


def test_it_exists_only_if_its_write_is_committed(b: Bench) -> None:
    heard: list[Operation] = []

    class Ear:
        def changed(self, operation: Operation) -> None:
            heard.append(operation)

    b.operations.operations.listen(Ear())

    def halfway() -> None:
        b.operations.operations.enqueue(person(), wanted())
        raise LookupError("undone")

    with pytest.raises(LookupError):
        b.write(halfway)
    assert b.read(b.operations.operations.page, ADMIN, ANY, 0, "").items == ()
    assert heard == []
    queued = enqueue(b)
    assert heard == [queued]


def test_what_a_hook_raises_undoes_the_move(b: Bench) -> None:
    seen: list[OperationState] = []

    class Hook:
        def moved(self, operation: Operation) -> None:
            seen.append(operation.state)
            if operation.state is S.SUCCEEDED:
                raise LookupError("no")

    b.operations.operations.on("import", Hook())
    enqueue(b)
    b.write(b.operations.operations.enqueue, person(), NewOperation("clean"))
    running = taken(b)
    with pytest.raises(LookupError):
        b.write(b.operations.claims.succeed, running.id, 1, {})
    assert (seen, now(b, running).state) == ([S.QUEUED, S.RUNNING, S.SUCCEEDED], S.RUNNING)


@pytest.mark.contract("S4-18")
def test_a_key_is_unfinished_once(b: Bench) -> None:
    first = enqueue(b, wanted(key="same"))
    assert enqueue(b, wanted(key="same")) == first
    b.write(b.operations.operations.cancel, person(), first.id)
    second = enqueue(b, wanted(key="same"))
    assert second.number == 2
    with pytest.raises(Precondition, match="operations/op_2, which is QUEUED, does the same"):
        b.write(b.operations.operations.retry, person(), first.id)
    b.write(b.operations.operations.cancel, person(), second.id)
    assert b.write(b.operations.operations.retry, person(), first.id).state is S.QUEUED


@pytest.mark.parametrize(
    ("new", "options", "field"),
    [
        (NewOperation("dance"), {}, "kind"),
        (NewOperation("clean", {"hours": 24}), {}, "params.hours"),
        (NewOperation("import", {}), {}, "params.source"),
        (wanted(), {"priority": 1001}, "options.priority"),
        (wanted(), {"timeout": -1.0}, "options.timeout"),
        (wanted(), {"timeout": float("nan")}, "options.timeout"),
        (wanted(), {"policy": RetryPolicy(max_attempts=0)}, "options.retry_policy.max_attempts"),
        (wanted(), {"policy": RetryPolicy(delay=-1.0)}, "options.retry_policy.delay"),
        (wanted(), {"policy": RetryPolicy(multiplier=0.5)}, "options.retry_policy.multiplier"),
    ],
)
def test_what_cannot_be_run_is_refused(
    b: Bench, new: NewOperation, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        enqueue(b, new, **options)
    assert refused.value.facts["field"] == field


def test_a_priority_above_0_is_for_administrators(b: Bench) -> None:
    with pytest.raises(Denied) as refused:
        enqueue(b, priority=1)
    assert refused.value.reason is Reason.SCOPE_MISSING
    assert enqueue(b, priority=-5).priority == -5
    assert enqueue(b, caller=ADMIN, priority=5).priority == 5


def test_nobody_has_more_unfinished_ones_than_the_quota(b: Bench) -> None:
    operations, ali = b.operations.operations, person("ali")
    for _ in range(199):
        enqueue(b, wanted(), ali)
    last = enqueue(b, wanted(key="last"), ali)
    with pytest.raises(Exhausted) as refused:
        enqueue(b, wanted(), ali)
    assert (refused.value.reason, refused.value.facts["limit"]) == (Reason.QUOTA, "200")
    assert "cancel" in refused.value.next_step
    assert enqueue(b, wanted(key="last"), ali) == last
    enqueue(b, wanted(), person("omid"))
    assert enqueue(b, dataclasses.replace(wanted(), for_all=True), ali).requester == "system"
    enqueue(b, wanted(), dataclasses.replace(ali, operation=last.name, attempt=1))
    for number in (1, 2, 3):
        b.write(operations.cancel, ali, f"op_{number}")
    assert b.write(operations.retry, ali, "op_1").state is S.QUEUED
    enqueue(b, wanted(), ali)
    with pytest.raises(Exhausted):
        b.write(operations.retry, ali, "op_2")
    assert b.write(operations.retry, ADMIN, "op_2").state is S.QUEUED


def test_what_an_operation_is_to_do_is_bounded(b: Bench) -> None:
    files = [{"urls": [f"https://a/{'x' * 200}/{number}"]} for number in range(5000)]
    params = {**wanted().params, "source": {"kind": "urls", "files": files}}
    with pytest.raises(Invalid) as refused:
        enqueue(b, NewOperation("import", params))  # type: ignore[arg-type]  # as JSON it fits
    assert (refused.value.reason, refused.value.facts["expected"]) == (Reason.TOO_LARGE, "1048576")


@pytest.mark.parametrize(
    "options",
    [{"priority": -1}, {"timeout": 5.0}, {"policy": RetryPolicy(2)}],
    ids=lambda each: next(iter(each)),
)
def test_options_that_would_be_dropped_are_refused(b: Bench, options: dict[str, Any]) -> None:
    first = enqueue(b, wanted(key="same"))
    with pytest.raises(Precondition) as refused:
        enqueue(b, wanted(key="same"), **options)
    assert refused.value.facts == {"operation": first.name}
    assert f"{first.name}, which is QUEUED, does that already, with" in refused.value.message
    b.write(b.operations.operations.cancel, person(), first.id)
    enqueue(b, wanted(key="same"), **options)
    assert enqueue(b, wanted(key="same"), **options).number == 2
    assert enqueue(b, wanted(key="same")).number == 2


# --- claiming -------------------------------------------------------------------------------------------


def test_higher_priority_first_and_never_more_than_the_queue_has_slots(b: Bench) -> None:
    for priority in (0, 5, 0, 9):
        enqueue(b, caller=ADMIN, priority=priority)
    first, second = taken(b), taken(b)
    assert [first.number, second.number] == [4, 2]
    assert take(b) is None
    assert b.write(b.operations.claims.claim, RUNNER, "op_1", LIMITS) is None
    assert take(b, "maintenance") is None
    spare = b.write(b.operations.claims.claim, RUNNER, "op_1", None)
    assert spare is not None
    b.write(b.operations.claims.release, spare.id, 1)
    b.write(b.operations.claims.succeed, first.id, 1, {})
    assert b.write(b.operations.claims.claim, RUNNER, "op_3", LIMITS) is not None
    assert take(b) is None
    fail(b, second)
    assert taken(b).number == 1


def test_turns_go_round_among_those_who_wait(b: Bench) -> None:
    one = QueueLimits({"download": 1})
    for who in ("bobby", "bobby", "bobby", "alix", "bobby", "omid", "alix"):
        enqueue(b, caller=person(who))
    order = []
    while found := b.write(b.operations.claims.next, RUNNER, "download", one):
        order.append(found.requester.removeprefix("users/"))
        b.write(b.operations.claims.succeed, found.id, 1, {})
    assert order == ["bobby", "alix", "omid", "bobby", "alix", "bobby", "bobby"]


@pytest.mark.contract("S4-25")
def test_progress_and_log_are_kept_and_seen(b: Bench) -> None:
    enqueue(b)
    running = taken(b)
    etag = now(b, running).etag
    beat = b.operations.claims.beat
    halfway, line = Progress("fetch", 1, 2, "bytes"), LogLine(LogLevel.INFO, 0, "half of it")
    assert b.write(beat, running.id, 1, halfway, [line]) is Standing.GO_ON
    assert b.write(beat, running.id, 1) is Standing.GO_ON
    assert (now(b, running).progress, now(b, running).etag) == (halfway, etag)
    done = b.write(b.operations.claims.succeed, running.id, 1, {"version": "x"})
    assert (done.state, done.result, done.progress) == (S.SUCCEEDED, {"version": "x"}, halfway)
    events = b.read(b.shelves.log.read, running.name, 0, 100)
    assert [each.body for each in events][2:4] == [line, halfway]
    assert [(each.seq, each.attempt) for each in events] == [(1, 0), (2, 1), (3, 1), (4, 1), (5, 1)]


def test_the_log_of_an_operation_is_bounded_and_says_so_once(b: Bench) -> None:
    enqueue(b, policy=RetryPolicy(5, 0.0))
    running = taken(b)
    line = LogLine(LogLevel.INFO, 0, "x" * 65536)
    beat = b.operations.claims.beat
    b.write(beat, running.id, 1, None, [line] * 1000)
    b.write(b.operations.claims.fail, running.id, 1, PROBLEM, retry=True)
    again = taken(b)
    for _ in range(3):
        b.write(beat, again.id, 2, Progress("fetch"), [line] * 20)
    bodies = [each.body for each in b.read(b.shelves.log.read, running.name, 0, 10_000)]
    texts = [each.text for each in bodies if isinstance(each, LogLine)]
    assert sum(map(len, texts)) <= MOST_LOG_BYTES + 65536
    assert len(texts) == 1024 + 1
    assert [each for each in texts if "left out" in each] == [
        "The log has 64 MiB: more lines of this operation are left out."
    ]
    assert now(b, again).progress == Progress("fetch"), "which goes on"


def test_who_lost_a_claim_can_change_nothing(b: Bench) -> None:
    enqueue(b)
    old = taken(b)
    b.clock.advance(21)
    assert reap(b) == 1
    assert now(b, old).state is S.RETRYING
    b.clock.advance(30)
    new = taken(b)
    claims = b.operations.claims
    assert b.write(claims.beat, old.id, old.attempt, Progress(done=9)) is Standing.LOST
    for late in (
        lambda: claims.succeed(old.id, old.attempt, {"version": "wrong"}),
        lambda: claims.fail(old.id, old.attempt, PROBLEM, retry=True),
        lambda: claims.stopped(old.id, old.attempt),
        lambda: claims.release(old.id, old.attempt),
        lambda: claims.take_back(old.id, old.attempt),
    ):
        with pytest.raises(Precondition) as refused:
            b.write(late)
        assert refused.value.reason is Reason.ATTEMPT_OUTDATED
    assert now(b, new) == new
    b.write(claims.succeed, new.id, new.attempt, {})
    assert b.write(claims.beat, new.id, new.attempt) is Standing.LOST
    assert b.write(claims.beat, "op_99", 1) is Standing.LOST


def test_a_beat_extends_the_lease_and_a_vouched_one_needs_none(b: Bench) -> None:
    enqueue(b)
    running = taken(b)
    for _ in range(5):
        b.clock.advance(15)
        b.write(b.operations.claims.beat, running.id, 1)
        assert reap(b) == 0
    b.clock.advance(3 * 3600)  # the machine's clock jumps
    assert reap(b, running.id) == 0
    assert reap(b) == 1
    lost = now(b, running)
    assert lost.problem is not None
    assert (lost.state, lost.problem.reason) == (S.RETRYING, Reason.BODY_LOST)


@pytest.mark.contract("S4-30")
def test_what_kills_the_server_each_time_ends_failed(b: Bench) -> None:
    enqueue(b, policy=RetryPolicy(3, 1000.0))
    for _ in range(3):
        taken(b)
        assert recover(b) == 1
    (ended,) = b.read(b.operations.operations.page, ADMIN, ANY, 0, "").items
    assert ended.problem is not None
    assert (ended.state, ended.attempt, ended.problem.reason) == (S.FAILED, 3, Reason.BODY_LOST)
    assert recover(b) == 0


def test_only_what_this_server_had_is_recovered(b: Bench) -> None:
    enqueue(b)
    b.write(b.operations.claims.next, "other/7", "download", LIMITS)
    assert recover(b) == 0


def test_a_try_that_the_server_gave_back_does_not_count(b: Bench) -> None:
    enqueue(b, policy=RetryPolicy(1))
    for attempt in (1, 2, 3):
        running = taken(b)
        assert (running.attempt, running.tries) == (attempt, 1)
        assert b.write(b.operations.claims.release, running.id, attempt).state is S.QUEUED
    assert fail(b, taken(b)).state is S.FAILED


# --- steering -------------------------------------------------------------------------------------------


def test_cancelling(b: Bench) -> None:
    enqueue(b)
    cancel = b.operations.operations.cancel
    assert b.write(cancel, person(), "op_1").state is S.CANCELLED
    with pytest.raises(Precondition):
        b.write(cancel, person(), "op_1")
    enqueue(b)
    running = taken(b)
    asked = b.write(cancel, person(), running.id, running.etag)
    assert (asked.state, b.write(cancel, person(), running.id)) == (S.CANCELLING, asked)
    assert b.write(b.operations.claims.beat, running.id, 1) is Standing.CANCEL
    stopped = b.write(b.operations.claims.stopped, running.id, 1)
    assert (stopped.state, stopped.finish_time) == (S.CANCELLED, b.clock.time)
    enqueue(b)
    fail(b, taken(b))
    assert b.write(cancel, person(), "op_3").state is S.CANCELLED
    b.clock.advance(60)
    assert take(b) is None


@pytest.mark.parametrize("ending", ["fail", "release", "reap"])
def test_what_was_asked_to_stop_is_never_tried_again(b: Bench, ending: str) -> None:
    enqueue(b)
    running = taken(b)
    b.write(b.operations.operations.cancel, person(), running.id)
    if ending == "fail":
        fail(b, running)
    elif ending == "release":
        b.write(b.operations.claims.release, running.id, 1)
    else:
        b.clock.advance(30)
        reap(b)
    assert now(b, running).state is S.CANCELLED


@pytest.mark.contract("S4-26")
def test_trying_again_by_hand(b: Bench) -> None:
    retry = b.operations.operations.retry
    queued = enqueue(b, policy=RetryPolicy(2))
    with pytest.raises(Precondition):
        b.write(retry, person(), queued.id)
    failed = fail(b, taken(b))
    again = b.write(retry, person(), queued.id, failed.etag)
    assert (again.state, again.problem, again.tries) == (S.QUEUED, None, 0)
    for _ in range(2):
        failed = fail(b, taken(b))
        b.clock.advance(30)
    assert failed.state is S.FAILED
    with pytest.raises(Conflict):
        b.write(retry, person(), queued.id, again.etag)
    assert b.write(retry, person(), queued.id).finish_time is None
    running = taken(b)
    assert (running.attempt, running.tries) == (4, 1)


def test_they_are_for_who_asked_and_for_administrators(b: Bench) -> None:
    mine = enqueue(b)
    theirs = enqueue(b, caller=person("omid"))
    for rule in (b.operations.operations.get, b.operations.operations.cancel, b.operations.operations.retry):
        for name in (theirs.id, "op_9", "job_1"):
            with pytest.raises(NotFound):
                b.write(rule, person(), name)
    assert b.read(b.operations.operations.page, person(), ANY, 0, "").items == (mine,)
    assert b.read(b.operations.operations.page, ADMIN, ANY, 0, "").items == (theirs, mine)
    assert b.read(b.operations.operations.since, person(), ANY, 0, 9) == [mine]
    assert b.write(b.operations.operations.cancel, ADMIN, theirs.id).state is S.CANCELLED


def test_pages_and_their_filters(b: Bench) -> None:
    for _ in range(5):
        enqueue(b)
    b.write(b.operations.operations.enqueue, system_caller(), NewOperation("clean"))
    only = OperationFilter(kind="import", queue="download")
    page = b.read(b.operations.operations.page, ADMIN, only, 3, "")
    rest = b.read(b.operations.operations.page, ADMIN, only, 3, page.next_token)
    assert [each.number for each in (*page.items, *rest.items)] == [5, 4, 3, 2, 1]
    assert rest.next_token == ""
    with pytest.raises(Invalid):
        b.read(b.operations.operations.page, ADMIN, ANY, 3, page.next_token)


def test_changes_come_in_order_each_operation_once(b: Bench) -> None:
    first, second = enqueue(b), enqueue(b)
    seen = b.read(b.operations.operations.since, ADMIN, ANY, 0, 9)
    assert list(seen) == [first, second]
    running = taken(b)
    b.write(b.operations.claims.beat, running.id, 1, Progress(done=1))
    b.write(b.operations.claims.beat, running.id, 1)  # a bare beat changes nothing that anybody sees
    (changed,) = b.read(b.operations.operations.since, ADMIN, ANY, seen[-1].change, 9)
    assert (changed.number, changed.change, changed.progress) == (1, second.change + 2, Progress(done=1))


@pytest.mark.contract("S3-50")
def test_old_ones_go_with_their_logs(b: Bench) -> None:
    old, young = enqueue(b), enqueue(b)
    b.write(b.operations.operations.cancel, person(), old.id)
    b.clock.advance(91 * 24 * 3600)
    b.write(b.operations.operations.cancel, person(), young.id)
    assert b.write(b.operations.operations.forget_old) == [old.name]
    assert b.write(b.operations.operations.forget_old) == []
    assert b.read(b.shelves.log.bounds, old.name).latest == 0
    with pytest.raises(IngotError):
        now(b, old)


# --- periodic -------------------------------------------------------------------------------------------


def schedules(b: Bench, **periods: float) -> Schedules:
    return Schedules(SchedulesSql(), b.operations.operations, periods, b.clock)


def acts(b: Bench, turns: Schedules) -> list[tuple[str, str, dict[str, str]]]:
    """Take a turn and return what the audit log is told of it."""

    def turn() -> list[journal.Act]:
        with journal.taking() as note:
            turns.turn()
        return note.acts

    return [(each.action, each.target, each.facts) for each in b.write(turn)]


def test_turns_come_once_a_period_and_never_twice(b: Bench) -> None:
    turns = schedules(b, clean=3600.0, scrub=0.0)
    assert b.write(turns.turn) == []
    b.clock.advance(3600)
    assert acts(b, turns) == [("start", "operations/op_1", {"kind": "clean", "reason": "its time has come"})]
    assert acts(b, turns) == []
    b.clock.advance(3599)
    assert b.write(schedules(b, clean=3600.0).turn) == []  # as after a restart
    b.clock.advance(1)
    assert acts(b, turns) == [], "the last turn still waits: no second one"
    b.write(b.operations.operations.cancel, ADMIN, "op_1")
    b.clock.advance(3600)
    assert [each.id for each in b.write(turns.turn)] == ["op_2"]


def test_a_clock_that_jumps_makes_no_storm(b: Bench) -> None:
    turns = schedules(b, clean=3600.0)
    b.write(turns.turn)
    b.clock.advance(3600)
    b.write(turns.turn)
    b.write(b.operations.operations.cancel, ADMIN, "op_1")
    b.clock.advance(1000 * 3600)
    assert len(b.write(turns.turn)) == 1
    assert b.write(turns.turn) == []
    b.write(b.operations.operations.cancel, ADMIN, "op_2")
    b.clock.advance(-1000 * 3600)
    assert b.write(turns.turn) == []
    b.clock.advance(3600)
    assert len(b.write(turns.turn)) == 1, "a clock set back delays by one period, not by the jump"


# --- whose operations -----------------------------------------------------------------------------------


def test_who_left_a_namespace_neither_sees_nor_steers_what_it_asked_for_there(b: Bench) -> None:
    member = dataclasses.replace(person("omid"), writes=frozenset({"omid", "team"}))
    left = person("omid")
    there = enqueue(b, wanted("https://a/1", namespace="team"), member)
    own = enqueue(b, wanted("https://a/2", namespace="omid"), member)
    bare = enqueue(b, wanted("https://a/3"), member)
    rules = b.operations.operations
    assert b.read(rules.page, member, ANY, 0, "").items == (bare, own, there)
    for act in (rules.get, rules.cancel, rules.retry):
        with pytest.raises(NotFound):
            b.write(act, left, there.id)
    for namespace in ("", "-", "team"):
        shown = OperationFilter(namespace=namespace)
        expected = () if namespace == "team" else (bare, own)
        assert b.read(rules.page, left, shown, 0, "").items == expected
        assert tuple(b.read(rules.since, left, shown, 0, 9)) == expected[::-1]
    assert b.write(rules.cancel, member, there.id).state is S.CANCELLED


def test_who_never_belonged_to_a_namespace_keeps_sight_of_what_it_asked_for_there(b: Bench) -> None:
    guest = enqueue(b, wanted("https://a/1", namespace="team"), person("omid"))
    rules = b.operations.operations
    assert (guest.guest, b.read(rules.get, person("omid"), guest.id)) == (True, guest)
    for namespace in ("", "-", "team"):
        assert b.read(rules.page, person("omid"), OperationFilter(namespace=namespace), 0, "").items == (
            guest,
        )
    assert b.write(rules.cancel, person("omid"), guest.id).state is S.CANCELLED
    sara = enqueue(b, wanted("https://a/2", namespace="sara"), person("sara"))
    assert not sara.guest


def test_who_reads_a_namespace_sees_its_operations_and_nobody_else(b: Bench) -> None:
    sara, omid = person("sara"), person("omid")
    guest = dataclasses.replace(person("guest"), reads=frozenset({"guest", "sara"}))
    worker = dataclasses.replace(person("box", Role.WORKER), reads=frozenset({"sara"}))
    mine = enqueue(b, wanted("https://a/1", namespace="sara"), sara)
    given = enqueue(b, wanted("https://a/2", namespace="sara"), ADMIN)
    other = enqueue(b, wanted("https://a/3", namespace="omid"), omid)
    bare = enqueue(b, wanted("https://a/4"), ADMIN)

    def seen(caller: Caller, namespace: str) -> list[int]:
        filter_ = OperationFilter(namespace=namespace)
        found = [each.number for each in b.read(b.operations.operations.page, caller, filter_, 0, "").items]
        changed = b.read(b.operations.operations.since, caller, filter_, 0, 9)
        assert sorted(found) == sorted(each.number for each in changed)
        assert all(b.read(b.operations.operations.sees, caller, each) for each in changed)
        return found

    assert seen(ADMIN, "") == seen(ADMIN, "-") == [each.number for each in (bare, other, given, mine)]
    assert seen(ADMIN, "sara") == [given.number, mine.number]
    assert seen(sara, "") == [mine.number]
    assert seen(sara, "sara") == seen(sara, "-") == [given.number, mine.number]
    assert seen(guest, "sara") == seen(guest, "-") == [given.number, mine.number]
    assert seen(guest, "") == seen(guest, "omid") == []
    assert seen(omid, "sara") == []
    assert seen(omid, "-") == seen(omid, "omid") == [other.number]
    assert [seen(worker, each) for each in ("", "-", "sara")] == [[], [], []]
    with pytest.raises(Denied):
        b.write(b.operations.operations.cancel, guest, mine.id)
    with pytest.raises(NotFound):
        b.write(b.operations.operations.cancel, omid, mine.id)
    with pytest.raises(Denied):
        b.write(b.operations.operations.retry, guest, mine.id)


def test_pages_of_a_namespace_go_on_where_they_stopped(b: Bench) -> None:
    sara = person("sara")
    made = [
        enqueue(b, wanted(f"https://a/{at}", namespace="sara"), ADMIN if at % 2 else sara).number
        for at in range(7)
    ]
    found: list[int] = []
    token = ""
    while True:
        page = b.read(b.operations.operations.page, sara, OperationFilter(namespace="-"), 2, token)
        found += [each.number for each in page.items]
        token = page.next_token
        if not token:
            break
    assert found == made[::-1]
    first = b.read(b.operations.operations.page, sara, OperationFilter(namespace="-"), 2, "")
    for caller, namespace in ((sara, "sara"), (person("omid"), "-")):
        with pytest.raises(Invalid):
            b.read(
                b.operations.operations.page,
                caller,
                OperationFilter(namespace=namespace),
                2,
                first.next_token,
            )
