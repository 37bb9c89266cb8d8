"""The audit log of the server: read it, verify it, and take a copy that can be verified anywhere.

head = client.audit.head()                 # keep it elsewhere …
client.audit.verify(head).findings         # … and ask later whether the log still leads to it
with open("audit.jsonl", "w") as file:
    client.audit.export(file.write)
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ingot.client import _pages
from ingot.client._calls import Calls
from ingot.client._channels import Link
from ingot.client._names import Names
from ingot.client._references import KINDS
from ingot.content import audit as canonical
from ingot.v1 import system_pb2 as pb
from ingot.v1 import system_pb2_grpc

_SHORT = tuple(f"{kind}/" for kind in KINDS)


@dataclass(slots=True)
class Verified:
    """What was found in the whole log; without findings it is whole."""

    head: pb.AuditHead
    checked: int = 0
    findings: list[pb.AuditFinding] = field(default_factory=list)
    restores: list[pb.AuditEntry] = field(default_factory=list)  # backups that were restored


class Audit:
    """Calls of SystemService about the audit log; for administrators."""

    def __init__(self, link: Link, calls: Calls, names: Names) -> None:
        self._stub = system_pb2_grpc.SystemServiceStub(link.channel)
        self._calls = calls
        self._names = names

    def entries(
        self,
        *,
        principal: str = "",
        target: str = "",
        action: str = "",
        oldest_first: bool = False,
        limit: int | None = None,
    ) -> Iterator[pb.AuditEntry]:
        """Yield entries, newest first unless told otherwise.

        `target` finds what lies below it, too: of `models/tiny` its versions and aliases, of a namespace all
        that it has. References may be as short as anywhere, other things have long names.
        """
        target = self._long(target)

        def page(size: int, token: str) -> tuple[Sequence[pb.AuditEntry], str]:
            request = pb.ListAuditEntriesRequest(
                page_size=size,
                page_token=token,
                principal=principal,
                target=target,
                action=action,
                order_by="number" if oldest_first else "",
            )
            reply = self._calls.unary(self._stub.ListAuditEntries, request)
            return reply.entries, reply.next_page_token

        return _pages.walk(page, limit)

    def _long(self, target: str) -> str:
        """Return the long name of a reference to a model or dataset, or something in it; else what it is."""
        target = target.rstrip("/")
        return self._names.reference(target).name if target.startswith(_SHORT) else target

    def head(self) -> pb.AuditHead:
        """Return the newest entry with the server's signature, to be kept elsewhere."""
        request = pb.ListAuditEntriesRequest(page_size=1)
        return self._calls.unary(self._stub.ListAuditEntries, request).head

    def verify(
        self, head: pb.AuditHead | None = None, *, progress: Callable[[int], None] = lambda checked: None
    ) -> Verified:
        """Let the server check its log, and whether it leads to a head that was kept."""
        found = Verified(pb.AuditHead())
        request = pb.VerifyAuditRequest(head=head)
        while True:
            reply = self._calls.unary(self._stub.VerifyAudit, request)
            found.checked += reply.checked
            found.findings += reply.findings
            found.restores += reply.restores
            found.head = reply.head
            progress(found.checked)
            if reply.complete:
                return found
            request.after_number, request.after_hash = reply.last_number, reply.last_hash

    def export(self, write: Callable[[str], object]) -> pb.AuditHead:
        """Write the log as lines of JSON that `ingot audit verify FILE` checks; return its signed head."""
        head = self.head()
        opening: dict[str, canonical.Value] = {
            "format": canonical.FORMAT,
            "server": head.server,
            "first": 1,
            "previous": canonical.first_previous(head.server),
        }
        write(_line(opening))
        for entry in self.entries(oldest_first=True, limit=head.number):
            write(_line(document_of(entry)))
        write(_line(head_document(head)))
        return head


def document_of(entry: pb.AuditEntry) -> dict[str, canonical.Value]:
    """Return an entry in the form that is hashed, with its hash."""
    return {
        "number": entry.number,
        "time": canonical.time_text(entry.time.ToMicroseconds()),
        "action": entry.action,
        "method": entry.method,
        "target": entry.target,
        "principal": entry.principal,
        "user": entry.user,
        "token": entry.token,
        "declared_user": entry.declared_user,
        "address": entry.address,
        "client": entry.client,
        "request_id": entry.request_id,
        "code": entry.code,
        "facts": dict(entry.facts),
        "previous": entry.previous,
        "hash": entry.hash,
    }


def head_document(head: pb.AuditHead) -> dict[str, canonical.Value]:
    """Return a signed head as one object of JSON."""
    return {
        "server": head.server,
        "number": head.number,
        "hash": head.hash,
        "time": canonical.time_text(head.time.ToMicroseconds()),
        "key": head.key,
        "signature": head.signature.hex(),
    }


def head_of(text: str) -> pb.AuditHead:
    """Return the head in a text that `head_document` gave. Raises ValueError for any other."""
    try:
        found = json.loads(text)
        head = pb.AuditHead(
            server=found["server"],
            number=found["number"],
            hash=found["hash"],
            key=found["key"],
            signature=bytes.fromhex(found["signature"]),
        )
        head.time.FromJsonString(found["time"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"expected a signed head, got {text[:80]!r}") from error
    return head


def _line(document: dict[str, canonical.Value]) -> str:
    return canonical.canonical(document).decode() + "\n"
