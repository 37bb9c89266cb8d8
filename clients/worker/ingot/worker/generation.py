"""Ask a model for text: the requests and answers of the generating process, and its start. No torch, no grpc.

`start(folder, log)` runs `python -m ingot.worker.generate FOLDER`. It loads the model once, says `Ready`, and
answers requests one after the other: frames as in `progress`, requests on its stdin, answers on the inherited
descriptor. Each request ends with exactly one `Done` or `Refused`; USR1 stops the request in work (`Done`
with reason "stopped").
"""

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, ClassVar

from ingot.worker import launch, progress
from ingot.worker.data import Turn
from ingot.worker.problem import Problem


@dataclass(frozen=True, slots=True)
class Request:
    """Either `messages` (the model's chat template is applied) or a plain `prompt`.

    Temperature 0 is greedy.
    """

    id: str
    prompt: str = ""
    messages: Sequence[Turn] = field(default_factory=tuple)
    max_tokens: int = 128
    temperature: float = 0.7
    top_p: float = 0.95
    seed: int | None = None
    stop: Sequence[str] = field(default_factory=tuple)  # texts that end the answer and are not part of it


class StopTexts:
    """Lets text through up to the first stop text; what may be the beginning of one waits for the rest."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""

    def feed(self, text: str) -> tuple[str, bool]:
        """Return the text that may go out, and whether a stop text came."""
        self._held += text
        ends = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if ends:
            out, self._held = self._held[: min(ends)], ""
            return out, True
        keep = max((self._overlap(stop) for stop in self._stops), default=0)
        out, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return out, False

    def rest(self) -> str:
        """Return what waited in vain."""
        return self._held

    def _overlap(self, stop: str) -> int:
        return next((n for n in range(len(stop) - 1, 0, -1) if self._held.endswith(stop[:n])), 0)


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded."""

    kind: ClassVar[str] = "ready"
    device: str
    parameters: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of one or more new tokens; a character is sent only when it is whole."""

    kind: ClassVar[str] = "piece"
    id: str
    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Done:
    """The request is answered; reason is stop, length or stopped."""

    kind: ClassVar[str] = "done"
    id: str
    reason: str
    prompt_tokens: int
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Refused:
    """The request cannot be answered.

    The process goes on, unless id is "" (the model could not be loaded).
    """

    kind: ClassVar[str] = "refused"
    id: str
    problem: Problem


Answer = Ready | Piece | Done | Refused
_KINDS: dict[str, type[Answer]] = {kind.kind: kind for kind in (Ready, Piece, Done, Refused)}


class Generator:
    """A running generating process. Send a request, then read answers up to its Done or Refused."""

    def __init__(self, process: "subprocess.Popen[bytes]", answers: BinaryIO, log: Path) -> None:
        self._process = process
        self._answers = answers
        self.log = log

    @property
    def pid(self) -> int:
        """Process id, also the id of its process group."""
        return self._process.pid

    def send(self, request: Request) -> None:
        """Hand over a request. Raises BrokenPipeError when the process is gone."""
        assert self._process.stdin is not None
        progress.write_all(self._process.stdin.fileno(), progress.encode_frame(dataclasses.asdict(request)))

    def answers(self) -> Iterator[Answer]:
        """Yield answers until the process ends; one iterator for the process's life, not one per request."""
        for data in progress.read_frames(self._answers):
            yield decode(data)

    def alive(self) -> bool:
        """Tell whether the process still runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Stop the request in work; the process stays for the next."""
        if self.alive():
            os.kill(self._process.pid, signal.SIGUSR1)

    def close(self, timeout: float = 10.0) -> None:
        """End the process: no more requests, then by force after `timeout` seconds."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._answers.close()

    def stderr_tail(self) -> str:
        """Return the last bytes the process wrote to its log."""
        return launch.tail(self.log)


def start(model_folder: Path, log: Path, gpu: bool | None = None, threads: int | None = None) -> Generator:
    """Start a generating process for a model folder in Hugging Face layout.

    `gpu` None takes one if there is one.
    """
    environment = launch.compute_environment(gpu, threads or os.cpu_count() or 1)
    log.parent.mkdir(parents=True, exist_ok=True)
    read_end, write_end = os.pipe()
    try:
        command = [sys.executable, "-m", "ingot.worker.generate", str(model_folder)]
        process = launch.spawn(command, environment, log, write_end, subprocess.PIPE)
    except BaseException:
        os.close(read_end)
        raise
    finally:
        os.close(write_end)
    return Generator(process, os.fdopen(read_end, "rb"), log)


def encode(answer: Answer) -> bytes:
    """Make the frame of an answer."""
    return progress.encode_frame({"kind": answer.kind, **dataclasses.asdict(answer)})


def decode(data: Mapping[str, object]) -> Answer:
    """Read an answer back."""
    fields = dict(data)
    kind = _KINDS[str(fields.pop("kind"))]
    if isinstance(problem := fields.get("problem"), dict):
        fields["problem"] = Problem(**problem)
    return kind(**fields)  # type: ignore[arg-type]  # our own writer made the fields


def decode_request(data: Mapping[str, object]) -> Request:
    """Read a request back. Raises TypeError for an unknown or missing key."""
    fields = dict(data)
    turns = fields.get("messages", ())
    assert isinstance(turns, list | tuple)
    fields["messages"] = tuple(Turn(**turn) for turn in turns)
    return Request(**fields)  # type: ignore[arg-type]  # our own writer made the fields
