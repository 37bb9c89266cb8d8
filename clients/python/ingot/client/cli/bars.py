"""The bar of a push or a pull: stage, share, bytes, files, speed, time left, and what need not travel.

With --json there is no bar, but for each stage and each second one JSON object on a line of standard error.
"""

from dataclasses import asdict

from ingot.client._progress import Stage, TransferProgress
from ingot.client.cli import formats
from ingot.client.cli.live import LiveLine
from ingot.client.cli.output import Output

_CELLS = 20
_FULL, _EMPTY = "█", "░"
_TOLD = 1.0  # seconds between two JSON objects of one stage
_NEWEST = 0.3  # weight of the newest speed in the shown one


def cells(share: float) -> str:
    """Return a bar that is full by this share, 0 to 1."""
    full = round(min(max(share, 0.0), 1.0) * _CELLS)
    return _FULL * full + _EMPTY * (_CELLS - full)


class TransferBar:
    """Shows the progress that the SDK reports; give `show` to it as the callback."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._line = LiveLine(out)
        self._drawn = out.live
        self._stage: Stage | None = None
        self._at = (0.0, 0)
        self._told = 0.0
        self._speed = 0.0

    def show(self, progress: TransferProgress) -> None:
        """Show how far it is."""
        changed = progress.stage is not self._stage
        if changed:
            self._stage, self._at, self._speed = progress.stage, (progress.seconds, progress.bytes_done), 0.0
            if progress.stage is Stage.WAITING and not (self._out.json or self._out.quiet):
                self._line.keep("Another pull writes into this folder: this one goes on when that has ended.")
        else:
            self._measure(progress)
        if self._out.json and not self._out.quiet:
            if changed or progress.seconds - self._told >= _TOLD:
                self._told = progress.seconds
                self._tell(progress)
        elif progress.stage is not Stage.DONE:
            self._line.show(self._text(progress), now=changed and self._drawn)

    def end(self) -> None:
        """Take the bar away."""
        self._line.clear()

    def _tell(self, progress: TransferProgress) -> None:
        from ingot.client.cli import plain

        facts: plain.Plain = {
            **asdict(progress),
            "stage": progress.stage.name,
            "bytes_done": progress.bytes_done,
            "seconds": round(progress.seconds, 3),
            "bytes_per_second": round(self._speed),
        }
        self._out.note(plain.dumps(facts))

    def _measure(self, progress: TransferProgress) -> None:
        seconds, before = self._at
        passed = progress.seconds - seconds
        if passed < 0.5:
            return
        speed = max(progress.bytes_done - before, 0) / passed
        self._speed = speed if not self._speed else self._speed * (1 - _NEWEST) + speed * _NEWEST
        self._at = (progress.seconds, progress.bytes_done)

    def _text(self, progress: TransferProgress) -> str:
        total, done = progress.bytes_total, min(progress.bytes_done, progress.bytes_total)
        share = done / total if total else 0.0
        parts = [f"{progress.stage.value:<10}"]
        if self._drawn:
            parts.append(cells(share))
        parts.append(f"{share:4.0%}  {formats.size(done)} of {formats.size(total)}")
        parts.append(f"{formats.count(progress.files_done)}/{formats.plural(progress.files_total, 'file')}")
        if self._speed:
            parts.append(f"{formats.size(self._speed)}/s")
            parts.append(f"{formats.seconds((total - done) / self._speed)} left")
        if progress.bytes_reused:
            parts.append(f"{formats.size(progress.bytes_reused)} was there")
        return "  ".join(parts)
