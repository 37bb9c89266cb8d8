"""The kinds of operations: what each does, where its body runs, its queue, retries and parameters."""

from dataclasses import dataclass
from enum import StrEnum

from ingot.server.core import params, upkeep_params
from ingot.server.core.operations import RetryPolicy

DOWNLOAD, VALIDATE, EXPORT, MAINTENANCE = "download", "validate", "export", "maintenance"
QUEUES = (DOWNLOAD, VALIDATE, EXPORT, MAINTENANCE)


class Place(StrEnum):
    """Where the body of a kind runs."""

    PROCESS = "process"  # a child process without a database, a client of the server
    SHELF = "shelf"  # the server itself, in small steps


@dataclass(frozen=True, slots=True)
class OperationKind:
    """One kind; the policy and the timeout are None where the settings of the server decide."""

    name: str
    description: str
    queue: str
    place: Place
    params_type: type[params.Params]
    result_type: type[params.Params]
    policy: RetryPolicy | None = None
    timeout: float | None = None  # seconds an attempt may last


_ONCE = RetryPolicy(max_attempts=1)
_FEW = RetryPolicy(max_attempts=3, delay=10.0, multiplier=2.0)

KINDS: dict[str, OperationKind] = {
    kind.name: kind
    for kind in (
        OperationKind(
            "import",
            "Fetch a Hub repository, URLs or a bundle and make a version of it.",
            DOWNLOAD,
            Place.PROCESS,
            params.ImportParams,
            params.ImportResult,
        ),
        OperationKind(
            "validate",
            "Check the content of a version against rules.",
            VALIDATE,
            Place.PROCESS,
            params.ValidationParams,
            params.ValidationReport,
            policy=_FEW,
        ),
        OperationKind(
            "export",
            "Write versions to a folder, a Hub repository or a signed bundle.",
            EXPORT,
            Place.PROCESS,
            params.ExportParams,
            params.ExportResult,
        ),
        OperationKind(
            "remove",
            "Remove what was deleted, or purged from the trash, and free its space.",
            MAINTENANCE,
            Place.SHELF,
            upkeep_params.RemoveParams,
            upkeep_params.RemoveResult,
            policy=_FEW,
        ),
        *(
            OperationKind(
                name,
                description,
                MAINTENANCE,
                Place.SHELF,
                upkeep_params.UpkeepParams,
                result,
                policy=_FEW,
            )
            for name, result, description in (
                (
                    "clean",
                    upkeep_params.CleanResult,
                    "Expire and forget uploads, failed ones among them, and old records.",
                ),
                ("collect", upkeep_params.CollectResult, "Free the space of chunks that no tree holds."),
                (
                    "scrub",
                    upkeep_params.ScrubResult,
                    "Read a share of the stored chunks and check them.",
                ),
                (
                    "verify",
                    upkeep_params.VerifyResult,
                    "Read all stored chunks and check rows and packs.",
                ),
                ("backup", upkeep_params.BackupResult, "Write a consistent copy of rows and packs."),
            )
        ),
        OperationKind(
            "recover",
            "Put right what an earlier run of the server left.",
            MAINTENANCE,
            Place.SHELF,
            upkeep_params.UpkeepParams,
            upkeep_params.RecoverResult,
            policy=_ONCE,
        ),
    )
}
