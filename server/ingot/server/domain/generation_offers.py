"""Offering a text generation: check what is asked for, pin the model, and say why nobody takes it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ingot.server.core.artifacts import Version
from ingot.server.core.catalog_stores import CounterStore
from ingot.server.core.errors import invalid_field
from ingot.server.core.generation import LARGEST_MAX_TOKENS, GenerationRequest
from ingot.server.core.identity import Caller
from ingot.server.core.names import ArtifactName, Kind, VersionReference
from ingot.server.core.training_stores import TrainingStore
from ingot.server.core.workers import Worker
from ingot.server.domain.generation import PREFIX
from ingot.server.domain.training import VersionSource
from ingot.server.domain.training_views import TrainingViews

_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Offer:
    """A checked generation: its new name, and the version that shall write."""

    name: str
    version: Version


class GenerationOffers:
    """Checks and names text generations. Methods run inside a unit of work."""

    def __init__(
        self, versions: VersionSource, views: TrainingViews, jobs: TrainingStore, counters: CounterStore
    ) -> None:
        self._versions = versions
        self._views = views
        self._jobs = jobs
        self._counters = counters

    def make(self, caller: Caller, model: VersionReference, request: GenerationRequest) -> Offer:
        """Check a request and give it a name; runs inside a write.

        Raises Invalid (FIELD_INVALID), NotFound (VERSION_NOT_FOUND, ARTIFACT_NOT_FOUND, ALIAS_NOT_FOUND),
        Precondition (STATE_INVALID).
        """
        check(request)
        artifact = model if isinstance(model, ArtifactName) else model.artifact
        if artifact.kind is not Kind.MODEL:
            raise invalid_field("model", f"expected a model, got {model}")
        version = self._versions.resolve(caller, model)
        return Offer(f"{PREFIX}gen_{self._counters.next('gen')}", version)

    def why_waiting(self) -> str:
        """Say in one line why a generation has no worker yet; runs inside a read."""
        online = self._views.online()
        busy = {job.worker for job in self._jobs.held_by([worker.id for worker in online])}
        return _why(online, busy)


def check(request: GenerationRequest) -> None:
    """Check what is asked for. Raises Invalid (FIELD_INVALID)."""
    if bool(request.prompt) == bool(request.messages):
        raise invalid_field("prompt", "expected either a prompt or messages, got both or neither")
    for position, turn in enumerate(request.messages):
        if turn.role not in _ROLES:
            expected = ", ".join(_ROLES)
            raise invalid_field(
                f"messages[{position}].role", f"expected one of {expected}, got {turn.role!r}"
            )
    rows: tuple[tuple[str, float, float, float], ...] = (
        ("max_tokens", request.max_tokens, 1, LARGEST_MAX_TOKENS),
        ("temperature", request.temperature, 0.0, 10.0),
        ("top_p", request.top_p, 1e-6, 1.0),
        ("seed", request.seed or 0, 0, 2**63 - 1),
    )
    for name, value, low, high in rows:
        if not low <= value <= high:
            raise invalid_field(name, f"expected {low:g} to {high:g}, got {value:g}")


def _why(online: Sequence[Worker], busy: Collection[str]) -> str:
    if not online:
        return "no worker is online"
    able = [each for each in online if not each.facts.missing_software]
    if not able:
        return f"none of the {len(online)} online workers has the software it needs"
    working = sum(each.id in busy for each in able)
    return f"{len(able)} workers are online, {working} of them with a training job"
