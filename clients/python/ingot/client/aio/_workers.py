"""Workers, to be awaited. Made from _workers.py by docs/tools/async_form.py."""

from collections.abc import AsyncIterator, Mapping, Sequence

from ingot.client._workers import Workers
from ingot.client.aio._running import AsyncPart
from ingot.v1 import common_pb2, training_pb2
from ingot.v1 import workers_pb2 as pb


class AsyncWorkers(AsyncPart[Workers]):
    """Calls of WorkersService; names are long ones, as the server gave them."""

    async def register(
        self,
        display_name: str,
        *,
        devices: Sequence[pb.Device],
        versions: Mapping[str, str],
        missing_software: Sequence[str] = (),
        free_disk_bytes: int = 0,
    ) -> "pb.RegisterWorkerResponse":
        """Register this machine; the same token and name keep the same worker."""
        return await self._call(
            lambda sdk: sdk.register(
                display_name,
                devices=devices,
                versions=versions,
                missing_software=missing_software,
                free_disk_bytes=free_disk_bytes,
            )
        )

    async def claim(
        self, worker: str, kind: pb.WorkKind.ValueType = pb.WORK_KIND_UNSPECIFIED
    ) -> "pb.Assignment | None":
        """Take the next piece of work this worker can do; None when there is none. Tried once."""
        return await self._call(lambda sdk: sdk.claim(worker, kind))

    async def heartbeat(
        self,
        worker: str,
        held: Sequence[tuple[str, int]],
        *,
        free_disk_bytes: int = 0,
        timeout: float | None = None,
    ) -> "pb.HeartbeatResponse":
        """Extend the leases of the held (name, attempt) pairs and return what each is asked to do."""
        return await self._call(
            lambda sdk: sdk.heartbeat(worker, held, free_disk_bytes=free_disk_bytes, timeout=timeout)
        )

    async def report(
        self, worker: str, name: str, attempt: int, events: Sequence[pb.ReportedEvent]
    ) -> "pb.ReportEventsResponse":
        """Store events of claimed work; numbers that were stored before are skipped."""
        return await self._call(lambda sdk: sdk.report(worker, name, attempt, events))

    async def finish(
        self,
        worker: str,
        name: str,
        attempt: int,
        outcome: pb.WorkOutcome.ValueType,
        *,
        problem: common_pb2.Problem | None = None,
        retry: bool = False,
        generation: training_pb2.GenerationDone | None = None,
    ) -> "pb.FinishWorkResponse":
        """Say how claimed work ended and give up its lease."""
        return await self._call(
            lambda sdk: sdk.finish(
                worker, name, attempt, outcome, problem=problem, retry=retry, generation=generation
            )
        )

    def watch(self, worker: str) -> "AsyncIterator[pb.WatchWorkerResponse]":
        """Yield hints that work waits, and changed orders; reconnects by itself, heartbeats are kept back.

        Losing a message only costs seconds: `heartbeat` says the same.
        """
        return self._each(lambda sdk: sdk.watch(worker), apart=True)

    def list(self, *, limit: int | None = None) -> "AsyncIterator[pb.Worker]":
        """Yield all workers by name."""
        return self._each(lambda sdk: sdk.list(limit=limit))
