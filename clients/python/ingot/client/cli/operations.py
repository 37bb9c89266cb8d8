"""operations: background work of the server."""

from typing import TYPE_CHECKING

from ingot.client.cli import formats, uploads
from ingot.client.cli.command import Command, Parser, declare_limit
from ingot.client.cli.output import Listing, Output
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.v1 import operations_pb2


class Ls(Command):
    """List background work of the server, newest first."""

    examples = ("ingot operations ls", "ingot operations ls --kind recover --limit 5")
    kind: str
    limit: int

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("--kind", default="", metavar="KIND", help="for example recover")
        declare_limit(parser)

    def run(self, shell: Shell) -> int:
        listing = Listing(shell.out, self.limit)
        found = shell.client.operations.list(kind=self.kind, limit=listing.wanted)
        heading = ("NAME", "KIND", "TARGET", "STATE", "ATTEMPT", "ASKED BY", "CREATED")
        listing.show(found, heading, _row, lambda operation: operation.name)
        return 0


class Show(Command):
    """Show one piece of background work: state, progress, result and what went wrong."""

    examples = ("ingot operations show 1", "ingot operations show op_1 --json")
    operation: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("operation", metavar="OPERATION", help="12, op_12 or operations/op_12")

    def run(self, shell: Shell) -> int:
        operation = shell.client.operations.get(self.operation)
        shell.out.document(operation, operation.name, lambda: _show(shell.out, operation))
        return 0


def _row(operation: "operations_pb2.Operation") -> tuple[str, ...]:
    return (
        operation.name.removeprefix("operations/"),
        operation.kind,
        operation.target or "-",
        _state(operation),
        str(operation.attempt),
        operation.requester,
        formats.moment(operation.create_time),
    )


def _show(out: Output, operation: "operations_pb2.Operation") -> None:
    progress = operation.progress
    out.facts(
        {
            "name": operation.name,
            "kind": operation.kind,
            "target": operation.target,
            "state": _state(operation),
            "attempt": str(operation.attempt),
            "progress": f"{progress.phase} {progress.percent:.0f} %"
            if operation.HasField("progress")
            else "",
            "asked for": _pairs(dict(operation.params)),
            "found": _pairs(dict(operation.result)),
            "problem": uploads.problem_text(operation.problem) if operation.HasField("problem") else "",
            "asked by": operation.requester,
            "created": formats.moment(operation.create_time),
            "ended": formats.moment(operation.finish_time) if operation.finish_time.seconds else "",
        }
    )


def _state(operation: "operations_pb2.Operation") -> str:
    from ingot.v1 import operations_pb2 as pb

    return formats.word(pb.OperationState.Name(operation.state), "OPERATION_STATE")


def _pairs(values: dict[str, object]) -> str:
    return "\n".join(
        f"{key} = {value:g}" if isinstance(value, float) else f"{key} = {value}"
        for key, value in sorted(values.items())
    )
