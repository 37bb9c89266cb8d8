"""Uploads whose changes are told and counted: the UploadStore with an event log and a tally around it.

Whoever changes an upload does it through this store: the rules of uploads, commits and their clean-up, and
publishing, which moves the upload of a version along with its validation. So each change of stage and each
growth of what is stored becomes an event in the same write, and nobody has to think of it. Events are in the
log `uploads/file_12`, states in them are stages.
"""

from collections.abc import Collection, Sequence

from ingot.server.core.events import NewEvent, Progress, StateChange
from ingot.server.core.names import UploadName
from ingot.server.core.transfer_stores import KeyedUpload, UploadStore
from ingot.server.core.upload_stats import UploadTally, counts_of, day_of
from ingot.server.core.uploads import Upload, UploadStage, UploadState
from ingot.server.domain.events import EventLog


class NotedUploads:
    """Implements UploadStore over another one; methods run inside a unit of work."""

    def __init__(self, store: UploadStore, log: EventLog, tally: UploadTally) -> None:
        self._store = store
        self._log = log
        self._tally = tally

    def add(self, upload: Upload) -> None:
        """Add an upload: its log begins, and it is counted."""
        self._store.add(upload)
        self._note(None, upload)

    def find(self, name: UploadName) -> Upload | None:
        """Return the upload of this name."""
        return self._store.find(name)

    def save(self, upload: Upload, expected: UploadState) -> bool:
        """Store a change, tell of it and count it; as UploadStore.save."""
        before = self._store.find(upload.name)
        saved = self._store.save(upload, expected)
        if saved:
            self._note(before, upload)
        return saved

    def count_received(self, name: UploadName, size: int) -> None:
        """Count bytes that travelled."""
        self._store.count_received(name, size)

    def count_open(self, creator: str) -> int:
        """Return how many uploads of a principal are open or sealing."""
        return self._store.count_open(creator)

    def page(
        self,
        namespaces: Collection[str] | None,
        creator: str | None,
        stage: UploadStage | None,
        after: int | None,
        size: int,
    ) -> Sequence[KeyedUpload]:
        """Return uploads, newest first; as UploadStore.page."""
        return self._store.page(namespaces, creator, stage, after, size)

    def due(self, now: float, size: int) -> Sequence[Upload]:
        """Return uploads whose time is up."""
        return self._store.due(now, size)

    def in_state(self, state: UploadState) -> Sequence[Upload]:
        """Return all uploads in a state."""
        return self._store.in_state(state)

    def failed(self, before: float, creator: str | None, size: int) -> Sequence[Upload]:
        """Return uploads that failed before a time, oldest first."""
        return self._store.failed(before, creator, size)

    def surplus(self, creator: str, keep: int, size: int) -> Sequence[Upload]:
        """Return failed uploads of a creator beyond the newest ones."""
        return self._store.surplus(creator, keep, size)

    def remove(self, name: UploadName) -> None:
        """Drop an upload and its log; it stays counted."""
        self._store.remove(name)
        self._log.delete(str(name))

    def forget(self, before: float, size: int) -> Sequence[Upload]:
        """Drop uploads that ended before a time, and their logs; they stay counted."""
        forgotten = self._store.forget(before, size)
        for upload in forgotten:
            self._log.delete(str(upload.name))
        return forgotten

    def _note(self, before: Upload | None, after: Upload) -> None:
        counted = counts_of(after).since(counts_of(before))
        if counted != counts_of(None):
            self._tally.add(after.creator, after.namespace, day_of(after.create_time), counted)
        events: list[NewEvent] = []
        if before is not None and (after.stored_bytes, after.stored_chunks) != (
            before.stored_bytes,
            before.stored_chunks,
        ):
            events.append(NewEvent(_progress(after)))
        stage = before.stage if before else ""
        if after.stage != stage:
            why = after.problem.message if after.problem else ""
            events.append(NewEvent(StateChange.because(stage, after.stage, why)))
        self._log.append(str(after.name), 0, events)


def _progress(upload: Upload) -> Progress:
    return Progress(
        phase="uploading",
        done=upload.stored_bytes,
        total=upload.size_bytes or upload.manifest_bytes,
        unit="bytes",
        percent=upload.progress_percent,
    )
