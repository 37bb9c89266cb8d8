"""What claimed work lets its worker touch; Access asks whenever a worker's token reads or uploads.

A job's grant lasts while a worker holds it, a generation's while its call lives.
"""

from collections.abc import Sequence

from ingot.server.core.names import VersionName, version_reference
from ingot.server.core.training import TrainingJob
from ingot.server.core.training_stores import GrantSource, TrainingStore, WorkerStore
from ingot.server.core.workers import WorkGrant


class Assignments:
    """Implements AssignmentStore over the rows of jobs and the generations in memory."""

    def __init__(self, jobs: TrainingStore, workers: WorkerStore, generations: GrantSource) -> None:
        self._jobs = jobs
        self._workers = workers
        self._generations = generations

    def held_by(self, principal: str) -> Sequence[WorkGrant]:
        """Return what all workers that registered with this token may touch now; empty without any."""
        workers = [worker.id for worker in self._workers.of_token(principal)]
        jobs = self._jobs.held_by(workers) if workers else ()
        return [*map(grant_of, jobs), *self._generations.held_by(principal)]


def grant_of(job: TrainingJob) -> WorkGrant:
    """Return what the worker of a job may touch."""
    versions: set[VersionName] = {job.dataset.name}
    if job.base is not None:
        versions.add(job.base.name)
    result = version_reference(job.output_version) if job.output_version else None
    if isinstance(result, VersionName):  # its worker asks for it when the reply to the commit was lost
        versions.add(result)
    return WorkGrant(
        name=job.name,
        attempt=job.attempt,
        namespace=job.namespace,
        versions=frozenset(versions),
        output_artifact=str(job.output_artifact),
        creator=job.creator,
    )
