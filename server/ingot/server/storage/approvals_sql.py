"""Rows of approvals: the store behind core/approvals.py. A version's own state is kept beside it."""

import heapq
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from ingot.server.core.approval_policies import ApprovalState
from ingot.server.core.approvals import Approval, ApprovalQuery, Check, Evidence
from ingot.server.storage import sql

_COLUMNS = (
    *("version", "version_uid", "namespace", "artifact_uid", "state"),
    *("requester", "requester_user", "creator", "creator_user", "comment"),
    *("evidence", "created", "decider", "decision_comment", "decided"),
)
_SELECT = f"SELECT number, {', '.join(_COLUMNS)} FROM approval"
_INSERT = f"INSERT INTO approval({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"


class ApprovalsSql:
    """Implements ApprovalStore."""

    def find(self, number: int) -> Approval | None:
        rows = sql.rows(f"{_SELECT} WHERE number = ?", number)
        return _approvals(rows)[0] if rows else None

    def add(self, approval: Approval) -> Approval:
        number = sql.insert(_INSERT, *_values(approval))
        _tell_version(approval)
        return replace(approval, number=number)

    def save(self, approval: Approval) -> bool:
        changed = sql.run(
            "UPDATE approval SET state = ?, evidence = ?, decider = ?, decision_comment = ?, decided = ? "
            "WHERE number = ? AND state = 'PENDING'",
            approval.state.value,
            _evidence_text(approval.evidence),
            approval.decider,
            approval.decision_comment,
            approval.decide_time,
            approval.number,
        )
        if changed:
            _tell_version(approval)
        return bool(changed)

    def pending_of(self, version_uid: str) -> Approval | None:
        rows = sql.rows(f"{_SELECT} WHERE version_uid = ? AND state = 'PENDING'", version_uid)
        return _approvals(rows)[0] if rows else None

    def pending_in(self, artifact_uid: str) -> Sequence[Approval]:
        rows = sql.rows(f"{_SELECT} WHERE artifact_uid = ? AND state = 'PENDING'", artifact_uid)
        return _approvals(rows)

    def page(self, query: ApprovalQuery, before: int | None, limit: int) -> Sequence[Approval]:
        found = [_range(query, condition, values, before, limit) for condition, values in _ranges(query)]
        merged = heapq.merge(*found, key=lambda each: -each.number)
        return list(itertools.islice(merged, limit))


def _ranges(query: ApprovalQuery) -> list[tuple[str, list[sql.Value]]]:
    """Return the ranges of indexes that a query asks for."""
    if query.artifact_uid:
        return [("artifact_uid = ?", [query.artifact_uid])]
    if query.namespaces is None:
        return [("1", [])]
    return [("namespace = ?", [each]) for each in query.namespaces]


def _range(
    query: ApprovalQuery, condition: str, values: list[sql.Value], before: int | None, limit: int
) -> list[Approval]:
    conditions, values = [condition], list(values)
    if query.state is not None:
        conditions.append("state = ?")
        values.append(query.state.value)
    if query.not_of:
        conditions.append("requester_user != ? AND creator_user != ?")
        values += [query.not_of, query.not_of]
    if before is not None:
        conditions.append("number < ?")
        values.append(before)
    where = " AND ".join(conditions)
    rows = sql.rows(f"{_SELECT} WHERE {where} ORDER BY number DESC LIMIT ?", *values, limit)
    return _approvals(rows)


def _tell_version(approval: Approval) -> None:
    sql.run("UPDATE version SET approval = ? WHERE uid = ?", approval.state.value, approval.version_uid)


def _values(approval: Approval) -> list[sql.Value]:
    return [
        approval.version,
        approval.version_uid,
        approval.namespace,
        approval.artifact_uid,
        approval.state.value,
        approval.requester,
        approval.requester_user,
        approval.creator,
        approval.creator_user,
        approval.comment,
        _evidence_text(approval.evidence),
        approval.create_time,
        approval.decider,
        approval.decision_comment,
        approval.decide_time,
    ]


def _evidence_text(evidence: Evidence) -> str:
    return json.dumps(asdict(evidence), ensure_ascii=False)


def _evidence(text: str) -> Evidence:
    fields = json.loads(text)
    return Evidence(tuple(Check(**each) for each in fields["checks"]), fields["time"])


def _approvals(rows: Sequence[sql.Row]) -> list[Approval]:
    """Return the approvals of rows, with the revisions that their versions have now."""
    uids = sql.text_list([row[1 + _COLUMNS.index("version_uid")] for row in rows])
    revisions: dict[str, int] = dict(
        sql.rows("SELECT uid, revision FROM version WHERE uid IN (SELECT value FROM json_each(?))", uids)
    )
    return [_approval(row, revisions) for row in rows]


def _approval(row: sql.Row, revisions: Mapping[str, int]) -> Approval:
    number, *rest = row
    fields = dict(zip(_COLUMNS, rest, strict=True))
    return Approval(
        number=number,
        version=fields["version"],
        version_uid=fields["version_uid"],
        namespace=fields["namespace"],
        artifact_uid=fields["artifact_uid"],
        state=ApprovalState(fields["state"]),
        requester=fields["requester"],
        requester_user=fields["requester_user"],
        creator=fields["creator"],
        creator_user=fields["creator_user"],
        comment=fields["comment"],
        evidence=_evidence(fields["evidence"]),
        create_time=fields["created"],
        decider=fields["decider"],
        decision_comment=fields["decision_comment"],
        decide_time=fields["decided"],
        revision=revisions.get(fields["version_uid"], 0),
    )
