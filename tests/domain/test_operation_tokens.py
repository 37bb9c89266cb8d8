"""Tokens of operations: good for one attempt, for what its operation is about, and for nothing else."""

import dataclasses
from collections.abc import Iterator

import pytest

from helpers.catalogs import START, CatalogRig
from helpers.refusals import refusal_of
from ingot.server.core.artifacts import ArtifactFields, NewVersion, Version, VersionOrigin, VersionState
from ingot.server.core.errors import Denied, IngotError, NotFound, Reason, Unauthenticated
from ingot.server.core.identity import Caller, Role, Scope, system_caller
from ingot.server.core.members import Member, MemberRole
from ingot.server.core.names import artifact_name
from ingot.server.core.operations import NewOperation, Operation, QueueLimits
from ingot.server.core.pages import PageTokens
from ingot.server.domain.identity import NewToken, NewUser
from ingot.server.domain.operation_tokens import OperationTokens
from ingot.server.domain.requests import RequestKey
from ingot.server.parts.identity import IdentityParts
from ingot.server.settings.fields import Settings
from ingot.server.storage import tables
from ingot.server.storage.members_sql import MembersSql

SECRET = b"the secret of this data folder, really"
TARGET = "namespaces/sara/models/tiny"
ANY = QueueLimits({"maintenance": 100, "validate": 100})


@dataclasses.dataclass(slots=True)
class Folder:
    """What signs credentials."""

    secret: bytes
    server_id: str


class Rig(CatalogRig):
    """The catalog, with the way in for bodies."""

    def __init__(self, *, validation_required: bool = False) -> None:
        super().__init__(validation_required=validation_required)
        people = IdentityParts(
            Settings(),
            Folder(SECRET, "server"),
            self.counters,
            self.requests,
            PageTokens(SECRET),
            self.clock,
            self.database.after_commit,
        )
        self.tokens, self.sign_in = people.operation_tokens, people.sign_in

    def begin(self, requester: Caller, namespace: str = "sara", **new: object) -> Operation:
        """Queue an operation and claim it."""
        wanted = NewOperation("clean", namespace=namespace, **new)  # type: ignore[arg-type]  # as told
        queued = self.write(self.operations.operations.enqueue, requester, wanted)
        return self.claim(queued)

    def claim(self, queued: Operation) -> Operation:
        claimed = self.write(self.operations.claims.claim, "one", queued.id, ANY)
        assert claimed is not None
        return claimed

    def caller(self, operation: Operation) -> Caller:
        return self.read(self.sign_in.authenticate, self.tokens.make(operation))

    def refusal(self, token: str) -> Reason:
        with pytest.raises(Unauthenticated) as caught:
            self.read(self.sign_in.authenticate, token)
        return caught.value.reason


@pytest.fixture
def rig() -> Iterator[Rig]:
    found = Rig()
    yield found
    found.database.close()


@pytest.fixture
def sara(rig: Rig) -> Caller:
    return rig.user("sara")


def _join(rig: Rig, namespace: str, user: str, role: MemberRole) -> None:
    rig.write(MembersSql().put, Member(namespace, user, role, START))


def test_a_body_acts_for_its_requester_and_has_little(rig: Rig, sara: Caller) -> None:
    _join(rig, "omid", "sara", MemberRole.READER)
    found = rig.caller(rig.begin(sara, target=TARGET, reads=("omid",)))
    assert found.principal == "users/sara"
    assert (found.role, found.namespace, found.user) == (Role.MEMBER, "sara", "sara")
    assert found.scopes == {Scope.CATALOG_READ, Scope.TRANSFER_READ, Scope.TRANSFER_WRITE}
    assert found.writes == {"sara"}
    assert found.reads == {"sara", "omid"}
    assert (found.operation, found.attempt, found.target) == ("operations/op_1", 1, TARGET)
    assert found.token == "operations/op_1/attempts/1"


@pytest.mark.contract("S1-51")
def test_a_body_loses_what_its_requester_loses(rig: Rig, sara: Caller) -> None:
    rig.user("omid")
    operation = rig.begin(rig.user("nima"), namespace="omid", target=TARGET, reads=("sara",))
    for role, writes, reads in (
        (MemberRole.WRITER, {"omid"}, {"omid"}),
        (MemberRole.READER, set(), {"omid"}),
    ):
        _join(rig, "omid", "nima", role)
        found = rig.caller(operation)
        assert (set(found.writes), set(found.reads)) == (writes, reads)
        assert not found.owns
    rig.write(MembersSql().remove, "omid", "nima")
    assert rig.caller(operation).reads == set()


def test_the_body_of_an_administrator_is_none(rig: Rig, sara: Caller) -> None:
    found = rig.caller(rig.begin(rig.user("root", Role.ADMIN)))
    assert not found.is_admin
    assert found.writes == found.reads == {"sara"}
    with pytest.raises(Denied):
        rig.write(rig.identity.create_user, found, NewUser("nima"), RequestKey())
    rig.user("omid")
    with pytest.raises(NotFound):
        rig.write(rig.access.require_write, found, "omid")


def test_only_what_this_server_signed_is_a_token(rig: Rig, sara: Caller) -> None:
    first, second = rig.begin(sara), rig.begin(sara)
    token, other = rig.tokens.make(first), rig.tokens.make(second)
    signature = token.rpartition("_")[2]
    forged = [
        f"ingotop_2_1_{signature}",
        f"ingotop_1_2_{signature}",
        f"ingotop_1_1_{other.rpartition('_')[2]}",
        f"ingotop_1_1_{'0' * 64}",
        token[:-1] + ("0" if token[-1] != "0" else "1"),
        token.upper().replace("INGOTOP", "ingotop"),
        f"ingotop_01_1_{signature}",
        f"ingotop_1_1_{signature}\n",
        f"ingotop_１_1_{signature}",
        "ingotop_",
        "ingotop_1_1",
        OperationTokens(b"the secret of another data folder").make(first),
    ]
    assert {rig.refusal(each) for each in forged} == {Reason.TOKEN_INVALID}
    assert rig.read(rig.sign_in.authenticate, token).operation == first.name


def test_a_token_ends_with_its_attempt(rig: Rig, sara: Caller) -> None:
    first = rig.begin(sara)
    token = rig.tokens.make(first)
    rig.write(rig.operations.operations.cancel, sara, first.id)
    assert rig.caller(first).attempt == 1, "it may still tidy up while it is CANCELLING"
    rig.write(rig.operations.claims.stopped, first.id, 1)
    assert rig.refusal(token) is Reason.TOKEN_EXPIRED
    rig.write(rig.operations.operations.retry, sara, first.id)
    assert rig.refusal(token) is Reason.TOKEN_EXPIRED, "nobody has claimed it"
    second = rig.claim(first)
    assert rig.refusal(token) is Reason.TOKEN_EXPIRED, "another attempt has it"
    assert rig.caller(second).attempt == 2
    rig.write(rig.operations.claims.succeed, second.id, 2, {})
    assert rig.refusal(rig.tokens.make(second)) is Reason.TOKEN_EXPIRED


def test_a_body_that_is_late_publishes_nothing_in_a_write_already_on_its_way(rig: Rig, sara: Caller) -> None:
    late = rig.caller(rig.begin(sara))
    rig.write(rig.operations.claims.release, "op_1", 1)
    rig.claim(rig.read(rig.operations.operations.get, sara, "op_1"))
    with pytest.raises(Unauthenticated) as caught:
        rig.commit(late, TARGET)
    assert caught.value.reason is Reason.TOKEN_EXPIRED
    with pytest.raises(NotFound):
        rig.read(rig.catalog.require_read, sara, artifact_name(TARGET))
    current = rig.caller(rig.read(rig.operations.operations.get, sara, "op_1"))
    assert rig.commit(current, TARGET).creator == "users/sara"


def test_who_asked_must_still_be_let_in(rig: Rig, sara: Caller) -> None:
    operation = rig.begin(sara)

    def disable() -> None:
        tables.User.update(disabled=1).where(tables.User.id == "sara").execute()

    rig.write(disable)
    assert rig.refusal(rig.tokens.make(operation)) is Reason.TOKEN_INVALID


def test_who_may_only_read_by_now_writes_nothing(rig: Rig, sara: Caller) -> None:
    operation = rig.begin(sara)

    def demote() -> None:
        tables.User.update(role=Role.VIEWER.value).where(tables.User.id == "sara").execute()

    rig.write(demote)
    found = rig.caller(operation)
    assert not found.writes
    assert found.reads == {"sara"}


def test_the_server_itself_and_workers_ask_too(rig: Rig, sara: Caller) -> None:
    own = rig.caller(rig.begin(system_caller()))
    assert (own.principal, own.user, own.role) == ("system", "sara", Role.MEMBER)
    assert own.writes == {"sara"}
    nowhere = rig.caller(rig.begin(system_caller(), namespace=""))
    assert not nowhere.writes | nowhere.reads
    root = rig.user("root", Role.ADMIN)
    _, secret = rig.write(rig.identity.create_token, root, NewToken(for_worker=True))
    worker = rig.read(rig.sign_in.authenticate, secret)
    assert worker.is_worker, "other tokens go where they always went"
    found = rig.caller(rig.begin(worker))
    assert (found.principal, found.user, found.is_worker) == (worker.principal, "root", False)


def test_a_body_reads_its_target_and_what_it_made_before_they_are_ready() -> None:
    rig = Rig(validation_required=True)
    sara = rig.user("sara")
    staged, other = rig.commit(sara, TARGET), rig.commit(sara, TARGET)
    assert {staged.state, other.state} == {VersionState.STAGED}
    body = rig.caller(rig.begin(sara, target=str(staged.name)))

    def seen(version: Version) -> bool:
        refusal = refusal_of(rig.read, rig.versions.get, body, version.name)
        assert refusal is None or refusal.reason is Reason.VERSION_NOT_FOUND
        return refusal is None

    assert seen(staged)
    assert not seen(other)
    made = rig.commit(body, TARGET, origin=VersionOrigin(operation=body.operation))
    assert made.state is VersionState.STAGED
    assert seen(made)
    rig.database.close()


def test_only_an_operation_says_where_a_version_was_read(rig: Rig, sara: Caller) -> None:
    target = NewVersion(artifact_name(TARGET), create=ArtifactFields(), source="hf://org/tiny@abc")
    with pytest.raises(IngotError, match="source"):
        rig.read(rig.versions.check_target, sara, target)
    body = rig.caller(rig.begin(sara))
    assert rig.read(rig.versions.check_target, body, target).source == "hf://org/tiny@abc"
