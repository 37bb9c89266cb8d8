"""What removal and upkeep are asked and what they answer, as `params` has it for other kinds."""

from pydantic import Field

from ingot.server.core.params import Params


class RemoveParams(Params):
    """Parameters of `remove`; what had the name of the operation's target."""

    artifact_uid: str = Field(description="Identity of the artifact whose files go.")
    versions_only: bool = Field(default=False, description="Only those of its versions in the trash.")
    version: str = Field(default="", description="Only this version, which is in the trash.")
    version_uid: str = Field(default="", description="Its identity.")


class UpkeepParams(Params):
    """Parameters of clean, collect, scrub, verify, backup and recover: none, the settings tell all."""


class RemoveResult(Params):
    """Result of `remove`."""

    versions: int = Field(default=0, description="Versions whose files went.")
    released_bytes: int = Field(
        default=0, description="That its namespace has no more; the disk has them after a collection."
    )


class CleanResult(Params):
    """Result of `clean`: how many of each were forgotten, or looked after."""

    uploads: int = Field(default=0, description="Uploads that expired, or failed long enough ago.")
    activities: int = 0
    operations: int = 0
    bodies: int = Field(default=0, description="Folders and logs of forgotten operations.")
    trash: int = Field(default=0, description="Artifacts and versions that were in the trash for too long.")
    words: int = Field(default=0, description="Words that became common: searches for them are prepared.")


class CollectResult(Params):
    """Result of `collect`."""

    seen_packs: int = 0
    condemned_packs: int = 0
    condemned_bytes: int = Field(default=0, description="Free once the grace is over.")
    rewritten_packs: int = 0
    postponed_packs: int = Field(default=0, description="The disk was too full to copy their rest.")
    trimmed_packs: int = Field(default=0, description="Partly unneeded: given back once the grace is over.")
    punched_packs: int = 0
    damaged_chunks: int = 0
    freed_packs: int = 0
    freed_bytes: int = Field(default=0, description="Of disk, as the file system counts them.")
    database_freed_bytes: int = Field(default=0, description="Of the database file, which they counted to.")
    database_unused_bytes: int = Field(default=0, description="That its file keeps for new rows.")
    next_step: str = ""
    disk_free_before: int = 0
    disk_free_after: int = 0


class ScrubResult(Params):
    """Result of `scrub`."""

    packs: int = Field(default=0, description="Packs that were read.")
    bytes: int = 0
    damaged_chunks: int = 0
    quarantined_packs: int = 0
    damaged_digests: tuple[str, ...] = Field(default=(), description="The first of them.")
    needed_by: tuple[str, ...] = Field(default=(), description="Versions and uploads that need them.")
    next_step: str = ""


class VerifyResult(Params):
    """Result of `verify`."""

    healthy: bool = True
    packs: int = Field(default=0, description="Packs that were read.")
    bytes: int = 0
    damaged_chunks: int = 0
    damaged_digests: tuple[str, ...] = Field(default=(), description="The first of them.")
    needed_by: tuple[str, ...] = Field(default=(), description="Versions and uploads that need them.")
    healed_chunks: int = 0
    missing_packs: int = 0
    broken_packs: int = 0
    unknown_packs: int = 0
    incomplete_trees: tuple[str, ...] = ()
    leases_without_upload: int = 0
    holds_without_chunk: int = 0
    holds_without_tree: int = 0
    chunks_without_pack: int = 0
    wrong_accounts: int = Field(default=0, description="Namespaces that were counted anew.")
    next_step: str = ""


class BackupResult(Params):
    """Result of `backup`."""

    path: str = Field(default="", description="Folder of this backup.")
    packs: int = 0
    pack_bytes: int = 0
    copied_packs: int = Field(default=0, description="Without what the backup folder had already.")
    copied_bytes: int = 0
    database_bytes: int = 0
    freed_bytes: int = Field(default=0, description="Of backups that were older than those that are kept.")
    lost_chunks: int = Field(default=0, description="That versions need and the store does not have.")


class RecoverResult(Params):
    """Result of `recover`."""

    leases: int = Field(default=0, description="Leases of workers that were taken up again.")
    leftover_files: int = 0
    found_packs: int = 0
    damaged_packs: int = 0
    missing_packs: int = 0
    returned_packs: int = 0
    reopened_uploads: int = 0
    lost_chunks: int = 0
