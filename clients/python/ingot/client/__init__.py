"""Ingot's Python SDK: `from ingot.client import Client`.

Everything public is listed here once. Names are loaded at their first use, so that importing this package (as
the command line does for `--help`) costs neither gRPC nor protobuf.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingot.client._approvals import (
        approval_policy as approval_policy,
    )
    from ingot.client._catalog import (
        artifact_fields as artifact_fields,
    )
    from ingot.client._catalog import (
        validation_policy as validation_policy,
    )
    from ingot.client._client import (
        Client as Client,
    )
    from ingot.client._connection import (
        Endpoint as Endpoint,
    )
    from ingot.client._connection import (
        TlsFiles as TlsFiles,
    )
    from ingot.client._connection import (
        find_endpoint as find_endpoint,
    )
    from ingot.client._contexts import (
        Context as Context,
    )
    from ingot.client._contexts import (
        Contexts as Contexts,
    )
    from ingot.client._contexts import (
        load_contexts as load_contexts,
    )
    from ingot.client._errors import (
        AlreadyExists as AlreadyExists,
    )
    from ingot.client._errors import (
        Cancelled as Cancelled,
    )
    from ingot.client._errors import (
        Conflict as Conflict,
    )
    from ingot.client._errors import (
        DataLoss as DataLoss,
    )
    from ingot.client._errors import (
        Denied as Denied,
    )
    from ingot.client._errors import (
        FieldProblem as FieldProblem,
    )
    from ingot.client._errors import (
        IngotError as IngotError,
    )
    from ingot.client._errors import (
        Integrity as Integrity,
    )
    from ingot.client._errors import (
        Invalid as Invalid,
    )
    from ingot.client._errors import (
        LimitReached as LimitReached,
    )
    from ingot.client._errors import (
        NotAllowed as NotAllowed,
    )
    from ingot.client._errors import (
        NotFound as NotFound,
    )
    from ingot.client._errors import (
        OutOfRange as OutOfRange,
    )
    from ingot.client._errors import (
        Precondition as Precondition,
    )
    from ingot.client._errors import (
        ServerFault as ServerFault,
    )
    from ingot.client._errors import (
        SourceChanged as SourceChanged,
    )
    from ingot.client._errors import (
        Stopped as Stopped,
    )
    from ingot.client._errors import (
        TimedOut as TimedOut,
    )
    from ingot.client._errors import (
        Unauthenticated as Unauthenticated,
    )
    from ingot.client._errors import (
        Unreachable as Unreachable,
    )
    from ingot.client._file_reader import (
        FileReader as FileReader,
    )
    from ingot.client._filesystem import (
        IngotFileSystem as IngotFileSystem,
    )
    from ingot.client._identity import (
        declared_user as declared_user,
    )
    from ingot.client._identity import (
        version as version,
    )
    from ingot.client._imports import (
        BundleFile as BundleFile,
    )
    from ingot.client._manifest import (
        Manifest as Manifest,
    )
    from ingot.client._manifest import (
        TreeFile as TreeFile,
    )
    from ingot.client._names import (
        job_name as job_name,
    )
    from ingot.client._names import (
        operation_name as operation_name,
    )
    from ingot.client._names import (
        upload_name as upload_name,
    )
    from ingot.client._open_upload import (
        OpenUpload as OpenUpload,
    )
    from ingot.client._operations import (
        operation_options as operation_options,
    )
    from ingot.client._problems import (
        FINAL_OPERATION_STATES as FINAL_OPERATION_STATES,
    )
    from ingot.client._progress import (
        OnProgress as OnProgress,
    )
    from ingot.client._progress import (
        Stage as Stage,
    )
    from ingot.client._progress import (
        TransferProgress as TransferProgress,
    )
    from ingot.client._pull import (
        PullResult as PullResult,
    )
    from ingot.client._push import (
        PushResult as PushResult,
    )
    from ingot.client._reading import (
        VerifyResult as VerifyResult,
    )
    from ingot.client._references import (
        AnyReference as AnyReference,
    )
    from ingot.client._references import (
        HubSource as HubSource,
    )
    from ingot.client._references import (
        Reference as Reference,
    )
    from ingot.client._references import (
        TreeReference as TreeReference,
    )
    from ingot.client._references import (
        UrlSource as UrlSource,
    )
    from ingot.client._references import (
        parse_artifact as parse_artifact,
    )
    from ingot.client._references import (
        parse_reference as parse_reference,
    )
    from ingot.client._references import (
        parse_tree as parse_tree,
    )
    from ingot.client._results import (
        ExportResult as ExportResult,
    )
    from ingot.client._results import (
        FileReport as FileReport,
    )
    from ingot.client._results import (
        Finding as Finding,
    )
    from ingot.client._results import (
        ImportResult as ImportResult,
    )
    from ingot.client._results import (
        ValidationReport as ValidationReport,
    )
    from ingot.client._training import (
        FINAL_STATES as FINAL_STATES,
    )
    from ingot.client._trees import (
        PlacedFile as PlacedFile,
    )
    from ingot.client.aio import (
        AsyncClient as AsyncClient,
    )

_HOME = {
    "_approvals": ("approval_policy",),
    "_catalog": ("artifact_fields", "validation_policy"),
    "_client": ("Client",),
    "aio": ("AsyncClient",),
    "_connection": ("Endpoint", "TlsFiles", "find_endpoint"),
    "_contexts": ("Context", "Contexts", "load_contexts"),
    "_errors": (
        "AlreadyExists",
        "Cancelled",
        "Conflict",
        "DataLoss",
        "Denied",
        "FieldProblem",
        "IngotError",
        "Integrity",
        "Invalid",
        "LimitReached",
        "NotAllowed",
        "NotFound",
        "OutOfRange",
        "Precondition",
        "ServerFault",
        "SourceChanged",
        "Stopped",
        "TimedOut",
        "Unauthenticated",
        "Unreachable",
    ),
    "_filesystem": ("IngotFileSystem",),
    "_identity": ("declared_user", "version"),
    "_imports": ("BundleFile",),
    "_names": ("job_name", "operation_name", "upload_name"),
    "_open_upload": ("OpenUpload",),
    "_operations": ("operation_options",),
    "_problems": ("FINAL_OPERATION_STATES",),
    "_progress": ("OnProgress", "Stage", "TransferProgress"),
    "_manifest": ("Manifest", "TreeFile"),
    "_pull": ("PullResult",),
    "_push": ("PushResult",),
    "_file_reader": ("FileReader",),
    "_reading": ("VerifyResult",),
    "_references": (
        "AnyReference",
        "HubSource",
        "Reference",
        "TreeReference",
        "UrlSource",
        "parse_artifact",
        "parse_reference",
        "parse_tree",
    ),
    "_results": ("ExportResult", "FileReport", "Finding", "ImportResult", "ValidationReport"),
    "_training": ("FINAL_STATES",),
    "_trees": ("PlacedFile",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [  # noqa: PLE0604  # one list: names and their homes
    *_MODULE_OF
]


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
