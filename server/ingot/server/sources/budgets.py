"""What is wanted, and how much of it may be taken: files, caps and the disk."""

import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx2

from ingot.server.core import disk_room
from ingot.server.core.disk_room import DiskSpace
from ingot.server.core.errors import DataLoss, Exhausted, Precondition, Reason
from ingot.server.sources.addresses import named, shown
from ingot.server.sources.answers import facts


@dataclass(frozen=True, slots=True, eq=False)
class WantedFile:
    """One file: addresses of the same bytes in order, and what is known of them; each is another one."""

    urls: tuple[str, ...]
    checksum: str = ""  # algorithm:hex
    size: int | None = None
    piece: int = 0  # most bytes to ask for at once, where there is a checksum; 0 is all

    @property
    def name(self) -> str:
        """Its first address, as it may be shown."""
        return shown(self.urls[0])


def free_bytes(folder: Path) -> int:
    """Return how much may be written to the disk of `folder`."""
    return disk_of(folder).free


def disk_of(folder: Path) -> DiskSpace:
    """Return how full the disk of `folder` is."""
    return DiskSpace(*shutil.disk_usage(folder))


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps in bytes; 0 is none. `headroom` stays free on the disk, None is what every stream leaves."""

    file_bytes: int = 0
    all_bytes: int = 0
    headroom: int | None = None
    disk: Callable[[Path], DiskSpace] = disk_of


class Budget:
    """The limits of everything that one body fetches, and what of them is used; for all its threads."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.taken_bytes = 0  # that came, also those that were thrown away
        self.kept_bytes = 0  # that are there, complete or not
        self._there: dict[WantedFile, int] = {}
        self._lock = threading.Lock()

    def keep(self, wanted: WantedFile, size: int, *, taken: int = 0) -> None:
        """Note that `size` bytes of a file are there, of which `taken` just came."""
        with self._lock:
            self.taken_bytes += taken
            self.kept_bytes += size - self._there.get(wanted, 0)
            self._there[wanted] = size

    def check_size(self, wanted: WantedFile, url: str, size: int | None) -> None:
        """Refuse a size that is not the wanted one, or above a limit. Raises DataLoss, Precondition."""
        if size is None:
            return
        if wanted.size is not None and size != wanted.size:
            raise mismatch(url, f"has {size} bytes, expected {wanted.size}")
        self.check_limits(wanted, size)

    def check_limits(self, wanted: WantedFile, size: int) -> None:
        """Refuse a file of so many bytes when that is more than the limits allow. Raises Precondition."""
        limits = self.limits
        if limits.file_bytes and size > limits.file_bytes:
            raise _too_large(wanted, f"has more than {limits.file_bytes} bytes", "import_max_file_bytes")
        others = self.kept_bytes - self._there.get(wanted, 0)
        if limits.all_bytes and others + size > limits.all_bytes:
            raise _too_large(
                wanted, f"makes it more than {limits.all_bytes} bytes in all", "import_max_bytes"
            )

    def check_disk(self, folder: Path, needed: int) -> None:
        """Refuse to write `needed` bytes when the disk has no room for them. Raises Exhausted (DISK_LOW)."""
        disk, kept = self.limits.disk(folder), self.limits.headroom
        kept = disk_room.headroom(disk.total) if kept is None else kept
        if needed > disk.free - kept:
            room = max(0, disk.free - kept)
            raise Exhausted(
                Reason.DISK_LOW,
                f"The server's disk has room for {room} more bytes, and {needed} are needed: {disk.free} are "
                f"free, "
                f"of which {kept} stay free for the server itself.",
                next_step="Free or add disk space on the server, then retry; what was fetched is kept.",
                facts={"needed": str(needed), "free": str(disk.free), "kept_free": str(kept)},
            )


def mismatch(url: str, why: str) -> DataLoss:
    """Return the error for bytes that are not the wanted ones."""
    return DataLoss(
        Reason.SOURCE_MISMATCH,
        f"{named(url)} {why}.",
        next_step="Check size and checksum; the bytes that came were thrown away.",
        facts=facts(httpx2.URL(url), "mismatch"),
    )


def _too_large(wanted: WantedFile, why: str, setting: str) -> Precondition:
    name = named(wanted.urls[0])
    return Precondition(
        Reason.TOO_LARGE,
        f"{name} {why}, which is the limit of the server.",
        next_step=f"Fetch less, or raise {setting} in the settings of the server.",
        facts={"url": name, "setting": setting},
    )
