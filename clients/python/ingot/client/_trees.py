"""Trees chunk by chunk, for programs that keep chunks in a form of their own, such as a bundle.

    manifest = client.trees.manifest("models/tiny@3")
    client.trees.fetch(manifest, wanted=lambda digest: digest not in mine, store=put)
    client.trees.push(new_version, "tiny.bundle", files, locate=place_of)

Cuts stay as they are, so that a tree that is pushed again elsewhere has the digest it had.
"""

import os
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from ingot.client import _fetch, _push
from ingot.client._calls import Calls
from ingot.client._channels import Link
from ingot.client._cutting import CutFile, Found
from ingot.client._fetch import Fetcher
from ingot.client._journal import ENTRY, Cut, FileState
from ingot.client._manifest import Manifest, TreeFile, read_manifest
from ingot.client._names import AnyName, Names
from ingot.client._progress import OnProgress, Reporter, Stage
from ingot.client._push import PushOptions, PushResult
from ingot.client._streams import ChunkSource
from ingot.client._walk import SourceFile
from ingot.v1 import transfer_pb2 as pb

_RUN_CHUNKS = 256


@dataclass(frozen=True, slots=True)
class PlacedFile:
    """A file whose chunks are known: `entries` are packed (digest, length) pairs, as in segments."""

    path: str  # in the tree
    size: int
    entries: bytes
    profile: str


@dataclass(frozen=True, slots=True)
class _Placed(CutFile):
    """A file whose chunks lie anywhere in one source."""

    locate: Callable[[bytes], int] | None = None

    def sources(self) -> Generator[ChunkSource, None, None]:
        """Yield its chunks with where to read them."""
        assert self.locate is not None
        for _, length, digest in self.cut.chunks():
            yield ChunkSource(self.file.source, self.locate(digest), length, digest)


class Trees:
    """Manifests and chunks of trees; safe to use from several threads."""

    def __init__(self, link: Link, calls: Calls, names: Names) -> None:
        self._link, self._calls, self._names = link, calls, names

    def manifest(self, tree: AnyName) -> Manifest:
        """Return the files of a tree with their chunks; everything that can be computed is checked."""
        return read_manifest(self._link, self._calls, self._names.tree(tree))

    def fetch(
        self,
        manifest: Manifest,
        *,
        wanted: Callable[[bytes], bool],
        store: Callable[[bytes, memoryview], None],
        on_progress: OnProgress | None = None,
    ) -> None:
        """Bring chunks of a tree and hand each, verified, to `store` with its digest.

        `wanted` is asked once for every place of a chunk, in order; `store` is called from several threads.
        """
        report = Reporter(on_progress)

        def take(file: TreeFile, first: int, count: int, parts: Sequence[memoryview]) -> None:
            data = parts[0] if len(parts) == 1 else memoryview(b"".join(parts))
            at = 0
            for digest, length in ENTRY.iter_unpack(
                file.cut.entries[first * ENTRY.size : (first + count) * ENTRY.size]
            ):
                store(digest, data[at : at + length])
                at += length

        fetcher = Fetcher(self._link, self._calls, manifest.tree, take, report)
        with fetcher.lanes:
            report.stage(Stage.RECEIVING)
            for file in manifest.files:
                asked = [wanted(digest) for _, _, digest in file.cut.chunks()]
                for span in _fetch.spans(file, asked.__getitem__):
                    fetcher.add(span)
            fetcher.finish()
        report.stage(Stage.DONE)

    def push(
        self,
        target: pb.NewVersion,
        source: str | os.PathLike[str],
        files: Sequence[PlacedFile],
        *,
        locate: Callable[[bytes], int],
        on_progress: OnProgress | None = None,
    ) -> PushResult:
        """Push files as a new version whose chunks lie in one file, each where `locate` says by its digest.

        Running the same push again sends what is missing. Raises SourceChanged when the file was written to.
        """
        state = FileState.of(os.stat(source))
        placed = [
            _Placed(
                SourceFile(file.path, os.fspath(source), file.size),
                state,
                Cut(file.size, file.entries, file.profile),
                locate=locate,
            )
            for file in sorted(files, key=lambda each: each.path.encode())
        ]
        by_path = {file.file.path: file for file in placed}

        def cutter(wanted: Sequence[SourceFile], report: Reporter) -> Generator[Found, None, None]:
            for each in wanted:
                yield from _runs(by_path[each.path], report)

        return _push.push_cut(
            self._link,
            self._calls,
            pb.UploadTarget(version=target),
            [each.file for each in placed],
            cutter,
            [source],
            PushOptions(on_progress=on_progress),
        )


def _runs(file: _Placed, report: Reporter) -> Generator[Found, None, None]:
    run: list[ChunkSource] = []
    for chunk in file.sources():
        run.append(chunk)
        if len(run) == _RUN_CHUNKS:
            report.add(hashed=sum(each.length for each in run))
            yield run
            run = []
    if run:
        report.add(hashed=sum(each.length for each in run))
        yield run
    report.add(files=1)
    yield file
