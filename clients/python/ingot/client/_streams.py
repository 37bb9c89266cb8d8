"""Send chunks: batches become PutChunks streams, each acknowledged as a whole once it is on disk there.

A batch is what one stream carries. It begins at 16 MiB and follows the rate, so that a stream lasts some
seconds: a broken one costs little, and its fsync is shared by much. Neighbouring chunks of a file are taken
from memory, or read with one call, and sent in one message of about 1 MiB. After a failure the server is
asked again which chunks of the batch it lacks, since the acknowledgement alone may have been lost.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ingot.client import _bulk, _data_lanes, _retries
from ingot.client._calls import Calls
from ingot.client._channels import Link
from ingot.client._errors import (
    Cancelled,
    IngotError,
    Integrity,
    LimitReached,
    ServerFault,
    SourceChanged,
    TimedOut,
    Unreachable,
)
from ingot.client._held import Held
from ingot.client._lanes import Lanes, LaneStopped
from ingot.client._progress import Reporter
from ingot.client._rates import Rate
from ingot.v1 import transfer_pb2 as pb
from ingot.v1 import transfer_pb2_grpc

MIB = 1024 * 1024
_FIRST_BATCH = 16 * MIB
_LARGEST_BATCH = 64 * MIB  # whatever the server would take: what waits for it is held in memory
_SMALLEST_BATCH = MIB
_BATCH_SECONDS = 4.0
_SLOW = 4 * MIB  # bytes a second that one stream is enough for
_SLOW_SECONDS = 30.0  # of a stream, at the rate that is allowed
_SMALLEST_MESSAGE = 16 * 1024
_DENSE = 0.75  # of a held window: a batch holds at most a third more than it sends
_ASKED = 3  # times without an answer in time: a connection that fell silent is made anew within 80 s
_MOST_CHUNKS = 8192  # so that one FindMissing asks about a whole batch


@dataclass(slots=True)
class ChunkSource:
    """A chunk, where to read it, and its bytes while they are held: until it is sent the first time."""

    source: str
    offset: int
    length: int
    digest: bytes
    held: Held | None = None


Batch = list[ChunkSource]


class Missing:
    """Asks which chunks an upload still needs."""

    def __init__(self, link: Link, calls: Calls, upload: str, most: int) -> None:
        self._stub = transfer_pb2_grpc.TransferServiceStub(link.channel)
        self._calls = calls
        self._upload = upload
        self.most = most  # digests in one question

    def among(self, chunks: Sequence[ChunkSource]) -> Batch:
        """Return those of at most `most` chunks that the server lacks, in order."""
        request = pb.FindMissingRequest(upload=self._upload, digests=b"".join(each.digest for each in chunks))
        bits = self._answer(request).missing
        return [each for at, each in enumerate(chunks) if bits[at // 8] >> (at % 8) & 1]

    def _answer(self, request: pb.FindMissingRequest) -> pb.FindMissingResponse:
        for _ in range(_ASKED - 1):
            with suppress(TimedOut):
                return self._calls.unary(self._stub.FindMissing, request)
        return self._calls.unary(self._stub.FindMissing, request)


def stream_bytes(limits: pb.GetCapabilitiesResponse, size: int) -> int:
    """Return the most that one stream should carry of a tree of `size` bytes, 0 when that is not known."""
    tiers = limits.stream_sizes if size else ()
    fits = (each.stream_bytes for each in tiers if size < each.below_bytes or not each.below_bytes)
    return next(fits, 0) or limits.max_stream_bytes or _LARGEST_BATCH


def most_lanes() -> int:
    """Return how many streams this machine can serve: two for each of its processors, at most 32."""
    return min(32, 2 * (os.cpu_count() or 1))


class Sender:
    """Sends batches over the lanes; `refused` collects chunks whose bytes no longer have their digest."""

    def __init__(
        self,
        link: Link,
        calls: Calls,
        upload: str,
        limits: pb.GetCapabilitiesResponse,
        report: Reporter,
        rate: Rate,
        streams: int | None,
        size: int = 0,
    ) -> None:
        """`size` are the bytes of all that may have to be sent, 0 when that is not known."""
        if size >= _data_lanes.LARGE:
            link.data.told(limits.data_addresses)
        self._link, self._calls, self._upload = link, calls, upload
        self._limits, self._report, self._rate = limits, report, rate
        self._missing = Missing(link, calls, upload, limits.max_digests or _MOST_CHUNKS)
        self._largest = min(_LARGEST_BATCH, stream_bytes(limits, size))
        self._message_bytes = limits.message_bytes or MIB
        if rate.per_second:  # a stream must neither last too long nor be silent between its messages
            self._largest = min(self._largest, max(_SMALLEST_BATCH, int(rate.per_second * _SLOW_SECONDS)))
            self._message_bytes = max(_SMALLEST_MESSAGE, min(self._message_bytes, int(rate.per_second / 4)))
            streams = 1 if rate.per_second < _SLOW else streams
        self._largest_message = self._message_bytes
        self.batch_bytes = min(_FIRST_BATCH, self._largest)
        self.refused: Batch = []
        self._lock = threading.Lock()
        self._waiting: Batch = []
        self._waiting_bytes = 0
        most = min(max(1, (limits.max_streams or 8) // 2), most_lanes())
        self.lanes: Lanes[Batch] = Lanes(self._send, most=most, fixed=streams)

    def add(self, chunks: Batch) -> None:
        """Queue chunks; full batches leave at once. Waits while much is queued already."""
        _let_go_of_sparse(chunks)
        for chunk in chunks:
            if self._waiting and (
                self._waiting_bytes + chunk.length > self.batch_bytes or len(self._waiting) >= _MOST_CHUNKS
            ):
                self.flush()
            self._waiting.append(chunk)
            self._waiting_bytes += chunk.length
        self.lanes.drain(backlog=64)

    def flush(self) -> None:
        """Let the last batch leave though it is not full."""
        if self._waiting:
            self.lanes.submit(self._waiting)
            self._waiting, self._waiting_bytes = [], 0

    def finish(self) -> None:
        """Wait until every chunk is acknowledged or refused."""
        self.flush()
        self.lanes.drain()

    # --- one lane ---------------------------------------------------------------------------------------

    def _send(self, lane: int, batch: Batch) -> None:
        attempt, refused = 1, False
        while batch and not self.lanes.give_back(lane, batch):
            if (half := len(batch) // 2) and _size(batch) > 2 * self.batch_bytes:
                self._send(lane, batch[:half])
                batch = batch[half:]
                continue
            try:
                self._stream(lane, batch)
                self._link.data.works(lane)
                return
            except IngotError as error:
                if self._link.data.leave(lane, error):
                    batch = self._not_there(batch)
                    continue
                if isinstance(error, Integrity):  # whether the file changed is found out later
                    with self._lock:
                        self.refused += batch
                    return
                if not refused and self._calls.renews(error):
                    refused = True
                    continue
                attempt += 1
                if isinstance(error, LimitReached):
                    self.lanes.crowded()
                elif isinstance(error, TimedOut):
                    self._slower()
                pause = self._calls.pause_before(attempt, _as_outage(error))
                if pause is None:
                    raise
            self.lanes.wait(pause)
            batch = self._not_there(batch)
            half = len(batch) // 2
            if attempt > 2 and half:  # the path may be too slow for so much at once
                self.batch_bytes = max(_SMALLEST_BATCH, self.batch_bytes // 2)
                self._send(lane, batch[:half])
                batch = batch[half:]

    def _not_there(self, batch: Batch) -> Batch:
        """Return what a batch still has to bring after its stream failed."""
        left = self._missing.among(batch)
        # What is there now did travel; only its acknowledgement was lost.
        self._report.add(moved=_size(batch) - _size(left))
        return left

    def _stream(self, lane: int, batch: Batch) -> None:
        call = _bulk.put_chunks(self._link.lane(lane))
        size = _size(batch)
        sent = _Sent(self._report, self.lanes.moved)
        begun = time.monotonic()
        seconds = self._limits.max_stream_time.ToTimedelta().total_seconds() or 120.0
        try:
            with _Reader() as reader:
                messages = self._messages(batch, size, reader, sent)
                reply = self._calls.send(call, messages, timeout=seconds + 30.0)
        except BaseException:
            sent.take_back()
            raise
        if len(reply.outcomes) != len(batch) or reply.stored_bytes + reply.already_bytes != size:
            sent.take_back()
            raise ServerFault(
                f"The server acknowledged {len(reply.outcomes)} of {len(batch)} chunks.", reason="INTERNAL"
            )
        self._learn(size, time.monotonic() - begun)

    def _learn(self, size: int, seconds: float) -> None:
        if size >= self.batch_bytes // 2:
            rate = int(size / max(seconds, 0.001))
            wanted = int(rate * _BATCH_SECONDS)
            self.batch_bytes = max(_SMALLEST_BATCH, min(self._largest, wanted, self.batch_bytes * 2))
            self._message_bytes = max(_SMALLEST_MESSAGE, min(self._largest_message, rate))

    def _slower(self) -> None:
        """Send less at once: fewer streams, which share the path, shorter ones, and smaller messages.

        A message counts when all of it has arrived, so large ones make a thin path look slower still.
        """
        self.batch_bytes = max(_SMALLEST_BATCH, self.batch_bytes // 4)
        self._message_bytes = max(_SMALLEST_MESSAGE, self._message_bytes // 4)
        self.lanes.slower()

    def _messages(self, batch: Batch, size: int, reader: "_Reader", sent: "_Sent") -> Iterator[bytes]:
        header = pb.PutChunksHeader(upload=self._upload, declared_bytes=size, declared_chunks=len(batch))
        yield pb.PutChunksRequest(header=header).SerializeToString()
        for count, message in _pieces(batch, reader, self._message_bytes):
            self.lanes.check()
            if pause := self._rate.reserve(count):
                self.lanes.wait(pause)
            yield message
            sent.add(count)
        finish = pb.PutChunksFinish(chunks=len(batch), bytes=size)
        yield pb.PutChunksRequest(finish=finish).SerializeToString()


class _Sent:
    """What one stream has counted as sent; taken back when the stream fails."""

    def __init__(self, report: Reporter, moved: Callable[[int], None]) -> None:
        self._report, self._moved, self._bytes = report, moved, 0

    def add(self, count: int) -> None:
        self._bytes += count
        self._moved(count)
        self._report.add(moved=count)

    def take_back(self) -> None:
        self._report.add(moved=-self._bytes)
        self._bytes = 0


class _Reader:
    """Reads ranges of files with a descriptor of its own, which nobody else closes.

    gRPC asks for messages in a thread of its own, and may be at it when a stream has failed already.
    """

    def __init__(self) -> None:
        self._path = ""
        self._file = -1
        self._over = False
        self._lock = threading.Lock()

    def read(self, source: str, offset: int, length: int) -> bytes:
        """Return exactly these bytes. Raises SourceChanged when the file is shorter or gone."""
        with self._lock:
            if self._over:
                raise LaneStopped
            return self._read(source, offset, length)

    def _read(self, source: str, offset: int, length: int) -> bytes:
        try:
            if source != self._path:
                self._close()
                self._file = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
                self._path = source
            data = os.pread(self._file, length, offset)
            while 0 < len(data) < length:
                more = os.pread(self._file, length - len(data), offset + len(data))
                if not more:
                    break
                data += more
        except OSError as failure:
            raise changed(source, str(failure)) from failure
        if len(data) != length:
            raise changed(source, f"it ended at byte {offset + len(data)}")
        return data

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file, self._path = -1, ""

    def __enter__(self) -> "_Reader":
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._over = True
            self._close()


def _size(batch: Batch) -> int:
    return sum(each.length for each in batch)


def _let_go_of_sparse(chunks: Batch) -> None:
    """Let go of windows of which little is to be sent: a few bytes must not keep others out of the room."""
    left: Counter[int] = Counter()
    for each in chunks:
        if each.held is not None:
            left[id(each.held)] += each.length
    for each in chunks:
        if each.held is not None and left[id(each.held)] < _DENSE * each.held.size:
            each.held = None


def _pieces(batch: Batch, reader: _Reader, aim: int) -> Iterator[tuple[int, bytes]]:
    """Yield messages of about `aim` bytes, each with the bytes of chunks in it.

    Many small chunks go into one message, a large chunk over several.
    """
    group: Batch = []
    size = 0
    for chunk in batch:
        if group and size + chunk.length > aim:
            yield size, _together(group, reader)
            group, size = [], 0
        if chunk.length > aim:
            yield from _spread(chunk, reader, aim)
        else:
            group.append(chunk)
            size += chunk.length
    if group:
        yield size, _together(group, reader)


def _together(group: Batch, reader: _Reader) -> bytes:
    runs: list[tuple[ChunkSource, int]] = []  # the first chunk of a run and the bytes of all
    for chunk in group:
        if runs:
            first, size = runs[-1]
            follows = first.source == chunk.source and first.offset + size == chunk.offset
            if follows and first.held is chunk.held:
                runs[-1] = (first, size + chunk.length)
                continue
        runs.append((chunk, chunk.length))
    packed = b"".join(each.digest for each in group)
    data = [_bytes_of(first, reader, 0, size) for first, size in runs]
    for each in group:
        each.held = None
    return _bulk.encode_pieces(packed, [each.length for each in group], data)


def _spread(chunk: ChunkSource, reader: _Reader, aim: int) -> Iterator[tuple[int, bytes]]:
    for start in range(0, chunk.length, aim):
        count = min(aim, chunk.length - start)
        data = _bytes_of(chunk, reader, start, count)
        packed, lengths = (chunk.digest, [chunk.length]) if start == 0 else (b"", [])
        yield count, _bulk.encode_pieces(packed, lengths, [data], more=start + count < chunk.length)
    chunk.held = None


def _bytes_of(first: ChunkSource, reader: _Reader, start: int, size: int) -> bytes | memoryview:
    """Return `size` bytes from `start` of a chunk on, which may go on in those that follow it."""
    held, offset = first.held, first.offset + start  # a stream that failed may still be letting go of it
    return held.part(offset, size) if held else reader.read(first.source, offset, size)


def changed(source: str, how: str) -> SourceChanged:
    """Return the error for a file that is no longer what was cut."""
    return SourceChanged(
        f"{source} changed while it was pushed: {how}.",
        reason="SOURCE_CHANGED",
        facts={"path": source},
        next_step="Push again once nothing writes to it, or push a copy.",
    )


def _as_outage(error: IngotError) -> IngotError:
    # A stream that the server found too slow, or that somebody's limit cancelled, is worth another try.
    if isinstance(error, TimedOut | Cancelled) and not _retries.may_help(error):
        return Unreachable(error.message)
    return error
