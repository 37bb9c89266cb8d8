"""A digest is no key: who knows one gets no bytes that they could not read anyway.

FindMissing leases what is present to the upload that asks, and an open upload can be read. So it must not
call present what belongs to others and is in the trash, or waits for its validation or approval.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from blake3 import blake3

from helpers.patterns import pattern
from helpers.servers import Server, Stubs, running_server
from helpers.transfers import refused
from ingot.v1 import catalog_pb2
from ingot.v1 import transfer_pb2 as pb

PRIVATE, INTERNAL, PUBLIC = (
    catalog_pb2.VISIBILITY_PRIVATE,
    catalog_pb2.VISIBILITY_INTERNAL,
    catalog_pb2.VISIBILITY_PUBLIC,
)


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("presence")) as server:
        yield server


def push(stubs: Stubs, artifact: str, data: bytes, visibility: catalog_pb2.Visibility.ValueType) -> str:
    """Push a file; return the name of its version."""
    new = pb.NewVersion(artifact=artifact, create=catalog_pb2.Artifact(visibility=visibility))

    def messages() -> Iterator[pb.UploadFileRequest]:
        yield pb.UploadFileRequest(header=pb.UploadFileHeader(path="a.bin", version=new))
        yield pb.UploadFileRequest(data=data)
        yield pb.UploadFileRequest(finish=pb.UploadFileFinish())

    return stubs.transfer.UploadFile(messages()).version.name


def is_present(server: Server, data: bytes) -> bool:
    """Return whether a stranger who only knows the digest is told that the bytes are here."""
    stubs = server.member("omid")
    target = pb.UploadTarget(
        version=pb.NewVersion(artifact="namespaces/omid/datasets/own", create=catalog_pb2.Artifact())
    )
    upload = stubs.transfer.BeginUpload(pb.BeginUploadRequest(target=target)).upload.name
    digest = blake3(data).digest()
    found = stubs.transfer.FindMissing(pb.FindMissingRequest(upload=upload, digests=digest))
    stubs.transfer.AbortUpload(pb.AbortUploadRequest(name=upload))
    return found.missing == b"\x00"


def _private(stubs: Stubs, name: str, data: bytes) -> None:
    push(stubs, name, data, PRIVATE)


def _deleted_version(stubs: Stubs, name: str, data: bytes) -> None:
    version = push(stubs, name, data, INTERNAL)
    push(stubs, name, b"newer", INTERNAL)
    stubs.catalog.DeleteVersion(catalog_pb2.DeleteVersionRequest(name=version))


def _deleted_artifact(stubs: Stubs, name: str, data: bytes) -> None:
    push(stubs, name, data, INTERNAL)
    stubs.catalog.DeleteArtifact(catalog_pb2.DeleteArtifactRequest(name=name, force=True))


def _name_used_again(stubs: Stubs, name: str, data: bytes) -> None:
    push(stubs, name, data, PRIVATE)
    stubs.catalog.DeleteArtifact(catalog_pb2.DeleteArtifactRequest(name=name, force=True))
    push(stubs, name, b"other", INTERNAL)


def _open_upload(stubs: Stubs, name: str, data: bytes) -> None:
    push(stubs, name, b"other", INTERNAL)
    target = pb.UploadTarget(version=pb.NewVersion(artifact=name))
    upload = stubs.transfer.BeginUpload(pb.BeginUploadRequest(target=target)).upload.name
    stubs.transfer.PutChunk(pb.PutChunkRequest(upload=upload, data=data))


def _not_approved(stubs: Stubs, name: str, data: bytes) -> None:
    push(stubs, name, data, PUBLIC)


@pytest.mark.contract("S1-51", "S3-47")
@pytest.mark.parametrize(
    "hide", [_private, _deleted_version, _deleted_artifact, _name_used_again, _open_upload, _not_approved]
)
def test_what_others_hide_is_missing(server: Server, hide: Callable[[Stubs, str, bytes], None]) -> None:
    name = hide.__name__.strip("_")
    data = pattern(name, 5000)
    hide(server.member("sara"), f"namespaces/sara/datasets/{name}", data)
    assert not is_present(server, data)


def test_a_digest_that_is_asked_again_in_one_question_is_answered_the_same(server: Server) -> None:
    omid, sara = server.member("omid"), server.member("sara")
    shown, hidden = pattern("repeated", 5000), pattern("repeated and hidden", 5000)
    push(sara, "namespaces/sara/datasets/repeated", shown, INTERNAL)
    push(sara, "namespaces/sara/datasets/unseen", hidden, PRIVATE)
    target = pb.UploadTarget(
        version=pb.NewVersion(artifact="namespaces/omid/datasets/asks", create=catalog_pb2.Artifact())
    )
    upload = omid.transfer.BeginUpload(pb.BeginUploadRequest(target=target)).upload.name
    here, not_here, nowhere = (blake3(each).digest() for each in (shown, hidden, b"nobody has it"))

    def missing(*wanted: bytes) -> str:
        """Return a letter for each: 1 is missing."""
        request = pb.FindMissingRequest(upload=upload, digests=b"".join(wanted))
        bits = int.from_bytes(omid.transfer.FindMissing(request).missing, "little")
        return f"{bits:0{len(wanted)}b}"[::-1]

    assert missing(not_here, here, nowhere, here, not_here, here) == "101010"
    assert missing(*[here] * 9) == "0" * 9
    assert missing(*[not_here] * 9, here) == "1" * 9 + "0"


def test_what_waits_for_its_validation_is_missing(tmp_path: Path) -> None:
    with running_server(tmp_path, validation="required", operation_queues=("validate=0",)) as server:
        data = pattern("staged", 5000)
        push(server.member("sara"), "namespaces/sara/datasets/staged", data, INTERNAL)
        assert not is_present(server, data)


def test_what_one_may_read_need_not_be_sent_again(server: Server) -> None:
    data = pattern("shown", 5000)
    push(server.member("sara"), "namespaces/sara/datasets/shown", data, INTERNAL)
    assert is_present(server, data)


def test_an_alias_of_what_is_hidden_is_like_one_that_is_not_there(server: Server) -> None:
    name = "namespaces/sara/datasets/aliased"
    sara, omid = server.member("sara"), server.member("omid")
    version = push(sara, name, b"not approved", PUBLIC)
    sara.catalog.SetAlias(catalog_pb2.SetAliasRequest(name=f"{name}/aliases/beta", version=version))
    told = []
    for alias in ("beta", "none"):
        with refused(grpc.StatusCode.NOT_FOUND, "ALIAS_NOT_FOUND") as facts:
            omid.catalog.GetVersion(catalog_pb2.GetVersionRequest(name=f"{name}/aliases/{alias}"))
        told.append({key: text.replace(alias, "…") for key, text in facts.items()})
    assert told[0] == told[1]
