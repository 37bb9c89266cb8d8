"""Text generation: what is asked for, and what comes back from the worker that does it."""

from dataclasses import dataclass

from ingot.server.core.names import VersionName

DEFAULT_MAX_TOKENS, LARGEST_MAX_TOKENS = 128, 32_768
LARGEST_PROMPT = 512 * 1024  # bytes of UTF-8 in a prompt, or in all messages of a chat together
MOST_MESSAGES = 1000
MOST_STOPS, LONGEST_STOP = 16, 200  # texts that end a generation, and characters in one
DEFAULT_TEMPERATURE, DEFAULT_TOP_P = 0.7, 1.0


@dataclass(frozen=True, slots=True)
class ChatTurn:
    """Something said in a chat; role is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """What to write, either from a plain prompt or as the answer in a chat."""

    prompt: str
    messages: tuple[ChatTurn, ...]
    max_tokens: int
    temperature: float
    top_p: float
    seed: int | None
    stop: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GenerationAssignment:
    """A text generation as it is given to a worker; it lives only as long as the call that wants it."""

    name: str  # generations/gen_12
    attempt: int
    model: VersionName
    digest: bytes
    namespace: str  # of the model, for the record
    request: GenerationRequest
    lease_expire_time: float


@dataclass(frozen=True, slots=True)
class GenerationDone:
    """The end of a generation, told by its worker; `seconds` from claim to end."""

    finish_reason: str  # stop, length or cancelled
    prompt_tokens: int
    completion_tokens: int
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class GenerationView:
    """What there is of a generation now: its worker (id, "" while none), text pieces, and its end."""

    worker: str
    attempt: int
    pieces: tuple[str, ...]
    done: GenerationDone | None
