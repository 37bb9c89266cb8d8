"""Quotas of namespaces: what fits exactly passes, a byte more does not, and of two that race one passes."""

import queue
import random
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf import field_mask_pb2, json_format

from helpers.eventually import eventually
from helpers.patterns import pattern as seeded
from helpers.servers import Server, running_server
from helpers.transfers import (
    ARTIFACT,
    MIB,
    Pusher,
    TransferRig,
    cut,
    header,
    pieces,
    refused,
    stream,
    transfer_rig,
)
from ingot.server.core.identity import Role
from ingot.server.core.namespaces import CHUNK_COST, Quotas
from ingot.server.core.uploads import TransferLimits
from ingot.server.storage import accounts_sql
from ingot.server.storage.accounts_sql import AccountsSql
from ingot.v1 import auth_pb2, catalog_pb2, operations_pb2
from ingot.v1 import transfer_pb2 as pb

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
QUOTA = MIB
ROWS = 8 * 1024  # more than the rows about a few such files take


@pytest.fixture(name="logical")
def _logical() -> Iterator[TransferRig]:
    with transfer_rig(TransferLimits(quotas=Quotas(size=QUOTA))) as rig:
        yield rig


@pytest.fixture(name="physical")
def _physical() -> Iterator[TransferRig]:
    with transfer_rig(TransferLimits(quotas=Quotas(stored=QUOTA + ROWS))) as rig:
        yield rig


def pattern(size: int, seed: int = 0) -> bytes:
    return seeded(str(seed), size)


def used(rig: TransferRig) -> tuple[int, int]:
    account = rig.database.read(AccountsSql().account, "member")
    assert rig.database.write(AccountsSql().recount, repair=False).result(100) == []
    return account.size, account.stored


def declared(pusher: Pusher, size: int) -> str:
    version = pb.NewVersion(artifact=ARTIFACT, create=catalog_pb2.Artifact())
    request = pb.BeginUploadRequest(target=pb.UploadTarget(version=version), size_bytes=size)
    return pusher.stub.BeginUpload(request, metadata=pusher.metadata).upload.name


def test_exactly_full_is_committed_and_a_byte_more_is_not(logical: TransferRig) -> None:
    pusher = logical.pusher()
    pusher.push({"a": pattern(QUOTA - 10)})
    pusher.push({"b": pattern(10, 1)})
    assert used(logical) == (QUOTA, QUOTA)
    with refused(EXHAUSTED, "QUOTA") as facts:
        declared(pusher, 1)
    assert (facts["used"], facts["limit"], facts["wanted"]) == (str(QUOTA), str(QUOTA), "1")
    assert facts["namespace"] == "namespaces/member"
    upload = pusher.begin()  # nothing is declared
    with refused(EXHAUSTED, "QUOTA"):
        pusher.put(stream(upload, cut(b"c").chunks))


def test_a_commit_counts_shared_bytes_whole(logical: TransferRig) -> None:
    pusher = logical.pusher()
    half = pattern(QUOTA // 2 + 1)
    files = {"a": cut(half)}
    first = pusher.push({"a": half})
    upload = pusher.begin()
    pusher.put_missing(upload, files)  # nothing travels
    pusher.manifest(upload, files)
    with refused(EXHAUSTED, "QUOTA") as facts:
        pusher.commit(upload, files)
    assert (facts["used"], facts["wanted"]) == (str(len(half)), str(len(half)))
    assert used(logical) == (len(half), len(half)), "what was refused was not counted"
    assert pusher.upload(upload).state == pb.UPLOAD_STATE_OPEN
    assert pusher.upload(upload).problem.reason
    assert first.endswith("/versions/1")


def test_different_bytes_count_once_and_until_no_tree_holds_them(physical: TransferRig) -> None:
    pusher = physical.pusher()
    data = pattern(QUOTA)
    pusher.push({"a": data})
    pusher.push({"again": data})
    assert used(physical) == (2 * QUOTA, QUOTA)
    upload = pusher.begin()
    with refused(EXHAUSTED, "QUOTA") as facts:
        pusher.put(stream(upload, cut(pattern(ROWS, 9)).chunks))
    assert (facts["limit"], int(facts["wanted"])) == (str(QUOTA + ROWS), ROWS + CHUNK_COST)
    assert QUOTA < int(facts["used"]) < QUOTA + ROWS


def test_an_upload_that_expires_gives_its_bytes_back(physical: TransferRig) -> None:
    pusher = physical.pusher()
    upload = pusher.begin()
    pusher.put(stream(upload, cut(pattern(QUOTA)).chunks))
    assert used(physical) == (0, QUOTA)
    other = pusher.begin()
    with refused(EXHAUSTED, "QUOTA"):
        pusher.put(stream(other, cut(pattern(ROWS, 9)).chunks))
    physical.clock.ahead = 8 * 24 * 3600.0
    while physical.database.write(physical.parts.uploads.upkeep).result(100):
        pass
    assert used(physical) == (0, 0)
    pusher.put(stream(pusher.begin(), cut(pattern(ROWS, 9)).chunks))


class Held:
    """A stream that has reserved what it declared, and waits."""

    def __init__(self, rig: TransferRig, upload: str, size: int) -> None:
        self._messages: queue.SimpleQueue[pb.PutChunksRequest | None] = queue.SimpleQueue()
        self._messages.put(header(upload, 1, size))
        pusher = rig.pusher()
        self.call = pusher.stub.PutChunks.future(iter(self._messages.get, None), metadata=pusher.metadata)
        reserved = rig.parts.quotas.reserved
        eventually(lambda: reserved.of("member") >= size)

    def finish(self, data: bytes) -> pb.PutChunksResponse:
        chunk = cut(data).chunks[0]
        self._messages.put(pieces(chunk))
        self._messages.put(pb.PutChunksRequest(finish=pb.PutChunksFinish(chunks=1, bytes=len(data))))
        self._messages.put(None)
        return self.call.result(100)

    def cancel(self) -> None:
        self.call.cancel()
        self._messages.put(None)


@pytest.mark.parametrize("rig", ["logical", "physical"])
def test_of_two_streams_that_race_for_the_last_bytes_one_passes(
    rig: str, request: pytest.FixtureRequest
) -> None:
    served: TransferRig = request.getfixturevalue(rig)
    pusher, last = served.pusher(), pattern(64 * 1024)
    pusher.push({"a": pattern(QUOTA - len(last), 7)})
    one, two = pusher.begin(), pusher.begin()
    held = Held(served, one, len(last))
    with refused(EXHAUSTED, "QUOTA") as facts:
        pusher.put(stream(two, cut(pattern(ROWS, 9)).chunks))
    assert QUOTA <= int(facts["used"]) < QUOTA + ROWS
    assert held.finish(last).stored_bytes == len(last)
    assert served.parts.quotas.reserved.of("member") == 0
    assert used(served)[1] == QUOTA


def test_a_stream_that_breaks_off_lets_go_of_what_it_reserved(physical: TransferRig) -> None:
    pusher = physical.pusher()
    held = Held(physical, pusher.begin(), QUOTA)
    held.cancel()
    eventually(lambda: physical.parts.quotas.reserved.of("member") == 0)
    pusher.push({"a": pattern(QUOTA)})
    assert used(physical) == (QUOTA, QUOTA)


def test_single_chunks_and_whole_files_reserve_as_well(physical: TransferRig) -> None:
    pusher = physical.pusher()
    pusher.push({"a": pattern(QUOTA - 5)})
    upload = pusher.begin()
    pusher.stub.PutChunk(pb.PutChunkRequest(upload=upload, data=b"12345"), metadata=pusher.metadata)
    with refused(EXHAUSTED, "QUOTA"):
        pusher.stub.PutChunk(
            pb.PutChunkRequest(upload=upload, data=pattern(ROWS, 9)), metadata=pusher.metadata
        )
    messages = [
        pb.UploadFileRequest(header=pb.UploadFileHeader(upload=upload, path="f")),
        pb.UploadFileRequest(data=pattern(ROWS, 9)),
        pb.UploadFileRequest(finish=pb.UploadFileFinish(size_bytes=ROWS)),
    ]
    with refused(EXHAUSTED, "QUOTA"):
        pusher.stub.UploadFile(iter(messages), metadata=pusher.metadata)
    assert physical.parts.quotas.reserved.of("member") == 0


def test_accounts_follow_any_order_of_uploads_aborts_and_expiries() -> None:
    """A property: whatever happens, the kept account is what counting everything anew gives."""
    chance = random.Random(5)
    with transfer_rig() as rig:
        pusher = rig.pusher()
        blocks = [pattern(3000 + index, index) for index in range(6)]
        for _ in range(40):
            data = {f"f{index}": chance.choice(blocks) for index in range(chance.randrange(1, 4))}
            files = {path: cut(block) for path, block in data.items()}
            upload = pusher.begin(f"namespaces/member/datasets/d{chance.randrange(3)}")
            pusher.put_missing(upload, files)
            pusher.manifest(upload, files)
            match chance.randrange(4):
                case 0:
                    request = pb.AbortUploadRequest(name=upload)
                    pusher.stub.AbortUpload(request, metadata=pusher.metadata)
                case 1:
                    rig.clock.ahead += 25 * 3600.0
                    rig.database.write(rig.parts.uploads.upkeep).result(100)
                case _:
                    pusher.commit(upload, files)
            assert used(rig)[1] <= sum(map(len, blocks))


@pytest.fixture(name="server")
def _server(tmp_path) -> Iterator[Server]:  # type: ignore[no-untyped-def]
    with running_server(tmp_path, namespace_quota_bytes=5000) as server:
        yield server


def test_namespaces_show_what_they_have_and_administrators_change_what_they_may(server: Server) -> None:
    sara, omid = server.member("sara"), server.member("omid")
    get = auth_pb2.GetNamespaceRequest(name="namespaces/sara")
    mine = sara.auth.GetNamespace(get).namespace
    assert (mine.size_bytes, mine.stored_bytes) == (0, 0)
    assert (mine.effective_quota_bytes, mine.effective_physical_quota_bytes) == (5000, 64 * MIB)
    assert not mine.HasField("quota_bytes")
    with refused(grpc.StatusCode.NOT_FOUND, "NAMESPACE_NOT_FOUND"):
        omid.auth.GetNamespace(get)
    change = auth_pb2.UpdateNamespaceRequest(
        namespace=auth_pb2.Namespace(name="namespaces/sara", quota_bytes=0, physical_quota_bytes=9000)
    )
    with refused(grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING"):
        sara.auth.UpdateNamespace(change)
    changed = server.admin.auth.UpdateNamespace(change).namespace
    assert (changed.effective_quota_bytes, changed.effective_physical_quota_bytes) == (0, 9000)
    change.namespace.etag = mine.etag
    with refused(grpc.StatusCode.ABORTED, "ETAG_MISMATCH"):
        server.admin.auth.UpdateNamespace(change)
    back = auth_pb2.UpdateNamespaceRequest(
        namespace=auth_pb2.Namespace(name="namespaces/sara"),
        update_mask=field_mask_pb2.FieldMask(paths=["quota_bytes"]),
    )
    again = server.admin.auth.UpdateNamespace(back).namespace
    assert (again.effective_quota_bytes, again.physical_quota_bytes) == (5000, 9000)


@pytest.mark.parametrize(
    ("quota", "paths"), [(-1, ["quota_bytes"]), (5, ["name"]), (None, [])], ids=["negative", "path", "none"]
)
def test_quotas_that_are_none_are_refused(server: Server, quota: int | None, paths: list[str]) -> None:
    request = auth_pb2.UpdateNamespaceRequest(
        namespace=auth_pb2.Namespace(name="namespaces/admin", quota_bytes=quota),
        update_mask=field_mask_pb2.FieldMask(paths=paths),
    )
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"):
        server.admin.auth.UpdateNamespace(request)


def test_members_list_their_own_namespaces_and_administrators_all(server: Server) -> None:
    sara = server.member("sara")
    server.token("vera", Role.VIEWER)
    listed = auth_pb2.ListNamespacesRequest()
    assert [each.name for each in sara.auth.ListNamespaces(listed).namespaces] == ["namespaces/sara"]
    names: list[str] = []
    page = auth_pb2.ListNamespacesRequest(page_size=2)
    while True:
        reply = server.admin.auth.ListNamespaces(page)
        names += [each.name for each in reply.namespaces]
        if not reply.next_page_token:
            break
        page.page_token = reply.next_page_token
    assert names == ["namespaces/admin", "namespaces/sara", "namespaces/vera"]


def test_verify_counts_accounts_anew(server: Server) -> None:
    pusher = Pusher(server.member("sara").transfer, ())
    pusher.push({"a": pattern(4000)}, "namespaces/sara/datasets/chat")
    server.app.database.write(lambda: accounts_sql.grow("sara", size=7, stored=-7)).result(100)
    assert verified(server)["wrong_accounts"] == 1
    get = auth_pb2.GetNamespaceRequest(name="namespaces/sara")
    found = server.admin.auth.GetNamespace(get).namespace
    assert (found.size_bytes, found.stored_bytes) == (4000, 4000)
    assert verified(server)["wrong_accounts"] == 0


def verified(server: Server) -> dict[str, object]:
    """Run `verify` to its end and return what it tells."""
    request = operations_pb2.StartUpkeepRequest(kind=operations_pb2.UPKEEP_KIND_VERIFY)
    name = operations_pb2.GetOperationRequest(
        name=server.admin.operations.StartUpkeep(request).operation.name
    )
    eventually(lambda: server.admin.operations.GetOperation(name).operation.HasField("finish_time"))
    result: dict[str, object] = json_format.MessageToDict(
        server.admin.operations.GetOperation(name).operation.result
    )
    return result
