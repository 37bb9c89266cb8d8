"""The streams of a data process: it moves and checks bytes, and asks the main process about everything else.

A call that a client makes here is one call to the main process too (`data_doors.py`), made before anything
of the client is read. It carries the client's metadata and says whether the call may go on. How it ends
there, OK or with an error, is how it ends here; when the main process ends it, the stream ends at once. What
goes wrong here is told there first, so that the record has it.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any, Protocol, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from ingot.server.core.errors import IngotError, Reason, Unavailable
from ingot.server.core.packs import ChunkPlace, SealedPack
from ingot.server.core.stores import PackStore
from ingot.server.core.transfer_stores import ChunkRun
from ingot.server.core.uploads import TransferLimits
from ingot.server.domain.downloads import Slice
from ingot.server.rpc import bulk_messages, calls, errors, methods, patience
from ingot.server.rpc import convert_transfer as convert
from ingot.server.rpc import data_messages as messages
from ingot.server.rpc.bulk_messages import PutChunksMessage
from ingot.server.rpc.data_messages import Kind, Message
from ingot.server.rpc.hops import FileWork
from ingot.server.rpc.idle_memory import Trimming
from ingot.server.rpc.put_chunks import ChunkReceiver
from ingot.server.rpc.read_bytes import ByteSender
from ingot.v1 import transfer_pb2

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
_Call: TypeAlias = "grpc.aio.StreamStreamCall[bytes, bytes]"

_OWN = ("user-agent", "content-type", "grpc-", ":", messages.PEER)  # metadata that gRPC makes itself, ours
SERVICE = "ingot.v1.TransferService"


class Finished(Protocol):
    """Where finished packs of this process lie until the main one takes them."""

    @property
    def ingest(self) -> str:
        """The name of the folder."""
        ...

    def file_of(self, pack: SealedPack) -> str:
        """Return the name of the file of a finished pack."""
        ...


class Question:
    """The call to the main process about one stream: a message, an answer, and so on.

    `failed` is an error of this process that ends the stream; `over` says that the main process has ended it.
    """

    def __init__(self, call: _Call) -> None:
        self.received = 0
        self.failed: IngotError | None = None
        self.over = False
        self._call = call
        self._task = asyncio.current_task()
        self._answers: asyncio.Queue[Message | None] = asyncio.Queue()
        self._closing = False
        self._listening = asyncio.create_task(self._listen())

    async def ask(self, message: bytes) -> Message:
        """Return the answer to a message. Raises EndedError when the main process ends the stream."""
        try:
            await self._call.write(message)
        except (asyncio.InvalidStateError, grpc.aio.AioRpcError):
            pass  # it has ended: there is no answer
        return await self.answer()

    async def answer(self) -> Message:
        """Return the next answer. Raises EndedError."""
        answer = None if self.over and self._answers.empty() else await self._answers.get()
        if answer is None:
            raise EndedError(Reason.INTERNAL, "The main process has ended this stream.")
        return answer

    def end(self, error: IngotError) -> None:
        """End the stream with this error, from anywhere on the loop."""
        self.failed = error
        if self._task is not None:
            self._task.cancel()

    async def tell(self, error: Exception) -> None:
        """Tell the main process what went wrong here; then it ends the call."""
        self._closing = True
        with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
            await self._call.write(messages.failed(error, self.received))
        await self._finish()

    async def close(self) -> None:
        """Say that the stream is over, and wait for what the main process says to that."""
        self._closing = True
        await self._finish()

    def give_up(self) -> None:
        """Let go of the call: its client has gone."""
        self._closing = True
        self._call.cancel()

    async def status(self) -> tuple[grpc.StatusCode, str, tuple[tuple[str, str | bytes], ...]]:
        """Return how the call ended: code, text and metadata for the client."""
        trailing = tuple((key, value) for key, value in await self._call.trailing_metadata() or ())
        return await self._call.code(), await self._call.details() or "", trailing

    async def _finish(self) -> None:
        with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
            await self._call.done_writing()
        await self._listening

    async def _listen(self) -> None:
        """Take the answers in; end the stream when the main process ends the call before it is over here."""
        try:
            while (answer := await self._call.read()) is not grpc.aio.EOF:
                assert isinstance(answer, bytes)
                self._answers.put_nowait(messages.decode(answer))
        except (grpc.aio.AioRpcError, asyncio.CancelledError):
            pass  # `status` tells
        self.over = True
        self._answers.put_nowait(None)
        if not self._closing and self._task is not None:
            self._task.cancel()


class EndedError(Unavailable):
    """The main process has ended the stream; its call says why."""


class _RemoteIncoming:
    """The rows of one PutChunks stream, behind a question."""

    def __init__(self, question: Question, finished: Finished) -> None:
        self._question = question
        self._finished = finished

    async def stored(self, packed: bytes, received: int) -> Collection[bytes]:
        """Ask which chunks need not be written."""
        self._question.received = received
        found = (await self._question.ask(messages.encode(Kind.ASK, packed, received=received))).data
        return frozenset(found[at : at + 32] for at in range(0, len(found), 32))

    async def index(self, packs: Sequence[SealedPack], packed: bytes, received: int) -> bytes:
        """Hand the finished packs over; return the serialised receipt."""
        files = {self._finished.file_of(pack): pack for pack in packs}
        told = messages.sealed(self._finished.ingest, files, received)
        return (await self._question.ask(told)).data

    async def dropped(self, received: int) -> None:
        """Remember for the message that will tell of it."""
        self._question.received = received

    def close(self) -> None:
        """Nothing is reserved here."""


class _RemoteTree:
    """The rows of one ReadChunks stream, behind a question."""

    def __init__(self, question: Question) -> None:
        self._question = question

    async def slices(self, runs: Sequence[ChunkRun]) -> Sequence[Slice]:
        """Ask where the next chunks lie: the main process cuts the request as it is cut here."""
        places = messages.places_in(await self._question.ask(messages.encode(Kind.MORE)))
        if len(places) != sum(run.count for run in runs):
            raise RuntimeError(f"expected the places of {sum(run.count for run in runs)}, got {len(places)}")
        return [Slice(place, 0, place.length) for place in places]

    async def lost(self, place: ChunkPlace) -> None:
        """Tell of a chunk that could not be read."""
        await self._question.ask(messages.place(place))


class DataStreams:
    """Serves PutChunks and ReadChunks with packs here and rows in the main process."""

    def __init__(
        self,
        main: grpc.aio.Channel,
        files: FileWork,
        packs: PackStore,
        finished: Finished,
        limits: TransferLimits,
        memory: Trimming,
    ) -> None:
        self._main = main
        self._memory = memory
        self._finished = finished
        self._limits = limits
        self._receiver = ChunkReceiver(files, packs, limits)
        self._sender = ByteSender(files, packs)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Let a server serve both methods; all others are unknown to it."""
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            messages.PUT_CHUNKS: grpc.stream_unary_rpc_method_handler(self.put_chunks, _put_chunks, None),
            messages.READ_CHUNKS: grpc.unary_stream_rpc_method_handler(self.read_chunks, None, None),
        }
        server.add_registered_method_handlers(SERVICE, handlers)

    async def put_chunks(self, requests: AsyncIterator[PutChunksMessage], context: Context) -> bytes:
        """Take a stream in; return the serialised receipt."""
        async with self._asked(messages.PUT_CHUNKS, context) as question:

            async def admit(header: transfer_pb2.PutChunksHeader) -> _RemoteIncoming:
                await question.ask(messages.encode(Kind.OPEN, header.SerializeToString()))
                return _RemoteIncoming(question, self._finished)

            return await self._receiver.receive(admit, requests)
        raise AssertionError("unreachable: a call without a receipt was aborted")

    async def read_chunks(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        """Send chunks as serialised messages."""
        async with self._asked(messages.READ_CHUNKS, context) as question:
            runs = convert.runs_of(_parsed(request), self._limits.max_ranges)
            await question.ask(messages.encode(Kind.OPEN, request))
            found = self._sender.chunks(_RemoteTree(question), runs)
            async for message in patience.waited_for(found, self._limits.read_idle_seconds, question.end):
                yield message

    @contextlib.asynccontextmanager
    async def _asked(self, method: str, context: Context) -> AsyncIterator[Question]:
        """Have a question open for the length of a call, and end the call as the main process says."""
        asking: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = self._main.stream_stream(
            messages.path_of(method)
        )
        self._memory.began()
        question = Question(asking(metadata=_forwarded(context)))
        try:
            await question.answer()
            yield question
            await question.close()
        except EndedError:
            await _relay(question, context, good=False)
        except (asyncio.CancelledError, GeneratorExit) as end:
            if question.failed is not None:
                await question.tell(question.failed)
            if not question.over:  # the client has gone
                question.give_up()
                raise
            if isinstance(end, asyncio.CancelledError):
                await _relay(question, context, good=False)
            with contextlib.suppress(grpc.aio.AbortError, grpc.aio.InternalError):
                await _relay(question, context, good=False)  # a reply stood still: nobody hears more of it
            raise
        except Exception as error:
            if not isinstance(error, IngotError):
                log.exception("data.failed method=%s", method)
            await question.tell(error)
            await _relay(question, context, good=False)
        else:
            await _relay(question, context, good=True)
        finally:
            self._memory.ended()


async def _relay(question: Question, context: Context, *, good: bool) -> None:
    """Give the client the end that the call had in the main process, unless all was `good` here: an error."""
    code, text, trailing = await question.status()
    if good and code is grpc.StatusCode.OK:
        context.set_trailing_metadata(trailing)
        return
    if any(key == errors.DETAILS_KEY for key, _ in trailing):
        await context.abort(code, text, trailing)
    status = errors.status_of(_alone())
    await context.abort(grpc.StatusCode.UNAVAILABLE, status.message, errors.trailing(status))


def _alone() -> Unavailable:
    return Unavailable(
        Reason.BUSY,
        "The main process of the server did not answer for this stream.",
        next_step="Try again; what was acknowledged is stored.",
        retry_after=0.5,
    )


def _put_chunks(message: bytes) -> PutChunksMessage:
    """Return a message of a PutChunks stream; one that cannot be read as one that says nothing."""
    try:
        return bulk_messages.decode_put_chunks(message)
    except DecodeError:
        return transfer_pb2.PutChunksRequest()


def _parsed(request: bytes) -> transfer_pb2.ReadChunksRequest:
    try:
        return transfer_pb2.ReadChunksRequest.FromString(request)
    except DecodeError:
        method = methods.all_methods()[f"/{SERVICE}/{messages.READ_CHUNKS}"]
        raise calls.unreadable(method) from None


def _forwarded(context: Context) -> tuple[tuple[str, str | bytes], ...]:
    """Return the metadata of a client for the main process, and where the client is."""
    own = [(key, value) for key, value in context.invocation_metadata() or () if not key.startswith(_OWN)]
    return (*own, (messages.PEER, context.peer()))
