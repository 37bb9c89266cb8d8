"""Approvals: asking for one, deciding, taking it back; and what they show to strangers.

    request     who may change the artifact asks; the server gathers the evidence
    decide      an owner of the namespace or an administrator, who neither asked nor made the version; the
                evidence is gathered again, and to approve, all that is required must be there
    withdraw    who asked, an owner, or the server when the version goes away

Only approved versions of a PUBLIC artifact are for strangers (domain/access.py), and only they may have the
artifact's protected aliases.
"""

import dataclasses
import logging

from ingot.server.core import journal, texts
from ingot.server.core.approval_policies import LICENSE, SCAN, VALIDATION, ApprovalState
from ingot.server.core.approvals import (
    Approval,
    ApprovalMove,
    ApprovalQuery,
    ApprovalStore,
    Check,
    next_state,
)
from ingot.server.core.artifacts import Artifact, Version, VersionState
from ingot.server.core.catalog_stores import ArtifactStore, VersionStore
from ingot.server.core.clock import Clock
from ingot.server.core.errors import Denied, NotFound, Precondition, Reason, invalid_field
from ingot.server.core.identity import SYSTEM, Caller, user_of
from ingot.server.core.names import ArtifactName, VersionReference, made_id
from ingot.server.core.pages import Page, PageTokens, fit, page_size
from ingot.server.domain.access import Access, note_use
from ingot.server.domain.catalog import Catalog
from ingot.server.domain.catalog_refusals import check_etag
from ingot.server.domain.evidence import EvidenceGathering
from ingot.server.domain.requests import RequestKey, Requests
from ingot.server.domain.versions import Versions

COMMENT_LIMIT = 2000
MOST_LISTED = 100  # in a page: of each that waits the evidence is gathered
COLLECTION = "approvals"

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class ApprovalStores:
    """The rows that approvals are about."""

    approvals: ApprovalStore
    artifacts: ArtifactStore
    versions: VersionStore


class Approvals:
    """The rules about approvals; every method runs inside a unit of work."""

    def __init__(
        self,
        stores: ApprovalStores,
        catalog: Catalog,
        versions: Versions,
        access: Access,
        evidence: EvidenceGathering,
        requests: Requests,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        self._stores = stores
        self._catalog = catalog
        self._versions = versions
        self._access = access
        self._evidence = evidence
        self._requests = requests
        self._tokens = tokens
        self._clock = clock

    # --- changing ---------------------------------------------------------------------------------------

    def request(self, caller: Caller, reference: VersionReference, comment: str, key: RequestKey) -> Approval:
        """Ask for the approval of a version; the one that waits already is returned instead.

        Raises NotFound (ARTIFACT_NOT_FOUND, VERSION_NOT_FOUND, ALIAS_NOT_FOUND), Denied (SCOPE_MISSING),
        Invalid (FIELD_INVALID), Precondition (STATE_INVALID: it was rejected, or approved already).
        """
        comment = texts.text("comment", comment, COMMENT_LIMIT)

        def make() -> str:
            version = self._versions.get(caller, reference)
            artifact = self._catalog.require_write(caller, version.name.artifact)
            _check_may_be_asked(version)
            journal.about(str(version.name))
            waiting = self._stores.approvals.pending_of(version.uid)
            if waiting is not None:
                journal.no_act()
                return waiting.name
            return self._ask(caller, artifact, version, comment).name

        made, _ = self._requests.run(caller, "RequestApproval", key, make)
        return self.get(caller, made)

    def decide(
        self, caller: Caller, name: str, comment: str, etag: str, key: RequestKey, *, approve: bool
    ) -> Approval:
        """Approve or decline what waits.

        Raises NotFound (APPROVAL_NOT_FOUND), Denied (SCOPE_MISSING), Invalid (FIELD_INVALID: no comment),
        Conflict (ETAG_MISMATCH), Precondition (STATE_INVALID, EVIDENCE_MISSING).
        """
        comment = texts.text("comment", comment, COMMENT_LIMIT)
        if not comment:
            raise invalid_field(
                "comment", "expected a reason, got none", next_step="Say why, for whoever reads it later."
            )
        move = ApprovalMove.APPROVE if approve else ApprovalMove.DECLINE

        def make() -> str:
            approval = self.get(caller, name)
            self._require_decider(caller, approval)
            check_etag(approval.name, etag, approval.etag)
            next_state(approval, move)
            self._close(self._weighed(approval, approve=approve), move, caller.principal, comment)
            return approval.name

        made, _ = self._requests.run(caller, "DecideApproval", key, make)
        return self.get(caller, made)

    def withdraw(self, caller: Caller, name: str, key: RequestKey) -> Approval:
        """Take back what waits. Raises NotFound, Denied (SCOPE_MISSING), Precondition (STATE_INVALID)."""

        def make() -> str:
            approval = self.get(caller, name)
            mine = approval.requester == caller.principal
            if not mine and not caller.may_own(approval.namespace):
                raise _not_decided_by(caller, approval, "take back")
            self._close(approval, ApprovalMove.WITHDRAW, caller.principal, "")
            return approval.name

        made, _ = self._requests.run(caller, "WithdrawApproval", key, make)
        return self.get(caller, made)

    def waiting_for(self, artifact: Artifact) -> list[str]:
        """Return the names of approvals of an artifact's versions that wait."""
        return [each.name for each in self._stores.approvals.pending_in(artifact.uid)]

    # --- what happens to versions -----------------------------------------------------------------------

    def version_gone(self, version: Version) -> None:
        """Withdraw what waits for a version that was rejected or went to the trash."""
        waiting = self._stores.approvals.pending_of(version.uid)
        if waiting is not None:
            self._close(waiting, ApprovalMove.WITHDRAW, SYSTEM, "The version is gone, or was rejected.")

    def latest_moved(self, artifact: Artifact, version: Version, by: str) -> None:
        """Take note that `latest` moved, which changes no approval."""

    def latest_gone(self, artifact: Artifact, by: str) -> None:
        """Take note that no version is left, of each of which `version_gone` told."""

    def deleted(self, artifact: Artifact) -> None:
        """Withdraw what waits for the versions of an artifact that went to the trash."""
        for waiting in self._stores.approvals.pending_in(artifact.uid):
            self._close(waiting, ApprovalMove.WITHDRAW, SYSTEM, "The artifact is gone.")

    # --- looking ----------------------------------------------------------------------------------------

    def get(self, caller: Caller, name: str) -> Approval:
        """Return one that the caller may see. Raises NotFound (APPROVAL_NOT_FOUND)."""
        approval = self._stores.approvals.find(int(made_id(name, COLLECTION).rpartition("_")[2]))
        if approval is None or not self._shown(caller, approval):
            raise _not_found(name)
        note_use(caller, approval.namespace, approval.version)
        return self._as_of_now(approval)

    def page(
        self,
        caller: Caller,
        parent: ArtifactName | str | None,
        state: ApprovalState | None,
        *,
        inbox: bool,
        size: int,
        token: str,
    ) -> Page[Approval]:
        """Return a page, newest first: of an artifact, of a namespace (its id), or all that one may see.

        The inbox is what waits and the caller may decide. A page has at most MOST_LISTED.
        Raises NotFound (ARTIFACT_NOT_FOUND), Invalid (FIELD_INVALID, PAGE_TOKEN_INVALID).
        """
        size = min(page_size(size), MOST_LISTED)
        query = self._query(caller, parent, state, inbox=inbox)
        fingerprint = f"ListApprovals {query}"
        key = self._tokens.decode(fingerprint, token)
        found = self._stores.approvals.page(query, int(key[0]) if key else None, size + 1)
        told = [(each.number, self._as_of_now(each)) for each in found]
        items, last = fit(told, size, _weight_of)
        return Page(items, self._tokens.encode(fingerprint, (last,)) if last else "")

    # --- inside -----------------------------------------------------------------------------------------

    def _query(
        self,
        caller: Caller,
        parent: ArtifactName | str | None,
        state: ApprovalState | None,
        *,
        inbox: bool,
    ) -> ApprovalQuery:
        if inbox and state not in (None, ApprovalState.PENDING):
            raise invalid_field(
                "state", f"expected none beside inbox, got {state}: an inbox holds what waits"
            )
        query = ApprovalQuery(state=ApprovalState.PENDING if inbox else state)
        if inbox:
            query = dataclasses.replace(query, not_of=caller.user)
        if isinstance(parent, ArtifactName):
            artifact = self._catalog.require_read(caller, parent)
            deciding = caller.may_own(parent.namespace) if inbox else caller.may_read(parent.namespace)
            namespaces = None if deciding else ()
            return dataclasses.replace(
                query, artifact_uid=artifact.uid if deciding else "", namespaces=namespaces
            )
        mine = None if caller.is_admin else _namespaces_of(caller, inbox=inbox)
        if parent is not None:
            mine = (parent,) if mine is None or parent in mine else ()
            return dataclasses.replace(query, namespaces=mine)
        return dataclasses.replace(query, namespaces=mine)

    def _ask(self, caller: Caller, artifact: Artifact, version: Version, comment: str) -> Approval:
        now = self._clock.now()
        evidence = self._evidence.of(artifact, version, now)
        approval = self._stores.approvals.add(
            Approval(
                number=0,
                version=str(version.name),
                version_uid=version.uid,
                namespace=artifact.name.namespace,
                artifact_uid=artifact.uid,
                state=ApprovalState.PENDING,
                requester=caller.principal,
                requester_user=caller.user,
                creator=version.creator,
                # Of what a worker trained, who asked for it: whose token the worker has plays no part.
                creator_user=user_of(version.maker or version.creator),
                comment=comment,
                evidence=evidence,
                create_time=now,
            )
        )
        journal.detail(approval=approval.name, missing=", ".join(check.name for check in evidence.missing))
        log.info("approval.asked name=%s version=%s", approval.name, approval.version)
        return approval

    def _subject(self, approval: Approval) -> tuple[Artifact, Version] | None:
        """Return what an approval is about, None when it is gone."""
        artifact = self._stores.artifacts.by_uid(approval.artifact_uid)
        id_ = approval.version.rpartition("/")[2]
        version = self._stores.versions.find(artifact, id_) if artifact else None
        if artifact is None or version is None or version.uid != approval.version_uid:
            return None
        return artifact, version

    def _as_of_now(self, approval: Approval) -> Approval:
        """Return one that waits with the evidence as it is now; the decision keeps it as it was then."""
        subject = self._subject(approval) if approval.state is ApprovalState.PENDING else None
        if subject is None:
            return approval
        return dataclasses.replace(approval, evidence=self._evidence.of(*subject, self._clock.now()))

    def _weighed(self, approval: Approval, *, approve: bool) -> Approval:
        """Return the approval with the evidence as it is now. Raises Precondition when it is not enough."""
        subject = self._subject(approval)
        if subject is None:
            raise _not_found(approval.name)
        _, version = subject
        evidence = self._evidence.of(*subject, self._clock.now())
        if approve and version.state is not VersionState.READY:
            raise Precondition(
                Reason.STATE_INVALID,
                f"{version.name} is {version.state}; only a READY version can be approved.",
                next_step="Wait for its validation.",
                facts={"name": str(version.name), "state": version.state.value},
            )
        if approve and evidence.missing:
            raise _evidence_missing(approval, evidence.missing)
        return dataclasses.replace(approval, evidence=evidence)

    def _close(self, approval: Approval, move: ApprovalMove, decider: str, comment: str) -> None:
        closed = dataclasses.replace(
            approval,
            state=next_state(approval, move),
            decider=decider,
            decision_comment=comment,
            decide_time=self._clock.now(),
        )
        self._stores.approvals.save(closed)
        artifact = self._stores.artifacts.by_uid(closed.artifact_uid)
        if move is ApprovalMove.APPROVE and artifact is not None:
            self._catalog.amend(artifact)  # strangers see more of it now, and whoever watches hears of that
        journal.detail(approval=closed.name, version=closed.version, decision=closed.state, comment=comment)
        log.info("approval.%s name=%s version=%s", closed.state.lower(), closed.name, closed.version)

    def _require_decider(self, caller: Caller, approval: Approval) -> None:
        """Refuse who may not decide: another person does, of those who own the namespace."""
        if not caller.may_own(approval.namespace) or caller.operation:
            raise _not_decided_by(caller, approval, "decide on")
        if approval.is_of(caller.user):
            raise Denied(
                Reason.SCOPE_MISSING,
                f"{caller.principal} asked for {approval.name} or made {approval.version}; another person "
                "decides on it.",
                next_step=f"Ask another owner of namespaces/{approval.namespace}, or an administrator.",
                facts={"name": approval.name},
            )

    def _shown(self, caller: Caller, approval: Approval) -> bool:
        return not caller.is_worker and caller.may_read(approval.namespace)


def _weight_of(approval: Approval) -> int:
    """Return about how many characters an approval has on the wire, at least."""
    checks = sum(
        len(each.name) + len(each.expected) + len(each.found) + 8 for each in approval.evidence.checks
    )
    return 500 + len(approval.comment) + len(approval.decision_comment) + checks


def _namespaces_of(caller: Caller, *, inbox: bool) -> tuple[str, ...]:
    return tuple(sorted(caller.owns if inbox else caller.reads | caller.writes))


def _check_may_be_asked(version: Version) -> None:
    if version.approval is ApprovalState.APPROVED:
        why = "is approved already"
    elif version.state is VersionState.REJECTED:
        why = "was rejected by its validation"
    else:
        return
    raise Precondition(
        Reason.STATE_INVALID,
        f"{version.name} {why}; no approval can be asked for.",
        next_step="Push a corrected version."
        if version.state is VersionState.REJECTED
        else "Use it as it is.",
        facts={"name": str(version.name), "state": version.state.value},
    )


def _evidence_missing(approval: Approval, missing: tuple[Check, ...]) -> Precondition:
    first = missing[0].name
    told = "; ".join(f"{each.name}: expected {each.expected}, found {each.found}" for each in missing)
    return Precondition(
        Reason.EVIDENCE_MISSING,
        f"{approval.version} cannot be approved: {told}.",
        next_step=f"{_remedies(approval, missing)} Then decide again; the evidence is gathered anew.",
        facts={"name": approval.name, "version": approval.version, "missing": first},
    )


def _remedies(approval: Approval, missing: tuple[Check, ...]) -> str:
    """Return how what is missing is put right, each way once."""
    version, artifact = approval.version, approval.version.rpartition("/versions/")[0]
    ways = {
        VALIDATION: f"Validate it: ingot validate {version}.",
        SCAN: f"Validate it: ingot validate {version}.",
        LICENSE: f"Set a licence: ingot edit {artifact} --license ….",
    }
    metric = (
        f"A metric that is missing is set with: ingot edit {version} --metric NAME=VALUE; one beyond its "
        "limits needs another version."
    )
    return " ".join(dict.fromkeys(ways.get(each.name, metric) for each in missing))


def _not_decided_by(caller: Caller, approval: Approval, doing: str) -> Denied:
    return Denied(
        Reason.SCOPE_MISSING,
        f"{caller.principal} may not {doing} {approval.name}: that is for owners of "
        f"namespaces/{approval.namespace} and administrators.",
        next_step=f"Ask an owner of namespaces/{approval.namespace}.",
        facts={"name": approval.name},
    )


def _not_found(name: str) -> NotFound:
    return NotFound(
        Reason.APPROVAL_NOT_FOUND,
        f"There is no {name}, or it is not yours to see.",
        next_step="`ingot approvals ls` shows those that you may see.",
        facts={"name": name[:100]},
    )
