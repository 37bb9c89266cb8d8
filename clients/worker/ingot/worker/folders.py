"""What lies in a work folder, and how a checkpoint becomes whole.

    WORK/prep/<digest>/      tokens.bin flags.bin index.npy prep.json tokenizer/
    WORK/ckpt/step-00001500/ ds/ rng_0.pt trainer.json MANIFEST.json      complete: it was renamed into place
    WORK/ckpt/*.part         a save that was cut short; removed at the next start
    WORK/ckpt/*.hold         somebody reads that checkpoint; retention leaves it alone
    WORK/ckpt/latest         name of the newest complete checkpoint, moved by rename
    WORK/export/step-…/      the finished model in Hugging Face layout

A save writes into `.part`, `commit` fsyncs every file and the folder, renames, then moves `latest`: a kill at
any moment leaves the checkpoint before it. MANIFEST.json lists size and BLAKE3 of each file, and `verify`
reads them back: the engine unpickles what it loads, so nothing is loaded that does not match. No torch is
imported here; the agent uses it too.
"""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blake3 import blake3

from ingot.worker.problem import failed

MANIFEST = "MANIFEST.json"
STATE = "trainer.json"
SHORT_WRITES = (
    "unexpected pos",
    "failed writing file",
    "iostream error",
)  # what torch.save says of a full disk


def step_name(step: int) -> str:
    """Return the folder name of a step."""
    return f"step-{step:08d}"


def step_of(folder: Path) -> int:
    """Return the step a checkpoint or export folder is named for."""
    return int(folder.name.removeprefix("step-"))


def checkpoints(root: Path) -> list[Path]:
    """List complete checkpoints, oldest first."""
    if not root.is_dir():
        return []
    return sorted(path for path in root.glob("step-*") if path.is_dir() and path.suffix == "")


def latest(root: Path) -> Path | None:
    """Return the newest complete checkpoint, or None."""
    try:
        folder = root / (root / "latest").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    return folder if (folder / MANIFEST).is_file() else None


def part(root: Path, step: int) -> Path:
    """Make the empty folder a save writes into; leftovers of cut saves go."""
    root.mkdir(parents=True, exist_ok=True)
    sweep(root)
    folder = root / f"{step_name(step)}.part"
    folder.mkdir()
    return folder


def sweep(root: Path) -> None:
    """Remove what cut saves left."""
    for leftover in root.glob("*.part"):
        shutil.rmtree(leftover)


def commit(folder: Path) -> Path:
    """Make a `.part` folder durable and complete, move `latest` to it, return its final path."""
    write_durably(folder / MANIFEST, json.dumps(describe(folder), indent=1).encode())
    for path in sorted(folder.rglob("*")):
        fsync(path)
    fsync(folder)
    final = folder.with_suffix("")
    if final.exists():  # the same step saved again, e.g. a pause right after a periodic save
        shutil.rmtree(final)
    folder.rename(final)
    fsync(final.parent)
    write_durably(final.parent / "latest", final.name.encode())
    return final


def describe(folder: Path) -> list[dict[str, object]]:
    """List path, size and BLAKE3 of every file under a folder."""
    rows: list[dict[str, object]] = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != MANIFEST:
            hasher = blake3()
            hasher.update_mmap(path)
            rows.append(
                {
                    "file": path.relative_to(folder).as_posix(),
                    "size": path.stat().st_size,
                    "blake3": hasher.hexdigest(),
                }
            )
    return rows


def verify(folder: Path) -> None:
    """Compare a checkpoint with its manifest.

    Raises TrainingError DATA_LOSS naming the file that differs.
    """
    try:
        expected = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise failed(
            "DATA_LOSS", f"The checkpoint {folder.name} has no readable manifest: {error}."
        ) from error
    found = {str(row["file"]): row for row in describe(folder)}
    for row in expected:
        if found.get(row["file"]) != row:
            message = f"{row['file']} of checkpoint {folder.name} is not what was saved."
            raise failed(
                "DATA_LOSS",
                message,
                "Resume from an older checkpoint.",
                expected=row,
                found=found.get(row["file"]),
            )
    if extra := sorted(set(found) - {row["file"] for row in expected}):
        raise failed(
            "DATA_LOSS", f"Checkpoint {folder.name} holds files its manifest does not list.", files=extra
        )


def size_of(folder: Path) -> int:
    """Return the bytes of all files under a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep a checkpoint from retention while it is read. The folder may be gone already: check inside."""
    marker = folder.with_suffix(".hold")
    marker.touch()
    try:
        yield
    finally:
        marker.unlink(missing_ok=True)


def retain(root: Path, newest: int, keep: set[str]) -> list[str]:
    """Remove all but the `newest` last checkpoints, the named ones, and those held.

    Return the names removed.
    """
    folders = checkpoints(root)
    removed: list[str] = []
    for folder in folders[: max(0, len(folders) - newest)]:
        if folder.name not in keep and not folder.with_suffix(".hold").exists():
            doomed = folder.with_suffix(
                ".part"
            )  # out of sight first, so a half-removed folder is never "complete"
            folder.rename(doomed)
            shutil.rmtree(doomed)
            removed.append(folder.name)
    return removed


def require_space(root: Path, needed: int) -> None:
    """Raise TrainingError DISK_LOW unless `needed` bytes are free under `root`."""
    free = shutil.disk_usage(root).free
    if free < needed:
        raise disk_low(root, needed, free)


def disk_low(root: Path, needed: int, free: int) -> Exception:
    """Build the failure for a full disk."""
    message = f"{needed / 1e6:.1f} MB are needed under {root} and {free / 1e6:.1f} MB are free."
    return failed(
        "DISK_LOW", message, "Free space on this worker, then resume the job.", needed=needed, free=free
    )


def is_disk_full(error: BaseException) -> bool:
    """Tell whether an error is the disk's: no space, over quota, or (from torch) a write that fell short."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return any(words in str(error) for words in SHORT_WRITES)


def write_durably(path: Path, data: bytes) -> None:
    """Replace a file as a whole: write aside, fsync, rename, fsync the folder."""
    aside = path.with_name(path.name + ".tmp")
    with aside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    fsync(path.parent)


def fsync(path: Path) -> None:
    """Push a file or a folder to the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
