"""Users and tokens: who may come in, for how long, and what a credential may give on."""

import dataclasses
import hashlib
from collections.abc import Iterator

import pytest

from helpers.catalogs import NO_KEY, CatalogRig
from ingot.server.core.errors import AlreadyExists, Denied, Invalid, NotFound, Reason, Unauthenticated
from ingot.server.core.identity import SCOPES_OF_ROLE, ApiToken, Caller, Role, Scope
from ingot.server.domain.identity import NewToken, NewUser
from ingot.server.storage import sql


@pytest.fixture
def rig() -> Iterator[CatalogRig]:
    found = CatalogRig()
    yield found
    found.database.close()


@pytest.fixture
def admin(rig: CatalogRig) -> Caller:
    secret = rig.write(rig.identity.ensure_administrator, "")
    assert secret is not None
    return _enter(rig, secret)


def _enter(rig: CatalogRig, secret: str) -> Caller:
    return rig.read(rig.identity.authenticate, secret)


def _user(rig: CatalogRig, admin: Caller, name: str, role: Role = Role.MEMBER) -> Caller:
    """Make a user and come in as that user."""
    rig.write(rig.identity.create_user, admin, NewUser(name, role=role), NO_KEY)
    return _enter(rig, _token(rig, admin, user=name)[1])


def _token(rig: CatalogRig, caller: Caller, **wanted: object) -> tuple[ApiToken, str]:
    return rig.write(rig.identity.create_token, caller, NewToken(**wanted))  # type: ignore[arg-type]  # by name


def test_the_first_start_makes_one_administrator(rig: CatalogRig) -> None:
    secret = rig.write(rig.identity.ensure_administrator, "")
    assert secret is not None
    caller = _enter(rig, secret)
    assert (caller.principal, caller.role, caller.namespace) == ("users/admin", Role.ADMIN, "admin")
    assert caller.scopes == SCOPES_OF_ROLE[Role.ADMIN]
    assert rig.write(rig.identity.ensure_administrator, secret) is None
    assert rig.read(rig.users.namespace_exists, "admin")


def test_a_lost_token_file_is_made_again_and_the_old_token_ends(rig: CatalogRig) -> None:
    first = rig.write(rig.identity.ensure_administrator, "") or ""
    second = rig.write(rig.identity.ensure_administrator, "no such token") or ""
    assert _enter(rig, second).is_admin
    with pytest.raises(Unauthenticated, match="revoked"):
        _enter(rig, first)


def test_secrets_are_stored_as_digests_only(rig: CatalogRig) -> None:
    secret = rig.write(rig.identity.ensure_administrator, "") or ""
    rows = rig.read(sql.rows, "SELECT * FROM api_token")
    assert secret not in str(rows)
    assert hashlib.sha256(secret.encode()).digest() in rows[0]


def test_the_local_worker_gets_a_new_token_at_each_start(rig: CatalogRig) -> None:
    first = rig.write(rig.identity.issue_local_worker_token)
    second = rig.write(rig.identity.issue_local_worker_token)
    worker = _enter(rig, second)
    assert (worker.role, worker.principal) == (Role.WORKER, worker.token)
    assert not worker.may_read("admin")
    assert not worker.may_write("admin")
    with pytest.raises(Unauthenticated):
        _enter(rig, first)


@pytest.mark.parametrize("secret", ["", "x", "ingot_1_guess"])
def test_unknown_tokens_are_refused(rig: CatalogRig, secret: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        _enter(rig, secret)
    assert caught.value.reason is Reason.TOKEN_INVALID


def test_a_token_ends_when_its_time_is_up(rig: CatalogRig, admin: Caller) -> None:
    _, secret = _token(rig, admin, ttl=60.0)
    rig.clock.time += 59
    assert _enter(rig, secret).is_admin
    rig.clock.time += 1
    with pytest.raises(Unauthenticated) as caught:
        _enter(rig, secret)
    assert caught.value.reason is Reason.TOKEN_EXPIRED


def test_revoking_ends_a_token_at_once_and_changes_the_revision(rig: CatalogRig, admin: Caller) -> None:
    token, secret = _token(rig, admin)
    before = rig.identity.revision
    revoked = rig.write(rig.identity.revoke_token, admin, "admin", token.id)
    assert revoked.revoke_time == rig.clock.time
    assert rig.identity.revision == before + 1
    with pytest.raises(Unauthenticated, match="revoked"):
        _enter(rig, secret)
    again = rig.write(rig.identity.revoke_token, admin, "admin", token.id)
    assert (again.revoke_time, rig.identity.revision) == (revoked.revoke_time, before + 1)


def test_a_user_owns_the_namespace_of_the_same_name(rig: CatalogRig, admin: Caller) -> None:
    sara = _user(rig, admin, "sara")
    assert (sara.principal, sara.namespace, sara.role) == ("users/sara", "sara", Role.MEMBER)
    assert sara.may_write("sara")
    assert not sara.may_write("admin")
    assert not sara.may_read("admin")
    assert rig.read(rig.identity.me, sara).user.name == "users/sara"


def test_viewers_write_nothing(rig: CatalogRig, admin: Caller) -> None:
    viewer = _user(rig, admin, "nima", Role.VIEWER)
    assert viewer.may_read("nima")
    assert not viewer.may_write("nima")
    assert Scope.CATALOG_WRITE not in viewer.scopes


def test_users_are_made_once(rig: CatalogRig, admin: Caller) -> None:
    _user(rig, admin, "sara")
    with pytest.raises(AlreadyExists) as caught:
        _user(rig, admin, "sara")
    assert caught.value.reason is Reason.NAME_TAKEN


@pytest.mark.parametrize("name", ["", "Sara", "-sara", "sara smith", "سارا", "x" * 40])
def test_other_user_ids_are_refused(rig: CatalogRig, admin: Caller, name: str) -> None:
    with pytest.raises(Invalid) as caught:
        rig.write(rig.identity.create_user, admin, NewUser(name), NO_KEY)
    assert caught.value.reason is Reason.NAME_INVALID


def test_a_worker_is_no_user(rig: CatalogRig, admin: Caller) -> None:
    with pytest.raises(Invalid, match="role"):
        rig.write(rig.identity.create_user, admin, NewUser("w", role=Role.WORKER), NO_KEY)


def test_only_administrators_make_and_list_users(rig: CatalogRig, admin: Caller) -> None:
    sara = _user(rig, admin, "sara")
    narrow = _enter(rig, _token(rig, admin, scopes=frozenset({Scope.ACCOUNT}))[1])
    for caller in (sara, narrow):
        with pytest.raises(Denied):
            rig.write(rig.identity.create_user, caller, NewUser("omid"), NO_KEY)
        with pytest.raises(Denied):
            rig.read(rig.identity.list_users, caller, 0, "")


def test_a_member_gives_no_more_than_it_has(rig: CatalogRig, admin: Caller) -> None:
    sara = _user(rig, admin, "sara")
    reads = frozenset({Scope.CATALOG_READ, Scope.ACCOUNT})
    reader = _enter(rig, _token(rig, sara, scopes=reads)[1])
    assert reader.scopes == reads
    assert _enter(rig, _token(rig, reader)[1]).scopes == reads
    for caller, scope in ((sara, Scope.ADMIN), (reader, Scope.CATALOG_WRITE)):
        with pytest.raises(Denied, match=scope):
            _token(rig, caller, scopes=frozenset({scope}))


def test_a_token_gives_on_no_more_time_than_it_has(rig: CatalogRig, admin: Caller) -> None:
    rig.write(rig.identity.create_user, admin, NewUser("sara"), NO_KEY)
    short = _enter(rig, _token(rig, admin, ttl=600.0)[1])
    end = rig.clock.time + 600
    rig.clock.time += 100
    longest: tuple[dict[str, object], ...] = ({}, {"user": "sara"}, {"for_worker": True}, {"ttl": 500.0})
    for wanted in longest:
        assert _token(rig, short, **wanted)[0].expire_time == end
    assert _token(rig, short, ttl=60.0)[0].expire_time == rig.clock.time + 60
    for user in ("", "sara"):
        with pytest.raises(Invalid, match="at most 500 s"):
            _token(rig, short, ttl=501.0, user=user)


def test_an_administrator_with_few_scopes_gives_others_no_more(rig: CatalogRig, admin: Caller) -> None:
    rig.write(rig.identity.create_user, admin, NewUser("sara"), NO_KEY)
    few = frozenset({Scope.ADMIN, Scope.ACCOUNT})
    narrow = _enter(rig, _token(rig, admin, scopes=few)[1])
    assert _token(rig, narrow, user="sara")[0].scopes == {Scope.ACCOUNT}
    assert _token(rig, narrow, for_worker=True)[0].scopes == {Scope.WORKER, Scope.ACCOUNT}
    with pytest.raises(Denied, match=r"catalog\.read"):
        _token(rig, narrow, user="sara", scopes=frozenset({Scope.CATALOG_READ}))


def test_members_make_tokens_for_themselves_only(rig: CatalogRig, admin: Caller) -> None:
    sara = _user(rig, admin, "sara")
    for wanted in ({"user": "admin"}, {"for_worker": True}, {"user": "nobody"}):
        with pytest.raises(Denied):
            _token(rig, sara, **wanted)
    with pytest.raises(NotFound) as caught:
        _token(rig, admin, user="nobody")
    assert caught.value.reason is Reason.USER_NOT_FOUND


def test_workers_make_no_tokens(rig: CatalogRig, admin: Caller) -> None:
    worker = _enter(rig, _token(rig, admin, for_worker=True)[1])
    assert worker.scopes == SCOPES_OF_ROLE[Role.WORKER]
    for wanted in ({}, {"for_worker": True}):
        with pytest.raises(Denied):
            _token(rig, worker, **wanted)


@pytest.mark.parametrize("ttl", [0.0, -1.0, 4e9, float("inf")])
def test_a_life_is_above_zero_and_has_an_end(rig: CatalogRig, admin: Caller, ttl: float) -> None:
    with pytest.raises(Invalid, match="ttl"):
        _token(rig, admin, ttl=ttl)


def test_pages_of_tokens_and_their_last_use(rig: CatalogRig, admin: Caller) -> None:
    sara = _user(rig, admin, "sara")
    for number in range(4):
        _token(rig, sara, display_name=f"number {number}")
    first = rig.read(rig.identity.list_tokens, sara, "", 3, "")
    second = rig.read(rig.identity.list_tokens, sara, "sara", 3, first.next_token)
    assert [token.display_name for token in (*first.items, *second.items)] == [
        *("", "number 0", "number 1", "number 2", "number 3")
    ]
    assert second.next_token == ""
    assert first.items[0].last_use_time == rig.clock.time  # used, though not written down yet
    assert first.items[1].last_use_time is None
    rig.clock.time += 5
    taken = rig.identity.uses.take()
    assert not rig.identity.uses.pending()
    rig.identity.uses.put_back(taken)  # a write of them failed
    rig.write(rig.identity.uses.write, rig.identity.uses.take())
    assert not rig.identity.uses.pending()
    assert rig.read(rig.identity.list_tokens, sara, "", 1, "").items[0].last_use_time == rig.clock.time - 5


def test_a_token_of_an_administrator_without_that_scope_is_for_its_own_things(
    rig: CatalogRig, admin: Caller
) -> None:
    narrow = _enter(rig, _token(rig, admin, scopes=SCOPES_OF_ROLE[Role.MEMBER])[1])
    assert narrow.may_write("admin")
    assert not narrow.is_admin
    assert not narrow.may_read("sara")
    assert not narrow.may_own("sara")


def test_tokens_of_others_do_not_exist(rig: CatalogRig, admin: Caller) -> None:
    sara, omid = _user(rig, admin, "sara"), _user(rig, admin, "omid")
    token, _ = _token(rig, sara)
    with pytest.raises(NotFound):
        rig.read(rig.identity.list_tokens, omid, "sara", 0, "")
    for caller, user in ((omid, "sara"), (omid, "omid"), (admin, "omid")):
        with pytest.raises(NotFound) as caught:
            rig.write(rig.identity.revoke_token, caller, user, token.id)
        assert caught.value.reason is Reason.TOKEN_NOT_FOUND
    assert rig.write(rig.identity.revoke_token, admin, "sara", token.id).revoke_time is not None


def test_workers_are_told_nothing_about_who_made_their_token(rig: CatalogRig, admin: Caller) -> None:
    token, secret = _token(rig, admin, display_name="box 1", for_worker=True)
    worker = _enter(rig, secret)
    assert [each.name for each in rig.read(rig.identity.list_tokens, worker, "", 0, "").items] == [token.name]
    with pytest.raises(NotFound):
        rig.read(rig.identity.list_tokens, worker, "admin", 0, "")
    shown = rig.read(rig.identity.me, worker).user
    assert (shown.name, shown.display_name, shown.uid, shown.role) == ("users/admin", "", "", Role.WORKER)


def test_a_workers_token_ends_with_its_maker_being_an_administrator(rig: CatalogRig, admin: Caller) -> None:
    boss = _user(rig, admin, "boss", Role.ADMIN)
    secret = _token(rig, boss, for_worker=True)[1]
    assert _enter(rig, secret).is_worker
    user = rig.read(rig.identity.find, "boss")
    rig.write(rig.users.change, dataclasses.replace(user, role=Role.MEMBER))
    with pytest.raises(Unauthenticated, match="no administrator any more"):
        _enter(rig, secret)


def test_pages_of_users_are_in_the_order_of_their_names(rig: CatalogRig, admin: Caller) -> None:
    for name in ("sara", "omid", "nima"):
        _user(rig, admin, name)
    first = rig.read(rig.identity.list_users, admin, 3, "")
    second = rig.read(rig.identity.list_users, admin, 3, first.next_token)
    assert [user.id for user in (*first.items, *second.items)] == ["admin", "nima", "omid", "sara"]
