"""Lineage: what a version or training job comes from, and what came of it, as far as the caller may see.

It is read from what the server itself wrote down: jobs pin the versions they learn and start from, results
name their job, imports their source, and the counters of use who pulled. A place that is not the caller's to
see is there without a name, and nothing behind it is told.
"""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ingot.server.core.artifacts import Artifact, Version
from ingot.server.core.catalog_stores import ArtifactStore, VersionStore
from ingot.server.core.errors import invalid_field
from ingot.server.core.identity import Caller
from ingot.server.core.lineage import Edge, Lineage, LineageStore, Node, NodeKind, Relation
from ingot.server.core.names import VersionName, VersionReference, version_reference
from ingot.server.core.training import TrainingJob
from ingot.server.core.training_stores import CheckpointStore, TrainingStore
from ingot.server.core.usage_stores import UsageStore
from ingot.server.domain.access import Access, job_not_found
from ingot.server.domain.versions import Versions

USUAL_DEPTH, DEEPEST = 10, 50
MOST_NODES = 1000
_MOST_OF_ONE = 200  # jobs, children or pulls of one version
JOBS = "trainingJobs/"


@dataclass(frozen=True, slots=True)
class WantedLineage:
    """What to tell about: a version or a training job (`trainingJobs/job_12`), which way, and how far."""

    name: VersionReference | str
    up: bool = True
    down: bool = True
    depth: int = 0


@dataclass(frozen=True, slots=True)
class _Step:
    """From a place to one beside it; `place` is what is known of that one."""

    place: "_Place"
    relation: Relation
    upward: bool


@dataclass(frozen=True, slots=True)
class _Place:
    """A place that was found: `key` is the same for the same one."""

    key: str
    node: Node
    version: Version | None = None  # to go on from, where the caller may see it
    job: TrainingJob | None = None


class Lineages:
    """The rules about lineage; every method runs inside a read."""

    def __init__(
        self,
        artifacts: ArtifactStore,
        versions: VersionStore,
        visible: Versions,
        jobs: TrainingStore,
        checkpoints: CheckpointStore,
        store: LineageStore,
        usage: UsageStore,
        access: Access,
    ) -> None:
        self._artifacts = artifacts
        self._versions = versions
        self._visible = visible
        self._jobs = jobs
        self._checkpoints = checkpoints
        self._store = store
        self._usage = usage
        self._access = access

    def of(self, caller: Caller, wanted: WantedLineage) -> Lineage:
        """Return what is known about a place, going up and down from it, never down and up again.

        Raises Invalid (FIELD_INVALID), NotFound (ARTIFACT_NOT_FOUND, VERSION_NOT_FOUND, ALIAS_NOT_FOUND,
        TRAINING_JOB_NOT_FOUND).
        """
        if not 0 <= wanted.depth <= DEEPEST:
            raise invalid_field("depth", f"expected 0 to {DEEPEST}, got {wanted.depth}")
        root = self._root(caller, wanted.name)
        nodes = {root.key: replace(root.node, id="n1")}
        edges: dict[tuple[str, str, Relation], None] = {}
        truncated = False
        ways = [upward for upward, asked in ((True, wanted.up), (False, wanted.down)) if asked]
        queue = deque((root, 0, upward) for upward in ways)
        seen = {(root.key, upward) for upward in ways}
        while queue:
            place, steps, upward = queue.popleft()
            for step in self._beside(caller, place, upward):
                if steps >= (wanted.depth or USUAL_DEPTH) or len(nodes) >= MOST_NODES:
                    truncated = True
                    break
                other = step.place
                known = nodes.setdefault(other.key, replace(other.node, id=f"n{len(nodes) + 1}"))
                ends = (known.id, nodes[place.key].id) if upward else (nodes[place.key].id, known.id)
                edges[(*ends, step.relation)] = None
                if (other.key, upward) not in seen:
                    seen.add((other.key, upward))
                    queue.append((other, steps + 1, upward))
        return Lineage(tuple(nodes.values()), tuple(Edge(*edge) for edge in edges), truncated)

    # --- places -----------------------------------------------------------------------------------------

    def _root(self, caller: Caller, name: VersionReference | str) -> _Place:
        if isinstance(name, str):
            job = self._jobs.find(name.removeprefix(JOBS))
            if job is None:
                raise job_not_found(name)
            self._access.require_job_read(caller, name, job.namespace)
            return self._job(caller, job)
        return self._version(caller, self._visible.get(caller, name).name)

    def _version(
        self,
        caller: Caller,
        name: VersionName,
        *,
        digest: bytes = b"",
        before: float = math.inf,
        job: str = "",
    ) -> _Place:
        """Return the place of a version, which is gone when another one has its name by now.

        The one that is meant has this digest, was made `before` what came of it, and by this job.
        """
        key, (artifact, version) = str(name), self._found(name)
        node = Node("", NodeKind.VERSION)
        if artifact is None or version is None or _another(version, digest, before, job):
            member = caller.may_read(name.artifact.namespace)  # nobody can say any more who else saw it
            return _Place(key, replace(node, name=key, digest=digest, gone=True) if member else node)
        if not (self._access.reads(caller, artifact) and self._access.sees(caller, artifact, version)):
            return _Place(key, node)
        shown = replace(
            node,
            name=key,
            digest=version.digest,
            creator=version.creator,
            create_time=version.create_time,
            state=version.state.value,
            gone=version.delete_time is not None or artifact.delete_time is not None,
        )
        return _Place(key, shown, version=version)

    def _found(self, name: VersionName) -> tuple[Artifact | None, Version | None]:
        """Return the version of a name, from the trash where it is nowhere else."""
        artifact = self._artifacts.find(name.artifact)
        if artifact is None:
            artifact = next(iter(self._artifacts.deleted(name.artifact)), None)
        if artifact is None:
            return None, None
        version = self._versions.find(artifact, name.version)
        return artifact, version or self._versions.find_deleted(artifact, name.version)

    def _job(self, caller: Caller, job: TrainingJob) -> _Place:
        node = Node("", NodeKind.TRAINING_JOB)
        if not caller.may_read(job.namespace):
            return _Place(job.name, node)
        shown = replace(
            node,
            name=job.name,
            creator=job.creator,
            create_time=job.create_time,
            state=job.state.value,
        )
        return _Place(job.name, shown, job=job)

    # --- steps ------------------------------------------------------------------------------------------

    def _beside(self, caller: Caller, place: _Place, upward: bool) -> Iterator[_Step]:
        if place.version is not None:
            found = self._above_version if upward else self._below_version
            yield from found(caller, place.version)
        elif place.job is not None:
            yield from (self._above_job if upward else self._below_job)(caller, place.job)

    def _above_version(self, caller: Caller, version: Version) -> Iterator[_Step]:
        origin = version.origin
        job = self._jobs.find(origin.training_job.removeprefix(JOBS)) if origin.training_job else None
        if job is not None:
            yield _Step(self._job(caller, job), Relation.RESULT, True)
            return
        if origin.training_job:
            gone = Node("", NodeKind.TRAINING_JOB)
            if caller.may_read(version.name.artifact.namespace):
                gone = replace(gone, name=origin.training_job, gone=True)
            yield _Step(_Place(origin.training_job, gone), Relation.RESULT, True)
        for name, relation in (
            (origin.dataset_version, Relation.DATASET),
            (origin.base_version, Relation.BASE),
        ):
            reference = version_reference(name) if name else None
            if isinstance(reference, VersionName):
                yield _Step(self._version(caller, reference, before=version.create_time), relation, True)
        if origin.source:
            source = Node("", NodeKind.SOURCE)
            if caller.may_read(version.name.artifact.namespace):
                source = replace(source, name=origin.source, creator=version.creator)
            yield _Step(_Place(f"source {origin.source}", source), Relation.IMPORT, True)

    def _below_version(self, caller: Caller, version: Version) -> Iterator[_Step]:
        told: set[str] = set()
        for each in self._store.jobs_reading(version.name, _MOST_OF_ONE):
            job = self._jobs.find(each)
            if job is None:
                continue
            told.add(job.output_version)
            if version.digest not in _pinned(job, version.name):
                continue
            base = job.base is not None and job.base.name == version.name
            yield _Step(self._job(caller, job), Relation.BASE if base else Relation.DATASET, False)
        for name in self._versions.made_from(version.name, version.create_time, _MOST_OF_ONE):
            made = version_reference(name)
            if name in told or not isinstance(made, VersionName):
                continue
            child = self._version(caller, made)  # its job is gone
            base = child.version is not None and child.version.origin.base_version == str(version.name)
            yield _Step(child, Relation.BASE if base else Relation.DATASET, False)
        yield from self._pulls(caller, version)

    def _pulls(self, caller: Caller, version: Version) -> Iterator[_Step]:
        """Tell members who pulled a version; others hear of themselves."""
        member = caller.may_read(version.name.artifact.namespace)
        artifact = self._artifacts.find(version.name.artifact)
        users = self._usage.users(artifact.uid, version.name.version, _MOST_OF_ONE) if artifact else ()
        pulls: dict[str, Node] = {}
        for each in users:  # one for each name that a principal declared
            if each.downloads and (member or each.principal == caller.principal):
                known = pulls.get(each.principal, Node("", NodeKind.PRINCIPAL, each.principal))
                first = min(each.first_time, known.create_time or each.first_time)
                count = known.count + each.downloads
                pulls[each.principal] = replace(known, create_time=first, count=count)
        for principal, node in sorted(pulls.items(), key=lambda item: item[1].create_time or 0.0):
            yield _Step(_Place(f"{principal} of {version.name}", node), Relation.PULL, False)

    def _above_job(self, caller: Caller, job: TrainingJob) -> Iterator[_Step]:
        pinned = [(job.dataset, Relation.DATASET), *([(job.base, Relation.BASE)] if job.base else [])]
        for version, relation in pinned:
            yield _Step(self._version(caller, version.name, digest=version.digest), relation, True)

    def _below_job(self, caller: Caller, job: TrainingJob) -> Iterator[_Step]:
        for checkpoint in self._checkpoints.all(job.id):
            name = f"{job.name}/checkpoints/{checkpoint.step}"
            node = Node(
                "",
                NodeKind.CHECKPOINT,
                name,
                digest=checkpoint.digest,
                create_time=checkpoint.create_time,
                state=checkpoint.kind.value,
            )
            yield _Step(_Place(name, node), Relation.CHECKPOINT, False)
        reference = version_reference(job.output_version) if job.output_version else None
        if isinstance(reference, VersionName):
            yield _Step(self._version(caller, reference, job=job.name), Relation.RESULT, False)


def _another(version: Version, digest: bytes, before: float, job: str) -> bool:
    """Tell whether a version is not the one that is meant, but has its name by now."""
    if version.create_time > before or (digest and version.digest != digest):
        return True
    return bool(job) and version.origin.training_job != job


def _pinned(job: TrainingJob, name: VersionName) -> list[bytes]:
    """Return the digests that a job pinned under this name."""
    pinned = (job.dataset, job.base)
    return [each.digest for each in pinned if each is not None and each.name == name]
