"""Uploads: begin, find, renew, abort, expire. chunk_intake.py fills them, commits.py ends them.

An upload owns a tree from its first moment. The tree holds (leases) every chunk that was reported present or
stored for it, until the upload expires; every call on the upload moves that time.
"""

import dataclasses
import logging

from ingot.server.core import journal
from ingot.server.core.artifacts import NewVersion
from ingot.server.core.catalog_stores import CounterStore
from ingot.server.core.clock import Clock
from ingot.server.core.errors import Exhausted, NotFound, Reason, invalid_field
from ingot.server.core.identity import Caller
from ingot.server.core.names import ANY_NAMESPACE, Kind, UploadName, made_id
from ingot.server.core.pages import Page, PageTokens, fit, page_size
from ingot.server.core.transfer_stores import TreeStore, UploadStore
from ingot.server.core.uploads import (
    TransferLimits,
    Upload,
    UploadDraft,
    UploadMove,
    UploadStage,
    UploadState,
    UploadTarget,
    closed,
    transition,
)
from ingot.server.domain import catalog_fields
from ingot.server.domain.access import note_use
from ingot.server.domain.checkpoints import Checkpoints
from ingot.server.domain.disk_room import DiskRoom
from ingot.server.domain.quotas import QuotaRules
from ingot.server.domain.requests import Requests
from ingot.server.domain.versions import Versions

log = logging.getLogger(__name__)

_BATCH = 100  # uploads per turn of upkeep: keeps one write short
_BATCH_ENTRIES = 1_000_000  # files and chunks of their manifests
_SURPLUS = 10  # more than are ever added at once
_TEXT_LIMIT = 1000


class Uploads:
    """The rules about uploads; every method runs inside a unit of work."""

    def __init__(
        self,
        store: UploadStore,
        trees: TreeStore,
        versions: Versions,
        checkpoints: Checkpoints,
        requests: Requests,
        counters: CounterStore,
        tokens: PageTokens,
        clock: Clock,
        limits: TransferLimits,
        disk: DiskRoom,
        quotas: QuotaRules,
    ) -> None:
        self._store = store
        self._trees = trees
        self._versions = versions
        self._checkpoints = checkpoints
        self._requests = requests
        self._counters = counters
        self._tokens = tokens
        self._clock = clock
        self._limits = limits
        self._disk = disk
        self._quotas = quotas

    # --- calls ------------------------------------------------------------------------------------------

    def begin(
        self,
        caller: Caller,
        draft: UploadDraft,
        request_id: str,
        payload: bytes,
        method: str = "BeginUpload",
    ) -> Upload:
        """Open an upload after checking that its target could be committed now.

        The same request again gives the same upload, renewed if its time was over and nothing had closed it
        yet; another one where it was forgotten meanwhile.
        Raises as Versions.check_target and Checkpoints.begin; Invalid (FIELD_INVALID); Exhausted (BUSY,
        DISK_LOW, TOO_LARGE, QUOTA); Precondition (REQUEST_ID_REUSED).
        """
        name, again = self._requests.once(
            caller,
            method,
            request_id,
            payload,
            lambda: str(self._begin(caller, draft).name),
            stands=lambda known: self._store.find(_named(known)) is not None,
        )
        upload = self.find(caller, _named(name))
        over = upload.state is UploadState.OPEN and upload.expire_time <= self._clock.now()
        return self.touch(upload) if again and over else upload

    def find(self, caller: Caller, name: UploadName) -> Upload:
        """Return an upload that is the caller's to see; a worker's is, while it holds the work it is for.

        Raises NotFound (UPLOAD_NOT_FOUND); for workers Precondition (ATTEMPT_OUTDATED).
        """
        upload = self._store.find(name)
        if upload is None or not self._sees(caller, upload):
            raise NotFound(
                Reason.UPLOAD_NOT_FOUND,
                f"There is no upload {name}, or it is not yours.",
                next_step="Begin a new one; chunks that are stored already need not be sent again.",
                facts={"upload": str(name)},
            )
        note_use(caller, upload.namespace, str(name))
        if caller.is_worker:
            self._checkpoints.begin(caller, upload.target)
        return upload

    def require_open(self, caller: Caller, name: UploadName) -> Upload:
        """Return an open upload. Raises as `find`, and Precondition (UPLOAD_CLOSED)."""
        upload = self.find(caller, name)
        if upload.state is not UploadState.OPEN or upload.expire_time <= self._clock.now():
            expired = upload.state is UploadState.OPEN
            raise closed(name, UploadState.EXPIRED if expired else upload.state)
        return upload

    def renew(self, caller: Caller, name: UploadName) -> Upload:
        """Move the expiry of an open upload. Raises as `require_open`."""
        return self.touch(self.require_open(caller, name))

    def abort(self, caller: Caller, name: UploadName) -> Upload:
        """Give an upload up; its chunks stay leased until it would have expired. Aborting again is harmless.

        Raises NotFound (UPLOAD_NOT_FOUND), Precondition (UPLOAD_CLOSED).
        """
        upload = self.find(caller, name)
        if upload.state is UploadState.ABORTED:
            return upload
        return self.move(upload, UploadMove.ABORT)

    def clear_aborted(self, caller: Caller, name: UploadName) -> bool:
        """Forget some of the manifest of an aborted upload; return whether some may be left. In a write."""
        upload = self.find(caller, name)
        return upload.state is UploadState.ABORTED and self._trees.clear_some(upload.tree)

    def page(
        self, caller: Caller, namespace: str, stage: UploadStage | None, size: int, token: str
    ) -> Page[Upload]:
        """Return a page of the uploads of a namespace (`-` for all the caller may write), newest first.

        A worker sees only its own. Raises Invalid (FIELD_INVALID, PAGE_TOKEN_INVALID).
        """
        wanted = page_size(size)
        query = f"ListUploads {namespace} {stage} {caller.principal}"
        after = self._tokens.decode(query, token)
        rows = self._store.page(
            self._namespaces(caller, namespace),
            caller.principal if caller.is_worker else None,
            stage,
            int(after[0]) if after else None,
            wanted + 1,
        )
        items, last = fit(rows, wanted, _weight_of)
        return Page(items, self._tokens.encode(query, (last,)) if last else "")

    # --- for the other rules ----------------------------------------------------------------------------

    def touch(self, upload: Upload, **changes: object) -> Upload:
        """Store changes of an open upload and renew it and its leases."""
        now = self._clock.now()
        expires = min(now + self._limits.upload_ttl_seconds, upload.open_time + self._limits.max_life_seconds)
        changed = dataclasses.replace(upload, update_time=now, expire_time=expires, **changes)  # type: ignore[arg-type]
        if not self._store.save(changed, UploadState.OPEN):
            raise closed(upload.name, upload.state)
        self._trees.renew(upload.tree, expires)
        return changed

    def move(self, upload: Upload, move: UploadMove, **changes: object) -> Upload:
        """Change the state of an upload, by compare-and-set. Raises Precondition (UPLOAD_CLOSED)."""
        state = transition(upload.name, upload.state, move)
        changed = dataclasses.replace(upload, state=state, update_time=self._clock.now(), **changes)  # type: ignore[arg-type]
        if not self._store.save(changed, upload.state):
            raise closed(upload.name, upload.state)
        log.info("upload.%s name=%s namespace=%s", state.lower(), upload.name, upload.namespace)
        return changed

    def check_size(self, target: UploadTarget, size: int) -> None:
        """Refuse a tree above the limit of its kind. Raises Exhausted (TOO_LARGE)."""
        if not isinstance(target, NewVersion):
            return
        dataset = target.artifact.kind is Kind.DATASET
        most = self._limits.max_dataset_bytes if dataset else self._limits.max_model_bytes
        if most and size > most:
            raise Exhausted(
                Reason.TOO_LARGE,
                f"A {target.artifact.kind.word} version has at most {most} bytes here, got {size}.",
                next_step="Push less, or ask the server's administrator to raise the limit.",
                facts={"limit": str(most), "size": str(size)},
            )

    def check_room(self, caller: Caller) -> None:
        """Refuse one more open upload of the caller. Raises Exhausted (BUSY)."""
        if self._store.count_open(caller.principal) >= self._limits.max_open_uploads:
            raise Exhausted(
                Reason.BUSY,
                f"{caller.principal} has {self._limits.max_open_uploads} open uploads, no more are allowed.",
                next_step="Commit or abort some; ListUploads with stage UPLOADING shows them.",
                facts={"limit": str(self._limits.max_open_uploads)},
                retry_after=60.0,
            )

    def checked_target(self, caller: Caller, target: UploadTarget) -> tuple[UploadTarget, str]:
        """Return the target in its one form and the namespace where its bytes count.

        Raises as Versions.check_target and Checkpoints.begin.
        """
        if not isinstance(target, NewVersion):
            return target, self._checkpoints.begin(caller, target)
        checked = self._versions.check_target(caller, target)
        if target.training_job:
            return checked, self._checkpoints.begin(caller, checked)
        return checked, target.artifact.namespace

    # --- upkeep -----------------------------------------------------------------------------------------

    def upkeep(self) -> int:
        """Expire what was left alone and forget what ended long ago; return how many. Call until it gives 0.

        Runs inside a write, for a bounded number of uploads.
        """
        now = self._clock.now()
        due = self._store.due(now, _BATCH)
        cleared = 0
        for done, upload in enumerate(due):
            cleared += upload.file_count + upload.chunk_count
            if self._trees.clear_some(upload.tree) or (done and cleared > _BATCH_ENTRIES):
                return done + 1  # the rest has the next turn
            self._trees.drop(upload.tree)
            if upload.state is UploadState.OPEN:
                self.move(upload, UploadMove.EXPIRE, tree=0)
                journal.act("expire", str(upload.name), creator=upload.creator, files=upload.file_count)
            else:
                self._store.save(dataclasses.replace(upload, tree=0), upload.state)
        old = self._store.forget(now - self._limits.keep_closed_seconds, _BATCH)
        return len(due) + len(old)

    def reopen_interrupted(self) -> int:
        """Open again what was being committed when the server stopped; return how many. In a write."""
        interrupted = self._store.in_state(UploadState.SEALING)
        for upload in interrupted:
            self.move(upload, UploadMove.REOPEN)
        return len(interrupted)

    # --- inside -----------------------------------------------------------------------------------------

    def _begin(self, caller: Caller, draft: UploadDraft) -> Upload:
        if not draft.size_bytes >= 0:
            raise invalid_field("size_bytes", f"expected 0 or more, got {draft.size_bytes}")
        for field, text in (("original_name", draft.original_name), ("description", draft.description)):
            if len(text) > _TEXT_LIMIT:
                raise invalid_field(field, f"expected at most {_TEXT_LIMIT} characters, got {len(text)}")
        target, namespace = self.checked_target(caller, draft.target)
        if draft.namespace and draft.namespace != namespace:
            raise invalid_field("namespace", f"expected the target's, {namespace}, got {draft.namespace}")
        self.check_size(target, draft.size_bytes)
        self._quotas.require_fitting(namespace, draft.size_bytes)
        self.check_room(caller)
        self._disk.require_upload()
        self._forget_surplus(caller)
        now = self._clock.now()
        name = UploadName(f"file_{self._counters.next('file')}")
        expires = now + self._limits.upload_ttl_seconds
        upload = Upload(
            name=name,
            namespace=namespace,
            target=target,
            tree=self._trees.add(str(name), namespace, now, expires),
            state=UploadState.OPEN,
            creator=caller.principal,
            size_bytes=draft.size_bytes,
            original_name=draft.original_name,
            description=draft.description or f"Uploaded {draft.original_name or _shown(target)}",
            create_time=now,
            update_time=now,
            expire_time=expires,
            open_time=now,
        )
        self._store.add(upload)
        journal.about(str(name))
        log.info("upload.begun name=%s namespace=%s size=%d", name, namespace, draft.size_bytes)
        return upload

    def _forget_surplus(self, caller: Caller) -> None:
        """Forget the oldest failed uploads of a caller who has many: each row may have 64 KiB of metadata."""
        for upload in self._store.surplus(caller.principal, self._limits.max_failed_uploads, _SURPLUS):
            if upload.tree and self._trees.clear_some(upload.tree):
                continue  # the next upload that begins goes on
            if upload.tree:
                self._trees.drop(upload.tree)
            self._store.remove(upload.name)

    @staticmethod
    def _sees(caller: Caller, upload: Upload) -> bool:
        # People may lose the right to write after they began one: what is present there is theirs no more.
        mine = caller.is_worker and upload.creator == caller.principal
        return mine or caller.may_write(upload.namespace)

    def _namespaces(self, caller: Caller, namespace: str) -> frozenset[str] | None:
        if namespace == ANY_NAMESPACE:
            return None if caller.is_admin or caller.is_worker else caller.writes
        return frozenset({namespace}) if caller.is_worker or caller.may_write(namespace) else frozenset()


def _named(name: str) -> UploadName:
    return UploadName(made_id(name, "uploads"))


def _weight_of(upload: Upload) -> int:
    """Return about how many characters an upload has on the wire, at least."""
    target, said = upload.target, len(upload.description) + len(upload.original_name)
    return (
        1000 + said + (catalog_fields.new_version_weight_of(target) if isinstance(target, NewVersion) else 0)
    )


def _shown(target: UploadTarget) -> str:
    return target.artifact.artifact if isinstance(target, NewVersion) else f"checkpoint {target.step}"
