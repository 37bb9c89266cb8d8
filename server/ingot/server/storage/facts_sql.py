"""Facts read from the files of versions, and which versions still have to be read: behind core/facts.py."""

from collections.abc import Sequence

from ingot.server.core.facts import VersionFacts
from ingot.server.core.names import ArtifactName, Kind, VersionName
from ingot.server.storage import sql

# Watches of artifacts see what has a new number.
_NUMBER = (
    "INSERT INTO counter(word, value) VALUES ('artifact change', 1) "
    "ON CONFLICT (word) DO UPDATE SET value = value + 1"
)
# The facts of an artifact are those of the version that `latest` points at.
_COPY = (
    "UPDATE artifact SET facts = version.facts, "
    "change = (SELECT value FROM counter WHERE word = 'artifact change'), "
    "public_change = iif(visibility = 'INTERNAL' OR visibility = 'PUBLIC' AND version.approval = 'APPROVED', "
    "(SELECT value FROM counter WHERE word = 'artifact change'), public_change) "
    "FROM version WHERE version.uid = ? "
    "AND artifact.id = version.artifact_id AND artifact.current_version = version.version"
)


class FactsSql:
    """Implements FactsStore."""

    def want(self, version_uid: str) -> None:
        sql.run(
            "INSERT OR IGNORE INTO facts_wanted(version_id) "
            "SELECT id FROM version WHERE uid = ? AND facts = ''",
            version_uid,
        )

    def wanted(self, size: int) -> Sequence[tuple[str, VersionName]]:
        return [
            (uid, ArtifactName(namespace, Kind(kind), artifact).version(version))
            for uid, namespace, kind, artifact, version in sql.rows(
                "SELECT version.uid, artifact.namespace, artifact.kind, artifact.artifact, version.version "
                "FROM facts_wanted JOIN version ON version.id = facts_wanted.version_id "
                "JOIN artifact ON artifact.id = version.artifact_id "
                "ORDER BY facts_wanted.version_id DESC LIMIT ?",
                size,
            )
        ]

    def skip(self, version_uid: str) -> None:
        sql.run(
            "DELETE FROM facts_wanted WHERE version_id = (SELECT id FROM version WHERE uid = ?)", version_uid
        )

    def put(self, version_uid: str, facts: VersionFacts) -> bool:
        self.skip(version_uid)
        found = sql.rows("SELECT facts FROM version WHERE uid = ?", version_uid)
        before = decode(found[0][0]) if found else None
        if not found or (before is not None and before.validated and not facts.validated):
            return False
        sql.run("UPDATE version SET facts = ? WHERE uid = ?", encode(facts), version_uid)
        sql.run(_NUMBER)
        sql.run(_COPY, version_uid)
        return True


def encode(facts: VersionFacts | None) -> str:
    """Return facts as they are stored; what is not known is left out."""
    return facts.model_dump_json(exclude_defaults=True) if facts else ""


def decode(stored: str) -> VersionFacts | None:
    """Return stored facts, None where none were read yet."""
    return VersionFacts.model_validate_json(stored) if stored else None
