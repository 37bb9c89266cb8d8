"""TrainingService: create, steer and watch training jobs, and generate text."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc

from ingot.server.core.names import made_id, namespace_id, version_reference
from ingot.server.domain.reproductions import Reproductions
from ingot.server.domain.training import Request, Training
from ingot.server.domain.training_views import TrainingViews
from ingot.server.rpc import convert_training as convert
from ingot.server.rpc import pipeline
from ingot.server.rpc.generating import TextStreams
from ingot.server.rpc.hops import Hops
from ingot.server.rpc.watching import JobWatcher
from ingot.v1 import training_pb2, training_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
Verb = (
    training_pb2.StartTrainingJobRequest
    | training_pb2.PauseTrainingJobRequest
    | training_pb2.ResumeTrainingJobRequest
    | training_pb2.CancelTrainingJobRequest
    | training_pb2.DeleteTrainingJobRequest
)


class TrainingServicer(training_pb2_grpc.TrainingServiceServicer):
    """Serves TrainingService."""

    def __init__(
        self,
        hops: Hops,
        training: Training,
        reproductions: Reproductions,
        views: TrainingViews,
        watcher: JobWatcher,
        texts: TextStreams,
    ) -> None:
        self._hops = hops
        self._training = training
        self._reproductions = reproductions
        self._views = views
        self._watcher = watcher
        self._texts = texts

    # --- jobs -------------------------------------------------------------------------------------------

    async def CreateTrainingJob(
        self, request: training_pb2.CreateTrainingJobRequest, context: Context
    ) -> training_pb2.CreateTrainingJobResponse:
        draft, caller = convert.draft_of(request), pipeline.caller()
        if request.validate_only:
            planned = await self._hops.read(self._training.plan, caller, draft)
            return training_pb2.CreateTrainingJobResponse(training_job=convert.job(planned))
        asked = Request(request.request_id, request.SerializeToString(deterministic=True))
        created = await self._hops.write(self._training.create, caller, draft, asked)
        pipeline.about(created.job.name)
        return training_pb2.CreateTrainingJobResponse(training_job=convert.job(created))

    async def GetTrainingJob(
        self, request: training_pb2.GetTrainingJobRequest, context: Context
    ) -> training_pb2.GetTrainingJobResponse:
        found = await self._hops.read(self._views.get, pipeline.caller(), _job(request.name))
        return training_pb2.GetTrainingJobResponse(training_job=convert.job(found))

    async def ListTrainingJobs(
        self, request: training_pb2.ListTrainingJobsRequest, context: Context
    ) -> training_pb2.ListTrainingJobsResponse:
        page = await self._hops.read(
            self._views.page,
            pipeline.caller(),
            namespace_id(request.parent, any_allowed=True),
            convert.state_of(request.state),
            request.page_size,
            request.page_token,
        )
        return training_pb2.ListTrainingJobsResponse(
            training_jobs=map(convert.job, page.items), next_page_token=page.next_token
        )

    async def DeleteTrainingJob(
        self, request: training_pb2.DeleteTrainingJobRequest, context: Context
    ) -> training_pb2.DeleteTrainingJobResponse:
        hop = self._hops.read if request.validate_only else self._hops.write
        deleted = await hop(
            self._training.delete,
            pipeline.caller(),
            _job(request.name),
            _asked(request),
            allow_missing=request.allow_missing,
            validate_only=request.validate_only,
        )
        return training_pb2.DeleteTrainingJobResponse(
            checkpoint_count=deleted.checkpoints,
            size_bytes=deleted.size_bytes,
            dependants=deleted.dependants,
        )

    async def StartTrainingJob(
        self, request: training_pb2.StartTrainingJobRequest, context: Context
    ) -> training_pb2.StartTrainingJobResponse:
        view = await self._hops.write(
            self._training.start, pipeline.caller(), _job(request.name), _asked(request)
        )
        return training_pb2.StartTrainingJobResponse(training_job=convert.job(view))

    async def PauseTrainingJob(
        self, request: training_pb2.PauseTrainingJobRequest, context: Context
    ) -> training_pb2.PauseTrainingJobResponse:
        view = await self._hops.write(
            self._training.pause, pipeline.caller(), _job(request.name), _asked(request)
        )
        return training_pb2.PauseTrainingJobResponse(training_job=convert.job(view))

    async def ResumeTrainingJob(
        self, request: training_pb2.ResumeTrainingJobRequest, context: Context
    ) -> training_pb2.ResumeTrainingJobResponse:
        view = await self._hops.write(
            self._training.resume, pipeline.caller(), _job(request.name), _asked(request)
        )
        return training_pb2.ResumeTrainingJobResponse(training_job=convert.job(view))

    async def CancelTrainingJob(
        self, request: training_pb2.CancelTrainingJobRequest, context: Context
    ) -> training_pb2.CancelTrainingJobResponse:
        view = await self._hops.write(
            self._training.cancel, pipeline.caller(), _job(request.name), _asked(request)
        )
        return training_pb2.CancelTrainingJobResponse(training_job=convert.job(view))

    async def ReproduceTrainingJob(
        self, request: training_pb2.ReproduceTrainingJobRequest, context: Context
    ) -> training_pb2.ReproduceTrainingJobResponse:
        wanted, caller = convert.reproduction_of(request), pipeline.caller()
        if request.validate_only:
            return convert.reproduction(await self._hops.read(self._reproductions.plan, caller, wanted))
        asked = Request(request.request_id, request.SerializeToString(deterministic=True))
        made = await self._hops.write(self._reproductions.create, caller, wanted, asked)
        pipeline.about(made.job.job.name)
        return convert.reproduction(made)

    # --- watching ---------------------------------------------------------------------------------------

    async def WatchTrainingJob(
        self, request: training_pb2.WatchTrainingJobRequest, context: Context
    ) -> AsyncIterator[training_pb2.WatchTrainingJobResponse]:
        found = self._watcher.watch(pipeline.caller(), _job(request.name), request.after)
        async with contextlib.aclosing(found) as messages:
            async for message in messages:
                yield message

    async def ReadTrainingLogs(
        self, request: training_pb2.ReadTrainingLogsRequest, context: Context
    ) -> AsyncIterator[training_pb2.ReadTrainingLogsResponse]:
        found = self._watcher.logs(pipeline.caller(), _job(request.name), request)
        async with contextlib.aclosing(found) as lines:
            async for line in lines:
                yield line

    async def ListTrainingMetrics(
        self, request: training_pb2.ListTrainingMetricsRequest, context: Context
    ) -> training_pb2.ListTrainingMetricsResponse:
        found = await self._hops.read(
            self._views.series,
            pipeline.caller(),
            _job(request.name),
            list(request.series),
            request.max_points,
            request.after_step,
        )
        return training_pb2.ListTrainingMetricsResponse(series=map(convert.series, found))

    async def ListCheckpoints(
        self, request: training_pb2.ListCheckpointsRequest, context: Context
    ) -> training_pb2.ListCheckpointsResponse:
        page = await self._hops.read(
            self._views.checkpoints,
            pipeline.caller(),
            _job(request.parent, "parent"),
            request.page_size,
            request.page_token,
        )
        return training_pb2.ListCheckpointsResponse(
            checkpoints=map(convert.checkpoint, page.items), next_page_token=page.next_token
        )

    async def GetTrainingStats(
        self, request: training_pb2.GetTrainingStatsRequest, context: Context
    ) -> training_pb2.GetTrainingStatsResponse:
        return convert.stats(await self._hops.read(self._views.stats, pipeline.caller()))

    # --- text -------------------------------------------------------------------------------------------

    async def GenerateText(
        self, request: training_pb2.GenerateTextRequest, context: Context
    ) -> AsyncIterator[training_pb2.GenerateTextResponse]:
        model = version_reference(request.model, "model")
        asked = convert.generation_of(request)
        async with contextlib.aclosing(self._texts.stream(pipeline.caller(), model, asked)) as replies:
            async for reply in replies:
                yield reply


def _job(name: str, field: str = "name") -> str:
    return made_id(name, "trainingJobs", field)


def _asked(request: Verb) -> Request:
    return Request(request.request_id, request.SerializeToString(deterministic=True), request.etag)
