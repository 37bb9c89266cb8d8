"""rsync against its own daemon, over loopback, each side making what it wrote durable."""

import re
from pathlib import Path

from peers.peer import COPIES, LARGE, MODELS, SMALL, Case, Found, Peer
from processes import Command, Said, Server, free_port

_CONFIG = """use chroot = no
[data]
path = {path}
read only = no
uid = {uid}
gid = {gid}
"""
_SENT = re.compile(r"^Total bytes (?:sent|received): ([\d,.]+)", re.MULTILINE)


class Rsync(Peer):
    """A daemon and a client process for each transfer."""

    name = "rsync daemon"
    group = COPIES
    note = "fsync on the receiving side; keeps no versions; what has its old size and time is not read"
    cases = LARGE - {Case.READ} | SMALL | MODELS

    def __init__(self, folder: Path, found: Found) -> None:
        self._program = found.program("rsync")
        self.stored = self.kept = folder / "rsync"
        self.stored.mkdir()
        owner = self.stored.stat()
        config = folder / "rsyncd.conf"
        text = _CONFIG.format(path=self.stored, uid=owner.st_uid, gid=owner.st_gid)
        config.write_text(text, encoding="utf-8")
        port = free_port()
        words: list[str | Path] = [
            self._program,
            "--daemon",
            "--no-detach",
            "--address=127.0.0.1",
            f"--port={port}",
        ]
        words.append(f"--config={config}")
        self.server = Server(words, port=port, forks=True)
        self._url = f"rsync://127.0.0.1:{port}/data"

    def push(self, source: Path, key: str) -> Command:
        """Send it into the key's folder."""
        return self._run(source, f"{self._url}/{key}/")

    def pull(self, key: str, name: str, target: Path) -> Command:
        """Bring it back."""
        return self._run(f"{self._url}/{key}/{name}", f"{target}/")

    def _run(self, source: str | Path, target: str) -> Command:
        words: list[str | Path] = [self._program, "--archive", "--fsync", "--stats", source, target]
        return Command(words, read=_said)


def _said(text: str) -> Said:
    return Said(max(int(re.sub(r"[,.]", "", each)) for each in _SENT.findall(text)))
