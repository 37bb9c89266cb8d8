"""generate: text with a model, written by a worker and printed as it comes."""

from collections.abc import Sequence

from ingot.client._errors import Invalid, Stopped
from ingot.client.cli import formats, named
from ingot.client.cli.command import Command, Parser
from ingot.client.cli.live import LiveLine
from ingot.client.cli.shell import Shell

Messages = list[tuple[str, str]]


class Generate(Command):
    """Write text with a model: the prompt goes on, or is answered when the model has learned to chat.

    Without a prompt it is read from standard input. --chat keeps a conversation: one line of input, one
    answer, until the input ends.
    """

    examples = (
        'ingot generate models/tiny "What is the capital of Iran?"',
        "ingot generate models/tiny --chat --system 'Answer shortly.' --temperature 0",
    )
    model: str
    prompt: str | None
    chat: bool
    system: str
    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    seed: int | None
    stop: list[str]

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("model", metavar="MODEL", help="models/NAME[@VERSION-OR-ALIAS]")
        parser.add_argument("prompt", nargs="?", metavar="PROMPT", help="what to go on with or to answer")
        parser.add_argument("--chat", action="store_true", help="a conversation, line by line")
        parser.add_argument("--system", default="", metavar="TEXT", help="how to answer (chat models)")
        parser.add_argument("--max-tokens", type=int, metavar="N", help="at most so many new tokens (128)")
        parser.add_argument("--temperature", type=float, metavar="T", help="0 takes the likeliest (0.7)")
        parser.add_argument("--top-p", type=float, metavar="P", help="share of probability to draw from (1)")
        parser.add_argument("--seed", type=int, metavar="N", help="the same seed, the same text")
        parser.add_argument(
            "--stop", action="append", default=[], metavar="TEXT", help="ends the text (repeat)"
        )

    def run(self, shell: Shell) -> int:
        system: Messages = [("system", self.system)] if self.system else []
        if self.chat:
            return self._converse(shell, system)
        prompt = self.prompt
        if prompt is None:
            prompt = _read_all(shell)
        if system:
            self._write(shell, "", [*system, ("user", prompt)])
        else:
            self._write(shell, prompt, [])
        return 0

    def _converse(self, shell: Shell, messages: Messages) -> int:
        terminal = shell.stdin.isatty()
        said = self.prompt
        while True:
            if said is None:
                if terminal:
                    shell.out.notes.write("> ")
                    shell.out.notes.flush()
                said = shell.stdin.readline().rstrip("\n")
                if not said:
                    return 0
            messages.append(("user", said))
            messages.append(("assistant", self._write(shell, "", messages)))
            said = None

    def _write(self, shell: Shell, prompt: str, messages: Sequence[tuple[str, str]]) -> str:
        """Print what the model writes and return it."""
        line, written = LiveLine(shell.out), ""
        for message in shell.client.training.generate(
            self.model,
            prompt,
            messages=messages,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            stop=self.stop,
        ):
            kind = message.WhichOneof("message")
            written += message.text
            if shell.out.json:
                shell.out.plain(message, indent=None)
            elif kind == "waiting":
                line.show(message.waiting.message)
            elif kind == "text":
                line.clear()
                shell.out.text(message.text)
            elif kind == "done":
                line.clear()
                shell.out.line()
                if not shell.out.quiet:
                    done = message.done
                    tokens = formats.plural(done.completion_tokens, "token")
                    model = named.short(done.model_version)
                    shell.out.note(
                        f"{tokens} in {formats.duration(done.duration)} by {model} ({done.finish_reason})"
                    )
                if done_early(message.done.finish_reason):
                    raise Stopped("The generation was cancelled.", reason="CANCELLED")
        return written


def done_early(reason: str) -> bool:
    """Return whether a text ended before its end."""
    return reason == "cancelled"


def _read_all(shell: Shell) -> str:
    prompt = "" if shell.stdin.isatty() else shell.stdin.read().rstrip("\n")
    if not prompt:
        raise Invalid("There is no prompt.", reason="USAGE", next_step='Give one: ingot generate MODEL "…"')
    return prompt
