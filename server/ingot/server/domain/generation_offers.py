"""Offering a text generation: check what is asked for, pin the model, and say why nobody takes it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ingot.server.core.artifacts import Version
from ingot.server.core.catalog_stores import CounterStore
from ingot.server.core.errors import invalid_field
from ingot.server.core.generation import (
    LARGEST_MAX_TOKENS,
    LARGEST_PROMPT,
    LONGEST_STOP,
    MOST_MESSAGES,
    MOST_STOPS,
    GenerationRequest,
)
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
        return why(online, busy)


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
    _check_sizes(request)
    rows: tuple[tuple[str, float, float, float], ...] = (
        ("max_tokens", request.max_tokens, 1, LARGEST_MAX_TOKENS),
        ("temperature", request.temperature, 0.0, 10.0),
        ("top_p", request.top_p, 1e-6, 1.0),
        ("seed", request.seed or 0, 0, 2**63 - 1),
    )
    for name, value, low, high in rows:
        if not low <= value <= high:
            raise invalid_field(name, f"expected {low:g} to {high:g}, got {value:g}")


def _check_sizes(request: GenerationRequest) -> None:
    """Bound what is kept in memory and sent to a worker."""
    if len(request.messages) > MOST_MESSAGES:
        raise invalid_field(
            "messages", f"expected at most {MOST_MESSAGES} messages, got {len(request.messages)}"
        )
    for name, parts in (
        ("prompt", [request.prompt]),
        ("messages", [turn.content for turn in request.messages]),
    ):
        size = sum(len(part.encode()) for part in parts)
        if size > LARGEST_PROMPT:
            raise invalid_field(
                name,
                f"expected at most {LARGEST_PROMPT} bytes of text, got {size}",
                next_step="Shorten it; no model here reads that much at once.",
            )
    if len(request.stop) > MOST_STOPS:
        raise invalid_field("stop", f"expected at most {MOST_STOPS} texts, got {len(request.stop)}")
    for position, stop in enumerate(request.stop):
        if not 1 <= len(stop) <= LONGEST_STOP:
            raise invalid_field(
                f"stop[{position}]", f"expected 1 to {LONGEST_STOP} characters, got {len(stop)}"
            )


def why(online: Sequence[Worker], busy: Collection[str]) -> str:
    """Say why a generation waits; `busy` holds the ids of workers with a training job."""
    if not online:
        return "no worker is online"
    able = [each for each in online if not each.facts.missing_software]
    if not able:
        if len(online) == 1:
            return "the only online worker lacks software it needs"
        return f"none of the {len(online)} online workers has the software it needs"
    working = sum(each.id in busy for each in able)
    if len(able) == 1:
        return "1 worker is online" + (", with a training job" if working else "")
    return f"{len(able)} workers are online, {working} of them with a training job"
