"""Push and pull through a real server, beside `cp` with fsync and raw gRPC streaming of the same bytes.

A round makes new random content and does everything with it once, in turns, so that a busy machine slows all
rows alike. Every client is a whole process with its start-up; the servers run through all rounds. Push and
pull verify every byte and are durable when the clock stops; raw streaming does neither.
"""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from processes import MIB, Sample, Server, ingot_server, measured

HERE = Path(__file__).parent
INSERTED = 1000  # bytes, in front of the file
SMALL_FILE = 10 * 1024

_COPY = "cp -r -- {source} {target} && sync -f {target}"  # the whole folder in one sync
_RSYNC = "rsync --archive --whole-file --fsync -- {source} {target}"


class Rounds:
    """The servers and what was measured."""

    def __init__(self, folder: Path, size: int, files: int) -> None:
        self._folder, self._size, self._files = folder, size, files
        self.server, self._environment = ingot_server(folder / "data")
        self._raw = Server([sys.executable, str(HERE / "raw_stream.py"), "serve"])
        self.samples: list[Sample] = []
        self.rsync = shutil.which("rsync")

    def stop(self) -> None:
        """End the servers."""
        self.server.stop()
        self._raw.stop()

    def one(self, number: int) -> None:
        """Do one round of everything."""
        work = self._folder / f"round-{number}"
        work.mkdir()
        self._environment["INGOT_CACHE_DIR"] = str(work / "cache")
        source = work / "source.bin"
        _random_file(source, self._size)
        steps: list[Callable[[], None]] = [
            lambda: self._copy(source, work / "copy.bin"),
            lambda: self._stream("push", source),
            lambda: self._push_all(work, source),
            lambda: self._stream("pull", source),
            lambda: self._small_files(work),
        ]
        for step in steps[number % 2 :] + steps[: number % 2]:
            step()
        shutil.rmtree(work)

    # --- one large file ---------------------------------------------------------------------------------

    def _copy(self, source: Path, target: Path) -> None:
        command = ["sh", "-c", f"cp -- {source} {target} && sync {target}"]
        self.samples.append(measured("cp + fsync", command, self._size))

    def _stream(self, verb: str, source: Path) -> None:
        command: list[str | Path] = [
            sys.executable,
            HERE / "raw_stream.py",
            verb,
            self._raw.first_line,
            source,
        ]
        self.samples.append(measured(f"raw gRPC {verb}", command, self._size, server=self._raw))

    def _push_all(self, work: Path, source: Path) -> None:
        """Push, push unchanged, pull, compare, push with bytes inserted in front."""
        self._client("push", "push", source, self._size)
        self._client("push again, unchanged", "push", source, self._size)
        self._client("pull", "pull", work / "out", self._size)
        if subprocess.run(["cmp", source, work / "out" / source.name], check=False).returncode:
            raise SystemExit("what came back is not what was sent")
        edited = work / "edited.bin"
        with edited.open("wb") as file, source.open("rb") as rest:
            file.write(os.urandom(INSERTED))
            shutil.copyfileobj(rest, file, MIB)  # all at once, its memory would be charged to our children
        self._client("push with 1000 B inserted", "push", edited, self._size + INSERTED)

    def _client(self, row: str, verb: str, place: Path, size: int, files: int = 1) -> None:
        command: list[str | Path] = [sys.executable, HERE / "transfers.py", verb, place]
        environment = self._environment
        self.samples.append(
            measured(row, command, size, server=self.server, environment=environment, files=files)
        )

    # --- many small files -------------------------------------------------------------------------------

    def _small_files(self, work: Path) -> None:
        source = work / "small"
        for index in range(self._files):
            place = source / f"{index % 100:02}" / f"{index:06}.txt"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(random.randbytes(SMALL_FILE))
        os.sync()
        size = self._files * SMALL_FILE
        tools = [("cp -r + sync", _COPY), *([("rsync", _RSYNC)] if self.rsync else [])]
        for name, line in tools:
            command = ["sh", "-c", line.format(source=source, target=work / name.split()[0])]
            self.samples.append(measured(f"{name}, small files", command, size, files=self._files))
        self._client("push, small files", "push", source, size, self._files)
        self._client("pull, small files", "pull", work / "small-out", size, self._files)
        if subprocess.run(["diff", "-rq", source, work / "small-out"], check=False).returncode:
            raise SystemExit("what came back of the small files is not what was sent")


def _random_file(place: Path, size: int) -> None:
    with place.open("wb") as file:
        for start in range(0, size, MIB):
            file.write(os.urandom(min(MIB, size - start)))
        file.flush()
        os.fsync(file.fileno())


def client(verb: str, place: str) -> None:
    """Push or pull in this process and print how many bytes moved: the other half of `_client`."""
    from ingot.client import Client
    from ingot.content import malloc

    malloc.raise_thresholds()
    reference = "datasets/small" if "small" in place else "datasets/bench"
    with Client() as connection:
        if verb == "push":
            print(connection.push(reference, place).sent_bytes)
        else:
            print(connection.pull(reference, place).received_bytes)


if __name__ == "__main__":
    client(*sys.argv[1:3])
