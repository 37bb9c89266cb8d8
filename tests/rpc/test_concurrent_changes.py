"""Many change one thing at once: of one etag exactly one wins; without etags no field of another is lost."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.protobuf import field_mask_pb2, struct_pb2

from helpers.refusals import reason_of
from helpers.servers import Server, Stubs, running_server
from helpers.transfers import Pusher
from ingot.v1 import auth_pb2, catalog_pb2

TINY = "namespaces/sara/models/tiny"
VERSION, ALIAS = f"{TINY}/versions/1", f"{TINY}/aliases/prod"
AT_ONCE = 12
Change = Callable[
    [Stubs, int, str], str
]  # made by somebody, the how many-th, on an etag; returns the new one


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("changes"), calls_per_second=0.0) as server:
        for _ in range(2):
            Pusher(server.member().transfer, ()).push({"a": b"1"}, TINY)
        for number in range(AT_ONCE):
            server.token(f"user-{number}")
        yield server


def masked(*paths: str) -> field_mask_pb2.FieldMask:
    return field_mask_pb2.FieldMask(paths=paths)


def change_artifact(stubs: Stubs, number: int, etag: str) -> str:
    artifact = catalog_pb2.Artifact(name=TINY, description=f"by {number}", etag=etag)
    request = catalog_pb2.UpdateArtifactRequest(artifact=artifact)
    return stubs.catalog.UpdateArtifact(request).artifact.etag


def change_version(stubs: Stubs, number: int, etag: str) -> str:
    version = catalog_pb2.Version(name=VERSION, changelog=f"by {number}", etag=etag)
    return stubs.catalog.UpdateVersion(catalog_pb2.UpdateVersionRequest(version=version)).version.etag


def move_alias(stubs: Stubs, number: int, etag: str) -> str:
    request = catalog_pb2.SetAliasRequest(name=ALIAS, version=f"{TINY}/versions/{number % 2 + 1}", etag=etag)
    return stubs.catalog.SetAlias(request).alias.etag


def grant(stubs: Stubs, number: int, etag: str) -> str:
    readers = [f"users/user-{number}"] if number >= 0 else []
    request = catalog_pb2.SetAccessRequest(name=TINY, add_readers=readers, etag=etag)
    return stubs.catalog.SetAccess(request).access.etag


def change_user(stubs: Stubs, number: int, etag: str) -> str:
    user = auth_pb2.User(name="users/user-0", display_name=f"By {number}", etag=etag)
    return stubs.auth.UpdateUser(auth_pb2.UpdateUserRequest(user=user)).user.etag


def change_namespace(stubs: Stubs, number: int, etag: str) -> str:
    namespace = auth_pb2.Namespace(name="namespaces/sara", quota_bytes=2**40 + number, etag=etag)
    request = auth_pb2.UpdateNamespaceRequest(namespace=namespace)
    return stubs.auth.UpdateNamespace(request).namespace.etag


CHANGES: Sequence[Change] = (
    *(change_artifact, change_version, move_alias, grant, change_user, change_namespace),
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_of_all_who_change_one_etag_exactly_one_wins(server: Server, change: Change) -> None:
    etag = change(server.admin, -1, "")
    stubs = [server.admin for _ in range(4)]

    def attempt(number: int) -> str:
        try:
            return f"etag {change(stubs[number % 4], number, etag)}"
        except grpc.RpcError as error:
            return f"{error.code().name} {reason_of(error)}"

    told = at_once(attempt, range(AT_ONCE))
    (won,) = [each for each in told if each.startswith("etag")]
    assert {each for each in told if each != won} == {"ABORTED ETAG_MISMATCH"}
    again = change(
        stubs[0], told.index(won), won.removeprefix("etag ")
    )  # what the winner got is the present one
    assert again


def at_once(run: Callable[[int], str], numbers: Sequence[int], most: int = AT_ONCE) -> list[str]:
    """Run something for all numbers at the same time, `most` of them; return what each gave."""
    with ThreadPoolExecutor(most) as threads:
        return list(threads.map(run, numbers))


def test_fields_of_others_stay_without_etags(server: Server) -> None:
    """Each of many writers changes another field of the same things, several times."""
    admin = server.admin
    numbers = struct_pb2.Struct()

    def artifact(path: str, value: object) -> None:
        wanted = catalog_pb2.Artifact(name=TINY)
        if path == "tags":
            wanted.tags.append(str(value))
        else:
            setattr(wanted, path, value)
        request = catalog_pb2.UpdateArtifactRequest(artifact=wanted, update_mask=masked(path))
        admin.catalog.UpdateArtifact(request)

    def version(path: str, value: object) -> None:
        wanted = catalog_pb2.Version(name=VERSION)
        if path == "changelog":
            wanted.changelog = str(value)
        else:
            getattr(wanted, path).update({"value": value})
        admin.catalog.UpdateVersion(
            catalog_pb2.UpdateVersionRequest(version=wanted, update_mask=masked(path))
        )

    def user(path: str, value: object) -> None:
        wanted = auth_pb2.User(name="users/user-1", **{path: value})  # type: ignore[arg-type]  # by name
        admin.auth.UpdateUser(auth_pb2.UpdateUserRequest(user=wanted, update_mask=masked(path)))

    def namespace(path: str, value: object) -> None:
        wanted = auth_pb2.Namespace(name="namespaces/user-2", **{path: value})  # type: ignore[arg-type]
        request = auth_pb2.UpdateNamespaceRequest(namespace=wanted, update_mask=masked(path))
        admin.auth.UpdateNamespace(request)

    def reader(path: str, value: object) -> None:
        request = catalog_pb2.SetAccessRequest(name=TINY, add_readers=[path])
        admin.catalog.SetAccess(request)

    last = 3
    steps: list[tuple[Callable[[str, object], None], str, Callable[[int], object]]] = [
        (artifact, "description", str),
        (artifact, "card", str),
        (artifact, "display_name", str),
        (artifact, "license", str),
        (artifact, "tags", str),
        (artifact, "framework", lambda turn: f"f{turn}"),
        (artifact, "visibility", lambda turn: turn),
        (version, "changelog", str),
        (version, "metadata", float),
        (version, "performance_metrics", float),
        (user, "display_name", str),
        (user, "role", lambda turn: turn % 3 + 1),
        (namespace, "quota_bytes", lambda turn: 2**40 + turn),
        (namespace, "physical_quota_bytes", lambda turn: 2**41 + turn),
        *((reader, f"users/user-{number}", str) for number in range(3, 9)),
    ]

    def write(number: int) -> str:
        change, path, value = steps[number]
        for turn in range(1, last + 1):
            change(path, value(turn))
        return ""

    at_once(write, range(len(steps)))
    numbers.update({"value": float(last)})
    got = admin.catalog.GetArtifact(catalog_pb2.GetArtifactRequest(name=TINY)).artifact
    assert (got.description, got.card, got.display_name, got.license) == ("3", "3", "3", "3")
    assert (list(got.tags), got.framework, got.visibility) == (["3"], "f3", 3)
    kept = admin.catalog.GetVersion(catalog_pb2.GetVersionRequest(name=VERSION)).version
    assert (kept.changelog, kept.metadata, kept.performance_metrics) == ("3", numbers, numbers)
    person = admin.auth.GetUser(auth_pb2.GetUserRequest(name="users/user-1")).user
    assert (person.display_name, person.role) == ("3", 1)
    space = admin.auth.GetNamespace(auth_pb2.GetNamespaceRequest(name="namespaces/user-2")).namespace
    assert (space.quota_bytes, space.physical_quota_bytes) == (2**40 + 3, 2**41 + 3)
    shown = admin.catalog.GetAccess(catalog_pb2.GetAccessRequest(name=TINY)).access
    assert {f"users/user-{number}" for number in range(3, 9)} <= {each.user for each in shown.readers}


def test_of_many_who_make_one_thing_one_does(server: Server) -> None:
    def make(number: int) -> str:
        name = ("Same", "same", "SAME")[number % 3]
        request = catalog_pb2.CreateArtifactRequest(
            parent="namespaces/sara", kind=catalog_pb2.ARTIFACT_KIND_MODEL, artifact_id=name
        )
        try:
            return stubs.catalog.CreateArtifact(request).artifact.name
        except grpc.RpcError as error:
            return reason_of(error)

    stubs = server.member()
    told = at_once(make, range(AT_ONCE))
    assert sorted(told)[:-1] == ["NAME_TAKEN"] * (AT_ONCE - 1)


def test_ids_that_the_server_gives_are_given_once(server: Server) -> None:
    def make(number: int) -> str:
        request = catalog_pb2.CreateArtifactRequest(
            parent="namespaces/sara", kind=catalog_pb2.ARTIFACT_KIND_DATASET
        )
        return stubs.catalog.CreateArtifact(request).artifact.name

    stubs = server.member()
    assert len({*at_once(make, range(AT_ONCE))}) == AT_ONCE


def test_many_pushes_to_one_artifact_each_make_a_version(server: Server) -> None:
    def push(number: int) -> str:
        return Pusher(stubs.transfer, ()).push({"a": f"{number}".encode()}, "namespaces/sara/models/busy")

    stubs = server.member()
    names = at_once(push, range(AT_ONCE), 4)
    expected = {f"namespaces/sara/models/busy/versions/{number}" for number in range(1, AT_ONCE + 1)}
    assert {*names} == expected
    got = stubs.catalog.GetArtifact(catalog_pb2.GetArtifactRequest(name="namespaces/sara/models/busy"))
    assert (got.artifact.version_count, got.artifact.current_version) == (
        AT_ONCE,
        f"namespaces/sara/models/busy/versions/{AT_ONCE}",
    )
