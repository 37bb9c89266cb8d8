"""restic: with rest-server where that is installed, else with a repository in a local folder."""

import json
import subprocess
from pathlib import Path

from peers.peer import LARGE, MODELS, SMALL, VERIFIED, Absent, Case, Found, Peer
from processes import Command, Said, Server, free_port


class Restic(Peer):
    """Backups into one repository, a tag for each key."""

    name = "restic"
    group = VERIFIED
    cases = LARGE - {Case.READ} | SMALL | MODELS

    def __init__(self, folder: Path, found: Found) -> None:
        self._program = found.program("restic")
        self.stored = folder / "restic"
        self.stored.mkdir()
        repository = str(self.stored)
        try:
            program = found.program("rest-server")
        except Absent:
            self.note = "keeps snapshots, in a local folder: rest-server is not installed"
        else:
            port = free_port()
            words: list[str | Path] = [
                program,
                "--no-auth",
                "--listen",
                f"127.0.0.1:{port}",
                "--path",
                self.stored,
            ]
            self.server = Server(words, port=port)
            self.note = "keeps snapshots, over HTTP with rest-server; restored files are not made durable"
            repository = f"rest:http://127.0.0.1:{port}/"
        self._environment = {
            "RESTIC_REPOSITORY": repository,
            "RESTIC_PASSWORD": "bench",
            "RESTIC_CACHE_DIR": str(folder / "restic-cache"),
        }
        subprocess.run([self._program, "init"], env=self._environment, check=True, stdout=subprocess.DEVNULL)

    def push(self, source: Path, key: str) -> Command:
        """Back it up, under a path without folders."""
        return self._run(source.parent, "backup", "--tag", key, source.name)

    def pull(self, key: str, name: str, target: Path) -> Command:
        """Restore the newest snapshot."""
        return self._run(None, "restore", "latest", "--tag", key, "--target", target)

    def place(self, target: Path, name: str) -> Path:
        """Return where it lies, below the path from which it was taken."""
        return next(target.rglob(name))

    def _run(self, folder: Path | None, *words: str | Path) -> Command:
        return Command([self._program, *words, "--json"], self._environment, folder, _said)


def _said(text: str) -> Said:
    for line in reversed(text.splitlines()):
        summary = json.loads(line) if line.startswith("{") else {}
        if "data_added" in summary:
            return Said(int(summary["data_added"]))
    return Said()
