"""A repeated request acts once; the same id with another request is refused; memory ends after a week."""

import uuid
from collections.abc import Iterator

import pytest

from helpers.catalogs import CatalogRig, person
from ingot.server.core.errors import AlreadyExists, Invalid, Precondition, Reason
from ingot.server.core.identity import Caller

ID = str(uuid.UUID(int=7))
SARA, OMID = person("sara"), person("omid")


class Counted:
    """Something to do, which counts how often it was done."""

    def __init__(self) -> None:
        self.done = 0

    def __call__(self) -> str:
        self.done += 1
        return f"result {self.done}"


@pytest.fixture
def rig() -> Iterator[CatalogRig]:
    found = CatalogRig()
    yield found
    found.database.close()


def _once(
    rig: CatalogRig,
    make: Counted,
    key: str = ID,
    payload: bytes = b"x",
    who: Caller = SARA,
    what: str = "Create",
) -> tuple[str, bool]:
    return rig.write(rig.requests.once, who, what, key, payload, make)


def test_a_repetition_gives_the_first_result(rig: CatalogRig) -> None:
    make = Counted()
    assert _once(rig, make) == ("result 1", False)
    assert _once(rig, make) == ("result 1", True)
    assert _once(rig, make, key=ID.upper()) == ("result 1", True)
    assert make.done == 1


def test_without_an_id_every_request_acts(rig: CatalogRig) -> None:
    make = Counted()
    assert [_once(rig, make, key="") for _ in range(2)] == [("result 1", False), ("result 2", False)]


def test_other_people_and_methods_have_their_own_ids(rig: CatalogRig) -> None:
    make = Counted()
    assert not any(_once(rig, make, who=who, what=what)[1] for who in (SARA, OMID) for what in ("A", "B"))
    assert make.done == 4


def test_another_request_with_the_same_id_is_refused(rig: CatalogRig) -> None:
    make = Counted()
    _once(rig, make)
    with pytest.raises(Precondition) as caught:
        _once(rig, make, payload=b"y")
    assert caught.value.reason is Reason.REQUEST_ID_REUSED
    assert make.done == 1


@pytest.mark.parametrize("key", ["7", "not-a-uuid", "x" * 300])
def test_an_id_is_a_uuid(rig: CatalogRig, key: str) -> None:
    with pytest.raises(Invalid, match="request_id: expected a UUID"):
        _once(rig, Counted(), key=key)


def test_what_failed_may_be_tried_again(rig: CatalogRig) -> None:
    def fail() -> str:
        raise AlreadyExists(Reason.NAME_TAKEN, "taken")

    with pytest.raises(AlreadyExists):
        rig.write(rig.requests.once, SARA, "Create", ID, b"x", fail)
    assert _once(rig, Counted()) == ("result 1", False)


def test_memory_ends_after_seven_days(rig: CatalogRig) -> None:
    make = Counted()
    _once(rig, make)
    rig.clock.time += 7 * 24 * 3600 - 1
    assert _once(rig, make)[1]
    rig.clock.time += 2
    assert not _once(rig, make)[1]
