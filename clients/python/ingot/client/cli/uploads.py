"""uploads: sessions that gather chunks until they are committed or given up."""

from datetime import timedelta
from typing import TYPE_CHECKING

from ingot.client._errors import Integrity, Invalid
from ingot.client.cli import formats, named
from ingot.client.cli.command import Command, Parser, declare_limit, declare_yes
from ingot.client.cli.output import Listing, Output
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.v1 import common_pb2, transfer_pb2

_STAGES = ("uploading", "staged", "validating", "processing", "fresh", "failed")


class Ls(Command):
    """List one's uploads, newest first."""

    examples = ("ingot uploads ls", "ingot uploads ls --stage uploading")
    stage: str
    limit: int

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("--stage", choices=_STAGES, metavar="STAGE", help=", ".join(_STAGES))
        declare_limit(parser)

    def run(self, shell: Shell) -> int:
        from ingot.v1 import transfer_pb2 as pb

        stage = pb.UploadStage.Value(f"UPLOAD_STAGE_{(self.stage or 'unspecified').upper()}")
        listing = Listing(shell.out, self.limit)
        uploads = shell.client.uploads.list(
            namespace=self.namespace or None, stage=stage, limit=listing.wanted
        )
        heading = ("NAME", "TARGET", "STAGE", "PERCENT", "SIZE", "TRAVELLED", "BEGUN")
        listing.show(uploads, heading, _row, lambda upload: upload.name)
        return 0


class Show(Command):
    """Show one upload: state, progress, what it becomes and what went wrong."""

    examples = ("ingot uploads show 1", "ingot uploads show file_1 --json")
    upload: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("upload", metavar="UPLOAD", help="12, file_12 or uploads/file_12")

    def run(self, shell: Shell) -> int:
        upload = shell.client.uploads.get(self.upload)
        shell.out.document(upload, upload.name, lambda: show(shell.out, upload))
        return 0


class Abort(Command):
    """Give up open uploads. Their chunks stay for a while, so that pushing again is quick."""

    examples = ("ingot uploads abort 1 --yes", "ingot uploads abort file_1 file_2 --yes")
    upload: list[str]
    yes: bool

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("upload", nargs="+", metavar="UPLOAD", help="12, file_12 or uploads/file_12")
        declare_yes(parser)

    def run(self, shell: Shell) -> int:
        if shell.out.json and len(self.upload) > 1:
            raise Invalid(
                "--json prints one document: name one upload.",
                reason="USAGE",
                next_step="Call it once for each.",
            )
        for name in self.upload:
            upload = shell.client.uploads.get(name)
            loss = f"{upload.name} for {_target(upload)} ends with {formats.size(upload.stored_bytes)} sent."
            if not shell.confirm(loss, self.yes):
                return 8
            ended = shell.client.uploads.abort(upload.name)
            shell.out.document(ended, ended.name, lambda: shell.out.line(f"{upload.name} is given up."))  # noqa: B023  # called at once
        return 0


class Stats(Command):
    """Count one's uploads: begun, ready, failed, going on; and the files and bytes that are ready.

    Uploads that were forgotten since still count.
    """

    examples = ("ingot uploads stats", "ingot uploads stats --since 2026-01-01 --json")
    since: str
    until: str
    all: bool

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("--since", default="", metavar="DAY", help="begun on this day or later (UTC)")
        parser.add_argument("--until", default="", metavar="DAY", help="begun on this day or earlier (UTC)")
        parser.add_argument("--all", action="store_true", help="of everybody, for administrators")

    def run(self, shell: Shell) -> int:
        from ingot.client.cli.exporting import moment

        found = shell.client.uploads.stats(
            namespace=self.namespace or None,
            since=moment(self.since) if self.since else None,
            until=moment(self.until, "--until") if self.until else None,
            all_users=self.all,
        )
        shell.out.document(found, formats.count(found.total_uploads), lambda: _stats(shell.out, found))
        return 0


class Retry(Command):
    """Try a failed upload again.

    One that expired is open again: push the same files to fill it. A version that was rejected is validated
    again, with the rules that count now; this waits for that and tells what it found.
    """

    examples = ("ingot uploads retry 1", "ingot uploads retry file_1 --no-wait")
    upload: str
    no_wait: bool

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("upload", metavar="UPLOAD", help="12, file_12 or uploads/file_12")
        parser.add_argument("--no-wait", action="store_true", help="do not wait for its validation")

    def run(self, shell: Shell) -> int:
        from ingot.client.cli import push
        from ingot.v1 import transfer_pb2 as pb

        upload = shell.client.uploads.retry(self.upload)
        if upload.stage == pb.UPLOAD_STAGE_UPLOADING:
            shell.out.note("Push the same files again: what is stored still does not travel.")
        elif not self.no_wait:
            shell.out.note(f"{upload.name} is validated again.")
            try:
                upload = shell.client.uploads.wait(upload.name)
            except Integrity as error:
                push.tell_findings(shell, error.facts.get("operation", ""))
                raise
        stage = formats.word(pb.UploadStage.Name(upload.stage), "UPLOAD_STAGE")
        shell.out.document(upload, upload.name, lambda: shell.out.line(f"{upload.name} is {stage}."))
        return 0


class Purge(Command):
    """Forget failed uploads: aborted, expired and rejected ones, with the versions that were rejected.

    The server does the same by itself, every hour, with those that are older than its setting
    failed_upload_hours.
    """

    examples = ("ingot uploads purge --yes", "ingot uploads purge --older-than 0 --yes")
    older_than: float
    all: bool
    yes: bool

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument(
            "--older-than", type=float, default=24.0, metavar="HOURS", help="failed so long ago (24)"
        )
        parser.add_argument("--all", action="store_true", help="everybody's, for administrators")
        declare_yes(parser)

    def run(self, shell: Shell) -> int:
        whose = "everybody's uploads" if self.all else "your uploads"
        loss = f"Of {whose} those that failed more than {self.older_than:g} h ago go, with what they brought."
        if not shell.confirm(loss, self.yes):
            return 8
        purged = shell.client.uploads.purge(older_than=timedelta(hours=self.older_than), all_users=self.all)
        if shell.out.json:
            from ingot.client.cli import plain

            shell.out.line(plain.dumps({"purged": purged}, indent=2))
        elif shell.out.quiet:
            shell.out.line(str(purged))
        else:
            shell.out.line(f"Forgot {formats.plural(purged, 'failed upload')}.")
        return 0


def show(out: Output, upload: "transfer_pb2.Upload") -> None:
    """Print one upload for people."""
    from ingot.v1 import transfer_pb2 as pb

    out.facts(
        {
            "name": upload.name,
            "becomes": _target(upload),
            "state": formats.word(pb.UploadState.Name(upload.state), "UPLOAD_STATE"),
            "stage": formats.word(pb.UploadStage.Name(upload.stage), "UPLOAD_STAGE"),
            "from": upload.original_name,
            "description": upload.description,
            "progress": f"{upload.progress_percent:.1f} %, {formats.size(upload.stored_bytes)} of"
            f" {formats.size(upload.size_bytes)}",
            "chunks": f"{formats.count(upload.stored_chunks)} of {formats.count(upload.chunk_count)}",
            "travelled": formats.size(upload.received_bytes),
            "became": f"{named.short(upload.result)}  {upload.result_digest}" if upload.result else "",
            "problem": problem_text(upload.problem) if upload.HasField("problem") else "",
            "creator": named.user(upload.creator),
            "begun": formats.moment(upload.create_time),
            "changed": formats.moment(upload.update_time),
            "expires": formats.moment(upload.expire_time) if upload.expire_time.seconds else "",
        }
    )


def _stats(out: Output, found: "transfer_pb2.GetUploadStatsResponse") -> None:
    out.facts(
        {
            "uploads": formats.count(found.total_uploads),
            "successful": formats.count(found.successful_uploads),
            "failed": formats.count(found.failed_uploads),
            "active": formats.count(found.active_uploads),
            "files": formats.count(found.total_files),
            "size": formats.size(found.total_size),
            "average file": formats.size(found.average_file_size),
        }
    )


def problem_text(problem: "common_pb2.Problem") -> str:
    """Return a stored failure in words."""
    facts = "".join(f"\n{key}: {value}" for key, value in sorted(problem.facts.items()))
    return f"{problem.message}{facts}" + (f"\nnext: {problem.next_step}" if problem.next_step else "")


def _row(upload: "transfer_pb2.Upload") -> tuple[str, ...]:
    from ingot.v1 import transfer_pb2 as pb

    return (
        upload.name.removeprefix("uploads/"),
        _target(upload),
        formats.word(pb.UploadStage.Name(upload.stage), "UPLOAD_STAGE"),
        f"{upload.progress_percent:.1f}",
        formats.size(upload.size_bytes),
        formats.size(upload.received_bytes),
        formats.moment(upload.create_time),
    )


def _target(upload: "transfer_pb2.Upload") -> str:
    target = upload.target
    if target.WhichOneof("target") == "checkpoint":
        return f"{target.checkpoint.training_job}/checkpoints/{target.checkpoint.step}"
    version = f"@{target.version.version_id}" if target.version.version_id else ""
    return named.short(target.version.artifact) + version
