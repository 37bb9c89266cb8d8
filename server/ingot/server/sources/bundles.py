"""Bundles: one signed tar file with a manifest, segments and chunks, each chunk once.

    ingot-bundle.json    digest of the manifest, public key, signature
    manifest.json        artifacts, versions, files (`bundle_manifest.py`)
    segments/<hex>       packed lists of chunks, in the order in which the manifest first names them
    chunks/<hex>         bytes, in the order in which the segments first name them

Entry headers hold name and size and nothing else, so the place of every byte follows from manifest and
segments. A writer may put chunks there in any order and go on after a kill; a reader compares every header
with the one that belongs there, so that nothing can be swapped, added or left out. docs/bundle-format.md.
"""

import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ingot.content import digests
from ingot.content.texts import shortened
from ingot.server.core.errors import Denied, Invalid, Reason
from ingot.server.core.packs import MAX_CHUNK_SIZE
from ingot.server.sources import signing
from ingot.server.sources.bundle_manifest import (
    BundleManifest,
    Digest,
    canonical,
    damaged,
    has_too_many_values,
    parse_manifest,
)
from ingot.server.sources.signing import SigningKey

_BLOCK = 512
_END = 2 * _BLOCK  # zeros that close a tar file
_SIGNED = b"ingot bundle 1\n"  # in front of the manifest's digest
_HEADER, _MANIFEST, _SEGMENTS, _CHUNKS = "ingot-bundle.json", "manifest.json", "segments/", "chunks/"
_MOST_HEADER = 4096
MOST_MANIFEST = 128 * 1024 * 1024  # some 900,000 files; reading it takes ten times as much memory
_MOST_SEGMENT = digests.SEGMENT_MAX_ENTRIES * digests.ENTRY_SIZE


class BundleHeader(BaseModel):
    """The first entry: who vouches for which manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    manifest: Digest
    manifest_bytes: int = Field(gt=0, le=MOST_MANIFEST)
    signer: str = Field(pattern=r"^ed25519:[0-9a-f]{64}$")
    signature: str = Field(pattern=r"^[0-9a-f]{128}$")


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the bytes of something lie in a bundle."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A bundle that is about to be written: its front, and the place of every chunk behind it."""

    front: bytes
    chunks: dict[bytes, Placed]
    size: int

    @property
    def chunk_bytes(self) -> int:
        """Bytes of all chunks."""
        return sum(each.length for each in self.chunks.values())

    def entry(self, digest: bytes, data: bytes | memoryview) -> tuple[int, bytes]:
        """Return where the entry of a chunk begins, and its bytes with header and padding."""
        placed = self.chunks[digest]
        header = entry_header(_CHUNKS + digest.hex(), placed.length)
        return placed.offset - _BLOCK, header + bytes(data) + bytes(_padding(placed.length))


def plan(manifest: BundleManifest, segments: dict[str, bytes], key: SigningKey) -> Plan:
    """Return how the bundle of a manifest looks; `segments` holds the bytes of all it names.

    Raises Invalid (TOO_LARGE).
    """
    body = manifest.encoded()
    if len(body) > MOST_MANIFEST:
        raise Invalid(
            Reason.TOO_LARGE,
            f"What the bundle says takes {len(body)} bytes; expected at most {MOST_MANIFEST}.",
            next_step="Export fewer versions at once.",
        )
    if has_too_many_values(body):
        raise Invalid(
            Reason.TOO_LARGE,
            "The metadata and metrics of these versions hold more numbers and texts than a bundle may.",
            next_step="Export fewer versions at once, or shorten their metadata.",
        )
    digest = digests.digest_of(body)
    header = BundleHeader(
        manifest=digests.format_digest(digest),
        manifest_bytes=len(body),
        signer=key.name,
        signature=key.sign(_SIGNED + digest).hex(),
    )
    front = bytearray(_entry(_HEADER, canonical(header.model_dump())) + _entry(_MANIFEST, body))
    lengths: dict[bytes, int] = {}
    for name in manifest.segments():
        front += _entry(_SEGMENTS + name, segments[name])
        for chunk, length in digests.segment_entries(segments[name]):
            lengths.setdefault(chunk, length)
    chunks, end = _placed(lengths, len(front))
    return Plan(bytes(front), chunks, end + _END)


class Bundle:
    """A bundle that is read. Its manifest is trusted only after `open`, its bytes only after `verify`."""

    def __init__(
        self, file: int, path: Path, header: BundleHeader, manifest: BundleManifest, at: int
    ) -> None:
        self._file = file
        self.path = path
        self.signer = header.signer
        self.digest = header.manifest
        self.manifest = manifest
        self._at = at  # where the segments begin
        self.size = os.fstat(file).st_size
        self.segments: dict[str, bytes] = {}
        self.chunks: dict[bytes, Placed] = {}

    @classmethod
    def open(cls, path: Path, trusted: frozenset[str]) -> "Bundle":
        """Open a bundle that one of the trusted keys has signed.

        Raises Invalid (SOURCE_NOT_FOUND, SOURCE_MISMATCH, BAD_PATH), Denied (SOURCE_DENIED).
        """
        file = _opened(path)
        try:
            header, after = _read_header(file)
            if header.signer not in trusted:
                raise _untrusted(header.signer)
            body, after = _read_entry(file, after, _MANIFEST, header.manifest_bytes)
            digest = digests.digest_of(body)
            signed = signing.has_signed(header.signer, bytes.fromhex(header.signature), _SIGNED + digest)
            if digests.format_digest(digest) != header.manifest or not signed:
                raise damaged("its manifest is not the one that was signed")
            return cls(file, path, header, parse_manifest(body), after)
        except BaseException:
            os.close(file)
            raise

    def verify(self, progress: Callable[[int, int], None]) -> None:
        """Read everything and compare it with its digests; `progress` gets bytes done and in all.

        Raises Invalid (SOURCE_MISMATCH).
        """
        lengths: dict[bytes, int] = {}
        at = self._at
        sizes = self._segment_sizes()
        for name, size in sizes.items():
            data, at = _read_entry(self._file, at, _SEGMENTS + name, size)
            if digests.segment_digest(data).hex() != name:
                raise damaged(f"the segment {name} has other bytes than its digest says")
            for chunk, length in digests.segment_entries(data):
                if length > MAX_CHUNK_SIZE or lengths.setdefault(chunk, length) != length:
                    raise damaged(f"the chunk {chunk.hex()} has an impossible length, {length}")
            self.segments[name] = data
        self._check_sizes()
        self.chunks, end = _placed(lengths, at)
        if end + _END != self.size:
            raise damaged(f"it has {self.size} bytes; its manifest makes {end + _END}")
        done, total = 0, sum(lengths.values())
        for digest, placed in self.chunks.items():
            data, _ = _read_entry(self._file, placed.offset - _BLOCK, _CHUNKS + digest.hex(), placed.length)
            if digests.chunk_digest(data) != digest:
                raise damaged(f"the chunk {digest.hex()} has other bytes than its digest says")
            done += placed.length
            progress(done, total)
        if _read(self._file, end, _END) != bytes(_END):
            raise damaged("something else stands at its end")

    def entries(self, names: list[str]) -> bytes:
        """Return the packed chunks of a file from the digests of its segments, after `verify`."""
        return b"".join(self.segments[name] for name in names)

    def locate(self, digest: bytes) -> int:
        """Return the offset of a chunk's bytes, after `verify`."""
        return self.chunks[digest].offset

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def __enter__(self) -> "Bundle":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _segment_sizes(self) -> dict[str, int]:
        """Read the headers of all segments and return their sizes, in order."""
        sizes: dict[str, int] = {}
        at = self._at
        for name in self.manifest.segments():
            size = _size_in(_read(self._file, at, _BLOCK), _SEGMENTS + name)
            if not 0 < size <= _MOST_SEGMENT or size % digests.ENTRY_SIZE:
                raise damaged(f"the segment {name} has an impossible size, {size}")
            sizes[name] = size
            at += _BLOCK + size + _padding(size)
        return sizes

    def _check_sizes(self) -> None:
        sums = {
            name: sum(length for _, length in digests.segment_entries(data))
            for name, data in self.segments.items()
        }
        for artifact in self.manifest.artifacts:
            for version in artifact.versions:
                for file in version.files:
                    size = sum(sums[name] for name in file.segments)
                    if size != file.size:
                        path = shortened(file.path)
                        raise damaged(f"{path!r} of {version.name} has {size} bytes; it says {file.size}")


def signed_by(path: Path) -> str:
    """Return the public key that a file names if it begins like a bundle, else ""; nothing is verified."""
    try:
        file = _opened(path)
    except Invalid:
        return ""
    try:
        return _read_header(file)[0].signer
    except Invalid:
        return ""
    finally:
        os.close(file)


def _opened(path: Path) -> int:
    """Open a file, not a link, a folder or a device. Raises Invalid (SOURCE_NOT_FOUND)."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        if stat.S_ISREG(os.fstat(file).st_mode):
            return file
        os.close(file)
        why = "it is no file"
    except OSError as error:
        why = os.strerror(error.errno or 0)
    raise Invalid(
        Reason.SOURCE_NOT_FOUND,
        f"The bundle {path} cannot be read: {why}.",
        next_step="Check the path and its permissions on the server.",
        facts={"path": str(path)},
    )


def entry_header(name: str, size: int) -> bytes:
    """Return the one header that an entry of this name and size may have."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT)


def _entry(name: str, data: bytes) -> bytes:
    return entry_header(name, len(data)) + data + bytes(_padding(len(data)))


def _placed(lengths: dict[bytes, int], start: int) -> tuple[dict[bytes, Placed], int]:
    """Return the place of each chunk, and where their entries end."""
    placed: dict[bytes, Placed] = {}
    for digest, length in lengths.items():
        placed[digest] = Placed(start + _BLOCK, length)
        start += _BLOCK + length + _padding(length)
    return placed, start


def _padding(size: int) -> int:
    return -size % _BLOCK


def _read_header(file: int) -> tuple[BundleHeader, int]:
    block = _read(file, 0, _BLOCK)
    size = _size_in(block, _HEADER)
    if not 0 < size <= _MOST_HEADER:
        raise damaged(f"its header has {size} bytes")
    data, after = _read_entry(file, 0, _HEADER, size)
    try:
        return BundleHeader.model_validate_json(data), after
    except ValidationError:
        raise damaged("its header is malformed") from None


def _read_entry(file: int, at: int, name: str, size: int) -> tuple[bytes, int]:
    """Return the bytes of the entry that belongs at a place, and where the next begins."""
    whole = _read(file, at, _BLOCK + size + _padding(size))
    if whole[:_BLOCK] != entry_header(name, size) or whole[_BLOCK + size :] != bytes(_padding(size)):
        raise damaged(f"at byte {at} something else stands than {name} with {size} bytes")
    return whole[_BLOCK : _BLOCK + size], at + len(whole)


def _size_in(block: bytes, name: str) -> int:
    """Return the size in the header of an entry that must have this name."""
    try:
        info = tarfile.TarInfo.frombuf(block, "ascii", "strict")
    except (tarfile.HeaderError, ValueError):
        raise damaged(f"it has no {name} where that belongs; perhaps it is no bundle") from None
    if info.name != name:
        raise damaged(f"it has {info.name[:100]!r} where {name} belongs")
    return info.size


def _read(file: int, at: int, size: int) -> bytes:
    """Return exactly these bytes. Raises Invalid (SOURCE_MISMATCH) when the file ends before."""
    return b"".join(_pieces(file, at, size))


def _pieces(file: int, at: int, size: int) -> Iterator[bytes]:
    while size:
        data = os.pread(file, min(size, 8 * 1024 * 1024), at)
        if not data:
            raise damaged(f"it ends at byte {at}, too early")
        yield data
        at, size = at + len(data), size - len(data)


def _untrusted(signer: str) -> Denied:
    return Denied(
        Reason.SOURCE_DENIED,
        f"The bundle is signed by {signer}, which this server does not trust.",
        next_step="Ask who made it for their public key. If it is this one, name it as the signer of the "
        "import, or add it to the setting trusted_bundle_keys.",
        facts={"signer": signer},
    )
