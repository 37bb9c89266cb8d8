"""The calls of SystemService about the audit log: a page of it, and whether it is whole."""

import time
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import timestamp_pb2

from ingot.content import digests
from ingot.server.core.audit import AuditFilter, Entry, Finding, Head, SignedHead
from ingot.server.core.errors import invalid_field
from ingot.server.domain.audit import Audit, Stretch
from ingot.server.domain.audit_heads import AuditHeads
from ingot.server.rpc import pipeline
from ingot.server.rpc.hops import Hops
from ingot.v1 import system_pb2, system_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]

AT_ONCE = 2000  # entries in one read, some 20 ms
SECONDS = 10.0  # after which the rest is left to the next call
_FAULT = "AUDIT_FAULT_"
_ORDERS = {"": False, "number desc": False, "number": True}


@dataclass(frozen=True, slots=True)
class AuditRules:
    """What the calls need of the audit log."""

    audit: Audit
    heads: AuditHeads


@dataclass(slots=True)
class _Checked:
    """How far one call came, and what it found."""

    number: int
    hash: str
    ended: bool = False
    findings: list[Finding] = field(default_factory=list)
    restores: list[Entry] = field(default_factory=list)
    count: int = 0

    def add(self, stretch: Stretch) -> None:
        self.number, self.hash, self.ended = stretch.number, stretch.hash, stretch.ended
        self.findings += stretch.findings
        self.restores += stretch.restores
        self.count += stretch.checked


class AuditCalls(system_pb2_grpc.SystemServiceServicer):
    """The part of SystemService for the audit log."""

    _hops: Hops
    _audited: AuditRules

    async def ListAuditEntries(
        self, request: system_pb2.ListAuditEntriesRequest, context: Context
    ) -> system_pb2.ListAuditEntriesResponse:
        order = " ".join(request.order_by.split())
        if order not in _ORDERS:
            raise invalid_field("order_by", f"expected number or number desc, got {request.order_by[:80]!r}")
        page = await self._hops.read(
            self._audited.audit.page,
            pipeline.caller(),
            AuditFilter(request.principal, request.target, request.action),
            size=request.page_size,
            token=request.page_token,
            oldest_first=_ORDERS[order],
        )
        return system_pb2.ListAuditEntriesResponse(
            entries=map(_entry, page.items), next_page_token=page.next_token, head=await self._head()
        )

    async def VerifyAudit(
        self, request: system_pb2.VerifyAuditRequest, context: Context
    ) -> system_pb2.VerifyAuditResponse:
        known = _head_of(request.head) if request.HasField("head") else None
        if request.after_number < 0 or (request.after_number and not request.after_hash):
            raise invalid_field("after_hash", "expected the hash of the entry after_number")
        found = await self._walked(request.after_number, request.after_hash)
        if found.ended:
            found.findings += await self._hops.read(self._audited.heads.compare_kept)
            if known is not None:
                found.findings += await self._hops.read(self._audited.heads.compare, known)
        return _verified(found, await self._head())

    async def _walked(self, number: int, hashed: str) -> _Checked:
        """Check entries behind this one until there are no more, or the time is up."""
        audit = self._audited.audit
        found, until = _Checked(number, hashed or audit.beginning), time.monotonic() + SECONDS
        while not found.ended and time.monotonic() < until:
            found.add(await self._hops.read(audit.check, found.number, found.hash, AT_ONCE))
        return found

    async def _head(self) -> system_pb2.AuditHead:
        head = await self._hops.read(self._audited.audit.head)
        return _signed(self._audited.heads.signed(head))


def _verified(found: _Checked, head: system_pb2.AuditHead) -> system_pb2.VerifyAuditResponse:
    return system_pb2.VerifyAuditResponse(
        findings=map(_finding, found.findings),
        checked=found.count,
        complete=found.ended,
        last_number=found.number,
        last_hash=found.hash,
        restores=map(_entry, found.restores),
        head=head,
    )


def _entry(entry: Entry) -> system_pb2.AuditEntry:
    deed = entry.deed
    return system_pb2.AuditEntry(
        number=entry.number,
        time=_time(entry.time),
        action=deed.action,
        method=deed.method,
        target=deed.target,
        principal=deed.principal,
        user=deed.user,
        token=deed.token,
        declared_user=deed.declared_user,
        address=deed.address,
        client=deed.client,
        request_id=deed.call_id,
        code=deed.code,
        facts=deed.facts,
        previous=entry.previous,
        hash=entry.hash,
    )


def _finding(finding: Finding) -> system_pb2.AuditFinding:
    return system_pb2.AuditFinding(
        fault=system_pb2.AuditFault.Value(_FAULT + finding.fault.value),
        number=finding.number,
        message=finding.message,
    )


def _signed(head: SignedHead) -> system_pb2.AuditHead:
    return system_pb2.AuditHead(
        server=head.head.server,
        number=head.head.number,
        hash=head.head.hash,
        time=_time(head.head.time),
        key=head.key,
        signature=head.signature,
    )


def _head_of(message: system_pb2.AuditHead) -> SignedHead:
    try:
        digests.parse_digest(message.hash)
    except ValueError:
        raise invalid_field("head.hash", f"expected blake3:<hex>, got {message.hash[:80]!r}") from None
    head = Head(message.server, message.number, message.hash, message.time.ToMicroseconds())
    return SignedHead(head, message.key, message.signature)


def _time(micros: int) -> timestamp_pb2.Timestamp:
    message = timestamp_pb2.Timestamp()
    message.FromMicroseconds(micros)
    return message
