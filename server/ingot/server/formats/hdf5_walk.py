"""Walk an HDF5 file with h5py, in a process of its own: the program that `model_h5.py` starts.

The HDF5 library is C and can crash or loop on content made to break it; then only this process ends. It has
no file: it asks its parent for pieces over stdout (place and length, 8 bytes each), gets them on stdin, and
ends with a place of 2^64 - 1, a length, and what it found as JSON. CPU time and memory are limited.
"""

import json
import os
import resource
import sys
from typing import BinaryIO

import h5py

from ingot.server.formats import keras_config
from ingot.server.formats.hdf5_pieces import END, PIECE_MOST

_CPU_SECONDS = 30
_MEMORY = 2 * 1024**3  # of address space, most of it libraries
_MOST_OBJECTS = 100_000
_MOST_FINDINGS = 1000
_DEEPEST = 64


class _Asked:
    """The file as h5py wants it; a place behind the end reads as zeros."""

    def __init__(self, answers: BinaryIO, questions: BinaryIO, size: int) -> None:
        self._answers = answers
        self._questions = questions
        self._size = size
        self._at = 0

    def readinto(self, buffer: memoryview) -> int:
        done = 0
        while done < len(buffer):
            length = min(len(buffer) - done, PIECE_MOST)
            place = (self._at + done).to_bytes(8, "big")
            self._questions.write(place + length.to_bytes(8, "big"))
            self._questions.flush()
            piece = self._answers.read(length)
            if len(piece) != length:
                os._exit(3)  # the parent is gone
            buffer[done : done + length] = piece
            done += length
        self._at += done
        return done

    def read(self, count: int = -1) -> bytes:
        buffer = bytearray(count if count >= 0 else max(0, self._size - self._at))
        self.readinto(memoryview(buffer))
        return bytes(buffer)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at


def main() -> None:
    """Walk the file of the size that the first argument gives, and tell what was found."""
    questions = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no question
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    size = int(sys.argv[1])
    found: dict[str, object] = {}
    findings: list[tuple[str, str, int]] = []
    try:
        with h5py.File(_Asked(sys.stdin.buffer, questions, size), "r") as file:
            walk = _Walk(file, findings)
            found = walk.run()
    except Exception as failure:  # noqa: BLE001 - whatever the library thinks of the content
        cut = "truncated file" in str(failure)
        message = f"The HDF5 library cannot read it: {failure}"[:400]
        findings.append(("truncated" if cut else "damaged", message, size if cut else 0))
    answer = json.dumps({"findings": findings[:_MOST_FINDINGS], "statistics": found}).encode()
    questions.write(END.to_bytes(8, "big") + len(answer).to_bytes(8, "big") + answer)
    questions.flush()
    os._exit(0)  # closing a damaged file may crash, and there is nothing to keep


class _Walk:
    def __init__(self, file: h5py.File, findings: list[tuple[str, str, int]]) -> None:
        self._file = file
        self._findings = findings
        self._seen: set[int] = set()
        self._groups = 0
        self._datasets = 0
        self._values = 0
        self._types: dict[str, int] = {}

    def run(self) -> dict[str, object]:
        keras = self._keras()
        self._group(self._file, 0)
        return {
            "groups": self._groups,
            "datasets": self._datasets,
            "parameters": min(self._values, 2**63 - 1),
            "types": self._types,
            "keras": keras,
        }

    def _group(self, group: h5py.Group, depth: int) -> None:
        at = h5py.h5o.get_info(group.id).addr
        self._groups += 1
        if depth > _DEEPEST or self._groups + self._datasets > _MOST_OBJECTS:
            self._findings.append(("too_many_objects", "Too many objects, or nested too deep.", at))
            return
        for name in group:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                self._unsafe(f"{name[:100]!r} is a link into the file {link.filename[:200]!r}.", at)
            elif isinstance(link, h5py.HardLink):
                item = group[name]
                place = h5py.h5o.get_info(item.id).addr
                if place in self._seen:
                    continue
                self._seen.add(place)
                if isinstance(item, h5py.Group):
                    self._group(item, depth + 1)
                elif isinstance(item, h5py.Dataset):
                    self._dataset(name, item, place)

    def _dataset(self, name: str, item: h5py.Dataset, at: int) -> None:
        self._datasets += 1
        self._values += item.size or 0
        kind = str(item.dtype)[:40]
        if kind in self._types or len(self._types) < 50:
            self._types[kind] = self._types.get(kind, 0) + 1
        outside = [each[0] for each in item.external or ()]
        if item.is_virtual:
            outside += [each.file_name for each in item.virtual_sources() if each.file_name != "."]
        for path in outside[:10]:
            self._unsafe(f"The values of {name[:100]!r} are in the file {str(path)[:200]!r}.", at)

    def _keras(self) -> bool:
        """Look for layers that are code in the configuration that Keras keeps at the root."""
        if "model_config" not in self._file.attrs:
            return False
        text = self._file.attrs["model_config"]
        at = h5py.h5o.get_info(self._file["/"].id).addr
        if not isinstance(text, str | bytes):
            self._findings.append(("invalid_config", "model_config is no text.", at))
            return True
        try:
            unsafe, unknown = keras_config.findings(text)
        except keras_config.ConfigError as failure:
            self._findings.append(("invalid_config", f"model_config: {failure}"[:400], at))
            return True
        for message in unsafe:
            self._unsafe(message, at)
        self._findings += [("unknown_import", message, at) for message in unknown]
        return True

    def _unsafe(self, message: str, at: int) -> None:
        self._findings.append(("unsafe_content", message, at))


if __name__ == "__main__":
    main()
