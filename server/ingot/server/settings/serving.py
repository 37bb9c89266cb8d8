"""The first part of the settings: what the server serves, to whom, and within which limits.

The second part is fields.py: work in the background, and how the store is kept.
"""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

from ingot.server.core.approval_policies import EVIDENCE

STANDARD_ADDRESS = "127.0.0.1:7070"
VALIDATIONS = ("none", "required")


def about(
    text: str, *, variables: tuple[str, ...] = (), default: str = "", secret: bool = False
) -> dict[str, object]:
    """Return what is told of a setting: `default` where this machine's own value would tell nobody else.

    A secret is never shown, and is no flag: whoever lists the processes of the machine would see it.
    """
    return {"help": text, "variables": variables, "default": default, "secret": secret}


def _data_dir() -> Path:
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser() / "ingot"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSettings:
    """Where data are, addresses, logins, limits and records; sizes in bytes, times in seconds."""

    data_dir: Path = dataclasses.field(
        default_factory=_data_dir,
        metadata=about(
            "Folder that holds everything: database, packs, logs, the administrator's token.",
            variables=("UPLOAD_DIR",),
            default="$XDG_DATA_HOME/ingot, else ~/.local/share/ingot",
        ),
    )
    database_url: str = dataclasses.field(
        default="",
        metadata=about(
            "Where the rows are: sqlite:///<path>, with four slashes for an absolute path.",
            variables=("DATABASE_URL",),
            default="ingot.db in the data folder",
        ),
    )
    listen: tuple[str, ...] = dataclasses.field(
        default=(STANDARD_ADDRESS,),
        metadata=about(
            "Addresses as host:port; port 0 takes a free one. There is always a unix socket too.",
            variables=("PORT",),
        ),
    )
    data_listen: tuple[str, ...] = dataclasses.field(
        default=(),
        metadata=about(
            "Addresses as host:port, on the hosts of listen, each served by one more process that only moves "
            "data: for machines with more than two processors. Clients find them where TLS or a unix socket "
            "tells who answers; who cannot reach them does without.",
            default="none",
        ),
    )
    insecure: bool = dataclasses.field(
        default=False,
        metadata=about(
            "Allow addresses other machines reach without TLS, though tokens and data travel in the clear; "
            "passwords and new tokens are refused there all the same."
        ),
    )
    tls_cert: Path = dataclasses.field(
        default=Path(),
        metadata=about(
            "Certificate, PEM with the chain to its authority, with which all addresses speak TLS; the unix "
            "socket does not need to. A renewed file is taken without a restart.",
            default="none: no TLS",
        ),
    )
    tls_key: Path = dataclasses.field(
        default=Path(), metadata=about("Private key of tls_cert, PEM.", default="none")
    )
    tls_client_ca: Path = dataclasses.field(
        default=Path(),
        metadata=about(
            "Certificates of the authority, PEM, from which every client needs a certificate; the credential "
            "of a call stays its token.",
            default="none: clients need no certificate",
        ),
    )
    health: bool = dataclasses.field(
        default=True, metadata=about("Serve grpc.health.v1, which needs no credential.")
    )
    reflection: bool = dataclasses.field(
        default=True, metadata=about("Serve reflection for grpcurl and buf curl, which needs no credential.")
    )
    call_seconds: float = dataclasses.field(
        default=600.0,
        metadata=about("Longest time of a call that is no stream and whose client set no deadline."),
    )
    calls_per_second: float = dataclasses.field(
        default=1000.0,
        metadata=about("Calls that each principal may make in a second, on average; 0 is any number."),
    )
    call_burst: int = dataclasses.field(
        default=10_000, metadata=about("Calls that it may make at once after a pause.")
    )
    public_calls_per_second: float = dataclasses.field(
        default=20.0,
        metadata=about(
            "The same for calls without a good credential from one address, health and reflection too; 0 is "
            "any number."
        ),
    )
    public_call_burst: int = dataclasses.field(
        default=200, metadata=about("Such calls that it may make at once after a pause.")
    )
    login_minutes: float = dataclasses.field(
        default=15.0,
        metadata=about(
            "How long an access token of a login is good; clients get the next one by themselves."
        ),
    )
    login_days: float = dataclasses.field(
        default=30.0, metadata=about("How long a login lasts until the password is asked again.")
    )
    drain_seconds: float = dataclasses.field(
        default=30.0, metadata=about("How long running calls may go on when the server is told to stop.")
    )
    read_threads: int = dataclasses.field(default=4, metadata=about("Threads that read the database."))
    io_threads: int = dataclasses.field(
        default=8, metadata=about("Threads that read and write files and compute digests.")
    )
    max_dataset_bytes: int = dataclasses.field(
        default=0,
        metadata=about("Largest version of a dataset that may be uploaded, in bytes; 0 is any size."),
    )
    max_model_bytes: int = dataclasses.field(
        default=0,
        metadata=about("Largest version of a model that may be uploaded, in bytes; 0 is any size."),
    )
    namespace_quota_bytes: int = dataclasses.field(
        default=0, metadata=about("Bytes of versions and checkpoints a namespace may have; 0 is no limit.")
    )
    namespace_physical_quota_bytes: int = dataclasses.field(
        default=0,
        metadata=about(
            "Bytes of different chunks, and of the rows about them, that a namespace may have; 0 is no "
            "limit, or twice namespace_quota_bytes where that one is set."
        ),
    )
    namespaces_per_member: int = dataclasses.field(
        default=10,
        metadata=about("Namespaces a member may own besides its own; 0 lets administrators alone make any."),
    )
    trash_days: float = dataclasses.field(
        default=30.0, metadata=about("Days until what is in the trash goes for good; 0 keeps it.")
    )
    validation: str = dataclasses.field(
        default="none",
        metadata=about(
            "Whether versions must pass a validation before others see them, where their artifact does not "
            "say: none or required."
        ),
    )
    failed_upload_hours: float = dataclasses.field(
        default=24.0,
        metadata=about(
            "How long failed uploads are kept, in hours, with the versions that were rejected; then the "
            "hourly clean-up forgets them."
        ),
    )
    approval_evidence: tuple[str, ...] = dataclasses.field(
        default=EVIDENCE,
        metadata=about(
            "What every approval of a version needs: validation (it passed), scan (it found nothing unsafe), "
            "license (one is set). Policies of artifacts can ask for more."
        ),
    )
    audit_head_file: Path = dataclasses.field(
        default=Path(),
        metadata=about(
            "File that keeps the signed head of the audit log, outside of the database; on another disk, or "
            "where only the server may write, it is harder to change together with it.",
            default="audit.head in the data folder",
        ),
    )
    activity_days: int = dataclasses.field(
        default=90, metadata=about("How long the record of calls is kept, in days.")
    )
    usage_days: int = dataclasses.field(
        default=1100,
        metadata=about("How long counts by day are kept, of uses, calls and problems; totals stay for good."),
    )
    metrics: str = dataclasses.field(
        default="",
        metadata=about(
            "Address, host:port, that serves figures for Prometheus at /metrics, with TLS where tls_cert is "
            "set; whoever reaches it may read them, and they name nobody.",
            default="none",
        ),
    )
    traces: str = dataclasses.field(
        default="",
        metadata=about(
            "Collector that takes traces by OTLP over gRPC, such as http://127.0.0.1:4317; needs the extra "
            "ingot[otel]. OTEL_TRACES_SAMPLER says how many calls are traced.",
            default="none",
        ),
    )
