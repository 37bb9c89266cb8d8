"""Artifacts to rows and back."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from ingot.server.core import texts
from ingot.server.core.artifacts import (
    EVERYONE,
    Artifact,
    ArtifactFields,
    Figures,
    JsonObject,
    Lifecycle,
    Visibility,
)
from ingot.server.core.names import ArtifactName, Kind
from ingot.server.storage import facts_sql, policies, reading_ahead, sql, tables

_TEXTS = (
    *("display_name", "description", "card", "language", "license"),
    *("framework", "task_type", "model_type", "source"),
)
_NUMBERS = ("size_bytes", "version_count", "version_bytes")


def audience_of(artifact: Artifact) -> str:
    """Return who may read an artifact: the id of its namespace, or EVERYONE."""
    private = artifact.fields.visibility is Visibility.PRIVATE
    return artifact.name.namespace if private else EVERYONE


def row_of(artifact: Artifact, figures: Figures) -> dict[str, Any]:
    """Return the columns of an artifact, found by these numbers, but those that say when it changed."""
    fields, live = artifact.fields, artifact.delete_time is None
    return {
        **{name: getattr(fields, name) for name in _TEXTS},
        "uid": artifact.uid,
        "name": str(artifact.name).lower() if live else None,
        "live": int(live),
        "namespace": artifact.name.namespace,
        "kind": artifact.name.kind.value,
        "artifact": artifact.name.artifact,
        "audience": audience_of(artifact) if live else None,
        "owner": artifact.owner,
        "tags": json.dumps(fields.tags, ensure_ascii=False),
        "requirements": json.dumps(fields.requirements, ensure_ascii=False),
        "metadata": json.dumps(fields.metadata, ensure_ascii=False),
        "visibility": fields.visibility.value,
        "lifecycle": fields.lifecycle.value,
        "validation": policies.encode(fields.validation),
        "approval": policies.encode_approval(fields.approval),
        "format": artifact.format,
        "current_version": artifact.current_version,
        **numbers_of(artifact, figures),
        "stored_bytes": artifact.stored_bytes,
        "created": artifact.create_time,
        "deleted": artifact.delete_time,
        "revision": artifact.revision,
        "facts": facts_sql.encode(artifact.facts),
        "indexed": texts.SEARCH_FORM,
        "public_mark": artifact.public_mark,
    }


def numbers_of(artifact: Artifact, figures: Figures) -> dict[str, float | None]:
    """Return the columns with the numbers that an artifact is found by, and with its own beside them."""
    own = Figures.of(artifact)
    pairs: dict[str, tuple[float, float]] = {
        "updated": (figures.update_time, own.update_time),
        **{name: (getattr(figures, name), getattr(own, name)) for name in _NUMBERS},
    }
    found = {name: listed for name, (listed, _) in pairs.items()}
    return found | {f"own_{name}": None if mine == listed else mine for name, (listed, mine) in pairs.items()}


def artifact_of(row: tables.Artifact) -> Artifact:
    """Return the artifact of a row, also from the trash."""
    fields = ArtifactFields(
        **{name: getattr(row, name) for name in _TEXTS},
        tags=tuple(json.loads(row.tags)),
        requirements=json_object(row.requirements),
        metadata=json_object(row.metadata),
        visibility=Visibility(row.visibility),
        lifecycle=Lifecycle(row.lifecycle),
        validation=policies.decode(row.validation),
        approval=policies.decode_approval(row.approval),
    )
    return Artifact(
        name=ArtifactName(row.namespace, Kind(row.kind), row.artifact),
        uid=row.uid,
        fields=fields,
        owner=row.owner,
        create_time=row.created,
        update_time=row.updated if row.own_updated is None else row.own_updated,
        revision=row.revision,
        format=row.format,
        current_version=row.current_version,
        version_count=_either(row.own_version_count, row.version_count),
        size_bytes=_either(row.own_size_bytes, row.size_bytes),
        version_bytes=_either(row.own_version_bytes, row.version_bytes),
        stored_bytes=row.stored_bytes,
        delete_time=row.deleted,
        facts=facts_sql.decode(row.facts),
        public_mark=row.public_mark,
        public_time=row.updated,
    )


def _either(own: int | None, listed: int) -> int:
    return listed if own is None else own


def json_object(text: str) -> JsonObject:
    """Return a JSON object; most are empty, and a page has a hundred."""
    if text == "{}":
        return {}
    found: JsonObject
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:  # of what older code let in, only the slow one reads everything
        found = json.loads(text)
    return found


def by_ids(ids: Sequence[int]) -> Mapping[int, Artifact]:
    """Return artifacts by the ids of their rows."""
    reading_ahead.bring(reading_ahead.ARTIFACTS, ids)
    found = sql.rows_where(tables.Artifact, "id IN (SELECT value FROM json_each(?))", sql.id_list(ids))
    return {row.id: artifact_of(row) for row in found}


def row_id_of(artifact: Artifact) -> int:
    """Return the id of an artifact's row, which versions and aliases refer to."""
    return int(sql.rows("SELECT id FROM artifact WHERE uid = ?", artifact.uid)[0][0])
