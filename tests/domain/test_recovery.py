"""What a start finds after whatever happened before, on real files and rows."""

import pathlib
import shutil

import grpc
import pytest

from helpers.packs import keyring_of, put
from helpers.patterns import pattern
from helpers.transfers import Pusher, cut, refused, stream, transfer_rig
from ingot.content import digests
from ingot.server.core.uploads import UploadState
from ingot.server.storage import tables
from ingot.server.storage.packs_disk import DiskPacks
from ingot.v1 import transfer_pb2

DATA = pattern("recovered", 900_000)
CHUNKS = cut(DATA).chunks
DIGESTS = [digest for digest, _ in CHUNKS]


def _upload(folder: pathlib.Path) -> str:
    """Leave an open upload with all chunks and its manifest behind; return its name."""
    with transfer_rig(folder=folder) as rig:
        pusher = rig.pusher()
        upload = pusher.begin()
        pusher.put(stream(upload, CHUNKS))
        pusher.manifest(upload, {"a": cut(DATA)})
        return upload


def _orphan(folder: pathlib.Path) -> pathlib.Path:
    """Leave a sealed pack behind that the index never heard of; return its file."""
    ingest = DiskPacks(folder).open_ingest(len(DATA), len(CHUNKS))
    for digest, data in CHUNKS:
        ingest.append(digest, [data])
    (sealed,) = ingest.seal()
    return next(folder.glob(f"packs/*/{sealed.id}.pack"))


def _missing(pusher: Pusher) -> list[bytes]:
    return pusher.missing(pusher.begin(), DIGESTS)


def test_a_clean_start_has_nothing_to_do(tmp_path: pathlib.Path) -> None:
    _upload(tmp_path)
    with transfer_rig(folder=tmp_path) as rig:
        found = rig.recovered
        assert found.is_healthy
        assert (found.leftovers, found.found_packs, found.returned_packs, found.reopened_uploads) == (0,) * 4
        assert _missing(rig.pusher()) == []


def test_a_sealed_pack_that_was_never_indexed_is_known_but_nobodys(tmp_path: pathlib.Path) -> None:
    tmp_path.mkdir(exist_ok=True)
    _orphan(tmp_path)
    with transfer_rig(folder=tmp_path) as rig:
        assert rig.recovered.found_packs == 1
        pusher = rig.pusher()
        assert _missing(pusher) == DIGESTS  # nobody was told that they had arrived
        size = sum(pack.size for pack in rig.packs.packs())
        reply = pusher.put(stream(pusher.begin(), CHUNKS))
        assert set(reply.outcomes) == {transfer_pb2.CHUNK_OUTCOME_STORED}
        assert sum(pack.size for pack in rig.packs.packs()) == size  # nothing was written twice
    with transfer_rig(folder=tmp_path) as rig:
        assert rig.recovered.found_packs == 0


def test_a_damaged_pack_that_nobody_knows_is_set_aside(tmp_path: pathlib.Path) -> None:
    orphan = _orphan(tmp_path)
    orphan.chmod(0o644)
    orphan.write_bytes(orphan.read_bytes()[:-1])
    with transfer_rig(folder=tmp_path) as rig:
        assert (rig.recovered.found_packs, rig.recovered.damaged_packs) == (0, 1)
        assert rig.recovered.is_healthy  # nothing acknowledged was lost
    assert not orphan.exists()
    assert (tmp_path / "quarantine" / orphan.name).exists()


def test_a_pack_whose_key_is_not_there_is_left_alone(tmp_path: pathlib.Path) -> None:
    (tmp_path / "other").mkdir()
    (sealed,) = put(DiskPacks(tmp_path / "other", keyring_of(1)), [b"sealed elsewhere"])
    source = next((tmp_path / "other").glob(f"packs/*/{sealed.id}.pack"))
    _upload(tmp_path)
    target = source.rename(tmp_path / "packs" / sealed.id[:2] / source.name)
    with transfer_rig(folder=tmp_path) as rig:
        assert (rig.recovered.found_packs, rig.recovered.damaged_packs) == (0, 0)
        assert rig.recovered.is_healthy
    assert target.exists()


@pytest.mark.contract("S3-59", "S3-60")
def test_a_missing_pack_is_said_loudly_and_the_next_push_heals_it(tmp_path: pathlib.Path) -> None:
    upload = _upload(tmp_path)
    for pack in tmp_path.glob("packs/*/*.pack"):
        pack.unlink()
    with transfer_rig(folder=tmp_path) as rig:
        found = rig.recovered
        assert (found.missing_packs, found.lost_chunks) == (1, len(CHUNKS))
        assert not found.is_healthy
        pusher = rig.pusher()
        # To an open upload a lost chunk is one that must be sent (again).
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "MISSING_CHUNKS"):
            pusher.read(upload, "a")
        assert pusher.missing(upload, DIGESTS) == DIGESTS
        pusher.put(stream(upload, CHUNKS))
        assert pusher.read(upload, "a") == DATA


def test_a_pack_that_comes_back_counts_again(tmp_path: pathlib.Path) -> None:
    upload = _upload(tmp_path)
    pack = next(tmp_path.glob("packs/*/*.pack"))
    shutil.move(pack, tmp_path / "kept")
    with transfer_rig(folder=tmp_path) as rig:
        assert rig.recovered.lost_chunks == len(CHUNKS)
    shutil.move(tmp_path / "kept", pack)
    with transfer_rig(folder=tmp_path) as rig:
        assert (rig.recovered.returned_packs, rig.recovered.lost_chunks) == (1, 0)
        assert rig.pusher().read(upload, "a") == DATA


def test_a_damaged_pack_that_is_put_back_makes_nothing_whole(tmp_path: pathlib.Path) -> None:
    """A scrub had set it aside; its damaged chunk is not one that a push need not send."""
    upload = _upload(tmp_path)
    pack = next(tmp_path.glob("packs/*/*.pack"))
    content = bytearray(pack.read_bytes())
    content[content.index(CHUNKS[0][1]) + 5] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(content)
    with transfer_rig(folder=tmp_path) as rig, refused(grpc.StatusCode.DATA_LOSS, "DATA_LOSS"):
        rig.pusher().read(upload, "a")
    shutil.move(pack, tmp_path / "kept")
    with transfer_rig(folder=tmp_path) as rig:
        assert rig.recovered.lost_chunks == len(CHUNKS)
    shutil.move(tmp_path / "kept", pack)
    with transfer_rig(folder=tmp_path) as rig:
        assert (rig.recovered.returned_packs, rig.recovered.lost_chunks) == (1, 1)
        pusher = rig.pusher()
        assert pusher.missing(upload, DIGESTS) == DIGESTS[:1]
        pusher.put(stream(upload, CHUNKS[:1]))
        assert pusher.read(upload, "a") == DATA


def test_streams_of_an_earlier_run_are_removed(tmp_path: pathlib.Path) -> None:
    ingest = DiskPacks(tmp_path).open_ingest(10, 1)
    ingest.append(digests.chunk_digest(b"x"), [b"x"])
    assert list(tmp_path.glob("ingest/*/*.open"))
    with transfer_rig(folder=tmp_path) as rig:
        assert rig.recovered.leftovers == 1
        assert not list(tmp_path.glob("ingest/*/*.open"))


def test_a_half_made_commit_is_open_again(tmp_path: pathlib.Path) -> None:
    upload = _upload(tmp_path)
    with transfer_rig(folder=tmp_path) as rig:
        sealed = tables.Upload.update(state=UploadState.SEALING.value)
        rig.database.write(sealed.execute).result()
    with transfer_rig(folder=tmp_path) as rig:
        assert rig.recovered.reopened_uploads == 1
        assert rig.pusher().upload(upload).state == transfer_pb2.UPLOAD_STATE_OPEN
