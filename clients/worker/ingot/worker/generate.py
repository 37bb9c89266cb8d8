"""The generating process: `python -m ingot.worker.generate FOLDER`, started by `generation.start`.

It loads a model folder once and answers requests from stdin, one after the other, token by token with a cache
of keys and values. A piece of text goes out when its last character is whole: one Persian letter may be two
tokens.
"""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import transformers

from ingot.worker import generation, launch, progress, tokens
from ingot.worker.data import ROLES, Turn
from ingot.worker.generation import Answer, Done, Piece, Ready, Refused, Request
from ingot.worker.problem import Problem, TrainingError, failed

UNFINISHED = "\ufffd"  # what half a character decodes to
LONGEST_PENDING = 8  # tokens; more than any character needs, so a real U+FFFD in the text passes

Send = Callable[[Answer], None]


class Writer:
    """A loaded model that writes."""

    def __init__(self, folder: Path) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype="auto", use_safetensors=True, trust_remote_code=False
        )
        assert isinstance(tokenizer, tokens.Tokenizer)
        assert isinstance(model, transformers.PreTrainedModel)
        self.tokenizer = tokenizer
        self.model = model.to(self.device).eval()  # type: ignore[arg-type]  # the stub of to() knows no device
        self.parameters = sum(weight.numel() for weight in model.parameters())
        self._room: int | None = getattr(model.config, "max_position_embeddings", None)
        stops = model.generation_config.eos_token_id
        self._stops = set(stops if isinstance(stops, list) else [stops]) - {None}

    def answer(self, request: Request, control: launch.Control, send: Send) -> None:
        """Answer one request. Raises TrainingError FIELD_INVALID for one that cannot be answered."""
        began = time.monotonic()
        ids = self._prompt(request)
        sent: list[
            int
        ] = []  # the tokens of the last piece: some tokenizers drop a space at the very beginning
        pending: list[int] = []
        count, reason, cut = 0, "length", False
        stops = generation.StopTexts(request.stop)
        for token in self._sample(ids, request):
            count += 1
            if token in self._stops:
                reason = "stop"
                break
            pending.append(token)
            text = self._text(sent, pending)
            if text and (not text.endswith(UNFINISHED) or len(pending) > LONGEST_PENDING):
                out, cut = stops.feed(text)
                if out:
                    send(Piece(request.id, out, len(pending)))
                sent, pending = pending, []
                if cut:
                    reason = "stop"
                    break
            if control.pause:
                reason = "stopped"
                break
        if not cut and (rest := stops.feed(self._text(sent, pending))[0] + stops.rest()):
            send(Piece(request.id, rest, len(pending)))
        send(Done(request.id, reason, len(ids), count, time.monotonic() - began))

    def _text(self, before: list[int], ids: list[int]) -> str:
        known = str(self.tokenizer.decode(before, skip_special_tokens=True))
        return str(self.tokenizer.decode(before + ids, skip_special_tokens=True))[len(known) :]

    def _prompt(self, request: Request) -> list[int]:
        check(request)
        if request.messages:
            ids = tokens.prompt_ids(self.tokenizer, request.messages)
        elif self.tokenizer.chat_template:  # it has learned to answer, not to go on
            ids = tokens.prompt_ids(self.tokenizer, [Turn("user", request.prompt)])
        else:
            ids = self.tokenizer.backend_tokenizer.encode(request.prompt, add_special_tokens=True).ids
        if self._room and len(ids) >= self._room:
            message = f"The prompt has {len(ids)} tokens and the model takes {self._room} with its answer."
            raise failed("FIELD_INVALID", message, "Shorten the prompt.")
        return ids

    def _sample(self, ids: list[int], request: Request) -> Iterator[int]:
        draw = torch.Generator(self.device)
        if request.seed is None:
            draw.seed()
        else:
            draw.manual_seed(request.seed)
        room = min(request.max_tokens, self._room - len(ids)) if self._room else request.max_tokens
        given = torch.tensor([ids], device=self.device)
        cache = None
        for _ in range(room):
            with torch.inference_mode():
                found = self.model(input_ids=given, past_key_values=cache, use_cache=True)
                cache = found.past_key_values
                token = choose(found.logits[0, -1, : len(self.tokenizer)].float(), request, draw)
            yield token
            given = torch.tensor([[token]], device=self.device)


def choose(logits: torch.Tensor, request: Request, draw: torch.Generator) -> int:
    """Return the next token.

    The likeliest at temperature 0, else drawn from the smallest set that holds top_p.
    """
    if request.temperature == 0:
        return int(logits.argmax())
    shares, order = torch.softmax(logits / request.temperature, dim=-1).sort(descending=True)
    shares[shares.cumsum(0) - shares >= request.top_p] = 0  # the likeliest token always stays
    return int(order[torch.multinomial(shares, 1, generator=draw)])


def check(request: Request) -> None:
    """Raise TrainingError FIELD_INVALID for the first value out of range."""
    rules = (
        (bool(request.prompt) != bool(request.messages), "Give either prompt or messages."),
        (1 <= request.max_tokens <= 1 << 20, f"max_tokens must be 1 or more; got {request.max_tokens}."),
        (0 <= request.temperature <= 100, f"temperature must be from 0 to 100; got {request.temperature:g}."),
        (0 < request.top_p <= 1, f"top_p must be above 0 and at most 1; got {request.top_p:g}."),
        (
            all(turn.role in ROLES.values() for turn in request.messages),
            f"roles are system, user and assistant; got {', '.join(turn.role for turn in request.messages)}.",
        ),
    )
    for kept, message in rules:
        if not kept:
            raise failed("FIELD_INVALID", message, "Correct the request.")


def main() -> int:
    """Serve until stdin closes."""
    launch.tether()
    control = launch.listen()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nothing here needs saving
    fd = int(os.environ[progress.EVENTS_FD])

    def send(answer: Answer) -> None:
        progress.write_all(fd, generation.encode(answer))

    began = time.monotonic()
    try:
        writer = Writer(Path(sys.argv[1]))
    except (OSError, ValueError, KeyError, AssertionError, MemoryError, RuntimeError) as error:
        traceback.print_exc()
        message = f"The model cannot be loaded: {error}"
        next_step = "It must be a causal language model in Hugging Face layout, with safetensors."
        send(Refused("", Problem("FIELD_INVALID", message[:2000], {}, next_step)))
        return 1
    send(Ready(str(writer.device), writer.parameters, time.monotonic() - began))
    for data in progress.read_frames(sys.stdin.buffer):
        request = generation.decode_request(data)
        control.pause = False
        try:
            writer.answer(request, control, send)
        except TrainingError as error:
            send(Refused(request.id, error.problem))
    return 0


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # all is said; the libraries' own clean-up takes most of a second
