"""The cache of sets: what it gives is what the database has for whoever asks, whatever is being written."""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from helpers.schema import migrated
from ingot.server.storage import artifact_sets as sets
from ingot.server.storage.artifact_sets import Ids
from ingot.server.storage.database import Database, open_database
from ingot.server.storage.set_cache import SetCache

TAG = ("tag", "chat")
SECONDS = 60.0


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = migrated(open_database(f"sqlite:///{tmp_path}/meta.db"))
    yield made
    made.close()


def move(cache: SetCache, value: sets.Value, entering: list[int], leaving: tuple[int, ...] = ()) -> int:
    """Change a set as a write of an artifact does; return its number."""
    number = sets.numbered([value])[value]
    moves = sets.Moves.none()
    moves.entering[number].extend(entering)
    moves.leaving[number].extend(leaving)
    cache.changed(moves.numbers)
    moves.store()
    return number


def test_what_is_kept_is_read_again_only_after_a_change(database: Database) -> None:
    cache = SetCache()
    number = database.write(move, cache, TAG, [1, 2]).result()
    first = database.read(cache.members, number)
    assert list(first) == [1, 2]
    database.write(move, cache, ("tag", "other"), [9]).result()
    assert database.read(cache.members, number) is first
    database.write(move, cache, TAG, [3], (1,)).result()
    assert list(database.read(cache.members, number)) == [2, 3]
    assert database.read(cache.named, [number]) == {number: TAG}
    assert list(database.read(cache.having, *TAG)) == [2, 3]
    assert list(database.read(cache.having, "tag", "nobody's")) == []


def test_a_snapshot_sees_the_sets_of_its_time(database: Database) -> None:
    cache = SetCache()
    number = database.write(move, cache, TAG, [1]).result()
    begun, go_on = Event(), Event()

    def old() -> list[list[int]]:
        seen = [list(sets.each_of([number])[number])]  # the snapshot begins with the first question
        begun.set()
        assert go_on.wait(SECONDS)
        return [*seen, list(cache.members(number)), list(cache.members(number))]

    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(database.read, old)
        assert begun.wait(SECONDS)
        database.write(move, cache, TAG, [2]).result()
        assert list(database.read(cache.members, number)) == [1, 2]
        go_on.set()
        assert told.result(SECONDS) == [[1], [1], [1]]
    assert list(database.read(cache.members, number)) == [1, 2], "what the old one read is not taken for new"


def test_what_is_undone_was_never_there(database: Database) -> None:
    cache = SetCache()
    number = database.write(move, cache, TAG, [1]).result()

    def fail() -> None:
        move(cache, TAG, [2])
        assert list(cache.members(number)) == [1, 2], "a write sees its own changes"
        raise LookupError

    with pytest.raises(LookupError):
        database.write(fail).result()
    assert list(database.read(cache.members, number)) == [1]
    database.write(move, cache, ("tag", "other"), [9]).result()  # takes the number of the one undone
    assert list(database.read(cache.members, number)) == [1]


def test_the_oldest_go_when_there_is_no_room(database: Database) -> None:
    cache = SetCache(most_bytes=2500)
    numbers = [
        database.write(move, cache, ("tag", str(each)), list(range(each, each + 300))).result()
        for each in range(9)
    ]
    kept = [database.read(cache.members, number) for number in numbers]
    again = [database.read(cache.members, number) for number in reversed(numbers)][::-1]
    assert kept == again
    assert [mine is other for mine, other in zip(kept, again, strict=True)].count(True) == 3


def test_random_changes_are_seen_at_once(database: Database) -> None:
    cache, pick = SetCache(most_bytes=20_000), random.Random(7)
    expected: dict[str, set[int]] = {str(each): set() for each in range(12)}
    ask: list[Callable[[str], Ids]] = [
        lambda value: cache.having("tag", value),
        lambda value: cache.union([number] if (number := sets.value_id("tag", value)) else []),
    ]
    for _ in range(150):
        value = str(pick.randrange(12))
        entering = [pick.randrange(200_000) for _ in range(pick.randrange(4))]
        held = sorted(expected[value])
        leaving = tuple(pick.sample(held, min(len(held), 2)))
        database.write(move, cache, ("tag", value), entering, leaving).result()
        expected[value] = (expected[value] | set(entering)) - set(leaving)
        for other in pick.sample(sorted(expected), 3):
            assert set(database.read(pick.choice(ask), other)) == expected[other]
