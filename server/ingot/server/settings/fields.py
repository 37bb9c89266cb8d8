"""Everything one can set about a server, in one table: the fields of `Settings`.

A value comes from the first of: a flag, `INGOT_<NAME>`, a variable that a system before Ingot used, the TOML
file, the default. docs/settings.md and the text of `--help` are made from the same fields.

    serving.py    the first part of the fields
    table.py      the fields as rows: name, kind, default, help
    loading.py    finds the values of one start and turns them into their types
    checks.py     refuses what cannot be, alone or together
    page.py       docs/settings.md
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from ingot.server.settings.serving import ServingSettings, about

PREFIX = "INGOT_"
LOG_LEVELS = ("debug", "info", "warning", "error")
QUEUE_LIMITS = ("download=2", "validate=2", "export=1", "maintenance=2")
DISPATCHERS = ("rows", "memory")


class SettingsError(Exception):
    """A setting cannot be used: the message says which, where it came from, and what was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(ServingSettings):
    """The settings of one server; sizes in bytes, times in seconds."""

    worker_lease_seconds: float = dataclasses.field(
        default=20.0,
        metadata=about("How long a worker may be silent before its work goes to another one."),
    )
    worker_heartbeat_seconds: float = dataclasses.field(
        default=5.0, metadata=about("How often workers are asked to say that they are still there.")
    )
    training_retries: int = dataclasses.field(
        default=3,
        metadata=about("Attempts of a training job that may be lost in a row without a new checkpoint."),
    )
    training_retry_seconds: float = dataclasses.field(
        default=2.0, metadata=about("Pause before the first such retry; it doubles with each.")
    )
    generation_wait_seconds: float = dataclasses.field(
        default=60.0, metadata=about("How long a text generation waits for a worker to take it.")
    )
    events_kept: int = dataclasses.field(
        default=1_000_000,
        metadata=about("Events kept of each training job: its log, its progress and its numbers."),
    )
    operation_queues: tuple[str, ...] = dataclasses.field(
        default=QUEUE_LIMITS,
        metadata=about(
            "How many operations of each queue run at once, as queue=number; a queue that is not named keeps "
            "its default. 0 lets a queue wait, except maintenance, which takes 1 or more."
        ),
    )
    operation_quota: int = dataclasses.field(
        default=200,
        metadata=about(
            "Most operations of one person that have not ended; administrators have no limit, and 0 is none."
        ),
    )
    operation_attempts: int = dataclasses.field(
        default=5, metadata=about("Attempts of an operation, where neither it nor its kind says otherwise.")
    )
    operation_retry_seconds: float = dataclasses.field(
        default=30.0, metadata=about("Pause between such attempts.")
    )
    operation_timeout_seconds: float = dataclasses.field(
        default=36_000.0, metadata=about("Longest time of such an attempt.")
    )
    operation_lease_seconds: float = dataclasses.field(
        default=20.0, metadata=about("How long the body of an operation may be silent before it is killed.")
    )
    body_memory_bytes: int = dataclasses.field(
        default=2 << 30,
        metadata=about(
            "Most memory that the process of one import, export or validation may take, in bytes; 0 is any "
            "amount. Where the machine runs out of it, such processes are ended before the server is."
        ),
    )
    operation_dispatcher: str = dataclasses.field(
        default="rows",
        metadata=about(
            f"What starts operations: {', '.join(DISPATCHERS)}; their rows are the truth for both."
        ),
    )
    encryption_key_file: Path = dataclasses.field(
        default=Path(),
        metadata=about(
            "File with the keys that packs are encrypted with at rest, one a line, 64 hex digits; the first "
            "is for new packs. Keep it, and a copy of it, outside of the data folder: without it the data "
            "are lost.",
            default="none: packs are not encrypted",
        ),
    )
    disk_warn_percent: float = dataclasses.field(
        default=85.0,
        metadata=about(
            "Health warns when this much of the disk is used, in percent, and less than disk_plenty_bytes "
            "is free."
        ),
    )
    disk_upload_percent: float = dataclasses.field(
        default=92.0,
        metadata=about(
            "No new uploads when this much of the disk is used, in percent, and less than a quarter of "
            "disk_plenty_bytes is free; open ones go on."
        ),
    )
    disk_stream_percent: float = dataclasses.field(
        default=96.0,
        metadata=about(
            "No more data when this much of the disk is used, in percent, and less than a sixteenth of "
            "disk_plenty_bytes is free; what is stored whole can still be committed and read."
        ),
    )
    disk_plenty_bytes: int = dataclasses.field(
        default=64 << 30,
        metadata=about(
            "With this many bytes free no percentage counts: a disk of 4 TB that is 93 % used still has 280 "
            "GB. Two packs and room for the database stay free on every disk, whatever is set."
        ),
    )
    clean_hours: float = dataclasses.field(
        default=1.0, metadata=about("Time between two cleanings of uploads and old records; 0 is never.")
    )
    collect_hours: float = dataclasses.field(
        default=1.0,
        metadata=about("How often the space of chunks that nobody needs is freed, in hours; 0 is never."),
    )
    collect_grace_seconds: float = dataclasses.field(
        default=600.0,
        metadata=about(
            "How long a pack that nobody needs stays for reads that run; longer than any of them."
        ),
    )
    adopted_pack_days: float = dataclasses.field(
        default=7.0,
        metadata=about(
            "How long packs stay that were found on the disk but are in no row, in days: a restored "
            "database may be older than they are, and a newer one may come."
        ),
    )
    scrub_hours: float = dataclasses.field(
        default=24.0, metadata=about("How often a share of the packs is read again, in hours; 0 is never.")
    )
    scrub_days: float = dataclasses.field(
        default=30.0, metadata=about("How old the last check of a pack may become, in days.")
    )
    scrub_bytes_per_second: int = dataclasses.field(
        default=50_000_000, metadata=about("Pace of scrubbing, in bytes a second; 0 is without limit.")
    )
    backup_dir: Path = dataclasses.field(
        default=Path(),
        metadata=about(
            "Folder that backups are written to; better on another disk.",
            default="backups in the data folder",
        ),
    )
    backup_hours: float = dataclasses.field(
        default=0.0, metadata=about("How often a backup is made, in hours; 0 is only on request.")
    )
    backup_keep: int = dataclasses.field(default=7, metadata=about("How many backups are kept; 0 keeps all."))
    import_private_networks: tuple[str, ...] = dataclasses.field(
        default=(),
        metadata=about(
            "Networks that imports may fetch from although they are not public, such as 10.0.0.0/8.",
            default="none",
        ),
    )
    import_max_file_bytes: int = dataclasses.field(
        default=0, metadata=about("Largest file that imports fetch, in bytes; 0 is any size.")
    )
    import_max_bytes: int = dataclasses.field(
        default=0,
        metadata=about("Most that one import fetches or unpacks in all, in bytes; 0 is any size."),
    )
    import_stall_seconds: float = dataclasses.field(
        default=60.0, metadata=about("How long a source may be silent before it is given up for a while.")
    )
    import_min_bytes_per_second: int = dataclasses.field(
        default=1024,
        metadata=about("Slowest pace of a source, over import_stall_seconds; 0 is any pace."),
    )
    hub_endpoint: str = dataclasses.field(
        default="https://huggingface.co",
        metadata=about(
            "The Hugging Face Hub, or a mirror of it, that imports read and exports write.",
            variables=("HF_ENDPOINT",),
        ),
    )
    hub_token: str = dataclasses.field(
        default="",
        repr=False,
        metadata=about(
            "Token for the Hub where people have set no credential of their own; sent to hub_endpoint only.",
            variables=("HUGGINGFACE_TOKEN", "HF_TOKEN"),
            secret=True,
        ),
    )
    hub_login: bool = dataclasses.field(
        default=False,
        metadata=about(
            "Let everybody use the login to huggingface.co that the account running the server saved with "
            "`hf auth login`, where neither they nor hub_token has a token."
        ),
    )
    mount_point: Path = dataclasses.field(
        default=Path(),
        metadata=about(
            "Folder in which every model and dataset is kept readable for programs that know no Ingot: one "
            "folder each, with the files of its latest version. It takes that space again, so nothing is "
            "kept by itself unless it is set.",
            variables=("MODELS_MOUNT_POINT",),
            default="./models where the server was started, for exports that name no folder",
        ),
    )
    export_roots: tuple[str, ...] = dataclasses.field(
        default=(),
        metadata=about(
            "Folders of the server below which exports may write, beside the mount point.",
            default="exports in the data folder",
        ),
    )
    import_roots: tuple[str, ...] = dataclasses.field(
        default=(),
        metadata=about(
            "Folders of the server below which bundles may be read.", default="those of export_roots"
        ),
    )
    trusted_bundle_keys: tuple[str, ...] = dataclasses.field(
        default=(),
        metadata=about(
            "Public keys, ed25519:<hex>, of servers whose bundles may be imported beside this one's own.",
            default="none",
        ),
    )
    sources: tuple[str, ...] = dataclasses.field(
        default=(),
        metadata=about(
            "Files that declare models and datasets with where they come from (docs/sources.md), or "
            "`benchmarks`: the list that comes with the server.",
            default="none",
        ),
    )
    sources_namespace: str = dataclasses.field(
        default="library", metadata=about("Namespace of what these files declare; no user's own.")
    )
    log_level: str = dataclasses.field(
        default="info", metadata=about(f"Least serious events that are logged: {', '.join(LOG_LEVELS)}.")
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
