"""Measure the pack store beside the plainest way to make bytes durable: write a file, fdatasync it.

    python bench/packs.py [folder] [--mib 512] [--rounds 5]

Both sides write the same random bytes in chunks of 256 KiB; the plain side knows no digests. The store is
measured as it is and encrypted at rest; `cipher alone` is the limit of that. Rounds are interleaved, so that
a busy machine slows all; medians are printed, with the ratio, and CPU seconds per GB.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from ingot.content import digests, malloc
from ingot.server.core.packs import ChunkPlace
from ingot.server.storage import pack_keys
from ingot.server.storage.packs_disk import DiskPacks

CHUNK = 256 * 1024
STREAM = 256 * 1024 * 1024  # the largest stream a client sends before it waits for the acknowledgement


def plain(folder: Path, data: memoryview) -> None:
    """Write the bytes into one preallocated file per stream and make each durable."""
    for start in range(0, len(data), STREAM):
        part = data[start : start + STREAM]
        descriptor = os.open(folder / f"plain-{start}", os.O_WRONLY | os.O_CREAT)
        os.posix_fallocate(descriptor, 0, len(part))
        for offset in range(0, len(part), CHUNK):
            os.pwrite(descriptor, part[offset : offset + CHUNK], offset)
        os.fdatasync(descriptor)
        os.close(descriptor)


def packed(store: DiskPacks, data: memoryview, names: list[bytes]) -> list[ChunkPlace]:
    """Append and seal the same bytes, checked against their digests."""
    places: list[ChunkPlace] = []
    for start in range(0, len(data), STREAM):
        part = data[start : start + STREAM]
        ingest = store.open_ingest(len(part), -(-len(part) // CHUNK))
        for offset in range(0, len(part), CHUNK):
            ingest.append(names[(start + offset) // CHUNK], [part[offset : offset + CHUNK]])
        for sealed in ingest.seal():
            places += [ChunkPlace(sealed.id, e.offset, e.length, e.digest) for e in sealed.entries]
    return places


def read_all(store: DiskPacks, places: list[ChunkPlace]) -> None:
    """Read every chunk."""
    for place in places:
        store.read(place)


def sealed_alone(keyring: pack_keys.Keyring, data: memoryview) -> None:
    """Encrypt the bytes chunk by chunk, on one thread, and keep nothing."""
    cipher = keyring.new_cipher()
    for offset in range(0, len(data), CHUNK):
        cipher.seal(offset, b"header", [data[offset : offset + CHUNK]])


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def timed(results: dict[str, list[float]], label: str, start: float, size: int) -> None:
    """Note a rate in GB/s."""
    results.setdefault(label, []).append(size / (time.perf_counter() - start) / 1e9)


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description="Measure the pack store beside write + fdatasync.")
    parser.add_argument("folder", nargs="?", type=Path, help="on the disk to measure (default: temporary)")
    parser.add_argument("--mib", type=int, default=512, help="MiB to write per round (default: 512)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default: 5)")
    arguments = parser.parse_args()
    malloc.raise_thresholds()
    data = memoryview(os.urandom(arguments.mib << 20))
    names = [digests.chunk_digest(data[at : at + CHUNK]) for at in range(0, len(data), CHUNK)]
    results: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}
    keyring = pack_keys.Keyring({bytes(16): os.urandom(pack_keys.KEY_SIZE)})
    for _ in range(arguments.rounds):
        folder = Path(tempfile.mkdtemp(dir=arguments.folder))
        try:
            start = time.perf_counter()
            plain(folder, data)
            timed(results, "write + fdatasync", start, len(data))
            for kind, store in (
                ("", DiskPacks(_made(folder / "plain"))),
                (", encrypted", DiskPacks(_made(folder / "encrypted"), keyring)),
            ):
                start, used = time.perf_counter(), time.process_time()
                places = packed(store, data, names)
                cpu.setdefault(kind, []).append((time.process_time() - used) / len(data) * 1e9)
                timed(results, f"append + seal{kind}", start, len(data))
                for label in ("read, checked", "read again"):
                    start = time.perf_counter()
                    read_all(store, places)
                    timed(results, label + kind, start, len(data))
            start = time.perf_counter()
            sealed_alone(keyring, data)
            timed(results, "cipher alone", start, len(data))
        finally:
            shutil.rmtree(folder)
    for label, rates in results.items():
        print(f"{label:26} {statistics.median(rates):6.2f} GB/s   best {max(rates):.2f}")
    ratio = statistics.median(results["append + seal"]) / statistics.median(results["write + fdatasync"])
    plain_cpu, sealed_cpu = (statistics.median(cpu[kind]) for kind in ("", ", encrypted"))
    print(f"append + seal reaches {ratio:.0%} of write + fdatasync, at {plain_cpu:.2f} CPU-s/GB")
    print(f"encrypted it takes {sealed_cpu:.2f} CPU-s/GB")


if __name__ == "__main__":
    main()
