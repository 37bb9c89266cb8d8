"""Why something cannot go on, in a form that survives the way to the user.

A `Problem` is what the server stores and shows: a reason (a name of the API's ErrorReason list), a sentence,
the facts behind it and what to do next. `TrainingError` carries one up the call stack of the trainer. No
torch, no grpc.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Problem:
    """One failure: `reason` is an ErrorReason name such as OUT_OF_MEMORY; facts are short strings."""

    reason: str
    message: str
    facts: Mapping[str, str] = field(default_factory=dict)
    next_step: str = ""

    def __str__(self) -> str:
        facts = ", ".join(f"{name}={value}" for name, value in self.facts.items())
        return (
            self.message + (f" ({facts})" if facts else "") + (f" {self.next_step}" if self.next_step else "")
        )


class TrainingError(Exception):
    """Raised where a failure is known; the trainer reports its problem as the outcome."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def failed(reason: str, message: str, next_step: str = "", **facts: object) -> TrainingError:
    """Build the exception in one line: `raise failed("DATA_LOSS", "...", "do this", file=path)`."""
    return TrainingError(
        Problem(reason, message, {name: str(value) for name, value in facts.items()}, next_step)
    )
