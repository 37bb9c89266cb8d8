"""Operations: the record of the server's own work, also of work that was cut short."""

from collections.abc import Iterator, Mapping

import pytest

from helpers import loops
from helpers.jobs import Bench, bench, person
from ingot.server.core.errors import Invalid, NotFound, Precondition, Problem, Reason
from ingot.server.core.events import Progress
from ingot.server.core.identity import Role, system_caller
from ingot.server.core.operations import Json, Operation, OperationState
from ingot.server.rpc.hops import Hops
from ingot.server.upkeep import Upkeep

ADMIN = person("root", Role.ADMIN)


@pytest.fixture
def b() -> Iterator[Bench]:
    with bench() as made:
        yield made


def begin(b: Bench, kind: str = "clean") -> Operation:
    return b.write(b.rules.operations.begin, system_caller(), kind, {"hours": 24})


def one(b: Bench) -> Operation:
    (found,) = b.read(b.rules.operations.page, ADMIN, "", None, 0, "").items
    return found


def test_from_beginning_to_end(b: Bench) -> None:
    begun = begin(b)
    assert (begun.state, begun.attempt, begun.name) == (OperationState.RUNNING, 1, "operations/op_1")
    b.write(b.rules.operations.report, "op_1", Progress(done=1, total=2))
    assert one(b).progress == Progress(done=1, total=2)
    assert one(b).etag != begun.etag
    b.clock.advance(5)
    done = b.write(b.rules.operations.succeed, "op_1", {"expired": 3, "kept": None})
    assert one(b) == done
    assert (done.state, done.result, done.finish_time) == (
        OperationState.SUCCEEDED,
        {"expired": 3, "kept": None},
        b.clock.time,
    )
    with pytest.raises(Precondition):
        b.write(b.rules.operations.fail, "op_1", Problem(Reason.INTERNAL, "late", {}, "", 0.0))


def test_what_an_earlier_run_left_is_ended(b: Bench) -> None:
    begin(b)
    assert b.write(b.rules.operations.recover) == 1
    left = one(b)
    assert left.state is OperationState.FAILED
    assert left.problem is not None
    assert "The server stopped while operations/op_1 (clean) was RUNNING" in left.problem.message
    assert b.write(b.rules.operations.recover) == 0
    b.clock.advance(91 * 24 * 3600)
    b.write(b.rules.operations.recover)
    assert b.read(b.rules.operations.page, ADMIN, "", None, 0, "").items == ()


def test_they_are_seen_by_administrators_and_by_who_asked(b: Bench) -> None:
    begin(b)
    b.write(b.rules.operations.begin, person(), "import", {})
    seen = b.read(b.rules.operations.page, person(), "", None, 0, "").items
    assert [each.kind for each in seen] == ["import"]
    assert b.read(b.rules.operations.get, person(), "op_2").kind == "import"
    for name in ("op_1", "op_9", "job_1"):
        with pytest.raises(NotFound):
            b.read(b.rules.operations.get, person(), name)
    assert b.read(b.rules.operations.get, ADMIN, "op_1").kind == "clean"


def test_pages_by_kind_and_state(b: Bench) -> None:
    for number in range(5):
        begin(b, "clean" if number % 2 else "recover")
    b.write(b.rules.operations.succeed, "op_1", {})
    page = b.read(b.rules.operations.page, ADMIN, "recover", OperationState.RUNNING, 1, "")
    rest = b.read(b.rules.operations.page, ADMIN, "recover", OperationState.RUNNING, 1, page.next_token)
    assert [each.number for each in (*page.items, *rest.items)] == [5, 3]
    assert rest.next_token == ""
    with pytest.raises(Invalid):
        b.read(b.rules.operations.page, ADMIN, "clean", None, 1, page.next_token)


def test_upkeep_records_results_and_failures(b: Bench) -> None:
    async def good() -> Mapping[str, Json]:
        return {"expired": 2}

    async def bad() -> Mapping[str, Json]:
        raise OSError("disk on fire")

    hops = Hops(b.database)
    upkeep = Upkeep(hops, b.rules.operations, b.clock)
    assert loops.run(upkeep.run("clean", good)) == {"expired": 2}
    with pytest.raises(OSError, match="on fire"):
        loops.run(upkeep.run("clean", bad))
    failed, succeeded = b.read(b.rules.operations.page, ADMIN, "", None, 0, "").items
    assert (succeeded.state, succeeded.result) == (OperationState.SUCCEEDED, {"expired": 2})
    assert failed.problem is not None
    assert (failed.state, failed.problem.reason) == (OperationState.FAILED, Reason.INTERNAL)
    assert "on fire" not in failed.problem.message, "what went wrong inside is for the log"
    assert loops.run(upkeep.recover()) == 0
    hops.close()
