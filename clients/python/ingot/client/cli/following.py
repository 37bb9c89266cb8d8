"""Follow background work to its end: its lines, its bars, and what to say when somebody stops watching.

Import, export, validation and upkeep start an operation and follow it; `ingot operations watch` follows any.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ingot.client._errors import IngotError
from ingot.client.cli import operation_view as views
from ingot.client.cli.command import Command, Parser
from ingot.client.cli.live import LiveBlock
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.v1 import operations_pb2


class Starting(Command):
    """A command that starts an operation and follows it, unless told otherwise."""

    wait: bool
    _operation = ""
    _seen = 0

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument(
            "--no-wait", dest="wait", action="store_false", help="start it and leave; say how to come back"
        )

    def followed(
        self, shell: Shell, operation: "operations_pb2.Operation"
    ) -> "operations_pb2.Operation | None":
        """Return the operation once it has succeeded, None when nobody waits. Raises what it failed with."""
        from ingot.client import _problems

        self._operation = operation.name
        if not self.wait:
            shell.out.document(operation, operation.name, lambda: _started(shell, operation))
            return None
        if views.state_of(operation) != "queued" and not _problems.ended(operation):
            shell.out.note(f"{operation.name} does that already; following it.")
        found = follow(shell, operation.name, seen=self._remember)
        check(shell, found)
        return found

    def _remember(self, number: int) -> None:
        self._seen = number

    def how_to_go_on(self) -> str:
        """Say that the server goes on, and how to come back or stop it."""
        if not self._operation:
            return ""
        return detached(self._operation, self._seen, ingot=self.ingot)


def follow(
    shell: Shell,
    name: str,
    *,
    after: int = 0,
    seen: Callable[[int], None],
    say: Callable[[str], None] | None = None,
    events: bool = True,
) -> "operations_pb2.Operation":
    """Show an operation until it has ended and return it.

    `after` is the number of the last event that was shown before; `seen` is told each that is shown now.
    `say` prints every line, as data; without it only warnings are told, beside the data. With --json each
    message is a line of data, unless `events` is false, and the last one has the result.
    """
    from ingot.v1 import operations_pb2 as pb

    out = shell.out
    view, block = views.OperationView(drawn=out.live, every_line=say is not None), LiveBlock(out)
    present = False

    broken: set[str] = set()

    def on_break(error: IngotError) -> None:
        block.clear()
        if error.message not in broken:  # a server that is away says the same each time
            out.note(f"{error.message} Trying again.")
        broken.add(error.message)

    try:
        for message in shell.client.operations.watch(name, after=after, on_break=on_break):
            if out.json and events:
                out.plain(message, indent=None)
            for text in view.lines(message):
                block.clear()
                if say is not None:
                    say(text)
                elif not out.quiet and not out.json and _matters(message):
                    out.note(text)
            present = present or message.HasField("synced")
            if present:  # what is replayed first is the past
                block.show(view.now())
            if message.HasField("event"):
                seen(message.event.seq)
    finally:
        block.clear()
    found = shell.client.operations.get(name)
    if out.json and events:
        out.plain(pb.WatchOperationResponse(snapshot=found), indent=None)
    return found


def check(shell: Shell, operation: "operations_pb2.Operation", *, story: bool = True) -> None:
    """Raise what an operation that has ended failed with, after saying where its story is."""
    from ingot.client import _problems

    try:
        _problems.check(operation)
    except IngotError as error:
        bare = views.bare(operation.name)
        if story:
            shell.out.note(f"Its story: ingot operations watch {bare}")
        rejected = error.reason == "VALIDATION_FAILED"  # what it made is here: the same would come of it
        if operation.HasField("problem") and not rejected:  # one that was cancelled says so itself
            shell.out.note(f"To try again: ingot operations retry {bare}")
        raise


def detached(operation: str, after: int = 0, *, ingot: str = "ingot") -> str:
    """Return what to say when somebody stops watching; `ingot` calls the program with the same server."""
    bare = views.bare(operation)
    further = f" --after {after}" if after else ""
    return (
        f"The server goes on with it. Come back: {ingot} operations watch {bare}{further}"
        f"    Stop it: {ingot} operations cancel {bare}"
    )


def _started(shell: Shell, operation: "operations_pb2.Operation") -> None:
    shell.out.line(f"{operation.name} is {views.state_of(operation)}: {views.what(operation)}")
    shell.out.note(f"Next: ingot operations watch {views.bare(operation.name)}")


def _matters(message: "operations_pb2.WatchOperationResponse") -> bool:
    """Return whether a line of this message helps whoever waits for a result: not the usual states."""
    event = message.event
    if event.HasField("state"):
        return event.state.to.endswith(("RETRYING", "CANCELLING"))
    return message.HasField("event")
