"""Pull: what travels, what is reused, how it goes on, and that it writes nowhere else."""

import ctypes
import os
import pathlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from helpers import pipelines
from helpers.patterns import pattern
from helpers.sdk import client_over, member_client, tree_of, write_tree
from ingot.client import (
    Client,
    Conflict,
    DataLoss,
    IngotError,
    Integrity,
    Invalid,
    LimitReached,
    NotFound,
    OutOfRange,
    TransferProgress,
)
from ingot.client._journal import Cut
from ingot.client._progress import Stage
from ingot.client._pulled import Pulled
from ingot.content import digests
from ingot.v1 import transfer_pb2 as pb

MIB = 1024 * 1024
FILES = {
    "config.json": b"{}",
    "weights/a.bin": pattern("a", 5 * MIB),
    "weights/b.bin": pattern("b", 3 * MIB),
    "empty": b"",
    "متن/سلام.txt": "سلام".encode(),
}


def pushed(client: Client, folder: pathlib.Path, files: dict[str, bytes] = FILES) -> int:
    client.push("models/tiny", write_tree(folder, files))
    return sum(map(len, files.values()))


@pytest.mark.contract("S1-18")
def test_everything_arrives_and_a_second_pull_moves_nothing(tmp_path: pathlib.Path) -> None:
    with member_client() as (client, _):
        size = pushed(client, tmp_path / "in")
        first = client.pull("models/tiny", tmp_path / "out")
        assert tree_of(tmp_path / "out") == FILES
        assert (first.received_bytes, first.unchanged_files, first.size_bytes) == (size, 0, size)
        before = {path: os.stat(tmp_path / "out" / path).st_mtime_ns for path in FILES}
        again = client.pull("models/tiny", tmp_path / "out")
        assert (again.received_bytes, again.unchanged_files) == (0, len(FILES))
        assert {path: os.stat(tmp_path / "out" / path).st_mtime_ns for path in FILES} == before


def test_many_empty_files_are_synced_together(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hasattr(ctypes.CDLL(None), "syncfs"):
        pytest.skip("this system has no sync of a whole file system")
    files = {f"{number:03}": b"" for number in range(200)}
    synced: list[str] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    with member_client() as (client, _):
        pushed(client, tmp_path / "in", files)
        monkeypatch.setattr(os, "fsync", noted)
        client.pull("models/tiny", tmp_path / "out")
    assert tree_of(tmp_path / "out") == files
    assert sum(str(tmp_path / "out") in path for path in synced) < len(files) // 10


def test_an_edited_file_fetches_only_what_differs(tmp_path: pathlib.Path) -> None:
    with member_client() as (client, _):
        size = pushed(client, tmp_path / "in")
        client.pull("models/tiny", tmp_path / "out")
        edited = tmp_path / "out" / "weights" / "a.bin"
        edited.write_bytes(b"in front" + edited.read_bytes())
        (tmp_path / "out" / "mine.txt").write_text("stays")
        planned = client.pull("models/tiny", tmp_path / "out", dry_run=True, force=True)
        done = client.pull("models/tiny", tmp_path / "out", force=True)
        assert 0 < done.received_bytes < MIB
        assert planned.received_bytes == done.received_bytes
        assert done.received_bytes + done.reused_bytes == size
    assert tree_of(tmp_path / "out") == {**FILES, "mine.txt": b"stays"}


def test_what_is_not_from_a_pull_is_never_overwritten_silently(tmp_path: pathlib.Path) -> None:
    out = write_tree(tmp_path / "out", {f"{n}.txt": b"mine %d" % n for n in range(7)} | {"same.txt": b"same"})
    mine = tree_of(out)
    with member_client() as (client, _):
        pushed(client, tmp_path / "in", {f"{n}.txt": b"theirs" for n in range(9)} | {"same.txt": b"same"})
        for dry_run in (True, False):
            with pytest.raises(Conflict, match=r"7 files .*0\.txt, 1\.txt.* and 2 more") as caught:
                client.pull("models/tiny", out, dry_run=dry_run)
            assert (caught.value.reason, caught.value.facts["count"]) == ("LOCAL_CHANGES", "7")
            assert "--force" in caught.value.next_step
            assert tree_of(out) == mine
        assert client.pull("models/tiny", out, force=True).unchanged_files == 1
        assert tree_of(out) == tree_of(tmp_path / "in")


def test_what_a_pull_brought_is_replaced_until_it_is_edited(tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"
    with member_client() as (client, _):
        for text in (b"one", b"two", b"three"):
            pushed(client, tmp_path / "in", {"a.txt": text, "b.txt": b"b"})
        client.pull("models/tiny@1", out)
        os.utime(out / "a.txt")
        client.pull("models/tiny@2", out)
        assert (out / "a.txt").read_bytes() == b"two"
        (out / "a.txt").write_bytes(b"TWO")
        with pytest.raises(Conflict, match=r"1 file .*a\.txt"):
            client.pull("models/tiny@3", out)
        assert (out / "a.txt").read_bytes() == b"TWO"
        client.pull("models/tiny@3", out, exclude=["a.txt"])
        (out / "a.txt").write_bytes(b"two")
        client.pull("models/tiny@3", out)
        assert (out / "a.txt").read_bytes() == b"three"
        assert client.pull("models/tiny@3", out).unchanged_files == 2


def test_what_a_pull_that_failed_put_there_is_replaced_by_the_next(tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"

    def edit(progress: TransferProgress) -> None:
        if progress.stage is Stage.RECEIVING:
            (out / "b.txt").write_bytes(b"mine")

    with member_client() as (client, _):
        for text in (b"one", b"two", b"three"):
            pushed(client, tmp_path / "in", {"a.txt": text, "b.txt": text})
        client.pull("models/tiny@1", out)
        with pytest.raises(Conflict, match=r"1 file .*b\.txt"):
            client.pull("models/tiny@2", out, on_progress=edit)
        assert tree_of(out) == {"a.txt": b"two", "b.txt": b"mine"}
        client.pull("models/tiny@3", out, exclude=["b.txt"])
        assert (out / "a.txt").read_bytes() == b"three"


def test_a_pull_that_is_killed_owns_what_is_there_before_and_after(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INGOT_CACHE_DIR", str(tmp_path / "cache"))
    one, two, edited = (
        Cut(1, digests.chunk_digest(each) + b"\1\0\0\0", "cdc") for each in (b"1", b"2", b"3")
    )
    record = Pulled(tmp_path)
    record.add([("a", one.root())])
    record.expect([("a", two.root())])  # and here it is killed
    assert [Pulled(tmp_path).brought("a", each) for each in (one, two, edited)] == [True, True, False]
    Pulled(tmp_path).add([("a", two.root())])
    assert [Pulled(tmp_path).brought("a", each) for each in (one, two, edited)] == [False, True, False]


def test_a_torn_or_lost_record_of_pulls_only_costs_a_question(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INGOT_CACHE_DIR", str(tmp_path / "cache"))
    out = tmp_path / "out"
    with member_client() as (client, _):
        for text in (b"one", b"two", b"three"):
            pushed(client, tmp_path / "in", {"a.txt": text, "b.txt": text})
        client.pull("models/tiny@1", out)
        (record,) = (tmp_path / "cache" / "pulled").iterdir()
        before, b, _ = record.read_bytes().partition(b'"b.txt"')
        record.write_bytes(before + b[:3])
        with pytest.raises(Conflict, match=r"1 file .*b\.txt"):
            client.pull("models/tiny@2", out)
        client.pull("models/tiny@2", out, force=True)
        client.pull("models/tiny@3", out)
        record.unlink()
        assert client.pull("models/tiny@3", out).unchanged_files == 2
        with pytest.raises(Conflict, match="2 files"):
            client.pull("models/tiny@1", out)


def test_equal_chunks_travel_once(tmp_path: pathlib.Path) -> None:
    files = {"a": FILES["weights/a.bin"], "b": FILES["weights/a.bin"], "zeros": bytes(20 * MIB)}
    with member_client() as (client, _):
        pushed(client, tmp_path / "in", files)
        done = client.pull("models/tiny", tmp_path / "out")
    assert done.received_bytes <= 6 * MIB
    assert tree_of(tmp_path / "out") == files


def test_a_part_of_a_tree_may_be_chosen(tmp_path: pathlib.Path) -> None:
    with member_client() as (client, _):
        pushed(client, tmp_path / "in")
        client.pull("models/tiny@1:weights", tmp_path / "folder")
        assert sorted(tree_of(tmp_path / "folder")) == ["weights/a.bin", "weights/b.bin"]
        client.pull("models/tiny", tmp_path / "globs", include=["*.bin", "*.json"], exclude=["weights/b*"])
        assert sorted(tree_of(tmp_path / "globs")) == ["config.json", "weights/a.bin"]
        where = client.download_file("models/tiny:config.json", tmp_path / "file")
        assert where.read_bytes() == b"{}"
        with pytest.raises(NotFound):
            client.pull("models/tiny:weight", tmp_path / "none")


@pytest.mark.contract("S3-53")
def test_a_stopped_pull_goes_on(tmp_path: pathlib.Path) -> None:
    files = {"large": pattern("large", 48 * MIB), "small": b"s"}

    class Stopped(Exception):
        pass

    def stop(progress: TransferProgress) -> None:
        if progress.bytes_moved > 20 * MIB:
            raise Stopped

    with member_client() as (client, _):
        pushed(client, tmp_path / "in", files)
        with pytest.raises(Stopped):
            client.pull("models/tiny", tmp_path / "out", limit_rate=80 * MIB, streams=2, on_progress=stop)
        assert not (tmp_path / "out" / "large").exists()
        done = client.pull("models/tiny", tmp_path / "out")
        assert done.received_bytes < 40 * MIB
        assert tree_of(tmp_path / "out") == files
        assert client.pull("models/tiny", tmp_path / "out").received_bytes == 0


def test_parts_of_another_version_are_not_taken_over(tmp_path: pathlib.Path) -> None:
    content = pattern("one", 12 * MIB)
    with member_client() as (client, _):
        pushed(client, tmp_path / "in", {"large": content})
        mine = {"large.part": b"mine", ".ingot-pull.txt": b"mine"}
        out = write_tree(tmp_path / "out", {**mine, ".ingot-pull/0123": pattern("two", 12 * MIB)})
        client.pull("models/tiny", out)
    assert tree_of(out) == {"large": content, **mine}


def test_a_tree_with_what_a_pull_keeps_for_itself_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(Invalid, match="where a pull keeps its own files") as caught:
        pull_from(tmp_path, [file_at(".Ingot-Pull/lock")], [pieces(GOOD)])
    assert caught.value.reason == "BAD_PATH"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_stands_where_a_pull_keeps_its_files_is_left_alone(tmp_path: pathlib.Path, kind: str) -> None:
    outside = write_tree(tmp_path / "outside", {"kept": b"kept"})
    place = write_tree(tmp_path / "out", {"mine": b""}) / ".ingot-pull"
    place.symlink_to(outside) if kind == "link" else place.write_bytes(b"mine")
    with member_client() as (client, _):
        pushed(client, tmp_path / "in")
        with pytest.raises(Invalid, match=r"\.ingot-pull: something else"):
            client.pull("models/tiny", tmp_path / "out")
    assert tree_of(outside) == {"kept": b"kept"}


def test_names_may_be_as_long_as_a_file_system_takes(tmp_path: pathlib.Path) -> None:
    files = {"n" * 255: pattern("long", 9 * MIB), "ن" * 127: b"small"}
    with member_client() as (client, _):
        pushed(client, tmp_path / "in", files)
        client.pull("models/tiny", tmp_path / "out")
    assert tree_of(tmp_path / "out") == files


def test_nothing_is_written_through_links(tmp_path: pathlib.Path) -> None:
    outside = write_tree(tmp_path / "outside", {"kept": b"kept"})
    with member_client() as (client, _):
        pushed(client, tmp_path / "in")
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "weights").symlink_to(outside)
        with pytest.raises(Invalid, match="weights"):
            client.pull("models/tiny", tmp_path / "out")
        assert tree_of(outside) == {"kept": b"kept"}
        (tmp_path / "out" / "weights").unlink()
        (tmp_path / "out" / "config.json").symlink_to(outside / "kept")
        with pytest.raises(Conflict, match=r"config\.json"):
            client.pull("models/tiny", tmp_path / "out")
        client.pull("models/tiny", tmp_path / "out", force=True)
        assert tree_of(outside) == {"kept": b"kept"}
        assert not (tmp_path / "out" / "config.json").is_symlink()


def test_a_link_that_comes_during_a_pull_leads_nothing_out_of_the_folder(tmp_path: pathlib.Path) -> None:
    outside, out = write_tree(tmp_path / "outside", {"kept": b"kept"}), tmp_path / "out"

    def swap(progress: TransferProgress) -> None:
        if progress.stage is Stage.RECEIVING and not (out / "weights").is_symlink():
            (out / "weights").rename(out / "aside")
            (out / "weights").symlink_to(outside)

    with member_client() as (client, _):
        pushed(client, tmp_path / "in")
        with pytest.raises(Invalid, match="weights: something else") as caught:
            client.pull("models/tiny", out, on_progress=swap, force=True)
        assert caught.value.reason == "BAD_PATH"
        assert tree_of(outside) == {"kept": b"kept"}
        (out / "weights").unlink()
        client.pull("models/tiny", out)
        assert client.verify_folder(out).ok


def test_a_pipe_in_the_way_is_only_replaced_when_forced(tmp_path: pathlib.Path) -> None:
    with member_client() as (client, _):
        pushed(client, tmp_path / "in")
        out = tmp_path / "out"
        client.pull("models/tiny", out)
        (out / "empty").unlink()
        os.mkfifo(out / "empty")
        assert client.verify_folder(out).damaged == ("empty",)
        with pytest.raises(Conflict, match="empty"):
            client.pull("models/tiny", out)
        client.pull("models/tiny", out, force=True)
        assert client.verify_folder(out).ok


def test_places_that_cannot_be_written_are_named(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_tree(tmp_path, {"a file": b""}) / "a file"
    with member_client() as (client, _):
        pushed(client, tmp_path / "in")
        for place in (file, file / "out"):
            with pytest.raises(Invalid, match=r"Cannot pull into .*a file.*, is a file") as refused:
                client.pull("models/tiny", place)
            assert refused.value.next_step.startswith("Name a folder")
        with pytest.raises(Invalid, match="Cannot pull into"):
            client.pull("models/tiny", file, dry_run=True)
        with pytest.raises(LimitReached, match=r"Cannot write .*long"):
            client.pull("models/tiny", tmp_path / ("x" * 300))
        monkeypatch.setenv("INGOT_CACHE_DIR", str(file / "cache"))
        with pytest.raises(Invalid, match="Cannot keep notes") as caught:
            client.pull("models/tiny", tmp_path / "out")
        assert "INGOT_CACHE_DIR" in caught.value.next_step


def test_ranges_are_read(tmp_path: pathlib.Path) -> None:
    content = FILES["weights/a.bin"]
    with member_client() as (client, _):
        pushed(client, tmp_path / "in")
        for offset, length in ((0, None), (1, 3), (MIB - 1, 2 * MIB), (len(content), None), (7, 0)):
            end = None if length is None else offset + length
            got = b"".join(client.read("models/tiny:weights/a.bin", offset=offset, length=length))
            assert got == content[offset:end]
        with pytest.raises(OutOfRange):
            list(client.read("models/tiny:weights/a.bin", offset=len(content) + 1))
        with pytest.raises(Invalid, match="Expected a file"):
            client.read("models/tiny")


def test_verify_finds_what_is_damaged_and_what_is_missing(tmp_path: pathlib.Path) -> None:
    with member_client() as (client, _):
        size = pushed(client, tmp_path / "in")
        assert client.verify("models/tiny").size_bytes == size
        out = tmp_path / "out"
        with pytest.raises(Invalid, match="There is no folder"):
            client.verify_folder(out)
        out.mkdir()
        with pytest.raises(Invalid, match="not known what"):
            client.verify_folder(out)
        client.pull("models/tiny", out)
        assert client.verify_folder(out).ok
        data = bytearray((out / "weights/a.bin").read_bytes())
        data[MIB] ^= 1
        times = os.stat(out / "weights/a.bin")
        (out / "weights/a.bin").write_bytes(data)
        os.utime(out / "weights/a.bin", ns=(times.st_atime_ns, times.st_mtime_ns))
        (out / "empty").unlink()
        found = client.verify_folder(out)
        assert (found.damaged, found.missing, found.ok) == (("weights/a.bin",), ("empty",), False)
        client.pull("models/tiny", out, force=True)
        assert client.verify_folder(out, "models/tiny@1").ok


def test_a_full_disk_is_told_before_anything_travels(tmp_path: pathlib.Path) -> None:
    entries = digests.segment_bytes([(bytes(32), 4 * MIB)] * 16_384)
    segments = [pb.Segment(index=index, entries=entries) for index in range(256)]  # 16 TiB
    with pytest.raises(LimitReached, match="bytes left"):
        pull_from(tmp_path, [pb.ManifestFile(file=entry("huge", segments), segments=segments)])


# --- a server that lies ---------------------------------------------------------------------------------


def entry(path: str, segments: list[pb.Segment], **changes: Any) -> pb.FileEntry:
    size = sum(length for each in segments for _, length in digests.segment_entries(each.entries))
    root = digests.file_root("cdc", size, [digests.segment_digest(each.entries) for each in segments])
    return pb.FileEntry(**{"path": path, "size_bytes": size, "root": root, "profile": "cdc", **changes})


def pull_from(
    folder: pathlib.Path, files: list[pb.ManifestFile], chunks: list[pb.Pieces] | None = None, **header: Any
) -> None:
    """Pull from a server that says exactly this."""
    size = sum(each.file.size_bytes for each in files)
    facts = {"tree": "t", "file_count": len(files), "size_bytes": size, **header}

    async def read_manifest(request: Any, context: Any) -> AsyncIterator[pb.ReadManifestResponse]:
        yield pb.ReadManifestResponse(header=pb.ManifestHeader(**facts))
        for each in files:
            for segments in [each.segments[at : at + 4] for at in range(0, len(each.segments), 4)]:
                file = pb.ManifestFile(file=each.file, segments=segments)
                yield pb.ReadManifestResponse(files=[file])

    async def read_chunks(request: Any, context: Any) -> AsyncIterator[pb.ReadChunksResponse]:
        for pieces in chunks or []:
            yield pb.ReadChunksResponse(pieces=pieces)

    behaviours = pipelines.serving(ReadManifest=read_manifest, ReadChunks=read_chunks)
    with pipelines.rig(behaviours) as rig:
        client_over(rig.channel).pull("models/tiny", folder / "out")


GOOD = b"these are the right bytes"
SEGMENT = pb.Segment(entries=digests.segment_bytes([(digests.chunk_digest(GOOD), len(GOOD))]))


def file_at(path: str, **changes: Any) -> pb.ManifestFile:
    return pb.ManifestFile(file=entry(path, [SEGMENT], **changes), segments=[SEGMENT])


def pieces(data: bytes, **changes: Any) -> pb.Pieces:
    return pb.Pieces(
        **{"digests": digests.chunk_digest(GOOD), "lengths": [len(data)], "data": data, **changes}
    )


def test_an_honest_one_is_believed(tmp_path: pathlib.Path) -> None:
    pull_from(tmp_path, [file_at("a")], [pieces(GOOD)])
    assert tree_of(tmp_path / "out") == {"a": GOOD}


def test_a_chunk_may_go_over_several_messages(tmp_path: pathlib.Path) -> None:
    first = pieces(GOOD[:5], lengths=[len(GOOD)], more=True)
    rest = [pb.Pieces(data=GOOD[5:9], more=True), pb.Pieces(data=GOOD[9:])]
    pull_from(tmp_path, [file_at("a")], [first, *rest])
    assert tree_of(tmp_path / "out") == {"a": GOOD}


@pytest.mark.parametrize(
    "path",
    [
        *("../a", "/etc/a", "a/../../b", "a//b", "a/.", "a\0b"),
        # what Windows would read as another name, a device, a drive, a stream or a share
        *(
            "a\\b",
            "C:a",
            "C:/a",
            "//host/a",
            "con",
            "a/COM1.txt",
            "lpt¹",
            "NUL .bin",
            "a.",
            "a ",
            "a./b",
            "a:b",
        ),
        "e\u0301",  # not in the form NFC
    ],
)
def test_unsafe_paths_are_refused(tmp_path: pathlib.Path, path: str) -> None:
    with pytest.raises(Invalid, match="cannot be written safely"):
        pull_from(tmp_path, [file_at(path)], [pieces(GOOD)])
    assert sorted(each.name for each in tmp_path.iterdir() if each.name != "xdg") == []


@pytest.mark.parametrize(
    ("files", "chunks", "header", "error"),
    [
        ([file_at("a")], [pieces(b"these are the wrong bytes")], {}, DataLoss),
        ([file_at("a")], [pieces(GOOD[:-1])], {}, DataLoss),
        ([file_at("a")], [pieces(GOOD), pieces(GOOD)], {}, Integrity),
        ([file_at("a")], [pieces(GOOD, lengths=[3])], {}, Integrity),
        ([file_at("a")], [pieces(GOOD, digests=b"")], {}, Integrity),
        ([file_at("a")], [pieces(GOOD, more=True)], {}, Integrity),
        ([file_at("a", root=bytes(32))], [], {}, Integrity),
        ([file_at("a", size_bytes=1)], [], {}, Integrity),
        ([file_at("a")], [], {"digest": "blake3:" + "0" * 64}, Integrity),
        ([file_at("a")], [], {"file_count": 2}, Integrity),
        ([file_at("a"), file_at("A")], [], {}, Invalid),
    ],
)
def test_a_lie_is_noticed_and_nothing_is_kept(
    tmp_path: pathlib.Path,
    files: list[pb.ManifestFile],
    chunks: list[pb.Pieces],
    header: dict[str, Any],
    error: type[IngotError],
) -> None:
    with pytest.raises(error):
        pull_from(tmp_path, files, chunks, **header)
    out = tmp_path / "out"
    left = tree_of(out) if out.exists() else {}
    assert set(left) <= ({"a"} if left.get("a") == GOOD else set())
