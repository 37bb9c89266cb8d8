"""What a worker calls, and what administrators see of workers. A worker is a client with a worker's token."""

from collections.abc import Iterator, Mapping, Sequence

from ingot.client import _pages, _watches
from ingot.client._calls import Calls
from ingot.client._channels import Link
from ingot.v1 import common_pb2, training_pb2, workers_pb2_grpc
from ingot.v1 import workers_pb2 as pb


class Workers:
    """Calls of WorkersService; names are long ones, as the server gave them."""

    def __init__(self, link: Link, calls: Calls) -> None:
        self._stub = workers_pb2_grpc.WorkersServiceStub(link.channel)
        self._calls = calls

    def register(
        self,
        display_name: str,
        *,
        devices: Sequence[pb.Device],
        versions: Mapping[str, str],
        missing_software: Sequence[str] = (),
        free_disk_bytes: int = 0,
    ) -> pb.RegisterWorkerResponse:
        """Register this machine; the same token and name keep the same worker."""
        request = pb.RegisterWorkerRequest(
            display_name=display_name,
            devices=devices,
            versions=versions,
            missing_software=missing_software,
            free_disk_bytes=free_disk_bytes,
        )
        return self._calls.unary(self._stub.RegisterWorker, request)

    def claim(
        self, worker: str, kind: pb.WorkKind.ValueType = pb.WORK_KIND_UNSPECIFIED
    ) -> pb.Assignment | None:
        """Take the next piece of work this worker can do; None when there is none. Tried once."""
        reply = self._calls.unary(self._stub.ClaimWork, pb.ClaimWorkRequest(worker=worker, kind=kind))
        return reply.assignment if reply.HasField("assignment") else None

    def heartbeat(
        self,
        worker: str,
        held: Sequence[tuple[str, int]],
        *,
        free_disk_bytes: int = 0,
        timeout: float | None = None,
    ) -> pb.HeartbeatResponse:
        """Extend the leases of the held (name, attempt) pairs and return what each is asked to do."""
        request = pb.HeartbeatRequest(
            worker=worker,
            work=[pb.HeldWork(name=name, attempt=attempt) for name, attempt in held],
            free_disk_bytes=free_disk_bytes,
        )
        return self._calls.unary(self._stub.Heartbeat, request, timeout=timeout)

    def report(
        self, worker: str, name: str, attempt: int, events: Sequence[pb.ReportedEvent]
    ) -> pb.ReportEventsResponse:
        """Store events of claimed work; numbers that were stored before are skipped."""
        request = pb.ReportEventsRequest(worker=worker, name=name, attempt=attempt, events=events)
        return self._calls.unary(self._stub.ReportEvents, request)

    def finish(
        self,
        worker: str,
        name: str,
        attempt: int,
        outcome: pb.WorkOutcome.ValueType,
        *,
        problem: common_pb2.Problem | None = None,
        retry: bool = False,
        generation: training_pb2.GenerationDone | None = None,
    ) -> pb.FinishWorkResponse:
        """Say how claimed work ended and give up its lease."""
        request = pb.FinishWorkRequest(
            worker=worker,
            name=name,
            attempt=attempt,
            outcome=outcome,
            problem=problem,
            retry=retry,
            generation=generation,
        )
        return self._calls.unary(self._stub.FinishWork, request)

    def watch(self, worker: str) -> Iterator[pb.WatchWorkerResponse]:
        """Yield hints that work waits, and changed orders; reconnects by itself, heartbeats are kept back.

        Losing a message only costs seconds: `heartbeat` says the same.
        """

        def open_stream(_: int) -> Iterator[pb.WatchWorkerResponse]:
            return self._calls.stream(self._stub.WatchWorker, pb.WatchWorkerRequest(worker=worker))

        for message in _watches.follow(self._calls, open_stream, lambda _: None, 0):
            if message.WhichOneof("message") in ("work_waits", "order"):
                yield message

    def list(self, *, limit: int | None = None) -> Iterator[pb.Worker]:
        """Yield all workers by name."""

        def page(size: int, token: str) -> tuple[Sequence[pb.Worker], str]:
            request = pb.ListWorkersRequest(page_size=size, page_token=token)
            reply = self._calls.unary(self._stub.ListWorkers, request)
            return reply.workers, reply.next_page_token

        return _pages.walk(page, limit)
