"""Hashing passwords beside everything else: few at once, a bounded queue, and hashes that stay dear."""

import asyncio
import threading
from collections.abc import Iterator

import argon2
import pytest

from helpers import loops
from helpers.eventually import eventually
from helpers.schema import migrated
from ingot.server.core.errors import Exhausted, Reason
from ingot.server.domain.passwords import Passwords
from ingot.server.rpc.hops import Hops
from ingot.server.rpc.password_hashing import AT_ONCE, MOST_WAITING, PasswordHashing
from ingot.server.storage.database import open_database

CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class Counted(Passwords):
    """Real hashes, of low cost, that wait to be let go; counts how many run at once."""

    def __init__(self) -> None:
        super().__init__(CHEAP)
        self.go = threading.Event()
        self.most = 0
        self._running = 0
        self._lock = threading.Lock()

    def matches(self, hashed: str | None, password: str) -> bool:
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
        self.go.wait(100)
        try:
            return super().matches(hashed, password)
        finally:
            with self._lock:
                self._running -= 1


@pytest.fixture
def hops() -> Iterator[Hops]:
    database = migrated(open_database("sqlite:///:memory:"))
    found = Hops(database)
    yield found
    found.close()
    database.close()


def test_few_run_at_once_and_too_many_are_told_to_come_back(hops: Hops) -> None:
    passwords = Counted()
    hashing = PasswordHashing(hops, passwords)
    hashed = passwords.hashed("correct horse battery")

    async def all_at_once() -> list[bool | BaseException]:
        tasks = [
            asyncio.create_task(hashing.matches(hashed, "correct horse battery"))
            for _ in range(AT_ONCE + MOST_WAITING + 5)
        ]
        await asyncio.sleep(0)  # all have begun: some run, some wait, the rest were refused
        passwords.go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = loops.run(all_at_once())
    refused = [each for each in results if isinstance(each, Exhausted)]
    assert passwords.most <= AT_ONCE
    assert results.count(True) + len(refused) == len(results)
    assert results.count(True) >= MOST_WAITING
    assert refused
    assert {each.reason for each in refused} == {Reason.BUSY}
    assert loops.run(hashing.matches(hashed, "another password")) is False


def test_who_gave_up_waiting_leaves_the_queue(hops: Hops) -> None:
    passwords = Counted()
    hashing = PasswordHashing(hops, passwords)

    async def gone() -> None:
        tasks = [asyncio.create_task(hashing.matches(None, "x")) for _ in range(MOST_WAITING)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    loops.run(gone())
    # What runs already cannot be stopped, and still counts: hanging up makes no room for more.
    assert (hashing._waiting, hashing._turns._value) == (0, 0)
    passwords.go.set()
    assert loops.run(hashing.matches(passwords.hashed("a password"), "a password"))
    assert eventually(lambda: hashing._turns._value == AT_ONCE)
    assert passwords.most <= AT_ONCE


def test_a_hash_tells_when_it_is_outdated_and_is_never_what_was_typed() -> None:
    cheap, today = Passwords(CHEAP), Passwords()
    old = cheap.hashed("correct horse battery")
    assert today.outdated(old)
    assert today.matches(old, "correct horse battery")
    assert not today.outdated(today.hashed("correct horse battery"))
    assert old != cheap.hashed("correct horse battery")  # salted
    assert not today.matches(None, "correct horse battery")


@pytest.mark.parametrize("hasher", [None, CHEAP], ids=["today's", "another"])
def test_where_there_is_no_hash_as_much_is_computed(hasher: argon2.PasswordHasher | None) -> None:
    passwords = Passwords(hasher)
    cost = argon2.extract_parameters(passwords.hashed("correct horse battery"))
    assert argon2.extract_parameters(passwords._nobodys) == cost
    assert Passwords(hasher)._nobodys != passwords._nobodys


def test_hashing_costs_what_it_should() -> None:
    """A guess must stay dear: at least 19 MiB and 2 rounds, which is what OWASP asks for."""
    found = argon2.extract_parameters(Passwords().hashed("correct horse battery"))
    assert found.type is argon2.Type.ID
    assert (found.memory_cost >= 19 * 1024, found.time_cost >= 2, found.salt_len >= 16) == (True, True, True)
