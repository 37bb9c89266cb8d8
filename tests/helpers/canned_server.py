"""A gRPC server whose answers are written down: for tests of what a client prints, fails and sends.

    with CannedServer() as server:
        server.answer("CatalogService/GetArtifact", GetArtifactResponse(...))
        ...                                  # a client at server.address
        server.requests("CatalogService/GetArtifact")

An answer is a message, a list of messages (for a server stream), what `failure` makes, or a function of the
request that returns one of these. Which method takes and gives what is read from the protos.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from pathlib import Path
from types import TracebackType

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

Answer = Message | Iterable[Message] | Exception
Script = Answer | Callable[[Message], Answer]


class Refusal(Exception):
    """A failed call: a status code with the details that Ingot's server sends."""

    def __init__(self, code: str, message: str, reason: str, facts: dict[str, str]) -> None:
        super().__init__(message)
        self.code, self.message, self.reason, self.facts = code, message, reason, facts

    def status(self) -> status_pb2.Status:
        """Return it as google.rpc.Status."""
        status = status_pb2.Status(code=code_pb2.Code.Value(self.code), message=self.message)
        info = error_details_pb2.ErrorInfo(reason=self.reason, domain="ingot", metadata=self.facts)
        status.details.add().Pack(info)
        return status


class CannedServer(grpc.GenericRpcHandler):
    """Serves every method of ingot.v1 on a unix socket; a method without an answer is UNIMPLEMENTED."""

    def __init__(self, folder: Path) -> None:
        self.address = f"unix:{folder / 'canned.sock'}"
        self.altered: Callable[[Message], Message] = lambda answer: answer  # what becomes of each message
        self._scripts: dict[str, Script] = {}
        self._seen: list[tuple[str, Message, dict[str, str | bytes]]] = []
        self._lock = threading.Lock()
        self._server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[self])
        self._server.add_insecure_port(self.address)

    def answer(self, method: str, script: Script) -> None:
        """Write down what `Service/Method` answers."""
        self._scripts[method] = script

    def requests(self, method: str) -> list[Message]:
        """Return what the method was asked so far."""
        with self._lock:
            return [request for name, request, _ in self._seen if name == method]

    def metadata(self, method: str) -> dict[str, str | bytes]:
        """Return the metadata of the last call of a method."""
        with self._lock:
            return next(found for name, _, found in reversed(self._seen) if name == method)

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Message, Message] | None":
        """Find the method in the protos; called by gRPC."""
        service, _, name = details.method.lstrip("/").partition("/")
        short = f"{service.rpartition('.')[2]}/{name}"
        if short not in self._scripts:
            return None
        method = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
        asked = message_factory.GetMessageClass(method.input_type)

        def one(request: Message, context: grpc.ServicerContext) -> Message:
            return next(iter(self._run(short, request, context)))

        def many(request: Message, context: grpc.ServicerContext) -> Iterator[Message]:
            yield from self._run(short, request, context)

        make = (
            grpc.unary_stream_rpc_method_handler
            if method.server_streaming
            else grpc.unary_unary_rpc_method_handler
        )
        serialise = message_factory.GetMessageClass(method.output_type).SerializeToString
        return make(many if method.server_streaming else one, asked.FromString, serialise)

    def _run(self, name: str, request: Message, context: grpc.ServicerContext) -> Iterable[Message]:
        with self._lock:
            self._seen.append((name, request, dict(context.invocation_metadata())))
        script = self._scripts[name]
        answer = script(request) if callable(script) else script
        if isinstance(answer, Refusal):
            status = answer.status()
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
            context.abort(grpc.StatusCode[answer.code], answer.message)
        if isinstance(answer, Exception):
            raise answer
        return map(self.altered, [answer] if isinstance(answer, Message) else answer)

    def __enter__(self) -> "CannedServer":
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop(None).wait()


def failure(code: str, message: str, reason: str = "", **facts: str) -> Refusal:
    """Return an answer that fails the call, for example failure("NOT_FOUND", "…", "ARTIFACT_NOT_FOUND")."""
    return Refusal(code, message, reason, facts)
