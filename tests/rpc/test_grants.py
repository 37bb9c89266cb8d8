"""GetAccess and SetAccess on a whole server: who sees an artifact, whose it is, and what a grant gives."""

import concurrent.futures
import uuid
from collections.abc import Iterator

import grpc
import pytest

from helpers.patterns import pattern
from helpers.servers import Server, Stubs, running_server
from helpers.transfers import Pusher, cut, refused
from ingot.v1 import auth_pb2
from ingot.v1 import catalog_pb2 as pb

DENIED, GONE = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.NOT_FOUND


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("grants")) as found:
        for user in ("sara", "omid", "nima"):
            found.token(user)
        yield found


@pytest.fixture
def secret(running: Server) -> str:
    """A private model of sara's, with a name of its own for each test."""
    request = pb.CreateArtifactRequest(
        parent="namespaces/sara",
        kind=pb.ARTIFACT_KIND_MODEL,
        artifact_id=f"m-{uuid.uuid4().hex[:8]}",
        artifact=pb.Artifact(tags=["shown"]),
    )
    return running.member("sara").catalog.CreateArtifact(request).artifact.name


def _set(by: Stubs, name: str, **change: object) -> pb.Access:
    return by.catalog.SetAccess(pb.SetAccessRequest(name=name, **change)).access  # type: ignore[arg-type]


def _grant(by: Stubs, name: str, *users: str) -> pb.Access:
    return _set(by, name, add_readers=[f"users/{each}" for each in users])


def _get(by: Stubs, name: str) -> pb.Artifact:
    return by.catalog.GetArtifact(pb.GetArtifactRequest(name=name)).artifact


def _listed(by: Stubs, **wanted: object) -> list[str]:
    request = pb.ListArtifactsRequest(**{"parent": "namespaces/-", **wanted})  # type: ignore[arg-type]
    return [each.name for each in by.catalog.ListArtifacts(request).artifacts]


def _join(running: Server, user: str, role: auth_pb2.MemberRole.ValueType) -> None:
    name = f"namespaces/sara/members/{user}"
    running.admin.auth.SetMember(auth_pb2.SetMemberRequest(name=name, role=role))


def _leave(running: Server, user: str) -> None:
    running.admin.auth.RemoveMember(auth_pb2.RemoveMemberRequest(name=f"namespaces/sara/members/{user}"))


@pytest.mark.contract("S1-11", "S1-14", "S1-51", "S1-52")
def test_a_grant_shows_one_artifact_and_nothing_else(running: Server, secret: str) -> None:
    sara, omid, nima = (running.member(user) for user in ("sara", "omid", "nima"))
    with refused(GONE, "ARTIFACT_NOT_FOUND"):
        _get(omid, secret)
    access = _grant(sara, secret, "omid")
    assert [(each.user, each.granted_by) for each in access.readers] == [("users/omid", "users/sara")]
    assert _get(omid, secret).name == secret
    with refused(DENIED, "SCOPE_MISSING"):
        omid.catalog.UpdateArtifact(
            pb.UpdateArtifactRequest(artifact=pb.Artifact(name=secret, description="no"))
        )
    with refused(DENIED, "SCOPE_MISSING"):
        omid.catalog.GetAccess(pb.GetAccessRequest(name=secret))  # nor who else sees it
    with refused(GONE, "ARTIFACT_NOT_FOUND"):
        _get(nima, secret)
    access = _set(sara, secret, remove_readers=["users/omid"])
    assert not access.readers
    with refused(GONE, "ARTIFACT_NOT_FOUND"):
        _get(omid, secret)


def test_lists_show_what_is_granted_once_in_every_order(running: Server, secret: str) -> None:
    sara, omid = running.member("sara"), running.member("omid")
    assert secret not in _listed(omid)
    _grant(sara, secret, "omid")
    for order in ("", "create_time", "update_time desc", "name", "name desc"):
        assert _listed(omid, order_by=order).count(secret) == 1
    assert _listed(omid, filter="tag:shown").count(secret) == 1
    assert _listed(omid, kind=pb.ARTIFACT_KIND_DATASET) == []
    assert _listed(omid, parent="namespaces/sara").count(secret) == 1
    assert secret not in _listed(omid, parent="namespaces/omid")
    counted = omid.catalog.GetCatalogStats(pb.GetCatalogStatsRequest(kind=pb.ARTIFACT_KIND_MODEL))
    assert counted.total_count == len(_listed(omid, kind=pb.ARTIFACT_KIND_MODEL))
    _join(running, "omid", auth_pb2.MEMBER_ROLE_READER)  # now it is seen twice over, and told once
    assert _listed(omid).count(secret) == 1
    _leave(running, "omid")
    _set(sara, secret, visibility=pb.VISIBILITY_INTERNAL)
    assert _listed(omid).count(secret) == 1
    _set(sara, secret, visibility=pb.VISIBILITY_PRIVATE, remove_readers=["users/omid"])
    assert secret not in _listed(omid)


def test_pages_of_a_list_go_on_into_what_is_granted(running: Server) -> None:
    sara, nima = running.member("sara"), running.member("nima")
    names = []
    for number in range(4):
        by, parent = ((sara, "namespaces/sara"), (nima, "namespaces/nima"))[number % 2]
        request = pb.CreateArtifactRequest(
            parent=parent, kind=pb.ARTIFACT_KIND_DATASET, artifact_id=f"page-{number}"
        )
        names.append(by.catalog.CreateArtifact(request).artifact.name)
        if by is sara:
            _grant(sara, names[-1], "nima")
    found, token = [], ""
    while True:
        page = nima.catalog.ListArtifacts(
            pb.ListArtifactsRequest(
                parent="namespaces/-", kind=pb.ARTIFACT_KIND_DATASET, page_size=1, page_token=token
            )
        )
        found += [each.name for each in page.artifacts]
        token = page.next_page_token
        if not token:
            break
    assert found == names[::-1]


def test_only_owners_decide_who_sees_it(running: Server, secret: str) -> None:
    sara, omid = running.member("sara"), running.member("omid")
    _join(running, "omid", auth_pb2.MEMBER_ROLE_WRITER)
    open_up = pb.Artifact(name=secret, visibility=pb.VISIBILITY_PUBLIC)
    for act in (
        lambda: _grant(omid, secret, "nima"),
        lambda: omid.catalog.GetAccess(pb.GetAccessRequest(name=secret)),
        lambda: omid.catalog.UpdateArtifact(pb.UpdateArtifactRequest(artifact=open_up)),
    ):
        with refused(DENIED, "SCOPE_MISSING"):
            act()
    assert _set(sara, secret, owner="users/omid").owner == "users/omid"  # its own owner decides, too
    assert _grant(omid, secret, "nima").readers[0].granted_by == "users/omid"
    assert _get(running.member("nima"), secret).owner == "users/omid"
    _join(running, "omid", auth_pb2.MEMBER_ROLE_READER)
    with refused(DENIED, "SCOPE_MISSING"):  # while it may write there
        _set(omid, secret, remove_readers=["users/nima"])
    _leave(running, "omid")
    with refused(GONE, "ARTIFACT_NOT_FOUND"):
        _grant(omid, secret, "omid")


def test_changes_are_checked_whole_before_any_is_made(running: Server, secret: str) -> None:
    sara = running.member("sara")
    before = _grant(sara, secret, "omid")
    for change, code, reason in (
        ({"add_readers": ["users/nima", "users/nobody"]}, GONE, "USER_NOT_FOUND"),
        ({"owner": "users/nima"}, grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"),
        ({"owner": "nima"}, grpc.StatusCode.INVALID_ARGUMENT, "NAME_INVALID"),
        (
            {"add_readers": ["users/nima"], "remove_readers": ["users/nima"]},
            grpc.StatusCode.INVALID_ARGUMENT,
            "FIELD_INVALID",
        ),
        ({"add_readers": ["users/nima"], "etag": "old"}, grpc.StatusCode.ABORTED, "ETAG_MISMATCH"),
        ({"visibility": 77}, grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"),
    ):
        with refused(code, reason):
            _set(sara, secret, **change)
    _set(sara, secret, add_readers=["users/nima"], validate_only=True)
    assert sara.catalog.GetAccess(pb.GetAccessRequest(name=secret)).access == before


def test_a_repeated_change_tells_only_who_may_know(running: Server, secret: str) -> None:
    sara, omid = running.member("sara"), running.member("omid")
    _join(running, "omid", auth_pb2.MEMBER_ROLE_OWNER)
    request = pb.SetAccessRequest(name=secret, add_readers=["users/nima"], request_id=str(uuid.uuid4()))
    assert omid.catalog.SetAccess(request) == omid.catalog.SetAccess(request)
    _leave(running, "omid")
    with refused(GONE, "ARTIFACT_NOT_FOUND"):
        omid.catalog.SetAccess(request)
    _grant(sara, secret, "omid")
    with refused(DENIED, "SCOPE_MISSING"):
        omid.catalog.SetAccess(request)


def test_grants_outlive_the_trash_and_end_with_the_artifact(running: Server, secret: str) -> None:
    sara, omid = running.member("sara"), running.member("omid")
    _grant(sara, secret, "omid")
    sara.catalog.DeleteArtifact(pb.DeleteArtifactRequest(name=secret))
    assert secret not in _listed(omid)
    kind, _, artifact_id = secret.rpartition("/models/")
    sara.catalog.CreateArtifact(
        pb.CreateArtifactRequest(parent=kind, kind=pb.ARTIFACT_KIND_MODEL, artifact_id=artifact_id)
    )
    with refused(GONE, "ARTIFACT_NOT_FOUND"):  # another one of the same name
        _get(omid, secret)
    sara.catalog.DeleteArtifact(pb.DeleteArtifactRequest(name=secret))
    found = sara.catalog.ListArtifacts(pb.ListArtifactsRequest(parent="namespaces/sara", show_deleted=True))
    twins = [each for each in found.artifacts if each.name == secret]
    first = min(twins, key=lambda each: each.create_time.ToNanoseconds())
    sara.catalog.RestoreArtifact(pb.RestoreArtifactRequest(name=secret, uid=first.uid))
    assert _get(omid, secret).uid == first.uid


@pytest.mark.contract("S1-11", "S1-51")
def test_a_grant_gives_the_bytes_of_one_artifact_and_no_presence_elsewhere(running: Server) -> None:
    sara, omid, nima = (Pusher(running.member(user).transfer, ()) for user in ("sara", "omid", "nima"))
    shown, hidden = "namespaces/sara/datasets/shown", "namespaces/sara/datasets/hidden"
    texts = {name: pattern(name, 5000) for name in (shown, hidden)}
    versions = {name: sara.push({"a": data}, artifact=name) for name, data in texts.items()}
    _grant(running.member("sara"), shown, "omid")
    assert omid.read(versions[shown], "a") == texts[shown]
    with refused(GONE, "ARTIFACT_NOT_FOUND"):
        omid.read(versions[hidden], "a")
    digests = {name: cut(data).chunks[0][0] for name, data in texts.items()}
    wanted = list(digests.values())
    for pusher, user, missing in ((omid, "omid", [digests[hidden]]), (nima, "nima", wanted)):
        upload = pusher.begin(f"namespaces/{user}/datasets/own")
        assert pusher.missing(upload, wanted) == missing
    _set(running.member("sara"), shown, remove_readers=["users/omid"])
    with refused(GONE, "ARTIFACT_NOT_FOUND"):
        omid.read(versions[shown], "a")


def test_grants_that_are_given_at_once_are_all_kept(running: Server, secret: str) -> None:
    users = [f"reader-{number}" for number in range(8)]
    for user in users:
        running.token(user)
    sara = running.member("sara")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(_grant, sara, secret, user) for user in users]:
            done.result(100)
    found = sara.catalog.GetAccess(pb.GetAccessRequest(name=secret)).access
    assert [each.user for each in found.readers] == [f"users/{user}" for user in users]
