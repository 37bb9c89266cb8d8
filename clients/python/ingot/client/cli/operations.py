"""operations: background work of the server, listed, shown and steered."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ingot.client._errors import Invalid
from ingot.client.cli import formats, named, uploads
from ingot.client.cli import operation_view as views
from ingot.client.cli.command import Command, Parser, declare_limit
from ingot.client.cli.output import Listing, Output
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from google.protobuf import struct_pb2

    from ingot.v1 import operations_pb2


class Ls(Command):
    """List background work of the server, newest first."""

    examples = ("ingot operations ls", "ingot operations ls --kind recover --limit 5")
    kind: str
    state: str | None
    queue: str
    target: str
    of: str
    limit: int

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("--kind", default="", metavar="KIND", help="for example import")
        parser.add_argument("--state", choices=views.STATES, metavar="STATE", help=", ".join(views.STATES))
        parser.add_argument("--queue", default="", metavar="QUEUE", help="for example download")
        parser.add_argument("--target", default="", metavar="REF", help="only about this model or dataset")
        parser.add_argument(
            "--of",
            default="",
            metavar="NAMESPACE",
            help="of a namespace that you read, also those of others; - for all",
        )
        declare_limit(parser)

    def run(self, shell: Shell) -> int:
        from ingot.v1 import operations_pb2 as pb

        listing = Listing(shell.out, self.limit)
        found = shell.client.operations.list(
            kind=self.kind,
            state=pb.OperationState.Value(f"OPERATION_STATE_{(self.state or 'unspecified').upper()}"),
            queue=self.queue,
            target=shell.client.names.version(self.target) if self.target else "",
            namespace=self.of,
            limit=listing.wanted,
        )
        heading = ("NAME", "KIND", "TARGET", "STATE", "PROGRESS", "ATTEMPT", "ASKED BY", "CREATED")
        listing.show(found, heading, _row, lambda operation: operation.name)
        return 0


class _OneOperation(Command):
    operation: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("operation", metavar="OPERATION", help="12, op_12 or operations/op_12")


class Show(_OneOperation):
    """Show one piece of background work: state, progress, result and what went wrong."""

    examples = ("ingot operations show 1", "ingot operations show op_1 --json")

    def run(self, shell: Shell) -> int:
        operation = shell.client.operations.get(self.operation)
        shell.out.document(operation, operation.name, lambda: _show(shell.out, operation))
        return 0


class Cancel(_OneOperation):
    """Ask background work to stop. What it has fetched is kept for when it is run again."""

    examples = ("ingot operations cancel 1", "ingot operations cancel op_1 && ingot operations watch op_1")

    def run(self, shell: Shell) -> int:
        operation = shell.client.operations.cancel(self.operation)
        then = "retry" if views.state_of(operation) == "cancelled" else "watch"
        return _steered(shell, operation, then)


class Retry(_OneOperation):
    """Run background work again that failed or was cancelled; one that waits for another try goes at once."""

    examples = ("ingot operations retry 1", "ingot operations retry op_1 && ingot operations watch op_1")

    def run(self, shell: Shell) -> int:
        return _steered(shell, shell.client.operations.retry(self.operation), "watch")


class Kinds(Command):
    """List what the server can do in the background, and how often it does so by itself; or describe one."""

    examples = ("ingot operations kinds", "ingot operations kinds import")
    kind: str | None

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("kind", nargs="?", metavar="KIND", help="for example import")

    def run(self, shell: Shell) -> int:
        kinds = shell.client.operations.kinds()
        if self.kind is None:
            heading = ("KIND", "QUEUE", "AT ONCE", "ATTEMPTS", "PAUSE", "AT MOST", "EVERY", "WHAT IT DOES")
            Listing(shell.out, limit=0).show(kinds, heading, _kind_row, lambda kind: kind.kind)
            return 0
        for kind in kinds:
            if kind.kind == self.kind:
                break
        else:
            known = ", ".join(each.kind for each in kinds)
            raise Invalid(
                f"There is no kind {self.kind!r}.", reason="FIELD_INVALID", next_step=f"Known: {known}"
            )
        shell.out.document(kind, kind.kind, lambda: _show_kind(shell.out, kind))
        return 0


def _row(operation: "operations_pb2.Operation") -> tuple[str, ...]:
    progress, state = operation.progress, views.state_of(operation)
    share = f"{progress.phase} {progress.percent:.0f}%" if progress.total else progress.phase
    return (
        views.bare(operation.name),
        operation.kind,
        named.short(operation.target) or "-",
        state,
        share.strip() or "-" if state == "running" else "-",
        str(operation.attempt),
        named.user(operation.requester),
        formats.moment(operation.create_time),
    )


def _show(out: Output, operation: "operations_pb2.Operation") -> None:
    policy = operation.retry_policy
    tried = f"at most {policy.max_attempts} times, {formats.duration(policy.delay)} apart"
    state = views.state_of(operation)
    waits = state in ("queued", "retrying") and operation.due_time.seconds
    out.facts(
        {
            "name": operation.name,
            "kind": operation.kind,
            "target": named.short(operation.target),
            "state": state,
            "queue": operation.queue + (f", priority {operation.priority}" if operation.priority else ""),
            "attempt": str(operation.attempt),
            "tried": tried if policy.max_attempts else "",
            "next try": formats.moment(operation.due_time) if waits else "",
            "progress": "\n".join(views.bars(operation.progress, drawn=False)) if state == "running" else "",
            "asked for": views.values(_plain(operation.params)),
            "found": views.values(_plain(operation.result)),
            "problem": uploads.problem_text(operation.problem) if operation.HasField("problem") else "",
            "asked by": named.user(operation.requester),
            "created": formats.moment(operation.create_time),
            "began": formats.moment(operation.start_time) if operation.start_time.seconds else "",
            "ended": formats.moment(operation.finish_time) if operation.finish_time.seconds else "",
        }
    )


def _kind_row(kind: "operations_pb2.OperationKind") -> tuple[str, ...]:
    return (
        kind.kind,
        kind.queue,
        str(kind.queue_limit),
        str(kind.retry_policy.max_attempts),
        formats.duration(kind.retry_policy.delay),
        formats.duration(kind.timeout),
        formats.duration(kind.period) if kind.HasField("period") else "-",
        kind.description,
    )


def _show_kind(out: Output, kind: "operations_pb2.OperationKind") -> None:
    policy = kind.retry_policy
    growing = f", each {policy.multiplier:g} times longer" if policy.multiplier > 1 else ""
    out.facts(
        {
            "kind": kind.kind,
            "does": kind.description,
            "queue": f"{kind.queue}, {kind.queue_limit} at once",
            "tried": f"at most {policy.max_attempts} times, {formats.duration(policy.delay)} apart{growing}",
            "an attempt": f"at most {formats.duration(kind.timeout)}",
            "by itself": f"every {formats.duration(kind.period)}" if kind.HasField("period") else "",
            "next": formats.moment(kind.next_time) if kind.next_time.seconds else "",
        }
    )
    for title, schema in (("ASKED FOR", kind.params_schema), ("FOUND", kind.result_schema)):
        rows = [
            (name, _type(field), _text(field, "description") or "-")
            for name, field in _fields(_plain(schema)).items()
        ]
        if rows:
            out.line()
            out.table([(title, "TYPE", "WHAT IT IS"), *rows])


def _fields(schema: Mapping[str, object]) -> dict[str, Mapping[str, object]]:
    found = schema.get("properties")
    properties = found if isinstance(found, dict) else {}
    return {name: field for name, field in sorted(properties.items()) if isinstance(field, dict)}


def _type(field: Mapping[str, object]) -> str:
    choices = field.get("anyOf") or field.get("oneOf")
    if isinstance(choices, list):
        found = [_type(each) for each in choices if isinstance(each, dict)]
        return " or ".join(each for each in found if each != "null")
    return _text(field, "type") or _text(field, "$ref").rpartition("/")[2] or "-"


def _text(field: Mapping[str, object], name: str) -> str:
    value = field.get(name)
    return value if isinstance(value, str) else ""


def _plain(struct: "struct_pb2.Struct") -> dict[str, object]:
    from google.protobuf import json_format

    found: dict[str, object] = json_format.MessageToDict(struct)
    return found


def _steered(shell: Shell, operation: "operations_pb2.Operation", then: str) -> int:
    def text() -> None:
        shell.out.line(f"{operation.name} is {views.state_of(operation)}.")
        shell.out.note(f"Next: ingot operations {then} {views.bare(operation.name)}")

    shell.out.document(operation, operation.name, text)
    return 0
