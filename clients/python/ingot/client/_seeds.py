"""Chunks that are on this machine already: in the file that a pull replaces and in others of its folder."""

import os
import stat
from pathlib import Path

from ingot.client import _mapped
from ingot.client._journal import Cut, FileState, Journal
from ingot.client._manifest import TreeFile
from ingot.content import chunking, digests
from ingot.content.cuts import Cuts


class Seeds:
    """Where equal chunks can be read; what is read is verified, since files may change at any time."""

    def __init__(self, journal: Journal | None) -> None:
        """Offer what a journal knows; None where nothing counts but what is read now."""
        self._places: dict[bytes, tuple[str, int, int]] = {}
        for path, cut in journal.known() if journal is not None else ():
            self.add_cut(Path(path), cut)

    def add_cut(self, path: Path, cut: Cut) -> None:
        """Offer the chunks of a file whose cut is known."""
        for offset, length, digest in cut.chunks():
            self._places[digest] = (str(path), offset, length)

    def add_intact(self, path: Path, file: TreeFile) -> FileState | None:
        """Offer the chunks that are in their place in what should be `file`; return its state if all are.

        Reads all of it, so it finds what a journal cannot know: bytes that changed without a write.
        """
        count = 0
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            state = FileState.of(os.fstat(descriptor))
            _mapped.Pages(descriptor, state).let_writes_show()
            for offset, length, digest in file.cut.chunks():
                if is_chunk(descriptor, offset, length, digest):
                    self._places[digest] = (str(path), offset, length)
                    count += 1
            whole = state.size == file.size and count == file.cut.chunk_count
            return state if whole and FileState.of(os.fstat(descriptor)) == state else None
        except OSError:  # a part of the disk that cannot be read
            return None
        finally:
            os.close(descriptor)

    def add_file(self, path: Path, profile: str) -> Cut | None:
        """Cut a file that may be replaced, offer its chunks and return the cut; None if it is unreadable.

        It is cut by `profile` as far as that fits it, so that it has the chunks that the other one has.
        """
        cuts = Cuts(profile)
        try:
            chunks = list(chunking.cut_file(path, cuts))
        except (OSError, chunking.SourceChangedError):
            return None
        for chunk in chunks:
            self._places[chunk.digest] = (str(path), chunk.offset, chunk.length)
        entries = digests.segment_bytes([(chunk.digest, chunk.length) for chunk in chunks])
        return Cut(sum(chunk.length for chunk in chunks), entries, cuts.profile)

    def most_in_place(self, path: str, file: TreeFile) -> bool:
        """Return whether the file at `path` has most chunks of `file` where `file` has them."""
        chunks = list(file.cut.chunks())
        there = sum(self._places.get(digest) == (path, offset, length) for offset, length, digest in chunks)
        return 2 * there > len(chunks)

    def has(self, digest: bytes) -> bool:
        """Return whether a chunk was here when it was looked for."""
        return digest in self._places

    def read(self, digest: bytes) -> bytes | None:
        """Return the bytes of a chunk; None when they are not here or not here any more."""
        place = self._places.get(digest)
        if place is None:
            return None
        path, offset, length = place
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            data = os.pread(descriptor, length, offset)
        except OSError:  # a part of the disk that cannot be read
            return None
        finally:
            os.close(descriptor)
        return data if digests.chunk_digest(data) == digest else None


def state_of_content(place: Path, file: TreeFile, journal: Journal) -> FileState | None:
    """Return the state of the file at `place` if it is exactly `file`, by the journal or else by reading.

    None also for one that cannot be read: only its owner may know what it holds.
    """
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        found = os.fstat(descriptor)
        state = FileState.of(found)
        if not stat.S_ISREG(found.st_mode) or state.size != file.size:
            return None
        known = journal.get(str(place), state)
        if known is not None and known.profile == file.cut.profile:
            return state if known.entries == file.cut.entries else None
        _mapped.Pages(descriptor, state).let_writes_show()
        return state if is_intact(descriptor, file) and FileState.of(os.fstat(descriptor)) == state else None
    except OSError:  # a part of the disk that cannot be read
        return None
    finally:
        os.close(descriptor)


def compared(place: Path, file: TreeFile) -> bool | None:
    """Return whether the file at `place` is `file`, reading all of it; None when there is none."""
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError:
        return False
    try:
        found = os.fstat(descriptor)
        whole = stat.S_ISREG(found.st_mode) and found.st_size == file.size
        return whole and is_intact(descriptor, file)
    except OSError:  # a part of the disk that cannot be read
        return False
    finally:
        os.close(descriptor)


def is_intact(descriptor: int, file: TreeFile) -> bool:
    """Return whether an open file has every chunk of `file` in its place; reads all of it."""
    return all(is_chunk(descriptor, *chunk) for chunk in file.cut.chunks())


def is_chunk(descriptor: int, offset: int, length: int, digest: bytes) -> bool:
    """Return whether an open file has a chunk in its place."""
    data = os.pread(descriptor, length, offset)
    return len(data) == length and digests.chunk_digest(data) == digest
