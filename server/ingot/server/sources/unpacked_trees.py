"""The folder into which an archive is unpacked: only plain files under good paths, and not too much of them.

Nothing that an archive says is followed: it gives names and bytes, and this decides. A name is taken as it
stands or refused; two names that one common file system would merge are refused; the folder is new, and no
link is ever made in it, so nothing can lead out of it.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ingot.content import paths
from ingot.content.texts import shortened
from ingot.server.core.errors import FieldProblem, Invalid, Precondition, Reason

MAX_ENTRIES = 200_000
MAX_RATIO = 250  # bytes of files for a byte of the archive; text seldom packs better than 1 to 50
FREE_BYTES = 64 * 1024 * 1024  # below, the ratio does not count
_DISK_STEP = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Room:
    """How much there may be: files and folders, bytes in all (0 is any), and a check of the disk."""

    entries: int = MAX_ENTRIES
    all_bytes: int = 0
    check_disk: Callable[[int], None] = lambda needed: None


class UnpackedTree:
    """Takes the entries of one archive; `told` is called with the bytes that were written."""

    def __init__(self, archive: Path, folder: Path, room: Room, told: Callable[[int], None]) -> None:
        """Make the folder, which must not be there yet."""
        folder.mkdir(parents=True)
        self._name, self._folder, self._room, self._told = archive.name, folder, room, told
        self._packed_bytes = archive.stat().st_size
        self._spelling: dict[str, str] = {}
        self._files: set[str] = set()
        self._entries = 0
        self._unchecked = 0
        self.size = 0

    @property
    def paths(self) -> list[str]:
        """The files, sorted."""
        return sorted(self._files)

    def folder(self, name: str) -> None:
        """Take a folder; it is made when a file is in it. Raises Invalid, Precondition."""
        self._count(name)
        path = _plain(name).rstrip("/")
        if path not in ("", "."):
            self._check(path, is_file=False)

    def expect(self, size: int) -> None:
        """Refuse what would be too much, before it comes: `size` more bytes. Raises Precondition."""
        total = self.size + size
        if self._room.all_bytes and total > self._room.all_bytes:
            raise _too_large(self._name, f"unpacks to more than {self._room.all_bytes} bytes")
        self.expect_unpacked(total)

    def expect_unpacked(self, total: int) -> None:
        """Refuse when so many bytes come out of the archive, kept or not. Raises Precondition."""
        if total > FREE_BYTES and total > MAX_RATIO * self._packed_bytes:
            raise _too_large(
                self._name,
                f"has {self._packed_bytes} bytes and unpacks to more than {MAX_RATIO} times as many, "
                "as only archives do that are meant to fill disks",
            )

    def file(self, name: str, size: int, pieces: Iterable[bytes]) -> None:
        """Take a file of `size` bytes. Raises Invalid (BAD_PATH), Precondition (TOO_LARGE), Exhausted."""
        self._count(name)
        path = _plain(name)
        self._check(path, is_file=True)
        self.expect(size)
        self._room.check_disk(size)
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(target, flags, 0o644), "wb", buffering=0) as file:
            for piece in pieces:
                self.expect(len(piece))
                file.write(piece)
                self.size += len(piece)
                self._watch_disk(len(piece))
                self._told(self.size)

    def _watch_disk(self, count: int) -> None:
        self._unchecked += count
        if self._unchecked >= _DISK_STEP:
            self._unchecked = 0
            self._room.check_disk(0)

    def _count(self, name: str) -> None:
        self._entries += 1
        if self._entries > self._room.entries:
            raise _too_large(self._name, f"has more than {self._room.entries} entries")
        if len(name) > 4 * paths.MAX_PATH_BYTES:
            raise self._bad(name, f"it is {len(name)} characters long")

    def _check(self, path: str, *, is_file: bool) -> None:
        """Refuse a path that breaks a rule, or does not go with those before. Raises Invalid."""
        try:
            paths.check_path(path)
        except paths.PathError as error:
            raise self._bad(path, error.rule) from None
        end = path.find("/")
        while end != -1:
            self._spell(path, path[:end])
            if path[:end] in self._files:
                raise self._bad(path, f"{shortened(path[:end])!r} is a file already")
            end = path.find("/", end + 1)
        known = paths.fold(path) in self._spelling
        self._spell(path, path)
        if is_file and known:
            raise self._bad(path, "it is there already")
        if path in self._files:
            raise self._bad(path, "it is a file and a folder at once")
        if is_file:
            self._files.add(path)

    def _spell(self, path: str, name: str) -> None:
        known = self._spelling.setdefault(paths.fold(name), name)
        if known != name:
            raise self._bad(
                path,
                f"{shortened(name)!r} and {shortened(known)!r} would be the same name where case is ignored",
            )

    def _bad(self, path: str, rule: str) -> Invalid:
        path = shortened(path)
        message = f"The archive {self._name} holds the path {path!r}, which is refused: {rule}."
        return Invalid(
            Reason.BAD_PATH,
            message,
            next_step="Pack the files again under plain relative paths.",
            facts={"archive": self._name, "path": path},
            fields=(FieldProblem("unpack", message, Reason.BAD_PATH),),
        )


def _plain(name: str) -> str:
    # `tar -C folder .` writes each name as ./name; that is notation, not another place.
    return name.removeprefix("./")


def _too_large(archive: str, why: str) -> Precondition:
    return Precondition(
        Reason.TOO_LARGE,
        f"The archive {archive} {why}.",
        next_step="Split it, or fetch it as it is, without unpack.",
        facts={"archive": archive},
    )
