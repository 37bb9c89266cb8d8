"""The interfaces through which the rules of transfers reach rows; each docstring is the contract.

All are called inside a unit of work. Digests travel packed (32 bytes each, one after the other), so that a
thousand of them are one argument. A tree *holds* chunks: an open upload those that it leased, a version or a
checkpoint those that its manifest names. Chunks that no tree holds may be collected.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ingot.server.core.contents import FormatShare
from ingot.server.core.manifests import FileDraft, FileFacts, Tree
from ingot.server.core.names import UploadName
from ingot.server.core.packs import ChunkPlace, PackId, SealedPack
from ingot.server.core.uploads import Upload, UploadStage, UploadState


@dataclass(frozen=True, slots=True)
class KnownChunk:
    """A chunk of the index that was asked for: `position` in the question, `id` in the index."""

    position: int
    id: int
    length: int
    visible: bool  # whether a living tree of the namespace holds it


@dataclass(frozen=True, slots=True)
class ChunkOwner:
    """An artifact with a ready version that holds a chunk; `approved` when that version is."""

    artifact_uid: str
    approved: bool


@dataclass(frozen=True, slots=True)
class PackSummary:
    """A pack as the index knows it; `missing` when it was not on the shelf at the last start.

    A condemned one is not needed any more: it may be on the shelf or not.
    """

    id: PackId
    missing: bool
    condemned: bool = False


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """A segment and its file; of `segment_count` segments. `position` is -1 for a file without any."""

    file: FileFacts
    segment_count: int
    position: int
    entries: bytes


@dataclass(frozen=True, slots=True)
class ChunkRun:
    """`count` chunks of one file from index `first`."""

    path: str
    first: int
    count: int


ChunkState = tuple[
    int | None, int | None, bool
]  # id, length, whether the tree holds it; None when not stored


class ChunkStore(Protocol):
    """The index: which chunk lies where, and which tree holds it. Lost chunks are as good as unknown ones."""

    def known(self, packed: bytes, namespace: str, now: float) -> Sequence[KnownChunk]:
        """Return those of the packed digests that are stored, in the order asked; repeated ones repeat."""
        ...

    def stored(self, packed: bytes) -> frozenset[bytes]:
        """Return those of the packed digests that are stored, whoever brought them."""
        ...

    def owners(self, chunks: Collection[int]) -> Mapping[int, Collection[ChunkOwner]]:
        """Return for each chunk what has ready versions that hold it, each at most once.

        What is in the trash, and versions that are not ready, give nothing to anybody.
        """
        ...

    def hold(self, tree: int, chunks: Collection[int]) -> Collection[int]:
        """Make the tree hold these chunks (ids); return those that it did not hold before."""
        ...

    def states(self, entries: bytes, tree: int) -> Sequence[ChunkState]:
        """Return one state for every entry of a packed segment, in order."""
        ...

    def held(self, tree: int) -> int:
        """Return how many chunks the tree holds."""
        ...

    def hold_only(self, tree: int, chunks: Collection[int]) -> None:
        """Let the tree give up all chunks but these (ids)."""
        ...

    def add_pack(self, pack: SealedPack, now: float, *, found: bool = False) -> None:
        """Enter a sealed pack and its chunks. A known chunk stays where it is, a lost one is found again.

        One that was `found` on the shelf is spared by collection for a while: the rows that need it may come
        back. Entering a pack twice changes nothing.
        """
        ...

    def packs(self) -> Iterator[PackSummary]:
        """Return all packs of the index."""
        ...

    def mark_packs(self, packs: Collection[PackId], *, missing: bool) -> int:
        """Note that packs vanished from the shelf, or are back; return how many chunks that affects."""
        ...

    def lose(self, digest: bytes, pack: PackId) -> bool:
        """Note that the chunk in this pack is damaged; False when the index knows it elsewhere by now."""
        ...

    def lost(self) -> int:
        """Return how many chunks are lost."""
        ...

    def lost_in(self, pack: PackId) -> Sequence[ChunkPlace]:
        """Return where the lost chunks of a pack should lie."""
        ...

    def places(self, entries: bytes, tree: int) -> Sequence[ChunkPlace | None]:
        """Return where the chunks of packed segment entries lie, in order.

        None for those that are lost, and for those that the tree does not hold, whoever else has them.
        """
        ...


KeyedUpload = tuple[int, Upload]  # with the key that the next page continues after


class UploadStore(Protocol):
    """Uploads. Closed ones stay for a while, so that a repeated call finds its answer."""

    def add(self, upload: Upload) -> None:
        """Add an upload; its name must be new."""
        ...

    def find(self, name: UploadName) -> Upload | None:
        """Return the upload of this name."""
        ...

    def save(self, upload: Upload, expected: UploadState) -> bool:
        """Store what may change, if the stored state is `expected`; False, and no change, otherwise."""
        ...

    def count_received(self, name: UploadName, size: int) -> None:
        """Add bytes that travelled for an upload, in whatever state it is."""
        ...

    def count_open(self, creator: str) -> int:
        """Return how many uploads of this principal are open or sealing."""
        ...

    def page(
        self,
        namespaces: Collection[str] | None,
        creator: str | None,
        stage: UploadStage | None,
        after: int | None,
        size: int,
    ) -> Sequence[KeyedUpload]:
        """Return up to `size` uploads, newest first, each with its key; they start after the key `after`.

        Narrowed to namespaces (None: all), to a creator (None: any) and to a stage (None: any).
        """
        ...

    def due(self, now: float, size: int) -> Sequence[Upload]:
        """Return up to `size` uploads whose time is up and that still have a tree: open or failed ones."""
        ...

    def in_state(self, state: UploadState) -> Sequence[Upload]:
        """Return all uploads in this state; meant for states that few are in."""
        ...

    def failed(self, before: float, creator: str | None, size: int) -> Sequence[Upload]:
        """Return up to `size` uploads in the stage FAILED that last changed before that time, oldest first.

        Narrowed to a creator (None: any).
        """
        ...

    def surplus(self, creator: str, keep: int, size: int) -> Sequence[Upload]:
        """Return up to `size` uploads of a creator that ended without a result, but not its newest `keep`."""
        ...

    def remove(self, name: UploadName) -> None:
        """Drop an upload, in whatever state it is; its tree stays."""
        ...

    def forget(self, before: float, size: int) -> Sequence[Upload]:
        """Drop up to `size` uploads in the stage FRESH that last changed before that time; return them."""
        ...


class TreeStore(Protocol):
    """Trees, their files and segments. Files are kept and listed in byte order of their paths."""

    def add(self, name: str, namespace: str, now: float, expires: float) -> int:
        """Add the tree of an upload, which holds its chunks until `expires`; return its id."""
        ...

    def renew(self, tree: int, expires: float) -> None:
        """Let the tree of an upload hold its chunks until `expires`; other trees hold theirs for ever."""
        ...

    def put_files(self, tree: int, files: Sequence[FileDraft]) -> None:
        """Put files with different paths, whole or in part.

        A whole file replaces what was there. A partial one adds to what was there if profile, size and
        number of segments are equal, and replaces it otherwise. Raises Conflict (SEGMENT_CONFLICT) for a
        segment that is there with other content.
        """
        ...

    def clear(self, tree: int) -> None:
        """Forget all files of a tree; what it holds stays."""
        ...

    def clear_some(self, tree: int) -> bool:
        """Forget as many files of a tree as one write should; return whether some may be left.

        Call it until it says no. A manifest may have gigabytes, and everybody's writes wait for this one.
        """
        ...

    def totals(self, tree: int) -> tuple[int, int, int]:
        """Return the number of files, their size in bytes, and the number of their chunks."""
        ...

    def segments(self, tree: int, after: tuple[str, int] | None = None) -> Iterator[SegmentRow]:
        """Yield all segments in order of path and position, from behind `after`, one by one.

        A file without segments is one row, too. Stop whenever you like; it reads no further than you ask.
        """
        ...

    def entries(self, tree: int, runs: Sequence[ChunkRun]) -> Sequence[tuple[int, bytes] | None]:
        """Return for each run the number of chunks of its file and the packed entries; None without the file.

        A run lies inside one segment. Entries that the file does not have are left out.
        """
        ...

    def adopt(
        self, tree: int, name: str, artifact: str, digest: bytes, roots: Sequence[tuple[str, bytes]]
    ) -> None:
        """Give the tree of an upload to what it became: from now on it has that name and never expires.

        `artifact` is the name of the artifact whose readers may read it, empty for a checkpoint; `roots` are
        (path, file root) of the files that had no root yet.
        """
        ...

    def drop(self, tree: int) -> None:
        """Drop a tree with its files and everything it holds."""
        ...

    def abandon(self, tree: int) -> None:
        """Take a tree from what it belonged to: it is found no more, and may be dropped bit by bit."""
        ...

    def abandoned(self) -> int | None:
        """Return a tree that was abandoned and not dropped yet."""
        ...

    def find(self, name: str) -> Tree | None:
        """Return the tree that belongs to this uid of a version, or name of a checkpoint or upload."""
        ...

    def exists(self, tree: int) -> bool:
        """Return whether the tree is there, and was not abandoned."""
        ...

    def file(self, tree: int, path: str) -> FileFacts | None:
        """Return one file."""
        ...

    def files(self, tree: int, after: str | None, size: int) -> Sequence[FileFacts]:
        """Return up to `size` files whose paths sort after `after`."""
        ...

    def formats(self, tree: int) -> Sequence[FormatShare]:
        """Return how many files and bytes of each format there are, the largest first."""
        ...

    def segment(self, tree: int, path: str, position: int) -> bytes | None:
        """Return the packed entries of one segment."""
        ...

    def segment_sizes(self, tree: int, path: str) -> Sequence[int]:
        """Return the bytes of the file that each of its segments covers, in order."""
        ...
