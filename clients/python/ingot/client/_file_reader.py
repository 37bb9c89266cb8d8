"""Read one file of a tree without keeping it: ranges as iterators of verified bytes."""

import bisect
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ingot.client import _bulk, _fetching, _retries
from ingot.client._calls import Calls, new_id
from ingot.client._channels import Link
from ingot.client._errors import IngotError, Invalid, OutOfRange, Unreachable
from ingot.client._fetch import Arriving, Span
from ingot.client._manifest import TreeFile, read_file
from ingot.v1 import transfer_pb2 as pb

if TYPE_CHECKING:
    from ingot.client._operations import Operations


class FileReader:
    """One file of a tree, read in ranges; its chunks are asked for once. Safe to use from several threads.

    Every chunk that a range touches comes whole and is compared with its digest before a byte of it is given
    out; the digests are those from which the file root follows. So what comes is what the manifest says, not
    only what some server or disk says.
    """

    def __init__(
        self, link: Link, calls: Calls, tree: str, path: str, operations: "Callable[[], Operations]"
    ) -> None:
        self._link, self._calls, self._tree, self._path = link, calls, tree, path
        self._operations = operations
        self._download_id = new_id()
        self._found: _Found | None = None
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes of the file. Raises IngotError."""
        return _fetching.once_fetched(self._file, self._operations, None).file.size

    def read(self, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield the verified bytes of a range in order (`length` None: to the end), in pieces of up to 2 MiB.

        A broken stream is resumed, and what is not fetched yet is waited for. Raises IngotError; OutOfRange
        for an offset behind the end, DataLoss for wrong bytes.
        """
        if length == 0:
            return
        yield from _fetching.read_once_fetched(lambda: self._pieces(offset, length), self._operations)

    def _pieces(self, offset: int, length: int | None) -> Iterator[bytes]:
        found = self._file()
        for span, last in found.spans(offset, length):
            for at, data in self._chunks(found.tree, span):
                piece = data[max(0, offset - at) : last - at]
                if piece:
                    yield bytes(piece)

    def _chunks(self, tree: str, span: Span) -> Iterator[tuple[int, memoryview]]:
        """Yield verified bytes of a run of chunks in order, each piece with where it begins in the file."""
        call = _bulk.read_chunks(self._link.channel)
        unit = [span]
        position = span.chunks[0][0]
        attempt = 1
        while unit:
            ready: list[memoryview] = []
            arriving = Arriving(unit, lambda _file, _first, _count, data: ready.extend(data))  # noqa: B023
            (left,) = unit
            wanted = pb.ChunkRange(path=self._path, first=left.first, count=len(left.chunks))
            request = pb.ReadChunksRequest(tree=tree, ranges=[wanted], download_id=self._download_id)
            try:
                for pieces in self._calls.stream(call, request):
                    arriving.take(pieces)
                    for data in ready:
                        yield position, data
                        position += len(data)
                    ready.clear()
                if arriving.left:
                    raise Unreachable("The stream of chunks ended early.", reason="UNAVAILABLE")
                return
            except IngotError as error:
                attempt = 2 if arriving.arrived else attempt + 1
                pause = self._calls.pause_before(attempt, _retries.as_outage(error))
                if pause is None:
                    raise
                for data in ready:  # came before what was wrong with its message
                    yield position, data
                    position += len(data)
                unit = arriving.left
            self._calls.pause(pause)

    def _file(self) -> "_Found":
        """Return the file with its chunks, which are asked for when they are first needed."""
        with self._lock:
            if self._found is None:
                self._found = _Found(
                    *read_file(self._link, self._calls, self._tree, self._path, self._download_id)
                )
            return self._found


class _Found:
    """A file with the offsets of its chunks."""

    def __init__(self, tree: str, file: TreeFile) -> None:
        self.tree, self.file = tree, file
        self._chunks = list(file.cut.chunks())

    def spans(self, offset: int, length: int | None) -> Iterator[tuple[Span, int]]:
        """Yield the chunks that a range touches, if any, and where it ends. Raises Invalid, OutOfRange."""
        for field, value in (("offset", offset), ("length", length or 0)):
            if value < 0:
                raise Invalid(
                    f"{field}: expected 0 or more, got {value}.",
                    reason="FIELD_INVALID",
                    facts={"field": field},
                    next_step="Count from the beginning of the file.",
                )
        size = self.file.size
        if offset > size:
            raise OutOfRange(
                f"{self.file.path!r} has {size} bytes, the range starts at {offset}.",
                reason="OFFSET_OUT_OF_RANGE",
                facts={"size": str(size), "offset": str(offset)},
                next_step="Ask for a range inside the file; an offset equal to its size gives no bytes.",
            )
        end = size if length is None else min(size, offset + length)
        if offset < end:
            first = bisect.bisect_right(self._chunks, offset, key=_begin_of) - 1
            last = bisect.bisect_left(self._chunks, end, key=_begin_of)
            yield Span(self.file, first, self._chunks[first:last]), end


def _begin_of(chunk: tuple[int, int, bytes]) -> int:
    return chunk[0]
