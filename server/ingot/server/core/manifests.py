"""Manifests: the files of a tree as ordered lists of chunks, and the rules they keep.

A file comes as segments: runs of packed entries (32-byte digest, u32 little-endian length), 16,384 in each
but the last. Entries stay packed from the wire to the row and back; lengths are summed by the array module,
so no rule here loops over chunks in Python.
"""

import array
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ingot.content import cuts, digests
from ingot.content.texts import shortened
from ingot.server.core import texts
from ingot.server.core.errors import FieldProblem, Invalid, Reason, invalid_field
from ingot.server.core.packs import MAX_CHUNK_SIZE

MAX_FILE_BYTES = 4 * 1024**4
FILE_COST = 400  # bytes of rows that a file of a manifest takes, without its path and its entries
_WORDS = digests.ENTRY_SIZE // 4  # an entry is nine 32-bit words, its length the last
_LENGTH_WORD = _WORDS - 1
_HEX = frozenset("0123456789abcdef")

# What the end of a file's name says about its format.
_FORMATS = {
    name: name
    for name in (
        *(
            "safetensors",
            "gguf",
            "onnx",
            "joblib",
            "pkl",
            "h5",
            "keras",
            "pth",
            "pt",
            "ckpt",
            "bin",
            "npz",
            "npy",
        ),
        *("jsonl", "json", "csv", "tsv", "parquet", "arrow", "txt", "md", "yaml", "toml", "xml"),
        *("wav", "mp3", "flac", "png", "zip", "tar", "gz", "zst"),
    )
} | {
    "ndjson": "jsonl",
    "yml": "yaml",
    "hdf5": "h5",
    "pickle": "pkl",
    "text": "txt",
    "jpg": "jpeg",
    "jpeg": "jpeg",
}
_NOTES = frozenset(
    {"md", "txt", "json", "yaml", "toml"}
)  # next to weights or records these are never the main thing


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of chunks of one file: `position` from 0, `entries` packed."""

    position: int
    entries: bytes

    @property
    def chunk_count(self) -> int:
        """Return the number of its chunks."""
        return len(self.entries) // digests.ENTRY_SIZE

    @property
    def size_bytes(self) -> int:
        """Return the bytes of the file that it covers."""
        return sum(lengths_of(self.entries))


@dataclass(frozen=True, slots=True)
class FileDraft:
    """A file as its sender describes it, with all or some of its segments."""

    path: str
    profile: str
    size_bytes: int
    segment_count: int
    segments: tuple[Segment, ...]
    blake3: str = ""
    sha256: str = ""
    format: str = ""
    root: bytes = b""  # once it was computed from all segments
    verified: bool = False  # the server has read the whole file; both digests are its own

    @property
    def chunk_count(self) -> int:
        """Return the number of the chunks that came along."""
        return sum(each.chunk_count for each in self.segments)

    @property
    def cost(self) -> int:
        """Return the bytes of rows that it takes as it came."""
        return FILE_COST + 2 * len(self.path.encode()) + digests.ENTRY_SIZE * self.chunk_count

    @property
    def is_whole(self) -> bool:
        """Return whether all its segments came along."""
        return len(self.segments) == self.segment_count


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file of a tree. `root` is empty while the tree is an open upload. Sizes in bytes."""

    path: str
    profile: str
    size_bytes: int
    chunk_count: int
    root: bytes
    blake3: str = ""
    sha256: str = ""
    verified: bool = False
    format: str = ""


@dataclass(frozen=True, slots=True)
class Tree:
    """What owns a manifest. `name` is its concrete resource name; `digest` is empty for an open upload."""

    id: int
    name: str
    namespace: str
    digest: bytes
    file_count: int
    size_bytes: int


def lengths_of(entries: bytes) -> Sequence[int]:
    """Return the chunk lengths of packed entries, in order."""
    words = array.array("I", entries)
    if sys.byteorder == "big":
        words.byteswap()
    return words[_LENGTH_WORD::_WORDS]


def with_root(file: FileDraft) -> FileDraft:
    """Return the file with its segments in order, its root if all are there, and its format."""
    segments = tuple(sorted(file.segments, key=lambda segment: segment.position))
    whole = [segment.entries for segment in segments] if file.is_whole else None
    root = b"" if whole is None else root_of(file.profile, file.size_bytes, whole)
    return dataclasses.replace(file, segments=segments, root=root, format=file.format or format_of(file.path))


def root_of(profile: str, size: int, segments: Sequence[bytes]) -> bytes:
    """Return the root of a file from its packed segments, in order."""
    return digests.file_root(profile, size, [digests.segment_digest(entries) for entries in segments])


def format_of(path: str) -> str:
    """Return the format that a file's name tells, in lower case; empty when it tells none."""
    suffix = path.rpartition("/")[2].rpartition(".")[2].lower()
    return _FORMATS.get(suffix, "")


def main_format(sizes: Mapping[str, int]) -> str:
    """Return the format that most bytes of a tree have, from the bytes of each; notes come last."""
    known = [(name not in _NOTES, size, name) for name, size in sizes.items() if name]
    return max(known)[2] if known else ""


def check_file(file: FileDraft, field: str) -> None:
    """Check the form of one file; `field` is its place in the request. Raises Invalid."""
    if file.profile not in cuts.PROFILES:
        raise _bad(field, "profile", f"expected one of {', '.join(cuts.PROFILES)}, got {file.profile!r}")
    if not 0 <= file.size_bytes <= MAX_FILE_BYTES:
        raise _bad(field, "size_bytes", f"expected 0 to {MAX_FILE_BYTES}, got {file.size_bytes}")
    if file.segment_count < 0 or (file.segment_count == 0) != (file.size_bytes == 0):
        raise _bad(field, "segment_count", f"got {file.segment_count} for {file.size_bytes} bytes")
    check_told(field, file.blake3, file.sha256, file.format)
    seen: set[int] = set()
    for segment in file.segments:
        if not 0 <= segment.position < file.segment_count or segment.position in seen:
            raise _bad(
                field,
                "segments.index",
                f"expected each of 0 to {file.segment_count - 1} once, got {segment.position}",
            )
        seen.add(segment.position)
        _check_segment(file, segment, field)
    if (
        file.is_whole
        and sum(sum(lengths_of(segment.entries)) for segment in file.segments) != file.size_bytes
    ):
        raise bad_size(file.path, file.size_bytes, field)


def check_told(field: str, blake3: str, sha256: str, format_: str) -> None:
    """Check the form of what a sender says of a whole file; others are shown it. Raises Invalid."""
    if blake3:
        try:
            digests.parse_digest(blake3)
        except ValueError as error:
            raise invalid_field(f"{field}.blake3", shortened(str(error))) from None
    if sha256 and (len(sha256) != 64 or not set(sha256) <= _HEX):
        raise invalid_field(f"{field}.sha256", f"expected 64 lower-case hex digits, got {sha256[:80]!r}")
    if format_ and texts.word(f"{field}.format", format_) != format_:
        raise invalid_field(f"{field}.format", f"expected small letters, got {format_!r}")


def _check_segment(file: FileDraft, segment: Segment, field: str) -> None:
    count, rest = divmod(len(segment.entries), digests.ENTRY_SIZE)
    last = segment.position == file.segment_count - 1
    full = count == digests.SEGMENT_MAX_ENTRIES
    if rest or not 0 < count <= digests.SEGMENT_MAX_ENTRIES or not (last or full):
        raise _bad(
            field,
            "segments.entries",
            f"expected 36 bytes a chunk, {digests.SEGMENT_MAX_ENTRIES} chunks in every segment but the last, "
            f"got {len(segment.entries)} bytes in segment {segment.position} of {file.segment_count}",
        )
    lengths = lengths_of(segment.entries)
    if min(lengths) < 1 or max(lengths) > MAX_CHUNK_SIZE:
        raise _bad(field, "segments.entries", f"a chunk has from 1 to {MAX_CHUNK_SIZE} bytes")


def bad_size(path: str, size: int, field: str = "files") -> Invalid:
    """Return the error for a file whose chunks do not sum up to its size."""
    return _bad(field, "size_bytes", f"the chunks of {path!r} do not add up to {size} bytes")


def _bad(field: str, part: str, message: str) -> Invalid:
    reason = Reason.FIELD_INVALID if part in ("profile", "segment_count") else Reason.BAD_LENGTH
    text = f"{field}.{part}: {message}."
    return Invalid(
        reason,
        text,
        next_step="Cut the file again and send its manifest anew.",
        facts={"field": f"{field}.{part}"},
        fields=(FieldProblem(f"{field}.{part}", text, reason),),
    )
