"""Artifacts, versions and aliases between the wire and the rules."""

import math
from collections.abc import Mapping, Sequence

from google.protobuf import json_format, struct_pb2

from ingot.server.core.artifacts import (
    Alias,
    Artifact,
    ArtifactFields,
    CatalogTotals,
    FacetCounts,
    JsonObject,
    JsonValue,
    Lifecycle,
    Version,
    VersionOrigin,
    VersionState,
    Visibility,
)
from ingot.server.core.errors import invalid_field
from ingot.server.core.facts import VersionFacts
from ingot.server.core.names import Kind
from ingot.server.core.registrations import AskedSource, Registration
from ingot.server.core.usage import ArtifactUsage
from ingot.server.domain.catalog_asked import ArtifactChange
from ingot.server.rpc import convert_approvals, convert_facts, convert_usage, convert_validation
from ingot.server.rpc import convert_common as common
from ingot.v1 import catalog_pb2

_KINDS = {
    catalog_pb2.ARTIFACT_KIND_MODEL: Kind.MODEL,
    catalog_pb2.ARTIFACT_KIND_DATASET: Kind.DATASET,
}
_KIND_VALUES = {kind: value for value, kind in _KINDS.items()}
_TEXTS = (
    *("display_name", "description", "card", "language", "license"),
    *("framework", "task_type", "model_type", "source"),
)
# Messages nest up to 100 deep, JSON takes three levels each, and answers hold it deeper than requests: what
# just fits into a request could not be read back.
JSON_DEPTH = 20
_NO_ORIGIN = VersionOrigin()
_STATES = {each: catalog_pb2.VersionState.Value(f"VERSION_STATE_{each.name}") for each in VersionState}
_VISIBILITIES = {each: catalog_pb2.Visibility.Value(f"VISIBILITY_{each.name}") for each in Visibility}
_LIFECYCLES = {
    each: catalog_pb2.ArtifactLifecycle.Value(f"ARTIFACT_LIFECYCLE_{each.name}") for each in Lifecycle
}


def kind_of(value: catalog_pb2.ArtifactKind.ValueType, field: str = "kind") -> Kind:
    """Return the kind that a request names. Raises Invalid."""
    if value not in _KINDS:
        raise invalid_field(field, "expected ARTIFACT_KIND_MODEL or ARTIFACT_KIND_DATASET")
    return _KINDS[value]


def optional_kind_of(value: catalog_pb2.ArtifactKind.ValueType) -> Kind | None:
    """Return the kind that a request narrows to, None for both."""
    return kind_of(value) if value else None


def fields_of(message: catalog_pb2.Artifact, field: str = "artifact") -> ArtifactFields:
    """Return what the owner says about an artifact; fields of the server are ignored.

    `field` is where the artifact is in the request. Raises Invalid (FIELD_INVALID).
    """
    return ArtifactFields(
        **{name: getattr(message, name) for name in _TEXTS},
        tags=tuple(message.tags),
        requirements=json_of(message.requirements, f"{field}.requirements"),
        metadata=json_of(message.metadata, f"{field}.metadata"),
        visibility=_visibility_of(message.visibility),
        lifecycle=_lifecycle_of(message.lifecycle),
        validation=convert_validation.policy_of(message.validation, f"{field}.validation"),
        approval=convert_approvals.policy_of(message.approval, f"{field}.approval"),
    )


def change_of(request: catalog_pb2.UpdateArtifactRequest, change: ArtifactChange) -> ArtifactChange:
    """Return `change` with what an update says: new values, mask, and which fields hold a value."""
    message = request.artifact
    return ArtifactChange(
        name=change.name,
        fields=fields_of(message),
        paths=tuple(request.update_mask.paths),
        populated=tuple(field.name for field, _ in message.ListFields()),
        etag=message.etag,
    )


def show_artifact(
    message: catalog_pb2.Artifact,
    found: Artifact,
    usage: ArtifactUsage,
    versions: Sequence[Version],
    *,
    local_path: str,
    registration: Registration | None,
) -> None:
    """Fill an empty message with an artifact, its counters, and versions where the view asks for them.

    One that is part of another message is filled where it is: what a constructor is given it copies, and
    the pages of lists would be copied three times over.
    """
    fields = found.fields
    message.name = str(found.name)
    message.uid = found.uid
    message.kind = _KIND_VALUES[found.name.kind]
    _show_fields(message, fields)
    message.format = found.format
    message.owner = found.owner
    if found.current_version:
        message.current_version = f"{found.name}/versions/{found.current_version}"
    message.version_count = found.version_count
    message.size_bytes = found.size_bytes
    message.stored_bytes = found.stored_bytes
    convert_usage.show_usage(message.usage, usage)
    common.set_time(message.create_time, found.create_time)
    common.set_time(message.update_time, found.update_time)
    if found.delete_time is not None:
        common.set_time(message.delete_time, found.delete_time)
    message.etag = found.etag
    if registration is not None or local_path:
        message.fetch.CopyFrom(_fetch(registration, local_path))
    if found.facts is not None:
        _show_facts(message, found.facts, found.name.kind)
    for version in versions:
        show_version(message.versions.add(), version)


def _show_fields(message: catalog_pb2.Artifact, fields: ArtifactFields) -> None:
    message.display_name = fields.display_name
    message.description = fields.description
    message.card = fields.card
    message.tags.extend(fields.tags)
    message.language = fields.language
    message.license = fields.license
    message.framework = fields.framework
    message.task_type = fields.task_type
    message.model_type = fields.model_type
    message.source = fields.source
    if fields.requirements:
        _fill(message.requirements, fields.requirements)
    if fields.metadata:
        _fill(message.metadata, fields.metadata)
    message.visibility = _VISIBILITIES[fields.visibility]
    message.lifecycle = _LIFECYCLES[fields.lifecycle]
    validation = convert_validation.policy_message(fields.validation)
    if validation is not None:
        message.validation.CopyFrom(validation)
    approval = convert_approvals.policy_message(fields.approval)
    if approval is not None:
        message.approval.CopyFrom(approval)


def _show_facts(
    message: catalog_pb2.Artifact | catalog_pb2.Version, facts: VersionFacts | None, kind: Kind
) -> None:
    model, dataset = convert_facts.model_facts(facts, kind), convert_facts.dataset_facts(facts, kind)
    if model is not None:
        message.model.CopyFrom(model)
    if dataset is not None:
        message.dataset.CopyFrom(dataset)


def source_of(message: catalog_pb2.Artifact) -> AskedSource | None:
    """Return the source that an artifact is to be registered with, None without one."""
    asked = message.fetch
    if not asked.original_url:
        return None
    return AskedSource(asked.original_url, asked.expected_checksum, asked.expected_size_bytes)


def _fetch(found: Registration | None, local_path: str) -> catalog_pb2.Fetch:
    if found is None:
        return catalog_pb2.Fetch(local_path=local_path)
    return catalog_pb2.Fetch(
        original_url=found.original_url,
        local_path=local_path,
        expected_checksum=found.expected_checksum,
        expected_size_bytes=found.expected_size,
        downloaded=found.downloaded,
        download_progress=found.progress,
        download_time=common.timestamp(found.download_time),
        state=catalog_pb2.FetchState.Value(f"FETCH_STATE_{found.state.name}"),
        problem=common.problem(found.problem),
        operation=found.operation,
        checksum=found.checksum,
        size_bytes=found.size,
        update_time=common.timestamp(found.update_time),
    )


def version_message(found: Version) -> catalog_pb2.Version:
    """Return a version."""
    message = catalog_pb2.Version()
    show_version(message, found)
    return message


def show_version(message: catalog_pb2.Version, found: Version) -> None:
    """Fill an empty message as `version_message` does; see `show_artifact`."""
    message.name = str(found.name)
    message.uid = found.uid
    message.state = _STATES[found.state]
    message.changelog = found.changelog
    if found.metadata:
        _fill(message.metadata, found.metadata)
    if found.performance_metrics:
        _fill(message.performance_metrics, found.performance_metrics)
    message.format = found.format
    message.digest = f"blake3:{found.digest.hex()}"
    message.file_count = found.file_count
    message.size_bytes = found.size_bytes
    message.new_bytes = found.new_bytes
    message.storage_uri = found.storage_uri
    _show_origin(message.origin, found.origin)
    message.creator = found.creator
    common.set_time(message.create_time, found.create_time)
    if found.ready_time is not None:
        common.set_time(message.ready_time, found.ready_time)
    message.etag = found.etag
    message.aliases.extend(found.aliases)
    message.last_validation = found.last_validation
    message.approval = convert_approvals.state(found.approval)
    if found.delete_time is not None:
        common.set_time(message.delete_time, found.delete_time)
    if found.update_time is not None:
        common.set_time(message.update_time, found.update_time)
    if found.facts is not None:
        _show_facts(message, found.facts, found.name.artifact.kind)


def _show_origin(message: catalog_pb2.VersionOrigin, found: VersionOrigin) -> None:
    message.SetInParent()  # also where nothing is told of it
    if found == _NO_ORIGIN:
        return
    message.upload = found.upload
    message.operation = found.operation
    message.training_job = found.training_job
    message.hub_commit = found.hub_commit
    message.dataset_version = found.dataset_version
    message.base_version = found.base_version
    message.source = found.source


def alias_message(found: Alias) -> catalog_pb2.Alias:
    """Return an alias."""
    return catalog_pb2.Alias(
        name=str(found.name),
        version=str(found.version),
        update_time=common.timestamp(found.update_time),
        updated_by=found.updated_by,
        etag=found.etag,
        protected=found.protected,
    )


def totals_message(found: CatalogTotals, kind: Kind, imports: int) -> catalog_pb2.GetCatalogStatsResponse:
    """Return totals with the values of each facet, the most frequent first, and the imports that run."""

    def counts(field: str) -> list[catalog_pb2.ValueCount]:
        rows = [(term.value, count) for term, count in found.terms.items() if term.field == field]
        rows.sort(key=lambda row: (-row[1], row[0]))
        return [catalog_pb2.ValueCount(value=value, count=count) for value, count in rows]

    return catalog_pb2.GetCatalogStatsResponse(
        total_count=found.artifact_count,
        total_size_bytes=found.size_bytes,
        total_models=found.artifact_count if kind is Kind.MODEL else 0,
        total_datasets=found.artifact_count if kind is Kind.DATASET else 0,
        total_size=found.size_bytes,
        active_downloads=imports,
        version_count=found.version_count,
        languages=counts("language"),
        formats=counts("format"),
        types=counts("model_type"),
        frameworks=counts("framework"),
        tags=counts("tag"),
    )


def facets_message(found: FacetCounts) -> catalog_pb2.GetFacetsResponse:
    """Return the values of each field, the most frequent first."""
    return catalog_pb2.GetFacetsResponse(
        total_count=found.total,
        facets=[
            catalog_pb2.Facet(
                field=field,
                values=[catalog_pb2.ValueCount(value=value, count=count) for value, count in values],
                more=field in found.more,
            )
            for field, values in found.values.items()
        ],
    )


def json_of(message: struct_pb2.Struct, field: str) -> JsonObject:
    """Return a Struct as plain values; `field` is its path in the request.

    Raises Invalid (FIELD_INVALID) for NaN, infinity, and what is nested deeper than JSON_DEPTH.
    """
    for name, value in message.fields.items():
        _check_json(value, f"{field}.{name[:40]}", 1)
    found: JsonObject = json_format.MessageToDict(message)
    return found


def _check_json(value: struct_pb2.Value, field: str, depth: int) -> None:
    if depth > JSON_DEPTH:
        raise invalid_field(
            field, f"expected at most {JSON_DEPTH} levels", next_step="Keep it as a file of a version."
        )
    match value.WhichOneof("kind"):
        case "number_value":
            if not math.isfinite(value.number_value):
                raise invalid_field(
                    field, f"expected a number, got {value.number_value}", next_step="Leave it out."
                )
        case "struct_value":
            for name, each in value.struct_value.fields.items():
                _check_json(each, f"{field}.{name[:40]}", depth + 1)
        case "list_value":
            for position, each in enumerate(value.list_value.values):
                _check_json(each, f"{field}[{position}]", depth + 1)


def struct_of(values: JsonObject) -> struct_pb2.Struct | None:
    """Return plain values as a Struct, None when there are none."""
    if not values:
        return None
    message = struct_pb2.Struct()
    _fill(message, values)
    return message


def _fill(message: struct_pb2.Struct, values: Mapping[str, JsonValue]) -> None:
    for name, value in values.items():
        _set(message.fields[name], value)


def _set(message: struct_pb2.Value, value: JsonValue) -> None:
    """Give a value of a Struct; ten times as fast as protobuf's own way from JSON."""
    if isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, int | float):
        message.number_value = value
    elif isinstance(value, str):
        message.string_value = value
    elif value is None:
        message.null_value = struct_pb2.NULL_VALUE
    elif isinstance(value, Mapping):
        message.struct_value.SetInParent()
        _fill(message.struct_value, value)
    else:
        message.list_value.SetInParent()
        for each in value:
            _set(message.list_value.values.add(), each)


def _visibility_of(value: catalog_pb2.Visibility.ValueType) -> Visibility:
    name = _enum_name(catalog_pb2.Visibility, value, "VISIBILITY_", "artifact.visibility")
    return Visibility[name] if name else Visibility.PRIVATE


def _lifecycle_of(value: catalog_pb2.ArtifactLifecycle.ValueType) -> Lifecycle:
    name = _enum_name(catalog_pb2.ArtifactLifecycle, value, "ARTIFACT_LIFECYCLE_", "artifact.lifecycle")
    return Lifecycle[name] if name else Lifecycle.ACTIVE


def _enum_name(kind: object, value: int, prefix: str, field: str) -> str:
    """Return the name of an enum value without its prefix, "" for unspecified. Raises Invalid."""
    names = {number: name for name, number in kind.items()}  # type: ignore[attr-defined]  # enum wrappers
    if value not in names:
        expected = ", ".join(name for number, name in sorted(names.items()) if number)
        raise invalid_field(field, f"expected one of {expected}, got {value}")
    return str(names[value]).removeprefix(prefix) if value else ""
