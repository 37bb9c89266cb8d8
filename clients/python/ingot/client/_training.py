"""Training jobs: create, steer, watch, and text from what they made."""

from collections.abc import Iterator, Mapping, Sequence

from ingot.client import _filling, _names, _pages, _watches
from ingot.client._calls import Calls, new_id
from ingot.client._channels import Link
from ingot.client._names import Names
from ingot.client._references import Reference
from ingot.client._watches import OnBreak
from ingot.v1 import common_pb2, training_pb2_grpc
from ingot.v1 import training_pb2 as pb

FINAL_STATES = frozenset(
    {
        pb.TRAINING_JOB_STATE_SUCCEEDED,
        pb.TRAINING_JOB_STATE_FAILED,
        pb.TRAINING_JOB_STATE_CANCELLED,
    }
)
_GENERATION_IDLE = 600.0  # a waiting reply says that a worker starts; loading a model takes its time

Config = Mapping[str, object]


class Training:
    """Calls of TrainingService; a job may be given as `12`, `job_12` or by its long name."""

    def __init__(self, link: Link, calls: Calls, names: Names) -> None:
        self._stub = training_pb2_grpc.TrainingServiceStub(link.channel)
        self._calls = calls
        self._names = names

    def create(
        self,
        dataset: str | Reference,
        *,
        output: str | Reference | None = None,
        base: str | Reference | None = None,
        config: Config | pb.TrainingConfig | None = None,
        deepspeed: Config | pb.DeepSpeedConfig | None = None,
        namespace: str = "",
        display_name: str = "",
        start: bool = False,
        validate_only: bool = False,
        request_id: str = "",
    ) -> pb.TrainingJob:
        """Create a job with its plan, and start it on wish; `validate_only` returns the plan alone.

        Config keys may be written as in the protos (`batch_size`) or as in JSON (`batchSize`, `useGPU`). The
        same `request_id` never makes two jobs.
        """
        request = pb.CreateTrainingJobRequest(
            namespace=f"namespaces/{namespace}" if namespace else "",
            display_name=display_name,
            dataset=self._names.version(dataset),
            base_model=self._names.version(base) if base else "",
            output_artifact=self._names.artifact(output) if output else "",
            config=_filling.filled(pb.TrainingConfig(), config, "config"),
            deepspeed=_filling.filled(pb.DeepSpeedConfig(), deepspeed, "deepspeed"),
            start=start,
            request_id=request_id or new_id(),
            validate_only=validate_only,
        )
        return self._calls.unary(self._stub.CreateTrainingJob, request).training_job

    def get(self, job: str) -> pb.TrainingJob:
        """Return a job as it is now."""
        request = pb.GetTrainingJobRequest(name=_names.job_name(job))
        return self._calls.unary(self._stub.GetTrainingJob, request).training_job

    def list(
        self,
        *,
        namespace: str | None = None,
        state: pb.TrainingJobState.ValueType = pb.TRAINING_JOB_STATE_UNSPECIFIED,
        limit: int | None = None,
    ) -> Iterator[pb.TrainingJob]:
        """Yield the jobs one may see, newest first."""

        def page(size: int, token: str) -> tuple[Sequence[pb.TrainingJob], str]:
            request = pb.ListTrainingJobsRequest(
                parent=self._names.parent(namespace), state=state, page_size=size, page_token=token
            )
            reply = self._calls.unary(self._stub.ListTrainingJobs, request)
            return reply.training_jobs, reply.next_page_token

        return _pages.walk(page, limit)

    def delete(
        self, job: str, *, allow_missing: bool = False, etag: str = "", validate_only: bool = False
    ) -> pb.DeleteTrainingJobResponse:
        """Remove a job that is not live, with its checkpoints and logs; the model it made stays.

        With `validate_only` only tell what would go, and who names it.
        """
        request = pb.DeleteTrainingJobRequest(
            name=_names.job_name(job),
            etag=etag,
            allow_missing=allow_missing,
            request_id=new_id(),
            validate_only=validate_only,
        )
        return self._calls.unary(self._stub.DeleteTrainingJob, request)

    def start(self, job: str, *, etag: str = "") -> pb.TrainingJob:
        """Queue a draft."""
        request = pb.StartTrainingJobRequest(name=_names.job_name(job), etag=etag, request_id=new_id())
        return self._calls.unary(self._stub.StartTrainingJob, request).training_job

    def pause(self, job: str, *, etag: str = "") -> pb.TrainingJob:
        """Ask a job to save and let go of its machine; the watch shows it done."""
        request = pb.PauseTrainingJobRequest(name=_names.job_name(job), etag=etag, request_id=new_id())
        return self._calls.unary(self._stub.PauseTrainingJob, request).training_job

    def resume(self, job: str, *, etag: str = "") -> pb.TrainingJob:
        """Queue a paused or failed job again; it goes on from its last checkpoint."""
        request = pb.ResumeTrainingJobRequest(name=_names.job_name(job), etag=etag, request_id=new_id())
        return self._calls.unary(self._stub.ResumeTrainingJob, request).training_job

    def cancel(self, job: str, *, etag: str = "") -> pb.TrainingJob:
        """Ask a job to end without a result."""
        request = pb.CancelTrainingJobRequest(name=_names.job_name(job), etag=etag, request_id=new_id())
        return self._calls.unary(self._stub.CancelTrainingJob, request).training_job

    def reproduce(
        self,
        what: str | Reference,
        *,
        output: str | Reference | None = None,
        start: bool = False,
        validate_only: bool = False,
        request_id: str = "",
    ) -> pb.ReproduceTrainingJobResponse:
        """Create a job again: the one given (`job_12`), or the one that made a model version.

        The result goes to the same model unless `output` names another. The reply tells the version and
        digest to compare it with.
        """
        request = pb.ReproduceTrainingJobRequest(
            name=_names.job_name(str(what)) if _names.is_job(what) else self._names.version(what),
            output_artifact=self._names.artifact(output) if output else "",
            start=start,
            request_id=request_id or new_id(),
            validate_only=validate_only,
        )
        return self._calls.unary(self._stub.ReproduceTrainingJob, request)

    def watch(
        self, job: str, *, after: int = 0, on_break: OnBreak | None = None
    ) -> Iterator[pb.WatchTrainingJobResponse]:
        """Yield the job as it is, its events after number `after`, `synced`, then each event as it happens.

        Ends after a final state. Broken connections are resumed without losing or doubling an event, so
        `snapshot` and `synced` come once each; heartbeats are kept back.
        """
        name = _names.job_name(job)

        def open_stream(position: int) -> Iterator[pb.WatchTrainingJobResponse]:
            request = pb.WatchTrainingJobRequest(name=name, after=position)
            return self._calls.stream(self._stub.WatchTrainingJob, request)

        return _watches.follow_one(self._calls, open_stream, after, on_break)

    def wait(self, job: str) -> pb.TrainingJob:
        """Wait until a job has ended and return it; a paused job is waited for too."""
        for _ in self.watch(job):
            pass
        return self.get(job)

    def logs(
        self,
        job: str,
        *,
        after: int = 0,
        min_level: common_pb2.LogLevel.ValueType = common_pb2.LOG_LEVEL_UNSPECIFIED,
        rank: int | None = None,
        follow: bool = False,
        tail: int = 0,
    ) -> Iterator[pb.ReadTrainingLogsResponse]:
        """Yield log lines after number `after`, or the last `tail` of them; `follow` goes on to the end."""
        name = _names.job_name(job)

        def open_stream(position: int) -> Iterator[pb.ReadTrainingLogsResponse]:
            request = pb.ReadTrainingLogsRequest(
                name=name,
                after=position,
                min_level=min_level,
                rank=rank,
                follow=follow,
                tail=tail if position == after else 0,
            )
            # A followed log may be silent for long: no heartbeat stands between its lines.
            idle = float("inf") if follow else 60.0
            return self._calls.stream(self._stub.ReadTrainingLogs, request, idle=idle)

        return _watches.follow(self._calls, open_stream, lambda line: line.seq, after)

    def metrics(
        self, job: str, series: Sequence[str] = (), *, max_points: int = 0, after_step: int = 0
    ) -> Sequence[pb.MetricSeries]:
        """Return series of numbers (all when none is named), thinned by the server."""
        request = pb.ListTrainingMetricsRequest(
            name=_names.job_name(job), series=series, max_points=max_points, after_step=after_step
        )
        return self._calls.unary(self._stub.ListTrainingMetrics, request).series

    def checkpoints(self, job: str, *, limit: int | None = None) -> Iterator[pb.Checkpoint]:
        """Yield the checkpoints of a job, newest first."""
        name = _names.job_name(job)

        def page(size: int, token: str) -> tuple[Sequence[pb.Checkpoint], str]:
            request = pb.ListCheckpointsRequest(parent=name, page_size=size, page_token=token)
            reply = self._calls.unary(self._stub.ListCheckpoints, request)
            return reply.checkpoints, reply.next_page_token

        return _pages.walk(page, limit)

    def stats(self) -> pb.GetTrainingStatsResponse:
        """Return totals over the jobs one may see."""
        return self._calls.unary(self._stub.GetTrainingStats, pb.GetTrainingStatsRequest())

    def generate(
        self,
        model: str | Reference,
        prompt: str = "",
        *,
        messages: Sequence[tuple[str, str]] = (),
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> Iterator[pb.GenerateTextResponse]:
        """Yield a waiting message, pieces of text as a worker writes them, then done.

        `messages` are (role, content) pairs of a chat, instead of `prompt`.
        """
        request = pb.GenerateTextRequest(
            model=self._names.version(model),
            prompt=prompt,
            messages=[common_pb2.ChatMessage(role=role, content=content) for role, content in messages],
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            stop=stop,
        )
        return self._calls.stream(self._stub.GenerateText, request, idle=_GENERATION_IDLE)
