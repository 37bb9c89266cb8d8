"""A file of a tree as a seekable source: ranged reads of the server, with read-ahead.

Reading on from where it stands is one stream that a thread reads ahead of, at most AHEAD pieces. After a
seek only a small range is asked for: formats that keep an index somewhere jump to it and read little. Who
reads on behind that gets the stream again.
"""

import queue
import threading
from collections.abc import Generator, Iterator

from ingot.client import Client
from ingot.server.bodies.failures import BodyFailure
from ingot.server.core.errors import Reason
from ingot.server.formats.seam import Positioned

AHEAD = 3  # pieces of at most 2 MiB
_PROBE_BYTES = 256 * 1024
_WAIT_SECONDS = 0.2


class TreeSource(Positioned):
    """A file of a tree; a context manager. For one thread."""

    def __init__(self, client: Client, tree: str, path: str, size: int) -> None:
        super().__init__(size)
        self._file = f"{tree}:{path}"
        self._reader = client.reader(self._file)
        self._piece = b""
        self._begin = 0  # offset of the piece
        self._stream: Iterator[bytes] | None = None
        self._ahead: _Ahead | None = None

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, at most `size`; fewer only at the end."""
        left = self.size - self._position if size < 0 else min(size, self.size - self._position)
        found: list[bytes] = []
        while left > 0:
            at = self._position - self._begin
            if not 0 <= at < len(self._piece):
                self._next()
                continue
            part = self._piece[at : at + left]
            found.append(part)
            self._position += len(part)
            left -= len(part)
        return found[0] if len(found) == 1 else b"".join(found)

    def close(self) -> None:
        """End the stream."""
        self._stream = None
        if self._ahead is not None:
            self._ahead.stop()
            self._ahead = None

    def __enter__(self) -> "TreeSource":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _next(self) -> None:
        """Bring the piece that begins at the position."""
        end = self._begin + len(self._piece)
        if self._stream is None or self._position != end:
            self.close()
            self._stream = self._reader.read(self._position, self._probe())
        piece = next(self._stream, b"")
        if not piece and self._ahead is None:  # behind the probe: whoever goes on reads on
            self._ahead = _Ahead(self._reader.read(self._position))
            self._stream = iter(self._ahead)
            piece = next(self._stream, b"")
        if not piece:
            raise BodyFailure(
                Reason.DATA_LOSS,
                f"{self._file} ended at byte {self._position}; expected {self.size} bytes.",
                next_step="Verify the version; it is checked again then.",
                retry=True,
            )
        self._begin, self._piece = self._position, piece

    def _probe(self) -> int:
        return min(_PROBE_BYTES, self.size - self._position)


class _Ahead:
    """Reads a stream in a thread of its own, a few pieces ahead of who iterates."""

    def __init__(self, stream: Iterator[bytes]) -> None:
        self._stream = stream
        self._pieces: queue.Queue[bytes | BaseException] = queue.Queue(AHEAD)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            piece = self._pieces.get()
            if isinstance(piece, BaseException):
                raise piece
            if not piece:
                return
            yield piece

    def stop(self) -> None:
        """Let the thread end; it closes the stream."""
        self._stopped.set()

    def _run(self) -> None:
        try:
            for piece in self._stream:
                if not self._put(piece):
                    break
            else:
                self._put(b"")
        except Exception as failure:  # noqa: BLE001  # raised again in the thread that reads
            self._put(failure)
        finally:
            if isinstance(self._stream, Generator):
                self._stream.close()

    def _put(self, piece: bytes | BaseException) -> bool:
        while not self._stopped.is_set():
            try:
                self._pieces.put(piece, timeout=_WAIT_SECONDS)
            except queue.Full:
                continue
            return True
        return False
