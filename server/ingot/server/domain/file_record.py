"""What is remembered of a file while it comes in: 36 bytes a chunk, beyond 2 MiB in a file without a name.

So a file of any size takes the same memory. At the end it is read back as segments.
"""

import tempfile
from collections.abc import Iterator, Sequence

from ingot.content import digests
from ingot.server.core.manifests import FileDraft, FileFacts, Segment

_SPOOLED = 2 * 1024 * 1024
_SEGMENT_BYTES = digests.SEGMENT_MAX_ENTRIES * digests.ENTRY_SIZE


class FileRecord:
    """The chunks of one file in order. Close it at the end."""

    def __init__(self, path: str, format_: str) -> None:
        self.size = 0
        self.chunk_count = 0
        self._path = path
        self._format = format_
        self._entries = tempfile.SpooledTemporaryFile(_SPOOLED, prefix="ingot-file-")  # noqa: SIM115

    def add(self, entries: Sequence[tuple[bytes, int]]) -> None:
        """Note the next chunks, at most a segment of them, by digest and length."""
        self._entries.seek(self.chunk_count * digests.ENTRY_SIZE)
        self._entries.write(digests.segment_bytes(entries))
        self.chunk_count += len(entries)
        self.size += sum(length for _, length in entries)

    def facts(self, profile: str, blake3: str, sha256: str) -> FileFacts:
        """Return the whole file with its root; the digests are those of all its bytes."""
        hashed = (digests.segment_digest(self._segment(at)) for at in range(self._count))
        return FileFacts(
            path=self._path,
            profile=profile,
            size_bytes=self.size,
            chunk_count=self.chunk_count,
            root=digests.file_root(profile, self.size, hashed),
            blake3=blake3,
            sha256=sha256,
            verified=True,
            format=self._format,
        )

    def drafts(self, facts: FileFacts, segments: int) -> Iterator[FileDraft]:
        """Yield the file as a manifest names it, in turns of so many segments.

        If there are several, the first is an empty file, so that they replace whatever has that path.
        """
        if self._count > segments:
            yield _draft(facts, 0, 0, ())
        for start in range(0, max(self._count, 1), segments):
            some = range(start, min(start + segments, self._count))
            parts = tuple(Segment(at, self._segment(at)) for at in some)
            yield _draft(facts, self.size, self._count, parts)

    def close(self) -> None:
        """Forget everything."""
        self._entries.close()

    @property
    def _count(self) -> int:
        return -(-self.chunk_count // digests.SEGMENT_MAX_ENTRIES)

    def _segment(self, at: int) -> bytes:
        self._entries.seek(at * _SEGMENT_BYTES)
        return self._entries.read(_SEGMENT_BYTES)


def _draft(facts: FileFacts, size: int, count: int, segments: tuple[Segment, ...]) -> FileDraft:
    return FileDraft(
        path=facts.path,
        profile=facts.profile,
        size_bytes=size,
        segment_count=count,
        segments=segments,
        blake3=facts.blake3,
        sha256=facts.sha256,
        format=facts.format,
        verified=True,
    )
