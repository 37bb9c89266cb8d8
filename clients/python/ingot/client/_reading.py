"""Compare a tree as the server sends it, or a folder, with what the digests of the tree say."""

import time
from dataclasses import dataclass
from pathlib import Path

from ingot.client import _fetch
from ingot.client._calls import Calls
from ingot.client._channels import Link
from ingot.client._fetch import Fetcher
from ingot.client._manifest import read_manifest
from ingot.client._progress import OnProgress, Reporter, Stage
from ingot.client._seeds import compared


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """What a check found."""

    name: str  # concrete name of the tree
    digest: str  # tree digest
    file_count: int
    size_bytes: int
    damaged: tuple[str, ...]  # paths whose bytes are not those of the tree
    missing: tuple[str, ...]  # paths that are not in the folder
    seconds: float
    repaired: tuple[str, ...] = ()  # paths that were damaged or missing and are not any more
    received_bytes: int = 0  # that travelled for that
    edited: tuple[str, ...] = ()  # paths that differ and that a repair left as somebody edited them

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged, missing or edited."""
        return not self.damaged and not self.missing and not self.edited


def verify_tree(
    link: Link, calls: Calls, tree: str, *, streams: int | None = None, on_progress: OnProgress | None = None
) -> VerifyResult:
    """Fetch every chunk of a tree and check it, keeping nothing. Raises IngotError, as DataLoss."""
    begun = time.monotonic()
    manifest = read_manifest(link, calls, tree)
    report = Reporter(on_progress)
    report.total(files=len(manifest.files), size=manifest.size)
    fetcher = Fetcher(link, calls, manifest.tree, lambda *_: None, report, streams=streams)
    report.stage(Stage.VERIFYING)
    unit = _fetch.unit_for(manifest.size)
    with fetcher.lanes:
        for file in manifest.files:
            for span in _fetch.spans(file, lambda _: True, unit):
                fetcher.add(span)
            report.add(files=1)
        fetcher.finish()
    report.stage(Stage.DONE)
    seconds = time.monotonic() - begun
    return VerifyResult(manifest.tree, manifest.digest, len(manifest.files), manifest.size, (), (), seconds)


def verify_folder(
    link: Link, calls: Calls, tree: str, folder: Path, *, on_progress: OnProgress | None = None
) -> VerifyResult:
    """Read every file of a folder and compare it with a tree. Raises IngotError."""
    begun = time.monotonic()
    manifest = read_manifest(link, calls, tree)
    report = Reporter(on_progress)
    report.total(files=len(manifest.files), size=manifest.size)
    report.stage(Stage.VERIFYING)
    damaged: list[str] = []
    missing: list[str] = []
    for file in manifest.files:
        found = compared(folder / file.path, file)
        if found is None:
            missing.append(file.path)
        elif not found:
            damaged.append(file.path)
        report.add(files=1, hashed=file.size, reused=file.size)
    report.stage(Stage.DONE)
    return VerifyResult(
        manifest.tree,
        manifest.digest,
        len(manifest.files),
        manifest.size,
        tuple(damaged),
        tuple(missing),
        time.monotonic() - begun,
    )
