"""Put and get files of a Remote Execution API store: the client of peers/bazel_remote.py.

    python peers/bazel_client.py push|pull TARGET LIST PLACE

A push asks which digests are missing and sends those, small files in batches; LIST keeps path and digest of
each file for the pull, which checks what it gets. The few messages are put together by hand: field numbers
are those of remote_execution.proto and bytestream.proto.
"""

import hashlib
import json
import sys
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import grpc

from ingot.content import malloc

MIB = 1024 * 1024
_MESSAGE = MIB
_BATCH = 3 * MIB  # of the 4 MiB that a message may have
_QUESTION = 5000  # digests
_STORE = "/build.bazel.remote.execution.v2.ContentAddressableStorage"
_STREAM = "/google.bytestream.ByteStream"
_OPTIONS = [("grpc.max_receive_message_length", 8 * MIB)]

Digest = tuple[str, int]  # SHA-256 in hex, size


class Store:
    """A connection to a store."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._missing: grpc.UnaryUnaryMultiCallable[bytes, bytes]
        self._missing = channel.unary_unary(f"{_STORE}/FindMissingBlobs", None, None)
        self._update: grpc.UnaryUnaryMultiCallable[bytes, bytes]
        self._update = channel.unary_unary(f"{_STORE}/BatchUpdateBlobs", None, None)
        self._read: grpc.UnaryUnaryMultiCallable[bytes, bytes]
        self._read = channel.unary_unary(f"{_STORE}/BatchReadBlobs", None, None)
        self._write_stream: grpc.StreamUnaryMultiCallable[bytes, bytes]
        self._write_stream = channel.stream_unary(f"{_STREAM}/Write", None, None)
        self._read_stream: grpc.UnaryStreamMultiCallable[bytes, bytes]
        self._read_stream = channel.unary_stream(f"{_STREAM}/Read", None, None)

    def missing(self, digests: list[Digest]) -> set[str]:
        """Return the hashes that the store does not have."""
        found: set[str] = set()
        for start in range(0, len(digests), _QUESTION):
            asked = b"".join(_field(2, _digest(each)) for each in digests[start : start + _QUESTION])
            found |= {_text(each, 1) for each in _fields(self._missing(asked), 2)}
        return found

    def write(self, digest: Digest, file: Path) -> None:
        """Send a large file."""
        name = f"uploads/{uuid.uuid4()}/blobs/{digest[0]}/{digest[1]}".encode()

        def messages() -> Iterator[bytes]:
            with file.open("rb") as source:
                offset = 0
                while data := source.read(_MESSAGE):
                    last = offset + len(data) == digest[1]
                    head = _field(1, name) if not offset else b""
                    yield b"".join((head, _number(2, offset), _number(3, last), _field(10, data)))
                    offset += len(data)

        self._write_stream(messages())

    def write_all(self, files: Iterable[tuple[Digest, Path]]) -> None:
        """Send small files together."""
        self._update(
            b"".join(_field(2, _field(1, _digest(each)) + _field(2, f.read_bytes())) for each, f in files)
        )

    def read(self, digest: Digest, file: Path) -> None:
        """Receive a large file and check it."""
        request = _field(1, f"blobs/{digest[0]}/{digest[1]}".encode())
        hashed = hashlib.sha256()
        with file.open("wb") as target:
            for message in self._read_stream(request):
                for data in _fields(message, 10):
                    hashed.update(data)
                    target.write(data)
        _check(hashed.hexdigest(), digest, file)

    def read_all(self, files: dict[Digest, list[Path]]) -> None:
        """Receive small files together and check them."""
        answer = self._read(b"".join(_field(2, _digest(each)) for each in files))
        for each in _fields(answer, 1):
            data = b"".join(_fields(each, 2))
            digest = (hashlib.sha256(data).hexdigest(), len(data))
            for file in files.pop(digest, []):
                file.write_bytes(data)
        if files:
            raise SystemExit(f"{len(files)} files did not come back as they were")


def push(store: Store, listed: Path, place: Path) -> int:
    """Send what is missing of a file or folder; return how many bytes that was."""
    files = [each for each in place.rglob("*") if each.is_file()] if place.is_dir() else [place]
    digests = {file: _digest_of(file) for file in files}
    missing = store.missing(list(digests.values()))
    wanted = [(digest, file) for file, digest in digests.items() if digest[0] in missing]
    for digest, file in wanted:
        if digest[1] > _MESSAGE:
            store.write(digest, file)
    for batch in _batches((digest, file) for digest, file in wanted if digest[1] <= _MESSAGE):
        store.write_all(batch)
    names = {str(file.relative_to(place.parent)): digest for file, digest in digests.items()}
    listed.write_text(json.dumps(names), encoding="utf-8")
    return sum(digest[1] for digest, _ in wanted)


def pull(store: Store, listed: Path, folder: Path) -> int:
    """Receive all files of a list; return how many bytes that was."""
    small: list[tuple[Digest, Path]] = []
    size = 0
    for name, (code, length) in json.loads(listed.read_text(encoding="utf-8")).items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        size += length
        if length > _MESSAGE:
            store.read((code, length), file)
        else:
            small.append(((code, length), file))
    for batch in _batches(small):
        wanted: dict[Digest, list[Path]] = {}
        for digest, file in batch:
            wanted.setdefault(digest, []).append(file)
        store.read_all(wanted)
    return size


def _batches(files: Iterable[tuple[Digest, Path]]) -> Iterator[list[tuple[Digest, Path]]]:
    batch: list[tuple[Digest, Path]] = []
    size = 0
    for digest, file in files:
        if batch and size + digest[1] > _BATCH:
            yield batch
            batch, size = [], 0
        batch.append((digest, file))
        size += digest[1] + 200  # what a digest takes
    if batch:
        yield batch


def _digest_of(file: Path) -> Digest:
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest(), file.stat().st_size


def _check(code: str, digest: Digest, file: Path) -> None:
    if code != digest[0]:
        raise SystemExit(f"{file} came back as {code}, expected {digest[0]}")


# --- the wire format of protobuf ----------------------------------------------------------------------------


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _field(field: int, data: bytes) -> bytes:
    return b"".join((_varint(field << 3 | 2), _varint(len(data)), data))


def _digest(digest: Digest) -> bytes:
    return _field(1, digest[0].encode()) + _number(2, digest[1])


def _fields(message: bytes, wanted: int) -> Iterator[bytes]:
    """Yield the values of one field that has a length."""
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        size, after = _read_varint(message, at)
        if key & 7 == 0:
            at = after
            continue
        at = after + size
        if key >> 3 == wanted:
            yield message[after:at]


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _text(message: bytes, field: int) -> str:
    return b"".join(_fields(message, field)).decode()


if __name__ == "__main__":
    malloc.raise_thresholds()
    with grpc.insecure_channel(sys.argv[2], _OPTIONS) as connected:
        work = push if sys.argv[1] == "push" else pull
        print(work(Store(connected), Path(sys.argv[3]), Path(sys.argv[4])))
