"""Readers that stall: they are few, they hold little, and they end. Slow ones, while what they read moves."""

import logging

import grpc
import pytest

from helpers.eventually import eventually
from helpers.patterns import pattern
from helpers.transfers import MIB, Pusher, TransferRig, refused, transfer_rig
from ingot.server.core.uploads import TransferLimits
from ingot.server.domain.scrubbing import Scrubbing
from ingot.server.storage.chunks_sql import ChunksSql
from ingot.server.storage.shelf_sql import ShelfSql
from ingot.server.storage.trees_sql import TreesSql
from ingot.v1 import transfer_pb2

LARGE = pattern("large", 40 * MIB)


def _reading(pusher: Pusher, tree: str) -> "tuple[grpc._CallIterator[transfer_pb2.ReadFileResponse], int]":
    """Return a stream that has begun and of which nothing more is taken, and the bytes that came."""
    call = pusher.stub.ReadFile(transfer_pb2.ReadFileRequest(tree=tree, path="a"), metadata=pusher.metadata)
    return call, len(next(call).data)


def _is_busy(pusher: Pusher, tree: str) -> bool:
    try:
        pusher.read(tree, "a", length=1)
    except grpc.RpcError as error:
        return error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    return False


def _push(rig: TransferRig) -> tuple[Pusher, str]:
    pusher = rig.pusher()
    return pusher, pusher.push({"a": LARGE})


@pytest.mark.contract("S0-110")
def test_read_streams_of_a_principal_are_limited_and_come_free_again() -> None:
    with transfer_rig(TransferLimits(max_read_streams=2)) as rig:
        pusher, version = _push(rig)
        (first, _), (second, begun) = [_reading(pusher, version) for _ in range(2)]
        for read in (
            lambda: pusher.read(version, "a"),
            lambda: pusher.chunks(version, ("a", 0, 1)),
            lambda: pusher.files(version),
        ):
            with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "BUSY") as facts:
                read()
            assert facts["limit"] == "2"
        first.cancel()
        eventually(lambda: not _is_busy(pusher, version), what="a cancelled stream gave its place back")
        assert sum(len(each.data) for each in second) == len(LARGE) - begun
        for _ in range(5):
            assert pusher.read(version, "a", length=10) == LARGE[:10]


def test_a_reader_that_takes_nothing_is_ended(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ingot.server.rpc.patience")
    with transfer_rig(TransferLimits(read_idle_seconds=0.3, max_read_streams=1)) as rig:
        pusher, version = _push(rig)
        call, taken = _reading(pusher, version)
        eventually(lambda: "stream.stalled" in caplog.text, what="the server lost its patience")
        with refused(grpc.StatusCode.DEADLINE_EXCEEDED, "TOO_SLOW") as facts:
            for each in call:
                taken += len(each.data)
        assert "0.3 s" in facts["message"]
        assert taken < len(LARGE)  # only what the buffers on its way held: the rest was never sent
        eventually(lambda: not _is_busy(pusher, version), what="its place came free")


def test_a_stalled_reader_that_leaves_gives_its_place_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with transfer_rig(TransferLimits(read_idle_seconds=0.3, max_read_streams=1)) as rig:
        pusher, version = _push(rig)
        call, _ = _reading(pusher, version)
        eventually(lambda: "stream.stalled" in caplog.text, what="the server lost its patience")
        call.cancel()
        eventually(lambda: not _is_busy(pusher, version), what="its place came free")
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


def _move_all_packs(rig: TransferRig) -> None:
    """Copy what all packs hold into new ones and put those away, as scrubbing does with a damaged one."""
    chunks, index = ChunksSql(), ShelfSql()
    scrubbing = Scrubbing(index, rig.packs, chunks, TreesSql(), rig.clock)
    for pack in rig.database.read(scrubbing.page, 0):
        copied = scrubbing.salvage(rig.database.read(scrubbing.places, pack))
        assert rig.database.write(scrubbing.salvaged, pack, copied.packs).result()
        scrubbing.set_aside(pack)
        rig.database.write(scrubbing.note_set_aside, pack).result()


def test_a_reader_is_never_told_that_what_was_moved_is_lost() -> None:
    with transfer_rig() as rig:
        pusher, version = _push(rig)
        call, taken = _reading(pusher, version)
        _move_all_packs(rig)
        with refused(grpc.StatusCode.UNAVAILABLE, "BUSY") as facts:
            for each in call:
                taken += len(each.data)
        assert "moved" in facts["message"]
        assert taken < len(LARGE)
        assert pusher.read(version, "a", offset=taken) == LARGE[taken:]
        assert rig.database.read(ChunksSql().lost) == 0


def test_a_reader_of_what_is_deleted_and_collected_is_told_so() -> None:
    with transfer_rig() as rig:
        pusher, version = _push(rig)
        call, _ = _reading(pusher, version)
        trees = rig.database.read(lambda: [key for key, _ in ShelfSql().trees(0, 10)])
        for tree in trees:
            rig.database.write(TreesSql().drop, tree).result()
        for pack in rig.database.read(ShelfSql().packs, 0, 10):
            assert rig.database.write(ShelfSql().condemn, pack.key, 0.0).result()
            rig.packs.delete(pack.id)
        with refused(grpc.StatusCode.NOT_FOUND, "FILE_NOT_FOUND") as facts:
            list(call)
        assert "gone" in facts["message"]
