"""The check of a whole manifest before it is committed: its form, its digests, and that every chunk is there.

Chunks are compared in batches of a segment's size, with one query and list operations a batch. What comes out
is all that the commit needs, so that the transaction itself has little to do.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ingot.content import digests, paths
from ingot.server.core import manifests
from ingot.server.core.errors import FieldProblem, Invalid, Precondition, Reason, invalid_field
from ingot.server.core.manifests import FileFacts
from ingot.server.core.names import UploadName
from ingot.server.core.transfer_stores import ChunkStore, SegmentRow, TreeStore
from ingot.server.core.uploads import Upload

_MOST_MISSING = 100_000  # that are counted: a manifest may name gigabytes of digests that nobody has
_BATCH_BYTES = digests.SEGMENT_MAX_ENTRIES * digests.ENTRY_SIZE


@dataclass(frozen=True, slots=True)
class CheckedManifest:
    """What is known of a manifest that was found complete.

    `chunks` are ids of the chunks that the upload leased; `unleased` are the packed digests of those that the
    namespace has by other trees. `late_roots` are (path, root) of files whose root was computed now.
    """

    digest: bytes
    file_count: int
    size_bytes: int
    format: str
    chunks: frozenset[int]
    unleased: bytes
    late_roots: tuple[tuple[str, bytes], ...]


class ManifestCheck:
    """One run of the check over the tree of `upload`; `now` in epoch seconds."""

    def __init__(self, trees: TreeStore, chunks: ChunkStore, upload: Upload, now: float) -> None:
        self._trees = trees
        self._chunks = chunks
        self._upload = upload
        self._now = now
        self._files: list[tuple[str, int, bytes]] = []
        self._late: list[tuple[str, bytes]] = []
        self._sizes: dict[str, int] = defaultdict(int)
        self._leased: set[int] = set()
        self._unleased: set[bytes] = set()
        self._missing: dict[bytes, None] = {}  # in order of first mention
        self._file: FileFacts | None = None  # the one whose segments are being read
        self._expected = self._segments = 0
        self._digests: list[bytes] = []  # of its segments, and
        self._covered = 0  # the bytes they cover: when its root is not known yet
        self._batch: list[bytes] = []
        self._batch_bytes = 0

    def run(self) -> CheckedManifest:
        """Read the whole manifest. Raises Invalid (BAD_PATH, BAD_LENGTH), Precondition (MISSING_CHUNKS)."""
        for row in self._trees.segments(self._upload.tree):
            if self._file is None or self._file.path != row.file.path:
                self._end_file()
                self._file, self._expected = row.file, row.segment_count
            self._take_segment(row)
        self._end_file()
        self._check_batch()
        self._check_missing()
        check_paths([path for path, _, _ in self._files])
        return CheckedManifest(
            digest=digests.tree_digest(self._files),
            file_count=len(self._files),
            size_bytes=sum(size for _, size, _ in self._files),
            format=manifests.main_format(self._sizes),
            chunks=frozenset(self._leased),
            unleased=b"".join(self._unleased),
            late_roots=tuple(self._late),
        )

    def _check_missing(self) -> None:
        if self._missing:
            raise missing_chunks(self._upload.name, len(self._missing), next(iter(self._missing)))

    def _take_segment(self, row: SegmentRow) -> None:
        if row.position < 0:
            return
        if self._batch_bytes + len(row.entries) > _BATCH_BYTES:
            self._check_batch()
        self._batch.append(row.entries)
        self._batch_bytes += len(row.entries)
        self._segments += 1
        if not row.file.root:
            self._digests.append(digests.segment_digest(row.entries))
            self._covered += sum(manifests.lengths_of(row.entries))

    def _end_file(self) -> None:
        """Note the file whose segments have all been seen."""
        file = self._file
        if file is None:
            return
        if self._segments != self._expected:
            raise invalid_field(
                "files.segments",
                f"{file.path!r} has {self._expected} segments, only {self._segments} were put",
                next_step="Put the missing segments, then commit again.",
            )
        root = file.root or self._late_root(file)
        self._files.append((file.path, file.size_bytes, root))
        self._sizes[file.format] += file.size_bytes
        self._file, self._segments, self._covered = None, 0, 0
        self._digests.clear()

    def _late_root(self, file: FileFacts) -> bytes:
        """Return the root of a file whose segments came one after the other."""
        if self._covered != file.size_bytes:
            raise manifests.bad_size(file.path, file.size_bytes)
        root = digests.file_root(file.profile, file.size_bytes, self._digests)
        self._late.append((file.path, root))
        return root

    def _check_batch(self) -> None:
        entries = b"".join(self._batch)
        self._batch, self._batch_bytes = [], 0
        if not entries:
            return
        states = self._chunks.states(entries, self._upload.tree)
        lengths = manifests.lengths_of(entries)
        if all(held for _, _, held in states) and [length for _, length, _ in states] == list(lengths):
            self._leased.update(id_ for id_, _, _ in states if id_ is not None)
            return
        unleased: list[tuple[bytes, int]] = []
        for position, ((id_, length, held), told) in enumerate(zip(states, lengths, strict=True)):
            start = position * digests.ENTRY_SIZE
            digest = entries[start : start + digests.DIGEST_SIZE]
            if id_ is None or length is None or not held:  # alike: what others have must not show
                unleased.append((digest, told))
            elif length != told:
                raise wrong_length(digest, told, length)
            else:
                self._leased.add(id_)
        self._check_unleased(unleased)

    def _check_unleased(self, unleased: Sequence[tuple[bytes, int]]) -> None:
        """Sort what the upload did not lease into what its namespace has anyway and what is missing."""
        packed = b"".join(digest for digest, _ in unleased)
        known = self._chunks.known(packed, self._upload.namespace, self._now)
        visible = {each.position: each.length for each in known if each.visible}
        for position, (digest, told) in enumerate(unleased):
            length = visible.get(position)
            if length is None:
                self._missing[digest] = None
            elif length != told:
                raise wrong_length(digest, told, length)
            else:
                self._unleased.add(digest)
        if len(self._missing) > _MOST_MISSING:
            self._check_missing()


def check_paths(all_paths: Sequence[str]) -> None:
    """Check paths that shall stand in one tree. Raises Invalid (BAD_PATH)."""
    try:
        paths.check_tree(all_paths)
    except paths.PathError as error:
        message = f"files.path: {error.path!r}: {error.rule}."
        raise Invalid(
            Reason.BAD_PATH,
            message,
            next_step="Rename the file and send its manifest anew.",
            facts={"path": error.path},
            fields=(FieldProblem("files.path", message, Reason.BAD_PATH),),
        ) from None


def missing_chunks(name: UploadName, count: int, first: bytes) -> Precondition:
    """Return the error for a manifest that names chunks which the namespace does not have.

    Only the first is named: all details of an error have to fit into 8 KiB, and FindMissing tells the rest.
    """
    return Precondition(
        Reason.MISSING_CHUNKS,
        f"The manifest of {name} names {count} chunks that are not stored.",
        next_step="Ask FindMissing for all digests, send what is missing, and commit again.",
        facts={
            "upload": str(name),
            "missing": str(count),
            "first": digests.format_digest(first),
        },
    )


def wrong_length(digest: bytes, told: int, length: int) -> Invalid:
    """Return the error for a manifest that gives a chunk another length than it has."""
    return Invalid(
        Reason.BAD_LENGTH,
        f"The manifest says that {digests.format_digest(digest)} has {told} bytes; it has {length}.",
        next_step="Cut the file again and send its manifest anew.",
        facts={"digest": digests.format_digest(digest)},
    )
