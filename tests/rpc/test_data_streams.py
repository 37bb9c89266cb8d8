"""Streams that end in a data process: the main process decides about them as about its own."""

import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from helpers.data_rigs import DataRig, beside
from helpers.eventually import eventually
from helpers.patterns import pattern
from helpers.servers import Server, running_server
from helpers.transfers import MIB, Cut, Pusher, cut, finish, header, pieces, refused, stream
from ingot.server.rpc import data_messages
from ingot.v1 import auth_pb2, system_pb2, transfer_pb2

DATA = pattern("data process", 6 * MIB)
CHAT = "namespaces/sara/datasets/chat"


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("server"), activity_days=1) as server:
        yield server


@pytest.fixture(name="data", scope="module")
def _data(server: Server) -> Iterator[DataRig]:
    with beside(server) as rig:
        yield rig


@pytest.fixture(name="pusher")
def _pusher(server: Server, data: DataRig) -> Pusher:
    return data.pusher(server.token("sara"))


class _Open:
    """A PutChunks stream that has sent some of its chunks and waits."""

    def __init__(self, pusher: Pusher, upload: str, file: Cut, sent: int) -> None:
        self._go_on = threading.Event()
        self._more = True
        self._upload, self._file, self._sent = upload, file, sent
        self.call = pusher.stub.PutChunks.future(self._messages(), metadata=pusher.metadata)

    def finish(self) -> transfer_pb2.PutChunksResponse:
        self._go_on.set()
        return self.call.result(100)

    def _messages(self) -> Iterator[transfer_pb2.PutChunksRequest]:
        chunks = self._file.chunks
        yield header(self._upload, len(chunks), self._file.size)
        yield from map(pieces, chunks[: self._sent])
        self._go_on.wait(100)
        yield pieces(*chunks[self._sent :])
        yield finish(len(chunks), self._file.size)


def _waiting(server: Server) -> list[Path]:
    return [file for file in server.folder.glob("ingest/*/*") if file.is_file()]


def test_what_comes_through_a_data_process_is_there_for_everybody(
    server: Server, data: DataRig, pusher: Pusher
) -> None:
    version = pusher.push({"a": DATA}, CHAT)
    assert pusher.read(version, "a") == DATA  # by the main process
    count = len(cut(DATA).chunks)
    assert b"".join(part for _, part in pusher.chunks(version, ("a", 0, count))) == DATA
    # Again, as what was checked before, in the wrong order, and partly.
    asked = [("a", index, 1) for index in reversed(range(count))]
    assert b"".join(part for _, part in reversed(pusher.chunks(version, *asked))) == DATA
    assert not _waiting(server)


def test_what_data_processes_ask_nobody_else_may_ask(server: Server, pusher: Pusher) -> None:
    """It would lease chunks to who never had them, and tell any address."""
    version = pusher.push({"a": DATA}, CHAT)
    assert pusher.chunks(version, ("a", 0, 1))  # a data process has asked by now
    request = transfer_pb2.ReadChunksRequest(tree=version)
    opening = data_messages.encode(data_messages.Kind.OPEN, request.SerializeToString())
    with grpc.insecure_channel(server.address) as channel:
        for method in (data_messages.PUT_CHUNKS, data_messages.READ_CHUNKS):
            path = data_messages.path_of(method)
            call: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(path)
            with pytest.raises(grpc.RpcError) as caught:
                list(call(iter([opening]), metadata=pusher.metadata, timeout=100))
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_calls_are_recorded_with_who_made_them_and_from_where(server: Server, pusher: Pusher) -> None:
    upload, file = pusher.begin(CHAT), cut(pattern("recorded", MIB))
    metadata = (
        *pusher.metadata,
        ("x-request-id", "call-17"),
        ("x-ingot-user", "sara"),
        ("x-ingot-peer", "x"),
    )
    pusher.stub.PutChunks(stream(upload, file.chunks), metadata=metadata)
    wanted = system_pb2.ListActivityRequest(target=upload, action="upload")

    def recorded() -> list[tuple[str, str, str, str]]:
        found = server.admin.system.ListActivity(wanted).activities
        return [(each.method, each.principal, each.address, each.request_id) for each in found]

    entry = ("TransferService/PutChunks", "users/sara", "local", "call-17")
    eventually(lambda: entry in recorded(), what="the call in the record")
    log = server.admin.system.ListAuditEntries(system_pb2.ListAuditEntriesRequest(target=upload)).entries
    assert [each.method for each in log if each.request_id == "call-17"] == ["TransferService/PutChunks"]


def test_streams_count_together_wherever_they_end(server: Server, data: DataRig, pusher: Pusher) -> None:
    most = server.app.transfer.limits.max_streams
    upload, file = pusher.begin(CHAT), cut(pattern("many", 2 * MIB))
    main = Pusher(server.member("sara").transfer, pusher.metadata[:0])
    waiting = [_Open(pusher if index % 2 else main, upload, file, 1) for index in range(most)]
    slots = server.app.transfer.intake._slots._running
    eventually(lambda: slots.get("users/sara") == most, what="all streams to be open")
    for other in (pusher, main):
        with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "BUSY"):
            other.put(stream(upload, file.chunks))
    for each in waiting:
        assert each.finish().stored_bytes + each.call.result().already_bytes == file.size
    eventually(lambda: not slots, what="all places to be free again")


def test_a_revoked_token_ends_streams_in_data_processes(tmp_path: Path) -> None:
    with running_server(tmp_path) as server, beside(server) as data:
        server.app.pipeline._recheck_seconds = 0.05
        secret = server.token("rudi")
        pusher, rudi = data.pusher(secret), server.member("rudi").auth
        upload, file = pusher.begin("namespaces/rudi/datasets/x"), cut(pattern("rudi", 3 * MIB))
        waiting = _Open(pusher, upload, file, 2)
        eventually(lambda: server.app.transfer.intake._slots._running.get("users/rudi"), what="the stream")
        (token,) = rudi.ListTokens(auth_pb2.ListTokensRequest(parent="users/rudi")).tokens
        rudi.RevokeToken(auth_pb2.RevokeTokenRequest(name=token.name))
        with pytest.raises(grpc.RpcError) as ended:
            waiting.call.result(100)
        assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED
        with refused(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"):
            pusher.chunks("namespaces/rudi/datasets/x", ("a", 0, 1))
        assert not _waiting(server)


def test_what_fails_in_a_data_process_leaves_nothing_and_is_told(server: Server, pusher: Pusher) -> None:
    upload, file = pusher.begin(CHAT), cut(pattern("fails", 2 * MIB))
    (digest, part), *rest = file.chunks
    for messages, reason in (
        (
            [header(upload, len(file.chunks), file.size), pieces((digest, bytes(len(part))), *rest)],
            "CHUNK_HASH_MISMATCH",
        ),
        ([header(upload, len(file.chunks), file.size), pieces(*file.chunks)], "STREAM_UNFINISHED"),
        ([pieces(*file.chunks)], "FIELD_INVALID"),
        ([header("uploads/file_999999", 1, 5)], "UPLOAD_NOT_FOUND"),
    ):
        whole = reason == "CHUNK_HASH_MISMATCH"
        end = [finish(len(file.chunks), file.size)] if whole else []
        code = grpc.StatusCode.NOT_FOUND if reason == "UPLOAD_NOT_FOUND" else grpc.StatusCode.INVALID_ARGUMENT
        with refused(code, reason):
            pusher.put([*messages, *end])
    assert pusher.missing(upload, [digest for digest, _ in file.chunks])
    eventually(lambda: not _waiting(server), what="the files to be gone")
    # What travelled is counted, as it is for a stream of the main process.
    eventually(lambda: pusher.upload(upload).received_bytes == 2 * file.size, what="the count")


def test_requests_are_as_large_as_with_the_main_process(pusher: Pusher) -> None:
    version = pusher.push({"a" * 255: DATA}, CHAT)
    most = 8192
    found = pusher.chunks(version, *[("a" * 255, 0, 0)] * (most - 1), ("a" * 255, 0, 1))
    assert [part for _, part in found] == [cut(DATA).chunks[0][1]]
    long = "/".join(["b" * 250] * 2)
    with refused(grpc.StatusCode.NOT_FOUND, "FILE_NOT_FOUND"):
        pusher.chunks(version, *[(long, 0, 1)] * most)  # four megabytes of names
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"):
        pusher.chunks(version, *[("a", 0, 0)] * (most + 1))


def test_a_data_process_that_dies_gives_back_what_its_streams_reserved(server: Server) -> None:
    packs = server.app._packs
    pusher = Pusher(server.member("sara").transfer, ())
    upload, file = pusher.begin(CHAT), cut(pattern("dies", 5 * MIB))
    before = packs._reserved
    with beside(server, name="lost") as data:
        waiting = _Open(data.pusher(server.token("sara")), upload, file, len(file.chunks) - 1)
        eventually(lambda: packs._reserved > before, what="its space to be set apart")
        data.lose()
        with pytest.raises(grpc.RpcError) as ended:
            waiting.finish()
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
        eventually(lambda: packs._reserved == before, what="its space to be given back")
        eventually(lambda: not server.app.transfer.intake._slots._running, what="its place to be free")
    assert pusher.upload(upload).stored_chunks == 0
    pusher.put(stream(upload, file.chunks))
    assert pusher.upload(upload).stored_chunks == len(file.chunks)


def test_memory_of_streams_goes_back_when_the_last_has_ended(data: DataRig, pusher: Pusher) -> None:
    upload, file = pusher.begin(CHAT), cut(pattern("trims", 3 * MIB))
    data.trimmed.clear()
    pusher.put(stream(upload, file.chunks))
    assert data.trimmed.wait(100)
    data.trimmed.clear()
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"):
        pusher.put([pieces(*file.chunks)])
    assert data.trimmed.wait(100)


def test_encrypted_packs_are_written_and_read_by_data_processes(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("11" * 32)
    keys.chmod(0o600)
    with running_server(tmp_path, encryption_key_file=keys) as server, beside(server, keys) as data:
        pusher = data.pusher(server.token("sara"))
        version = pusher.push({"a": DATA}, CHAT)
        assert b"".join(part for _, part in pusher.chunks(version, ("a", 0, len(cut(DATA).chunks)))) == DATA
        assert not any(DATA[:4096] in pack.read_bytes() for pack in server.folder.glob("packs/*/*.pack"))
