"""SystemService: the dashboard and the settings, for administrators."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc

from ingot.server.core.shown_settings import ShownSetting
from ingot.server.domain.call_figures import CallFigures
from ingot.server.domain.dashboard import Dashboard
from ingot.server.domain.usage import Usage
from ingot.server.rpc import convert_dashboard as convert
from ingot.server.rpc import pipeline, usage_storing
from ingot.server.rpc.hops import Hops
from ingot.v1 import system_pb2 as pb
from ingot.v1 import system_pb2_grpc

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


@dataclass(frozen=True, slots=True)
class DashboardRules:
    """What the calls below need."""

    dashboard: Dashboard
    usage: Usage
    figures: CallFigures
    settings: Sequence[ShownSetting]


class DashboardCalls(system_pb2_grpc.SystemServiceServicer):
    """Serves GetDashboard and ListSettings."""

    _hops: Hops
    _seen: DashboardRules

    async def GetDashboard(
        self, request: pb.GetDashboardRequest, context: Context
    ) -> pb.GetDashboardResponse:
        await usage_storing.catch_up(self._hops, self._seen.usage)
        await usage_storing.catch_up(self._hops, self._seen.figures)
        found = await self._hops.read(
            self._seen.dashboard.overview,
            pipeline.caller(),
            days=request.days,
            rows=request.activity_size,
        )
        sizes = await self._hops.io(self._seen.dashboard.bytes, found)
        return convert.dashboard_message(found, sizes)

    async def ListSettings(
        self, request: pb.ListSettingsRequest, context: Context
    ) -> pb.ListSettingsResponse:
        return pb.ListSettingsResponse(settings=map(convert.setting_message, self._seen.settings))
