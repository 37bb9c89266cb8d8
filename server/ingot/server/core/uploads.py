"""Uploads: sessions that gather chunks and become a version or a checkpoint. Their states, limits and pace.

OPEN ──SEAL──▶ SEALING ──COMMIT──▶ COMMITTED
 │ ▲              │
 │ └────REOPEN────┘   (something is missing, or the server stopped in between)
 │ ▲              └──FAIL──▶ FAILED   (no other try can help while things are as they are)
 │ └──RETRY── FAILED, EXPIRED
 ├──FAIL──▶ FAILED      (the one call that should have filled and committed it broke off)
 ├──ABORT──▶ ABORTED
 └──EXPIRE─▶ EXPIRED
"""

from dataclasses import dataclass, field
from enum import StrEnum

from ingot.content import digests, paths
from ingot.server.core.artifacts import NewVersion, VersionState
from ingot.server.core.chunks import MESSAGE_CHUNKS
from ingot.server.core.errors import Invalid, Precondition, Problem, Reason, TooSlow
from ingot.server.core.manifests import MAX_FILE_BYTES
from ingot.server.core.names import UploadName
from ingot.server.core.namespaces import Quotas
from ingot.server.core.packs import MAX_CHUNK_SIZE
from ingot.server.core.training import NewCheckpoint

MIB = 1024 * 1024


class UploadState(StrEnum):
    """State of an upload."""

    OPEN = "OPEN"
    SEALING = "SEALING"
    COMMITTED = "COMMITTED"
    ABORTED = "ABORTED"
    EXPIRED = "EXPIRED"
    FAILED = "FAILED"


class UploadStage(StrEnum):
    """Where an upload stands for people who think in a pipeline; see `Upload.stage`."""

    UPLOADING = "UPLOADING"
    PROCESSING = "PROCESSING"
    STAGED = "STAGED"
    VALIDATING = "VALIDATING"
    FRESH = "FRESH"
    FAILED = "FAILED"


class UploadMove(StrEnum):
    """What may happen to an upload."""

    SEAL = "SEAL"
    REOPEN = "REOPEN"
    COMMIT = "COMMIT"
    ABORT = "ABORT"
    EXPIRE = "EXPIRE"
    FAIL = "FAIL"
    RETRY = "RETRY"


_MOVES: dict[tuple[UploadState, UploadMove], UploadState] = {
    (UploadState.OPEN, UploadMove.SEAL): UploadState.SEALING,
    (UploadState.SEALING, UploadMove.REOPEN): UploadState.OPEN,
    (UploadState.SEALING, UploadMove.COMMIT): UploadState.COMMITTED,
    (UploadState.OPEN, UploadMove.ABORT): UploadState.ABORTED,
    (UploadState.OPEN, UploadMove.EXPIRE): UploadState.EXPIRED,
    (UploadState.SEALING, UploadMove.FAIL): UploadState.FAILED,
    (UploadState.OPEN, UploadMove.FAIL): UploadState.FAILED,
    (UploadState.FAILED, UploadMove.RETRY): UploadState.OPEN,
    (UploadState.EXPIRED, UploadMove.RETRY): UploadState.OPEN,
}

_STAGES: dict[UploadState, UploadStage] = {
    UploadState.OPEN: UploadStage.UPLOADING,
    UploadState.SEALING: UploadStage.PROCESSING,
    UploadState.ABORTED: UploadStage.FAILED,
    UploadState.EXPIRED: UploadStage.FAILED,
    UploadState.FAILED: UploadStage.FAILED,
}
_VERSION_STAGES: dict[VersionState | None, UploadStage] = {
    None: UploadStage.FRESH,
    VersionState.READY: UploadStage.FRESH,
    VersionState.STAGED: UploadStage.STAGED,
    VersionState.VALIDATING: UploadStage.VALIDATING,
    VersionState.REJECTED: UploadStage.FAILED,
}


def transition(name: UploadName, state: UploadState, move: UploadMove) -> UploadState:
    """Return the state after `move`. Raises Precondition (UPLOAD_CLOSED)."""
    after = _MOVES.get((state, move))
    if after is None:
        raise closed(name, state)
    return after


def closed(name: UploadName, state: UploadState) -> Precondition:
    """Return the error for a call that an upload in this state cannot take."""
    return Precondition(
        Reason.UPLOAD_CLOSED,
        f"{name} is {state}, it must be OPEN for this.",
        next_step="Begin a new upload; chunks that are stored already need not be sent again.",
        facts={"upload": str(name), "state": state},
    )


UploadTarget = NewVersion | NewCheckpoint


@dataclass(frozen=True, slots=True)
class UploadDraft:
    """What a caller says when it begins an upload. Sizes in bytes, 0 when not known."""

    target: UploadTarget
    namespace: str = ""
    size_bytes: int = 0
    original_name: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload. Times are epoch seconds, sizes bytes."""

    name: UploadName
    namespace: str
    target: UploadTarget
    tree: int  # id of the tree that holds its files and leases its chunks
    state: UploadState
    creator: str  # principal
    size_bytes: int
    original_name: str
    description: str
    create_time: float
    update_time: float
    expire_time: float
    stored_bytes: int = 0
    stored_chunks: int = 0
    received_bytes: int = 0
    new_bytes: int = 0  # that no tree or lease of its namespace held before
    file_count: int = 0
    manifest_bytes: int = 0
    chunk_count: int = 0
    revision: int = 0  # grows with every change of the manifest
    missing_chunks: int = 0
    result: str = ""
    result_digest: bytes = b""
    problem: Problem | None = None
    version_state: VersionState | None = None  # of the version it became
    open_time: float = 0.0  # when it was opened, or opened again

    @property
    def stage(self) -> UploadStage:
        """Return where it stands for people.

        uploading → processing (it is being committed) → staged (waits for its validation) → validating →
        fresh; failed when nothing more happens by itself: it ended, its version was rejected, or the
        validation came to no verdict.
        """
        if self.state is not UploadState.COMMITTED:
            return _STAGES[self.state]
        stage = _VERSION_STAGES[self.version_state]
        return UploadStage.FAILED if stage is UploadStage.STAGED and self.problem else stage

    @property
    def progress_percent(self) -> float:
        """Return the share of its bytes that is stored, 0 to 100."""
        if self.state is UploadState.COMMITTED:
            return 100.0
        total = self.size_bytes or self.manifest_bytes
        return min(100.0, 100.0 * self.stored_bytes / total) if total else 0.0


@dataclass(frozen=True, slots=True)
class TransferLimits:
    """All limits of transfers, as GetCapabilities tells them. Sizes in bytes, times in seconds."""

    message_bytes: int = MIB
    max_message_bytes: int = 4 * MIB + 64 * 1024
    max_chunk_bytes: int = MAX_CHUNK_SIZE
    max_file_bytes: int = MAX_FILE_BYTES
    max_segment_chunks: int = digests.SEGMENT_MAX_ENTRIES
    max_digests: int = 8192
    max_stream_bytes: int = 256 * MIB
    max_stream_seconds: float = 120.0
    idle_seconds: float = 15.0
    min_bytes_per_second: int = 64 * 1024
    grace_seconds: float = 10.0
    max_message_chunks: int = MESSAGE_CHUNKS
    max_stream_chunks: int = 32_768
    max_streams: int = 16
    max_read_streams: int = 32
    read_idle_seconds: float = 60.0  # longer than for senders: who limits its rate takes messages slowly
    max_open_uploads: int = 64
    max_failed_uploads: int = 256  # of one principal that are kept; the oldest go
    max_watch_streams: int = 64
    max_message_files: int = 16_384  # in one PutManifest
    max_manifest_calls: int = 4  # of one principal at once
    max_tree_files: int = 1_000_000
    max_tree_chunks: int = 1 << 26  # entries of its manifest: 16 TiB in chunks of 256 KiB
    max_path_bytes: int = paths.MAX_PATH_BYTES
    max_ranges: int = 8192
    stream_sizes: tuple[tuple[int, int], ...] = (
        (100 * MIB, 16 * MIB),
        (1024 * MIB, 64 * MIB),
        (0, 128 * MIB),
    )
    upload_ttl_seconds: float = 24 * 3600.0
    max_life_seconds: float = 7 * 24 * 3600.0  # of an open upload, however often it is renewed
    keep_closed_seconds: float = 7 * 24 * 3600.0
    keep_failed_seconds: float = 24 * 3600.0
    max_dataset_bytes: int = 0
    max_model_bytes: int = 0
    quotas: Quotas = field(default_factory=Quotas)  # of a namespace without its own
    calls_per_second: float = 0.0  # of one principal, on average; 0 is no limit
    call_burst: int = 0

    def stream_bytes(self, size: int) -> int:
        """Return how much one stream should carry for a tree of so many bytes."""
        return next(stream for below, stream in self.stream_sizes if size < below or not below)


class Pace:
    """Decides when a sender is too slow: it pauses too long, sends too little, or the stream lasts too long.

    Time that the server itself needs, while the sender is held back, is not charged. All times are seconds of
    one monotonic clock.
    """

    def __init__(self, limits: TransferLimits, now: float, method: str = "PutChunks") -> None:
        self._limits = limits
        self._method = method
        self._start = now
        self._last = now
        self._received = 0

    def received(self, size: int, now: float) -> None:
        """Note that a message with `size` bytes came."""
        self._received += size
        self._last = now

    def held_back(self, since: float, now: float) -> None:
        """Note that the sender could not send from `since` to `now`."""
        self._start += now - since
        self._last = now

    def deadline(self) -> float:
        """Return when patience ends if nothing more comes."""
        limits = self._limits
        rate = self._start + limits.grace_seconds + self._received / limits.min_bytes_per_second
        return min(self._last + limits.idle_seconds, rate, self._start + limits.max_stream_seconds)

    def verdict(self, now: float) -> TooSlow:
        """Return the error that says which rule the sender broke."""
        limits = self._limits
        if now >= self._start + limits.max_stream_seconds:
            why = f"the stream lasted longer than {limits.max_stream_seconds:g} s; send less in one stream"
        elif now >= self._last + limits.idle_seconds:
            why = f"nothing came for {limits.idle_seconds:g} s"
        else:
            why = (
                f"{self._received} bytes came in {now - self._start:.1f} s, "
                f"at least {limits.min_bytes_per_second} a second are expected"
            )
        return TooSlow(
            Reason.TOO_SLOW,
            f"{self._method}: {why}.",
            next_step="Ask FindMissing what has to travel, then send it in shorter streams.",
        )


def unfinished(method: str = "PutChunks") -> Invalid:
    """Return the error for a stream that ended without its finish."""
    return Invalid(
        Reason.STREAM_UNFINISHED,
        f"{method}: the stream ended without its finish message, so nothing of it counts.",
        next_step="Send a header, the bytes and a finish, then read the reply.",
    )
