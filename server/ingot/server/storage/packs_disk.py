"""Packs as files of a local disk. Format and guarantees: docs/storage-format.md.

    packs/<aa>/<id>.pack       sealed packs, read-only; <aa> are the first two digits of the id
    ingest/<boot>/<n>.open     packs being written by this run of the server
    quarantine/<id>.pack       damaged packs, for people to look at

The order of steps is the guarantee: reserve, write, footer, fdatasync, rename, fsync of the folder, and only
then does anybody hear of a pack. A file whose sync failed is thrown away, because a second sync may report
success for pages that the kernel has already dropped."""

import logging
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate, count, pairwise
from pathlib import Path

from ingot.content import durable
from ingot.server.core import disk_room, failpoints
from ingot.server.core.errors import DataLoss
from ingot.server.core.packs import (
    PACK_TARGET,
    ChunkPlace,
    PackEntry,
    PackFile,
    PackId,
    ScannedChunk,
    SealedPack,
    ShelfUsage,
)
from ingot.server.storage import (
    disk_space,
    holes,
    pack_files,
    pack_format,
    pack_ingest,
    pack_keys,
    pack_reading,
    write_out,
)
from ingot.server.storage.ingest_folders import IngestFolders

log = logging.getLogger(__name__)

_OPEN_FILES = 256  # packs kept open for reading
_RUN_CHUNKS = 500  # read in one go: the kernel takes 1,024 buffers, and each chunk needs two


class DiskPacks:
    """A PackStore in the folder `root`, which it owns: only one process may use it at a time.

    With a keyring, new packs are encrypted and those of its keys can be read. Raises KeyFileError.
    """

    def __init__(self, root: Path, keyring: pack_keys.Keyring | None = None) -> None:
        self._keyring = keyring
        self._packs = root / "packs"
        self._quarantine = root / "quarantine"
        self._boots = root / "ingest"
        self.ingests = IngestFolders(self._boots)
        self._ingest = self.ingests.own
        self._numbers = count()
        self._lock = threading.Lock()
        self._reserved = 0  # promised to streams and not yet allocated on disk
        self._files: OrderedDict[PackId, pack_files.PackReader] = OrderedDict()
        self._verified = pack_reading.Verified()
        self._written = pack_reading.Written()
        _make_folders(self._packs, [f"{number:02x}" for number in range(256)])
        for folder in (self._quarantine, self._ingest):
            folder.mkdir(parents=True, exist_ok=True)
        durable.sync_folder(root)
        pack_keys.check_ledger(root, keyring)

    def open_ingest(self, size: int, chunks: int) -> pack_ingest.PackIngest:
        """Set the space apart and allocate the first pack of it."""
        return pack_ingest.PackIngest(self, self.promise(size, chunks), self._keyring)

    def need_of(self, size: int, chunks: int) -> int:
        """Return the bytes of disk that a stream may need."""
        packs = size // (PACK_TARGET // 2) + 1  # more than that are not needed: chunks are far below half
        codec = pack_format.CODEC_AES_GCM if self._keyring else pack_format.CODEC_RAW
        return size + pack_format.overhead(chunks, packs, codec)

    def promise(self, size: int, chunks: int) -> int:
        """Set the space for a stream apart and return how much that is. Raises Exhausted (DISK_LOW)."""
        need = self.need_of(size, chunks)
        with self._lock:
            free = self._free() - self._reserved
            if need > free:
                raise pack_ingest.disk_low(
                    f"The server's disk is too full for {size} more bytes: {max(0, free)} may be used."
                )
            self._reserved += need
        return need

    def read(self, place: ChunkPlace) -> bytes:
        """Read a chunk and check it at the first read of this run."""
        file = self._open(place.pack)
        data = pack_reading.data_at(file.read_at, file.cipher, place.digest, place.offset, place.length)
        if self._is_verified(file, place) and len(data) == place.length:
            return data
        if not pack_reading.checked(place, data):
            data = _again(file, place)
            if not pack_reading.checked(place, data):
                log.error("pack.chunk_damaged pack=%s offset=%d", place.pack, place.offset)
                raise pack_reading.chunk_lost(place, data)
            log.warning("pack.reread_differed pack=%s offset=%d", place.pack, place.offset)
        self._verified.add(place)
        return data

    def read_into(self, places: Sequence[ChunkPlace], buffer: memoryview) -> int:
        """Read neighbours with one call each, straight to where they belong."""
        done, start = 0, 0
        for run in pack_reading.neighbours(places, _RUN_CHUNKS):
            ends = list(accumulate((place.length for place in run), initial=start))
            intact = self._read_run(run, [buffer[first:end] for first, end in pairwise(ends)])
            done, start = done + intact, ends[-1]
            if intact < len(run):
                break
        return done

    def _read_run(self, run: Sequence[ChunkPlace], buffers: Sequence[memoryview]) -> int:
        """Fill a buffer for each of some neighbours; return how many at the front are intact."""
        try:
            file = self._open(run[0].pack)
            if file.cipher is not None:
                for place, data in zip(run, buffers, strict=True):
                    data[:] = self.read(place)
                return len(run)
        except DataLoss:  # absent, or one of them is damaged: none of them counts
            return 0
        try:
            if self._is_as_written(file, run, buffers):
                return len(run)
        except OSError:
            return 0
        if not file.read_records(run[0].offset, buffers):
            return 0
        fresh: list[ChunkPlace] = []
        for index, (place, data) in enumerate(zip(run, buffers, strict=True)):
            if not self._is_verified(file, place):
                if not pack_reading.checked(place, data):
                    return index
                fresh.append(place)
        self._verified.add(*fresh)
        return len(run)

    def _is_verified(self, file: pack_files.PackReader, place: ChunkPlace) -> bool:
        """Return whether what lies there was found intact before, and may be believed still."""
        return self._verified.has(place)

    def _is_as_written(
        self, file: pack_files.PackReader, run: Sequence[ChunkPlace], buffers: Sequence[memoryview]
    ) -> bool:
        """Fill the buffers from memory with what was hashed when it came; return whether that was possible.

        What comes from the disk for the first time is checked, and only then counts as verified.
        """
        if not self._written.has(run) or all(map(self._verified.has, run)):
            return False
        filled = file.read_records(run[0].offset, buffers, cached=True)
        if filled and self._written.is_untouched(run[0].pack, file.stamp()):
            return True
        self._written.forget(run[0].pack)  # the kernel reads ahead: soon more of it is from the disk, unasked
        return False

    def damaged(self, pack: PackId, places: Sequence[ChunkPlace]) -> list[ChunkPlace]:
        """Drop the file from the page cache, read it in order, and what is wrong once more from the disk."""
        try:
            file = pack_files.open_pack(self._path(pack), pack, self._keyring)
        except DataLoss as error:
            log.error("pack.unreadable pack=%s error=%s", pack, error)
            return list(places)
        file.drop_cache()
        wrong = [
            place for place in sorted(places, key=lambda each: each.offset) if not _is_intact(file, place)
        ]
        file.drop_cache()  # what was read here is not what others read
        return wrong

    def packs(self) -> Iterator[PackFile]:
        """List the files of all folders."""
        for folder in _folders(self._packs):
            with os.scandir(folder) as found:
                for file in found:
                    if file.name.endswith(".pack"):
                        with suppress(FileNotFoundError):  # deleted meanwhile
                            yield PackFile(file.name.removesuffix(".pack"), file.stat().st_size)

    def entries(self, pack: PackId) -> tuple[PackEntry, ...]:
        """Read the footer from the end of the file."""
        file = self._open(pack)
        return pack_reading.read_entries(pack, file.size(), file.read_at, file.cipher)

    def scan(self, pack: PackId) -> Iterator[ScannedChunk]:
        """Read the file from the front."""
        file = self._open(pack)
        yield from pack_reading.scan_records(pack, file.size(), file.read_at, file.cipher)

    def allocated(self, pack: PackId) -> int:
        """Ask for the blocks of the file."""
        try:
            return self._path(pack).stat().st_blocks * 512
        except FileNotFoundError:
            return 0

    def punch(self, pack: PackId, entries: Sequence[PackEntry]) -> int | None:
        """Zero the headers, sync, and only then give the blocks back, so that no half of it looks whole."""
        path = self._path(pack)
        before = self.allocated(pack)
        try:
            codec = self._open(pack).codec
            self._forget(pack)  # what was read before must be checked again
            holes.punch(path, pack_format.headers(entries), pack_format.spans(entries, codec))
        except FileNotFoundError:
            raise pack_reading.absent(pack) from None
        except holes.UnsupportedError:
            return None
        except OSError as error:
            raise pack_ingest.explain(error) from error
        finally:
            self._forget(pack)  # a reader that was faster than the holes has noted it as intact
        return before - self.allocated(pack)

    def delete(self, pack: PackId) -> bool:
        """Unlink the file; whoever reads it keeps it open."""
        try:
            self._path(pack).unlink()
        except FileNotFoundError:
            return False
        self._forget(pack)
        return True

    def quarantine(self, pack: PackId) -> bool:
        """Move the file aside and sync both folders."""
        path = self._path(pack)
        try:
            path.rename(self._quarantine / path.name)
        except FileNotFoundError:
            return False
        self._forget(pack)
        durable.sync_folder(self._quarantine)
        durable.sync_folder(path.parent)
        return True

    def secure(self, pack: PackId) -> None:
        """Sync the file and its folder."""
        path = self._path(pack)
        try:
            write_out.sync(path)
            durable.sync_folder(path.parent)
        except FileNotFoundError:
            raise pack_reading.absent(pack) from None
        except OSError as error:
            raise pack_ingest.explain(error) from error

    def leftovers(self) -> int:
        """Count the files in the ingest folders of earlier runs."""
        return self.ingests.leftovers()

    def recover(self) -> int:
        """Delete the ingest folders of earlier runs."""
        return self.ingests.recover()

    def take_in(self, ingest: str, files: Mapping[str, PackId]) -> None:
        """Put packs on the shelf that a data process finished in its ingest folder, durably; all or nothing.

        Raises Exhausted (DISK_LOW), Unavailable.
        """
        taken: list[Path] = []
        try:
            for name, pack in files.items():
                target = self._path(pack)
                self.ingests.file(ingest, name).rename(target)
                taken.append(target)
            failpoints.hit("pack.renamed")
            for folder in {target.parent for target in taken}:
                durable.sync_folder(folder)
            failpoints.hit("pack.folder_synced")
        except OSError as error:
            for target in taken:
                target.unlink(missing_ok=True)
            raise pack_ingest.explain(error) from error

    def close(self) -> None:
        """Remove the ingest folder of this run where it is empty; for whoever only looked."""
        with suppress(OSError):
            self._ingest.rmdir()

    def usage(self) -> ShelfUsage:
        """Add up the sizes of all files."""
        disk = disk_space.of_shelf(self._packs)
        return ShelfUsage(
            total=disk.f_blocks * disk.f_frsize,
            free=max(0, self._free() - self._reserved),
            packs=sum(pack.size for pack in self.packs()),
            ingest=_allocated(self._boots),
            quarantine=_allocated(self._quarantine),
        )

    def start(self, reserve: int) -> pack_files.PackWriter:
        """Make an open pack and allocate its space (the Shelf side)."""
        try:
            sink = pack_files.PackWriter(self._ingest / f"{next(self._numbers)}.open")
            try:
                sink.allocate(reserve)
            except OSError:
                sink.discard()
                raise
        finally:
            self.unreserve(reserve)  # it is allocated on the disk now, or never will be
        return sink

    def publish(self, finished: Sequence[tuple[pack_ingest.PackSink, SealedPack]]) -> None:
        """Rename finished packs to their ids and sync the folders (the Shelf side)."""
        folders: set[Path] = set()
        for sink, sealed in finished:
            assert isinstance(sink, pack_files.PackWriter)
            target = self._path(sealed.id)
            sink.rename(target)
            self._written.add(sealed.id, target.stat().st_ctime_ns, sealed.entries)
            folders.add(target.parent)
        failpoints.hit("pack.renamed")
        for folder in folders:
            durable.sync_folder(folder)
        failpoints.hit("pack.folder_synced")

    def unreserve(self, size: int) -> None:
        """Give up promised space (the Shelf side)."""
        with self._lock:
            self._reserved -= size

    def _free(self) -> int:
        disk = disk_space.of_shelf(self._packs)
        return disk.f_bavail * disk.f_frsize - disk_room.headroom(disk.f_blocks * disk.f_frsize)

    def _path(self, pack: PackId) -> Path:
        return self._packs / pack[:2] / f"{pack}.pack"

    def _open(self, pack: PackId) -> pack_files.PackReader:
        with self._lock:
            file = self._files.get(pack)
            if file is not None:
                self._files.move_to_end(pack)
                return file
        file = pack_files.open_pack(self._path(pack), pack, self._keyring)
        with self._lock:
            self._files[pack] = file
            if len(self._files) > _OPEN_FILES:
                self._files.popitem(last=False)
        return file

    def _forget(self, pack: PackId) -> None:
        self._verified.forget(pack)
        self._written.forget(pack)
        with self._lock:
            self._files.pop(pack, None)


def _folders(parent: Path) -> list[Path]:
    """Return the folders in one, in order; files that other programs leave there are none of ours."""
    return sorted(each for each in parent.iterdir() if each.is_dir())


def _is_intact(file: pack_files.PackReader, place: ChunkPlace) -> bool:
    for read_at in (file.read_at, file.read_again):
        try:
            data = pack_reading.data_at(read_at, file.cipher, place.digest, place.offset, place.length)
        except DataLoss as error:
            log.error("pack.unreadable pack=%s offset=%d error=%s", place.pack, place.offset, error)
            continue
        if pack_reading.checked(place, data):
            return True
    return False


def _again(file: pack_files.PackReader, place: ChunkPlace) -> bytes:
    return pack_reading.data_at(file.read_again, file.cipher, place.digest, place.offset, place.length)


def _make_folders(parent: Path, names: Sequence[str]) -> None:
    parent.mkdir(parents=True, exist_ok=True)
    there = {each.name for each in os.scandir(parent) if each.is_dir()}
    for name in names:
        if name not in there:
            (parent / name).mkdir(exist_ok=True)
    durable.sync_folder(parent)


def _allocated(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):  # streams come and go meanwhile
            found = file.stat()
            total += found.st_blocks * 512 if stat.S_ISREG(found.st_mode) else 0
    return total
