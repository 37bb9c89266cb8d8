"""Rows of registered artifacts: every column there and back, and the indexes of the times."""

import dataclasses
from collections.abc import Iterator

import pytest

from helpers.schema import migrated
from ingot.server.core.errors import Problem, Reason
from ingot.server.core.params import HubImport, UrlFile, UrlImport
from ingot.server.core.registrations import FetchState, Registration
from ingot.server.storage import sql
from ingot.server.storage.database import Database, open_database
from ingot.server.storage.registrations_sql import RegistrationsSql

COLUMNS = (
    *("name", "description", "original_url", "local_path", "updated_at_ms", "downloaded_at_ms", "size"),
    *("checksum", "status", "error", "download_progress", "downloaded", "download_job_id"),
)
WHOLE = Registration(
    artifact_uid="u1",
    name="namespaces/library/datasets/a",
    source=HubImport(repository="a/b", repository_kind="dataset", include=("*.json",)),
    original_url="hf://datasets/a/b",
    description="what it is",
    declared=True,
    expected_checksum="sha256:ab",
    expected_size=7,
    state=FetchState.FAILED,
    problem=Problem(Reason.SOURCE_NOT_FOUND, "gone", {"a": "b"}, "Look.", 3.0),
    operation="operations/op_1",
    progress=0.25,
    downloaded=True,
    size=8,
    checksum="blake3:cd",
    local_path="/models/a",
    update_time=5.125,
    download_time=4.5,
)
PLAIN = Registration(
    "u2", "namespaces/library/models/b", UrlImport(files=(UrlFile(urls=("https://e.com/b",)),)), "u"
)


@pytest.fixture
def database() -> Iterator[Database]:
    database = open_database("sqlite:///:memory:")
    migrated(database)
    yield database
    database.close()


@pytest.mark.contract("S4-9", "S4-42", "S4-43")
def test_columns_and_indexes_are_those_asked_for(database: Database) -> None:
    names = database.read(sql.rows, "SELECT name FROM pragma_table_info('registration')")
    assert set(COLUMNS) <= {name for (name,) in names}
    indexed = database.read(
        sql.rows,
        "SELECT i.name FROM pragma_index_list('registration') l JOIN pragma_index_info(l.name) i",
    )
    assert {"updated_at_ms", "downloaded_at_ms"} <= {name for (name,) in indexed}


@pytest.mark.parametrize("wanted", [WHOLE, PLAIN])
def test_a_registration_comes_back_as_it_was_put(database: Database, wanted: Registration) -> None:
    store = RegistrationsSql()
    database.write(store.put, wanted).result()
    assert database.read(store.find, wanted.artifact_uid) == wanted
    changed = dataclasses.replace(wanted, progress=0.5)
    database.write(store.put, changed).result()
    assert database.read(store.of, ["u1", "u2", "u3"]) == {wanted.artifact_uid: changed}
    assert list(database.read(store.declared)) == ([changed] if wanted.declared else [])
    database.write(store.delete, wanted.artifact_uid).result()
    assert database.read(store.find, wanted.artifact_uid) is None
