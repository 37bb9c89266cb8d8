"""cat: one file, or a range of it, on standard output."""

import re

from ingot.client._errors import Invalid
from ingot.client.cli.command import Command, Parser
from ingot.client.cli.shell import Shell

_RANGE = re.compile(r"([0-9]+)-([0-9]*)")


class Cat(Command):
    """Write one file, or a range of it, to standard output. Every byte is checked before it is written."""

    examples = (
        "ingot cat datasets/chat:sample_persian_chat.jsonl",
        "ingot cat datasets/chat@1:sample_persian_chat.jsonl --range 0-99",
    )
    ref: str
    range: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("ref", metavar="REF:PATH", help="for example models/tiny@prod:config.json")
        parser.add_argument(
            "--range", default="", metavar="A-B", help="bytes A to B, both with; A- to the end"
        )

    def run(self, shell: Shell) -> int:
        offset, length = _range(self.range)
        out = shell.out.data.buffer if hasattr(shell.out.data, "buffer") else None
        for piece in shell.client.read(self.ref, offset=offset, length=length):
            if out is None:
                shell.out.text(piece.decode(errors="replace"))
            else:
                out.write(piece)
        if out is not None:
            out.flush()
        return 0


def _range(text: str) -> tuple[int, int | None]:
    """Return offset and length; no length reads to the end. Raises Invalid."""
    if not text:
        return 0, None
    match = _RANGE.fullmatch(text)
    if not match or (match[2] and int(match[2]) < int(match[1])):
        raise Invalid(
            f"--range: expected FIRST-LAST in bytes, got {text!r}.",
            reason="FIELD_INVALID",
            next_step="Write for example: --range 0-99",
        )
    return int(match[1]), int(match[2]) - int(match[1]) + 1 if match[2] else None
