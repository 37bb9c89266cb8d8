"""operations watch: follow one piece of background work, or all that runs."""

import shutil
from typing import TYPE_CHECKING

from ingot.client._errors import IngotError
from ingot.client._names import operation_name
from ingot.client.cli import following, formats
from ingot.client.cli import operation_view as views
from ingot.client.cli.command import Command, Parser
from ingot.client.cli.live import LiveBlock
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.v1 import operations_pb2

_BAR = 80  # columns of a bar with all that stands behind it; narrower terminals have the numbers alone
_OUTCOMES = {"succeeded": 0, "failed": 1, "cancelled": 8}


class Watch(Command):
    """Follow background work live: state, phase, bytes, speed, time left, and the files in flight.

    Without a name everything that runs is followed, one bar each, until nothing runs any more. Broken
    connections are resumed without losing an event. Ctrl-C leaves the work alone. Ends with what one failed
    with; of several with 0 when all succeeded, else 1.
    """

    examples = ("ingot operations watch 1", "ingot operations watch --json")
    operation: str | None
    after: int
    kind: str
    queue: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("operation", nargs="?", metavar="OPERATION", help="12, op_12 or operations/op_12")
        parser.add_argument("--after", type=int, default=0, metavar="N", help="only events after number N")
        parser.add_argument("--kind", default="", metavar="KIND", help="of all: only this kind, as import")
        parser.add_argument("--queue", default="", metavar="QUEUE", help="of all: only this queue")

    def run(self, shell: Shell) -> int:
        if self.operation is None:
            return _All(shell, self.kind, self.queue).run()
        say = None if shell.out.quiet or shell.out.json else shell.out.line
        found = following.follow(shell, self.operation, after=self.after, seen=self._remember, say=say)
        if shell.out.quiet:
            shell.out.line(found.name)
        following.check(shell, found, story=False)
        return 0

    def _remember(self, number: int) -> None:
        self.after = number

    def how_to_go_on(self) -> str:
        """Say how to come back, to where one was."""
        if self.operation is None:
            asked = [
                f" {flag} {value}"
                for flag, value in (("--kind", self.kind), ("--queue", self.queue))
                if value
            ]
            return f"The server goes on. Come back: {self.ingot} operations watch{''.join(asked)}"
        return following.detached(operation_name(self.operation), self.after, ingot=self.ingot)


class _All:
    """Everything that runs, each with the newest that is known of it."""

    def __init__(self, shell: Shell, kind: str, queue: str) -> None:
        self._shell, self._kind, self._queue = shell, kind, queue
        self._block = LiveBlock(shell.out)
        self._live: dict[str, "operations_pb2.Operation"] = {}  # noqa: UP037  # protobuf is imported for types alone
        self._states: dict[str, str] = {}
        self._breaks: set[str] = set()
        self._failed = False

    def run(self) -> int:
        """Follow until nothing runs and return the exit code."""
        out = self._shell.out
        synced = False
        try:
            for message in self._shell.client.operations.watch_all(
                kind=self._kind, queue=self._queue, active_only=True, on_break=self._broken
            ):
                if out.json:
                    out.plain(message, indent=None)
                synced = synced or message.HasField("synced")
                if message.HasField("operation"):
                    self._take(message.operation)
                if synced and not self._live:
                    break
                self._show()
        finally:
            self._block.clear()
        if not self._states and not out.json and not out.quiet:
            out.note("Nothing runs.")
        return 1 if self._failed else 0

    def _take(self, operation: "operations_pb2.Operation") -> None:
        state, out = views.state_of(operation), self._shell.out
        if state != self._states.get(operation.name) and not out.json and not out.quiet:
            self._block.clear()
            time = formats.clock(operation.finish_time) if operation.HasField("finish_time") else ""
            problem = (
                operation.problem.message if operation.HasField("problem") and state != "running" else ""
            )
            words = (time, views.bare(operation.name), views.what(operation), state, problem)
            out.line("  ".join(word for word in words if word))
        self._states[operation.name] = state
        if state in _OUTCOMES:
            self._live.pop(operation.name, None)
            self._failed = self._failed or _OUTCOMES[state] != 0
            if out.quiet:
                out.line(operation.name)
        else:
            self._live[operation.name] = operation

    def _show(self) -> None:
        running = [each for each in self._live.values() if each.HasField("progress")]
        titles = [f"{views.bare(each.name)}  {views.what(each)}" for each in running]
        widest = max(map(formats.width, titles), default=0)
        drawn = self._shell.out.live and shutil.get_terminal_size().columns >= widest + _BAR
        lines = [
            f"{title}{' ' * (widest - formats.width(title))}  {views.bars(each.progress, drawn=drawn)[0]}"
            for title, each in zip(titles, running, strict=True)
        ]
        self._block.show(lines, plain=len(lines))

    def _broken(self, error: IngotError) -> None:
        self._block.clear()
        if error.message not in self._breaks:  # a server that is away says the same each time
            self._shell.out.note(f"{error.message} Trying again.")
        self._breaks.add(error.message)
