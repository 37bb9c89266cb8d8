"""Lines that tell how far something is: rewritten on a terminal, else a plain line now and then.

They stand on standard error, so that data can be piped. A few lines need no library.
"""

import shutil
import time
from collections.abc import Callable, Sequence

from ingot.client.cli import formats
from ingot.client.cli.output import Output

_REDRAW = 0.1  # seconds between two pictures on a terminal
_PLAIN = 5.0  # seconds between two plain lines
_CLEAR = "\r\x1b[K"


class LiveLine:
    """Shows the newest of the texts it is given."""

    def __init__(self, out: Output, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        # Without a terminal, what takes a moment only needs no line.
        self._shown_at = float("-inf") if out.live else clock()
        self._drawn = ""
        self._silent = out.quiet or out.json

    def show(self, text: str, *, now: bool = False) -> None:
        """Show a text in one line, unless another was shown a moment ago; `now` shows it anyway."""
        text = formats.cell(text)
        pause = _REDRAW if self._out.live else _PLAIN
        moment = self._clock()
        if self._silent or not text or (moment - self._shown_at < pause and not now) or text == self._drawn:
            return
        self._shown_at = moment
        self._drawn = text
        if self._out.live:
            self._out.notes.write(_CLEAR + _cut(text, shutil.get_terminal_size().columns - 1))
            self._out.notes.flush()
        else:
            self._out.note(text)

    def clear(self) -> None:
        """Take the line away; what is printed next starts on a clean one."""
        if self._out.live and self._drawn:
            self._out.notes.write(_CLEAR)
            self._out.notes.flush()
        self._drawn = ""

    def keep(self, text: str = "") -> None:
        """Leave a text, or what was shown last, for good."""
        final = text or self._drawn
        self.clear()
        if final and not self._silent and (self._out.live or text):
            self._out.note(final)


class LiveBlock:
    """Shows several lines at once on a terminal; elsewhere the first of them now and then, as plain lines."""

    def __init__(self, out: Output, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._shown_at = float("-inf") if out.live else clock()
        self._drawn: list[str] = []
        self._rows = 0  # that are on the terminal now
        self._silent = out.quiet or out.json

    def show(self, lines: Sequence[str], *, plain: int = 1) -> None:
        """Show the lines, unless others were shown a moment ago; without a terminal the first `plain`."""
        texts = [formats.cell(line) for line in lines]
        texts = texts if self._out.live else texts[:plain]
        pause = _REDRAW if self._out.live else _PLAIN
        moment = self._clock()
        if self._silent or not texts or moment - self._shown_at < pause or texts == self._drawn:
            return
        if self._out.live:
            self._draw(texts)
        else:
            for text in texts:
                if text not in self._drawn:
                    self._out.note(text)
        self._shown_at, self._drawn = moment, texts

    def clear(self) -> None:
        """Take the lines away; what is printed next starts on a clean one."""
        if self._rows:
            self._out.notes.write(self._back())
            self._out.notes.flush()
            self._rows = 0
            self._drawn = []

    def _draw(self, texts: Sequence[str]) -> None:
        columns, rows = shutil.get_terminal_size()
        fitting = texts[: max(rows - 1, 1)]
        picture = "\n".join(_cut(text, columns - 1) for text in fitting)
        self._out.notes.write(self._back() + picture)
        self._out.notes.flush()
        self._rows = len(fitting)

    def _back(self) -> str:
        """Return what takes the cursor to the first line and clears from there."""
        up = f"\x1b[{self._rows - 1}A" if self._rows > 1 else ""
        return f"\r{up}\x1b[J"


def _cut(text: str, columns: int) -> str:
    if formats.width(text) <= columns:
        return text
    while text and formats.width(text) > columns - 1:
        text = text[:-1]
    return text + "…"
