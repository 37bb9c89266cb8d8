"""Registered artifacts: what lists declare and change, and who may fetch."""

import dataclasses
from pathlib import Path

import pytest

from helpers.catalogs import NO_KEY, CatalogRig
from ingot.server.core.artifacts import ArtifactFields, Visibility
from ingot.server.core.errors import Denied, Invalid, NotFound, Precondition, Reason
from ingot.server.core.identity import Caller
from ingot.server.core.json_values import JsonObject
from ingot.server.core.names import ArtifactName, Kind, artifact_name
from ingot.server.core.operations import OperationState, QueueLimits
from ingot.server.core.params import HubImport, UrlFile, UrlImport
from ingot.server.core.registrations import AskedSource, Declaration, FetchState, Registration
from ingot.server.domain.registrations import Registrations
from ingot.server.parts.registration import RegistrationParts
from ingot.server.settings.fields import Settings
from ingot.server.storage.allowed_folders import AllowedFoldersOnDisk
from ingot.server.storage.registrations_sql import RegistrationsSql

NAME = artifact_name("namespaces/library/datasets/evals")
HUB = HubImport(repository="openai/evals", repository_kind="dataset")
URL = UrlImport(files=(UrlFile(urls=("https://example.com/evals.jsonl",)),))
FIELDS = ArtifactFields(visibility=Visibility.INTERNAL)
DECLARED = Declaration(Kind.DATASET, "evals", HUB, FIELDS)


class Rig(CatalogRig):
    """The catalog with registered artifacts."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        folders = AllowedFoldersOnDisk((folder,), "import_roots")
        parts = RegistrationParts(Settings(), self, self.operations.operations, folders, self.clock)
        self.registered: Registrations = parts.registrations

    def declare(self, *declared: Declaration) -> int:
        return self.write(self.registered.declare, "library", declared)

    def row(self, name: ArtifactName = NAME) -> Registration:
        found = self.read(RegistrationsSql().find, self.read(self.catalog.uid_of, name))
        assert found is not None
        return found

    def first_read(self, caller: Caller) -> str:
        """Read the artifact; return the id of the import that fetches it."""
        operation = self.write(self.registered.on_access, caller, NAME)
        assert operation is not None
        return operation.id

    def fetched(self, operation: str) -> None:
        """Let an import run to its end."""
        limits = QueueLimits({"download": 9})
        claimed = self.write(self.operations.claims.claim, "one", operation, limits)
        assert claimed is not None
        result: JsonObject = {"digest": "blake3:ab", "size_bytes": 3}
        self.write(self.operations.claims.succeed, operation, claimed.attempt, result)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.mark.contract("S4-44")
def test_a_list_that_is_read_again_changes_only_what_changed(rig: Rig) -> None:
    assert rig.declare(DECLARED) == 1
    uid = rig.row().artifact_uid
    assert rig.declare(DECLARED) == 0
    told = dataclasses.replace(DECLARED.fields, description="other", display_name="Evals")
    changed = dataclasses.replace(DECLARED, source=URL, fields=told, checksum="sha256:" + "0" * 64)
    assert rig.declare(changed) == 1
    row = rig.row()
    assert (row.artifact_uid, row.original_url) == (uid, "https://example.com/evals.jsonl")
    assert (row.description, row.expected_checksum) == ("other", "sha256:" + "0" * 64)
    artifact = rig.read(rig.catalog.require_read, rig.user(), NAME)
    assert (artifact.fields.description, artifact.fields.display_name) == ("other", "Evals")


def test_what_a_list_no_longer_names_stays_until_it_is_deleted(rig: Rig) -> None:
    rig.declare(DECLARED)
    assert rig.row().declared
    rig.declare()
    assert not rig.row().declared
    admin = dataclasses.replace(rig.user("library2"), writes=frozenset({"library"}))
    rig.write(rig.catalog.delete, admin, NAME, NO_KEY, force=True)
    with pytest.raises(NotFound):
        rig.read(rig.catalog.require_read, admin, NAME)


def test_lists_do_not_write_into_the_namespace_of_a_user(rig: Rig) -> None:
    rig.user("library")
    with pytest.raises(Precondition, match="sources_namespace"):
        rig.declare(DECLARED)


@pytest.mark.contract("S4-24", "S4-45")
def test_one_import_fetches_for_all_and_then_only_owners_fetch_again(rig: Rig) -> None:
    rig.declare(DECLARED)
    sara, omid = rig.user("sara"), rig.user("omid")
    first = rig.first_read(sara)
    assert rig.first_read(omid) == first
    assert rig.row().state is FetchState.FETCHING
    assert rig.read(rig.operations.operations.get, omid, first).state is OperationState.QUEUED
    with pytest.raises(Denied):
        rig.write(rig.operations.operations.cancel, omid, first)
    rig.fetched(first)
    assert (rig.row().state, rig.row().checksum) == (FetchState.FETCHED, "blake3:ab")
    assert rig.write(rig.registered.on_access, omid, NAME) is None
    with pytest.raises(Denied):
        rig.write(rig.registered.params, omid, NAME)


def test_a_cancelled_update_leaves_the_earlier_files(rig: Rig) -> None:
    rig.declare(DECLARED)
    rig.fetched(rig.first_read(rig.user("sara")))
    owner = dataclasses.replace(rig.user("omid"), writes=frozenset({"library"}))
    again = rig.write(rig.registered.params, owner, NAME)
    operation = rig.write(rig.operations.operations.enqueue, owner, again)
    assert rig.row().state is FetchState.FETCHING
    rig.write(rig.operations.operations.cancel, owner, operation.id)
    assert (rig.row().state, rig.row().downloaded) == (FetchState.FETCHED, True)


def test_private_artifacts_keep_their_imports_to_themselves(rig: Rig) -> None:
    sara, omid = rig.user("sara"), rig.user("omid")
    artifact = rig.create(sara, "secret", Kind.DATASET)
    rig.write(rig.registered.register, sara, artifact, AskedSource("https://example.com/a.jsonl"))
    operation = rig.write(rig.registered.on_access, sara, artifact.name)
    assert operation is not None
    assert operation.params["registrar"] == "users/sara"
    with pytest.raises(NotFound):
        rig.read(rig.operations.operations.get, omid, operation.id)
    with pytest.raises(NotFound):
        rig.write(rig.registered.on_access, omid, artifact.name)


def test_what_follows_the_path_of_a_source_is_for_the_body_alone(rig: Rig) -> None:
    signed = "https://example.com/evals.jsonl?X-Signature=s3cret#f"
    rig.declare(dataclasses.replace(DECLARED, source=UrlImport(files=(UrlFile(urls=(signed,)),))))
    reader = rig.user("sara")
    operation = rig.read(rig.operations.operations.get, reader, rig.first_read(reader))
    assert "s3cret" not in repr(operation)
    assert rig.row().original_url == "https://example.com/evals.jsonl"  # what the artifact shows
    assert signed in repr(rig.operations.secrets.whole(operation))


def test_what_uses_a_version_is_told_to_import_it_first(rig: Rig) -> None:
    rig.declare(DECLARED)
    with pytest.raises(Precondition) as refused:
        rig.read(rig.versions.resolve, rig.user("sara"), NAME)
    assert refused.value.reason is Reason.NOT_FETCHED
    assert f"ingot import {NAME}" in refused.value.next_step


@pytest.mark.parametrize(
    "asked",
    [
        AskedSource("hf://google/flan-t5-small"),
        AskedSource("hf://datasets/a/b", checksum="sha256:" + "0" * 64),
        AskedSource("https://example.com/a", size_bytes=-1),
        AskedSource("https://example.com/a", checksum="abc"),
    ],
)
def test_sources_that_cannot_be_are_refused(rig: Rig, asked: AskedSource) -> None:
    sara = rig.user("sara")
    artifact = rig.create(sara, "a", Kind.DATASET)
    with pytest.raises(Invalid):
        rig.write(rig.registered.register, sara, artifact, asked)
