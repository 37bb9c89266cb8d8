"""What is said about versions changes, two of them are compared, and aliases have a history."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from google.protobuf import field_mask_pb2, json_format, struct_pb2

from helpers.servers import Server, running_server
from helpers.transfers import Pusher, refused
from ingot.v1 import catalog_pb2 as pb

TINY = "namespaces/sara/models/tiny"
ADDED, REMOVED, CHANGED, SAME = (
    *(pb.CHANGE_KIND_ADDED, pb.CHANGE_KIND_REMOVED),
    *(pb.CHANGE_KIND_CHANGED, pb.CHANGE_KIND_SAME),
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path) as running:
        yield running


def _struct(**values: object) -> struct_pb2.Struct:
    return json_format.ParseDict(values, struct_pb2.Struct())


def _push(server: Server, files: dict[str, bytes], artifact: str = TINY, **target: object) -> str:
    return Pusher(server.member().transfer, ()).push(files, artifact, **target)


def _update(server: Server, *paths: str, user: str = "sara", **fields: object) -> pb.Version:
    request = pb.UpdateVersionRequest(
        version=pb.Version(**fields),  # type: ignore[arg-type]  # by name
        update_mask=field_mask_pb2.FieldMask(paths=paths),
    )
    return server.member(user).catalog.UpdateVersion(request).version


# --- changes ------------------------------------------------------------------------------------------


@pytest.mark.contract("S0-11", "S1-35", "S1-36", "S1-37", "S1-40", "S1-41", "S1-42", "S1-43", "S1-44")
def test_what_is_said_about_a_version_changes_and_its_content_never(server: Server) -> None:
    name = _push(server, {"model.joblib": b"bytes"}, version_id="v1.0.0", changelog="first")
    before = server.member().catalog.GetVersion(pb.GetVersionRequest(name=name)).version
    assert not before.HasField("update_time")
    changed = _update(
        server,
        name=name,
        changelog="First release",
        metadata=_struct(features=10, classes=["no", "yes"]),
        performance_metrics=_struct(accuracy=0.975),
        digest="blake3:ignored",
        etag=before.etag,
    )
    assert changed.name == f"{TINY}/versions/1.0.0"
    assert changed.changelog == "First release"
    assert changed.metadata["classes"] == ["no", "yes"]
    assert changed.performance_metrics["accuracy"] == 0.975
    assert changed.update_time.seconds >= before.create_time.seconds
    for field in ("uid", "digest", "size_bytes", "file_count", "storage_uri", "create_time", "state"):
        assert getattr(changed, field) == getattr(before, field), field
    assert server.member().catalog.GetVersion(pb.GetVersionRequest(name=TINY)).version == changed
    only = _update(server, "changelog", name=f"{TINY}/aliases/latest", changelog="", metadata=_struct(x=1))
    assert (only.changelog, only.metadata["features"]) == ("", 10)
    emptied = _update(server, "*", name=name)
    assert not emptied.metadata.fields
    assert not emptied.performance_metrics.fields


def test_a_change_that_was_overtaken_or_makes_no_sense_is_refused(server: Server) -> None:
    name = _push(server, {"a": b"1"})
    stale = server.member().catalog.GetVersion(pb.GetVersionRequest(name=name)).version.etag
    _update(server, name=name, changelog="x")
    with refused(grpc.StatusCode.ABORTED, "ETAG_MISMATCH"):
        _update(server, name=name, changelog="y", etag=stale)
    for path in ("digest", "colour", "metadata.team"):
        with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID") as facts:
            _update(server, path, name=name)
        assert facts["field"] == "update_mask"
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"):
        _update(server, name=name)
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID") as facts:
        _update(server, name=name, performance_metrics=_struct(text="x" * 70_000))
    assert facts["field"] == "version.performance_metrics"
    with refused(grpc.StatusCode.NOT_FOUND, "VERSION_NOT_FOUND"):
        _update(server, name=f"{TINY}/versions/9", changelog="z")


def test_a_repeated_change_is_carried_out_once_and_a_trial_never(server: Server) -> None:
    name = _push(server, {"a": b"1"})
    catalog = server.member().catalog
    request = pb.UpdateVersionRequest(
        version=pb.Version(name=name, changelog="x"), request_id=str(uuid.uuid4())
    )
    first = catalog.UpdateVersion(request).version
    _update(server, name=name, changelog="later")
    assert catalog.UpdateVersion(request).version.changelog == "later"  # it did not act again
    assert catalog.UpdateVersion(request).version.etag != first.etag
    request = pb.UpdateVersionRequest(version=pb.Version(name=name, changelog="y"), validate_only=True)
    assert catalog.UpdateVersion(request).version.changelog == "y"
    assert catalog.GetVersion(pb.GetVersionRequest(name=name)).version.changelog == "later"


def test_of_changes_on_one_etag_exactly_one_is_made(server: Server) -> None:
    name = _push(server, {"a": b"1"})
    etag = server.member().catalog.GetVersion(pb.GetVersionRequest(name=name)).version.etag
    stub = server.member().catalog

    def change(number: int) -> str:
        request = pb.UpdateVersionRequest(version=pb.Version(name=name, changelog=f"{number}", etag=etag))
        try:
            return stub.UpdateVersion(request).version.changelog
        except grpc.RpcError as refusal:
            return str(refusal.code().name)

    with ThreadPoolExecutor(8) as threads:
        told = list(threads.map(change, range(16)))
    made = [each for each in told if each != "ABORTED"]
    assert len(made) == 1
    assert stub.GetVersion(pb.GetVersionRequest(name=name)).version.changelog == made[0]


def test_only_who_may_write_changes_a_version(server: Server) -> None:
    name = _push(server, {"a": b"1"})
    with refused(grpc.StatusCode.NOT_FOUND, "ARTIFACT_NOT_FOUND"):
        _update(server, user="omid", name=name, changelog="x")
    public = pb.UpdateArtifactRequest(
        artifact=pb.Artifact(name=TINY, visibility=pb.VISIBILITY_INTERNAL),
        update_mask=field_mask_pb2.FieldMask(paths=["visibility"]),
    )
    server.member().catalog.UpdateArtifact(public)
    with refused(grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING"):
        _update(server, user="omid", name=name, changelog="x")


# --- comparison ---------------------------------------------------------------------------------------


def _compare(server: Server, base: str, other: str, **wanted: object) -> pb.CompareVersionsResponse:
    request = pb.CompareVersionsRequest(base=base, other=other, **wanted)  # type: ignore[arg-type]  # by name
    return server.member().catalog.CompareVersions(request)


def test_two_versions_are_compared_in_metadata_metrics_and_files(server: Server) -> None:
    old = _push(
        server,
        {"a.txt": b"same", "b.txt": b"old text", "c.txt": b"gone"},
        metadata=_struct(data={"rows": 800, "seed": 1}, note="x", flag=True),
        performance_metrics=_struct(accuracy=0.95, loss=0.2),
    )
    new = _push(
        server,
        {"a.txt": b"same", "b.txt": b"new", "d/e.txt": b"fresh"},
        metadata=_struct(data={"rows": 900, "seed": 1}, owner="sara", flag=1),
        performance_metrics=_struct(accuracy=0.975, loss=0.2),
    )
    found = _compare(server, old, TINY)
    assert (found.base.name, found.other.name) == (old, new)
    metadata = {".".join(each.path): each for each in found.metadata}
    assert {path: each.change for path, each in metadata.items()} == {
        "data.rows": CHANGED,
        "note": REMOVED,
        "owner": ADDED,
        "flag": CHANGED,
    }
    assert (metadata["data.rows"].before.number_value, metadata["data.rows"].difference) == (800, 100)
    assert not metadata["flag"].HasField("difference")
    assert not metadata["owner"].HasField("before")
    (accuracy,) = found.performance_metrics
    assert (list(accuracy.path), round(accuracy.difference, 6)) == (["accuracy"], 0.025)
    assert [(each.path, each.change, each.size_before, each.size_after) for each in found.files] == [
        ("b.txt", CHANGED, 8, 3),
        ("c.txt", REMOVED, 4, 0),
        ("d/e.txt", ADDED, 0, 5),
    ]
    assert (found.files[1].root_after, found.files[2].root_before) == ("", "")
    assert found.files[0].root_before != found.files[0].root_after
    totals = found.totals
    assert (totals.added, totals.removed, totals.changed, totals.same) == (1, 1, 1, 1)
    assert (totals.added_bytes, totals.removed_bytes, totals.same_bytes) == (5, 4, 4)
    assert (totals.changed_bytes_before, totals.changed_bytes_after) == (8, 3)
    assert _compare(server, new, new).files == []


def test_a_comparison_comes_in_pages(server: Server) -> None:
    old = _push(server, {f"{number:03}": b"x%d" % number for number in range(60)})
    files = {f"{number:03}": b"x%d" % number for number in range(0, 60, 2)}
    new = _push(server, files | {f"{number:03}": b"y%d" % number for number in range(1, 80, 2)})
    seen: list[tuple[str, int]] = []
    token = ""
    while True:
        page = _compare(server, old, new, page_size=7, page_token=token, include_same=True)
        assert page.HasField("totals") is not bool(token)
        seen += [(each.path, each.change) for each in page.files]
        token = page.next_page_token
        if not token:
            break
    assert seen == [
        (f"{number:03}", ADDED if number >= 60 else CHANGED if number % 2 else SAME)
        for number in range(80)
        if number < 60 or number % 2
    ]
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID"):
        first = _compare(server, old, new, page_size=7)
        _compare(server, old, new, page_size=7, page_token=first.next_page_token, include_same=True)


def test_versions_of_two_artifacts_are_compared_if_both_are_to_be_seen(server: Server) -> None:
    mine = _push(server, {"a": b"1"})
    other = _push(server, {"a": b"1"}, "namespaces/sara/datasets/chat")
    assert _compare(server, mine, other).totals.same == 1
    with refused(grpc.StatusCode.NOT_FOUND, "ARTIFACT_NOT_FOUND"):
        server.member("omid").catalog.CompareVersions(pb.CompareVersionsRequest(base=mine, other=other))
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "NAME_INVALID"):
        _compare(server, mine, "tiny")


# --- aliases ------------------------------------------------------------------------------------------


def _moves(server: Server, alias: str) -> list[tuple[str, str, str]]:
    request = pb.ListAliasMovesRequest(parent=f"{TINY}/aliases/{alias}", page_size=2)
    seen: list[tuple[str, str, str]] = []
    while True:
        reply = server.member().catalog.ListAliasMoves(request)
        seen += [
            (each.version.rpartition("/")[2], each.previous.rpartition("/")[2], each.moved_by)
            for each in reply.moves
        ]
        assert all(each.time.seconds > 1.7e9 for each in reply.moves)
        if not reply.next_page_token:
            return seen
        request.page_token = reply.next_page_token


def test_aliases_keep_where_they_pointed(server: Server) -> None:
    first, second = (_push(server, {"a": text}) for text in (b"1", b"2"))
    catalog, alias = server.member().catalog, f"{TINY}/aliases/prod"
    for version in (first, second, second, first):
        catalog.SetAlias(pb.SetAliasRequest(name=alias, version=version))
    catalog.DeleteAlias(pb.DeleteAliasRequest(name=alias))
    sara = "users/sara"
    assert _moves(server, "prod") == [
        ("", "1", sara),
        ("1", "2", sara),
        ("2", "1", sara),
        ("1", "", sara),
    ]
    catalog.DeleteVersion(pb.DeleteVersionRequest(name=second))
    catalog.DeleteVersion(pb.DeleteVersionRequest(name=first))
    assert _moves(server, "latest") == [("", "1", sara), ("1", "2", sara), ("2", "1", sara), ("1", "", sara)]
    with refused(grpc.StatusCode.NOT_FOUND, "ALIAS_NOT_FOUND"):
        _moves(server, "never")


def test_deleting_a_version_notes_what_became_of_its_aliases(server: Server) -> None:
    first = _push(server, {"a": b"1"}, aliases=["prod"])
    server.member().catalog.DeleteVersion(pb.DeleteVersionRequest(name=first, force=True))
    assert _moves(server, "prod") == [("", "1", "users/sara"), ("1", "", "users/sara")]
