"""WorkersService: what workers call, and what administrators see of them."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc

from ingot.server.core.clock import Clock
from ingot.server.core.identity import Caller
from ingot.server.core.training import Desired
from ingot.server.core.workers import WorkerState
from ingot.server.domain.generation import PREFIX
from ingot.server.domain.jobs import WORK_TOPIC
from ingot.server.domain.training_views import TrainingViews
from ingot.server.domain.work_reports import WorkReports
from ingot.server.domain.workers import Workers
from ingot.server.rpc import convert_common as common
from ingot.server.rpc import convert_training, pipeline
from ingot.server.rpc import convert_workers as convert
from ingot.server.rpc.following import HEARTBEAT_SECONDS
from ingot.server.rpc.hops import Hops
from ingot.server.rpc.tails import Tails, wait_any
from ingot.v1 import workers_pb2, workers_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class WorkersServicer(workers_pb2_grpc.WorkersServiceServicer):
    """Serves WorkersService."""

    def __init__(
        self,
        hops: Hops,
        workers: Workers,
        reports: WorkReports,
        views: TrainingViews,
        tails: Tails,
        clock: Clock,
    ) -> None:
        self._hops = hops
        self._workers = workers
        self._reports = reports
        self._views = views
        self._tails = tails
        self._clock = clock

    async def RegisterWorker(
        self, request: workers_pb2.RegisterWorkerRequest, context: Context
    ) -> workers_pb2.RegisterWorkerResponse:
        facts = convert.facts_of(request)
        worker = await self._hops.write(self._workers.register, pipeline.caller(), facts)
        pipeline.about(worker.name)
        policy = self._workers.policy
        return workers_pb2.RegisterWorkerResponse(
            worker=convert.worker(worker, WorkerState.ONLINE),
            heartbeat_interval=common.duration(policy.heartbeat_seconds),
            lease=common.duration(policy.lease_seconds),
        )

    async def ClaimWork(
        self, request: workers_pb2.ClaimWorkRequest, context: Context
    ) -> workers_pb2.ClaimWorkResponse:
        kind = convert.kind_of(request.kind)
        claimed = await self._hops.write(self._workers.claim, pipeline.caller(), request.worker, kind)
        return workers_pb2.ClaimWorkResponse(assignment=convert.assignment(claimed))

    async def Heartbeat(
        self, request: workers_pb2.HeartbeatRequest, context: Context
    ) -> workers_pb2.HeartbeatResponse:
        held = convert.held_of(request.work)
        beat = await self._hops.write(
            self._workers.heartbeat, pipeline.caller(), request.worker, held, request.free_disk_bytes
        )
        return workers_pb2.HeartbeatResponse(orders=map(convert.order, beat.orders), drain=beat.drain)

    async def ReportEvents(
        self, request: workers_pb2.ReportEventsRequest, context: Context
    ) -> workers_pb2.ReportEventsResponse:
        events = convert.events_of(request.events)
        rule = self._reports.report
        # Text costs no transaction: nothing of a generation is in the rows but its worker's name.
        hop = self._hops.read if request.name.startswith(PREFIX) else self._hops.write
        receipt = await hop(rule, pipeline.caller(), request.worker, request.name, request.attempt, events)
        return workers_pb2.ReportEventsResponse(
            latest_seq=receipt.latest_seq, order=convert.order(receipt.order)
        )

    async def FinishWork(
        self, request: workers_pb2.FinishWorkRequest, context: Context
    ) -> workers_pb2.FinishWorkResponse:
        ending = convert.ending_of(request, self._clock.now())
        job = await self._hops.write(
            self._reports.finish, pipeline.caller(), request.worker, request.name, request.attempt, ending
        )
        if job is None:
            return workers_pb2.FinishWorkResponse()
        view = await self._hops.read(self._views.view, job)
        return workers_pb2.FinishWorkResponse(training_job=convert_training.job(view))

    async def WatchWorker(
        self, request: workers_pb2.WatchWorkerRequest, context: Context
    ) -> AsyncIterator[workers_pb2.WatchWorkerResponse]:
        async with contextlib.aclosing(self._watch(pipeline.caller(), request.worker)) as messages:
            async for message in messages:
                yield message

    async def ListWorkers(
        self, request: workers_pb2.ListWorkersRequest, context: Context
    ) -> workers_pb2.ListWorkersResponse:
        page = await self._hops.read(self._workers.page, request.page_size, request.page_token)
        return workers_pb2.ListWorkersResponse(
            workers=map(convert.worker_view, page.items), next_page_token=page.next_token
        )

    async def _watch(
        self, caller: Caller, worker: str
    ) -> AsyncGenerator[workers_pb2.WatchWorkerResponse, None]:
        """Yield what waits and what changed; every so often that the server is still here."""
        told: dict[tuple[str, int], Desired] = {}
        with self._tails.watch(WORK_TOPIC) as work, self._tails.watch(worker) as own:
            while True:
                versions = [(work, work.version), (own, own.version)]
                hints = await self._hops.read(self._workers.hints, caller, worker)
                for kind in hints.waiting:
                    yield workers_pb2.WatchWorkerResponse(work_waits=convert.work_kind(kind))
                for order in hints.orders:
                    if told.get((order.name, order.attempt), Desired.RUN) is not order.desired:
                        yield workers_pb2.WatchWorkerResponse(order=convert.order(order))
                told = {(order.name, order.attempt): order.desired for order in hints.orders}
                due = HEARTBEAT_SECONDS if hints.next_due is None else hints.next_due + 0.01
                await wait_any(versions, min(due, HEARTBEAT_SECONDS))
                if all(tail.version == version for tail, version in versions):
                    heartbeat = common.heartbeat(0, self._clock.now())
                    yield workers_pb2.WatchWorkerResponse(heartbeat=heartbeat)
