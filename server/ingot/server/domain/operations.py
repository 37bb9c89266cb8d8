"""Operations as people and features see them: enqueue, look, cancel, try again.

    operation = operations.enqueue(caller, NewOperation("import", params, key="…"))    # in the caller's write
    operations.on("import", hook)         # hook.moved(operation) in the write of each change of state
    operations.since(caller, wanted, change, limit)                                    # for watchers

What is enqueued runs if, and only if, the write that enqueued it is committed. Running is claims.py's.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from ingot.server.core import journal
from ingot.server.core.catalog_stores import CounterStore
from ingot.server.core.clock import Clock
from ingot.server.core.errors import Denied, Exhausted, Precondition, Reason, invalid_field
from ingot.server.core.identity import SYSTEM, Caller
from ingot.server.core.kinds import KINDS, QUEUES, OperationKind
from ingot.server.core.names import ANY_NAMESPACE
from ingot.server.core.operation_stores import OperationFilter, OperationListener, OperationStore
from ingot.server.core.operations import (
    NewOperation,
    Operation,
    OperationDefaults,
    OperationHook,
    OperationMove,
    OperationState,
    RetryPolicy,
)
from ingot.server.core.pages import Page, PageTokens, fit, page_size
from ingot.server.domain import operation_checks
from ingot.server.domain.access import note_use
from ingot.server.domain.catalog_refusals import check_etag
from ingot.server.domain.events import AfterCommit, EventLog, LogPage
from ingot.server.domain.operation_moves import OperationMoves, operation_not_found
from ingot.server.domain.secret_params import SecretParams

KEPT_SECONDS = 90 * 24 * 3600.0
_FORGOTTEN_AT_ONCE = 200
_QUOTA_SECONDS = 30.0


class ReadTargets(Protocol):
    """A feature whose operations concern everybody who may read their target."""

    def shows(self, caller: Caller, operation: Operation) -> bool:
        """Return whether the caller may see the operation because of its target."""
        ...


class Operations:
    """Enqueues, shows, cancels and repeats operations. Methods run inside a unit of work."""

    def __init__(
        self,
        store: OperationStore,
        log: EventLog,
        counters: CounterStore,
        after_commit: AfterCommit,
        tokens: PageTokens,
        secrets: SecretParams,
        defaults: OperationDefaults,
        clock: Clock,
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._secrets = secrets
        self._defaults = defaults
        self._clock = clock
        self._targets: list[ReadTargets] = []
        self.log = log
        self.moves = OperationMoves(store, log, counters, after_commit, clock)

    def on(self, kind: str, hook: OperationHook) -> None:
        """Call `hook` inside the write of every change of state of operations of a kind."""
        self.moves.on(kind, hook)

    def listen(self, listener: OperationListener) -> None:
        """Tell `listener` of every new state of any operation, after its commit."""
        self.moves.listen(listener)

    def show(self, targets: ReadTargets) -> None:
        """Let more callers see operations: those that `targets` names."""
        self._targets.append(targets)

    def enqueue(self, caller: Caller, new: NewOperation) -> Operation:
        """Queue an operation as part of the write that runs now.

        An unfinished one with the same key is returned instead: let a key name who may see it. Raises Invalid
        (FIELD_INVALID, TOO_LARGE) for an unknown kind, parameters its kind does not know or that are too
        large, or options out of range; Denied (SCOPE_MISSING) for a priority above 0 that no administrator
        asks for; Exhausted (QUOTA) when too many of the caller have not ended; Precondition (IN_USE) when the
        one that is there has other options than those asked for. The queries of URLs in its parameters are
        kept sealed beside them.
        """
        kind = kind_named(new.kind)
        params = operation_checks.checked_params(kind, new.params)
        policy, timeout = self.limits_of(kind)
        policy, timeout = new.options.policy or policy, new.options.timeout or timeout
        operation_checks.check_options(new.options.priority, policy, timeout)
        if new.options.priority > 0 and not caller.is_admin:
            raise operation_checks.too_urgent(caller)
        if not new.for_all:
            operation_checks.check_size(params)
        if new.key and (found := self._store.unfinished(new.key)):
            if self.sees(caller, found):
                operation_checks.check_joined(found, new.options)
            return found
        if not new.for_all:
            self._check_quota(caller)
        now = self._clock.now()
        params, sealed = self._secrets.apart(kind.name, params, new.namespace)
        operation = Operation(
            number=0,
            kind=kind.name,
            state=OperationState.QUEUED,
            requester=SYSTEM if new.for_all else caller.principal,
            create_time=now,
            target=new.target,
            namespace=new.namespace,
            reads=new.reads,
            guest=bool(new.namespace) and not caller.may_read(new.namespace),
            queue=kind.queue,
            key=new.key,
            priority=new.options.priority,
            policy=policy,
            timeout=timeout,
            due_time=now,
            params=params,
            sealed=sealed,
        )
        added = self.moves.add(operation, f"asked by {caller.principal}")
        journal.detail(started=added.name, kind=added.kind)
        journal.result(added.target or added.name)
        return added

    def _check_quota(self, caller: Caller) -> None:
        """Refuse one more. Raises Exhausted (QUOTA)."""
        most = self._defaults.most_unfinished
        if not most or caller.is_admin or caller.operation:  # what bodies ask for is part of what they do
            return
        found = self._store.unfinished_of(caller.principal)
        if found >= most:
            raise Exhausted(
                Reason.QUOTA,
                f"{found} operations of {caller.principal} have not ended; {most} is the most at once.",
                next_step="Wait until some have ended, or cancel some: `ingot operations ls --state queued`.",
                facts={"limit": str(most), "unfinished": str(found)},
                retry_after=_QUOTA_SECONDS,
            )

    def limits_of(self, kind: OperationKind) -> tuple[RetryPolicy, float]:
        """Return the retries and the timeout in seconds of a kind, as it or the server is set."""
        return kind.policy or self._defaults.policy, kind.timeout or self._defaults.timeout

    def kinds(self) -> Sequence[OperationKind]:
        """Return all kinds by name."""
        return sorted(KINDS.values(), key=lambda kind: kind.name)

    # --- looking ----------------------------------------------------------------------------------------

    def get(self, caller: Caller, operation: str) -> Operation:
        """Return an operation by its id.

        Raises NotFound (OPERATION_NOT_FOUND), also when it is not theirs.
        """
        found = self.moves.find(operation)
        if not self.sees(caller, found):
            raise operation_not_found(operation)
        if found.namespace and found.requester != caller.principal:
            note_use(caller, found.namespace, found.name)
        return found

    def sees(self, caller: Caller, operation: Operation) -> bool:
        """Return whether an operation is the caller's to see.

        It is its own, of a namespace that it reads, or shown to who reads its target.
        """
        mine = _owns(caller, operation) or (
            bool(operation.namespace) and caller.may_read(operation.namespace)
        )
        return mine or self._waits_for(caller, operation)

    def _waits_for(self, caller: Caller, operation: Operation) -> bool:
        return any(each.shows(caller, operation) for each in self._targets)

    def page(self, caller: Caller, wanted: OperationFilter, size: int, token: str) -> Page[Operation]:
        """Return a page of operations, newest first, of those that `_shown` tells.

        Raises Invalid (FIELD_INVALID, PAGE_TOKEN_INVALID).
        """
        size = page_size(size)
        query = f"ListOperations {caller.principal} {wanted}"
        after = self._tokens.decode(query, token)
        _check_words(wanted)
        requester, wanted = _shown(caller, wanted)
        rows = self._store.page(requester, wanted, int(after[0]) if after else None, size + 1)
        items, last = fit([(each.number, each) for each in rows.items], size, operation_checks.weight_of)
        return Page(items, self._tokens.encode(query, (last,)) if last else "")

    def since(self, caller: Caller, wanted: OperationFilter, change: int, limit: int) -> Sequence[Operation]:
        """Return up to `limit` operations that changed after a change, in the order of their last change.

        Each comes with `change`, the number to go on with. States in between are skipped. Raises Invalid
        (FIELD_INVALID).
        """
        _check_words(wanted)
        requester, wanted = _shown(caller, wanted)
        return self._store.since(requester, wanted, change, limit)

    def latest_change(self) -> int:
        """Return the number of the last change of any operation: what happens from now on has higher ones."""
        return self._store.latest_change()

    def events(self, caller: Caller, operation: str, after: int, limit: int) -> LogPage:
        """Return up to `limit` events of an operation after a number, and whether it ended with them.

        Raises NotFound (OPERATION_NOT_FOUND), OutOfRange (RESUME_TOKEN_EXPIRED).
        """
        found = self.get(caller, operation)
        events = self.log.read(found.name, after, limit)
        position, latest = events[-1].seq if events else after, self.log.bounds(found.name).latest
        return LogPage(events, position, latest, found.ended and position >= latest)

    # --- steering ---------------------------------------------------------------------------------------

    def cancel(self, caller: Caller, operation: str, etag: str = "") -> Operation:
        """Ask an operation to stop; one that waits is CANCELLED at once.

        Raises NotFound (OPERATION_NOT_FOUND), Precondition (STATE_INVALID), Conflict (ETAG_MISMATCH), Denied
        (SCOPE_MISSING) for one that the caller only sees.
        """
        found = self._current(caller, operation, etag)
        if not _owns(caller, found):
            raise _only_seen(caller, found, "cancelled: others wait for it too")
        return self.moves.move(found, OperationMove.CANCEL, f"cancelled by {caller.principal}")

    def retry(self, caller: Caller, operation: str, etag: str = "") -> Operation:
        """Queue an operation that ended without success again with fresh tries; a RETRYING one at once.

        Raises NotFound (OPERATION_NOT_FOUND), Conflict (ETAG_MISMATCH), Precondition (STATE_INVALID), also
        when another one does the same by now; Denied (SCOPE_MISSING) for one that the caller only sees;
        Exhausted (QUOTA).
        """
        found = self._current(caller, operation, etag)
        if not (_owns(caller, found) or self._waits_for(caller, found)):
            raise _only_seen(caller, found, "tried again")
        if found.key and found.ended and (other := self._store.unfinished(found.key)):
            raise Precondition(
                Reason.STATE_INVALID,
                f"{other.name}, which is {other.state}, does the same as {found.name}.",
                next_step=f"Wait for {other.name}, or cancel it first.",
                facts={"operation": found.name, "other": other.name},
            )
        if found.ended and found.requester == caller.principal:
            self._check_quota(caller)
        return self.moves.move(
            found,
            OperationMove.AGAIN,
            f"asked again by {caller.principal}",
            tries=0,
            due_time=self._clock.now(),
            problem=None,
            progress=None,
        )

    def forget_old(self) -> Sequence[str]:
        """Remove some operations that ended long ago, with their logs; return their names."""
        return self.moves.forget(self._clock.now() - KEPT_SECONDS, _FORGOTTEN_AT_ONCE)

    def _current(self, caller: Caller, operation: str, etag: str) -> Operation:
        found = self.get(caller, operation)
        check_etag(found.name, etag, found.etag)
        return found


def kind_named(name: str) -> OperationKind:
    """Return a kind by its name. Raises Invalid (FIELD_INVALID)."""
    kind = KINDS.get(name)
    if kind is None:
        raise invalid_field(
            "kind", f"there is no kind of operation {name!r}; there are {', '.join(sorted(KINDS))}"
        )
    return kind


def _check_words(wanted: OperationFilter) -> None:
    """Refuse a kind or queue that there is not, of which nothing would ever be listed."""
    if wanted.kind:
        kind_named(wanted.kind)
    if wanted.queue and wanted.queue not in QUEUES:
        raise invalid_field("queue", f"there is no queue {wanted.queue!r}; there are {', '.join(QUEUES)}")


def _owns(caller: Caller, operation: Operation) -> bool:
    """Return whether the caller asked for an operation, or owns what it is about.

    Who asked as a member of its namespace and has left that since has no part in it any more.
    """
    namespace = operation.namespace
    owned = bool(namespace) and caller.may_write(namespace)
    belongs = not namespace or operation.guest or caller.may_read(namespace)
    return owned or caller.is_admin or (operation.requester == caller.principal and belongs)


def _only_seen(caller: Caller, operation: Operation, what: str) -> Denied:
    return Denied(
        Reason.SCOPE_MISSING,
        f"{operation.name} may be seen by {caller.principal}, but not {what}.",
        next_step=f"Ask {operation.requester}, or an owner of {operation.target or operation.namespace}.",
        facts={"operation": operation.name},
    )


def _shown(caller: Caller, wanted: OperationFilter) -> tuple[str | None, OperationFilter]:
    """Return whose operations a list shows (None is anybody's), and the filter with what it shows besides.

    Those of others are for who reads the namespace that is asked for; to all others it is as if it had none.
    """
    everywhere = wanted.namespace in ("", ANY_NAMESPACE)
    if caller.is_admin:
        return None, replace(wanted, namespace="") if everywhere else wanted
    shared = () if caller.is_worker else tuple(sorted(caller.reads | caller.writes))
    if wanted.namespace == ANY_NAMESPACE:
        return caller.principal, replace(wanted, namespace="", shared=shared, within=("", *shared))
    if not everywhere and caller.may_read(wanted.namespace):
        return None, wanted
    return caller.principal, replace(wanted, within=("", *shared))
