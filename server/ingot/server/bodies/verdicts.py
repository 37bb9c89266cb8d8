"""What an import made may have to pass a validation: the import ends when that does.

    commit → READY at once                         the import has succeeded
           → STAGED, VALIDATING … READY            it waits, then it has succeeded
                                … REJECTED         it fails with what was found; nothing is fetched again

So whoever waits for the import, a first reader of a registered artifact too, is told whether its content can
be used. A rejected version stays: with other rules it may still pass, and the same import again finds it.
"""

from collections.abc import Callable

from ingot.client import NotFound
from ingot.server.bodies.failures import BodyFailure
from ingot.server.bodies.work import Work
from ingot.server.core import params
from ingot.server.core.errors import Reason
from ingot.v1 import catalog_pb2, common_pb2, errors_pb2, transfer_pb2

_PAUSE = 0.5  # seconds between two looks at a validation

Import = Callable[[Work[params.ImportParams]], params.ImportResult]


def judged(body: Import) -> Import:
    """Return a body that does the same and waits until all that it made can be read."""

    def run(work: Work[params.ImportParams]) -> params.ImportResult:
        done = body(work)
        if not work.params.check_only:
            for name in done.versions or (done.version,):
                _wait(work, name, existed=done.existed)
        return done

    return run


def _wait(work: Work[params.ImportParams], name: str, *, existed: bool) -> None:
    """Wait until a version is READY. Raises BodyFailure (VALIDATION_FAILED)."""
    while True:
        version = _version(work, name)
        if version.state == catalog_pb2.VERSION_STATE_READY:
            return
        if (problem := _problem(work, version)) is not None:
            raise _failure(problem, version, existed=existed)
        work.progress(0, phase="validating", unit="", message=version.last_validation)
        work.wait(_PAUSE)


def _version(work: Work[params.ImportParams], name: str) -> catalog_pb2.Version:
    """Return a version as it is now. Raises the client's NotFound."""
    catalog = work.client.catalog
    try:
        return catalog.version(name)
    except NotFound:  # a body may open what is READY or its own; the list tells of the others
        for version in catalog.versions(name.partition("/versions/")[0]):
            if version.name == name:
                return version
        raise


def _problem(work: Work[params.ImportParams], version: catalog_pb2.Version) -> common_pb2.Problem | None:
    """Return why a version does not become READY; None while that is open."""
    rejected = version.state == catalog_pb2.VERSION_STATE_REJECTED
    try:
        upload = work.client.uploads.get(version.origin.upload)
    except NotFound:  # it was forgotten
        return common_pb2.Problem() if rejected else None
    if upload.stage == transfer_pb2.UPLOAD_STAGE_FAILED:
        return upload.problem
    return common_pb2.Problem() if rejected else None


def _failure(problem: common_pb2.Problem, version: catalog_pb2.Version, *, existed: bool) -> BodyFailure:
    validation = version.last_validation
    again = "Import it again once its source is corrected"
    if existed:
        again = "The same content was imported before, so nothing was fetched; `--force` fetches it again"
    told = errors_pb2.ErrorReason.Name(problem.reason).removeprefix("ERROR_REASON_")
    return BodyFailure(
        Reason(told) if told in Reason.__members__ else Reason.VALIDATION_FAILED,
        problem.message or f"{version.name} did not pass its validation, and its report was forgotten.",
        next_step=f"{validation} has the whole report. {again}, or validate {version.name} with other rules.",
        facts={**problem.facts, "version": version.name, "validation": validation},
    )
