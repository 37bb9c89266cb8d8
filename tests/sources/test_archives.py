"""Archives: good ones are unpacked, hostile ones are refused, and nothing is ever written outside."""

import bz2
import contextlib
import gzip
import io
import lzma
import os
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.server.core.errors import DataLoss, Exhausted, IngotError, Invalid, Precondition, Reason
from ingot.server.sources.archives import unpack
from ingot.server.sources.unpacked_trees import Room

FILES = {"a.txt": b"one", "folder/b.txt": b"two" * 1000, "folder/deep/c.bin": bytes(5000), "empty": b""}


@dataclass(frozen=True)
class Entry:
    """A member of a tar."""

    name: str
    data: bytes = b""
    type: bytes = tarfile.REGTYPE
    target: str = ""


def tar_of(entries: Sequence[Entry], format: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for entry in entries:
            info = tarfile.TarInfo(entry.name)
            info.type, info.linkname, info.size, info.mode = entry.type, entry.target, len(entry.data), 0o7777
            tar.addfile(info, io.BytesIO(entry.data))
    return out.getvalue()


def zip_of(entries: Sequence[tuple[str, bytes, int]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Make a zip; the third of each is its type as stat has it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as packed:
        for name, data, kind in entries:
            info = zipfile.ZipInfo("x")
            info.filename, info.external_attr, info.compress_type = name, (kind | 0o777) << 16, method
            packed.writestr(info, data)
    return out.getvalue()


def plain_tar(format: int = tarfile.PAX_FORMAT) -> bytes:
    folders = [Entry("folder/", type=tarfile.DIRTYPE)]
    return tar_of(folders + [Entry(name, data) for name, data in FILES.items()], format)


def plain_zip(method: int = zipfile.ZIP_DEFLATED) -> bytes:
    return zip_of([(name, data, 0o100000) for name, data in FILES.items()], method)


def unpacked(data: bytes, tmp_path: Path, room: Room | None = None) -> list[str]:
    (tmp_path / "archive").write_bytes(data)
    return unpack(tmp_path / "archive", tmp_path / "out", room or Room(), lambda _: None)


GOOD = {
    "tar": plain_tar,
    "tar, GNU": lambda: plain_tar(tarfile.GNU_FORMAT),
    "tar, old": lambda: plain_tar(tarfile.USTAR_FORMAT),
    "tar.gz": lambda: gzip.compress(plain_tar()),
    "tar.gz of two members": lambda: gzip.compress(plain_tar()[:1000]) + gzip.compress(plain_tar()[1000:]),
    "tar.bz2": lambda: bz2.compress(plain_tar()),
    "tar.xz": lambda: lzma.compress(plain_tar()),
    "tar.xz of two streams": lambda: (
        lzma.compress(plain_tar()[:999]) + bytes(4) + lzma.compress(plain_tar()[999:])
    ),
    "tar with ./": lambda: tar_of(
        [Entry("./", type=tarfile.DIRTYPE), *(Entry(f"./{name}", data) for name, data in FILES.items())]
    ),
    "zip": plain_zip,
    "zip, stored": lambda: plain_zip(zipfile.ZIP_STORED),
    "zip, bzip2": lambda: plain_zip(zipfile.ZIP_BZIP2),
    "zip with folders": lambda: zip_of(
        [("folder/", b"", 0o040000), *((name, data, 0) for name, data in FILES.items())]
    ),
}


@pytest.mark.parametrize("make", GOOD.values(), ids=GOOD.keys())
def test_good_archives(make: Callable[[], bytes], tmp_path: Path) -> None:
    assert unpacked(make(), tmp_path) == sorted(FILES)
    for name, data in FILES.items():
        assert (tmp_path / "out" / name).read_bytes() == data
        assert (tmp_path / "out" / name).stat().st_mode & 0o7777 <= 0o644  # nothing that runs


def test_what_an_earlier_attempt_left_is_removed_first(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "half").write_text("left")
    assert unpacked(plain_tar(), tmp_path) == sorted(FILES)
    assert not (tmp_path / "out" / "half").exists()


def test_an_archive_in_an_archive_stays_one(tmp_path: Path) -> None:
    assert unpacked(tar_of([Entry("inner.tar.gz", gzip.compress(plain_tar()))]), tmp_path) == ["inner.tar.gz"]


# --- hostile ------------------------------------------------------------------------------------------------

BAD_NAMES = (
    "../evil",
    "a/../../evil",
    "/etc/evil",
    "//evil",
    "./../evil",
    "././evil",
    "C:/evil",
    "C:evil",
    "a\\..\\evil",
    "\\\\host\\share",
    "a\nb",
    "con",
    "aux.txt",
    "a//b",
    "trailing.",
    "e\u0301",
    "x" * 300,
    "/".join(["d" * 100] * 20),
)


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_bad_names_are_refused(name: str, kind: str, tmp_path: Path) -> None:
    data = tar_of([Entry(name, b"x")]) if kind == "tar" else zip_of([(name, b"x", 0)])
    with pytest.raises(Invalid, match="which is refused") as error:
        unpacked(data, tmp_path)
    assert error.value.reason is Reason.BAD_PATH
    assert list((tmp_path / "out").rglob("*")) == []


@pytest.mark.parametrize("name", ["x" * 900 + ".", "y" * 5000, "/".join(["d" * 100] * 20)])
def test_long_names_are_cut_in_messages(name: str, tmp_path: Path) -> None:
    for data in (tar_of([Entry(name, b"x")]), zip_of([(name, b"x", 0o120000)])):
        with pytest.raises((Invalid, Precondition), match="…") as error:
            unpacked(data, tmp_path)
        assert len(str(error.value)) < 700
        assert len(error.value.facts["path"]) == 201


TWINS = (("a", "a"), ("a", "A"), ("d/x", "D/y"), ("straße", "STRASSE"), ("a", "a/b"), ("a/b", "a"))


@pytest.mark.parametrize("names", TWINS)
@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_a_file_system_would_merge_are_refused(
    names: tuple[str, str], kind: str, tmp_path: Path
) -> None:
    entries = [Entry(name, b"x") for name in names]
    data = tar_of(entries) if kind == "tar" else zip_of([(name, b"x", 0) for name in names])
    with pytest.raises(Invalid) as error:
        unpacked(data, tmp_path)
    assert error.value.reason is Reason.BAD_PATH


NOT_PLAIN = {
    "symbolic link": lambda: tar_of([Entry("link", type=tarfile.SYMTYPE, target="/etc/passwd")]),
    "symbolic link to a folder, then through it": lambda: tar_of(
        [Entry("d", type=tarfile.SYMTYPE, target=".."), Entry("d/evil", b"x")]
    ),
    "hard link": lambda: tar_of([Entry("a", b"x"), Entry("b", type=tarfile.LNKTYPE, target="a")]),
    "device": lambda: tar_of([Entry("sda", type=tarfile.BLKTYPE)]),
    "character device": lambda: tar_of([Entry("tty", type=tarfile.CHRTYPE)]),
    "pipe": lambda: tar_of([Entry("pipe", type=tarfile.FIFOTYPE)]),
    "unknown type": lambda: tar_of([Entry("odd", type=b"Z")]),
    "zip with a symbolic link": lambda: zip_of([("link", b"/etc/passwd", 0o120000)]),
    "zip with a device": lambda: zip_of([("sda", b"", 0o060000)]),
    "zip with a pipe": lambda: zip_of([("pipe", b"", 0o010000)]),
    "encrypted zip": lambda: _flagged(plain_zip(), 0x1),
    "strongly encrypted zip": lambda: _flagged(plain_zip(), 0x40),
}


def _flagged(data: bytes, bits: int) -> bytes:
    """Set bits of the flags of all entries, in their own headers and in the directory."""
    out = bytearray(data)
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = out.find(mark)
        while start != -1:
            (flags,) = struct.unpack_from("<H", out, start + place)
            struct.pack_into("<H", out, start + place, flags | bits)
            start = out.find(mark, start + 4)
    return bytes(out)


@pytest.mark.parametrize("make", NOT_PLAIN.values(), ids=NOT_PLAIN.keys())
def test_what_is_no_plain_file_is_refused(make: Callable[[], bytes], tmp_path: Path) -> None:
    with pytest.raises(Precondition, match="only plain files") as error:
        unpacked(make(), tmp_path)
    assert error.value.reason is Reason.UNSAFE_CONTENT
    assert error.value.facts["path"]


# The end of a zip that claims a directory of 60 MiB.
_DIRECTORY = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, 60 * 1024 * 1024, 4, 0)
BROKEN = {
    "tar, cut in a file": lambda: plain_tar()[:2500],
    "tar, cut between files": lambda: tar_of([Entry("a", b"x" * 512)])[:1024],
    "tar.gz, cut": lambda: gzip.compress(plain_tar())[:-20],
    "tar.gz, cut at its checksum": lambda: gzip.compress(plain_tar())[:-4],
    "tar.gz, wrong checksum": lambda: gzip.compress(plain_tar())[:-8] + bytes(8),
    "tar.bz2, cut": lambda: bz2.compress(plain_tar())[:-20],
    "tar.bz2, broken": lambda: bz2.compress(plain_tar())[:40] + bytes(100),
    "tar.xz, cut": lambda: lzma.compress(plain_tar())[:-20],
    "tar.xz, broken": lambda: lzma.compress(plain_tar())[:60] + bytes(100),
    "gz of no tar": lambda: gzip.compress(b"just text"),
    "zip, cut": lambda: plain_zip()[:-30],
    "zip, only its start": lambda: plain_zip()[:40],
    "zip, a flipped bit": lambda: plain_zip(zipfile.ZIP_STORED).replace(b"twotwo", b"twotwp", 1),
    "zip, packed oddly": lambda: plain_zip(zipfile.ZIP_LZMA),
    "zip, huge directory": lambda: b"PK\x03\x04" + bytes(60 * 1024 * 1024) + _DIRECTORY,
}


@pytest.mark.parametrize("make", BROKEN.values(), ids=BROKEN.keys())
def test_broken_archives_are_refused(make: Callable[[], bytes], tmp_path: Path) -> None:
    with pytest.raises(DataLoss, match="cannot be unpacked") as error:
        unpacked(make(), tmp_path)
    assert error.value.reason is Reason.SOURCE_MISMATCH


@pytest.mark.parametrize(
    "data", [b"", b"<html>", b"Rar!\x1a\x07\x00" + bytes(600), bytes(1024), b"7z\xbc\xaf'\x1c"]
)
def test_other_files_are_no_archives(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(Precondition, match="no archive that can be unpacked") as error:
        unpacked(data, tmp_path)
    assert error.value.reason is Reason.FORMAT_NOT_ALLOWED


# --- too much -----------------------------------------------------------------------------------------------


def _long_header(kind: bytes, size: int) -> bytes:
    """Return a packed tar whose first header claims, and has, `size` bytes of its own."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = kind, size
    return gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + b"a" * size + bytes(1024), 1)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_header_cannot_fill_the_memory(kind: bytes, tmp_path: Path) -> None:
    data = _long_header(kind, 64 * 1024 * 1024)
    tracemalloc.start()
    try:
        with pytest.raises((DataLoss, Invalid)):
            unpacked(data, tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 32 * 1024 * 1024
    finally:
        tracemalloc.stop()


def _many_headers(kind: bytes, records: Callable[[int], bytes], rounds: int, *, files: bool) -> bytes:
    """Return a packed tar with so many headers, each followed by an empty file if wanted."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=9) as packed:
        for number in range(rounds):
            data = records(number)
            info = tarfile.TarInfo("headers")
            info.type, info.size = kind, len(data)
            packed.write(info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512))
            if files or number == rounds - 1:
                packed.write(tarfile.TarInfo(f"file-{number}").tobuf(tarfile.USTAR_FORMAT))
        packed.write(bytes(1024))
    return out.getvalue()


def _keys(number: int) -> bytes:
    return b"".join(b"18 k%03d%04d=value\n" % (number, each) for each in range(3500))


@pytest.mark.parametrize("files", [True, False])
def test_headers_for_all_members_cannot_fill_the_memory(files: bool, tmp_path: Path) -> None:
    data = _many_headers(tarfile.XGLTYPE, _keys, 100, files=files)
    tracemalloc.start()
    try:
        with pytest.raises(DataLoss, match="than any honest one"):
            unpacked(data, tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 32 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_headers_in_front_of_one_member_are_limited(tmp_path: Path) -> None:
    data = _many_headers(tarfile.XHDTYPE, lambda _: b"11 comment=\n", 500, files=False)
    with pytest.raises(DataLoss, match="more headers than any honest one"):
        unpacked(data, tmp_path)


def test_a_number_without_end_takes_no_time(tmp_path: Path) -> None:
    data = _many_headers(tarfile.XHDTYPE, lambda _: b"1" * 200_000, 1, files=True)
    with pytest.raises(DataLoss, match="longer than any honest one"):
        unpacked(data, tmp_path)


def test_the_bytes_of_headers_count_against_the_ratio(tmp_path: Path) -> None:
    comment = b"200011 comment=" + b"a" * 199_995 + b"\n"
    data = _many_headers(tarfile.XHDTYPE, lambda _: comment, 400, files=True)
    with pytest.raises(Precondition, match="meant to fill disks") as error:
        unpacked(data, tmp_path)
    assert error.value.reason is Reason.TOO_LARGE


def test_a_comment_for_all_members_is_honest(tmp_path: Path) -> None:
    data = _many_headers(tarfile.XGLTYPE, lambda _: b"52 comment=%s\n" % (b"a" * 40), 1, files=True)
    assert unpacked(data, tmp_path) == ["file-0"]


@pytest.mark.parametrize(
    "data", [zip_of([]), zip_of([("folder/", b"", 0)]), tar_of([Entry("folder/", type=tarfile.DIRTYPE)])]
)
def test_an_archive_without_a_file_is_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataLoss, match="holds no file") as error:
        unpacked(data, tmp_path)
    assert error.value.reason is Reason.SOURCE_MISMATCH


def _zeros(size: int, kind: str) -> bytes:
    """Return an archive with one file of so many zeros, packed to almost nothing."""
    if kind == "zip":
        return zip_of([("zeros", bytes(size), 0)])
    info = tarfile.TarInfo("zeros")
    info.size = size
    return gzip.compress(info.tobuf() + bytes(size + 1024))


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_bombs_are_refused_before_they_fill_the_disk(kind: str, tmp_path: Path) -> None:
    with pytest.raises(Precondition, match="meant to fill disks") as error:
        unpacked(_zeros(70 * 1024 * 1024, kind), tmp_path)
    assert error.value.reason is Reason.TOO_LARGE
    assert list((tmp_path / "out").rglob("*")) == []


def test_a_tar_that_goes_on_after_its_end_for_ever_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Precondition, match="meant to fill disks"):
        unpacked(gzip.compress(plain_tar() + bytes(80 * 1024 * 1024)), tmp_path)


@pytest.mark.parametrize("make", [plain_tar, plain_zip])
def test_limits(make: Callable[[], bytes], tmp_path: Path) -> None:
    with pytest.raises(Precondition, match="more than 3 entries") as error:
        unpacked(make(), tmp_path, Room(entries=3))
    assert error.value.reason is Reason.TOO_LARGE
    with pytest.raises(Precondition, match="more than 8000 bytes") as error:
        unpacked(make(), tmp_path, Room(all_bytes=8000))
    assert error.value.reason is Reason.TOO_LARGE

    def full(needed: int) -> None:
        if needed > 3000 - 1:
            raise Exhausted(Reason.DISK_LOW, "no room")

    with pytest.raises(Exhausted, match="no room"):
        unpacked(make(), tmp_path, Room(check_disk=full))


# --- whatever the archive -----------------------------------------------------------------------------------

_PARTS = st.sampled_from(
    ["a", "A", "b", "..", ".", "", "c.txt", "é", "e\u0301", "con", "a\\b", "\0x", "C:", "d."]
)
_NAMES = st.builds(
    lambda start, parts, end: start + "/".join(parts) + end,
    st.sampled_from(["", "/", "./", "../"]),
    st.lists(_PARTS, min_size=1, max_size=4),
    st.sampled_from(["", "/"]),
)
_TYPES = st.sampled_from(
    [tarfile.REGTYPE] * 6
    + [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.CONTTYPE]
)
_ENTRIES = st.lists(
    st.builds(
        lambda name, data, kind, target: Entry(name, data if kind == tarfile.REGTYPE else b"", kind, target),
        _NAMES,
        st.binary(max_size=600),
        _TYPES,
        st.sampled_from(["..", "../outside", "/tmp", "a", "b"]),
    ),
    max_size=6,
)


def _check_only_inside(root: Path, data: bytes) -> None:
    (root / "archive").write_bytes(data)
    (root / "outside").write_bytes(b"precious")
    taken: list[str] = []
    with contextlib.suppress(IngotError):
        taken = unpack(root / "archive", root / "out", Room(), lambda _: None)
    assert sorted(each.name for each in root.iterdir()) in (
        ["archive", "out", "outside"],
        ["archive", "outside"],
    )
    assert (root / "outside").read_bytes() == b"precious"
    files = []
    for folder, folders, names in os.walk(root / "out"):
        for name in (*folders, *names):
            assert not (Path(folder) / name).is_symlink()
        files += [str((Path(folder) / name).relative_to(root / "out")) for name in names]
    if taken:
        assert sorted(files) == taken


@given(entries=_ENTRIES, cut=st.integers(0, 3000), packed=st.booleans())
@settings(max_examples=150, deadline=None)
def test_whatever_the_tar_nothing_is_written_outside(
    tmp_path_factory: pytest.TempPathFactory, entries: list[Entry], cut: int, packed: bool
) -> None:
    data = tar_of(entries, tarfile.GNU_FORMAT)
    data = data[: len(data) - cut] if cut % 3 == 0 else data
    _check_only_inside(tmp_path_factory.mktemp("tar"), gzip.compress(data) if packed else data)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@given(
    entries=st.lists(
        st.tuples(_NAMES, st.binary(max_size=600), st.sampled_from([0, 0, 0o100000, 0o120000, 0o040000])),
        max_size=6,
    ),
    flipped=st.integers(0, 2000),
)
@settings(max_examples=150, deadline=None)
def test_whatever_the_zip_nothing_is_written_outside(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, bytes, int]], flipped: int
) -> None:
    data = bytearray(zip_of(entries))
    if flipped % 2 and flipped < len(data):
        data[flipped] ^= 0xFF
    _check_only_inside(tmp_path_factory.mktemp("zip"), bytes(data))


@given(
    noise=st.binary(max_size=2000),
    start=st.sampled_from([b"", b"PK\x03\x04", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\0"]),
)
@settings(max_examples=100, deadline=None)
def test_noise_is_refused_and_not_more(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, start: bytes
) -> None:
    _check_only_inside(tmp_path_factory.mktemp("noise"), start + noise)
