"""PutChunks, told rightly and wrongly: a stream counts in full or not at all, and every lie is named."""

import threading
from collections.abc import Callable, Iterator

import grpc
import pytest

from helpers.eventually import eventually
from helpers.patterns import pattern
from helpers.transfers import (
    MIB,
    Pusher,
    TransferRig,
    finish,
    header,
    pieces,
    refused,
    stream,
    transfer_rig,
)
from ingot.content import digests
from ingot.server.core import failpoints
from ingot.server.core.uploads import TransferLimits
from ingot.v1 import transfer_pb2

INVALID = grpc.StatusCode.INVALID_ARGUMENT
Request = transfer_pb2.PutChunksRequest
STORED = transfer_pb2.CHUNK_OUTCOME_STORED
ALREADY = transfer_pb2.CHUNK_OUTCOME_ALREADY


def chunk(seed: str, size: int = 1000) -> tuple[bytes, bytes]:
    data = pattern(seed, size)
    return digests.chunk_digest(data), data


ONE, TWO = chunk("one"), chunk("two", 2000)


@pytest.fixture(name="rig", scope="module")
def _rig() -> Iterator[TransferRig]:
    with transfer_rig() as rig:
        yield rig


@pytest.fixture(name="pusher")
def _pusher(rig: TransferRig) -> Pusher:
    return rig.pusher()


def _is_clean(rig: TransferRig) -> bool:
    """Return whether nothing is on its way to disk."""
    return not list(rig.folder.glob("ingest/*/*.open"))


def test_outcomes_tell_new_from_known_in_the_order_sent(pusher: Pusher) -> None:
    upload = pusher.begin()
    first, second = chunk("outcome 1"), chunk("outcome 2", 70)
    reply = pusher.put(stream(upload, [first, second, first]))
    assert list(reply.outcomes) == [STORED, STORED, ALREADY]
    assert (reply.stored_bytes, reply.already_bytes) == (1070, 1000)
    again = pusher.put(stream(upload, [second]))
    assert list(again.outcomes) == [ALREADY]
    assert (again.stored_bytes, again.already_bytes) == (0, 70)
    state = pusher.upload(upload)
    assert (state.stored_chunks, state.stored_bytes, state.received_bytes) == (2, 1070, 2140)


def test_a_chunk_of_four_mebibytes_goes_over_five_messages(pusher: Pusher) -> None:
    upload = pusher.begin()
    digest, data = chunk("large", 4 * MIB)
    parts = [data[start : start + 900_000] for start in range(0, len(data), 900_000)]

    def messages() -> Iterator[Request]:
        yield header(upload, 1, len(data))
        for index, part in enumerate(parts):
            more = index < len(parts) - 1
            first = {"digests": digest, "lengths": [len(data)]} if index == 0 else {}
            yield Request(pieces=transfer_pb2.Pieces(data=part, more=more, **first))  # type: ignore[arg-type]
        yield finish(1, len(data))

    assert list(pusher.put(messages()).outcomes) == [STORED]
    assert pusher.missing(upload, [digest]) == []


def test_a_stream_above_one_pack_is_taken(pusher: Pusher, rig: TransferRig) -> None:
    upload = pusher.begin()
    chunks = [chunk(f"pack {index}", MIB) for index in range(70)]
    assert list(pusher.put(stream(upload, chunks)).outcomes) == [STORED] * 70
    assert pusher.missing(upload, [digest for digest, _ in chunks]) == []
    assert sum(1 for _ in rig.packs.packs()) >= 2


def test_an_empty_stream_is_good(pusher: Pusher) -> None:
    upload = pusher.begin()
    assert list(pusher.put([header(upload, 0, 0), finish(0, 0)]).outcomes) == []


Lie = Callable[[str], list[Request]]
LIES: dict[str, tuple[str, Lie]] = {
    "nothing": ("STREAM_UNFINISHED", lambda upload: []),
    "no finish": ("STREAM_UNFINISHED", lambda upload: [header(upload, 1, 1000), pieces(ONE)]),
    "header only": ("STREAM_UNFINISHED", lambda upload: [header(upload, 1, 1000)]),
    "pieces before the header": ("FIELD_INVALID", lambda upload: [pieces(ONE), finish(1, 1000)]),
    "finish before the header": ("FIELD_INVALID", lambda upload: [finish(0, 0)]),
    "two headers": ("FIELD_INVALID", lambda upload: [header(upload, 1, 1000), header(upload, 1, 1000)]),
    "data after the finish": (
        "FIELD_INVALID",
        lambda upload: [header(upload, 1, 1000), pieces(ONE), finish(1, 1000), pieces(TWO)],
    ),
    "an empty message": ("FIELD_INVALID", lambda upload: [header(upload, 1, 1000), Request()]),
    "wrong count of chunks": (
        "BAD_LENGTH",
        lambda upload: [header(upload, 1, 1000), pieces(ONE), finish(2, 1000)],
    ),
    "wrong count of bytes": (
        "BAD_LENGTH",
        lambda upload: [header(upload, 1, 1000), pieces(ONE), finish(1, 999)],
    ),
    "less than declared": (
        "BAD_LENGTH",
        lambda upload: [header(upload, 2, 3000), pieces(ONE), finish(1, 1000)],
    ),
    "more than declared": (
        "BAD_LENGTH",
        lambda upload: [header(upload, 1, 1000), pieces(ONE, TWO), finish(2, 3000)],
    ),
    "half a chunk": (
        "BAD_LENGTH",
        lambda upload: [
            header(upload, 1, 1000),
            Request(pieces=transfer_pb2.Pieces(digests=ONE[0], lengths=[1000], data=ONE[1][:500], more=True)),
            finish(1, 1000),
        ],
    ),
    "a length that lies": (
        "BAD_LENGTH",
        lambda upload: [
            header(upload, 1, 1000),
            Request(pieces=transfer_pb2.Pieces(digests=ONE[0], lengths=[2**32 - 1], data=ONE[1])),
            finish(1, 1000),
        ],
    ),
    "an empty chunk": (
        "BAD_LENGTH",
        lambda upload: [
            header(upload, 1, 1),
            Request(pieces=transfer_pb2.Pieces(digests=ONE[0], lengths=[0])),
            finish(1, 0),
        ],
    ),
    "negative counts": ("BAD_LENGTH", lambda upload: [header(upload, -1, -1), finish(0, 0)]),
    "the digest of other data": (
        "CHUNK_HASH_MISMATCH",
        lambda upload: [header(upload, 1, 1000), pieces((TWO[0], ONE[1])), finish(1, 1000)],
    ),
    "a good chunk and a wrong one": (
        "CHUNK_HASH_MISMATCH",
        lambda upload: [
            header(upload, 2, 3000),
            pieces(ONE),
            pieces((bytes(32), TWO[1])),
            finish(2, 3000),
        ],
    ),
}


@pytest.mark.contract("S0-99", "S0-100", "S0-108", "S3-54")
@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_named_and_leaves_nothing(lie: str, rig: TransferRig) -> None:
    pusher = rig.pusher()
    upload = pusher.begin()
    reason, messages = LIES[lie]
    packs = {pack.id for pack in rig.packs.packs()}
    with refused(INVALID, reason) as facts:
        pusher.put(messages(upload))
    assert facts["next_step"]
    assert pusher.missing(upload, [ONE[0], TWO[0]]) == [ONE[0], TWO[0]]
    assert {pack.id for pack in rig.packs.packs()} == packs
    assert _is_clean(rig)


def test_a_wrong_digest_for_a_chunk_that_is_stored_is_noticed_too(pusher: Pusher) -> None:
    upload = pusher.begin()
    known, other = chunk("known"), chunk("other")
    pusher.put(stream(upload, [known]))
    with refused(INVALID, "CHUNK_HASH_MISMATCH"):
        pusher.put([header(upload, 1, 1000), pieces((known[0], other[1])), finish(1, 1000)])


def test_bytes_of_a_failed_stream_are_counted_as_received(pusher: Pusher) -> None:
    upload = pusher.begin()
    with refused(INVALID, "STREAM_UNFINISHED"):
        pusher.put([header(upload, 1, 1000), pieces(ONE)])
    state = pusher.upload(upload)
    assert (state.received_bytes, state.stored_bytes) == (1000, 0)


@pytest.mark.contract("S3-53")
def test_a_client_that_vanishes_leaves_nothing_but_a_count(rig: TransferRig) -> None:
    pusher = rig.pusher()
    upload = pusher.begin()
    chunks = [chunk(f"vanished {index}", MIB) for index in range(6)]
    gone = threading.Event()

    def messages() -> Iterator[Request]:
        yield header(upload, 9, 9 * MIB)
        yield from (pieces(each) for each in chunks)
        gone.wait(100)

    call = pusher.stub.PutChunks.future(messages(), metadata=pusher.metadata)
    eventually(lambda: not _is_clean(rig), what="the stream reached the disk")
    call.cancel()
    gone.set()
    eventually(lambda: _is_clean(rig), what="the stream was cleaned up")
    assert pusher.missing(upload, [chunks[0][0]]) == [chunks[0][0]]
    eventually(lambda: pusher.upload(upload).received_bytes >= 4 * MIB, what="its bytes were counted")
    assert list(pusher.put(stream(upload, chunks)).outcomes) == [STORED] * 6


def test_an_unknown_or_foreign_upload_does_not_exist(rig: TransferRig) -> None:
    with refused(grpc.StatusCode.NOT_FOUND, "UPLOAD_NOT_FOUND"):
        rig.pusher().put([header("uploads/file_999", 0, 0), finish(0, 0)])
    upload = rig.pusher("admin").begin("namespaces/admin/datasets/own")
    with refused(grpc.StatusCode.NOT_FOUND, "UPLOAD_NOT_FOUND"):
        rig.pusher().put([header(upload, 0, 0), finish(0, 0)])
    with refused(INVALID, "NAME_INVALID"):
        rig.pusher().put([header("nonsense", 0, 0), finish(0, 0)])


def test_a_closed_upload_takes_no_chunks(pusher: Pusher) -> None:
    upload = pusher.begin()
    pusher.stub.AbortUpload(transfer_pb2.AbortUploadRequest(name=upload), metadata=pusher.metadata)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "UPLOAD_CLOSED"):
        pusher.put(stream(upload, [ONE]))


def test_an_upload_that_closes_under_a_stream_gets_nothing(rig: TransferRig) -> None:
    pusher = rig.pusher()
    upload = pusher.begin()
    packs = {pack.id for pack in rig.packs.packs()}
    data = [chunk(f"late {index}", MIB) for index in range(5)]

    def messages() -> Iterator[Request]:
        yield header(upload, 5, 5 * MIB)
        yield from (pieces(each) for each in data)
        eventually(lambda: not _is_clean(rig), what="the stream reached the disk")
        pusher.stub.AbortUpload(transfer_pb2.AbortUploadRequest(name=upload), metadata=pusher.metadata)
        yield finish(5, 5 * MIB)

    with refused(grpc.StatusCode.FAILED_PRECONDITION, "UPLOAD_CLOSED"):
        pusher.put(messages())
    assert {pack.id for pack in rig.packs.packs()} == packs


# --- limits ---------------------------------------------------------------------------------------------


def test_a_stream_above_the_limit_is_refused_at_its_header(pusher: Pusher) -> None:
    upload = pusher.begin()
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE"):
        pusher.put([header(upload, 1000, 256 * MIB + 1)])


class _Stalled:
    """Messages that stop after the header until the test lets them go on."""

    def __init__(self, upload: str) -> None:
        self.upload = upload
        self.go = threading.Event()

    def __iter__(self) -> Iterator[Request]:
        yield header(self.upload, 1, 1000)
        self.go.wait(100)
        yield pieces(ONE)
        yield finish(1, 1000)


@pytest.mark.contract("S0-110")
def test_streams_of_a_principal_are_limited_and_come_free_again() -> None:
    with transfer_rig(TransferLimits(max_streams=2)) as rig:
        pusher = rig.pusher()
        upload = pusher.begin()
        stalled = [_Stalled(upload) for _ in range(2)]
        calls = [pusher.stub.PutChunks.future(iter(each), metadata=pusher.metadata) for each in stalled]

        def busy() -> bool:
            try:
                pusher.put([header(upload, 0, 0), finish(0, 0)])
            except grpc.RpcError as error:
                return error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            return False

        eventually(busy, what="the limit was reached")
        with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "BUSY"):
            pusher.put([header(upload, 0, 0), finish(0, 0)])
        for each in stalled:
            each.go.set()
        for call in calls:
            call.result(timeout=100)
        pusher.put([header(upload, 0, 0), finish(0, 0)])


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (TransferLimits(idle_seconds=0.2), "nothing came for"),
        (TransferLimits(grace_seconds=0.2, min_bytes_per_second=10**9), "at least"),
        (TransferLimits(max_stream_seconds=0.2), "lasted longer"),
    ],
)
def test_a_slow_sender_is_ended(limits: TransferLimits, why: str) -> None:
    with transfer_rig(limits) as rig:
        pusher = rig.pusher()
        upload = pusher.begin()
        stalled = _Stalled(upload)
        with refused(grpc.StatusCode.DEADLINE_EXCEEDED, "TOO_SLOW") as facts:
            pusher.put(stalled)
        stalled.go.set()
        assert why in facts["message"]
        assert pusher.missing(upload, [ONE[0]]) == [ONE[0]]
        assert _is_clean(rig)


@pytest.mark.parametrize(
    ("failpoint", "code", "reason"),
    [
        ("pack.appended=ENOSPC", grpc.StatusCode.RESOURCE_EXHAUSTED, "DISK_LOW"),
        ("pack.reserved=ENOSPC", grpc.StatusCode.RESOURCE_EXHAUSTED, "DISK_LOW"),
        ("pack.synced=EIO", grpc.StatusCode.UNAVAILABLE, "INTERNAL"),
        ("pack.renamed=ENOSPC", grpc.StatusCode.RESOURCE_EXHAUSTED, "DISK_LOW"),
    ],
)
def test_a_disk_that_fails_fails_the_stream_and_nothing_else(
    failpoint: str, code: grpc.StatusCode, reason: str
) -> None:
    with transfer_rig() as rig:
        pusher = rig.pusher()
        upload = pusher.begin()
        with failpoints.armed(failpoint), refused(code, reason):
            pusher.put(stream(upload, [ONE, TWO]))
        assert pusher.missing(upload, [ONE[0]]) == [ONE[0]]
        assert not list(rig.packs.packs())
        assert _is_clean(rig)
        assert list(pusher.put(stream(upload, [ONE, TWO])).outcomes) == [STORED, STORED]
