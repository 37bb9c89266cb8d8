"""Everything one can set about a server, in one table: the fields of `Settings`.

A value comes from the first of: a flag, `INGOT_<NAME>`, a variable that a system before Ingot used, the TOML
file, the default. docs/settings.md and the text of `--help` are made from the same fields.

    settings_table.py      the fields as rows: name, kind, default, help
    settings_loading.py    finds the values of one start and turns them into their types
    settings_checks.py     refuses what cannot be, alone or together
    settings_page.py       docs/settings.md
"""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

from ingot.server.core.approval_policies import EVIDENCE

PREFIX = "INGOT_"
STANDARD_ADDRESS = "127.0.0.1:7070"
VALIDATIONS = ("none", "required")
LOG_LEVELS = ("debug", "info", "warning", "error")
QUEUE_LIMITS = ("download=2", "validate=2", "export=1", "maintenance=2")
DISPATCHERS = ("rows", "memory")


class SettingsError(Exception):
    """A setting cannot be used: the message says which, where it came from, and what was expected."""


def _about(
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
class Settings:
    """The settings of one server; sizes in bytes, times in seconds."""

    data_dir: Path = dataclasses.field(
        default_factory=_data_dir,
        metadata=_about(
            "Folder that holds everything: database, packs, logs, the administrator's token.",
            variables=("UPLOAD_DIR",),
            default="$XDG_DATA_HOME/ingot, else ~/.local/share/ingot",
        ),
    )
    database_url: str = dataclasses.field(
        default="",
        metadata=_about(
            "Where the rows are: sqlite:///<path>, with four slashes for an absolute path.",
            variables=("DATABASE_URL",),
            default="ingot.db in the data folder",
        ),
    )
    listen: tuple[str, ...] = dataclasses.field(
        default=(STANDARD_ADDRESS,),
        metadata=_about(
            "Addresses as host:port; port 0 takes a free one. There is always a unix socket too.",
            variables=("PORT",),
        ),
    )
    insecure: bool = dataclasses.field(
        default=False,
        metadata=_about(
            "Allow addresses other machines reach without TLS, though tokens and data travel in the clear; "
            "passwords and new tokens are refused there all the same."
        ),
    )
    tls_cert: Path = dataclasses.field(
        default=Path(),
        metadata=_about(
            "Certificate, PEM with the chain to its authority, with which all addresses speak TLS; the unix "
            "socket does not need to. A renewed file is taken without a restart.",
            default="none: no TLS",
        ),
    )
    tls_key: Path = dataclasses.field(
        default=Path(), metadata=_about("Private key of tls_cert, PEM.", default="none")
    )
    tls_client_ca: Path = dataclasses.field(
        default=Path(),
        metadata=_about(
            "Certificates of the authority, PEM, from which every client needs a certificate; the credential "
            "of a call stays its token.",
            default="none: clients need no certificate",
        ),
    )
    health: bool = dataclasses.field(
        default=True, metadata=_about("Serve grpc.health.v1, which needs no credential.")
    )
    reflection: bool = dataclasses.field(
        default=True, metadata=_about("Serve reflection for grpcurl and buf curl, which needs no credential.")
    )
    call_seconds: float = dataclasses.field(
        default=600.0,
        metadata=_about("Longest time of a call that is no stream and whose client set no deadline."),
    )
    calls_per_second: float = dataclasses.field(
        default=1000.0,
        metadata=_about("Calls that each principal may make in a second, on average; 0 is any number."),
    )
    call_burst: int = dataclasses.field(
        default=10_000, metadata=_about("Calls that it may make at once after a pause.")
    )
    public_calls_per_second: float = dataclasses.field(
        default=20.0,
        metadata=_about(
            "The same for calls without a good credential from one address, health and reflection too; 0 is "
            "any number."
        ),
    )
    public_call_burst: int = dataclasses.field(
        default=200, metadata=_about("Such calls that it may make at once after a pause.")
    )
    login_minutes: float = dataclasses.field(
        default=15.0,
        metadata=_about(
            "How long an access token of a login is good; clients get the next one by themselves."
        ),
    )
    login_days: float = dataclasses.field(
        default=30.0, metadata=_about("How long a login lasts until the password is asked again.")
    )
    drain_seconds: float = dataclasses.field(
        default=30.0, metadata=_about("How long running calls may go on when the server is told to stop.")
    )
    read_threads: int = dataclasses.field(default=4, metadata=_about("Threads that read the database."))
    io_threads: int = dataclasses.field(
        default=8, metadata=_about("Threads that read and write files and compute digests.")
    )
    max_dataset_bytes: int = dataclasses.field(
        default=0,
        metadata=_about("Largest version of a dataset that may be uploaded, in bytes; 0 is any size."),
    )
    max_model_bytes: int = dataclasses.field(
        default=0,
        metadata=_about("Largest version of a model that may be uploaded, in bytes; 0 is any size."),
    )
    namespace_quota_bytes: int = dataclasses.field(
        default=0, metadata=_about("Bytes of versions and checkpoints a namespace may have; 0 is no limit.")
    )
    namespace_physical_quota_bytes: int = dataclasses.field(
        default=0,
        metadata=_about(
            "Bytes of different chunks, and of the rows about them, that a namespace may have; 0 is no limit, "
            "or twice namespace_quota_bytes where that one is set."
        ),
    )
    namespaces_per_member: int = dataclasses.field(
        default=10,
        metadata=_about("Namespaces a member may own besides its own; 0 lets administrators alone make any."),
    )
    trash_days: float = dataclasses.field(
        default=30.0, metadata=_about("Days until what is in the trash goes for good; 0 keeps it.")
    )
    validation: str = dataclasses.field(
        default="none",
        metadata=_about(
            "Whether versions must pass a validation before others see them, where their artifact does not "
            "say: none or required."
        ),
    )
    failed_upload_hours: float = dataclasses.field(
        default=24.0,
        metadata=_about(
            "How long failed uploads are kept, in hours, with the versions that were rejected; then the "
            "hourly clean-up forgets them."
        ),
    )
    approval_evidence: tuple[str, ...] = dataclasses.field(
        default=EVIDENCE,
        metadata=_about(
            "What every approval of a version needs: validation (it passed), scan (it found nothing unsafe), "
            "license (one is set). Policies of artifacts can ask for more."
        ),
    )
    audit_head_file: Path = dataclasses.field(
        default=Path(),
        metadata=_about(
            "File that keeps the signed head of the audit log, outside of the database; on another disk, or "
            "where only the server may write, it is harder to change together with it.",
            default="audit.head in the data folder",
        ),
    )
    activity_days: int = dataclasses.field(
        default=90, metadata=_about("How long the record of calls is kept, in days.")
    )
    usage_days: int = dataclasses.field(
        default=1100,
        metadata=_about(
            "How long counts by day are kept, of uses, calls and problems; totals stay for good."
        ),
    )
    metrics: str = dataclasses.field(
        default="",
        metadata=_about(
            "Address, host:port, that serves figures for Prometheus at /metrics, with TLS where tls_cert is "
            "set; whoever reaches it may read them, and they name nobody.",
            default="none",
        ),
    )
    traces: str = dataclasses.field(
        default="",
        metadata=_about(
            "Collector that takes traces by OTLP over gRPC, such as http://127.0.0.1:4317; needs the extra "
            "ingot[otel]. OTEL_TRACES_SAMPLER says how many calls are traced.",
            default="none",
        ),
    )
    worker_lease_seconds: float = dataclasses.field(
        default=20.0,
        metadata=_about("How long a worker may be silent before its work goes to another one."),
    )
    worker_heartbeat_seconds: float = dataclasses.field(
        default=5.0, metadata=_about("How often workers are asked to say that they are still there.")
    )
    training_retries: int = dataclasses.field(
        default=3,
        metadata=_about("Attempts of a training job that may be lost in a row without a new checkpoint."),
    )
    training_retry_seconds: float = dataclasses.field(
        default=2.0, metadata=_about("Pause before the first such retry; it doubles with each.")
    )
    generation_wait_seconds: float = dataclasses.field(
        default=60.0, metadata=_about("How long a text generation waits for a worker to take it.")
    )
    events_kept: int = dataclasses.field(
        default=1_000_000,
        metadata=_about("Events kept of each training job: its log, its progress and its numbers."),
    )
    operation_queues: tuple[str, ...] = dataclasses.field(
        default=QUEUE_LIMITS,
        metadata=_about(
            "How many operations of each queue run at once, as queue=number; a queue that is not named keeps "
            "its default. 0 lets a queue wait, except maintenance, which takes 1 or more."
        ),
    )
    operation_quota: int = dataclasses.field(
        default=200,
        metadata=_about(
            "Most operations of one person that have not ended; administrators have no limit, and 0 is none."
        ),
    )
    operation_attempts: int = dataclasses.field(
        default=5, metadata=_about("Attempts of an operation, where neither it nor its kind says otherwise.")
    )
    operation_retry_seconds: float = dataclasses.field(
        default=30.0, metadata=_about("Pause between such attempts.")
    )
    operation_timeout_seconds: float = dataclasses.field(
        default=36_000.0, metadata=_about("Longest time of such an attempt.")
    )
    operation_lease_seconds: float = dataclasses.field(
        default=20.0, metadata=_about("How long the body of an operation may be silent before it is killed.")
    )
    body_memory_bytes: int = dataclasses.field(
        default=2 << 30,
        metadata=_about(
            "Most memory that the process of one import, export or validation may take, in bytes; 0 is any "
            "amount. Where the machine runs out of it, such processes are ended before the server is."
        ),
    )
    operation_dispatcher: str = dataclasses.field(
        default="rows",
        metadata=_about(
            f"What starts operations: {', '.join(DISPATCHERS)}; their rows are the truth for both."
        ),
    )
    encryption_key_file: Path = dataclasses.field(
        default=Path(),
        metadata=_about(
            "File with the keys that packs are encrypted with at rest, one a line, 64 hex digits; the first "
            "is for new packs. Keep it, and a copy of it, outside of the data folder: without it the data "
            "are lost.",
            default="none: packs are not encrypted",
        ),
    )
    disk_warn_percent: float = dataclasses.field(
        default=85.0,
        metadata=_about(
            "Health warns when this much of the disk is used, in percent, and less than disk_plenty_bytes "
            "is free."
        ),
    )
    disk_upload_percent: float = dataclasses.field(
        default=92.0,
        metadata=_about(
            "No new uploads when this much of the disk is used, in percent, and less than a quarter of "
            "disk_plenty_bytes is free; open ones go on."
        ),
    )
    disk_stream_percent: float = dataclasses.field(
        default=96.0,
        metadata=_about(
            "No more data when this much of the disk is used, in percent, and less than a sixteenth of "
            "disk_plenty_bytes is free; what is stored whole can still be committed and read."
        ),
    )
    disk_plenty_bytes: int = dataclasses.field(
        default=64 << 30,
        metadata=_about(
            "With this many bytes free no percentage counts: a disk of 4 TB that is 93 % used still has 280 "
            "GB. Two packs and room for the database stay free on every disk, whatever is set."
        ),
    )
    clean_hours: float = dataclasses.field(
        default=1.0, metadata=_about("Time between two cleanings of uploads and old records; 0 is never.")
    )
    collect_hours: float = dataclasses.field(
        default=1.0,
        metadata=_about("How often the space of chunks that nobody needs is freed, in hours; 0 is never."),
    )
    collect_grace_seconds: float = dataclasses.field(
        default=600.0,
        metadata=_about(
            "How long a pack that nobody needs stays for reads that run; longer than any of them."
        ),
    )
    adopted_pack_days: float = dataclasses.field(
        default=7.0,
        metadata=_about(
            "How long packs stay that were found on the disk but are in no row, in days: a restored "
            "database may be older than they are, and a newer one may come."
        ),
    )
    scrub_hours: float = dataclasses.field(
        default=24.0, metadata=_about("How often a share of the packs is read again, in hours; 0 is never.")
    )
    scrub_days: float = dataclasses.field(
        default=30.0, metadata=_about("How old the last check of a pack may become, in days.")
    )
    scrub_bytes_per_second: int = dataclasses.field(
        default=50_000_000, metadata=_about("Pace of scrubbing, in bytes a second; 0 is without limit.")
    )
    backup_dir: Path = dataclasses.field(
        default=Path(),
        metadata=_about(
            "Folder that backups are written to; better on another disk.",
            default="backups in the data folder",
        ),
    )
    backup_hours: float = dataclasses.field(
        default=0.0, metadata=_about("How often a backup is made, in hours; 0 is only on request.")
    )
    backup_keep: int = dataclasses.field(default=7, metadata=_about("How many backups are kept."))
    import_private_networks: tuple[str, ...] = dataclasses.field(
        default=(),
        metadata=_about(
            "Networks that imports may fetch from although they are not public, such as 10.0.0.0/8.",
            default="none",
        ),
    )
    import_max_file_bytes: int = dataclasses.field(
        default=0, metadata=_about("Largest file that imports fetch, in bytes; 0 is any size.")
    )
    import_max_bytes: int = dataclasses.field(
        default=0,
        metadata=_about("Most that one import fetches or unpacks in all, in bytes; 0 is any size."),
    )
    import_stall_seconds: float = dataclasses.field(
        default=60.0, metadata=_about("How long a source may be silent before it is given up for a while.")
    )
    import_min_bytes_per_second: int = dataclasses.field(
        default=1024,
        metadata=_about("Slowest pace of a source, over import_stall_seconds; 0 is any pace."),
    )
    hub_endpoint: str = dataclasses.field(
        default="https://huggingface.co",
        metadata=_about(
            "The Hugging Face Hub, or a mirror of it, that imports read and exports write.",
            variables=("HF_ENDPOINT",),
        ),
    )
    hub_token: str = dataclasses.field(
        default="",
        repr=False,
        metadata=_about(
            "Token for the Hub where people have set no credential of their own; sent to hub_endpoint only.",
            variables=("HUGGINGFACE_TOKEN", "HF_TOKEN"),
            secret=True,
        ),
    )
    hub_login: bool = dataclasses.field(
        default=False,
        metadata=_about(
            "Let everybody use the login to huggingface.co that the account running the server saved with "
            "`hf auth login`, where neither they nor hub_token has a token."
        ),
    )
    mount_point: Path = dataclasses.field(
        default=Path(),
        metadata=_about(
            "Folder in which every model and dataset is kept readable for programs that know no Ingot: one "
            "folder each, with the files of its latest version. It takes that space again, so nothing is "
            "kept by itself unless it is set.",
            variables=("MODELS_MOUNT_POINT",),
            default="./models where the server was started, for exports that name no folder",
        ),
    )
    export_roots: tuple[str, ...] = dataclasses.field(
        default=(),
        metadata=_about(
            "Folders of the server below which exports may write, beside the mount point.",
            default="exports in the data folder",
        ),
    )
    import_roots: tuple[str, ...] = dataclasses.field(
        default=(),
        metadata=_about(
            "Folders of the server below which bundles may be read.", default="those of export_roots"
        ),
    )
    trusted_bundle_keys: tuple[str, ...] = dataclasses.field(
        default=(),
        metadata=_about(
            "Public keys, ed25519:<hex>, of servers whose bundles may be imported beside this one's own.",
            default="none",
        ),
    )
    sources: tuple[str, ...] = dataclasses.field(
        default=(),
        metadata=_about(
            "Files that declare models and datasets with where they come from (docs/sources.md), or "
            "`benchmarks`: the list that comes with the server.",
            default="none",
        ),
    )
    sources_namespace: str = dataclasses.field(
        default="library", metadata=_about("Namespace of what these files declare; no user's own.")
    )
    log_level: str = dataclasses.field(
        default="info", metadata=_about(f"Least serious events that are logged: {', '.join(LOG_LEVELS)}.")
    )

    @property
    def audit_head(self) -> Path:
        """Return where the signed head of the audit log is kept."""
        chosen = self.audit_head_file
        return chosen.absolute() if chosen != Path() else self.data_dir.absolute() / "audit.head"

    @property
    def has_tls(self) -> bool:
        """Whether the addresses speak TLS."""
        return self.tls_cert != Path()

    @property
    def mount(self) -> Path | None:
        """The mount point in which everything is kept, None where none is set."""
        return None if self.mount_point == Path() else self.mount_point.absolute()

    @property
    def export_folders(self) -> tuple[Path, ...]:
        """Folders below which exports may write; relative paths begin at the first."""
        folders = tuple(Path(each).expanduser().absolute() for each in self.export_roots)
        return (*(folders or (self.data_dir.absolute() / "exports",)), self.usual_export_folder)

    @property
    def usual_export_folder(self) -> Path:
        """Where an export goes that names no folder."""
        return self.mount or Path("models").absolute()

    @property
    def import_folders(self) -> tuple[Path, ...]:
        """Folders below which bundles may be read."""
        folders = tuple(Path(each).expanduser().absolute() for each in self.import_roots)
        return folders or self.export_folders

    @property
    def backup_folder(self) -> Path:
        """The folder for backups, also where none is set."""
        return self.backup_dir if self.backup_dir != Path() else self.data_dir.absolute() / "backups"

    @property
    def database(self) -> str:
        """The URL of the database, also where none is set."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'ingot.db'}"
