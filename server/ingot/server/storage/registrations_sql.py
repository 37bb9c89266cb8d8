"""Rows of registered artifacts: the RegistrationStore of core/registrations.py. Times are stored in ms."""

import json
from collections.abc import Mapping, Sequence

from ingot.server.core.params import HubImport, UrlImport
from ingot.server.core.registrations import FetchState, Registration
from ingot.server.storage import sql, tables, upload_targets

_Row = tables.Registration


class RegistrationsSql:
    """Implements RegistrationStore."""

    def find(self, artifact_uid: str) -> Registration | None:
        return self.of([artifact_uid]).get(artifact_uid)

    def of(self, artifact_uids: Sequence[str]) -> Mapping[str, Registration]:
        condition = "artifact_uid IN (SELECT value FROM json_each(?))"
        rows = sql.rows_where(_Row, condition, sql.text_list(artifact_uids))
        return {row.artifact_uid: _registration(row) for row in rows}

    def put(self, registration: Registration) -> None:
        _Row.delete().where(_Row.artifact_uid == registration.artifact_uid).execute()
        _Row.insert(**_columns(registration)).execute()

    def delete(self, artifact_uid: str) -> None:
        _Row.delete().where(_Row.artifact_uid == artifact_uid).execute()

    def declared(self) -> Sequence[Registration]:
        return [_registration(row) for row in _Row.select().where(_Row.declared == 1).order_by(_Row.name)]


def _columns(registration: Registration) -> dict[str, object]:
    return {
        "artifact_uid": registration.artifact_uid,
        "name": registration.name,
        "description": registration.description,
        "source": registration.source.model_dump_json(),
        "declared": int(registration.declared),
        "original_url": registration.original_url,
        "local_path": registration.local_path,
        "expected_checksum": registration.expected_checksum,
        "expected_size": registration.expected_size,
        "updated_at_ms": round(registration.update_time * 1000),
        "downloaded_at_ms": None
        if registration.download_time is None
        else round(registration.download_time * 1000),
        "size": registration.size,
        "checksum": registration.checksum,
        "status": registration.state.value,
        "error": upload_targets.encode_problem(registration.problem),
        "download_progress": registration.progress,
        "downloaded": int(registration.downloaded),
        "download_job_id": registration.operation,
    }


def _registration(row: tables.Registration) -> Registration:
    source = json.loads(row.source)
    kind = HubImport if source["kind"] == "hub" else UrlImport
    return Registration(
        artifact_uid=row.artifact_uid,
        name=row.name,
        source=kind.model_validate(source),
        original_url=row.original_url,
        description=row.description,
        declared=bool(row.declared),
        expected_checksum=row.expected_checksum,
        expected_size=row.expected_size,
        state=FetchState(row.status),
        problem=upload_targets.decode_problem(row.error),
        operation=row.download_job_id,
        progress=row.download_progress,
        downloaded=bool(row.downloaded),
        size=row.size,
        checksum=row.checksum,
        local_path=row.local_path,
        update_time=row.updated_at_ms / 1000,
        download_time=None if row.downloaded_at_ms is None else row.downloaded_at_ms / 1000,
    )
