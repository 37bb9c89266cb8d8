"""VersityGW, an S3 server over a folder, with boto3 as its client."""

from pathlib import Path

from peers.limits import said_read
from peers.peer import LARGE, SMALL, VERIFIED, Found, Peer
from processes import Command, Server, free_port

_CLIENT = Path(__file__).parent / "s3_client.py"


class VersityGw(Peer):
    """A bucket is a folder, a key of the bench the first part of an object's key."""

    name = "VersityGW, boto3"
    group = VERIFIED
    note = "boto3 as it comes: parts of 8 MiB, 10 threads; nothing made durable"
    cases = LARGE | SMALL
    by_request = True

    def __init__(self, folder: Path, found: Found) -> None:
        program, self._python = found.program("versitygw"), found.python("boto3")
        root = folder / "versitygw"
        self.stored = self.kept = root / "bench"
        self.stored.mkdir(parents=True)
        port = free_port()
        words: list[str | Path] = [
            program,
            "--access",
            "bench",
            "--secret",
            "benchbench",
            "--port",
            f"127.0.0.1:{port}",
        ]
        words += ["posix", root]
        self.server = Server(words, port=port)
        self._environment = {
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "benchbench",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
        }

    def push(self, source: Path, key: str) -> Command:
        """Put objects."""
        return self._run("push", key, source)

    def pull(self, key: str, name: str, target: Path) -> Command:
        """Get objects."""
        return self._run("pull", f"{key}/{name}", target)

    def read(self, key: str, name: str, offset: int, length: int) -> Command:
        """Get a range of one."""
        command = self._run("read", f"{key}/{name}", str(offset), str(length))
        return Command(command.words, command.environment, read=said_read)

    def _run(self, verb: str, *words: str | Path) -> Command:
        return Command([self._python, _CLIENT, verb, *words], self._environment)
