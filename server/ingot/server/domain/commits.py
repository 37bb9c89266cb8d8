"""How an upload becomes a version or a checkpoint: put the manifest, seal, check, finish.

    clear_manifest write   forget some of the files that a reset replaces, until none is left
    put_manifest   write   files and segments into the upload's tree
    seal           write   OPEN → SEALING: from here nothing about the upload changes
    check          read    everything that takes time: digests, paths, and that every chunk is there
    finish         write   SEALING → COMMITTED together with the version or checkpoint: the one commit point
    reopen         write   SEALING → OPEN, when check or finish refused or failed

Between seal and finish no lock is held: the sealed upload itself keeps others away. The writer is busy for
`finish` only, which touches one row a file at most.
"""

import dataclasses
from collections.abc import Collection, Sequence

from ingot.content import digests
from ingot.server.core import failpoints, manifests
from ingot.server.core.artifacts import NewVersion, TreeFacts, Version, VersionOrigin
from ingot.server.core.clock import Clock
from ingot.server.core.errors import Exhausted, IngotError, Precondition, Problem, Reason, invalid_field
from ingot.server.core.identity import Caller
from ingot.server.core.manifests import FileDraft, Tree
from ingot.server.core.names import UploadName, version_reference
from ingot.server.core.training import NewCheckpoint
from ingot.server.core.transfer_stores import ChunkStore, TreeStore, UploadStore
from ingot.server.core.uploads import TransferLimits, Upload, UploadMove, UploadState
from ingot.server.domain.checkpoints import Checkpoints
from ingot.server.domain.disk_room import DiskRoom
from ingot.server.domain.manifest_check import CheckedManifest, ManifestCheck, check_paths, missing_chunks
from ingot.server.domain.quotas import QuotaRules
from ingot.server.domain.uploads import Uploads
from ingot.server.domain.versions import Versions

# Why a commit is refused that no chunk and no manifest can cure: its target, or who asks, must change first.
_FOR_GOOD = frozenset(
    {
        Reason.TOO_LARGE,
        Reason.NAME_TAKEN,
        Reason.VERSION_CONFLICT,
        Reason.ATTEMPT_OUTDATED,
        Reason.NAMESPACE_NOT_FOUND,
        Reason.ARTIFACT_NOT_FOUND,
        Reason.TRAINING_JOB_NOT_FOUND,
        Reason.SCOPE_MISSING,
    }
)


_SHORT_CHUNKS = 16_384  # that are checked in some ten milliseconds
_SHORT_FILES = 2_000


@dataclasses.dataclass(frozen=True, slots=True)
class Committed:
    """What a commit gave: the upload as it is now, and the version if it became one."""

    upload: Upload
    version: Version | None


class Commits:
    """The rules about manifests and commits; methods run inside a unit of work, except `prepare`."""

    def __init__(
        self,
        uploads: Uploads,
        store: UploadStore,
        trees: TreeStore,
        chunks: ChunkStore,
        versions: Versions,
        checkpoints: Checkpoints,
        clock: Clock,
        limits: TransferLimits,
        disk: DiskRoom,
        quotas: QuotaRules,
    ) -> None:
        self._uploads = uploads
        self._store = store
        self._trees = trees
        self._chunks = chunks
        self._versions = versions
        self._checkpoints = checkpoints
        self._clock = clock
        self._limits = limits
        self._disk = disk
        self._quotas = quotas

    def prepare(self, files: Sequence[FileDraft]) -> list[FileDraft]:
        """Check the form of files and compute the roots of those that are whole. Takes time, touches no rows.

        Raises Invalid (BAD_PATH, BAD_LENGTH, FIELD_INVALID).
        """
        self.check_count(len(files))
        check_paths([file.path for file in files])
        for index, file in enumerate(files):
            manifests.check_file(file, f"files[{index}]")
        return [manifests.with_root(file) for file in files]

    def check_count(self, files: int) -> None:
        """Refuse more files in one call than it may have. Raises Invalid (FIELD_INVALID)."""
        if files > self._limits.max_message_files:
            raise invalid_field(
                "files",
                f"expected at most {self._limits.max_message_files} files, got {files}",
                next_step="Put them with several calls.",
            )

    def clear_manifest(self, caller: Caller, name: UploadName) -> bool:
        """Forget some files of an open upload; return whether some may be left. Inside a write.

        Raises NotFound (UPLOAD_NOT_FOUND), Precondition (UPLOAD_CLOSED).
        """
        return self._trees.clear_some(self._uploads.require_open(caller, name).tree)

    def put_manifest(
        self, caller: Caller, name: UploadName, files: Sequence[FileDraft], *, reset: bool
    ) -> Upload:
        """Put prepared files into the upload's tree; return the upload with its new totals. Inside a write.

        Raises NotFound (UPLOAD_NOT_FOUND), Precondition (UPLOAD_CLOSED), Conflict (SEGMENT_CONFLICT),
        Exhausted (DISK_LOW, TOO_LARGE, QUOTA).
        """
        upload = self._uploads.require_open(caller, name)
        if reset:
            self._trees.clear(upload.tree)
        self._trees.put_files(upload.tree, files)
        count, size, chunk_count = self._trees.totals(upload.tree)
        self._check_totals(count, chunk_count)
        self._disk.require_manifest(count * manifests.FILE_COST + chunk_count * digests.ENTRY_SIZE)
        self._quotas.require_rows(upload.namespace)
        return self._uploads.touch(
            upload,
            file_count=count,
            manifest_bytes=size,
            chunk_count=chunk_count,
            revision=upload.revision + 1,
        )

    def seal(self, caller: Caller, name: UploadName, expected_digest: str, file_count: int) -> Upload:
        """Close an upload for changes; return it, SEALING, or COMMITTED when it was done before. In a write.

        Raises Invalid (FIELD_INVALID), NotFound (UPLOAD_NOT_FOUND), Precondition (UPLOAD_CLOSED), Exhausted
        (BUSY) while an earlier call commits it.
        """
        try:
            digest = digests.parse_digest(expected_digest)
        except ValueError as error:
            raise invalid_field("expected_digest", str(error)) from None
        upload = self._uploads.find(caller, name)
        same = upload.result_digest == digest and upload.file_count == file_count
        if upload.state is UploadState.COMMITTED and same:
            return upload
        if upload.state is UploadState.SEALING:
            raise Exhausted(
                Reason.BUSY,
                f"{name} is being committed by an earlier call.",
                next_step="Ask again in a moment: the answer will be that of the earlier call.",
                facts={"upload": str(name)},
                retry_after=1.0,
            )
        if upload.state is UploadState.OPEN:
            self._uploads.require_open(caller, name)  # its time may be over, though nothing has closed it yet
        return self._uploads.move(upload, UploadMove.SEAL)

    def is_long(self, upload: Upload) -> bool:
        """Return whether checking an upload takes so long that others should not wait for it."""
        return upload.chunk_count > _SHORT_CHUNKS or upload.file_count > _SHORT_FILES

    def check(self, upload: Upload, expected_digest: str, file_count: int) -> CheckedManifest:
        """Check a sealed upload as a whole. Inside a read; takes time for many files.

        What its totals show already is refused before anything reads the manifest.
        Raises Invalid (BAD_PATH, BAD_LENGTH), Precondition (MISSING_CHUNKS, DIGEST_MISMATCH), Exhausted
        (TOO_LARGE, QUOTA).
        """
        self._check_announced(upload, file_count)
        found = ManifestCheck(self._trees, self._chunks, upload, self._clock.now()).run()
        told = digests.format_digest(found.digest)
        if told != expected_digest:
            raise _mismatch(upload, f"expected the tree digest {expected_digest}, the manifest gives {told}")
        return found

    def finish(self, caller: Caller, sealed: Upload, checked: CheckedManifest) -> Committed:
        """Make the version or checkpoint; the upload is COMMITTED in the same transaction. Inside a write.

        Raises as Versions.commit and Checkpoints.commit, Precondition (MISSING_CHUNKS), Exhausted (QUOTA).
        """
        upload = self._uploads.find(caller, sealed.name)
        self._lease_rest(upload, checked)
        target = upload.target
        if isinstance(target, NewCheckpoint):
            tree = self._tree(upload, checked)
            result = self._checkpoints.commit(caller, target, tree).name
            version, owner, artifact, state = None, result, "", None
        else:
            version = self._commit_version(caller, upload, target, checked)
            result, owner, artifact = str(version.name), version.uid, str(version.name.artifact)
            state = version.state
        self._quotas.require_kept(upload.namespace)
        self._trees.adopt(upload.tree, owner, artifact, checked.digest, checked.late_roots)
        failpoints.hit("commit.adopted")
        upload = self._uploads.move(
            upload,
            UploadMove.COMMIT,
            result=result,
            result_digest=checked.digest,
            missing_chunks=0,
            problem=None,
            version_state=state,
        )
        return Committed(upload, version)

    def reopen(self, sealed: Upload, error: Exception) -> None:
        """Let a sealed upload be changed again and remember why its commit came to nothing. Inside a write.

        It is FAILED instead when nothing that can be sent to it would help. Without effect when the commit
        counts after all.
        """
        upload = self._store.find(sealed.name)
        if upload is None or upload.state is not UploadState.SEALING:
            return
        now, missing = self._clock.now(), 0
        if isinstance(error, IngotError):
            problem, missing = error.problem(now), int(error.facts.get("missing", "0"))
        else:
            problem = Problem(
                Reason.INTERNAL,
                f"The server failed while it committed {upload.name}.",
                {"upload": str(upload.name)},
                "Commit it again; if that fails too, the server's log has the cause.",
                now,
            )
        move = UploadMove.FAIL if problem.reason in _FOR_GOOD else UploadMove.REOPEN
        self._uploads.move(upload, move, missing_chunks=missing, problem=problem)

    def committed(self, caller: Caller, upload: Upload) -> Committed:
        """Return what an upload became when it was committed before. Inside a read."""
        if isinstance(upload.target, NewCheckpoint):
            return Committed(upload, None)
        return Committed(upload, self._versions.get(caller, version_reference(upload.result)))

    # --- inside -----------------------------------------------------------------------------------------

    def _check_announced(self, upload: Upload, file_count: int) -> None:
        self._uploads.check_size(upload.target, upload.manifest_bytes)
        self._quotas.require_fitting(upload.namespace, upload.manifest_bytes)
        if upload.file_count != file_count:
            raise _mismatch(upload, f"expected {file_count} files, the manifest has {upload.file_count}")

    def _check_totals(self, files: int, chunks: int) -> None:
        limits = self._limits
        for what, most, got in (
            ("files", limits.max_tree_files, files),
            ("chunks", limits.max_tree_chunks, chunks),
        ):
            if got > most:
                raise Exhausted(
                    Reason.TOO_LARGE,
                    f"An upload has at most {most} {what}, got {got}.",
                    next_step="Pack small files together, or push several versions.",
                    facts={"limit": str(most), what: str(got)},
                )

    def _commit_version(
        self, caller: Caller, upload: Upload, target: NewVersion, checked: CheckedManifest
    ) -> Version:
        origin = self._checkpoints.origin(caller, target) if target.training_job else VersionOrigin()
        facts = TreeFacts(
            digest=checked.digest,
            file_count=checked.file_count,
            size_bytes=checked.size_bytes,
            new_bytes=upload.new_bytes,
            format=checked.format,
        )
        origin = dataclasses.replace(
            origin,
            upload=str(upload.name),
            operation=caller.operation,
            source=target.source,
            hub_commit=target.source_commit,
        )
        version = self._versions.commit(caller, target, facts, origin, self._clock.now())
        if target.training_job:
            self._checkpoints.commit_result(caller, target, version.name)
        return version

    def _tree(self, upload: Upload, checked: CheckedManifest) -> Tree:
        return Tree(
            id=upload.tree,
            name=str(upload.name),
            namespace=upload.namespace,
            digest=checked.digest,
            file_count=checked.file_count,
            size_bytes=checked.size_bytes,
        )

    def _lease_rest(self, upload: Upload, checked: CheckedManifest) -> None:
        """Hold exactly the chunks of the manifest; those not leased before must still be visible."""
        chunks: Collection[int] = checked.chunks
        if checked.unleased:
            again = self._chunks.known(checked.unleased, upload.namespace, self._clock.now())
            visible = {each.id for each in again if each.visible}
            gone = len(checked.unleased) // digests.DIGEST_SIZE - sum(each.visible for each in again)
            if gone:
                raise missing_chunks(upload.name, gone, checked.unleased[: digests.DIGEST_SIZE])
            self._chunks.hold(upload.tree, visible)
            chunks = checked.chunks | visible
        if self._chunks.held(upload.tree) != len(chunks):
            self._chunks.hold_only(upload.tree, chunks)


def _mismatch(upload: Upload, what: str) -> Precondition:
    return Precondition(
        Reason.DIGEST_MISMATCH,
        f"{upload.name}: {what}.",
        next_step="Send the whole manifest again with `reset`, then commit; a file changed meanwhile.",
        facts={"upload": str(upload.name)},
    )
