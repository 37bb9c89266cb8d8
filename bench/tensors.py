"""How much of a model file travels when a part of it changes, through a real server; and what cutting costs.

    python bench/tensors.py [--mib N] [--folder PATH]

Each row pushes what a change made of the file, or of the files, into a server that has the version before.
Beside it: the bytes that really changed, and what profile `cdc` would have sent. Then the rates at which one
file is cut and hashed with each profile, from the page cache.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import model_files
from model_files import Tensor
from processes import MIB, Server, ingot_server, measured

from ingot.content import chunking
from ingot.content.cuts import CDC, TENSOR, Cuts

HERE = Path(__file__).parent
Write = Callable[[Path, Sequence[Tensor]], int]
_SHARDS = 3


@dataclass(frozen=True, slots=True)
class Row:
    """What one change cost, in percent of the bytes of the new version."""

    row: str
    true: float  # bytes of tensors that are new
    sent: float
    by_cdc: float
    seconds: float


class Changes:
    """A server, and a folder that is changed and pushed again and again."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder = folder
        self._size = size
        self._tensors: list[Tensor] = []
        self._server: Server
        self._server, self._environment = ingot_server(folder / "data")
        self.rows: list[Row] = []

    def run(self) -> None:
        """Push everything."""
        try:
            self._format("safetensors", model_files.write_safetensors)
            self._format("GGUF", model_files.write_gguf)
            self._format("PyTorch", model_files.write_torch)
        finally:
            self._server.stop()

    def _format(self, name: str, write: Write) -> None:
        old = self._tensors = model_files.language_model(self._size, name)
        known = self._known({"model": old}, write)
        self._push(f"{name}, new", {"model": old}, write, set())
        tenth = model_files.changed(old, 0.1)
        if write is model_files.write_safetensors:
            longer: Write = lambda place, tensors: model_files.write_safetensors(  # noqa: E731
                place, tensors, note="longer " * 300
            )
            self._push(f"{name}, a tenth changed, longer header", {"model": tenth}, longer, known)
        else:
            self._push(f"{name}, a tenth changed", {"model": tenth}, write, known)
        smaller = model_files.changed(old, 0.3, 9 / 16)
        self._push(f"{name}, 30 % in another type", {"model": smaller}, write, known)
        shuffled = random.Random(2).sample(old, len(old))
        self._push(f"{name}, another order", {"model": shuffled}, write, known)
        more = [Tensor("front", 64, "front"), *old]
        self._push(f"{name}, one more in front", {"model": more}, write, known)
        step = -(-len(old) // _SHARDS)
        shards = {f"shard-{at}": old[at * step : (at + 1) * step] for at in range(_SHARDS)}
        self._push(f"{name}, 1 file to {_SHARDS}", shards, write, known)

    def _known(self, files: dict[str, list[Tensor]], write: Write) -> set[bytes]:
        """Return the digests that the first version has by cdc."""
        return {each.digest for each in self._by_cdc(self._written(files, write))}

    def _written(self, files: dict[str, list[Tensor]], write: Write) -> Path:
        place = self._folder / "model"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for name, tensors in files.items():
            write(place / name, tensors)
        return place

    def _by_cdc(self, place: Path) -> list[chunking.Chunk]:
        return [each for file in place.iterdir() for each in chunking.cut_file(file, Cuts(CDC))]

    def _push(self, row: str, files: dict[str, list[Tensor]], write: Write, known: set[bytes]) -> None:
        place = self._written(files, write)
        size = sum(file.stat().st_size for file in place.iterdir())
        before = set(self._tensors)
        true = float(sum(each.size for tensors in files.values() for each in tensors if each not in before))
        plain = {each.digest: each.length for each in self._by_cdc(place) if each.digest not in known}
        command: list[str | Path] = [sys.executable, HERE / "transfers.py", "push", "datasets/bench", place]
        environment = {**self._environment, "INGOT_CACHE_DIR": str(self._folder / "cache")}
        found = measured(row, command, size, server=self._server, environment=environment)
        true = size if not known else true
        true, sent, by_cdc = (100 * part / size for part in (true, found.moved, sum(plain.values())))
        self.rows.append(Row(row, true, sent, by_cdc, found.seconds))


def rates(place: Path, rounds: int = 3) -> dict[str, float]:
    """Return the GB/s at which a file is cut and hashed, best of some rounds, by profile."""
    size = place.stat().st_size
    best: dict[str, float] = {}
    for _ in range(rounds):
        for profile in (CDC, TENSOR):
            begun = time.perf_counter()
            for _ in chunking.cut_file(place, Cuts(profile)):
                pass
            rate = size / (time.perf_counter() - begun) / 1e9
            best[profile] = max(best.get(profile, 0.0), rate)
    return best


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure what a change of a model file costs.")
    parser.add_argument("--mib", type=int, default=512, help="size of the model (default: 512)")
    parser.add_argument("--folder", type=Path, help="on the disk to measure (default: temporary)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="ingot-bench-") as temporary:
        folder = Path(temporary)
        changes = Changes(folder, options.mib * MIB)
        changes.run()
        print(f"\n  {'percent of the new version':45}{'true':>9}{'sent':>9}{'by cdc':>9}{'s':>8}")
        for row in changes.rows:
            print(f"  {row.row:45}{row.true:9.3f}{row.sent:9.3f}{row.by_cdc:9.3f}{row.seconds:8.2f}")
        place = folder / "model.safetensors"
        model_files.write_safetensors(place, model_files.language_model(options.mib * MIB))
        print(f"\n  {'cut and hash, GB/s':45}" + "".join(f"{k} {v:.2f}   " for k, v in rates(place).items()))


if __name__ == "__main__":
    main()
