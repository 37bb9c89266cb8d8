"""Training jobs done again: the same inputs, settings and seed, so that the result should be the same bytes.

A job pins everything that decides its result: versions by name and digest, configuration, engine settings.
What it pinned must still be there, unchanged; the new job is then made as any other, and names the first one.
"""

from dataclasses import dataclass

from ingot.content import digests
from ingot.server.core.artifacts import Version
from ingot.server.core.errors import NotFound, Precondition, Reason
from ingot.server.core.identity import Caller
from ingot.server.core.names import ArtifactName, VersionName, VersionReference, made_id
from ingot.server.core.training import JobView, PinnedVersion, TrainingJob
from ingot.server.domain.requests import Requests
from ingot.server.domain.training import LONGEST_DISPLAY_NAME, JobDraft, Request, Training, VersionSource
from ingot.server.domain.training_views import TrainingViews


@dataclass(frozen=True, slots=True)
class WantedReproduction:
    """What to do again: a job by its id (`job_12`) or what names the model version that one made."""

    what: VersionReference | str
    output: ArtifactName | None = None  # None: the model that the first job wrote to
    start: bool = False


@dataclass(frozen=True, slots=True)
class Reproduction:
    """The new job, and what the first one made, as far as the caller may see it."""

    job: JobView
    original: Version | None


class Reproductions:
    """The rules about jobs done again; `plan` runs inside a read, `create` inside a write."""

    def __init__(
        self, training: Training, views: TrainingViews, versions: VersionSource, requests: Requests
    ) -> None:
        self._training = training
        self._views = views
        self._versions = versions
        self._requests = requests

    def plan(self, caller: Caller, wanted: WantedReproduction) -> Reproduction:
        """Return what `create` would make, without a number, with its plan.

        Raises NotFound (TRAINING_JOB_NOT_FOUND, VERSION_NOT_FOUND and the like), Precondition (STATE_INVALID
        where no job here made the version, DIGEST_MISMATCH where an input is another one by now), and as
        Training.plan.
        """
        first = self._first(caller, wanted.what)
        view = self._training.plan(caller, self._draft(caller, first, wanted))
        return Reproduction(view, self._training.result(caller, first))

    def create(self, caller: Caller, wanted: WantedReproduction, request: Request) -> Reproduction:
        """Create the job again, and queue it when `wanted.start` is set. Raises as `plan`."""

        def make() -> str:
            draft = self._draft(caller, self._first(caller, wanted.what), wanted)
            return self._training.create(caller, draft, Request()).job.id

        made, _ = self._requests.once(caller, "ReproduceTrainingJob", request.id, request.payload, make)
        view = self._views.get(caller, made)
        return Reproduction(view, self._original(caller, view.job))

    # --- parts ------------------------------------------------------------------------------------------

    def _first(self, caller: Caller, what: VersionReference | str) -> TrainingJob:
        """Return the job to do again."""
        if isinstance(what, str):
            return self._views.get(caller, what).job
        version = self._versions.resolve(caller, what)
        name = version.origin.training_job
        if not name:
            raise Precondition(
                Reason.STATE_INVALID,
                f"{version.name} was not trained here; expected a version that a training job of this server "
                "made.",
                next_step=f"See where it comes from: ingot why {version.name}",
                facts={"name": str(version.name)},
            )
        try:
            return self._views.get(caller, made_id(name, "trainingJobs", "name")).job
        except NotFound as error:
            raise NotFound(
                Reason.TRAINING_JOB_NOT_FOUND,
                f"{version.name} was made by {name}, which is deleted or not yours to see; its settings are "
                "needed to do it again.",
                next_step=f"The card of the model tells them: ingot cat {version.name}:README.md",
                facts={"name": name, "version": str(version.name)},
            ) from error

    def _draft(self, caller: Caller, first: TrainingJob, wanted: WantedReproduction) -> JobDraft:
        self._check_input(caller, first, first.dataset)
        if first.base is not None:
            self._check_input(caller, first, first.base)
        made = self._training.result(caller, first)
        title = f"Reproduces {first.name}"
        with_model = f"{title} ({_short(made.name)})" if made else title
        return JobDraft(
            dataset=first.dataset.name,
            base=first.base.name if first.base else None,
            output=wanted.output or first.output_artifact,
            display_name=with_model if len(with_model) <= LONGEST_DISPLAY_NAME else title,
            config=first.config,
            deepspeed=first.deepspeed,
            start=wanted.start,
            reproduces=first.name,
            warnings=tuple(_doubts(first)),
        )

    def _check_input(self, caller: Caller, first: TrainingJob, pinned: PinnedVersion) -> None:
        try:
            found = self._versions.resolve(caller, pinned.name)
        except NotFound as error:
            raise NotFound(
                error.reason,
                f"{first.name} used {pinned.name}, which is deleted or not yours to see.",
                next_step=f"If it is in the trash, take it out: ingot restore {pinned.name}",
                facts={"name": str(pinned.name), "training_job": first.name},
            ) from error
        if found.digest != pinned.digest:
            expected, got = map(digests.format_digest, (pinned.digest, found.digest))
            raise Precondition(
                Reason.DIGEST_MISMATCH,
                f"{pinned.name} is not what {first.name} used: expected {expected}, got {got}.",
                next_step="Push what it used as a version of another artifact, and train on that instead.",
                facts={"name": str(pinned.name), "expected": expected, "got": got},
            )

    def _original(self, caller: Caller, again: TrainingJob) -> Version | None:
        try:
            first = self._views.get(caller, made_id(again.reproduces, "trainingJobs", "name")).job
        except NotFound:
            return None
        return self._training.result(caller, first)


def _doubts(first: TrainingJob) -> list[str]:
    """Return why the result may be another one, in words."""
    found = []
    if first.config.max_time:
        found.append("max_time ends a training by the clock, so this one may take more steps or fewer.")
    if first.certificate is not None and not first.certificate.exact:
        found.append(f"{first.name} was resumed and did not go on exactly: {first.certificate.reason}.")
    return found


def _short(name: VersionName) -> str:
    artifact = name.artifact
    return f"{artifact.kind.value}/{artifact.namespace}/{artifact.artifact}@{name.version}"
