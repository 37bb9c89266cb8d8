"""The manifests of cut files in messages of about 1 MiB."""

from collections.abc import Iterable, Iterator

from ingot.client._cutting import CutFile
from ingot.v1 import transfer_pb2 as pb

_MOST_BYTES = 1024 * 1024
_MOST_FILES = 1000


def grouped(cuts: Iterable[CutFile]) -> Iterator[list[pb.FileManifest]]:
    """Yield groups of file manifests of about 1 MiB; a large file goes over several."""
    group: list[pb.FileManifest] = []
    size = 0
    for found in cuts:
        for manifest in _parts(found, found.cut.segments()):
            grown = sum(len(each.entries) for each in manifest.segments) + len(manifest.path) + 64
            if group and (size + grown > _MOST_BYTES or len(group) >= _MOST_FILES):
                yield group
                group, size = [], 0
            group.append(manifest)
            size += grown
    if group:
        yield group


def _parts(found: CutFile, segments: list[bytes]) -> Iterator[pb.FileManifest]:
    for index in range(max(1, len(segments))):
        yield pb.FileManifest(
            path=found.file.path,
            profile=found.cut.profile,
            size_bytes=found.cut.size,
            segment_count=len(segments),
            segments=[pb.Segment(index=index, entries=segments[index])] if segments else [],
        )
