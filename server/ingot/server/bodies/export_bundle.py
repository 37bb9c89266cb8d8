"""Export versions as one signed bundle: ask for everything that is said, then bring the chunks it lacks.

    facts and manifests → plan (every byte's place) → front → chunks in any order → sync → rename

The unfinished file stands beside its place. After a kill the next attempt reads what is in it and brings only
chunks that are not there. What the file is called before does not show whether it is complete; that it has
its name does.
"""

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from blake3 import blake3
from google.protobuf import json_format, timestamp_pb2

from ingot.client import Manifest
from ingot.content import digests
from ingot.server.bodies import folders
from ingot.server.bodies.failures import BodyFailure, Cancelled, translated
from ingot.server.bodies.work import Work
from ingot.server.core import params
from ingot.server.core.errors import Invalid, Reason
from ingot.server.sources import bundles, export_places
from ingot.server.sources.bundle_manifest import (
    BundledArtifact,
    BundledFile,
    BundledJob,
    BundledOrigin,
    BundledVersion,
    BundleManifest,
)
from ingot.server.sources.signing import SigningKey
from ingot.v1 import catalog_pb2 as pb

_PIECE = 8 * 1024 * 1024
_PACKED = digests.SEGMENT_MAX_ENTRIES * digests.ENTRY_SIZE

_LIFECYCLES: dict[int, Literal["ACTIVE", "DEPRECATED", "ARCHIVED"]] = {
    pb.ARTIFACT_LIFECYCLE_ACTIVE: "ACTIVE",
    pb.ARTIFACT_LIFECYCLE_DEPRECATED: "DEPRECATED",
    pb.ARTIFACT_LIFECYCLE_ARCHIVED: "ARCHIVED",
}


def run(work: Work[params.ExportParams]) -> params.ExportResult:
    """Write the bundle that was asked for; one that is there already with the same bytes is left alone."""
    wanted = work.params.destination
    assert isinstance(wanted, params.BundleExport)
    target = Path(wanted.path)
    key = SigningKey.of_folder(Path(work.settings.text("data_dir")))
    with folders.way_to(wanted.root, target), folders.held(target):
        export_places.check_bundle(target, key.name, work.params.versions)
        gathered = _Gathered(work, wanted)
        planned = bundles.plan(gathered.manifest, gathered.segments, key)
        part = export_places.part_of(target, work.spec.operation.rpartition("/")[2])
        folders.remove_leftovers(target, part)
        written = 0
        if not _is_there(target, planned, key):
            try:
                written = _Writer(work, planned, part).run(gathered.trees)
                folders.swap(part, target)
            except Cancelled:
                folders.remove(part)
                raise
            except Exception as error:
                if not translated(error, "").retry:
                    folders.remove(part)  # nobody would go on with it
                raise
        return params.ExportResult(
            path=str(target),
            versions=work.params.versions,
            file_count=sum(len(tree.files) for tree in gathered.trees),
            size_bytes=planned.size,
            written_bytes=written,
            digest=digests.format_digest(_digest_of(target)),
            signer=key.name,
        )


class _Gathered:
    """All that a bundle says, and the trees whose chunks it holds."""

    def __init__(self, work: Work[params.ExportParams], wanted: params.BundleExport) -> None:
        self.segments: dict[str, bytes] = {}
        self.trees: list[Manifest] = []
        self._client = work.client
        artifacts: dict[str, list[BundledVersion]] = {}
        for done, name in enumerate(work.params.versions):
            work.progress(done, len(work.params.versions), phase="gathering", unit="versions", message=name)
            artifacts.setdefault(name.rpartition("/versions/")[0], []).append(self._version(name))
        self.manifest = BundleManifest(
            since=_time(wanted.since),
            artifacts=[self._artifact(name, versions) for name, versions in artifacts.items()],
            jobs=[BundledJob.model_validate(_jsonable(job.model_dump())) for job in wanted.jobs],
        )

    def _artifact(self, name: str, versions: list[BundledVersion]) -> BundledArtifact:
        found = self._client.catalog.get(name)
        return BundledArtifact(
            name=name,
            display_name=found.display_name,
            description=found.description,
            card=found.card,
            tags=list(found.tags),
            language=found.language,
            license=found.license,
            framework=found.framework,
            task_type=found.task_type,
            model_type=found.model_type,
            source=found.source,
            requirements=json_format.MessageToDict(found.requirements),
            metadata=json_format.MessageToDict(found.metadata),
            lifecycle=_LIFECYCLES[found.lifecycle],
            versions=versions,
        )

    def _version(self, name: str) -> BundledVersion:
        found = self._client.catalog.version(name)
        tree = self._client.trees.manifest(name)
        self.trees.append(tree)
        origin = found.origin
        return BundledVersion(
            name=name,
            version=name.rpartition("/")[2],
            digest=found.digest,
            size=found.size_bytes,
            format=found.format,
            changelog=found.changelog,
            metadata=json_format.MessageToDict(found.metadata),
            performance_metrics=json_format.MessageToDict(found.performance_metrics),
            aliases=sorted(each for each in found.aliases if each != "latest"),
            creator=found.creator,
            create_time=found.create_time.ToJsonString(),
            origin=BundledOrigin(
                training_job=origin.training_job,
                hub_commit=origin.hub_commit,
                dataset_version=origin.dataset_version,
                base_version=origin.base_version,
                source=origin.source,
            ),
            files=[
                self._file(file.path, file.size, file.cut.profile, file.cut.entries) for file in tree.files
            ],
        )

    def _file(self, path: str, size: int, profile: str, entries: bytes) -> BundledFile:
        named: list[str] = []
        for start in range(0, len(entries), _PACKED):
            segment = entries[start : start + _PACKED]
            name = digests.segment_digest(segment).hex()
            self.segments[name] = segment
            named.append(name)
        return BundledFile(path=path, profile=profile, size=size, segments=named)


class _Writer:
    """Fills the unfinished file."""

    def __init__(self, work: Work[params.ExportParams], planned: bundles.Plan, part: Path) -> None:
        self._work = work
        self._plan = planned
        self._part = part
        self._lock = threading.Lock()
        self._asked: set[bytes] = set()
        self._done = 0
        self._written = 0

    def run(self, trees: list[Manifest]) -> int:
        """Write what is missing and sync it; return the bytes that were written."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(self._part, flags, 0o644)
        try:
            front = self._plan.front
            fresh = os.pread(self._file, len(front), 0) != front
            if fresh:
                os.ftruncate(self._file, 0)
                self._check_room()
                os.ftruncate(self._file, self._plan.size)
                self._put(0, front)
            else:
                self._skip_present()
            for tree in trees:
                self._work.client.trees.fetch(tree, wanted=self._wants, store=self._store)
            os.fsync(self._file)
        finally:
            os.close(self._file)
        return self._written

    def _skip_present(self) -> None:
        """Take what an earlier attempt wrote, as far as it has the right bytes."""
        for digest, placed in self._plan.chunks.items():
            data = os.pread(self._file, placed.length, placed.offset)
            if digests.chunk_digest(data) == digest:
                self._asked.add(digest)
                offset, entry = self._plan.entry(digest, data)
                self._put(offset, entry[: placed.offset - offset])  # its header may be missing
                self._tell(placed.length)

    def _wants(self, digest: bytes) -> bool:
        if digest in self._asked:
            return False
        self._asked.add(digest)
        return True

    def _store(self, digest: bytes, data: memoryview) -> None:
        self._put(*self._plan.entry(digest, data))
        with self._lock:
            self._written += len(data)
        self._tell(len(data))

    def _put(self, offset: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            count = os.pwrite(self._file, view, offset)
            view, offset = view[count:], offset + count

    def _tell(self, size: int) -> None:
        with self._lock:
            self._done += size
            self._work.progress(self._done, self._plan.chunk_bytes, phase="writing", unit="bytes")

    def _check_room(self) -> None:
        free = os.statvfs(self._part.parent).f_bavail * os.statvfs(self._part.parent).f_frsize
        if free < self._plan.size:
            raise BodyFailure(
                Reason.DISK_LOW,
                f"The bundle needs {self._plan.size} bytes; the disk of {self._part.parent} has {free} left.",
                next_step="Make room, or export to another disk or fewer versions.",
                facts={"expected": str(self._plan.size), "got": str(free)},
            )


def _is_there(target: Path, planned: bundles.Plan, key: SigningKey) -> bool:
    """Return whether exactly this bundle stands at its place already."""
    try:
        file = os.open(target, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        if os.fstat(file).st_size != planned.size or os.pread(file, len(planned.front), 0) != planned.front:
            return False
    finally:
        os.close(file)
    with bundles.Bundle.open(target, frozenset({key.name})) as found:
        try:
            found.verify(lambda done, total: None)
        except Invalid:
            return False
    return True


def _digest_of(path: Path) -> bytes:
    hasher = blake3(max_threads=blake3.AUTO)
    with path.open("rb") as file:
        while piece := file.read(_PIECE):  # mapping it would count as our memory
            hasher.update(piece)
    return hasher.digest()


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    found = timestamp_pb2.Timestamp()
    found.FromNanoseconds(round(seconds * 1e6) * 1000)
    return found.ToJsonString()


def _jsonable(values: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in values.items() if value is not None}
