"""The trash: what is deleted is hidden and kept, comes back whole, and frees its bytes when it is purged."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf import json_format

from helpers.clocks import ShiftedClock
from helpers.eventually import eventually
from helpers.patterns import pattern
from helpers.servers import Server, Stubs, running_server
from helpers.transfers import Pusher, refused
from ingot.client import Client
from ingot.server.storage.trees_sql import TreesSql
from ingot.v1 import auth_pb2, operations_pb2, system_pb2
from ingot.v1 import catalog_pb2 as pb

NAME = "namespaces/sara/datasets/chat"
MISSING = grpc.StatusCode.NOT_FOUND
HELD = grpc.StatusCode.FAILED_PRECONDITION


class Rig:
    """A server with one member, who pushes."""

    def __init__(self, server: Server, clock: ShiftedClock) -> None:
        self.server, self.clock = server, clock
        self.sara: Stubs = server.member("sara")
        self.pusher = Pusher(self.sara.transfer, ())

    def push(self, seed: str, size: int = 3000, **changes: object) -> str:
        return self.pusher.push({"a": pattern(seed, size)}, NAME, **changes)

    def delete(
        self, version: str, *, force: bool = False, allow_missing: bool = False, validate_only: bool = False
    ) -> pb.DeleteVersionResponse:
        request = pb.DeleteVersionRequest(
            name=version, force=force, allow_missing=allow_missing, validate_only=validate_only
        )
        return self.sara.catalog.DeleteVersion(request)

    def restore(self, version: str) -> pb.Version:
        return self.sara.catalog.RestoreVersion(pb.RestoreVersionRequest(name=version)).version

    def artifact(self) -> pb.Artifact:
        return self.sara.catalog.GetArtifact(pb.GetArtifactRequest(name=NAME)).artifact

    def versions(self, *, deleted: bool = False) -> list[str]:
        request = pb.ListVersionsRequest(parent=NAME, show_deleted=deleted)
        return [each.name[-1] for each in self.sara.catalog.ListVersions(request).versions]

    def trash(self, parent: str = "namespaces/-") -> list[pb.Artifact]:
        request = pb.ListArtifactsRequest(parent=parent, show_deleted=True)
        return list(self.sara.catalog.ListArtifacts(request).artifacts)

    def throw_away(self) -> str:
        request = pb.DeleteArtifactRequest(name=NAME, force=True)
        return self.sara.catalog.DeleteArtifact(request).artifact.uid

    def used(self) -> tuple[int, int]:
        request = auth_pb2.GetNamespaceRequest(name="namespaces/sara")
        found = self.sara.auth.GetNamespace(request).namespace
        return found.size_bytes, found.stored_bytes

    def done(self, operation: str) -> dict[str, object]:
        """Wait for an operation and return its result."""

        def ended() -> operations_pb2.Operation | None:
            request = operations_pb2.GetOperationRequest(name=operation)
            found = self.sara.operations.GetOperation(request).operation
            return found if found.HasField("finish_time") else None

        found = eventually(ended)
        assert found is not None
        assert found.state == operations_pb2.OPERATION_STATE_SUCCEEDED
        return json_format.MessageToDict(found.result)


@pytest.fixture(name="rig")
def _rig(tmp_path: Path) -> Iterator[Rig]:
    clock = ShiftedClock()
    with running_server(tmp_path, clock=clock) as server:
        yield Rig(server, clock)


def test_a_deleted_version_is_hidden_and_latest_moves_back(rig: Rig) -> None:
    first, second = rig.push("1"), rig.push("2", 4000)
    gone = rig.delete(second)
    assert gone.version.HasField("delete_time")
    assert rig.artifact().current_version == first
    assert (rig.artifact().version_count, rig.artifact().stored_bytes) == (1, 3000)
    assert (rig.versions(), rig.versions(deleted=True)) == (["1"], ["2"])
    with refused(MISSING, "VERSION_NOT_FOUND"):
        rig.sara.catalog.GetVersion(pb.GetVersionRequest(name=second))
    with refused(MISSING, "VERSION_NOT_FOUND"):
        rig.pusher.read(second, "a")
    assert rig.pusher.read(NAME, "a") == pattern("1", 3000)
    assert rig.used() == (7000, 7000), "what is in the trash counts"


def test_a_restored_version_is_there_whole(rig: Rig) -> None:
    rig.push("1")
    second = rig.push("2", 4000)
    before = rig.artifact()
    rig.delete(second)
    rig.restore(second)
    after = rig.artifact()
    assert after.current_version == second
    assert (after.version_count, after.size_bytes, after.stored_bytes) == (2, 4000, before.stored_bytes)
    assert rig.pusher.read(second, "a") == pattern("2", 4000)
    with refused(MISSING, "VERSION_NOT_FOUND"):
        rig.restore(second)


def test_the_last_version_leaves_none(rig: Rig) -> None:
    only = rig.push("1")
    rig.delete(only)
    assert (rig.artifact().current_version, rig.artifact().version_count) == ("", 0)
    rig.restore(only)
    assert rig.artifact().current_version == only


def test_the_id_of_a_version_in_the_trash_stays_taken(rig: Rig) -> None:
    rig.delete(rig.push("1"))
    assert rig.push("2").endswith("/versions/2")
    with refused(grpc.StatusCode.ALREADY_EXISTS, "NAME_TAKEN"):
        rig.pusher.begin(NAME, version_id="1")


def test_what_others_name_goes_only_by_force(rig: Rig) -> None:
    first = rig.push("1", aliases=["prod"])
    rig.push("2")
    asked = rig.delete(first, validate_only=True)
    assert list(asked.dependants) == [f"{NAME}/aliases/prod"]
    with refused(HELD, "IN_USE") as facts:
        rig.delete(first)
    assert facts["dependants"] == f"{NAME}/aliases/prod"
    assert rig.versions() == ["2", "1"]
    rig.delete(first, force=True)
    aliases = rig.sara.catalog.ListAliases(pb.ListAliasesRequest(parent=NAME)).aliases
    assert [each.name.rpartition("/")[2] for each in aliases] == ["latest"]


def test_deleting_twice_and_with_an_old_etag(rig: Rig) -> None:
    first = rig.push("1")
    etag = rig.sara.catalog.GetVersion(pb.GetVersionRequest(name=first)).version.etag
    rig.delete(first)
    with refused(MISSING, "VERSION_NOT_FOUND"):
        rig.delete(first)
    assert not rig.delete(first, allow_missing=True).HasField("version")
    rig.restore(first)
    again = pb.DeleteVersionRequest(name=first, etag=f"{etag}x")
    with refused(grpc.StatusCode.ABORTED, "ETAG_MISMATCH"):
        rig.sara.catalog.DeleteVersion(again)


def test_strangers_neither_delete_nor_restore_nor_see_the_trash(rig: Rig) -> None:
    first = rig.push("1")
    omid = rig.server.member("omid").catalog
    with refused(MISSING, "ARTIFACT_NOT_FOUND"):
        omid.DeleteVersion(pb.DeleteVersionRequest(name=first))
    rig.throw_away()
    with refused(MISSING, "ARTIFACT_NOT_FOUND"):
        omid.RestoreArtifact(pb.RestoreArtifactRequest(name=NAME))
    with refused(MISSING, "ARTIFACT_NOT_FOUND"):
        omid.PurgeArtifact(pb.PurgeArtifactRequest(name=NAME))
    for parent in ("namespaces/-", "namespaces/sara"):
        request = pb.ListArtifactsRequest(parent=parent, show_deleted=True)
        assert list(omid.ListArtifacts(request).artifacts) == []
        assert len(rig.server.admin.catalog.ListArtifacts(request).artifacts) == 1


def test_single_versions_of_all_are_listed_page_by_page_to_who_may_write(rig: Rig) -> None:
    other = rig.pusher.push({"a": pattern("other", 3000)}, "namespaces/sara/datasets/other")
    gone = [rig.push(str(number)) for number in range(4)]
    for version in (*gone[:3], other):
        rig.clock.ahead += 1
        rig.delete(version)
    whole = rig.pusher.push({"a": pattern("whole", 3000)}, "namespaces/sara/datasets/whole")
    rig.delete(whole)
    rig.sara.catalog.DeleteArtifact(pb.DeleteArtifactRequest(name=whole.partition("/versions")[0]))

    def listed(stubs: Stubs, parent: str, size: int = 2) -> list[str]:
        found: list[str] = []
        request = pb.ListVersionsRequest(parent=parent, show_deleted=True, page_size=size)
        while True:
            page = stubs.catalog.ListVersions(request)
            found += [each.name for each in page.versions]
            assert all(each.HasField("delete_time") for each in page.versions)
            request.page_token = page.next_page_token
            if not request.page_token:
                return found

    theirs = [other, *reversed(gone[:3])]  # but not of what is in the trash itself
    for parent in ("namespaces/-/datasets/-", "namespaces/sara/datasets/-"):
        assert listed(rig.sara, parent) == theirs
        assert listed(rig.server.admin, parent, 50) == theirs
        assert listed(rig.server.member("omid"), parent) == []
    assert listed(rig.sara, "namespaces/-/models/-") == []
    living = pb.ListVersionsRequest(parent="namespaces/-/datasets/-")
    for request in (living, pb.ListVersionsRequest(parent="namespaces/-/things/-", show_deleted=True)):
        with refused(grpc.StatusCode.INVALID_ARGUMENT, "NAME_INVALID"):
            rig.sara.catalog.ListVersions(request)


def test_a_restored_artifact_is_there_with_its_versions(rig: Rig) -> None:
    rig.push("1")
    second = rig.push("2")
    rig.throw_away()
    assert [each.name for each in rig.trash()] == [NAME]
    assert rig.trash()[0].HasField("delete_time")
    back = rig.sara.catalog.RestoreArtifact(pb.RestoreArtifactRequest(name=NAME)).artifact
    assert (back.current_version, back.version_count) == (second, 2)
    assert not back.HasField("delete_time")
    assert rig.pusher.read(NAME, "a") == pattern("2", 3000)
    assert rig.trash() == []
    listed = rig.sara.catalog.ListArtifacts(pb.ListArtifactsRequest(parent="namespaces/sara", filter="chat"))
    assert len(listed.artifacts) == 1


def test_of_several_with_one_name_the_uid_chooses(rig: Rig) -> None:
    rig.push("1")
    older = rig.throw_away()
    rig.push("2")
    with refused(grpc.StatusCode.ALREADY_EXISTS, "NAME_TAKEN"):
        rig.sara.catalog.RestoreArtifact(pb.RestoreArtifactRequest(name=NAME))
    rig.throw_away()
    assert len(rig.trash("namespaces/sara")) == 2
    rig.sara.catalog.RestoreArtifact(pb.RestoreArtifactRequest(name=NAME, uid=older))
    assert rig.pusher.read(NAME, "a") == pattern("1", 3000)


@pytest.mark.parametrize(("terms", "order"), [("chat", ""), ("", "name")])
def test_the_trash_is_not_searched(rig: Rig, terms: str, order: str) -> None:
    request = pb.ListArtifactsRequest(parent="namespaces/-", show_deleted=True, filter=terms, order_by=order)
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"):
        rig.sara.catalog.ListArtifacts(request)


def test_a_purge_gives_the_bytes_back_that_nothing_else_needs(rig: Rig) -> None:
    rig.pusher.push({"shared": pattern("s", 5000)}, "namespaces/sara/datasets/other")
    rig.pusher.push({"shared": pattern("s", 5000), "own": pattern("o", 2000)}, NAME)
    rig.throw_away()
    assert rig.used() == (12000, 7000)
    looked = rig.sara.catalog.PurgeArtifact(pb.PurgeArtifactRequest(name=NAME, validate_only=True))
    assert (looked.version_count, looked.size_bytes, looked.operation) == (1, 7000, "")
    going = rig.sara.catalog.PurgeArtifact(pb.PurgeArtifactRequest(name=NAME))
    assert rig.done(going.operation) == {"versions": 1, "released_bytes": 2000}
    assert rig.used() == (5000, 5000)
    assert rig.trash() == []
    with refused(MISSING, "ARTIFACT_NOT_FOUND"):
        rig.sara.catalog.PurgeArtifact(pb.PurgeArtifactRequest(name=NAME))


def test_a_purge_of_many_files_lets_others_write_in_between(rig: Rig) -> None:
    rig.pusher.push({f"f{number:04}": b"%d" % number for number in range(4100)}, NAME)
    rig.throw_away()
    writes = rig.server.app.database.queue().writes
    going = rig.sara.catalog.PurgeArtifact(pb.PurgeArtifactRequest(name=NAME))
    assert rig.done(going.operation)["versions"] == 1
    assert rig.used() == (0, 0)
    assert rig.server.app.database.queue().writes >= writes + 4  # the version, and three times files
    assert rig.server.app.database.read(TreesSql().abandoned) is None


def test_only_the_versions_in_the_trash_are_purged(rig: Rig) -> None:
    first = rig.push("1")
    rig.push("2")
    rig.delete(first)
    going = rig.sara.catalog.PurgeArtifact(pb.PurgeArtifactRequest(name=NAME, versions_only=True))
    assert (going.version_count, going.size_bytes) == (1, 3000)
    assert rig.done(going.operation) == {"versions": 1, "released_bytes": 3000}
    assert (rig.versions(), rig.versions(deleted=True), rig.used()) == (["2"], [], (3000, 3000))


def test_one_version_in_the_trash_is_purged_alone(rig: Rig) -> None:
    first, second, third = (rig.push(seed) for seed in "123")
    rig.delete(first)
    rig.delete(second)
    looked = rig.sara.catalog.PurgeVersion(pb.PurgeVersionRequest(name=first, validate_only=True))
    assert (looked.size_bytes, looked.operation) == (3000, "")
    going = rig.sara.catalog.PurgeVersion(pb.PurgeVersionRequest(name=first))
    assert rig.done(going.operation) == {"versions": 1, "released_bytes": 3000}
    assert (rig.versions(), rig.versions(deleted=True), rig.used()) == (["3"], ["2"], (6000, 6000))
    assert rig.restore(second).name == second
    for name in (first, third):  # gone, and not in the trash
        with refused(MISSING, "VERSION_NOT_FOUND"):
            rig.sara.catalog.PurgeVersion(pb.PurgeVersionRequest(name=name))


def test_a_version_that_is_being_purged_is_not_taken_back(rig: Rig) -> None:
    name = rig.push("1")
    rig.delete(name)
    key = "11111111-2222-4333-8444-555555555555"
    request = pb.PurgeVersionRequest(name=name, request_id=key)
    started = rig.sara.catalog.PurgeVersion(request).operation
    with pytest.raises(grpc.RpcError) as caught:
        rig.restore(name)
    assert caught.value.code() in (HELD, MISSING)  # it may be gone already
    rig.done(started)
    assert rig.sara.catalog.PurgeVersion(request).operation == started
    with refused(grpc.StatusCode.ALREADY_EXISTS, "NAME_TAKEN"):
        rig.pusher.push({"a": b"other"}, NAME, version_id="1")
    assert rig.push("2") == f"{NAME}/versions/2", "no name of a version means other content later"


def test_what_was_made_from_it_is_told_before_it_goes(rig: Rig) -> None:
    with Client(rig.server.address, rig.server.token("sara")) as sara:
        rig.push("1")
        sara.catalog.set_alias(f"{NAME}/versions/1", "prod")
        asked = rig.sara.catalog.RequestApproval(
            pb.RequestApprovalRequest(version=f"{NAME}/versions/1")
        ).approval
        job = sara.training.create(NAME, output="models/tiny")
        going = sara.catalog.delete(NAME, validate_only=True)
        assert list(going.dependants) == [f"{NAME}/aliases/prod", asked.name, job.name]
        one = rig.delete(f"{NAME}/versions/1", validate_only=True)
        assert list(one.dependants) == [f"{NAME}/aliases/prod", asked.name, job.name]
        with refused(HELD, "IN_USE"):
            rig.delete(f"{NAME}/versions/1")
        rig.delete(f"{NAME}/versions/1", force=True)
        looked = sara.catalog.purge_version(f"{NAME}/versions/1", validate_only=True)
        assert list(looked.dependants) == [job.name]
        assert list(sara.catalog.purge(NAME, versions_only=True, validate_only=True).dependants) == [job.name]
        rig.throw_away()
        assert list(sara.catalog.purge(NAME, validate_only=True).dependants) == [job.name]
        rig.push("another of that name")
        assert list(sara.catalog.purge(NAME, validate_only=True).dependants) == []


def test_upkeep_purges_what_is_in_the_trash_for_too_long(rig: Rig) -> None:
    rig.delete(rig.push("1"))
    rig.pusher.push({"b": pattern("b", 500)}, "namespaces/sara/models/tiny")
    request = pb.DeleteArtifactRequest(name="namespaces/sara/models/tiny", force=True)
    rig.sara.catalog.DeleteArtifact(request)
    clean = operations_pb2.StartUpkeepRequest(kind=operations_pb2.UPKEEP_KIND_CLEAN)

    def cleaned() -> None:
        started = rig.server.admin.operations.StartUpkeep(clean).operation.name
        ended = operations_pb2.GetOperationRequest(name=started)
        eventually(lambda: rig.server.admin.operations.GetOperation(ended).operation.HasField("finish_time"))

    rig.clock.ahead = 29 * 24 * 3600.0
    cleaned()
    assert (rig.versions(deleted=True), len(rig.trash())) == (["1"], 1)
    rig.clock.ahead = 31 * 24 * 3600.0
    cleaned()
    eventually(lambda: (rig.used(), rig.trash()) == ((0, 0), []))
    assert rig.versions(deleted=True) == []


def test_a_request_that_is_sent_again_does_nothing_twice(rig: Rig) -> None:
    first, key = rig.push("1"), "11111111-2222-4333-8444-555555555555"
    request = pb.DeleteVersionRequest(name=first, request_id=key)
    assert rig.sara.catalog.DeleteVersion(request) == rig.sara.catalog.DeleteVersion(request)
    assert rig.artifact().version_count == 0


@pytest.mark.contract("S1-66")
def test_logical_and_stored_bytes_are_told_for_versions_artifacts_and_the_store(rig: Rig) -> None:
    rig.push("1", 3000)
    rig.pusher.push({"a": pattern("1", 3000), "b": pattern("2", 1000)}, NAME)
    version = rig.sara.catalog.GetVersion(pb.GetVersionRequest(name=NAME)).version
    assert (version.size_bytes, version.new_bytes) == (4000, 1000)
    assert (rig.artifact().size_bytes, rig.artifact().stored_bytes) == (4000, 4000)
    rig.delete(f"{NAME}/versions/1")
    storage = rig.server.admin.system.GetStorage(system_pb2.GetStorageRequest())
    areas = {area.name: (area.item_count, area.logical_bytes) for area in storage.areas}
    assert areas["datasets"] == (1, 4000)
    assert areas["trash"] == (1, 3000)
    assert storage.logical_bytes == 7000
    assert storage.chunk_bytes == 4000 < storage.pack_bytes
    assert storage.disk_total_bytes > storage.disk_free_bytes > 0
    assert rig.used() == (7000, 4000)
