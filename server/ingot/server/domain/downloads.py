"""How bytes go out: find a tree the caller may read, its files and segments, and where their chunks lie.

Nothing here reads a pack: a read of rows gives `Slice`s, and the stream that sends them reads each from the
packs on a thread for file work. A committed tree never changes, so pages of it read one after the other
agree; one that is deleted meanwhile is noticed, never cut short silently.

A tree gives out only chunks that it holds. The manifest of an open upload may name any digest, so what it
names and never leased is missing there, alike whether somebody else has such a chunk or nobody has.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ingot.content import digests
from ingot.server.core import manifests
from ingot.server.core.errors import (
    DataLoss,
    IngotError,
    NotFound,
    OutOfRange,
    Precondition,
    Reason,
    Unavailable,
    invalid_field,
)
from ingot.server.core.identity import Caller
from ingot.server.core.manifests import FileFacts, Tree
from ingot.server.core.names import CheckpointName, TreeName, UploadName
from ingot.server.core.packs import ChunkPlace
from ingot.server.core.pages import Page, PageTokens, page_size
from ingot.server.core.transfer_stores import ChunkRun, ChunkStore, SegmentRow, TreeStore
from ingot.server.domain.catalog import Catalog
from ingot.server.domain.checkpoints import Checkpoints
from ingot.server.domain.damage import Damage
from ingot.server.domain.manifest_check import wrong_length
from ingot.server.domain.uploads import Uploads
from ingot.server.domain.usage import Usage
from ingot.server.domain.versions import Versions

_PAGE_ROWS = 2000
_PAGE_BYTES = 8 * 1024 * 1024
_BEFORE_FIRST = -2  # a file without segments has one row, at -1
_PER_SEGMENT = digests.SEGMENT_MAX_ENTRIES


@dataclass(frozen=True, slots=True)
class OpenedTree:
    """A tree that the caller may read; `name` is concrete, `artifact_uid` empty unless it is a version."""

    tree: Tree
    name: str
    artifact_uid: str

    @property
    def version(self) -> str:
        """Return the id of the version, empty for other trees."""
        return self.name.rpartition("/versions/")[2] if self.artifact_uid else ""

    @property
    def is_open(self) -> bool:
        """Return whether it is an upload's, whose manifest nobody has checked yet."""
        return not self.tree.digest


@dataclass(frozen=True, slots=True)
class Slice:
    """`length` bytes from `start` of a stored chunk."""

    place: ChunkPlace
    start: int
    length: int

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the chunk."""
        return self.length == self.place.length


@dataclass(frozen=True, slots=True)
class ManifestPage:
    """Some segments in order of path and position; `after` continues, None after the last one."""

    rows: Sequence[SegmentRow]
    after: tuple[str, int] | None


class Downloads:
    """The rules about reading; methods run inside a read, unless they say otherwise."""

    def __init__(
        self,
        versions: Versions,
        checkpoints: Checkpoints,
        uploads: Uploads,
        catalog: Catalog,
        trees: TreeStore,
        chunks: ChunkStore,
        usage: Usage,
        tokens: PageTokens,
        damage: Damage,
    ) -> None:
        self._versions = versions
        self._checkpoints = checkpoints
        self._uploads = uploads
        self._catalog = catalog
        self._trees = trees
        self._chunks = chunks
        self._usage = usage
        self._tokens = tokens
        self._damage = damage

    # --- trees and files --------------------------------------------------------------------------------

    def open(self, caller: Caller, name: TreeName) -> OpenedTree:
        """Return a tree that the caller may read.

        Raises NotFound (ARTIFACT_NOT_FOUND, VERSION_NOT_FOUND, ALIAS_NOT_FOUND, CHECKPOINT_NOT_FOUND,
        UPLOAD_NOT_FOUND).
        """
        if isinstance(name, UploadName):
            upload = self._uploads.find(caller, name)
            return OpenedTree(self._tree(str(upload.name), str(upload.name)), str(upload.name), "")
        if isinstance(name, CheckpointName):
            checkpoint = self._checkpoints.find(caller, name)
            return OpenedTree(self._tree(checkpoint.name, checkpoint.name), checkpoint.name, "")
        version = self._versions.get(caller, name)
        artifact = self._catalog.require_read(caller, version.name.artifact)
        shown = str(version.name)
        return OpenedTree(self._tree(version.uid, shown), shown, artifact.uid)

    def count(self, caller: Caller, opened: OpenedTree, download_id: str) -> None:
        """Count a download once for each id, an access without one; none of operations. Callable anywhere."""
        if not opened.artifact_uid or caller.operation:  # what the server itself does is nobody's use
            return
        if download_id:
            self._usage.downloaded(caller, opened.artifact_uid, download_id, opened.version)
        else:
            self._usage.accessed(caller, opened.artifact_uid)

    def stat(self, caller: Caller, name: TreeName, path: str) -> tuple[FileFacts, str]:
        """Return one file and the concrete name of its tree. Raises as `open`; NotFound (FILE_NOT_FOUND)."""
        opened = self.open(caller, name)
        return self.file(opened, path), opened.name

    def file(self, opened: OpenedTree, path: str) -> FileFacts:
        """Return one file of an opened tree. Raises NotFound (FILE_NOT_FOUND)."""
        found = self._trees.file(opened.tree.id, path)
        if found is None:
            raise _file_not_found(opened.name, path)
        return found

    def files(self, caller: Caller, name: TreeName, size: int, token: str) -> tuple[Page[FileFacts], str]:
        """Return a page of files in byte order of their paths, and the concrete name of the tree.

        Raises as `open`, and Invalid (FIELD_INVALID, PAGE_TOKEN_INVALID).
        """
        wanted = page_size(size)
        opened = self.open(caller, name)
        query = f"ListFiles {opened.tree.id} {opened.name}"
        after = self._tokens.decode(query, token)
        found = self._trees.files(opened.tree.id, str(after[0]) if after else None, wanted + 1)
        more = len(found) > wanted
        found = found[:wanted]
        return Page(tuple(found), self._tokens.encode(query, (found[-1].path,)) if more else ""), opened.name

    def manifest_page(
        self, opened: OpenedTree, after: tuple[str, int] | None, path: str = ""
    ) -> ManifestPage:
        """Return the next segments of an opened tree, or of one file, a bounded number at once.

        Raises NotFound (FILE_NOT_FOUND).
        """
        self._require_still_there(opened)
        if path and after is None:
            self.file(opened, path)
            after = (path, _BEFORE_FIRST)
        rows: list[SegmentRow] = []
        size = 0
        for row in self._trees.segments(opened.tree.id, after):
            if path and row.file.path != path:
                break
            rows.append(row)
            size += len(row.entries)
            if len(rows) >= _PAGE_ROWS or size >= _PAGE_BYTES:
                return ManifestPage(rows, (row.file.path, row.position))
        return ManifestPage(rows, None)

    # --- bytes ------------------------------------------------------------------------------------------

    def range_segments(
        self, opened: OpenedTree, path: str, offset: int, length: int
    ) -> tuple[FileFacts, list[tuple[int, int, int]]]:
        """Return a file and, for each segment that a range touches, (position, start in it, bytes of it).

        `length` 0 reads to the end; a range may reach beyond the end and is cut there.
        Raises NotFound (FILE_NOT_FOUND), OutOfRange (OFFSET_OUT_OF_RANGE), Invalid (FIELD_INVALID).
        """
        for field, value in (("offset", offset), ("length", length)):
            if value < 0:
                raise invalid_field(field, f"expected 0 or more, got {value}")
        self._require_still_there(opened)
        file = self.file(opened, path)
        if offset > file.size_bytes:
            raise OutOfRange(
                Reason.OFFSET_OUT_OF_RANGE,
                f"{path!r} has {file.size_bytes} bytes, the range starts at {offset}.",
                next_step="Ask for a range inside the file; an offset equal to its size gives no bytes.",
                facts={"size": str(file.size_bytes), "offset": str(offset)},
            )
        end = min(file.size_bytes, offset + length) if length else file.size_bytes
        wanted: list[tuple[int, int, int]] = []
        position = 0
        for index, size in enumerate(self._trees.segment_sizes(opened.tree.id, path)):
            first, last = max(offset, position), min(end, position + size)
            if first < last:
                wanted.append((index, first - position, last - first))
            position += size
        return file, wanted

    def range_slices(
        self, opened: OpenedTree, path: str, segment: int, start: int, length: int
    ) -> list[Slice]:
        """Return where the bytes of a range inside one segment lie.

        Raises DataLoss, NotFound; for an open upload Precondition (MISSING_CHUNKS), Invalid (BAD_LENGTH).
        """
        self._require_still_there(opened)
        entries = self._entries(opened, path, segment)
        touched: list[tuple[int, int]] = []  # of each chunk of the range: where it begins, and its length
        first = position = 0
        for index, size in enumerate(manifests.lengths_of(entries)):
            if position >= start + length:
                break
            if position + size > start:
                first = first if touched else index
                touched.append((position, size))
            position += size
        wanted = entries[first * digests.ENTRY_SIZE : (first + len(touched)) * digests.ENTRY_SIZE]
        slices: list[Slice] = []
        for place, (position, size) in zip(self._chunks.places(wanted, opened.tree.id), touched, strict=True):
            begin, end = max(start, position), min(start + length, position + size)
            slices.append(Slice(_present(place, size, opened, path), begin - position, end - begin))
        return slices

    def run_slices(self, opened: OpenedTree, runs: Sequence[ChunkRun]) -> list[Slice]:
        """Return where the chunks of runs lie, each inside one segment, in order; see `cut_runs`.

        Raises NotFound (FILE_NOT_FOUND), OutOfRange (OFFSET_OUT_OF_RANGE), DataLoss; for an open upload
        Precondition (MISSING_CHUNKS), Invalid (BAD_LENGTH).
        """
        self._require_still_there(opened)
        wanted: list[bytes] = []
        for run, found in zip(runs, self._trees.entries(opened.tree.id, runs), strict=True):
            if found is None:
                raise _file_not_found(opened.name, run.path)
            chunk_count, entries = found
            if run.first + run.count > chunk_count:
                raise _chunks_out_of_range(run, chunk_count)
            wanted.append(entries)
        entries = b"".join(wanted)
        places, lengths = self._chunks.places(entries, opened.tree.id), manifests.lengths_of(entries)
        paths = (run.path for run in runs for _ in range(run.count))
        present = [
            _present(place, length, opened, path)
            for place, length, path in zip(places, lengths, paths, strict=True)
        ]
        return [Slice(place, 0, place.length) for place in present]

    def lost(self, place: ChunkPlace) -> None:
        """Note that a chunk could not be read: it counts as missing, the next push heals it. In a write."""
        self._damage.met(place)

    def failed(self, opened: OpenedTree, place: ChunkPlace) -> None:
        """Note, as `lost`, that a chunk of a tree could not be read, unless it is not lost. Inside a write.

        Reads that take long remember where chunks were: since then a pack may have been rewritten or set
        aside and its chunks moved (raises Unavailable), or the tree deleted and collected (NotFound).
        """
        if not self._trees.exists(opened.tree.id):
            raise _gone(opened.name)
        self._damage.met(place)
        if place.digest in self._chunks.stored(place.digest):
            raise _moved(place)

    # --- inside -----------------------------------------------------------------------------------------

    def _tree(self, key: str, shown: str) -> Tree:
        found = self._trees.find(key)
        if found is None:
            raise _gone(shown)
        return found

    def _require_still_there(self, opened: OpenedTree) -> None:
        if not self._trees.exists(opened.tree.id):
            raise _gone(opened.name)

    def _entries(self, opened: OpenedTree, path: str, segment: int) -> bytes:
        entries = self._trees.segment(opened.tree.id, path, segment)
        if entries is None:
            raise _gone(opened.name)
        return entries


def cut_runs(runs: Sequence[ChunkRun]) -> Iterator[list[ChunkRun]]:
    """Cut runs at the edges of segments and yield them in groups of a bounded number of chunks.

    Raises OutOfRange (OFFSET_OUT_OF_RANGE) for a run that starts or counts below zero.
    """
    group: list[ChunkRun] = []
    chunks = 0
    for run in runs:
        if run.first < 0 or run.count < 0:
            raise _chunks_out_of_range(run, 0)
        first, end = run.first, run.first + run.count
        while first < end or run.count == 0:
            count = min(end - first, _PER_SEGMENT - first % _PER_SEGMENT)
            if group and (chunks + count > _PER_SEGMENT or len(group) == _PAGE_ROWS):
                yield group
                group, chunks = [], 0
            group.append(ChunkRun(run.path, first, count))
            chunks += count
            first += count
            if run.count == 0:
                break
    if group:
        yield group


def _chunks_out_of_range(run: ChunkRun, count: int) -> OutOfRange:
    return OutOfRange(
        Reason.OFFSET_OUT_OF_RANGE,
        f"{run.path!r} has {count} chunks, asked were {run.count} from {run.first}.",
        next_step="Ask for chunks that the manifest names.",
        facts={"chunks": str(count), "first": str(run.first), "count": str(run.count)},
    )


def _present(place: ChunkPlace | None, told: int, opened: OpenedTree, path: str) -> ChunkPlace:
    """Return where a chunk lies that the manifest says to have `told` bytes."""
    if place is None:
        raise _not_there(opened, path)
    if place.length != told:
        raise wrong_length(place.digest, told, place.length)
    return place


def _not_there(opened: OpenedTree, path: str) -> IngotError:
    if opened.is_open:
        return Precondition(
            Reason.MISSING_CHUNKS,
            f"The manifest of {opened.name} names chunks of {path!r} that were not sent to it.",
            next_step="Ask FindMissing for all digests of the file, send what is missing, and read it again.",
            facts={"upload": opened.name, "path": path},
        )
    return DataLoss(
        Reason.DATA_LOSS,
        f"A stored chunk of {path!r} is damaged or its pack is missing.",
        next_step="Push the file again: the server then stores a new copy of what is lost.",
        facts={"path": path},
    )


def _file_not_found(tree: str, path: str) -> NotFound:
    return NotFound(
        Reason.FILE_NOT_FOUND,
        f"{tree} has no file {path[:200]!r}.",
        next_step="`ingot ls` shows what it has; paths are compared byte by byte.",
        facts={"tree": tree, "path": path[:200]},
    )


def _moved(place: ChunkPlace) -> Unavailable:
    return Unavailable(
        Reason.BUSY,
        f"The chunk {digests.format_digest(place.digest)} was moved to another pack while it was read.",
        next_step="Read on from where the stream broke off.",
        retry_after=0.1,
    )


def _gone(tree: str) -> NotFound:
    return NotFound(
        Reason.FILE_NOT_FOUND,
        f"The files of {tree} are gone: it was deleted, replaced, or has expired.",
        next_step="Look which versions or checkpoints there are now.",
        facts={"tree": tree},
    )
