"""Requests that start imports, exports and upkeep, as types of core."""

from typing import Literal

from ingot.server.core.artifacts import ArtifactFields
from ingot.server.core.errors import invalid_field
from ingot.server.core.exports import (
    Layout,
    WantedBundle,
    WantedExport,
    WantedFolder,
    WantedHub,
)
from ingot.server.core.imports import WantedImport, WantedTarget
from ingot.server.core.names import ArtifactName, Kind, artifact_name
from ingot.server.core.operations import OperationOptions, RetryPolicy
from ingot.server.core.params import BundleImport, HubImport, UrlFile, UrlImport
from ingot.server.rpc import convert_catalog
from ingot.server.rpc import convert_common as common
from ingot.v1 import catalog_pb2, operations_pb2, transfer_pb2

_MOST_FILES = 10_000
_UPKEEP = "UPKEEP_KIND_"


def wanted_import(request: operations_pb2.StartImportRequest, defaults: RetryPolicy) -> WantedImport:
    """Return what an import is asked to do; `defaults` stand for the unset fields of a retry policy.

    Raises Invalid (FIELD_INVALID, NAME_INVALID).
    """
    return WantedImport(
        source=_source(request),
        target=_target(request.target),
        force=request.force,
        check_only=request.validate_only,
        max_bytes_per_second=request.max_bytes_per_second,
        options=options(request.options, defaults),
    )


def wanted_export(request: operations_pb2.StartExportRequest) -> WantedExport:
    """Return what an export is asked to do. Raises Invalid (FIELD_INVALID)."""
    return WantedExport(tuple(request.sources), _destination(request))


def upkeep_kind(value: operations_pb2.UpkeepKind.ValueType) -> str:
    """Return the kind of operation that an upkeep is. Raises Invalid (FIELD_INVALID)."""
    known = value in operations_pb2.UpkeepKind.values()
    if not known or value == operations_pb2.UPKEEP_KIND_UNSPECIFIED:
        expected = ", ".join(operations_pb2.UpkeepKind.keys()[1:])
        raise invalid_field("kind", f"expected one of {expected}, got {value}")
    return operations_pb2.UpkeepKind.Name(value).removeprefix(_UPKEEP).lower()


def options(message: operations_pb2.OperationOptions, defaults: RetryPolicy) -> OperationOptions:
    """Return how an operation differs from others of its kind. Raises Invalid (FIELD_INVALID)."""
    return OperationOptions(
        priority=message.priority,
        policy=_policy(message.retry_policy, defaults) if message.HasField("retry_policy") else None,
        timeout=_timeout(message),
    )


def _policy(message: operations_pb2.RetryPolicy, defaults: RetryPolicy) -> RetryPolicy:
    delay = common.seconds_of(message.delay) if message.HasField("delay") else defaults.delay
    return RetryPolicy(
        max_attempts=message.max_attempts or defaults.max_attempts,
        delay=delay,
        multiplier=message.multiplier or defaults.multiplier,
    )


def _timeout(message: operations_pb2.OperationOptions) -> float | None:
    if not message.HasField("timeout"):
        return None
    seconds = common.seconds_of(message.timeout)
    if seconds <= 0:
        raise invalid_field("options.timeout", f"expected above 0 s, got {seconds:g} s")
    return seconds


# --- where an import reads ------------------------------------------------------------------------------


def _source(
    request: operations_pb2.StartImportRequest,
) -> HubImport | UrlImport | BundleImport | ArtifactName:
    match request.WhichOneof("source"):
        case "hub":
            return HubImport(
                repository=request.hub.repository,
                repository_kind=_repository_kind(request.hub.repository_kind, "hub.repository_kind")
                or "model",
                revision=request.hub.revision,
                include=tuple(request.hub.include),
                exclude=tuple(request.hub.exclude),
            )
        case "urls":
            return _urls(request.urls)
        case "bundle":
            return BundleImport(path=request.bundle.path, signer=request.bundle.signer)
        case "registered":
            return artifact_name(request.registered, "registered")
        case _:
            raise invalid_field("source", "expected one of hub, urls, bundle and registered, got none")


def _urls(message: operations_pb2.UrlSource) -> UrlImport:
    if not 1 <= len(message.files) <= _MOST_FILES:
        raise invalid_field("urls.files", f"expected 1 to {_MOST_FILES}, got {len(message.files)}")
    for at, file in enumerate(message.files):
        if not file.urls:
            raise invalid_field(f"urls.files[{at}].urls", "expected at least one URL, got none")
        if file.size_bytes < 0:
            raise invalid_field(f"urls.files[{at}].size_bytes", f"expected 0 or more, got {file.size_bytes}")
    files = [
        UrlFile(
            path=file.path,
            urls=tuple(file.urls),
            checksum=file.checksum,
            size_bytes=file.size_bytes,
            unpack=file.unpack,
        )
        for file in message.files
    ]
    return UrlImport(files=tuple(files))


def _target(message: transfer_pb2.NewVersion) -> WantedTarget:
    told = {each.name for each, _ in message.ListFields()}
    for name in ("expected_latest", "format", "training_job", "attempt", "source", "source_commit"):
        if name in told:
            raise invalid_field(f"target.{name}", "expected nothing: an import does not take it")
    create = message.create if message.HasField("create") else None
    return WantedTarget(
        artifact=artifact_name(message.artifact, "target.artifact") if message.artifact else None,
        kind=_kind(create),
        create=_create(create),
        version_id=message.version_id,
        changelog=message.changelog,
        aliases=tuple(message.aliases),
        metadata=convert_catalog.json_of(message.metadata, "target.metadata"),
        performance_metrics=convert_catalog.json_of(
            message.performance_metrics, "target.performance_metrics"
        ),
    )


def _kind(create: catalog_pb2.Artifact | None) -> Kind | None:
    return convert_catalog.optional_kind_of(create.kind) if create is not None else None


def _create(create: catalog_pb2.Artifact | None) -> ArtifactFields | None:
    return convert_catalog.fields_of(create, "target.create") if create is not None else None


# --- where an export writes -----------------------------------------------------------------------------


def _destination(request: operations_pb2.StartExportRequest) -> WantedFolder | WantedHub | WantedBundle:
    match request.WhichOneof("destination"):
        case "folder":
            folder = request.folder
            return WantedFolder(folder.path, _layout(folder.layout), folder.keep)
        case "hub":
            hub = request.hub
            kind = _repository_kind(hub.repository_kind, "hub.repository_kind") or ""
            return WantedHub(hub.repository, kind, hub.branch, hub.private, hub.message)
        case "bundle":
            bundle = request.bundle
            told = bundle.HasField("since")
            return WantedBundle(bundle.path, common.date_of(bundle.since, "bundle.since") if told else None)
        case _:
            raise invalid_field("destination", "expected one of folder, hub and bundle, got none")


def _layout(value: operations_pb2.ExportLayout.ValueType) -> Layout:
    if value not in operations_pb2.ExportLayout.values():
        raise invalid_field("folder.layout", f"expected a layout, got {value}")
    return Layout.OWNER_UID if value == operations_pb2.EXPORT_LAYOUT_OWNER_UID else Layout.NAME


def _repository_kind(
    value: operations_pb2.HubRepositoryKind.ValueType, field: str
) -> Literal["model", "dataset"] | None:
    """Return what a repository holds, None when it is not told. Raises Invalid."""
    match value:
        case operations_pb2.HUB_REPOSITORY_KIND_UNSPECIFIED:
            return None
        case operations_pb2.HUB_REPOSITORY_KIND_MODEL:
            return "model"
        case operations_pb2.HUB_REPOSITORY_KIND_DATASET:
            return "dataset"
        case _:
            raise invalid_field(field, f"expected a model or a dataset, got {value}")
