"""Fetch chunks of a tree over several lanes, each verified by its digest before anything is done with it.

A unit of work is what one ReadChunks call brings: 16 to 256 MiB of a large file, or many small files. When a
stream breaks, the next call asks only for what did not arrive.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ingot.client import _bulk, _data_lanes, _retries
from ingot.client._bulk import PiecesView
from ingot.client._calls import Calls
from ingot.client._channels import Link
from ingot.client._errors import DataLoss, IngotError, Integrity, LimitReached, Unreachable
from ingot.client._lanes import MOST, Lanes
from ingot.client._manifest import TreeFile
from ingot.client._progress import Reporter
from ingot.client._rates import Rate
from ingot.content import digests
from ingot.v1 import transfer_pb2 as pb
from ingot.v1 import transfer_pb2_grpc

UNIT_BYTES = 16 * 1024 * 1024
_LARGEST_UNIT = 256 * 1024 * 1024
_UNITS = 8  # into which a transfer is cut at least, so that all lanes end at about the same time
_MOST_RANGES = 4096
_FIRST_LANES = 2  # none of them waits for a disk


@dataclass(frozen=True, slots=True)
class Span:
    """Neighbouring chunks of one file: `chunks` are (offset, length, digest), from index `first`."""

    file: TreeFile
    first: int
    chunks: Sequence[tuple[int, int, bytes]]

    @property
    def size(self) -> int:
        """Bytes of the chunks."""
        return self.chunks[-1][0] + self.chunks[-1][1] - self.chunks[0][0]

    def after(self, count: int) -> "Span":
        """Return what remains behind the first `count` chunks."""
        return replace(self, first=self.first + count, chunks=self.chunks[count:])


Unit = list[Span]
# Takes verified bytes of whole chunks: the file, index of the first chunk, number of chunks, bytes in parts.
Store = Callable[[TreeFile, int, int, Sequence[memoryview]], None]


def unit_for(size: int) -> int:
    """Return the bytes of one unit of a transfer of `size` bytes: large ones make fewer calls."""
    return max(UNIT_BYTES, min(_LARGEST_UNIT, size // _UNITS))


def spans(file: TreeFile, wanted: Callable[[int], bool], unit: int = UNIT_BYTES) -> Iterator[Span]:
    """Yield the runs of chunks of a file that are wanted, each of at most `unit` bytes."""
    chunks = list(file.cut.chunks())
    start, size = 0, 0
    for index, (_, length, _) in enumerate(chunks):
        if not wanted(index) or (index > start and size + length > unit):
            if index > start:
                yield Span(file, start, chunks[start:index])
            start, size = index, 0
            if not wanted(index):
                start = index + 1
                continue
        size += length
    if start < len(chunks):
        yield Span(file, start, chunks[start:])


class Fetcher:
    """Brings spans and hands their bytes to `store`; enter its `lanes` around the use."""

    def __init__(
        self,
        link: Link,
        calls: Calls,
        tree: str,
        store: Store,
        report: Reporter,
        *,
        download_id: str = "",
        rate: Rate | None = None,
        streams: int | None = None,
        most: int = MOST,
    ) -> None:
        self._link, self._calls, self._tree = link, calls, tree
        self._store, self._report, self._download_id = store, report, download_id
        self._rate = rate or Rate(0)
        self._waiting: Unit = []
        self._waiting_bytes = 0
        self.lanes: Lanes[Unit] = Lanes(self._fetch, first=_FIRST_LANES, most=most, fixed=streams)

    def expect(self, size: int) -> None:
        """Hear how many bytes are about to come, at most: for many it is asked who else may bring them."""
        if size >= _data_lanes.LARGE and not self._link.data.asked:
            stub = transfer_pb2_grpc.TransferServiceStub(self._link.channel)
            limits = self._calls.unary(stub.GetCapabilities, pb.GetCapabilitiesRequest())
            self._link.data.told(limits.data_addresses)

    def add(self, span: Span) -> None:
        """Queue a span; waits while much is queued already."""
        if self._waiting and (
            self._waiting_bytes + span.size > UNIT_BYTES or len(self._waiting) >= _MOST_RANGES
        ):
            self._flush()
        self._waiting.append(span)
        self._waiting_bytes += span.size

    def finish(self) -> None:
        """Wait until everything is stored."""
        self._flush()
        self.lanes.drain()

    def _flush(self) -> None:
        if self._waiting:
            self.lanes.submit(self._waiting)
            self._waiting, self._waiting_bytes = [], 0
            self.lanes.drain(backlog=256)

    def _fetch(self, lane: int, unit: Unit) -> None:
        attempt = 1
        while unit:
            arriving = Arriving(unit, self._store)
            try:
                self._stream(lane, arriving)
                if arriving.left:
                    raise Unreachable("The stream of chunks ended early.", reason="UNAVAILABLE")
                self._link.data.works(lane)
                return
            except IngotError as error:
                if self._link.data.leave(lane, error):
                    unit = arriving.left
                    continue
                if arriving.arrived:
                    attempt = 1  # progress
                attempt += 1
                if isinstance(error, LimitReached):
                    self.lanes.crowded()
                pause = self._calls.pause_before(attempt, _retries.as_outage(error))
                if pause is None:
                    raise
                unit = arriving.left
            self.lanes.wait(pause)

    def _stream(self, lane: int, arriving: "Arriving") -> None:
        call = _bulk.read_chunks(self._link.lane(lane))
        request = pb.ReadChunksRequest(
            tree=self._tree,
            ranges=[
                pb.ChunkRange(path=each.file.path, first=each.first, count=len(each.chunks))
                for each in arriving.left
            ],
            download_id=self._download_id,
        )
        for pieces in self._calls.stream(call, request):
            self.lanes.check()
            size = len(pieces.data)
            if pause := self._rate.reserve(size):
                self.lanes.wait(pause)
            arriving.take(pieces)
            self.lanes.moved(size)
            self._report.add(moved=size)


class Arriving:
    """Checks what a stream brings against what was asked and stores it."""

    def __init__(self, unit: Unit, store: Store) -> None:
        self.arrived = False  # whether anything was stored
        self._unit = unit
        self._span = 0  # the one that comes now
        self._next = 0  # its chunk that comes next
        self._store = store
        self._open: _Begun | None = None  # a chunk that goes on

    @property
    def left(self) -> Unit:
        """What is still to come."""
        rest = self._unit[self._span :]
        return [rest[0].after(self._next), *rest[1:]] if self._next else rest

    def take(self, pieces: PiecesView) -> None:
        """Verify and store one message. Raises DataLoss for wrong bytes, Integrity for disorder."""
        data, lengths = pieces.data, pieces.lengths
        if len(pieces.digests) != digests.DIGEST_SIZE * len(lengths):
            raise _disorder("a message whose lengths and digests do not fit together")
        if self._open is not None:
            data = self._go_on(data, self._open)
        if pieces.more and lengths:
            *lengths, unfinished = lengths
            whole = sum(lengths)
            if len(data) - whole >= unfinished:
                raise _disorder("a chunk that should go on but is complete")
            self._open = _Begun()
            self._open.add(data[whole:])
            data = data[:whole]
        if sum(lengths) != len(data):
            raise _disorder("a message whose lengths do not add up")
        while lengths:
            count, size = self._take_run(data, lengths)
            data, lengths = data[size:], lengths[count:]

    def _go_on(self, data: memoryview, begun: "_Begun") -> memoryview:
        """Add to the chunk that began in an earlier message; return what is behind it."""
        span, index = self._present()
        _, length, digest = span.chunks[index]
        missing = length - begun.size
        begun.add(data[: max(0, missing)])
        if len(data) >= missing:
            self._open = None
            if begun.size != length or begun.digest() != digest:
                raise _wrong(span.file, digest)
            self._store(span.file, span.first + index, 1, begun.parts)
            self._advance(1)
        return data[max(0, missing) :]

    def _take_run(self, data: memoryview, lengths: Sequence[int]) -> tuple[int, int]:
        """Store the chunks at the front that belong to the present span; return how many, and their bytes."""
        span, index = self._present()
        end = count = 0
        for (_, length, digest), got in zip(span.chunks[index : index + len(lengths)], lengths, strict=False):
            _verify(span.file, digest, length, data[end : end + got])
            end += got
            count += 1
        self._store(span.file, span.first + index, count, [data[:end]])
        self._advance(count)
        return count, end

    def _present(self) -> tuple[Span, int]:
        if self._span == len(self._unit):
            raise _disorder("more chunks than were asked for")
        return self._unit[self._span], self._next

    def _advance(self, count: int) -> None:
        self.arrived = True
        self._next += count
        if self._next == len(self._unit[self._span].chunks):
            self._span, self._next = self._span + 1, 0


class _Begun:
    """The parts of a chunk that came so far, hashed while they are at hand."""

    def __init__(self) -> None:
        self.parts: list[memoryview] = []
        self.size = 0
        self._hasher = digests.ChunkHasher()

    def add(self, part: memoryview) -> None:
        self.parts.append(part)
        self.size += len(part)
        self._hasher.update(part)

    def digest(self) -> bytes:
        return self._hasher.digest()


def _verify(file: TreeFile, digest: bytes, length: int, data: memoryview) -> None:
    if len(data) != length or digests.chunk_digest(data) != digest:
        raise _wrong(file, digest)


def _wrong(file: TreeFile, digest: bytes) -> DataLoss:
    return DataLoss(
        f"A chunk of {file.path!r} arrived with other bytes than its digest says.",
        reason="DATA_LOSS",
        facts={"path": file.path, "expected": digests.format_digest(digest)},
        next_step="Pull again; if it stays, whoever runs the server should check its disk.",
    )


def _disorder(what: str) -> Integrity:
    return Integrity(
        f"The server sent {what}.", reason="BAD_LENGTH", next_step="Update the server or this client."
    )
