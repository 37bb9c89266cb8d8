"""Reads tests/rpc/permissions.txt: who may call what, as a person wrote it down.

for case in read(): case.name, case.rpc, case.passes, case.rows["private"]["granted"]
"""

import dataclasses
import pathlib

CALLERS = (
    *("none", "viewer", "elsewhr", "granted", "reader"),
    *("writer", "owner", "admin", "assignd", "worker", "body"),
)
THINGS = ("own", "private", "internal", "public", "unappr", "team", "any")
OUTCOMES = {".": "OK", "-": "NOT_FOUND", "x": "PERMISSION_DENIED", "?": "UNAUTHENTICATED"}
NO_CASE = "/"


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """One request of one RPC, and by thing and caller the letter of what is expected."""

    name: str  # UploadFile:version
    passes: str  # status code of a request that goes through
    rows: dict[str, dict[str, str]]

    @property
    def rpc(self) -> str:
        """`UploadFile`."""
        return self.name.partition(":")[0]

    def expected(self, thing: str, caller: str) -> str | None:
        """Return the name of the status code; None where there is no such case."""
        letter = self.rows[thing][caller]
        if letter == NO_CASE:
            return None
        return self.passes if letter == "." else OUTCOMES[letter]


def read(path: pathlib.Path) -> list[Case]:
    """Return all cases of the table. Raises ValueError for a line that is none of its parts."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    if tuple(lines[0].split()) != CALLERS:
        raise ValueError(f"{path}: expected the columns {' '.join(CALLERS)}, got {lines[0]}")
    found: list[Case] = []
    names: list[str] = []
    rows: dict[str, dict[str, str]] = {}
    for line in (*lines[1:], "end:"):
        if line[0] != " ":  # a heading: what stood under the one before is whole now
            found += [_case(name, rows) for name in names]
            names, rows = line.partition(": ")[2].split(), {}
            continue
        thing, *letters = line.split()
        if thing not in THINGS or len(letters) != len(CALLERS) or not {*letters} <= {*OUTCOMES, NO_CASE}:
            raise ValueError(f"{path}: not a row: {line}")
        rows[thing] = dict(zip(CALLERS, letters, strict=True))
    return found


def _case(name: str, rows: dict[str, dict[str, str]]) -> Case:
    bare, _, passes = name.partition("=")
    return Case(bare, passes or "OK", rows)
