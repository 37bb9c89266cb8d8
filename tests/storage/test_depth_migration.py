"""Versions from before there were facts are queued to be read, and aliases begin their history."""

from helpers.schema import earlier
from ingot.server.core.artifacts import AliasMove
from ingot.server.core.names import artifact_name
from ingot.server.storage.aliases_sql import AliasesSql
from ingot.server.storage.catalog_sql import ArtifactsSql
from ingot.server.storage.database import open_database
from ingot.server.storage.facts_sql import FactsSql
from ingot.server.storage.migration_runner import migrate
from ingot.server.storage.versions_sql import VersionsSql

TINY = artifact_name("namespaces/sara/models/tiny")
_BEFORE = 18
_ARTIFACT = (
    "INSERT INTO artifact(id, uid, name, live, namespace, kind, artifact, audience, owner, display_name, "
    "description, card, tags, language, license, framework, task_type, model_type, source, requirements, "
    "metadata, visibility, lifecycle, format, current_version, version_count, size_bytes, version_bytes, "
    "stored_bytes, created, updated, revision) VALUES (7, 'uid-tiny', ?, 1, 'sara', 'models', 'tiny', "
    "'sara', 'users/sara', '', '', '', '[]', '', '', '', '', '', '', '{}', '{}', 'PRIVATE', 'ACTIVE', '', "
    "'2', 2, 5, 9, 9, 1.0, 2.0, 3)"
)
_VERSION = (
    "INSERT INTO version(id, uid, artifact_id, version, number, state, changelog, metadata, "
    "performance_metrics, format, digest, file_count, size_bytes, new_bytes, creator, created, ready, "
    "upload, operation, training_job, hub_commit, dataset_version, base_version) "
    "VALUES (?, ?, 7, ?, ?, 'READY', "
    "'', '{}', '{}', '', x'00', 1, 5, 5, 'users/sara', 1.0, 1.0, '', '', '', '', '', '')"
)
_ALIAS = (
    "INSERT INTO alias(artifact_id, alias, version_id, updated, updated_by, revision) "
    "VALUES (7, 'prod', 31, 4.5, 'users/omid', 2)"
)


def test_what_was_there_before_is_read_and_has_a_history() -> None:
    database = earlier(open_database("sqlite:///:memory:"), _BEFORE)
    with database.direct() as connection:
        connection.execute_sql(_ARTIFACT, (str(TINY),))
        for row, number in ((31, 1), (32, 2)):
            connection.execute_sql(_VERSION, (row, f"uid-{number}", f"{number}", number))
        connection.execute_sql(_ALIAS)
    migrate(database)
    assert database.read(FactsSql().wanted, 9) == [("uid-2", TINY.version("2"))]  # the current one
    tiny = database.read(ArtifactsSql().find, TINY)
    assert tiny is not None
    assert tiny.facts is None
    version = database.read(VersionsSql().find, tiny, "1")
    assert version is not None
    assert (version.revision, version.update_time, version.facts) == (1, None, None)
    ((_, move),) = database.read(AliasesSql().moves, tiny, "prod", None, 9)
    assert move == AliasMove("1", "", 4.5, "users/omid")
    database.close()
