"""Ingot: a real server, and the SDK in a process of its own each time; also encrypted at rest."""

import os
import sys
from pathlib import Path

from peers.limits import said_read
from peers.peer import LARGE, MODELS, OURS, SMALL, Case, Found, Peer
from processes import Command, ingot_server, said_number

_CLIENT = Path(__file__).parents[1] / "transfers.py"


class Ingot(Peer):
    """A server with the settings it comes with."""

    name = OURS
    group = OURS
    note = "keeps versions; every chunk checked on both sides, durable when acknowledged"
    cases = LARGE | SMALL | MODELS

    def __init__(self, folder: Path, found: Found) -> None:
        self._folder = folder / "ingot"
        self._folder.mkdir()
        self.stored = self._folder / "data"
        self.server, self._environment = ingot_server(self.stored, self._settings())

    def push(self, source: Path, key: str) -> Command:
        """Push it as a new version."""
        return self._run("push", f"datasets/{key}", source)

    def pull(self, key: str, name: str, target: Path) -> Command:
        """Pull the newest version."""
        return self._run("pull", f"datasets/{key}", target)

    def read(self, key: str, name: str, offset: int, length: int) -> Command:
        """Read a range of a file of the newest version."""
        return self._run("read", f"datasets/{key}:{name}", str(offset), str(length))

    def place(self, target: Path, name: str) -> Path:
        """Return the file, or the folder, into which a pushed folder comes back without its name."""
        return target / name if (target / name).exists() else target

    def _settings(self) -> dict[str, str]:
        return {}

    def _run(self, verb: str, reference: str, *words: str | Path) -> Command:
        # A pull finds nothing of the push: they are two machines with caches of their own.
        cache = self._folder / ("pushed" if verb == "push" else "pulled")
        environment = {**self._environment, "INGOT_CACHE_DIR": str(cache)}
        command = [sys.executable, _CLIENT, verb, reference, *words]
        return Command(command, environment, read=said_read if verb == "read" else said_number)


class Encrypted(Ingot):
    """A server that encrypts its packs."""

    name = "Ingot, encrypted at rest"
    note = "the same with `encryption_key_file` set"
    cases = frozenset({Case.PUSH, Case.PULL, Case.READ})

    def __init__(self, folder: Path, found: Found) -> None:
        inner = folder / "encrypted"
        inner.mkdir()
        super().__init__(inner, found)

    def _settings(self) -> dict[str, str]:
        place = self._folder / "keys"
        place.touch(mode=0o600)
        place.write_text(os.urandom(32).hex() + "\n", encoding="ascii")
        return {"INGOT_ENCRYPTION_KEY_FILE": str(place)}
