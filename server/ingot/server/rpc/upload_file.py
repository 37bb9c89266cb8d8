"""Receives one UploadFile stream: the loop takes messages in, threads cut, hash and write what came before.

    header ─▶ open ─▶ data ─▶ window (2 MiB) ─▶ cut ─▶ run ─▶ …  finish ─▶ compare ─▶ manifest ─▶ commit

One window is on its way to disk while the next one fills, and no more: a sender that is faster than the disk
is held back by the flow control of its connection. A run of chunks becomes durable and counts when it is as
large as a PutChunks stream should be, or half a minute old, so a file of any size needs about 16 MiB here.
"""

import asyncio
import dataclasses
import logging
import math
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial

from ingot.content import cuts, digests, feeding
from ingot.server.core.chunks import ReceivedChunk
from ingot.server.core.errors import Invalid, invalid_field
from ingot.server.core.file_uploads import FileClaim, FilePlan, UploadedFile
from ingot.server.core.identity import Caller
from ingot.server.core.manifests import FileFacts
from ingot.server.core.stores import PackStore
from ingot.server.core.uploads import Pace, TransferLimits, Upload, UploadState, unfinished
from ingot.server.domain import file_uploads
from ingot.server.domain.chunk_intake import ChunkIntake
from ingot.server.domain.commits import Commits
from ingot.server.domain.file_stream import FileAgain, FileStream, other_size
from ingot.server.domain.file_uploads import FileUploads
from ingot.server.domain.requests import RequestKey
from ingot.server.rpc import admission, pipeline
from ingot.server.rpc import convert_transfer as convert
from ingot.server.rpc.committing import Committer
from ingot.server.rpc.hops import Hops
from ingot.server.rpc.incoming_runs import IncomingRun
from ingot.server.rpc.uninterrupted import uninterrupted
from ingot.v1 import transfer_pb2

log = logging.getLogger(__name__)

Messages = AsyncIterator[transfer_pb2.UploadFileRequest]
_Call = tuple[str, str]  # principal and request id: what tries of one call have in common

_METHOD = "UploadFile"
_HANDFUL = feeding.WINDOW // 2  # bytes that are handed to the threads together
_RUN_SECONDS = 30.0
_SEGMENTS = 4  # of a manifest in one write: half a megabyte each


@dataclasses.dataclass(frozen=True, slots=True)
class FileMeans:
    """What receiving a file takes."""

    hops: Hops
    files: FileUploads
    intake: ChunkIntake
    commits: Commits
    committer: Committer
    packs: PackStore
    limits: TransferLimits


class FileReceiver:
    """Receives streams; one object serves them all."""

    def __init__(self, means: FileMeans) -> None:
        self._means = means
        # A file is as large as it is: only pauses and too slow a rate end its stream.
        self._limits = dataclasses.replace(means.limits, max_stream_seconds=math.inf)
        self._running: Counter[_Call] = Counter()

    async def receive(self, caller: Caller, messages: Messages) -> UploadedFile:
        """Take one stream to its end and return what the file became.

        Raises Invalid (STREAM_UNFINISHED, BAD_LENGTH, BAD_PATH, FIELD_INVALID), NotFound, Precondition
        (DIGEST_MISMATCH, UPLOAD_CLOSED, REQUEST_ID_REUSED), Exhausted (BUSY, TOO_LARGE, DISK_LOW), TooSlow,
        Unavailable, and as BeginUpload and CommitUpload.
        """
        with self._means.intake.slot(caller):
            pace = Pace(self._limits, asyncio.get_running_loop().time(), _METHOD)
            try:
                async with asyncio.timeout_at(pace.deadline()) as patience:
                    return await self._receive(caller, messages, pace, patience)
            except TimeoutError:
                if patience.expired():
                    raise pace.verdict(asyncio.get_running_loop().time()) from None
                raise

    async def _receive(
        self, caller: Caller, messages: Messages, pace: Pace, patience: asyncio.Timeout
    ) -> UploadedFile:
        plan, key = await _header(messages)
        self._means.files.check(plan)
        # Counted before it opens the upload: whoever breaks off then knows that another try goes on with it.
        call = (caller.principal, key.request_id or uuid.uuid4().hex)
        self._running[call] += 1
        try:
            upload = await self._open(caller, plan, key, call)
            if upload.state is UploadState.COMMITTED:
                done = await self._means.hops.read(self._means.files.done, caller, upload, plan.path)
                if not plan.claim.blake3:  # with it the file was told already, and the same was told then
                    await self._compare(done.file, messages, pace, patience)
                return done
            try:
                return await _Reception(self._means, caller, plan, upload, pace, patience).run(messages)
            except BaseException as error:
                if isinstance(error, asyncio.CancelledError) and patience.expired():
                    slow = pace.verdict(asyncio.get_running_loop().time())
                    await self._broke_off(plan, upload, call, slow)
                    raise slow from None
                await self._broke_off(plan, upload, call, error)
                raise
        finally:
            self._running[call] -= 1
            self._running += Counter()  # drops what is 0

    async def _compare(
        self, file: FileFacts, messages: Messages, pace: Pace, patience: asyncio.Timeout
    ) -> None:
        """Read a stream to its end, and compare what comes with the file that it should bring again."""
        again = FileAgain(file)
        time = asyncio.get_running_loop().time
        async for message in messages:
            match message.WhichOneof("message"):
                case "data":
                    await self._means.hops.io(again.feed, message.data)
                    pace.received(len(message.data), time())
                    patience.reschedule(pace.deadline())
                case "finish":
                    claim = convert.claim_of(message.finish)
                    file_uploads.check_claim(claim, "finish")
                    again.check(claim)
                    return
                case _:
                    raise _out_of_order("expected data or a finish")

    async def _open(self, caller: Caller, plan: FilePlan, key: RequestKey, call: _Call) -> Upload:
        opening = asyncio.create_task(self._means.hops.prepare(self._means.files.open, caller, plan, key))
        try:
            upload = await asyncio.shield(opening)
        except asyncio.CancelledError as gone:
            await asyncio.wait({opening})
            if opening.exception() is None:
                await self._broke_off(plan, opening.result(), call, gone)
            raise
        pipeline.about(str(upload.name))
        return upload

    async def _broke_off(self, plan: FilePlan, upload: Upload, call: _Call, error: BaseException) -> None:
        """Note the failure of an upload that was begun for this file, unless another try of it goes on."""
        if plan.begins and self._running[call] == 1:
            await uninterrupted(self._means.hops.prepare(self._means.files.fail, upload.name, error))


class _Reception:
    """One stream after its header."""

    def __init__(
        self,
        means: FileMeans,
        caller: Caller,
        plan: FilePlan,
        upload: Upload,
        pace: Pace,
        patience: asyncio.Timeout,
    ) -> None:
        self._means = means
        self._caller = caller
        self._plan = plan
        self._upload = upload
        self._pace = pace
        self._patience = patience
        self._time = asyncio.get_running_loop().time
        self._run_bytes = min(means.limits.stream_bytes(plan.claim.size or 0), means.limits.max_stream_bytes)
        self._file = FileStream(plan.path, plan.format, plan.profile, sha256=bool(plan.claim.sha256))
        self._gathered = feeding.Gathered()
        self._received = 0
        self._run: IncomingRun | None = None
        self._run_start = 0.0
        self._writing: asyncio.Task[None] | None = None

    async def run(self, messages: Messages) -> UploadedFile:
        """Take everything in, compare it with what was told, and let it count."""
        try:
            claim = await self._take_all(messages)
            await self._flush(last=True)
            await self._written()
            self._patience.reschedule(None)
            for told in (self._plan.claim, claim):
                self._file.check(told)
            # From here it is completed even if the sender has gone: the same call again finds it done.
            return await uninterrupted(self._conclude())
        except BaseException:
            await uninterrupted(self._drop())
            raise

    async def _take_all(self, messages: Messages) -> FileClaim:
        async for message in messages:
            match message.WhichOneof("message"):
                case "data":
                    await self._take(message.data)
                case "finish":
                    claim = convert.claim_of(message.finish)
                    file_uploads.check_claim(claim, "finish")
                    if await anext(messages, None) is not None:
                        raise _out_of_order("a message follows the finish")
                    return claim
                case _:
                    raise _out_of_order("expected data or a finish")
        raise unfinished(_METHOD)

    async def _take(self, data: bytes) -> None:
        self._received += len(data)
        self._means.files.check_size(self._upload, self._received)
        told = self._plan.claim.size
        if told is not None and self._received > told:
            raise other_size(self._plan.path, told, "more")
        self._pace.received(len(data), self._time())
        self._gathered.add(data)
        if self._gathered.size >= _HANDFUL:
            await self._flush()
        self._patience.reschedule(self._pace.deadline())

    async def _flush(self, *, last: bool = False) -> None:
        """Hand a window over to the threads once the one before has been written."""
        await self._written()
        self._writing = asyncio.create_task(self._write(self._gathered.take(), last=last))

    async def _written(self) -> None:
        """Wait for the threads; that time is not charged to the sender."""
        if self._writing is None:
            return
        since = self._time()
        self._patience.reschedule(None)
        writing, self._writing = self._writing, None
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            self._writing = writing  # still runs: _drop waits for it
            raise
        self._pace.held_back(since, self._time())

    async def _write(self, parts: list[feeding.Part], *, last: bool) -> None:
        chunks = await self._means.hops.io(self._file.feed, parts, last=last)
        if chunks:
            run = self._run or await self._begin_run(chunks, last=last)
            await run.append(chunks)
        full = self._run is not None and self._run.size >= self._run_bytes
        old = self._time() >= self._run_start + _RUN_SECONDS
        if (full or old) and not last:  # the last one counts only once the file is what it should be
            await self._end_run()

    async def _begin_run(self, chunks: list[ReceivedChunk], *, last: bool) -> IncomingRun:
        """Open a run and reserve its space: what is told to come, as far as it fits into one."""
        size = sum(chunk.length for chunk in chunks)
        if not last:
            told, done = self._plan.claim.size, self._file.record.size - size
            size = max(size, self._run_bytes if told is None else min(self._run_bytes, told - done))
        count = max(len(chunks), size // cuts.LEAST_MEAN)
        hops, intake = self._means.hops, self._means.intake
        ticket = await admission.admitted(hops, intake, self._caller, self._upload.name, count, size)
        self._run = IncomingRun(hops, intake, self._means.packs, self._caller, ticket, act=False)
        self._run_start = self._time()
        return self._run

    async def _end_run(self) -> None:
        if self._run is not None:
            await pipeline.require_credential()
            await self._run.conclude()
            self._run = None

    async def _conclude(self) -> UploadedFile:
        """Put the manifest, and commit an upload that was begun for this file."""
        hops, commits, name = self._means.hops, self._means.commits, self._upload.name
        await pipeline.require_credential()  # a file may be days on its way
        await self._end_run()
        facts = await hops.io(self._file.facts)
        drafts = self._file.record.drafts(facts, _SEGMENTS)
        upload = self._upload
        while (draft := await hops.io(partial(next, drafts, None))) is not None:
            files = await hops.io(commits.prepare, [draft])
            put = hops.prepare if self._plan.begins else hops.write  # the commit is the act, if there is one
            upload = await put(commits.put_manifest, self._caller, name, files, reset=False)
        if not self._plan.begins:
            await hops.io(self._file.record.close)
            return UploadedFile(upload, None, facts)
        tree = digests.format_digest(digests.tree_digest([(facts.path, facts.size_bytes, facts.root)]))
        done = await self._means.committer.commit(self._caller, name, tree, 1)
        await hops.io(self._file.record.close)
        return UploadedFile(done.upload, done.version, facts)

    async def _drop(self) -> None:
        """Leave nothing behind of what does not count yet."""
        if self._writing is not None:
            await asyncio.wait({self._writing})
            self._writing.exception()  # it had its turn: the stream failed already
        if self._run is not None:
            await self._run.drop()
        await self._means.hops.io(self._file.record.close)
        log.info("file.dropped upload=%s received=%d", self._upload.name, self._received)


async def _header(messages: Messages) -> tuple[FilePlan, RequestKey]:
    first = await anext(messages, None)
    if first is None:
        raise unfinished(_METHOD)
    if first.WhichOneof("message") != "header":
        raise _out_of_order("the first message is not a header")
    plan = convert.file_plan_of(first.header)
    return plan, RequestKey(first.header.request_id, first.header.SerializeToString(deterministic=True))


def _out_of_order(what: str) -> Invalid:
    return invalid_field(
        "message",
        f"{what}; a stream is a header, then data, then a finish",
        next_step="Nothing of this stream counts; correct the sender.",
    )
