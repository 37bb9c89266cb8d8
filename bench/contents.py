"""What is pushed: random bytes, the same with some in front, many small files, a model and its changes."""

import os
import random
import shutil
from pathlib import Path

import model_files
from processes import MIB

INSERTED = 1000  # bytes, in front of the file
SMALL_FILE = 10 * 1024
FOLDER_FILES = 100
SHARDS = 3
_TENTH = 0.1


def random_file(place: Path, size: int) -> Path:
    """Write a file of new random bytes, durable, so that its writing disturbs nothing later."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("wb") as file:
        for start in range(0, size, MIB):
            file.write(os.urandom(min(MIB, size - start)))
        file.flush()
        os.fsync(file.fileno())
    return place


def with_front(source: Path, place: Path) -> Path:
    """Write a copy with bytes inserted in front."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("wb") as file, source.open("rb") as rest:
        file.write(os.urandom(INSERTED))
        shutil.copyfileobj(rest, file, MIB)  # all at once, its memory would be charged to our children
        file.flush()
        os.fsync(file.fileno())
    return place


def small_files(folder: Path, count: int) -> Path:
    """Write files of 10 KiB, a hundred in each folder."""
    for index in range(count):
        place = folder / f"{index // FOLDER_FILES:03}" / f"{index:06}.txt"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(random.randbytes(SMALL_FILE))
    return folder


class Model:
    """A safetensors file of some 200 tensors in a folder, and what becomes of it."""

    def __init__(self, size: int) -> None:
        about = random.randbytes(8).hex()  # no two rounds have a tensor in common
        self.tensors = model_files.language_model(size, about)

    def whole(self, folder: Path) -> Path:
        """Write all tensors into one file."""
        folder.mkdir(parents=True)
        model_files.write_safetensors(folder / "model.safetensors", self.tensors)
        return folder

    def tenth(self, folder: Path) -> tuple[Path, float]:
        """Change tensors of at most a tenth of the bytes; also return which share of the bytes is new."""
        old = set(self.tensors)
        self.tensors = model_files.changed(self.tensors, _TENTH)
        new = sum(each.size for each in self.tensors if each not in old)
        return self.whole(folder), new / sum(each.size for each in self.tensors)

    def shards(self, folder: Path) -> Path:
        """Write the same tensors into three files."""
        folder.mkdir(parents=True)
        step = -(-len(self.tensors) // SHARDS)
        for at in range(SHARDS):
            place = folder / f"model-{at + 1:05}-of-{SHARDS:05}.safetensors"
            model_files.write_safetensors(place, self.tensors[at * step : (at + 1) * step])
        return folder


def forget_pages(folder: Path) -> None:
    """Drop what the page cache has of the files below a folder; needs no rights beside reading them."""
    for place in folder.rglob("*"):
        if place.is_file():
            descriptor = os.open(place, os.O_RDONLY)
            os.fdatasync(descriptor)  # dirty pages would stay
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
