"""uploads watch: follow one upload to its end."""

from typing import TYPE_CHECKING

from ingot.client import _names
from ingot.client._errors import IngotError
from ingot.client.cli import formats
from ingot.client.cli import operation_view as views
from ingot.client.cli.command import Command, Parser
from ingot.client.cli.live import LiveBlock
from ingot.client.cli.shell import Shell
from ingot.client.cli.uploads import problem_text

if TYPE_CHECKING:
    from ingot.v1 import transfer_pb2


class Watch(Command):
    """Follow an upload live: its stages, and how much is stored, until it is ready for use or has failed.

    Broken connections are resumed without losing an event. Ctrl-C leaves the upload alone. Ends with 0 when
    it is fresh, with 1 when it failed.
    """

    examples = ("ingot uploads watch 1", "ingot uploads watch file_1 --json")
    upload: str
    after: int

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("upload", metavar="UPLOAD", help="12, file_12 or uploads/file_12")
        parser.add_argument("--after", type=int, default=0, metavar="N", help="only events after number N")

    def run(self, shell: Shell) -> int:
        from ingot.v1 import transfer_pb2 as pb

        out, block, present = shell.out, LiveBlock(shell.out), False

        def on_break(error: IngotError) -> None:
            block.clear()
            out.note(f"{error.message} Trying again.")

        try:
            for message in shell.client.uploads.watch(self.upload, after=self.after, on_break=on_break):
                if out.json:
                    out.plain(message, indent=None)
                elif not out.quiet:
                    for text in _lines(message):
                        block.clear()
                        out.line(text)
                present = present or message.HasField("synced")
                if message.HasField("event"):
                    self.after = message.event.seq
                    if present and message.event.HasField("progress"):  # what is replayed first is the past
                        block.show(views.bars(message.event.progress, drawn=out.live))
        finally:
            block.clear()
        found = shell.client.uploads.get(self.upload)
        if out.json:
            out.plain(pb.WatchUploadResponse(snapshot=found), indent=None)
        elif out.quiet:
            out.line(found.name)
        elif found.HasField("problem"):
            out.note(problem_text(found.problem))
        return 0 if found.stage == pb.UPLOAD_STAGE_FRESH else 1

    def how_to_go_on(self) -> str:
        """Say how to come back, to where one was."""
        further = f" --after {self.after}" if self.after else ""
        bare = _names.upload_name(self.upload).removeprefix("uploads/")
        return f"The upload is left alone. Come back: {self.ingot} uploads watch {bare}{further}"


def _lines(message: "transfer_pb2.WatchUploadResponse") -> list[str]:
    from ingot.v1 import transfer_pb2 as pb

    if message.HasField("snapshot"):
        stage = formats.word(pb.UploadStage.Name(message.snapshot.stage), "UPLOAD_STAGE")
        return [f"{message.snapshot.name} is {stage}: {message.snapshot.description}"]
    event = message.event
    if not event.HasField("state"):
        return []
    stage = formats.word(event.state.to, "UPLOAD_STAGE")
    return [f"{formats.clock(event.time)}  {stage}  {event.state.message}".rstrip()]
