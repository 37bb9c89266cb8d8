"""What every store of operations promises, whatever database is below.

A test class inherits from a contract and gives the fixtures `units` (a Database) and `store`.
"""

import dataclasses

import pytest

from ingot.server.core.errors import Conflict, Problem, Reason
from ingot.server.core.events import Progress
from ingot.server.core.operation_stores import OperationFilter, OperationStore, ScheduleStore
from ingot.server.core.operations import Operation, OperationState, RetryPolicy
from ingot.server.storage.database import Database

PROBLEM = Problem(Reason.DISK_LOW, "دیسک پر است.", {"free": "0"}, "Free some space.", 5.0)
ANY = OperationFilter()
QUEUED, RUNNING = OperationState.QUEUED, OperationState.RUNNING


def an_operation(number: int, state: OperationState = QUEUED, **fields: object) -> Operation:
    """Return an operation; its change has its number unless told."""
    values: dict[str, object] = {
        "kind": "import",
        "requester": "users/sara",
        "create_time": 1.0,
        "queue": "download",
        "change": number,
        **fields,
    }
    return Operation(number=number, state=state, **values)  # type: ignore[arg-type]


class OperationStoreContract:
    """Operations."""

    def test_everything_comes_back(self, units: Database, store: OperationStore) -> None:
        operation = an_operation(
            7,
            OperationState.RETRYING,
            target="namespaces/sara/models/tiny",
            namespace="sara",
            reads=("omid", "lab"),
            key="import hf://a",
            priority=-3,
            policy=RetryPolicy(9, 2.5, 1.5),
            timeout=60.0,
            due_time=12.5,
            attempt=3,
            tries=2,
            runner="server/1",
            lease_time=20.0,
            attempt_time=11.0,
            progress=Progress("fetch", 1, 2, "bytes", 50.0, 1.0, None, "so far"),
            problem=PROBLEM,
            params={"source": {"kind": "hub", "include": ["*.bin"]}},
            result={"x": None},
            start_time=10.0,
            finish_time=None,
            revision=4,
        )
        units.write(store.add, operation).result()
        assert units.read(store.find, "op_7") == operation
        assert units.read(store.find, "op_8") is None
        assert units.read(store.find, "job_7") is None

    def test_a_save_fails_when_the_row_is_another_by_now(
        self, units: Database, store: OperationStore
    ) -> None:
        before = an_operation(1)
        units.write(store.add, before).result()
        after = dataclasses.replace(
            before, state=RUNNING, attempt=1, problem=PROBLEM, finish_time=9.0, change=2, revision=2
        )
        units.write(store.save, before, after).result()
        assert units.read(store.find, "op_1") == after
        for stale in (
            before,
            dataclasses.replace(after, attempt=0),
            dataclasses.replace(after, state=QUEUED),
            dataclasses.replace(after, revision=1),
        ):
            with pytest.raises(Conflict):
                units.write(store.save, stale, dataclasses.replace(after, revision=3)).result()
        assert units.read(store.find, "op_1") == after

    def test_one_key_is_unfinished_once(self, units: Database, store: OperationStore) -> None:
        first = an_operation(1, key="same")
        units.write(store.add, first).result()
        units.write(store.add, an_operation(2)).result()
        units.write(store.add, an_operation(3)).result()  # no key is no key
        assert units.read(store.unfinished, "same") == first
        with pytest.raises(Exception, match="UNIQUE"):
            units.write(store.add, an_operation(4, key="same")).result()
        ended = dataclasses.replace(first, state=OperationState.FAILED, change=5, revision=2)
        units.write(store.save, first, ended).result()
        assert units.read(store.unfinished, "same") is None
        units.write(store.add, an_operation(4, key="same")).result()
        assert units.read(store.find, "op_1") == ended

    def test_the_order_of_a_queue(self, units: Database, store: OperationStore) -> None:
        def take() -> list[int]:
            taken = []
            while found := units.read(store.next_waiting, "download", 10.0):
                taken.append(found.number)
                gone = dataclasses.replace(found, state=RUNNING, change=100 + found.number)
                units.write(store.save, found, gone).result()
            return taken

        for operation in (
            an_operation(1, due_time=5.0),
            an_operation(2, OperationState.RETRYING, due_time=4.0),
            an_operation(3, due_time=4.0),
            an_operation(4, due_time=9.0, priority=2),
            an_operation(5, due_time=11.0, priority=9),
            an_operation(6, queue="export"),
            an_operation(7, OperationState.SUCCEEDED),
            an_operation(8, due_time=0.0, priority=-1),
        ):
            units.write(store.add, operation).result()
        assert units.read(store.next_due, 4.5) == 5.0
        assert units.read(store.next_due, 11.0) is None
        assert [each.number for each in units.read(store.waiting)] == [1, 2, 3, 4, 5, 6, 8]
        assert take() == [4, 2, 3, 1, 8]
        assert units.read(store.claimed_in, "download") == {"users/sara": 5}
        assert units.read(store.claimed_in, "export") == {}
        assert [each.number for each in units.read(store.claimed)] == [1, 2, 3, 4, 8]

    def test_whose_operations_wait(self, units: Database, store: OperationStore) -> None:
        for operation in (
            an_operation(1, due_time=5.0, requester="users/ali"),
            an_operation(2, due_time=4.0, requester="users/ali"),
            an_operation(3, due_time=9.0, requester="system"),
            an_operation(4, RUNNING, requester="users/omid"),
            an_operation(5, requester="users/omid", priority=1),
            an_operation(6, OperationState.FAILED, requester="users/omid"),
            an_operation(7, requester="users/omid", queue="export"),
        ):
            units.write(store.add, operation).result()
        assert sorted(units.read(store.requesters, "download", 0)) == ["system", "users/ali"]
        assert units.read(store.requesters, "download", 1) == ["users/omid"]
        assert units.read(store.requesters, "validate", 0) == []

        def first(requester: str, now: float) -> int | None:
            found = units.read(store.next_of, requester, "download", 0, now)
            return found.number if found else None

        assert [first("users/ali", 4.0), first("system", 8.0), first("users/omid", 99.0)] == [2, None, None]
        assert [units.read(store.unfinished_of, who) for who in ("users/omid", "system", "nobody")] == [
            3,
            1,
            0,
        ]

    def test_pages_and_changes(self, units: Database, store: OperationStore) -> None:
        for operation in (
            an_operation(1, change=6),
            an_operation(2, requester="system", kind="clean", queue="maintenance", target="x"),
            an_operation(3, OperationState.FAILED),
            an_operation(4, target="x"),
        ):
            units.write(store.add, operation).result()

        def numbers(requester: str | None, wanted: OperationFilter) -> list[int]:
            page = [each.number for each in units.read(store.page, requester, wanted, None, 9).items]
            changed = [each.number for each in units.read(store.since, requester, wanted, 0, 9)]
            assert sorted(changed) == sorted(page)
            return page

        assert numbers(None, ANY) == [4, 3, 2, 1]
        assert numbers("users/sara", ANY) == [4, 3, 1]
        assert numbers(None, OperationFilter(kind="clean")) == [2]
        assert numbers(None, OperationFilter(queue="download", target="x")) == [4]
        assert numbers(None, OperationFilter(state=OperationState.FAILED)) == [3]
        assert numbers("users/sara", OperationFilter(active_only=True)) == [4, 1]
        first = units.read(store.page, None, ANY, None, 2)
        assert first.next_key == (3,)
        rest = units.read(store.page, None, ANY, 3, 2)
        assert ([each.number for each in rest.items], rest.next_key) == ([2, 1], None)
        assert [each.number for each in units.read(store.since, None, ANY, 2, 2)] == [3, 4]
        assert [each.number for each in units.read(store.since, None, ANY, 4, 9)] == [1]

    def test_those_of_namespaces(self, units: Database, store: OperationStore) -> None:
        for operation in (
            an_operation(1, namespace="sara"),
            an_operation(2, namespace="lab", requester="users/omid"),
            an_operation(3, namespace="lab"),
            an_operation(4, OperationState.FAILED, namespace="lab", requester="system"),
            an_operation(5, namespace="omid", requester="users/omid"),
            an_operation(6, requester="system"),
        ):
            units.write(store.add, operation).result()

        def numbers(requester: str | None, wanted: OperationFilter) -> list[int]:
            found: list[int] = []
            place: int | None = None
            while True:
                page = units.read(store.page, requester, wanted, place, 2)
                found += [each.number for each in page.items]
                if page.next_key is None:
                    break
                place = int(page.next_key[0])
            changed = [each.number for each in units.read(store.since, requester, wanted, 0, 9)]
            assert changed == sorted(found)
            assert changed[1:3] == [
                each.number for each in units.read(store.since, requester, wanted, changed[0], 2)
            ]
            return found

        assert numbers(None, OperationFilter(namespace="lab")) == [4, 3, 2]
        assert numbers("users/sara", OperationFilter(namespace="lab")) == [3]
        shared = OperationFilter(shared=("lab", "sara"))
        assert numbers("users/sara", shared) == [4, 3, 2, 1]
        assert numbers("users/omid", shared) == [5, 4, 3, 2, 1]
        assert numbers("users/sara", dataclasses.replace(shared, active_only=True)) == [3, 2, 1]

    def test_what_ended_after_a_change_is_shown_all_the_same(
        self, units: Database, store: OperationStore
    ) -> None:
        assert units.read(store.latest_change) == 0
        for operation in (
            an_operation(1, OperationState.FAILED, change=2),
            an_operation(2, change=3),
            an_operation(3, OperationState.SUCCEEDED, change=5),
            an_operation(4, OperationState.CANCELLED, change=6, requester="users/omid"),
        ):
            units.write(store.add, operation).result()
        assert units.read(store.latest_change) == 6

        def changes(position: int, but_after: int | None, requester: str | None = None) -> list[int]:
            wanted = OperationFilter(active_only=True, but_after=but_after)
            return [each.change for each in units.read(store.since, requester, wanted, position, 9)]

        assert changes(0, None) == [3]
        assert changes(0, 4) == [3, 5, 6]
        assert changes(0, 5) == [3, 6]
        assert changes(3, 4, "users/sara") == [5]

    def test_forgetting(self, units: Database, store: OperationStore) -> None:
        for number in (1, 2, 3):
            ended = an_operation(number, OperationState.FAILED, finish_time=10.0 - number)
            units.write(store.add, ended).result()
        units.write(store.add, an_operation(4)).result()
        assert units.write(store.forget, 9.0, 1).result() == ["operations/op_3"]
        assert units.write(store.forget, 9.0, 9).result() == ["operations/op_2"]
        assert units.write(store.forget, 9.0, 9).result() == []
        assert [each.number for each in units.read(store.page, None, ANY, None, 9).items] == [4, 1]


class ScheduleStoreContract:
    """Times of periodic kinds."""

    def test_due_times(self, units: Database, store: ScheduleStore) -> None:
        assert units.read(store.due, "clean") is None
        units.write(store.plan, "clean", 5.5).result()
        units.write(store.plan, "scrub", 6.5).result()
        units.write(store.plan, "clean", 7.5).result()
        assert units.read(store.due, "clean") == 7.5
