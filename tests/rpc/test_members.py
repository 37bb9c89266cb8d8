"""Teams on a whole server: who belongs to a namespace, what that allows, and that it counts at once."""

import uuid
from collections.abc import Iterator

import grpc
import pytest

from helpers.patterns import pattern
from helpers.servers import Server, Stubs, running_server
from helpers.transfers import Pusher, cut, refused
from ingot.v1 import auth_pb2 as pb
from ingot.v1 import catalog_pb2

TEAM = "namespaces/team"
OWNER, WRITER, READER = pb.MEMBER_ROLE_OWNER, pb.MEMBER_ROLE_WRITER, pb.MEMBER_ROLE_READER
DENIED = grpc.StatusCode.PERMISSION_DENIED
GONE = grpc.StatusCode.NOT_FOUND


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("members"), namespaces_per_member=2) as found:
        yield found


@pytest.fixture
def team(running: Server) -> str:
    """A namespace that sara alone owns, another one for each test."""
    made = running.admin.auth.CreateNamespace(
        pb.CreateNamespaceRequest(namespace_id=f"team-{uuid.uuid4().hex[:8]}")
    ).namespace
    running.token("sara")
    _set(running.admin, made.name, "sara", OWNER)
    _remove(running.admin, made.name, "admin")
    return made.name


def _set(by: Stubs, namespace: str, user: str, role: pb.MemberRole.ValueType) -> pb.Member:
    return by.auth.SetMember(pb.SetMemberRequest(name=f"{namespace}/members/{user}", role=role)).member


def _remove(by: Stubs, namespace: str, user: str) -> None:
    by.auth.RemoveMember(pb.RemoveMemberRequest(name=f"{namespace}/members/{user}"))


def _members(by: Stubs, namespace: str) -> dict[str, int]:
    found = by.auth.ListMembers(pb.ListMembersRequest(parent=namespace)).members
    return {each.user.removeprefix("users/"): each.role for each in found}


def _create(by: Stubs, namespace: str, name: str) -> catalog_pb2.Artifact:
    request = catalog_pb2.CreateArtifactRequest(
        parent=namespace, kind=catalog_pb2.ARTIFACT_KIND_MODEL, artifact_id=name
    )
    return by.catalog.CreateArtifact(request).artifact


def _get(by: Stubs, name: str) -> catalog_pb2.Artifact:
    return by.catalog.GetArtifact(catalog_pb2.GetArtifactRequest(name=name)).artifact


def _update(by: Stubs, name: str) -> catalog_pb2.Artifact:
    wanted = catalog_pb2.Artifact(name=name, description="By a member.")
    return by.catalog.UpdateArtifact(catalog_pb2.UpdateArtifactRequest(artifact=wanted)).artifact


def _listed(by: Stubs, parent: str = "namespaces/-") -> set[str]:
    reply = by.catalog.ListArtifacts(catalog_pb2.ListArtifactsRequest(parent=parent))
    return {each.name for each in reply.artifacts}


@pytest.mark.contract("S0-101", "S1-14", "S1-51", "S1-52")
def test_roles_of_a_namespace_decide_from_the_next_call_on(running: Server, team: str) -> None:
    sara, omid = running.member("sara"), running.member("omid")
    name = _create(sara, team, "tiny").name
    with refused(GONE, "ARTIFACT_NOT_FOUND"):
        _get(omid, name)
    assert name not in _listed(omid)

    _set(sara, team, "omid", READER)
    assert _get(omid, name).name == name
    assert name in _listed(omid)
    assert _listed(omid, team) == {name}
    with refused(DENIED, "SCOPE_MISSING"):
        _update(omid, name)
    with refused(DENIED, "SCOPE_MISSING"):
        _create(omid, team, "mine")

    _set(sara, team, "omid", WRITER)
    assert _update(omid, name).description == "By a member."
    assert _create(omid, team, "mine").owner == "users/omid"
    with refused(DENIED, "SCOPE_MISSING"):
        _set(omid, team, "nima", READER)

    _remove(sara, team, "omid")
    with refused(GONE, "ARTIFACT_NOT_FOUND"):
        _get(omid, name)
    with refused(GONE, "NAMESPACE_NOT_FOUND"):
        _members(omid, team)
    assert _listed(omid, team) == set()


def test_members_are_listed_in_pages_and_see_their_own_role(running: Server, team: str) -> None:
    sara, omid = running.member("sara"), running.member("omid")
    _set(sara, team, "omid", READER)
    assert _members(omid, team) == {"sara": OWNER, "omid": READER}
    first = sara.auth.ListMembers(pb.ListMembersRequest(parent=team, page_size=1))
    rest = sara.auth.ListMembers(
        pb.ListMembersRequest(parent=team, page_size=1, page_token=first.next_page_token)
    )
    assert [each.user for each in (*first.members, *rest.members)] == ["users/omid", "users/sara"]
    assert rest.next_page_token == ""
    for by, role in ((sara, OWNER), (omid, READER), (running.admin, pb.MEMBER_ROLE_UNSPECIFIED)):
        assert by.auth.GetNamespace(pb.GetNamespaceRequest(name=team)).namespace.role == role
    found = omid.auth.ListNamespaces(pb.ListNamespacesRequest()).namespaces
    roles = {each.name: each.role for each in found}  # others may have made teams with him before
    assert (roles["namespaces/omid"], roles[team]) == (OWNER, READER)


def test_a_namespace_keeps_an_owner(running: Server, team: str) -> None:
    sara = running.member("sara")
    running.token("omid")
    for act in (
        lambda: _remove(sara, team, "sara"),
        lambda: _set(sara, team, "sara", WRITER),
        lambda: _remove(sara, "namespaces/sara", "sara"),
        lambda: _set(running.admin, "namespaces/sara", "sara", READER),
    ):
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "PROTECTED"):
            act()
    _set(sara, team, "omid", OWNER)
    _remove(sara, team, "sara")  # everybody may leave
    with refused(GONE, "NAMESPACE_NOT_FOUND"):
        _members(sara, team)
    assert _members(running.member("omid"), team) == {"omid": OWNER}


def test_people_may_let_others_into_their_own_namespace(running: Server) -> None:
    sara, omid = running.member("sara"), running.member("omid")
    _set(sara, "namespaces/sara", "omid", READER)
    name = _create(sara, "namespaces/sara", "shared").name
    assert _get(omid, name).name == name
    _remove(omid, "namespaces/sara", "omid")
    with refused(GONE, "ARTIFACT_NOT_FOUND"):
        _get(omid, name)


def test_a_viewer_only_reads_whatever_its_membership_says(running: Server, team: str) -> None:
    sara, vera = running.member("sara"), running.viewer("vera")
    name = _create(sara, team, "tiny").name
    _set(sara, team, "vera", OWNER)
    assert _get(vera, name).name == name
    with refused(DENIED, "SCOPE_MISSING"):
        _set(vera, team, "omid", READER)
    with refused(DENIED, "SCOPE_MISSING"):
        vera.auth.CreateNamespace(pb.CreateNamespaceRequest(namespace_id="veras"))
    _remove(sara, team, "vera")


def test_members_do_not_own_the_namespace_of_the_servers_own_lists(running: Server) -> None:
    request = pb.CreateNamespaceRequest(namespace_id="library")
    with refused(grpc.StatusCode.ALREADY_EXISTS, "NAME_TAKEN"):
        running.member("omid").auth.CreateNamespace(request)
    assert running.admin.auth.CreateNamespace(request).namespace.name == "namespaces/library"


def test_ids_are_taken_once_and_for_all(running: Server, team: str) -> None:
    omid = running.member("omid")
    request = pb.CreateNamespaceRequest(namespace_id="once", request_id=str(uuid.uuid4()))
    assert omid.auth.CreateNamespace(request) == omid.auth.CreateNamespace(request)
    omid.auth.DeleteNamespace(pb.DeleteNamespaceRequest(name="namespaces/once"))
    for taken in ("once", "sara", team.removeprefix("namespaces/")):
        with refused(grpc.StatusCode.ALREADY_EXISTS, "NAME_TAKEN"):
            omid.auth.CreateNamespace(pb.CreateNamespaceRequest(namespace_id=taken))
    with refused(grpc.StatusCode.ALREADY_EXISTS, "NAME_TAKEN"):
        running.admin.auth.CreateUser(pb.CreateUserRequest(user_id="once"))
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "NAME_INVALID"):
        omid.auth.CreateNamespace(pb.CreateNamespaceRequest(namespace_id="Über"))


def test_only_an_empty_namespace_of_no_user_is_deleted(running: Server, team: str) -> None:
    sara, omid = running.member("sara"), running.member("omid")
    delete = pb.DeleteNamespaceRequest(name=team)
    with refused(GONE, "NAMESPACE_NOT_FOUND"):
        omid.auth.DeleteNamespace(delete)
    _set(sara, team, "omid", WRITER)
    with refused(DENIED, "SCOPE_MISSING"):
        omid.auth.DeleteNamespace(delete)
    name = _create(sara, team, "tiny").name
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "IN_USE") as problem:
        sara.auth.DeleteNamespace(delete)
    assert "models (1)" in problem["message"]
    sara.catalog.DeleteArtifact(catalog_pb2.DeleteArtifactRequest(name=name))
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "IN_USE") as problem:
        sara.auth.DeleteNamespace(delete)
    assert "in the trash" in problem["message"]
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "PROTECTED"):
        sara.auth.DeleteNamespace(pb.DeleteNamespaceRequest(name="namespaces/sara"))


def test_whose_namespace_it_is_is_told_before_it_goes(running: Server) -> None:
    lea = running.member("lea")
    running.token("ravi")
    lea.auth.CreateNamespace(pb.CreateNamespaceRequest(namespace_id="short-lived"))
    _set(lea, "namespaces/short-lived", "ravi", READER)
    request = pb.DeleteNamespaceRequest(name="namespaces/short-lived", validate_only=True)
    members = [f"namespaces/short-lived/members/{user}" for user in ("lea", "ravi")]
    assert list(lea.auth.DeleteNamespace(request).members) == members
    going = pb.DeleteUserRequest(name="users/ravi", validate_only=True)
    assert members[1] in running.admin.auth.DeleteUser(going).memberships
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "IN_USE"):
        running.admin.auth.DeleteUser(pb.DeleteUserRequest(name="users/lea", validate_only=True))
    request.validate_only = False
    assert list(lea.auth.DeleteNamespace(request).members) == members
    assert members[1] not in running.admin.auth.DeleteUser(going).memberships


def test_a_member_owns_only_so_many(running: Server) -> None:
    nima = running.member("nima")
    for number in range(2):
        nima.auth.CreateNamespace(pb.CreateNamespaceRequest(namespace_id=f"nimas-{number}"))
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA"):
        nima.auth.CreateNamespace(pb.CreateNamespaceRequest(namespace_id="nimas-2"))
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA"):  # nor are they handed on to one who has enough
        running.token("lena")
        lena = running.member("lena")
        lena.auth.CreateNamespace(pb.CreateNamespaceRequest(namespace_id="lenas"))
        _set(lena, "namespaces/lenas", "nima", OWNER)
    nima.auth.DeleteNamespace(pb.DeleteNamespaceRequest(name="namespaces/nimas-0"))
    nima.auth.CreateNamespace(pb.CreateNamespaceRequest(namespace_id="nimas-3"))


def test_strangers_and_wrong_names_are_refused(running: Server, team: str) -> None:
    sara = running.member("sara")
    with refused(GONE, "USER_NOT_FOUND"):
        _set(sara, team, "nobody", READER)
    with refused(GONE, "NAMESPACE_NOT_FOUND"):
        _set(sara, "namespaces/nowhere", "omid", READER)
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"):
        _set(sara, team, "omid", pb.MEMBER_ROLE_UNSPECIFIED)
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "NAME_INVALID"):
        sara.auth.SetMember(pb.SetMemberRequest(name=f"{team}/members", role=READER))
    _remove(sara, team, "nobody")  # nobody to remove is no error
    worker = running.stubs(running.worker_token())
    with refused(GONE, "NAMESPACE_NOT_FOUND"):
        _members(worker, team)


@pytest.mark.contract("S1-51")
def test_who_left_asks_no_more_what_is_present_through_an_upload_it_began(running: Server, team: str) -> None:
    sara, omid = running.member("sara"), running.member("omid")
    chunk = cut(pattern("secret", 5000)).chunks[0][0]
    Pusher(sara.transfer, ()).push({"a": pattern("secret", 5000)}, artifact=f"{team}/datasets/secret")
    _set(sara, team, "omid", WRITER)
    pusher = Pusher(omid.transfer, ())
    upload = pusher.begin(f"{team}/datasets/mine")
    assert pusher.missing(upload, [chunk]) == []
    _remove(sara, team, "omid")
    with refused(GONE, "UPLOAD_NOT_FOUND"):
        pusher.missing(upload, [chunk])
    with refused(GONE, "UPLOAD_NOT_FOUND"):
        pusher.upload(upload)


def test_a_token_that_writes_nothing_lets_nobody_in(running: Server, team: str) -> None:
    """Or what it may not do, whom it lets in could do in its place."""
    sara = running.member("sara")
    running.token("omid")
    _set(sara, team, "omid", READER)
    narrow = running.stubs(sara.auth.CreateToken(pb.CreateTokenRequest(scopes=["account"])).secret)
    assert _members(narrow, team)
    for change in (
        lambda: _set(narrow, team, "omid", OWNER),
        lambda: _remove(narrow, team, "omid"),
        lambda: narrow.auth.DeleteNamespace(pb.DeleteNamespaceRequest(name=team)),
        lambda: narrow.auth.CreateNamespace(pb.CreateNamespaceRequest(namespace_id="mine")),
    ):
        with refused(DENIED, "SCOPE_MISSING"):
            change()
    assert _members(sara, team)["omid"] == READER
