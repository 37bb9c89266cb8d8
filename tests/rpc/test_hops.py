"""Hops: rules run on their threads, writes are durable, and a cancelled call drops what has not begun."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import loops, notes
from ingot.server.rpc.hops import Hops
from ingot.server.storage.database import Database, open_database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = notes.prepare(open_database(f"sqlite:///{tmp_path / 'notes.db'}"))
    yield opened
    opened.close()


@pytest.fixture
def hops(database: Database) -> Iterator[Hops]:
    made = Hops(database)
    yield made
    made.close()


def _thread() -> str:
    return threading.current_thread().name


def test_each_kind_of_work_has_its_threads(hops: Hops) -> None:
    assert loops.run(hops.read(_thread)).startswith("ingot-read")
    assert loops.run(hops.io(_thread)).startswith("ingot-io")
    assert loops.run(hops.write(_thread)) == "ingot-writer"


def test_a_rule_that_asks_an_empty_iterator_fails_and_does_not_hang(hops: Hops) -> None:
    nothing: Iterator[str] = iter(())
    for hop in (hops.io, hops.read, hops.read_long, hops.write, hops.keep):
        with pytest.raises(RuntimeError, match="ended an iteration"):
            loops.run(hop(next, nothing))


def test_what_takes_long_to_read_keeps_no_other_read_waiting(database: Database) -> None:
    release = threading.Event()

    async def both(hops: Hops) -> tuple[str, str]:
        long = [asyncio.create_task(hops.read_long(_waited, release)) for _ in range(3)]
        found = await hops.read(_thread)
        release.set()
        return found, (await asyncio.gather(*long))[0]

    with contextlib.closing(Hops(database, read_threads=1)) as few:
        found, long = loops.run(both(few))
    assert (found[:10], long[:10]) == ("ingot-read", "ingot-long")


def _waited(release: threading.Event) -> str:
    assert release.wait(100)
    return _thread()


def test_what_was_written_is_read_by_the_next_hop(hops: Hops) -> None:
    async def both() -> list[str]:
        await hops.write(notes.add, "first", number=3)
        return await hops.read(notes.names)

    assert loops.run(both()) == ["first"]


def test_an_error_of_a_rule_comes_back_and_undoes_its_writes(hops: Hops) -> None:
    def rule() -> None:
        notes.add("half")
        raise LookupError("no")

    with pytest.raises(LookupError):
        loops.run(hops.write(rule))
    assert loops.run(hops.read(notes.names)) == []


def test_a_read_may_not_write(hops: Hops) -> None:
    with pytest.raises(Exception, match="readonly"):
        loops.run(hops.read(notes.add, "sneaked"))


def test_a_cancelled_call_drops_its_write_unless_it_began(hops: Hops, database: Database) -> None:
    busy, go = threading.Event(), threading.Event()

    def hold() -> None:
        busy.set()
        go.wait(100)

    async def scenario() -> None:
        holder = asyncio.create_task(hops.write(hold))
        await hops.io(busy.wait, 100)
        waiting = asyncio.create_task(hops.write(notes.add, "dropped"))
        kept = asyncio.create_task(hops.write(notes.add, "kept"))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        go.set()
        await asyncio.gather(holder, kept)

    loops.run(scenario())
    assert database.read(notes.names) == ["kept"]
