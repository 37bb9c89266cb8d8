"""audit: who changed what, as a log that shows every change of itself."""

import sys
from typing import TYPE_CHECKING

from ingot.client._errors import Integrity, Invalid
from ingot.client.cli import formats
from ingot.client.cli.command import Command, Parser, declare_limit
from ingot.client.cli.output import Listing
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.client._audit import Verified
    from ingot.v1 import system_pb2

_MOST_SHOWN = 20


class Ls(Command):
    """List who changed what, when and from where, newest first (administrators).

    --on finds what lies below a name, too: of a model its versions and aliases, of a namespace all it has.
    """

    examples = ("ingot audit ls --on models/tiny", "ingot audit ls --who sara --action delete --json")
    who: str
    on: str
    action: str
    limit: int

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("--who", default="", metavar="PRINCIPAL", help="only by this user, or system")
        parser.add_argument("--on", default="", metavar="NAME", help="only on this, such as models/tiny")
        parser.add_argument("--action", default="", metavar="A", help="only create, update, delete, …")
        declare_limit(parser)

    def run(self, shell: Shell) -> int:
        if self.on and "/" not in self.on:
            raise Invalid(
                f"--on: expected a name with its kind, got {self.on!r}.",
                reason="NAME_INVALID",
                next_step=f"Write models/{self.on}, namespaces/{self.on} or users/{self.on}, for example.",
            )
        heading = ("ENTRY", "TIME", "WHO", "ACTION", "ON", "FROM", "CODE")
        who = f"users/{self.who}" if self.who and "/" not in self.who and self.who != "system" else self.who
        found = shell.client.audit.entries(principal=who, target=self.on, action=self.action)
        Listing(shell.out, limit=self.limit).show(found, heading, _row, lambda each: str(each.number))
        return 0


class Head(Command):
    """Print the newest entry, signed by the server; keep it elsewhere, for `ingot audit verify --head`.

    A log that was cut off, or written anew, does not lead to a head that was kept.
    """

    examples = ("ingot audit head", "ingot audit head --output kept-head.json")
    output: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("--output", default="", metavar="FILE", help="write it to a file")

    def run(self, shell: Shell) -> int:
        from ingot.client import _audit
        from ingot.content import audit as canonical

        text = canonical.canonical(_audit.head_document(shell.client.audit.head())).decode()
        if not self.output:
            shell.out.line(text)
            return 0
        with open(self.output, "w", encoding="utf-8") as file:
            file.write(f"{text}\n")
        shell.out.line(text if shell.out.json else self.output)
        return 0


class Export(Command):
    """Write the whole log to a file, one JSON object a line, that can be verified without the server."""

    examples = ("ingot audit export audit.jsonl", "ingot audit export -")
    file: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("file", metavar="FILE", help="where to; - is standard output")

    def run(self, shell: Shell) -> int:
        if self.file == "-":
            shell.client.audit.export(sys.stdout.write)
            return 0
        with open(self.file, "w", encoding="utf-8") as file:
            head = shell.client.audit.export(file.write)
        shell.out.document(head, self.file, lambda: shell.out.line(f"{self.file}: {head.number} entries"))
        return 0


class Verify(Command):
    """Check the log: every entry, its place in the chain, and that nothing was cut off. Ends with 6 if not.

    Without a file the server checks its own log; with one, a log that was exported, here and without the
    server. `--head` names a head that was kept, to which the log must lead.
    """

    examples = ("ingot audit verify", "ingot audit verify --head kept-head.json")
    file: str
    head: str
    key: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("file", nargs="?", default="", metavar="FILE", help="an exported log")
        parser.add_argument("--head", default="", metavar="FILE", help="a head that `audit head` printed")
        parser.add_argument(
            "--key", default="", metavar="KEY", help="the server's ed25519:… key, for an exported log"
        )

    def run(self, shell: Shell) -> int:
        kept = _kept(self.head) if self.head else None
        if self.file:
            _verify_file(shell, self.file, self.key, kept)
            return 0
        if self.key:
            raise Invalid(
                "--key is for an exported log: the server checks its own log with its own key.",
                reason="USAGE",
                next_step="Name the file, or leave --key out.",
            )
        found = shell.client.audit.verify(kept)
        if shell.out.json:
            shell.out.document(_reply(found), "", lambda: None)
        else:
            _tell(shell, found)
        if found.findings:
            raise Integrity(
                f"The audit log is not whole: {len(found.findings)} findings, the first: "
                f"{found.findings[0].message}",
                reason="DATA_LOSS",
                next_step="Keep data folder and backups as they are, and compare them with exported logs.",
            )
        return 0


def _tell(shell: Shell, found: "Verified") -> None:
    for restore in found.restores:
        backup = restore.facts.get("backup", "?")
        shell.out.note(
            f"Entry {restore.number}: the backup {backup} was restored; later entries are not here."
        )
    for finding in found.findings[:_MOST_SHOWN]:
        shell.out.note(finding.message)
    if not found.findings:
        shell.out.line(f"{found.checked} entries, whole; the newest is {found.head.number} {found.head.hash}")


def _reply(found: "Verified") -> "system_pb2.VerifyAuditResponse":
    from ingot.v1 import system_pb2 as pb

    return pb.VerifyAuditResponse(
        findings=found.findings,
        checked=found.checked,
        complete=True,
        last_number=found.head.number,
        last_hash=found.head.hash,
        restores=found.restores,
        head=found.head,
    )


def _kept(path: str) -> "system_pb2.AuditHead":
    from ingot.client import _audit

    try:
        with open(path, encoding="utf-8") as file:
            return _audit.head_of(file.read().strip())
    except (OSError, ValueError) as error:
        raise Invalid(
            f"{path} holds no head of an audit log: {error}.",
            reason="USAGE",
            next_step="Give the file in which you kept what `ingot audit head` printed.",
        ) from error


def _verify_file(shell: Shell, path: str, key: str, kept: "system_pb2.AuditHead | None") -> None:
    from ingot.client import _audit
    from ingot.content import audit as canonical

    known = _audit.head_document(kept) if kept is not None else None
    try:
        with open(path, encoding="utf-8") as file:
            found = canonical.check_export(file, _has_signed, key, known)
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}.", reason="USAGE", next_step="") from error
    except UnicodeDecodeError as error:
        raise Integrity(
            f"{path} is not UTF-8: {error}.",
            reason="DATA_LOSS",
            next_step="Export it again, and compare with other copies if it is still broken.",
        ) from error
    except canonical.BrokenLogError as error:
        raise Integrity(
            f"{path}: {error}",
            reason="DATA_LOSS",
            next_step="Export it again, and compare with other copies if it is still broken.",
        ) from error
    for alarm in found.alarms[:_MOST_SHOWN]:
        shell.out.note(alarm)
    if found.alarms:
        raise Integrity(
            f"{path}: the entries fit together, but the log tells of {len(found.alarms)} alarms.",
            reason="DATA_LOSS",
            next_step="Compare it with logs that were exported before them.",
        )
    shell.out.line(f"{path}: {found.last} entries, whole; signed by {found.key} at {found.time}")
    if not key:
        shell.out.note(
            "The key is the one that the file names; --key compares it with the server's known one."
        )


def _has_signed(signer: str, signature: bytes, message: bytes) -> bool:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        raise Invalid(
            "Checking the signature of an exported log needs the package cryptography.",
            reason="USAGE",
            next_step="Install it: pip install 'ingot[server]'",
        ) from None
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signer.removeprefix("ed25519:")))
        key.verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _row(entry: "system_pb2.AuditEntry") -> tuple[str, ...]:
    return (
        str(entry.number),
        formats.moment(entry.time),
        entry.principal + (f" ({entry.declared_user})" if entry.declared_user else ""),
        entry.action,
        entry.target or "-",
        entry.address,
        entry.code,
    )
