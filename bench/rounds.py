"""Rounds of pushes and pulls: everyone does the same things with the same new content, in turns.

In a round all contenders do one thing, each in its own order of turns, before any does the next: a busy
machine slows neighbouring rows alike. Every client is a whole process with its start-up; the servers run
through all rounds. What a pull brought is compared with what was pushed, after the clock has stopped.
"""

import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import contents
from contents import SMALL_FILE
from peers.bazel_remote import BazelRemote
from peers.limits import Copy, RawStream
from peers.mlflow_proxy import Mlflow
from peers.ours import Encrypted, Ingot
from peers.peer import Absent, Case, Found, Peer, Start
from peers.restic import Restic
from peers.rsync import Rsync
from peers.versitygw import VersityGw
from processes import MIB, Command, Sample, measured

CONTENDERS: dict[str, Start] = {
    "ingot": Ingot,
    "encrypted": Encrypted,
    "cp": Copy,
    "raw": RawStream,
    "rsync": Rsync,
    "restic": Restic,
    "bazel-remote": BazelRemote,
    "versitygw": VersityGw,
    "mlflow": Mlflow,
}
_READ = MIB
_READS = 5


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything: bytes of the large file and of the model, number of small files."""

    large: int
    files: int
    model: int


@dataclass(slots=True)
class Measured:
    """What was measured, by case; and the share of the bytes that a changed model really has anew."""

    samples: dict[Case, list[Sample]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    new_share: float = 0.0


class Rounds:
    """The contenders, their servers and what was measured."""

    def __init__(self, folder: Path, sizes: Sizes, names: Sequence[str], found: Found) -> None:
        self._folder, self._sizes = folder, sizes
        self._number = 0
        self.peers: list[Peer] = []
        self.measured = Measured()
        for name in names:
            try:
                self.peers.append(CONTENDERS[name](folder, found))
            except Absent as why:
                self.measured.absent[name] = str(why)

    def stop(self) -> None:
        """End the servers."""
        for peer in self.peers:
            peer.stop()

    def one(self, models: bool) -> None:
        """Do one round of everything; the changed models only if asked, for their shares never differ."""
        work = self._folder / f"round-{self._number}"
        work.mkdir()
        try:
            self._large_file(work)
            self._small_files(work)
            if models:
                self._models(work)
        finally:
            shutil.rmtree(work)
            for peer in self.peers:
                peer.forget()
        self._number += 1

    # --- the three parts of a round ---------------------------------------------------------------------

    def _large_file(self, work: Path) -> None:
        key, size = f"large{self._number}", self._sizes.large
        source = contents.random_file(work / "new" / "large.bin", size)
        for server in (peer.server for peer in self.peers if self._number == 0):
            if server:
                server.note_idle()  # all have had the time to start whatever they start
        self._each(Case.PUSH, size, lambda peer: peer.push(source, key))
        for peer in self._turns(Case.PULL):
            self._pull(Case.PULL, peer, source, key, work, size)
        for peer in self._turns(Case.READ):
            with self._may_fail(peer):
                self._cold_reads(peer, key, source.name)
        self._each(Case.AGAIN, size, lambda peer: peer.push(source, key))
        edited = contents.with_front(source, work / "edited" / source.name)
        self._each(Case.FRONT, edited.stat().st_size, lambda peer: peer.push(edited, key))

    def _cold_reads(self, peer: Peer, key: str, name: str) -> None:
        assert peer.stored
        for _ in range(_READS):
            contents.forget_pages(peer.stored)
            command = peer.read(key, name, random.randrange(self._sizes.large - _READ), _READ)
            self._measure(Case.READ, peer, command, _READ)

    def _small_files(self, work: Path) -> None:
        key, count = f"small{self._number}", self._sizes.files
        few = max(1, count // 10)
        source = contents.small_files(work / "small", count)
        fewer = contents.small_files(work / "fewer", few)
        for peer in self._turns(Case.SMALL_PUSH):
            place, files = (fewer, few) if peer.by_request else (source, count)
            with self._may_fail(peer):
                self._measure(Case.SMALL_PUSH, peer, peer.push(place, key), files * SMALL_FILE, files)
        for peer in self._turns(Case.SMALL_PULL):
            place, files = (fewer, few) if peer.by_request else (source, count)
            self._pull(Case.SMALL_PULL, peer, place, key, work, files * SMALL_FILE, files)

    def _models(self, work: Path) -> None:
        key, model = f"model{self._number}", contents.Model(self._sizes.model)
        whole = model.whole(work / "whole" / "model")
        self._each(Case.MODEL, _bytes(whole), lambda peer: peer.push(whole, key))
        changed, self.measured.new_share = model.tenth(work / "tenth" / "model")
        self._each(Case.TENTH, _bytes(changed), lambda peer: peer.push(changed, key))
        shards = model.shards(work / "shards" / "model")
        self._each(Case.SHARDS, _bytes(shards), lambda peer: peer.push(shards, key))

    # --- one step ---------------------------------------------------------------------------------------

    def _turns(self, case: Case) -> Iterator[Peer]:
        """Yield those who do this, beginning with another one each time."""
        those = [each for each in self.peers if case in each.cases and each.name not in self.measured.absent]
        first = (self._number + list(Case).index(case)) % max(1, len(those))
        yield from those[first:] + those[:first]

    def _each(self, case: Case, size: int, command: Callable[[Peer], Command]) -> None:
        for peer in self._turns(case):
            with self._may_fail(peer):
                self._measure(case, peer, command(peer), size)

    @contextmanager
    def _may_fail(self, peer: Peer) -> Iterator[None]:
        """Let a peer that fails do nothing more; what fails of Ingot is told, and the rest measured."""
        try:
            yield
        except SystemExit as why:
            if isinstance(peer, Ingot):
                self.measured.failures.append(str(why))
            else:
                self.measured.absent[peer.name] = str(why)

    def _pull(
        self, case: Case, peer: Peer, source: Path, key: str, work: Path, size: int, files: int = 1
    ) -> None:
        with self._may_fail(peer), _target(work) as target:
            self._measure(case, peer, peer.pull(key, source.name, target), size, files)
            if not peer.keeps:
                return
            place = peer.place(target, source.name)
            if subprocess.run(["diff", "-rq", "--", source, place], check=False).returncode:
                raise SystemExit(f"{peer.name}: what came back is not what was sent")

    def _measure(self, case: Case, peer: Peer, command: Command, size: int, files: int = 1) -> None:
        subprocess.run(["sync", "-f", self._folder], check=True)  # what others left dirty is not its burden
        if sys.stderr.isatty():
            print(f"\r\033[K  round {self._number + 1}: {case}: {peer.name}", end="", file=sys.stderr)
        sample = measured(peer.name, command, size, server=peer.server, files=files)
        self.measured.samples.setdefault(case, []).append(sample)


@contextmanager
def _target(work: Path) -> Iterator[Path]:
    """Give an empty folder for what is pulled, for as long as it is looked at."""
    target = work / "pulled"
    target.mkdir()
    try:
        yield target
    finally:
        shutil.rmtree(target)


def _bytes(folder: Path) -> int:
    return sum(each.stat().st_size for each in folder.iterdir())
