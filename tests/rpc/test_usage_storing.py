"""Gathered figures reach the rows: nobody misses what is being written, and failures lose nothing."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from helpers import loops
from helpers.schema import migrated
from ingot.server.core.clock import SystemClock
from ingot.server.core.errors import Exhausted, Reason
from ingot.server.core.identity import system_caller
from ingot.server.core.pages import PageTokens
from ingot.server.core.usage import Use
from ingot.server.domain.usage import Usage
from ingot.server.rpc import usage_storing
from ingot.server.rpc.hops import Hops
from ingot.server.storage.database import Database, open_database
from ingot.server.storage.usage_sql import UsageSql


class _FullDisk(UsageSql):
    """Refuses to count while `full`."""

    full = True

    def count(self, uses: list[Use]) -> None:  # type: ignore[override]
        if self.full and uses:
            raise Exhausted(Reason.DISK_LOW, "The disk is full.")
        super().count(uses)


@pytest.fixture
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path_factory.mktemp('db') / 'ingot.db'}")
    migrated(opened)
    yield opened
    opened.close()


@pytest.fixture
def hops(database: Database) -> Iterator[Hops]:
    made = Hops(database)
    yield made
    made.close()


def _usage(store: UsageSql) -> Usage:
    return Usage(store, PageTokens(b"secret"), SystemClock(), activity_days=30)


def _accesses(database: Database, usage: Usage) -> int:
    return database.read(usage.of, ["uid"])["uid"].access_count


def test_a_question_waits_for_what_another_one_is_writing(database: Database, hops: Hops) -> None:
    usage = _usage(UsageSql())
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        release.wait(100)

    holding = database.write(hold)
    assert held.wait(100)
    usage.accessed(system_caller(), "uid")

    async def ask_while_it_is_written() -> None:
        first = asyncio.create_task(usage_storing.store(hops, usage))
        await asyncio.sleep(0)
        assert not usage.pending()
        second = asyncio.create_task(usage_storing.catch_up(hops, usage))
        done, _ = await asyncio.wait({second}, timeout=0.2)
        assert not done
        first.cancel()  # nor does it stop when whoever began it goes
        release.set()
        await second

    loops.run(ask_while_it_is_written())
    assert _accesses(database, usage) == 1
    holding.result(100)


def test_what_fails_is_kept_and_questions_are_answered_all_the_same(database: Database, hops: Hops) -> None:
    disk = _FullDisk()
    usage = _usage(disk)
    usage.accessed(system_caller(), "uid")
    with pytest.raises(Exhausted):
        loops.run(usage_storing.store(hops, usage))
    assert usage.pending()
    loops.run(usage_storing.catch_up(hops, usage))
    disk.full = False
    usage.accessed(system_caller(), "uid")
    loops.run(usage_storing.store(hops, usage))
    assert _accesses(database, usage) == 2
