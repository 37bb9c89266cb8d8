"""Bundles in memory, written as the server writes them, and taken apart to be made wrong."""

import os
import random
from collections.abc import Mapping
from pathlib import Path

from helpers.transfers import Cut, cut, tree_digest
from ingot.content import digests
from ingot.server.sources import bundles
from ingot.server.sources.bundle_manifest import (
    BundledArtifact,
    BundledFile,
    BundledOrigin,
    BundledVersion,
    BundleManifest,
)
from ingot.server.sources.signing import SigningKey

TREE = {"config.json": b'{"a": 1}', "data/part.bin": random.Random(7).randbytes(900_000), "empty": b""}


def bundled_version(
    files: Mapping[str, bytes],
    segments: dict[str, bytes],
    name: str = "namespaces/sara/models/tiny/versions/1",
) -> BundledVersion:
    """Return a version as a bundle tells it; its segments are added to `segments`."""
    cuts = {path: cut(data) for path, data in files.items()}
    return BundledVersion(
        name=name,
        version=name.rpartition("/")[2],
        digest=tree_digest(cuts),
        size=sum(len(data) for data in files.values()),
        format="",
        changelog="first",
        metadata={"note": "سلام"},
        performance_metrics={"loss": 0.5},
        aliases=["prod"],
        creator="users/sara",
        create_time="2026-01-01T00:00:00Z",
        origin=BundledOrigin(),
        files=[_file(path, each, segments) for path, each in sorted(cuts.items())],
    )


def bundled_artifact(
    versions: list[BundledVersion], name: str = "namespaces/sara/models/tiny"
) -> BundledArtifact:
    """Return an artifact as a bundle tells it."""
    return BundledArtifact(
        name=name,
        display_name="Tiny",
        description="A tiny model",
        card="",
        tags=["small"],
        language="fa",
        license="mit",
        framework="pytorch",
        task_type="",
        model_type="llm",
        source="manual",
        requirements={},
        metadata={},
        lifecycle="ACTIVE",
        versions=versions,
    )


def bundle_of(
    files: Mapping[str, bytes] = TREE, *, key: SigningKey, manifest: BundleManifest | None = None
) -> bytes:
    """Return the bytes of a bundle with one version; `manifest` says something else about the same chunks."""
    segments: dict[str, bytes] = {}
    version = bundled_version(files, segments)
    told = manifest or BundleManifest(artifacts=[bundled_artifact([version])])
    planned = bundles.plan(told, segments, key)
    whole = bytearray(planned.size)
    whole[: len(planned.front)] = planned.front
    for data in files.values():
        for chunk, piece in cut(data).chunks:
            if chunk not in planned.chunks:
                continue
            offset, entry = planned.entry(chunk, piece)
            whole[offset : offset + len(entry)] = entry
    return bytes(whole)


def key_in(folder: Path) -> SigningKey:
    """Return the key of a folder, which is made when missing."""
    os.makedirs(folder, exist_ok=True)
    return SigningKey.of_folder(folder)


def _file(path: str, each: Cut, segments: dict[str, bytes]) -> BundledFile:
    packed = digests.split_segments(each.entries)
    names = [digests.segment_digest(data).hex() for data in packed]
    segments.update(zip(names, packed, strict=True))
    return BundledFile(path=path, profile="cdc", size=each.size, segments=names)
