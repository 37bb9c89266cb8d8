"""A channel whose other end is the test: it takes each call and decides how it ends.

with FakeServer() as server:
    answer = server.run(lambda: client_call())          # in a thread of its own
    call = server.take("CatalogService", "GetArtifact")
    call.fail(grpc.StatusCode.UNAVAILABLE)
    server.take("CatalogService", "GetArtifact").reply(catalog_pb2.GetArtifactResponse())
    answer.result(100)
"""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import Queue
from threading import Thread
from types import TracebackType
from typing import Any, TypeVar

import grpc
import grpc_testing
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from helpers.eventually import eventually
from ingot.client import Endpoint
from ingot.client._channels import Link
from ingot.v1 import (
    auth_pb2,
    catalog_pb2,
    operations_pb2,
    system_pb2,
    training_pb2,
    transfer_pb2,
    workers_pb2,
)

T = TypeVar("T")

_FILES = (auth_pb2, catalog_pb2, operations_pb2, system_pb2, training_pb2, transfer_pb2, workers_pb2)
_SERVICES = {name: service for file in _FILES for name, service in file.DESCRIPTOR.services_by_name.items()}


@dataclass(slots=True)
class TakenCall:
    """One call that arrived."""

    metadata: dict[str, str]
    request: Any
    rpc: Any
    streaming: bool

    def reply(self, message: Message) -> None:
        """Answer a unary call."""
        self.rpc.send_initial_metadata(())
        self.rpc.terminate(message, (), grpc.StatusCode.OK, "")

    def send(self, *messages: Message) -> None:
        """Send messages of a stream that goes on."""
        self.rpc.send_initial_metadata(())
        for message in messages:
            self.rpc.send_response(message)

    def end(self) -> None:
        """End a stream well."""
        self.rpc.terminate((), grpc.StatusCode.OK, "")

    def fail(
        self, code: grpc.StatusCode, text: str = "", details: Iterable[Message] = (), *, begun: bool = False
    ) -> None:
        """End the call with an error; `begun` when a stream sent something before."""
        if not begun:
            self.rpc.send_initial_metadata(())
        trailing = (("grpc-status-details-bin", _status(code, text, details)),)
        if self.streaming:
            self.rpc.terminate(trailing, code, text)
        else:
            self.rpc.terminate(None, trailing, code, text)


class FakeServer:
    """The other end of a fake channel."""

    def __init__(self) -> None:
        self._channel = grpc_testing.channel(list(_SERVICES.values()), grpc_testing.strict_real_time())
        self._threads = ThreadPoolExecutor(4)
        self.link = Link(Endpoint("127.0.0.1:7070", token="secret"), lambda _: self._channel)

    def run(self, work: Callable[[], T]) -> "Future[T]":
        """Start the client's work in a thread."""
        self._work: Future[Any] = self._threads.submit(work)
        return self._work

    def take(self, service: str, method: str) -> TakenCall:
        """Wait for a unary call."""
        found = _SERVICES[service].methods_by_name[method]
        metadata, request, rpc = self._arrived(lambda: self._channel.take_unary_unary(found))
        return TakenCall(dict(metadata), request, rpc, streaming=False)

    def take_stream(self, service: str, method: str) -> TakenCall:
        """Wait for a call with a stream of replies."""
        found = _SERVICES[service].methods_by_name[method]
        metadata, request, rpc = self._arrived(lambda: self._channel.take_unary_stream(found))
        return TakenCall(dict(metadata), request, rpc, streaming=True)

    def _arrived(self, take: Callable[[], Any]) -> Any:
        """Wait for a call, but not when the client's work has failed or stays silent."""
        taken: Queue[Any] = Queue()
        Thread(target=lambda: taken.put(take()), daemon=True).start()

        def look() -> Any:
            if self._work.done() and taken.empty():
                self._work.result()  # raises what the work failed with
            return taken.get_nowait() if not taken.empty() else None

        return eventually(look, what="the call")

    def __enter__(self) -> "FakeServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=kind is None, cancel_futures=True)


def info(reason: str, **facts: str) -> error_details_pb2.ErrorInfo:
    """Return the detail that every refusal of the server carries."""
    return error_details_pb2.ErrorInfo(reason=reason, domain="ingot", metadata=facts)


def retry_after(seconds: float) -> error_details_pb2.RetryInfo:
    """Return the detail that tells how long to wait."""
    delay = duration_pb2.Duration()
    delay.FromNanoseconds(int(seconds * 1e9))
    return error_details_pb2.RetryInfo(retry_delay=delay)


def _status(code: grpc.StatusCode, text: str, details: Iterable[Message]) -> bytes:
    status = status_pb2.Status(code=code.value[0], message=text)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return bytes(status.SerializeToString())
