"""approvals: ask for one, decide with a reason, look at what waits, and say what they need."""

from typing import TYPE_CHECKING

from ingot.client._errors import Invalid
from ingot.client.cli import formats, named
from ingot.client.cli.command import Command, Parser, declare_limit
from ingot.client.cli.output import Listing
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.v1 import auth_pb2, catalog_pb2


class Ls(Command):
    """List approvals, newest first: of one model or dataset, or all that one may see.

    `--inbox` lists what waits for a decision that one may make.
    """

    examples = ("ingot approvals ls --inbox", "ingot approvals ls datasets/chat --state approved")
    ref: str
    state: str
    inbox: bool
    limit: int

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("ref", nargs="?", default="", metavar="REF", help="datasets/NAME or models/NAME")
        parser.add_argument(
            "--state", default="", metavar="S", help="pending, approved, declined or withdrawn"
        )
        parser.add_argument("--inbox", action="store_true", help="what waits and one may decide")
        declare_limit(parser)

    def run(self, shell: Shell) -> int:
        heading = ("APPROVAL", "VERSION", "STATE", "ASKED BY", "ASKED", "MISSING", "DECIDED BY")
        listing = Listing(shell.out, limit=self.limit)
        found = shell.client.approvals.list(
            self.ref, state=self.state, inbox=self.inbox, limit=listing.wanted
        )
        listing.show(found, heading, _row, lambda each: each.name)
        return 0


class Show(Command):
    """Show one approval: the evidence that the server gathered, and the decision."""

    examples = ("ingot approvals show 1", "ingot approvals show approvals/approval_1 --json")
    name: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("name", metavar="APPROVAL", help="its number or name")

    def run(self, shell: Shell) -> int:
        _show(shell, shell.client.approvals.get(self.name))
        return 0


class Request(Command):
    """Ask that a version be approved: then everybody may see it, if its model or dataset is public."""

    examples = (
        "ingot approvals request datasets/chat@1 -m 'cleaned by hand'",
        "ingot approvals request datasets/chat",
    )
    ref: str
    comment: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("ref", metavar="REF", help="the version, for example models/tiny@3")
        parser.add_argument("-m", "--comment", default="", metavar="TEXT", help="why")

    def run(self, shell: Shell) -> int:
        found = shell.client.approvals.request(self.ref, self.comment)
        _show(shell, found)
        missing = _missing(found)
        if missing and not shell.out.quiet:
            shell.out.note(f"It cannot be approved before this is there: {', '.join(missing)}.")
        return 0


class _Decide(Command):
    """What approve and decline share."""

    name: str
    comment: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("name", metavar="APPROVAL", help="its number or name")
        parser.add_argument("-m", "--comment", required=True, metavar="TEXT", help="why")


class Approve(_Decide):
    """Approve a version that waits. Neither who asked nor who made the version may."""

    examples = ("ingot approvals approve 1 -m 'figures checked'", "ingot approvals approve 1 -m ok --json")

    def run(self, shell: Shell) -> int:
        _show(shell, shell.client.approvals.decide(self.name, approve=True, comment=self.comment))
        return 0


class Decline(_Decide):
    """Decline a version that waits, and say why."""

    examples = (
        "ingot approvals decline 1 -m 'the licence is not right'",
        "ingot approvals decline 1 -m no --json",
    )

    def run(self, shell: Shell) -> int:
        _show(shell, shell.client.approvals.decide(self.name, approve=False, comment=self.comment))
        return 0


class Withdraw(Command):
    """Take back what one asked for."""

    examples = ("ingot approvals withdraw 1", "ingot approvals withdraw 1 --json")
    name: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("name", metavar="APPROVAL", help="its number or name")

    def run(self, shell: Shell) -> int:
        _show(shell, shell.client.approvals.withdraw(self.name))
        return 0


class Policy(Command):
    """Show or set what approvals of a model or dataset need, beyond what the server asks for.

    What is set replaces all that was set before; `--none` sets nothing. For owners; of a whole namespace
    (namespaces/NAME) for administrators. Both hold.
    """

    examples = (
        "ingot approvals policy datasets/chat",
        "ingot approvals policy datasets/chat --metric agreement=0.9: --protect released",
    )
    ref: str
    require: list[str]
    metric: list[str]
    protect: list[str]
    none: bool

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("ref", metavar="REF", help="datasets/NAME, models/NAME or namespaces/NAME")
        parser.add_argument(
            "--require",
            action="append",
            default=[],
            metavar="E",
            help="validation, scan or license (repeat)",
        )
        parser.add_argument(
            "--metric",
            action="append",
            default=[],
            metavar="M=LOW:HIGH",
            help="limits of a performance metric; either may be left out (repeat)",
        )
        parser.add_argument(
            "--protect",
            action="append",
            default=[],
            metavar="ALIAS",
            help="an alias for approved versions only (repeat)",
        )
        parser.add_argument("--none", action="store_true", help="ask for no more than the server")

    def run(self, shell: Shell) -> int:
        from ingot.client._approvals import approval_policy

        given = bool(self.require or self.metric or self.protect)
        if given and self.none:
            raise Invalid("--none stands alone.", reason="USAGE", next_step="Leave the other flags out.")
        policy = None
        if given or self.none:
            limits = dict(_limits(text) for text in self.metric)
            policy = approval_policy(self.require, limits, self.protect)
        found = self._namespace(shell, policy) if _is_namespace(self.ref) else self._artifact(shell, policy)
        shell.out.document(
            found.approval, named.short(found.name), lambda: _show_policy(shell, found.name, found.approval)
        )
        return 0

    def _artifact(
        self, shell: Shell, policy: "catalog_pb2.ApprovalPolicy | None"
    ) -> "catalog_pb2.Artifact | auth_pb2.Namespace":
        if policy is None:
            return shell.client.catalog.get(self.ref)
        return shell.client.approvals.set_policy(self.ref, policy)

    def _namespace(
        self, shell: Shell, policy: "catalog_pb2.ApprovalPolicy | None"
    ) -> "catalog_pb2.Artifact | auth_pb2.Namespace":
        if policy is None:
            return shell.client.auth.namespace(self.ref)
        return shell.client.auth.set_approval_policy(self.ref, policy)


def _is_namespace(ref: str) -> bool:
    return ref.startswith("namespaces/") and ref.count("/") == 1


def _limits(text: str) -> tuple[str, tuple[float | None, float | None]]:
    """Return metric and limits of `agreement=0.9:1`. Raises Invalid."""
    metric, _, span = text.partition("=")
    low, colon, high = span.partition(":")
    try:
        limits = (float(low) if low else None, float(high) if high else None)
    except ValueError:
        limits = (None, None)
    if not metric or not colon or limits == (None, None):
        raise Invalid(
            f"--metric: expected NAME=LOW:HIGH, got {text!r}.",
            reason="USAGE",
            next_step="Write for example: --metric accuracy=0.9: or --metric loss=:0.5",
        )
    return metric, limits


def _show_policy(shell: Shell, name: str, policy: "catalog_pb2.ApprovalPolicy") -> None:
    thresholds = [
        f"{each.metric} from {each.minimum if each.HasField('minimum') else '-'} "
        f"to {each.maximum if each.HasField('maximum') else '-'}"
        for each in policy.thresholds
    ]
    shell.out.facts(
        {
            "For": named.short(name),
            "Evidence": ", ".join(policy.required_evidence) or "what the server asks for",
            "Metrics": ", ".join(thresholds) or "-",
            "Protected": ", ".join(policy.protected_aliases) or "-",
        }
    )


def _show(shell: Shell, found: "catalog_pb2.Approval") -> None:
    def text() -> None:
        shell.out.facts(
            {
                "Approval": found.name.rpartition("_")[2],
                "Version": named.short(found.version),
                "State": _state(found),
                "Asked by": f"{named.user(found.requester)}, {formats.moment(found.create_time)}",
                "Made by": named.user(found.creator),
                "Why": found.comment or "-",
                "Decided by": _decided(found),
                "Decision": found.decision_comment or "-",
            }
        )
        shell.out.line()
        rows = [
            (check.name, "yes" if check.passed else "no", "yes" if check.required else "", check.found)
            for check in found.evidence.checks
        ]
        shell.out.table([("EVIDENCE", "THERE", "NEEDED", "FOUND"), *rows])

    shell.out.document(found, found.name, text)


def _missing(found: "catalog_pb2.Approval") -> list[str]:
    return [each.name for each in found.evidence.checks if each.required and not each.passed]


def _decided(found: "catalog_pb2.Approval") -> str:
    if not found.decider:
        return "-"
    return f"{named.user(found.decider)}, {formats.moment(found.decide_time)}"


def _state(found: "catalog_pb2.Approval") -> str:
    from ingot.v1 import catalog_pb2 as pb

    return formats.word(pb.ApprovalState.Name(found.state), "APPROVAL_STATE")


def _row(found: "catalog_pb2.Approval") -> tuple[str, ...]:
    return (
        found.name.rpartition("_")[2],
        named.short(found.version),
        _state(found),
        named.user(found.requester),
        formats.moment(found.create_time),
        ", ".join(_missing(found)) or "-",
        named.user(found.decider) or "-",
    )
