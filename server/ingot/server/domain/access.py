"""Who may read and write what. Every rule that touches somebody's things asks here.

What is not the caller's to see does not exist for it: the error is the same as for an absent thing. A private
artifact is seen by the members of its namespace, and by whom it is shown to (core/grants.py). Workers
own nothing; they may touch what their work needs while they hold its lease, and nothing else. The body of an
operation may write only while its attempt lasts, and its operation's target is the one version that it reads
before that is ready.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from ingot.server.core import journal
from ingot.server.core.artifacts import EVERYONE, Artifact, Scope, Version, VersionState, Visibility
from ingot.server.core.catalog_stores import AssignmentStore, UserStore
from ingot.server.core.errors import Denied, NotFound, Reason
from ingot.server.core.grants import GrantStore
from ingot.server.core.identity import SYSTEM, Caller, Role, user_of
from ingot.server.core.names import ANY_NAMESPACE, ArtifactName, Kind, VersionName
from ingot.server.core.workers import WorkGrant


class Fence(Protocol):
    """Keeps out the bodies of operations whose attempt is over."""

    def require_current(self, caller: Caller) -> None:
        """Refuse such a body; everybody else passes. Raises Unauthenticated (TOKEN_EXPIRED)."""
        ...


class Access:
    """Answers what a caller may do. Its methods run inside a unit of work."""

    def __init__(
        self, users: UserStore, assignments: AssignmentStore, fence: Fence, grants: GrantStore
    ) -> None:
        self._users = users
        self._assignments = assignments
        self._fence = fence
        self._grants = grants

    def require_write(self, caller: Caller, namespace: str) -> None:
        """Refuse unless the caller may change what the namespace owns.

        Raises NotFound (NAMESPACE_NOT_FOUND) when it does not even belong to it, else Denied (SCOPE_MISSING);
        Unauthenticated (TOKEN_EXPIRED).
        """
        self._fence.require_current(caller)
        if not caller.may_read(namespace) or not self._users.namespace_exists(namespace):
            raise namespace_not_found(namespace)
        if not caller.may_write(namespace):
            raise Denied(
                Reason.SCOPE_MISSING,
                f"namespaces/{namespace} may be read by {caller.principal}, but not written to.",
                next_step="Ask one of its owners to make you a writer, or use your own namespace.",
                facts={"namespace": namespace},
            )
        note_use(caller, namespace, f"namespaces/{namespace}")

    def reads(self, caller: Caller, artifact: Artifact) -> bool:
        """Return whether the caller may read an artifact; unlike `require_artifact_read` it is no use of it.

        Workers may when one of their assignments reads one of its versions or writes it.
        """
        if caller.is_worker:
            return any(
                held.output_artifact.lower() == str(artifact.name).lower()
                or any(version.artifact == artifact.name for version in held.versions)
                for held in self.assignments(caller)
            )
        visible = artifact.fields.visibility is not Visibility.PRIVATE
        return visible or caller.may_read(artifact.name.namespace) or self._granted(caller, artifact)

    def is_stranger(self, caller: Caller, artifact: Artifact) -> bool:
        """Return whether only its being public lets the caller read an artifact: approved versions, then."""
        return bool(self.strange(caller, [artifact]))

    def strange(self, caller: Caller, artifacts: Sequence[Artifact]) -> list[Artifact]:
        """Return those among the artifacts to which the caller is a stranger."""
        public = [
            each
            for each in artifacts
            if each.fields.visibility is Visibility.PUBLIC
            and not caller.is_worker
            and not caller.may_read(each.name.namespace)
        ]
        user = user_of(caller.principal)
        granted = self._grants.among(public, user) if public and user else frozenset()
        return [each for each in public if each.uid not in granted]

    def require_artifact_read(self, caller: Caller, artifact: Artifact) -> None:
        """Refuse unless the caller may read the artifact. Raises NotFound (ARTIFACT_NOT_FOUND)."""
        if not self.reads(caller, artifact):
            raise artifact_not_found(artifact.name)
        if artifact.fields.visibility is Visibility.PRIVATE:
            note_use(caller, artifact.name.namespace, str(artifact.name))

    def require_artifact_write(self, caller: Caller, artifact: Artifact) -> None:
        """Refuse unless the caller may change the artifact.

        Raises NotFound (ARTIFACT_NOT_FOUND) when it may not even read it, else Denied (SCOPE_MISSING).
        """
        self._fence.require_current(caller)
        if caller.may_write(artifact.name.namespace):
            note_use(caller, artifact.name.namespace, str(artifact.name))
            return
        self.require_artifact_read(caller, artifact)
        raise Denied(
            Reason.SCOPE_MISSING,
            f"{artifact.name} may be read by {caller.principal}, but not changed.",
            next_step=f"Ask an owner of namespaces/{artifact.name.namespace}, or work on a copy of your own.",
            facts={"name": str(artifact.name)},
        )

    def require_artifact_owner(self, caller: Caller, artifact: Artifact, what: str = "") -> None:
        """Refuse unless the caller decides `what`: who sees the artifact when it is empty.

        Owners of its namespace do, and its own owner while that may still write there; no body of an
        operation does. Raises NotFound (ARTIFACT_NOT_FOUND) when it may not even read it, else Denied
        (SCOPE_MISSING).
        """
        namespace = artifact.name.namespace
        its_own = caller.may_write(namespace) and artifact.owner == caller.principal
        if (caller.may_own(namespace) or its_own) and not caller.operation:
            note_use(caller, namespace, str(artifact.name))
            return
        self.require_artifact_read(caller, artifact)
        raise Denied(
            Reason.SCOPE_MISSING,
            f"{caller.principal} does not decide {what or f'who sees {artifact.name}'}.",
            next_step=f"Ask {artifact.owner}, or an owner of namespaces/{namespace}.",
            facts={"name": str(artifact.name)},
        )

    def require_version_read(self, caller: Caller, artifact: Artifact, version: VersionName) -> None:
        """Refuse unless the caller may read this version; for workers it must be their assignment's.

        Raises NotFound (ARTIFACT_NOT_FOUND).
        """
        if caller.is_worker:
            if version not in self.held_versions(caller):
                raise artifact_not_found(artifact.name)
            return
        self.require_artifact_read(caller, artifact)

    def sees(self, caller: Caller, artifact: Artifact, version: Version) -> bool:
        """Return whether a version whose artifact the caller reads is in a state that it may see.

        READY ones are for all of them, but strangers see approved ones only; others for who may write the
        artifact, and for what works on them. The body of an operation works on its target and on what it
        made, and sees no other.
        """
        ready = version.state is VersionState.READY
        return (
            (ready and (version.is_approved or not self.is_stranger(caller, artifact)))
            or (caller.may_write(version.name.artifact.namespace) and not caller.operation)
            or caller.target == str(version.name)
            or (bool(caller.operation) and version.origin.operation == caller.operation)
            or (caller.is_worker and version.name in self.held_versions(caller))
        )

    def require_job_read(self, caller: Caller, job: str, namespace: str) -> None:
        """Refuse unless the caller may read a training job (`trainingJobs/{id}`) of the namespace.

        Raises NotFound (TRAINING_JOB_NOT_FOUND).
        """
        allowed = self.assignment(caller, job) if caller.is_worker else caller.may_read(namespace)
        if not allowed:
            raise job_not_found(job)
        note_use(caller, namespace, job)

    def require_job_write(self, caller: Caller, job: str, namespace: str) -> None:
        """Refuse unless the caller may change a training job.

        Raises NotFound (TRAINING_JOB_NOT_FOUND) when it may not even read it, else Denied (SCOPE_MISSING);
        Unauthenticated (TOKEN_EXPIRED).
        """
        self._fence.require_current(caller)
        self.require_job_read(caller, job, namespace)
        if not caller.is_worker and not caller.may_write(namespace):
            raise Denied(
                Reason.SCOPE_MISSING,
                f"{job} may be seen by {caller.principal}, but not changed.",
                next_step=f"Ask who may write to namespaces/{namespace}, or make a job of your own.",
                facts={"name": job},
            )

    def require_version_write(self, caller: Caller, artifact: ArtifactName, training_job: str) -> None:
        """Refuse unless the caller may upload a version of the artifact as the result of that job, if any.

        Workers may only write the output of a job they hold, and nobody else may name a job.
        Raises NotFound (NAMESPACE_NOT_FOUND, TRAINING_JOB_NOT_FOUND), Denied (SCOPE_MISSING).
        """
        if caller.is_worker:
            held = self.assignment(caller, training_job)
            if held is None or held.output_artifact.lower() != str(artifact).lower():
                raise job_not_found(training_job or "trainingJobs/-")
            return
        self.require_write(caller, artifact.namespace)
        if training_job:
            raise Denied(
                Reason.SCOPE_MISSING,
                f"Only the worker of {training_job} may commit its result; {caller.principal} is not.",
                next_step="Leave training_job empty: the lineage of a result is written by the server.",
                facts={"training_job": training_job},
            )

    def person(self, caller: Caller, job: str) -> Caller:
        """Return whose things a worker makes when it commits the result of a job: who asked for the job.

        Everybody else works for themselves.
        """
        held = self.assignment(caller, job) if caller.is_worker else None
        if held is None:
            return caller
        user, own = user_of(held.creator) or held.namespace, frozenset({held.namespace})
        return replace(
            caller,
            principal=f"users/{user}",
            user=user,
            role=Role.MEMBER,
            namespace=held.namespace,
            writes=own,
            reads=own,
        )

    def assignments(self, caller: Caller) -> tuple[WorkGrant, ...]:
        """Return what a worker's token may touch now; nothing for everybody else."""
        return tuple(self._assignments.held_by(caller.principal)) if caller.is_worker else ()

    def held_versions(self, caller: Caller) -> frozenset[VersionName]:
        """Return the versions that a worker's assignments let it read; nothing for everybody else."""
        return frozenset(name for held in self.assignments(caller) for name in held.versions)

    def assignment(self, caller: Caller, job: str) -> WorkGrant | None:
        """Return the assignment of a job (`trainingJobs/{id}`) that this worker holds; None without."""
        return next((held for held in self.assignments(caller) if job and held.name == job), None)

    def scopes(self, caller: Caller, namespace: str, kind: Kind | None) -> tuple[Scope, ...]:
        """Return the parts of the catalog that a list of `namespace` (`-` for all) shows to the caller.

        They do not overlap. Workers list nothing: they are told names. An unknown namespace is empty.
        """
        kinds = (kind,) if kind else tuple(Kind)
        inside = None if namespace == ANY_NAMESPACE else namespace
        if caller.is_worker:
            return ()
        if caller.is_admin or (inside and caller.may_read(inside)):
            return tuple(Scope(each, inside) for each in kinds)
        audiences = (EVERYONE,) if inside else (EVERYONE, *sorted(caller.reads))
        seen = [Scope(each, inside, audience) for each in kinds for audience in audiences]
        user = user_of(caller.principal)
        if user and self._grants.has_any(user):
            besides = tuple(sorted(caller.reads))
            seen += [Scope(each, inside, granted_to=user, besides=besides) for each in kinds]
        return tuple(seen)

    def trash(self, caller: Caller, namespace: str, kind: Kind | None) -> tuple[Scope, ...]:
        """Return the parts of the trash of `namespace` (`-` for all) that the caller may write to."""
        kinds = (kind,) if kind else tuple(Kind)
        inside: tuple[str | None, ...]
        if namespace != ANY_NAMESPACE:
            inside = (namespace,) if caller.may_write(namespace) else ()
        elif caller.is_admin:
            inside = (None,)
        else:
            inside = () if caller.is_worker else tuple(sorted(caller.writes))
        return tuple(Scope(each, where, deleted=True) for each in kinds for where in inside)

    def _granted(self, caller: Caller, artifact: Artifact) -> bool:
        """Return whether an artifact is shown to the caller, or to who asked for the operation that calls."""
        user = user_of(caller.principal)
        return bool(user) and self._grants.has(artifact, user)


def note_use(caller: Caller, namespace: str, name: str) -> None:
    """Let the audit log tell that an administrator uses what belongs to others; see core/journal.py."""
    if caller.is_admin and namespace not in caller.reads and caller.principal != SYSTEM:
        journal.used(name)


def artifact_not_found(name: ArtifactName) -> NotFound:
    """Return the error for an artifact that is absent or not the caller's to see."""
    return NotFound(
        Reason.ARTIFACT_NOT_FOUND,
        f"There is no {name.kind.word} {name}, or it is not yours to see.",
        next_step="Check the name with a list, and that you are signed in as who owns it.",
        facts={"name": str(name)},
    )


def namespace_not_found(namespace: str) -> NotFound:
    """Return the error for a namespace that is absent or not the caller's."""
    return NotFound(
        Reason.NAMESPACE_NOT_FOUND,
        f"There is no namespace {namespace!r}, or it is not yours.",
        next_step="Use your own, which `ingot whoami` names, or another that `ingot namespaces ls` lists.",
        facts={"namespace": namespace},
    )


def job_not_found(job: str) -> NotFound:
    """Return the error for a training job that is absent or not the caller's."""
    return NotFound(
        Reason.TRAINING_JOB_NOT_FOUND,
        f"There is no training job {job}, or it is not yours.",
        next_step="`ingot jobs ls` shows those there are; a worker sees a job while it holds its lease.",
        facts={"training_job": job},
    )
