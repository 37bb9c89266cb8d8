"""What every command is: a class whose attributes are its arguments, and the parser that fills them.

`declare` names the arguments, argparse sets them as attributes, `run` does the work. Options that all
commands have are declared here; they may stand before or after the command's name.
"""

import argparse
import difflib
import re
import shlex
import sys
import textwrap
from collections.abc import Sequence
from typing import ClassVar, NoReturn

from ingot.client._errors import Invalid
from ingot.client.cli.output import DEFAULT_ROWS
from ingot.client.cli.shell import Shell

SERVER_FLAGS = ("-s", "-server", "--server")
FLAGS_WITH_VALUE = (*SERVER_FLAGS, "--namespace")
# What other programs call it, where no word of ours is near enough.
_CALLED_ELSEWHERE = {"--message": "--changelog", "--commit-message": "--changelog", "--expires": "--ttl"}
_CHOICE = re.compile(r"invalid choice: '(?P<got>.*)' \(choose from (?P<choices>.*)\)")


class Command(argparse.Namespace):
    """One command; the docstring of the subclass is what its help says first."""

    examples: ClassVar[tuple[str, str]]

    server: str | None
    namespace: str
    json: bool
    quiet: bool
    debug: bool

    @classmethod
    def declare(cls, parser: "Parser") -> None:
        """Name the command's own arguments; most have some."""

    @classmethod
    def arranged(cls, words: list[str]) -> list[str]:
        """Return the words as argparse can read them; only odd syntaxes need this."""
        return words

    def run(self, shell: Shell) -> int:
        """Do it and return the exit code."""
        raise NotImplementedError

    def how_to_go_on(self) -> str:
        """Return what to say after Ctrl-C."""
        return ""

    @property
    def ingot(self) -> str:
        """How to call the program so that it talks to the same server."""
        return f"ingot -s {shlex.quote(self.server)}" if self.server else "ingot"


class Parser(argparse.ArgumentParser):
    """Says what was expected in the form of all our errors, and offers the nearest right word."""

    def error(self, message: str) -> NoReturn:
        """Raise Invalid instead of printing and leaving."""
        text, hint = self._improved(message)
        raise Invalid(text, reason="USAGE", next_step=f"{hint}See: {self.prog} --help")

    def _improved(self, message: str) -> tuple[str, str]:
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown == message:
            message = message.replace("choose from '', ", "choose from ")
            found = _CHOICE.search(message)
            choices = [each.strip("' ") for each in found["choices"].split(",")] if found else []
            return f"{message[:1].upper()}{message[1:]}.", _meant(found["got"] if found else "", choices)
        word = unknown.split()[0]
        known = [flag for flag in self._option_string_actions if flag.startswith("--")]
        if (called := _CALLED_ELSEWHERE.get(word)) in known:
            return f"{self.prog} does not take {word}.", f"Did you mean {called}? "
        return f"{self.prog} does not take {word}.", _meant(word, known) if word.startswith("-") else ""


def parse(kind: type[Command], name: str, words: Sequence[str]) -> Command:
    """Return the command with its arguments. Raises Invalid; prints and leaves for --help."""
    parser = parser_of(kind, name)
    arranged = kind.arranged(list(words))
    if "--" in arranged:  # argparse forgets what it means when flags may stand between words
        return parser.parse_args(arranged, kind())
    return parser.parse_intermixed_args(arranged, kind())


def parser_of(kind: type[Command], name: str) -> Parser:
    """Return the parser of one command."""
    examples = "\n".join(f"  {example}" for example in kind.examples)
    parser = Parser(
        prog=f"ingot {name}",
        description=_paragraphs(kind.__doc__ or ""),
        epilog=f"examples:\n{examples}",
        formatter_class=_Help,
        allow_abbrev=False,
        add_help=False,
    )
    kind.declare(parser)
    shared = parser.add_argument_group("options of all commands")
    shared.add_argument(*SERVER_FLAGS, metavar="ADDRESS", help="host:port, https://… or unix:/path")
    shared.add_argument("--namespace", default="", metavar="NAME", help="what references without one mean")
    shared.add_argument("--json", action="store_true", help="print JSON with the API's field names")
    shared.add_argument("-q", "--quiet", action="store_true", help="print names or paths alone")
    shared.add_argument("--debug", action="store_true", help="show where an error comes from")
    shared.add_argument("-h", "--help", action="help", help="show this and leave")
    return parser


def declare_limit(parser: Parser, what: str = "") -> None:
    """Declare how many rows a listing shows, or how many of `what` something else does."""
    text = f"at most N{what} ({DEFAULT_ROWS}); 0 shows all"
    parser.add_argument("--limit", type=_whole, default=DEFAULT_ROWS, metavar="N", help=text)


def declare_yes(parser: Parser) -> None:
    """Declare the answer to the question of a command that removes something."""
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")


def _whole(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"expected a whole number, 0 or more, got {text!r}")
    return number


def _meant(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"Did you mean {near[0]}? " if near else ""


class _Help(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        import shutil

        terminal = shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else 100
        super().__init__(prog, max_help_position=30, width=min(terminal, 110))


def _paragraphs(text: str) -> str:
    return "\n\n".join(textwrap.fill(" ".join(part.split()), 100) for part in text.split("\n\n"))
