"""Training, to be awaited. Made from _training.py by docs/tools/async_form.py."""

from collections.abc import AsyncIterator, Sequence

from ingot.client._references import Reference
from ingot.client._training import Config, Training
from ingot.client._watches import OnBreak
from ingot.client.aio._running import AsyncPart
from ingot.v1 import common_pb2
from ingot.v1 import training_pb2 as pb


class AsyncTraining(AsyncPart[Training]):
    """Calls of TrainingService; a job may be given as `12`, `job_12` or by its long name."""

    async def create(
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
    ) -> "pb.TrainingJob":
        """Create a job with its plan, and start it on wish; `validate_only` returns the plan alone.

        Config keys may be written as in the protos (`batch_size`) or as in JSON (`batchSize`, `useGPU`). The
        same `request_id` never makes two jobs.
        """
        return await self._call(
            lambda sdk: sdk.create(
                dataset,
                output=output,
                base=base,
                config=config,
                deepspeed=deepspeed,
                namespace=namespace,
                display_name=display_name,
                start=start,
                validate_only=validate_only,
                request_id=request_id,
            )
        )

    async def get(self, job: str) -> "pb.TrainingJob":
        """Return a job as it is now."""
        return await self._call(lambda sdk: sdk.get(job))

    def list(
        self,
        *,
        namespace: str | None = None,
        state: pb.TrainingJobState.ValueType = pb.TRAINING_JOB_STATE_UNSPECIFIED,
        limit: int | None = None,
    ) -> "AsyncIterator[pb.TrainingJob]":
        """Yield the jobs one may see, newest first."""
        return self._each(lambda sdk: sdk.list(namespace=namespace, state=state, limit=limit))

    async def delete(
        self, job: str, *, allow_missing: bool = False, etag: str = "", validate_only: bool = False
    ) -> "pb.DeleteTrainingJobResponse":
        """Remove a job that is not live, with its checkpoints and logs; the model it made stays.

        With `validate_only` only tell what would go, and who names it.
        """
        return await self._call(
            lambda sdk: sdk.delete(job, allow_missing=allow_missing, etag=etag, validate_only=validate_only)
        )

    async def start(self, job: str, *, etag: str = "") -> "pb.TrainingJob":
        """Queue a draft."""
        return await self._call(lambda sdk: sdk.start(job, etag=etag))

    async def pause(self, job: str, *, etag: str = "") -> "pb.TrainingJob":
        """Ask a job to save and let go of its machine; the watch shows it done."""
        return await self._call(lambda sdk: sdk.pause(job, etag=etag))

    async def resume(self, job: str, *, etag: str = "") -> "pb.TrainingJob":
        """Queue a paused or failed job again; it goes on from its last checkpoint."""
        return await self._call(lambda sdk: sdk.resume(job, etag=etag))

    async def cancel(self, job: str, *, etag: str = "") -> "pb.TrainingJob":
        """Ask a job to end without a result."""
        return await self._call(lambda sdk: sdk.cancel(job, etag=etag))

    async def reproduce(
        self,
        what: str | Reference,
        *,
        output: str | Reference | None = None,
        start: bool = False,
        validate_only: bool = False,
        request_id: str = "",
    ) -> "pb.ReproduceTrainingJobResponse":
        """Create a job again: the one given (`job_12`), or the one that made a model version.

        The result goes to the same model unless `output` names another. The reply tells the version and
        digest to compare it with.
        """
        return await self._call(
            lambda sdk: sdk.reproduce(
                what, output=output, start=start, validate_only=validate_only, request_id=request_id
            )
        )

    def watch(
        self, job: str, *, after: int = 0, on_break: OnBreak | None = None
    ) -> "AsyncIterator[pb.WatchTrainingJobResponse]":
        """Yield the job as it is, its events after number `after`, `synced`, then each event as it happens.

        Ends after a final state. Broken connections are resumed without losing or doubling an event, so
        `snapshot` and `synced` come once each; heartbeats are kept back.
        """
        return self._each(
            lambda sdk: sdk.watch(job, after=after, on_break=self._on_loop(on_break)), apart=True
        )

    async def wait(self, job: str) -> "pb.TrainingJob":
        """Wait until a job has ended and return it; a paused job is waited for too."""
        return await self._call(lambda sdk: sdk.wait(job), apart=True)

    def logs(
        self,
        job: str,
        *,
        after: int = 0,
        min_level: common_pb2.LogLevel.ValueType = common_pb2.LOG_LEVEL_UNSPECIFIED,
        rank: int | None = None,
        follow: bool = False,
        tail: int = 0,
    ) -> "AsyncIterator[pb.ReadTrainingLogsResponse]":
        """Yield log lines after number `after`, or the last `tail` of them; `follow` goes on to the end."""
        return self._each(
            lambda sdk: sdk.logs(job, after=after, min_level=min_level, rank=rank, follow=follow, tail=tail),
            apart=True,
        )

    async def metrics(
        self, job: str, series: Sequence[str] = (), *, max_points: int = 0, after_step: int = 0
    ) -> "Sequence[pb.MetricSeries]":
        """Return series of numbers (all when none is named), thinned by the server."""
        return await self._call(
            lambda sdk: sdk.metrics(job, series, max_points=max_points, after_step=after_step)
        )

    def checkpoints(self, job: str, *, limit: int | None = None) -> "AsyncIterator[pb.Checkpoint]":
        """Yield the checkpoints of a job, newest first."""
        return self._each(lambda sdk: sdk.checkpoints(job, limit=limit))

    async def stats(self) -> "pb.GetTrainingStatsResponse":
        """Return totals over the jobs one may see."""
        return await self._call(lambda sdk: sdk.stats())

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
    ) -> "AsyncIterator[pb.GenerateTextResponse]":
        """Yield a waiting message, pieces of text as a worker writes them, then done.

        `messages` are (role, content) pairs of a chat, instead of `prompt`.
        """
        return self._each(
            lambda sdk: sdk.generate(
                model,
                prompt,
                messages=messages,
                max_tokens=max_tokens,
                temperature=temperature,
                top_p=top_p,
                seed=seed,
                stop=stop,
            )
        )
