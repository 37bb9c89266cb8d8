"""Bytes of a push that stay in memory from being cut until they are sent, so that a file is read once.

Whoever cuts asks the room to hold a window of a file; its chunks share it, and it is gone with the last of
them. When the room is full the cutter waits a moment, since it is far ahead of the sending; after that the
chunks go without their bytes, which are then read again when their turn comes.
"""

import threading

ROOM_BYTES = 128 * 1024 * 1024  # more than one question and one batch together, which wait to become full
_PATIENCE = 1.0  # seconds


class Room:
    """Counts the bytes that are held; for any thread."""

    def __init__(self, size: int = ROOM_BYTES, patience: float = _PATIENCE) -> None:
        self._free, self._patience = size, patience
        self._changed = threading.Condition(threading.RLock())  # memory may be let go of inside of `hold`

    def hold(self, start: int, data: bytes) -> "Held | None":
        """Return the bytes from offset `start` of a file, held; None when no room becomes free."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._free >= len(data), self._patience):
                return None
            self._free -= len(data)
        return Held(self, start, data)

    def let_go(self, size: int) -> None:
        """Count bytes that are not held any more."""
        with self._changed:
            self._free += size
            self._changed.notify()


class Held:
    """A window of a file in memory."""

    __slots__ = ("_data", "_room", "_start")

    def __init__(self, room: Room, start: int, data: bytes) -> None:
        self._room, self._start, self._data = room, start, data

    def __del__(self) -> None:
        self._room.let_go(len(self._data))

    @property
    def size(self) -> int:
        """Bytes that are held."""
        return len(self._data)

    def part(self, offset: int, length: int) -> memoryview:
        """Return the bytes of a range of the file, which must lie in the window."""
        at = offset - self._start
        return memoryview(self._data)[at : at + length]
