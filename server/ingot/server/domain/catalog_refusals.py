"""Why the catalog refuses a change: the name is taken, it changed meanwhile, or others depend on it."""

from collections.abc import Sequence

from ingot.server.core.artifacts import Artifact, Version
from ingot.server.core.errors import AlreadyExists, Conflict, Precondition, Reason
from ingot.server.core.names import AliasName, ArtifactName, VersionName


def check_etag(name: str, expected: str, found: str) -> None:
    """Refuse when an etag was given and is not the present one. Raises Conflict (ETAG_MISMATCH)."""
    if expected and expected != found:
        raise changed_meanwhile(name)


def name_taken(name: ArtifactName) -> AlreadyExists:
    """Return the error for a name that another artifact has."""
    return AlreadyExists(
        Reason.NAME_TAKEN,
        f"There is a {name.kind.word} {name} already; names are unique without regard to case.",
        next_step="Choose another id, or add a version to the one there is.",
        facts={"name": str(name)},
    )


def changed_meanwhile(name: str) -> Conflict:
    """Return the error for something that changed since it was read."""
    return Conflict(
        Reason.ETAG_MISMATCH,
        f"{name} changed since it was read: the etag is not the present one.",
        next_step="Read it again, then decide anew.",
        facts={"name": name},
    )


def in_use(artifact: Artifact, dependants: Sequence[str]) -> Precondition:
    """Return the error for an artifact that has versions, or that others depend on."""
    return Precondition(
        Reason.IN_USE,
        f"{artifact.name} has versions ({artifact.version_count}, of {artifact.version_bytes} bytes); "
        f"named by: {_some(dependants)}.",
        next_step="Set force (--force) to put it into the trash all the same.",
        facts={
            "versions": str(artifact.version_count),
            "bytes": str(artifact.version_bytes),
            "dependants": ", ".join(dependants[:20]),
        },
    )


def version_in_use(version: Version, dependants: Sequence[str]) -> Precondition:
    """Return the error for a version that others name."""
    return Precondition(
        Reason.IN_USE,
        f"{version.name} is named by: {_some(dependants)}.",
        next_step="Set force (--force) to put it into the trash all the same; its aliases are then removed.",
        facts={"name": str(version.name), "dependants": ", ".join(dependants[:20])},
    )


def _some(dependants: Sequence[str]) -> str:
    more = f" and {len(dependants) - 3} more" if len(dependants) > 3 else ""
    return f"{', '.join(dependants[:3]) or 'nothing'}{more}"


def protected(name: AliasName) -> Precondition:
    """Return the error for a protected alias that shall be removed, or go with what it names."""
    return Precondition(
        Reason.PROTECTED,
        f"{name} is protected: it can be moved to another approved version, but not removed.",
        next_step="Move it, or let an owner take it from the protected aliases of the approval policy first.",
        facts={"name": str(name)},
    )


def not_protectable(alias: AliasName, version: VersionName) -> Precondition:
    """Return the error for a policy that would protect an alias of a version which is not approved."""
    return Precondition(
        Reason.APPROVAL_REQUIRED,
        f"{alias} cannot be protected yet: it names {version}, which is not approved.",
        next_step=f"Move it to an approved version, or have this one approved first: ingot approvals request "
        f"{version}",
        facts={"alias": str(alias), "version": str(version)},
    )


def approval_required(alias: str, version: str) -> Precondition:
    """Return the error for a protected alias that shall name a version which is not approved."""
    return Precondition(
        Reason.APPROVAL_REQUIRED,
        f"The alias {alias} is protected: only approved versions may have it, and {version} is not.",
        next_step=f"Ask for it: ingot approvals request {version}",
        facts={"alias": alias, "version": version},
    )
