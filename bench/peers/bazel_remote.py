"""bazel-remote over its gRPC: the content store of the Remote Execution API, whole files by SHA-256."""

import sys
from pathlib import Path

from peers.peer import LARGE, SMALL, VERIFIED, Case, Found, Peer
from processes import Command, Server, free_port, said_number

_CLIENT = Path(__file__).parent / "bazel_client.py"


class BazelRemote(Peer):
    """A disk cache large enough for the bench; lists of digests stay with the client."""

    name = "bazel-remote"
    group = VERIFIED
    note = "ByteStream for large files, batches for small ones; SHA-256 on both sides, pulls not made durable"
    cases = LARGE - {Case.READ} | SMALL

    def __init__(self, folder: Path, found: Found) -> None:
        program = found.program("bazel-remote")
        self._lists = folder / "bazel-lists"
        self._lists.mkdir()
        self.stored = folder / "bazel"
        port = free_port()
        words: list[str | Path] = [
            program,
            "--dir",
            self.stored,
            "--max_size",
            "1000",
            "--storage_mode",
            "uncompressed",
        ]
        words += ["--grpc_address", f"127.0.0.1:{port}", "--http_address", f"127.0.0.1:{free_port()}"]
        self.server = Server(words, port=port)
        self._target = f"127.0.0.1:{port}"

    def push(self, source: Path, key: str) -> Command:
        """Send what is missing."""
        return self._run("push", key, source)

    def pull(self, key: str, name: str, target: Path) -> Command:
        """Read everything of the key."""
        return self._run("pull", key, target)

    def _run(self, verb: str, key: str, place: Path) -> Command:
        words: list[str | Path] = [
            sys.executable,
            _CLIENT,
            verb,
            self._target,
            self._lists / f"{key}.json",
            place,
        ]
        return Command(words, read=said_number)
