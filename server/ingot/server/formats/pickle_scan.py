"""Scan the pickles of a file: every one in a row, as both ways of loading see them, with findings.

A file with joblib's arrays is gone over twice: as joblib loads it, past the raw bytes, and as `pickle.load`
would, which takes those bytes for opcodes. In the second pass only imports that run code count, for real
arrays are no opcodes, and it begins only where a pickle does: behind an array of objects, whose own pickle
has a STOP, the rest of the outer one is no pickle. `quietly` is that second way; it is also for content that
need not be a pickle at all.
"""

from collections.abc import Callable

from ingot.server.core.params import Rules
from ingot.server.formats.findings import FindingSink
from ingot.server.formats.pickle_imports import Verdict
from ingot.server.formats.pickle_pieces import Damaged, Pieces
from ingot.server.formats.pickle_walk import Seen, Walk

MOST_PICKLES = 1000  # in a row
_SHOWN_IMPORTS = 200
_ADVICE = {
    Verdict.UNSAFE: "loading it may run any code. Publish the weights as safetensors, or allow_unsafe.",
    Verdict.UNKNOWN: "expected only what model files need; whoever loads it must have and trust that code.",
}


class Scan:
    """Findings and counts of one file. `base` of a scan is where its content begins in the file."""

    def __init__(self, findings: FindingSink, rules: Rules, progress: Callable[[int], None]) -> None:
        self.seen = Seen()
        self._findings = findings
        self._unsafe = findings.warning if rules.allow_unsafe else findings.error
        self._progress = progress
        self._told: set[tuple[int, str]] = set()

    def strictly(
        self,
        pieces: Pieces,
        base: int = 0,
        inside: str = "",
        *,
        arrays: bool = False,
        most: int = MOST_PICKLES,
    ) -> list[int]:
        """Scan pickles in a row until `most` or the end; return where they begin if arrays were skipped."""
        walk = self._walk(pieces, base, inside, arrays=arrays, quiet=False)
        starts: list[int] = []
        for number in range(most):
            place = pieces.place
            try:
                if number and pieces.ended():
                    break
                starts.append(place)
                walk.pickle()
            except Damaged as damage:
                self._damaged(damage, number, base + (pieces.place if number == 0 else place), inside)
                break
        else:
            if most == MOST_PICKLES and not pieces.ended():
                message = f"{inside}There are more than {most} pickles; the rest was not checked."
                self._findings.error("rest_unchecked", message, byte_offset=base + pieces.place)
        return starts if walk.skipped else []

    def quietly(
        self, pieces: Pieces, base: int = 0, inside: str = "", starts: list[int] | None = None
    ) -> None:
        """Scan what may be no pickle: only what runs code is told.

        Pickles begin at `starts`, in this order, as far as those before do not reach behind them; in a row
        from the beginning when that is None.
        """
        walk = self._walk(pieces, base, inside, arrays=False, quiet=True)
        for start in starts if starts is not None else range(MOST_PICKLES):
            try:
                if starts is not None:
                    pieces.skip(max(0, start - pieces.place))
                if pieces.ended():
                    break
                walk.pickle()
            except Damaged:
                if starts is None:
                    break

    def unsafe(self, message: str, place: int) -> None:
        """Report something that is unsafe whatever the imports are."""
        self._unsafe("unsafe_opcode", message, byte_offset=place)

    def damaged(self, damage: Damaged, place: int, inside: str = "") -> None:
        """Report that content cannot be followed to its end."""
        self._findings.error(damage.reason, f"{inside}{damage}", byte_offset=place)

    def statistics(self) -> dict[str, object]:
        """Return the counts; quiet scans count too."""
        names = sorted(f"{each.module}.{each.name}"[:200] for each in self.seen.imports)
        return {
            "pickles": self.seen.pickles,
            "opcodes": self.seen.opcodes,
            "tensors": self.seen.tensors,
            "imports": names[:_SHOWN_IMPORTS],
            "import_count": len(names),
        }

    def _walk(self, pieces: Pieces, base: int, inside: str, *, arrays: bool, quiet: bool) -> Walk:
        def report(verdict: Verdict, what: str, place: int) -> None:
            key = (base + place, f"{inside}{what}")
            if key in self._told or (quiet and verdict is Verdict.UNKNOWN):
                return
            if len(self._told) < MOST_PICKLES:
                self._told.add(key)
            message = f"{inside}The pickle {what}; {_ADVICE[verdict]}"
            if verdict is Verdict.UNSAFE:
                self.unsafe(message, base + place)
            else:
                self._findings.warning("unknown_import", message, byte_offset=base + place)

        seen = Seen() if quiet else self.seen
        return Walk(
            pieces, seen, report, lambda place: self._progress(base + place), arrays=arrays, guess=quiet
        )

    def _damaged(self, damage: Damaged, number: int, place: int, inside: str) -> None:
        if number and damage.reason == "pickle_damaged":
            message = f"{inside}After {number} pickle{'s' if number > 1 else ''} come bytes that are none."
            self._findings.warning("trailing_bytes", message, byte_offset=place)
        else:
            self.damaged(damage, place, inside)
