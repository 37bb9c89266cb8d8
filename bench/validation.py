"""How fast and in how much memory files are validated, beside only reading them.

    python bench/validation.py [--formats jsonl,csv,json,txt] [--mib 512] [--json]

The files are made while they are read (a line differs from every other), so no disk is measured and none is
needed. Each row is a process of its own, whose peak memory counts the interpreter and everything it loaded.
MB are 1e6 bytes, memory is MiB.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

FORMATS = ("jsonl", "csv", "json", "txt")
BLOCK_LINES = 1500
_MARK = b"@@@@@@@@@@"
_PROMPT = (
    "Explain in a few plain sentences why the sky is blue, and what changes when the sun goes down. " * 2
)
_ANSWER = (
    "نور خورشید در هوا پراکنده می‌شود و رنگ آبی بیشتر از رنگ‌های دیگر پخش می‌شود. Short waves scatter more. "
)


@dataclass(frozen=True, slots=True)
class Row:
    """One format: seconds to read, to validate, of CPU for that, and the peak memory of the process."""

    format: str
    bytes: int
    records: int
    read_seconds: float
    seconds: float
    cpu_seconds: float
    peak_mib: float


class MadeSource:
    """A file of about `size` bytes that exists only while it is read."""

    def __init__(self, format: str, size: int) -> None:
        template = [_line(format, number) for number in range(BLOCK_LINES)]
        self._ends = {"json": (b"[", b"{}]\n"), "csv": (b"id,prompt,completion,score\n", b"")}.get(
            format, (b"", b"")
        )
        self._template = b"".join(template)
        self._blocks = max(1, size // len(self._template))
        self.size = self._blocks * len(self._template) + sum(map(len, self._ends))
        self._position = 0
        self._made = (-1, b"")

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes."""
        left = self.size - self._position if size < 0 else min(size, self.size - self._position)
        found = []
        while left > 0:
            begin, piece = self._piece()
            part = piece[self._position - begin :][:left]
            found.append(part)
            self._position += len(part)
            left -= len(part)
        return b"".join(found)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a position."""
        self._position = offset + (0, self._position, self.size)[whence]
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seekable(self) -> bool:
        """Return True: what takes a file asks for it."""
        return True

    def _piece(self) -> tuple[int, bytes]:
        """Return what is at the position, and where it begins."""
        first, last = self._ends
        if self._position < len(first):
            return 0, first
        if self._position >= self.size - len(last):
            return self.size - len(last), last
        number = (self._position - len(first)) // len(self._template)
        if self._made[0] != number:
            self._made = (number, self._template.replace(_MARK, b"%010d" % number))
        return len(first) + number * len(self._template), self._made[1]


def _line(format: str, number: int) -> bytes:
    name = f"{_MARK.decode()}-{number}"
    if format == "csv":
        quoted = '"' + _ANSWER.replace("Short", '""Short""') + '"' if number % 3 == 0 else _ANSWER
        return f"{name},{_PROMPT.replace(',', ';')},{quoted},{number % 7}\n".encode()
    if format == "txt":
        return f"{name} {_PROMPT}{_ANSWER}\n".encode()
    record = {"id": name, "prompt": _PROMPT, "completion": _ANSWER * 2, "score": number % 7}
    return json.dumps(record, ensure_ascii=False).encode() + (b",\n" if format == "json" else b"\n")


def measure(format: str, size: int) -> Row:
    """Validate one made file in this process."""
    from ingot.server.core.params import Rules
    from ingot.server.formats import checking

    source = MadeSource(format, size)
    begun = time.perf_counter()
    while source.read(512 * 1024):
        pass
    read = time.perf_counter() - begun
    source.seek(0)
    with tempfile.TemporaryDirectory() as folder:
        begun, worked = time.perf_counter(), time.process_time()
        found = checking.check(f"made.{format}", source, Rules(), Path(folder))
        seconds, cpu = time.perf_counter() - begun, time.process_time() - worked
    if not found.report.passed or found.report.bad_records:
        raise SystemExit(f"the made {format} file is not valid: {found.findings.kept[:3]}")
    peak = _peak_mib()
    return Row(
        format,
        source.size,
        found.report.records or 0,
        round(read, 3),
        round(seconds, 3),
        round(cpu, 3),
        round(peak, 1),
    )


def _peak_mib() -> float:
    """Return the peak memory of this process; getrusage would begin with that of its parent."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    """Measure each format in a process of its own and print the table."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--formats", default=",".join(FORMATS), help="which, separated by commas")
    options.add_argument("--mib", type=int, default=512, help="size of each file")
    options.add_argument("--json", action="store_true", help="one JSON object a line")
    options.add_argument("--here", action="store_true", help="measure one format in this very process")
    chosen = options.parse_args()
    if chosen.here:
        print(json.dumps(asdict(measure(chosen.formats, chosen.mib * 1024 * 1024))))
        return
    if not chosen.json:
        print(
            f"{'format':7} {'GB':>6} {'records':>10} {'read MB/s':>10} {'MB/s':>6} "
            f"{'MB/CPU s':>9} {'peak MiB':>9}"
        )
    for each in chosen.formats.split(","):
        command = [sys.executable, __file__, "--here", "--formats", each, "--mib", str(chosen.mib)]
        line = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ}).stdout
        row = Row(**json.loads(line))
        if chosen.json:
            print(line.strip(), flush=True)
            continue
        megabytes = row.bytes / 1e6
        print(
            f"{row.format:7} {row.bytes / 1e9:6.2f} {row.records:10,} {megabytes / row.read_seconds:10,.0f} "
            f"{megabytes / row.seconds:6,.0f} {megabytes / row.cpu_seconds:9,.0f} {row.peak_mib:9.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
