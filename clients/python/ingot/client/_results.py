"""What operations found or made, typed: read from `Operation.result`, which is JSON of the kind's schema.

operation = client.operations.wait(client.operations.start_validation("datasets/chat").name)
for finding in ValidationReport.of(operation).findings:
    print(finding.path, finding.row, finding.message)
"""

from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf import json_format

from ingot.client._errors import Invalid
from ingot.v1 import operations_pb2


@dataclass(frozen=True, slots=True)
class Finding:
    """Something a validation found; `row` and `column` count from 1, `byte_offset` from 0."""

    path: str
    severity: str  # error or warning
    reason: str
    message: str
    row: int | None
    byte_offset: int | None
    column: int | None


@dataclass(frozen=True, slots=True)
class FileReport:
    """What a validation found out about one file."""

    path: str
    size_bytes: int
    format: str
    validator: str
    passed: bool
    records: int | None
    bad_records: int
    duplicates: int
    statistics: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """Result of a validation; `findings` are the first of `finding_count`."""

    passed: bool
    summary: str
    records: int | None
    files: tuple[FileReport, ...]
    file_count: int
    findings: tuple[Finding, ...]
    finding_count: int
    quarantined: int
    version: str  # of the good records, when bad ones were put aside
    facts: Mapping[str, object]  # what the files say about the version; empty where they say nothing

    @classmethod
    def of(cls, operation: operations_pb2.Operation) -> "ValidationReport":
        """Return the report of a validation that succeeded. Raises Invalid."""
        found = _result(operation, "validate")
        return cls(
            passed=found.flag("passed"),
            summary=found.text("summary"),
            records=found.optional("records"),
            files=tuple(_file(each) for each in found.parts("files")),
            file_count=found.whole("file_count"),
            findings=tuple(_finding(each) for each in found.parts("findings")),
            finding_count=found.whole("finding_count"),
            quarantined=found.whole("quarantined"),
            version=found.text("version"),
            facts=found.mapping("facts"),
        )


@dataclass(frozen=True, slots=True)
class ImportResult:
    """Result of an import, or of a look at its source."""

    version: str  # what it made, or what was here already
    versions: tuple[str, ...]  # all of them, when a bundle brought several
    existed: bool
    source: str
    commit: str
    digest: str
    file_count: int
    size_bytes: int
    fetched_bytes: int
    free_bytes: int
    needed_bytes: int

    @classmethod
    def of(cls, operation: operations_pb2.Operation) -> "ImportResult":
        """Return the result of an import that succeeded. Raises Invalid."""
        found = _result(operation, "import")
        return cls(
            version=found.text("version"),
            versions=found.texts("versions"),
            existed=found.flag("existed"),
            source=found.text("source"),
            commit=found.text("commit"),
            digest=found.text("digest"),
            file_count=found.whole("file_count"),
            size_bytes=found.whole("size_bytes"),
            fetched_bytes=found.whole("fetched_bytes"),
            free_bytes=found.whole("free_bytes"),
            needed_bytes=found.whole("needed_bytes"),
        )


@dataclass(frozen=True, slots=True)
class ExportResult:
    """Result of an export; `written_bytes` are without what was there already."""

    path: str
    url: str
    versions: tuple[str, ...]
    file_count: int
    size_bytes: int
    written_bytes: int
    digest: str
    signer: str

    @classmethod
    def of(cls, operation: operations_pb2.Operation) -> "ExportResult":
        """Return the result of an export that succeeded. Raises Invalid."""
        found = _result(operation, "export")
        return cls(
            path=found.text("path"),
            url=found.text("url"),
            versions=found.texts("versions"),
            file_count=found.whole("file_count"),
            size_bytes=found.whole("size_bytes"),
            written_bytes=found.whole("written_bytes"),
            digest=found.text("digest"),
            signer=found.text("signer"),
        )


class _Fields:
    """JSON values by name; what is absent, or of another type, reads as empty."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    def text(self, name: str) -> str:
        value = self._values.get(name)
        return value if isinstance(value, str) else ""

    def flag(self, name: str) -> bool:
        return self._values.get(name) is True

    def optional(self, name: str) -> int | None:
        value = self._values.get(name)
        return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def whole(self, name: str) -> int:
        return self.optional(name) or 0

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(each for each in self._list(name) if isinstance(each, str))

    def parts(self, name: str) -> "list[_Fields]":
        return [_Fields(each) for each in self._list(name) if isinstance(each, dict)]

    def mapping(self, name: str) -> Mapping[str, object]:
        value = self._values.get(name)
        return value if isinstance(value, dict) else {}

    def _list(self, name: str) -> list[object]:
        value = self._values.get(name)
        return value if isinstance(value, list) else []


def _result(operation: operations_pb2.Operation, kind: str) -> _Fields:
    if operation.kind != kind or operation.state != operations_pb2.OPERATION_STATE_SUCCEEDED:
        state = operations_pb2.OperationState.Name(operation.state).removeprefix("OPERATION_STATE_").lower()
        raise Invalid(
            f"Expected an operation of kind {kind} that succeeded, got {operation.name}, {operation.kind},"
            f" which is {state}.",
            reason="STATE_INVALID",
            facts={"operation": operation.name},
            next_step="Wait for it first: client.operations.wait(name)",
        )
    return _Fields(json_format.MessageToDict(operation.result))


def _file(found: _Fields) -> FileReport:
    return FileReport(
        path=found.text("path"),
        size_bytes=found.whole("size_bytes"),
        format=found.text("format"),
        validator=found.text("validator"),
        passed=found.flag("passed"),
        records=found.optional("records"),
        bad_records=found.whole("bad_records"),
        duplicates=found.whole("duplicates"),
        statistics=found.mapping("statistics"),
    )


def _finding(found: _Fields) -> Finding:
    return Finding(
        path=found.text("path"),
        severity=found.text("severity"),
        reason=found.text("reason"),
        message=found.text("message"),
        row=found.optional("row"),
        byte_offset=found.optional("byte_offset"),
        column=found.optional("column"),
    )
