"""Push: files become a version or a checkpoint, and only what the server lacks travels.

    find files → begin → cut ─┬→ which chunks are missing? → send ─┬→ commit
                              └→ manifest of each file ────────────┘

Cutting, asking and sending overlap. A push that was killed goes on where it stopped when it is run again: the
journal knows the cuts, the note the request id under which the upload was begun, and the server the chunks.
Both sides compute the digest of the tree, and the commit compares them.
"""

import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from ingot.client import _commits, _cutting, _manifests, _walk
from ingot.client._calls import Calls, new_id
from ingot.client._channels import Link
from ingot.client._cutting import CutFile, Found
from ingot.client._errors import Integrity, Invalid, LimitReached, Precondition
from ingot.client._held import Room
from ingot.client._journal import FileState, Journal, Note
from ingot.client._manifests import Manifests
from ingot.client._progress import OnProgress, Reporter, Stage
from ingot.client._rates import Rate
from ingot.client._streams import Batch, Missing, Sender, changed
from ingot.client._walk import SourceFile
from ingot.content import digests
from ingot.v1 import catalog_pb2, common_pb2, transfer_pb2_grpc
from ingot.v1 import transfer_pb2 as pb

_ASK_BYTES = 16 * 1024 * 1024  # then three times as many: the first question is early, the others are few
_ABOVE_SLOW = 1.25  # times the rate below which the server ends a stream

# Yields runs of chunks, and each file when it is complete.
Cutter = Callable[[Sequence[SourceFile], Reporter], Generator[Found, None, None]]


@dataclass(frozen=True, slots=True)
class PushResult:
    """What a push made, or would make (`name` is empty after a dry run)."""

    name: str  # concrete name of the version or checkpoint
    digest: str  # tree digest, blake3:<hex>
    file_count: int
    size_bytes: int
    sent_bytes: int  # that travelled, or would
    reused_bytes: int  # that were there already
    seconds: float
    upload: str = ""
    version: catalog_pb2.Version | None = None


@dataclass(frozen=True, slots=True)
class PushOptions:
    """How to push. `streams` fixes the number of connections, else as many as help."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    hidden: bool = False
    limit_rate: float = 0.0  # bytes a second; 0 is no limit
    streams: int | None = None
    dry_run: bool = False
    wait: bool = False  # until the version has passed its validation, when its artifact requires one
    on_progress: OnProgress | None = None


def push(
    link: Link,
    calls: Calls,
    target: pb.UploadTarget,
    sources: Sequence[str | os.PathLike[str]],
    options: PushOptions,
) -> PushResult:
    """Push files or folders into a new version or checkpoint. Raises IngotError."""
    files = _walk.find_files(sources, include=options.include, exclude=options.exclude, hidden=options.hidden)
    journal = Journal(Path(os.path.commonpath([os.path.abspath(each) for each in sources])))

    room = None if options.dry_run else Room()

    def cutter(wanted: Sequence[SourceFile], report: Reporter) -> Generator[Found, None, None]:
        return _cutting.cut_files(wanted, journal, report, room)

    try:
        return push_cut(link, calls, target, files, cutter, sources, options)
    finally:
        journal.close()


def push_cut(
    link: Link,
    calls: Calls,
    target: pb.UploadTarget,
    files: list[SourceFile],
    cutter: Cutter,
    sources: Sequence[str | os.PathLike[str]],
    options: PushOptions,
) -> PushResult:
    """Push files that `cutter` cuts, or knows the cuts of, into a new version or checkpoint."""
    return _Push(link, calls, target, files, cutter, options).run(sources)


class _Push:
    """One push from its files to its commit."""

    def __init__(
        self,
        link: Link,
        calls: Calls,
        target: pb.UploadTarget,
        files: list[SourceFile],
        cutter: Cutter,
        options: PushOptions,
    ) -> None:
        self._link, self._calls, self._target = link, calls, target
        self._files, self._cutter, self._options = files, cutter, options
        self._stub = transfer_pb2_grpc.TransferServiceStub(link.channel)
        self._report = Reporter(options.on_progress)
        self._cuts: dict[str, CutFile] = {}
        self._seen: set[bytes] = set()
        self._asked: Batch = []  # chunks the server will be asked about
        self._asked_bytes = 0
        self._ask_bytes = _ASK_BYTES
        self._again: Batch = []  # chunks to ask about once more
        self._manifests: Manifests | None = None  # of what is cut for the first time
        self._recut: set[str] = set()  # paths of files that changed once already
        self._begun = time.monotonic()

    def run(self, sources: Sequence[str | os.PathLike[str]]) -> PushResult:
        """Do all of it."""
        size = sum(each.size for each in self._files)
        self._report.total(files=len(self._files), size=size)
        self._limits = self._calls.unary(self._stub.GetCapabilities, pb.GetCapabilitiesRequest())
        self._check_limits()
        request = pb.BeginUploadRequest(target=self._target, size_bytes=size, original_name=_name_of(sources))
        if self._options.dry_run:
            return self._dry_run(self._begin(request, None))
        about = request.SerializeToString(deterministic=True).hex()
        note = Note("upload", self._link.endpoint.target, about, *self._same(sources))
        with note.alone() as mine:
            return self._push(request, note if mine else None)

    def _same(self, sources: Sequence[str | os.PathLike[str]]) -> Iterator[str]:
        """Yield what must be the same for a push to go on with the upload of one before."""
        yield from (os.path.abspath(each) for each in sources)
        yield from ("include", *self._options.include, "exclude", *self._options.exclude)
        yield f"hidden {self._options.hidden}"

    def _push(self, request: pb.BeginUploadRequest, note: Note | None) -> PushResult:
        """Push with the note, or as if there were none where somebody else is at the same push now."""
        upload = self._begin(request, note)
        result = None
        if upload.state == pb.UPLOAD_STATE_COMMITTED and note is not None:
            result = self._already(upload)
            if result is None:
                note.remove()
                upload = self._begin(request, note)
        result = result or self._fill(upload)
        if self._options.wait:
            result = self._validated(result)
        if note is not None:
            note.remove()
        self._report.stage(Stage.DONE)
        return result

    # --- the upload -------------------------------------------------------------------------------------

    def _begin(self, request: pb.BeginUploadRequest, note: Note | None) -> pb.Upload:
        """Open the upload, or the one that a run before this opened and did not finish."""
        request.request_id = note.read_or(new_id()) if note else new_id()
        upload = self._calls.unary(self._stub.BeginUpload, request).upload
        upload = _commits.settled(self._stub, self._calls, upload, self._report)
        if upload.stage != pb.UPLOAD_STAGE_FAILED or note is None:
            return upload
        request.request_id = note.keep(new_id())
        return self._calls.unary(self._stub.BeginUpload, request).upload

    def _already(self, upload: pb.Upload) -> PushResult | None:
        """Return what a run before this committed without hearing of it, when it is the same tree."""
        for found in self._cut(self._files):
            if isinstance(found, CutFile):
                self._cuts[found.file.path] = found
        digest = self._digest()
        if upload.result_digest == digest:
            return self._result(upload, None, digest, reused=self._size())
        self._cuts.clear()
        self._report = Reporter(self._options.on_progress)
        self._report.total(files=len(self._files), size=sum(each.size for each in self._files))
        return None

    def _dry_run(self, upload: pb.Upload) -> PushResult:
        """Ask what would have to travel, with an upload of its own, and take nothing."""
        missing = 0
        asking = Missing(self._link, self._calls, upload.name, self._limits.max_digests)
        for chunks in self._questions(self._files, asking.most):
            missing += sum(each.length for each in asking.among(chunks))
        self._calls.unary(
            self._stub.AbortUpload, pb.AbortUploadRequest(name=upload.name, request_id=new_id())
        )
        size = self._size()
        self._report.stage(Stage.DONE)
        seconds = time.monotonic() - self._begun
        return PushResult("", self._digest(), len(self._cuts), size, missing, size - missing, seconds)

    def _fill(self, upload: pb.Upload) -> PushResult:
        rate = Rate(self._options.limit_rate)
        sender = Sender(
            self._link,
            self._calls,
            upload.name,
            self._limits,
            self._report,
            rate,
            self._options.streams,
            sum(each.size for each in self._files),
        )
        asking = Missing(self._link, self._calls, upload.name, self._limits.max_digests)
        with sender.lanes, Manifests(self._stub, self._calls, upload.name) as manifests:
            self._manifests = manifests
            todo: Sequence[SourceFile] = self._files
            for last in (False, False, True):
                self._send_missing(todo, asking, sender)
                todo = self._changed_files(sender, last=last)
                self._report.stage(Stage.VERIFYING)
                fresh, self._manifests = self._manifests, None
                if fresh is not None:
                    fresh.finish()
                if todo:
                    continue
                if fresh is None:  # not the first round: put them anew
                    cuts = [self._cuts[each.path] for each in self._files]
                    _manifests.put(self._stub, self._calls, upload.name, cuts, reset=True)
                try:
                    return self._commit(upload)
                except Precondition as error:
                    if error.reason != "MISSING_CHUNKS" or last:
                        raise
                self._again = [chunk for cut in self._cuts.values() for chunk in cut.sources()]
        raise AssertionError("the last round returns or raises")

    # --- chunks -----------------------------------------------------------------------------------------

    def _send_missing(self, files: Sequence[SourceFile], asking: Missing, sender: Sender) -> None:
        self._report.stage(Stage.HASHING)
        again, self._again = self._again, []
        for start in range(0, len(again), asking.most):
            sender.add(asking.among(again[start : start + asking.most]))
        with closing(self._questions(files, asking.most)) as questions:
            for chunks in questions:
                missing = asking.among(chunks)
                travelling = sum(each.length for each in missing)
                self._report.add(reused=sum(each.length for each in chunks) - travelling)
                sender.add(missing)
                del chunks, missing  # they may hold much while the next are cut
        if self._manifests is not None:
            self._manifests.flush()  # everything is cut: they go while the last chunks travel
        self._report.stage(Stage.SENDING)
        sender.finish()

    def _questions(self, files: Sequence[SourceFile], most: int) -> Generator[Batch, None, None]:
        """Yield chunks not asked about before, as many at once as one call may ask about."""
        with closing(self._cut(files)) as cutter:
            for found in cutter:
                if isinstance(found, CutFile):
                    self._cuts[found.file.path] = found
                    if self._manifests is not None:
                        self._manifests.add(found)
                    continue
                for chunk in found:
                    if chunk.digest in self._seen:
                        self._report.add(reused=chunk.length)
                        continue
                    self._seen.add(chunk.digest)
                    self._asked.append(chunk)
                    self._asked_bytes += chunk.length
                    if len(self._asked) >= most:
                        yield self._take()
                if self._asked_bytes >= self._ask_bytes:
                    yield self._take()
        if self._asked:
            yield self._take()

    def _cut(self, files: Sequence[SourceFile]) -> Generator[Found, None, None]:
        # What is cut a second time is not counted a second time.
        report = Reporter(None) if self._cuts else self._report
        return self._cutter(files, report)

    def _take(self) -> Batch:
        taken, self._asked, self._asked_bytes = self._asked, [], 0
        self._ask_bytes = 3 * _ASK_BYTES
        return taken

    def _changed_files(self, sender: Sender, *, last: bool) -> list[SourceFile]:
        """Return the files that are no longer what was cut; they are cut and sent once more."""
        refused, sender.refused = sender.refused, []
        found: dict[str, SourceFile] = {}
        for cut in self._cuts.values():
            try:
                same = FileState.of(os.stat(cut.file.source)) == cut.state
            except OSError as failure:
                raise changed(cut.file.source, str(failure)) from failure
            if not same:
                if last or cut.file.path in self._recut:
                    raise changed(cut.file.source, "it was written to again and again")
                found[cut.file.source] = cut.file
        if refused and not found:
            raise Integrity(
                f"The server refused bytes of {refused[0].source}: they do not have the digest they had.",
                reason="CHUNK_HASH_MISMATCH",
                facts={"path": refused[0].source, "offset": str(refused[0].offset)},
                next_step="Check this machine's disk and memory, then push again.",
            )
        self._recut.update(each.path for each in found.values())
        self._seen -= {chunk.digest for chunk in refused}
        self._again = [chunk for chunk in refused if chunk.source not in found]
        return list(found.values())

    # --- the end ----------------------------------------------------------------------------------------

    def _commit(self, upload: pb.Upload) -> PushResult:
        self._report.stage(Stage.COMMITTING)
        digest = self._digest()
        request = pb.CommitUploadRequest(
            upload=upload.name,
            expected_digest=digest,
            file_count=len(self._files),
            request_id=new_id(),
        )
        reply = self._calls.unary(self._stub.CommitUpload, request, timeout=_commits.SECONDS)
        version = reply.version if reply.HasField("version") else None
        return self._result(reply.upload, version, digest, reused=self._report.now.bytes_reused)

    def _validated(self, result: PushResult) -> PushResult:
        """Wait until the version may be used by others. Raises what its validation found."""
        if result.version is not None and result.version.state == catalog_pb2.VERSION_STATE_READY:
            return result

        def tell(progress: common_pb2.Progress) -> None:
            if progress.unit == "bytes":
                self._report.validated(progress.done)

        from ingot.client._validated import Verdict  # and with it all of operations: only who waits pays

        self._report.stage(Stage.VALIDATING)
        verdict = Verdict(self._link, self._calls)
        verdict.wait(result.upload, tell)
        return replace(result, version=verdict.version(result.name))

    def _result(
        self, upload: pb.Upload, version: catalog_pb2.Version | None, digest: str, *, reused: int
    ) -> PushResult:
        size, sent = self._size(), self._report.now.bytes_moved
        return PushResult(
            name=upload.result,
            digest=digest,
            file_count=len(self._files),
            size_bytes=size,
            sent_bytes=sent,
            reused_bytes=min(reused, max(0, size - sent)),  # a file that changed was looked at twice
            seconds=time.monotonic() - self._begun,
            upload=upload.name,
            version=version,
        )

    def _digest(self) -> str:
        rows = ((path, found.cut.size, found.cut.root()) for path, found in self._cuts.items())
        return digests.format_digest(digests.tree_digest(rows))

    def _size(self) -> int:
        return sum(found.cut.size for found in self._cuts.values())

    def _check_limits(self) -> None:
        least = int(self._limits.min_bytes_per_second * _ABOVE_SLOW)
        if 0 < self._options.limit_rate < least:
            raise Invalid(
                f"limit_rate: expected at least {least} bytes a second, got {self._options.limit_rate:g}; "
                "this server ends streams that are slower.",
                reason="FIELD_INVALID",
                facts={"expected": str(least), "got": f"{self._options.limit_rate:g}"},
                next_step=f"Use --limit-rate {-(-least // 1024)}K or more.",
            )
        most = self._limits.max_file_bytes
        for file in self._files:
            if most and file.size > most:
                raise LimitReached(
                    f"{file.source} has {file.size} bytes; this server takes files of at most {most}.",
                    reason="TOO_LARGE",
                    facts={"path": file.source, "expected": str(most), "got": str(file.size)},
                    next_step="Split the file, or leave it out with --exclude.",
                )


def _name_of(sources: Sequence[str | os.PathLike[str]]) -> str:
    names = [Path(each).resolve().name for each in sources]
    name = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
    return name.encode(errors="replace").decode()  # it may be in another encoding
