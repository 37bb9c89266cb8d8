"""A file of a tree as a seekable source inside the server: ranges of it, read chunk by chunk, within bounds.

For work on an I/O thread: where the bytes lie is asked of the rows in that thread, and each chunk is checked
against its digest as every read of it is. What may be read together is decided by an Allowance.
"""

from ingot.content import digests
from ingot.server.core.contents import Allowance, TooCostly
from ingot.server.core.errors import DataLoss
from ingot.server.core.manifests import FileFacts
from ingot.server.core.packs import ChunkPlace
from ingot.server.core.stores import PackStore
from ingot.server.domain.downloads import Downloads, OpenedTree, Slice
from ingot.server.formats.seam import Positioned
from ingot.server.rpc.hops import Hops

_WINDOW = 64 * 1024  # bytes read at least
_MOST = 4 * 1024 * 1024  # bytes of one read: a header of that size may need twenty times as much memory


class ChunkLost(Exception):
    """A chunk that could not be read, and the error that says so."""

    def __init__(self, place: ChunkPlace, error: DataLoss) -> None:
        super().__init__(str(error))
        self.place = place
        self.error = error


class RangeSource(Positioned):
    """A file of a committed tree; for one thread."""

    def __init__(
        self,
        hops: Hops,
        downloads: Downloads,
        packs: PackStore,
        opened: OpenedTree,
        file: FileFacts,
        allowance: Allowance,
    ) -> None:
        super().__init__(file.size_bytes)
        self._hops = hops
        self._downloads = downloads
        self._packs = packs
        self._opened = opened
        self._file = file
        self._allowance = allowance
        self._window = b""
        self._begin = 0  # of the window

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, at most `size`; fewer only at the end. Raises TooCostly, ChunkLost."""
        left = max(0, self.size - self._position)
        count = left if size < 0 else min(size, left)
        if not count:
            return b""
        if count > _MOST:
            raise TooCostly("too many bytes at once")
        at = self._position - self._begin
        if not 0 <= at <= len(self._window) - count:
            self._window = self._fetch(self._position, min(left, max(count, _WINDOW)))
            self._begin, at = self._position, 0
        self._position += count
        return self._window[at : at + count]

    def _fetch(self, offset: int, count: int) -> bytes:
        parts: list[bytes] = []
        for each in self._hops.read_here(self._slices, offset, count):
            self._allowance.take(each.place.length)  # a chunk is read whole
            parts.append(self._chunk(each.place)[each.start : each.start + each.length])
        return b"".join(parts)

    def _slices(self, offset: int, count: int) -> list[Slice]:
        """Return where the bytes of a range lie; inside a read."""
        downloads, path = self._downloads, self._file.path
        if self._file.chunk_count <= digests.SEGMENT_MAX_ENTRIES:
            return downloads.range_slices(self._opened, path, 0, offset, count)
        _, segments = downloads.range_segments(self._opened, path, offset, count)
        found = (downloads.range_slices(self._opened, path, *segment) for segment in segments)
        return [each for some in found for each in some]

    def _chunk(self, place: ChunkPlace) -> bytes:
        try:
            return self._packs.read(place)
        except DataLoss as error:
            raise ChunkLost(place, error) from error
