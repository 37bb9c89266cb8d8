"""Validations that a test runs itself, step by step, in the place of the runner.

validator = Validator(rig)              # a CatalogRig
operation = validator.begin()           # claims the one that waits longest
validator.report(operation, passed=False)
"""

from collections.abc import Callable
from typing import TypeVar

from ingot.server.core.artifacts import ValidationMode, ValidationPolicy, Version
from ingot.server.core.errors import Problem, Reason
from ingot.server.core.events import Progress
from ingot.server.core.facts import VersionFacts
from ingot.server.core.names import VersionName
from ingot.server.core.operations import Operation, QueueLimits
from ingot.server.core.params import Finding, ValidationReport
from ingot.server.parts.operations import OperationParts
from ingot.server.storage.catalog_sql import ArtifactsSql
from ingot.server.storage.database import Database
from ingot.server.storage.versions_sql import VersionsSql

T = TypeVar("T")

LIMITS = QueueLimits({"validate": 8})
REQUIRED = ValidationPolicy(ValidationMode.REQUIRED)
BAD_ROW = Finding(path="a.jsonl", reason="json_syntax", message="expected a value", row=7, byte_offset=120)


class Validator:
    """Claims validations and ends them as the test says."""

    def __init__(self, parts: OperationParts, database: Database) -> None:
        self._claims = parts.claims
        self._operations = parts.operations
        self._database = database

    def begin(self) -> Operation:
        """Claim the validation that is next."""
        found = self._write(lambda: self._claims.next("test", "validate", LIMITS))
        assert found is not None
        return found

    def waits(self) -> bool:
        """Return whether a validation is due; claims it if so."""
        return self._write(lambda: self._claims.next("test", "validate", LIMITS)) is not None

    def progress(self, operation: Operation, progress: Progress) -> None:
        """Tell how far a validation is."""
        self._write(lambda: self._claims.beat(operation.id, operation.attempt, progress))

    def report(
        self,
        operation: Operation,
        *,
        passed: bool,
        findings: tuple[Finding, ...] = (),
        facts: VersionFacts | None = None,
    ) -> Operation:
        """End a validation with a report."""
        told = [f" First: {each.path}, row {each.row}: {each.message}" for each in findings[:1]]
        summary = f"Seen all of it.{''.join(told)}"
        report = ValidationReport(
            passed=passed, summary=summary, findings=findings, finding_count=len(findings), facts=facts
        )
        return self._write(lambda: self._claims.succeed(operation.id, operation.attempt, report.document()))

    def fail(self, operation: Operation, *, retry: bool = False) -> Operation:
        """End an attempt without a verdict."""
        problem = Problem(Reason.INTERNAL, "The body died.", {}, "Retry it.", 1.0)
        return self._write(lambda: self._claims.fail(operation.id, operation.attempt, problem, retry=retry))

    def run(self, *, passed: bool = True, findings: tuple[Finding, ...] = ()) -> Operation:
        """Do the validation that is next as a whole."""
        return self.report(self.begin(), passed=passed, findings=findings)

    def stored(self, version: Version) -> Version:
        """Return a version as it is now."""
        return self._database.read(self._find, version.name)

    def operation_of(self, version: Version) -> Operation:
        """Return the last validation of a version as it is now."""
        name = self.stored(version).last_validation.rpartition("/")[2]
        return self._database.read(self._operations.moves.find, name)

    def _find(self, name: VersionName) -> Version:
        artifact = ArtifactsSql().find(name.artifact)
        assert artifact is not None
        found = VersionsSql().find(artifact, name.version)
        assert found is not None
        return found

    def _write(self, fn: Callable[[], T]) -> T:
        return self._database.write(fn).result()
