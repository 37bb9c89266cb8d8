"""Run the command line `ingot` inside the test, and compare what it prints with a golden file."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ingot.client.cli.main import main

UPDATE = "UPDATE_GOLDEN"  # set to 1: golden files are written instead of compared


@dataclass(frozen=True, slots=True)
class Run:
    """How one call of the program ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class CommandLine:
    """Calls the program against one server; `server` empty leaves it to find one."""

    server: str = ""
    typed: str = ""  # what is read from standard input

    def run(self, *words: str) -> Run:
        """Run `ingot WORDS…`."""
        flags = ["--server", self.server] if self.server else []
        with _streams(self.typed) as (out, err):
            code = main([*flags, *words])
        return Run(code, _text(out), _text(err))


def golden(path: Path, printed: str) -> None:
    """Assert that a text is what the golden file holds."""
    if os.environ.get(UPDATE) == "1":
        path.write_text(printed, encoding="utf-8")
    assert printed == path.read_text(encoding="utf-8"), (
        f"differs from {path.name}; see {UPDATE} in {__name__}"
    )


@contextmanager
def _streams(typed: str) -> Iterator[tuple[io.TextIOWrapper, io.TextIOWrapper]]:
    before = sys.stdin, sys.stdout, sys.stderr
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    sys.stdin, sys.stdout, sys.stderr = io.StringIO(typed), out, err
    try:
        yield out, err
    finally:
        sys.stdin, sys.stdout, sys.stderr = before


def _text(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()
