"""Who may upload: nobody without a credential, nobody into what is not theirs; and each call is on record."""

from collections.abc import Callable, Iterator

import grpc
import pytest

from helpers.servers import Server, Stubs, running_server
from helpers.transfers import cut, file_manifest, refused, stream, tree_digest
from ingot.v1 import catalog_pb2, system_pb2
from ingot.v1 import transfer_pb2 as pb

UNKNOWN = "uploads/file_999"
FILES = {"a.txt": cut(b"some text")}


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("access")) as server:
        yield server


def target(namespace: str = "sara") -> pb.NewVersion:
    return pb.NewVersion(artifact=f"namespaces/{namespace}/datasets/chat", create=catalog_pb2.Artifact())


def begin(stubs: Stubs, namespace: str = "sara") -> str:
    wanted = pb.UploadTarget(version=target(namespace))
    return stubs.transfer.BeginUpload(pb.BeginUploadRequest(target=wanted)).upload.name


def whole_file(name: str, namespace: str = "sara") -> Iterator[pb.UploadFileRequest]:
    header = pb.UploadFileHeader(path="a.txt")
    if name:
        header.upload = name
    else:
        header.version.CopyFrom(target(namespace))
    yield pb.UploadFileRequest(header=header)
    yield pb.UploadFileRequest(data=b"some text")
    yield pb.UploadFileRequest(finish=pb.UploadFileFinish())


CALLS: dict[str, Callable[[Stubs, str], object]] = {
    "FindMissing": (
        lambda stubs, name: stubs.transfer.FindMissing(pb.FindMissingRequest(upload=name, digests=b"0" * 32))
    ),
    "PutChunks": (lambda stubs, name: stubs.transfer.PutChunks(stream(name, FILES["a.txt"].chunks))),
    "PutChunk": (
        lambda stubs, name: stubs.transfer.PutChunk(pb.PutChunkRequest(upload=name, data=b"some text"))
    ),
    "UploadFile": (lambda stubs, name: stubs.transfer.UploadFile(whole_file(name))),
    "PutManifest": (
        lambda stubs, name: stubs.transfer.PutManifest(
            pb.PutManifestRequest(upload=name, files=[file_manifest("a.txt", FILES["a.txt"])])
        )
    ),
    "CommitUpload": (
        lambda stubs, name: stubs.transfer.CommitUpload(
            pb.CommitUploadRequest(upload=name, expected_digest=tree_digest(FILES), file_count=1)
        )
    ),
    "GetUpload": (lambda stubs, name: stubs.transfer.GetUpload(pb.GetUploadRequest(name=name))),
    "WatchUpload": (lambda stubs, name: list(stubs.transfer.WatchUpload(pb.WatchUploadRequest(name=name)))),
    "RenewUpload": (lambda stubs, name: stubs.transfer.RenewUpload(pb.RenewUploadRequest(name=name))),
    "RetryUpload": (lambda stubs, name: stubs.transfer.RetryUpload(pb.RetryUploadRequest(name=name))),
    "AbortUpload": (lambda stubs, name: stubs.transfer.AbortUpload(pb.AbortUploadRequest(name=name))),
}
READS = ("GetUpload", "WatchUpload")


@pytest.mark.contract("S3-46")
@pytest.mark.parametrize("call", CALLS)
def test_nothing_of_an_upload_goes_without_a_credential(server: Server, call: str) -> None:
    mine = begin(server.member("sara"))
    with refused(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING"):
        CALLS[call](server.stubs(), mine)
    with refused(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"):
        CALLS[call](server.stubs("ingot_made_up"), mine)
    if call not in READS:  # a viewer has no scope to write
        with refused(grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING"):
            CALLS[call](server.viewer(), mine)


@pytest.mark.contract("S3-47")
@pytest.mark.parametrize("call", CALLS)
def test_what_is_not_yours_looks_like_what_is_not_there(server: Server, call: str) -> None:
    mine, other = begin(server.member("sara")), server.member("omid")
    with refused(grpc.StatusCode.NOT_FOUND, "UPLOAD_NOT_FOUND") as foreign:
        CALLS[call](other, mine)
    with refused(grpc.StatusCode.NOT_FOUND, "UPLOAD_NOT_FOUND") as absent:
        CALLS[call](other, UNKNOWN)
    assert {key: text.replace(mine, UNKNOWN) for key, text in foreign.items()} == absent
    assert server.member("sara").transfer.GetUpload(pb.GetUploadRequest(name=mine)).upload.received_bytes == 0


@pytest.mark.contract("S3-47")
def test_nobody_begins_an_upload_in_the_namespace_of_another(server: Server) -> None:
    server.member("sara")
    with refused(grpc.StatusCode.NOT_FOUND, "NAMESPACE_NOT_FOUND"):
        begin(server.member("omid"), "sara")
    with refused(grpc.StatusCode.NOT_FOUND, "NAMESPACE_NOT_FOUND"):
        server.member("omid").transfer.UploadFile(whole_file("", "sara"))


@pytest.mark.contract("S3-48")
def test_each_call_of_an_upload_is_on_record_with_who_and_from_where(server: Server) -> None:
    stubs = server.member("nima")
    name = begin(stubs, "nima")
    for call in ("FindMissing", "PutChunks", "PutChunk", "PutManifest", "RenewUpload", "CommitUpload"):
        CALLS[call](stubs, name)
    stubs.transfer.UploadFile(whole_file("", "nima"))
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "UPLOAD_CLOSED"):
        CALLS["AbortUpload"](stubs, name)
    found = list(reversed(stubs.system.ListActivity(system_pb2.ListActivityRequest()).activities))
    assert [(each.method.partition("/")[2], each.action, each.code) for each in found] == [
        ("BeginUpload", "upload", "OK"),
        ("FindMissing", "upload", "OK"),
        ("PutChunks", "upload", "OK"),
        ("PutChunk", "upload", "OK"),
        ("PutManifest", "upload", "OK"),
        ("RenewUpload", "renew", "OK"),
        ("CommitUpload", "upload", "OK"),
        ("UploadFile", "upload", "OK"),
        ("AbortUpload", "abort", "FAILED_PRECONDITION"),
    ]
    assert {each.principal for each in found} == {"users/nima"}
    assert {each.target for each in found if each.method != "TransferService/UploadFile"} == {name}
    assert all(each.address for each in found)
