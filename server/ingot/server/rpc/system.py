"""SystemService: what the server is, how it is, what it holds and what was done on it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from ingot.server.core.clock import Clock
from ingot.server.core.health import HealthReport, HealthStatus, StorageReport
from ingot.server.core.usage import ActivityFilter
from ingot.server.domain.health import Health
from ingot.server.domain.usage import Usage
from ingot.server.rpc import calls, convert_usage, methods, pipeline, usage_storing
from ingot.server.rpc import convert_common as common
from ingot.server.rpc.audit import AuditCalls, AuditRules
from ingot.server.rpc.dashboard import DashboardCalls, DashboardRules
from ingot.server.rpc.hops import Hops
from ingot.v1 import system_pb2

Context = grpc.aio.ServicerContext[Any, Any]

_STATUSES = {
    HealthStatus.HEALTHY: system_pb2.HEALTH_STATUS_HEALTHY,
    HealthStatus.DEGRADED: system_pb2.HEALTH_STATUS_DEGRADED,
    HealthStatus.UNHEALTHY: system_pb2.HEALTH_STATUS_UNHEALTHY,
}


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What does not change while a server runs."""

    version: str
    server_id: str
    data_dir: Path
    start_time: float  # epoch seconds
    bundle_key: str  # public key that signs its bundles


class SystemServicer(AuditCalls, DashboardCalls):
    """Serves SystemService."""

    def __init__(
        self,
        hops: Hops,
        facts: ServerFacts,
        health: Health,
        usage: Usage,
        audited: AuditRules,
        seen: DashboardRules,
        clock: Clock,
    ) -> None:
        self._hops = hops
        self._seen = seen
        self._audited = audited
        self._facts = facts
        self._health = health
        self._usage = usage
        self._clock = clock

    async def GetServerInfo(
        self, request: system_pb2.GetServerInfoRequest, context: Context
    ) -> system_pb2.GetServerInfoResponse:
        return system_pb2.GetServerInfoResponse(
            version=self._facts.version,
            api_revisions=["v1"],
            features=sorted(service.name.removesuffix("Service").lower() for service in methods.services()),
            auth_modes=["password", "token"],
            server_id=self._facts.server_id,
            min_client_version=".".join(map(str, calls.OLDEST_CLIENT)),
            bundle_key=self._facts.bundle_key,
            server_time=common.timestamp(self._clock.now()),
        )

    async def GetHealth(
        self, request: system_pb2.GetHealthRequest, context: Context
    ) -> system_pb2.GetHealthResponse:
        caller = pipeline.optional_caller()
        report = await self._hops.io(self._health.report)
        if caller is None:
            return system_pb2.GetHealthResponse(status=_STATUSES[report.status])
        return _health(report, self._facts, whole=caller.is_admin)

    async def GetStorage(
        self, request: system_pb2.GetStorageRequest, context: Context
    ) -> system_pb2.GetStorageResponse:
        report = await self._hops.io(self._health.storage)
        return _storage(report, physical=pipeline.caller().is_admin)

    async def ListActivity(
        self, request: system_pb2.ListActivityRequest, context: Context
    ) -> system_pb2.ListActivityResponse:
        await usage_storing.catch_up(self._hops, self._usage)
        page = await self._hops.read(
            self._usage.activities,
            pipeline.caller(),
            ActivityFilter(
                principal=request.principal,
                target=request.target,
                action=request.action,
                failed=request.failed_only,
            ),
            request.page_size,
            request.page_token,
        )
        activities = map(convert_usage.activity_message, page.items)
        return system_pb2.ListActivityResponse(activities=activities, next_page_token=page.next_token)


def _health(report: HealthReport, facts: ServerFacts, *, whole: bool) -> system_pb2.GetHealthResponse:
    """Return the report; where the data lie and the figures of the disk only where it is the `whole` one."""
    writer = report.writer
    return system_pb2.GetHealthResponse(
        status=_STATUSES[report.status],
        parts=[
            system_pb2.HealthPart(
                name=part.name,
                status=_STATUSES[part.status],
                message=f"{part.message}: {part.figures}" if whole and part.figures else part.message,
            )
            for part in report.parts
        ],
        database_version=report.database_version,
        write_queue=system_pb2.WriteQueue(
            length=writer.waiting,
            holder=writer.holder,
            longest_wait=common.duration(writer.longest_wait_seconds),
            held=common.duration(writer.holder_seconds),
        ),
        active_uploads=report.tallies.active_uploads,
        failed_uploads=report.tallies.failed_uploads,
        total_files=report.tallies.total_files,
        start_time=common.timestamp(facts.start_time),
        mount_point=str(facts.data_dir) if whole else "",
    )


def _storage(report: StorageReport, *, physical: bool) -> system_pb2.GetStorageResponse:
    """Return the report; what is shared across namespaces and on the disk only where `physical`.

    A sender who sees these figures before and after could tell whether somebody else has the same bytes.
    """
    reply = system_pb2.GetStorageResponse(
        areas=[
            system_pb2.StorageArea(
                name=area.name, logical_bytes=area.logical_bytes, item_count=area.item_count
            )
            for area in report.areas
        ],
        logical_bytes=report.logical_bytes,
    )
    if physical:
        reply.chunk_bytes, reply.chunk_count = report.chunk_bytes, report.chunk_count
        reply.pack_bytes, reply.pack_count = report.pack_bytes, report.pack_count
        reply.disk_total_bytes, reply.disk_free_bytes = report.disk_total_bytes, report.disk_free_bytes
        reply.database_bytes = report.database_bytes
    return reply
