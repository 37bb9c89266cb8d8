"""What a command prints: data on standard output, everything else on standard error.

One result is printed in one of three forms: text for people, `--json` as one document with the API's field
names, `-q` as names alone. Colour only where a terminal wants it. Control characters, which names, log lines
and messages of others may hold, are written out; JSON has them in its own notation.
"""

import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO, TypeVar

from ingot.client.cli import formats

if TYPE_CHECKING:
    from google.protobuf.message import Message

M = TypeVar("M", bound="Message")
DEFAULT_ROWS = 50


@dataclass(frozen=True, slots=True)
class Output:
    """The streams of one run and the form that was asked for."""

    data: TextIO
    notes: TextIO
    json: bool = False
    quiet: bool = False

    @property
    def live(self) -> bool:
        """Whether standard error is a terminal that can rewrite a line."""
        return self.notes.isatty() and os.environ.get("TERM", "") != "dumb"

    @property
    def coloured(self) -> bool:
        """Whether standard error takes colours."""
        return self.live and not os.environ.get("NO_COLOR")

    def line(self, text: str = "") -> None:
        """Print a line of data."""
        self.text(f"{text}\n")

    def text(self, text: str) -> None:
        """Print data at once."""
        self.data.write(formats.visible(text))
        self.data.flush()

    def note(self, text: str) -> None:
        """Say something that is no data."""
        self._note(formats.visible(text))

    def warn(self, text: str) -> None:
        """Say something that deserves attention."""
        self._note(f"{self._painted('warning:', '33')} {formats.visible(text)}")

    def error(self, text: str) -> None:
        """Say what went wrong."""
        self._note(f"{self._painted('error:', '1;31')} {formats.visible(text)}")

    def _note(self, text: str) -> None:
        self.notes.write(f"{text}\n")  # in one piece: other programs write there too
        self.notes.flush()

    def _painted(self, text: str, code: str) -> str:
        """Return the text in a colour (an SGR code) where colours are wanted."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.coloured else text

    def document(self, message: "Message", name: str, text: Callable[[], None]) -> None:
        """Print one thing: as JSON, its name alone, or by calling `text`."""
        if self.json:
            self.plain(message)
        elif self.quiet:
            self.line(name)
        else:
            text()

    def plain(self, message: "Message", indent: int | None = 2) -> None:
        """Print a message as JSON."""
        from ingot.client.cli import plain

        self.line(plain.dumps(plain.message(message), indent))

    def facts(self, facts: Mapping[str, str]) -> None:
        """Print names and values below each other; empty values are left out."""
        shown = {name: value for name, value in facts.items() if value}
        widest = max((formats.width(name) for name in shown), default=0)
        for name, value in shown.items():
            first, *more = value.rstrip("\n").split("\n")
            self.line(f"{name}:{' ' * (widest - formats.width(name) + 2)}{first}")
            for line in more:
                self.line(f"{' ' * (widest + 3)}{line}")

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Print rows of one-line cells, the first of which is the heading."""
        for line in formats.columns(rows):
            self.line(line)


@dataclass(frozen=True, slots=True)
class Listing:
    """Prints many things: `--json` as one list, `-q` their names, else a table. `limit` 0 shows all.

    Pages are of `limit` things, the first is 1.
    """

    out: Output
    limit: int = DEFAULT_ROWS
    page: int = 1

    @property
    def wanted(self) -> int | None:
        """How many to ask for: one more than shown tells whether there are more."""
        return self.page * self.limit + 1 if self.limit else None

    def show(
        self,
        items: Iterable[M],
        heading: Sequence[str],
        row: Callable[[M], Sequence[str]],
        name: Callable[[M], str],
    ) -> None:
        """Print the items, one a row."""
        self.show_rows(items, heading, lambda each: [row(each)], lambda each: [name(each)])

    def show_rows(
        self,
        items: Iterable[M],
        heading: Sequence[str],
        rows: Callable[[M], Iterable[Sequence[str]]],
        names: Callable[[M], Iterable[str]],
    ) -> None:
        """Print items of several rows and names each; pages count items."""
        found = list(itertools.islice(items, (self.page - 1) * self.limit, None))
        shown = found[: self.limit] if self.limit else found
        if self.out.json:
            from ingot.client.cli import plain

            self.out.line(plain.dumps([plain.message(each) for each in shown], indent=2))
        elif self.out.quiet:
            for name in itertools.chain.from_iterable(map(names, shown)):
                self.out.line(name)
        elif shown:
            self.out.table([heading, *itertools.chain.from_iterable(map(rows, shown))])
        else:
            self.out.note("Nothing there.")
        if len(found) > len(shown):
            these = f"the first {self.limit}" if self.page == 1 else f"page {self.page}"
            self.out.note(f"These are {these}; --limit 0 shows all.")
