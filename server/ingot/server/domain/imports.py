"""Imports: who may have what fetched into which artifact, and the operation that does it.

Everything that is wrong for sure is refused here; what only the source can tell (whether it exists, its size,
whether it is here already) the body finds out. The same import that several people ask for at once is one
operation: that of who asked first.
"""

import dataclasses
import hashlib
import json

from ingot.content.texts import shortened
from ingot.server.core import names, params
from ingot.server.core.artifacts import ArtifactFields, NewVersion
from ingot.server.core.catalog_stores import ArtifactStore
from ingot.server.core.errors import AlreadyExists, Denied, Reason, invalid_field
from ingot.server.core.identity import Caller
from ingot.server.core.imports import RegisteredSources, WantedImport, WantedTarget
from ingot.server.core.names import ArtifactName, Kind
from ingot.server.core.operation_stores import OperationFilter, OperationStore
from ingot.server.core.operations import NewOperation, Operation, OperationOptions
from ingot.server.domain.access import Access
from ingot.server.domain.import_sources import ImportSources, Source, original_of, same
from ingot.server.domain.operation_checks import joined_otherwise
from ingot.server.domain.operations import Operations
from ingot.server.domain.requests import RequestKey, Requests
from ingot.server.domain.versions import Versions

KIND = "import"
_LOOKED_AT = 50  # newest versions, and unfinished imports, of an artifact whose name was derived
_HOW = ("force", "max_bytes_per_second")  # of what the same import may be asked for in other words
_CARRIED = (
    *("display_name", "description", "tags", "language", "license"),
    *("framework", "task_type", "model_type", "visibility"),
)  # fields of an artifact that an import may set; the others are for an update


@dataclasses.dataclass(frozen=True, slots=True)
class CatalogView:
    """The part of the catalog that imports look at."""

    versions: Versions
    artifacts: ArtifactStore
    access: Access


class Imports:
    """Starts imports; its method runs inside a write."""

    def __init__(
        self,
        sources: ImportSources,
        registered: RegisteredSources,
        catalog: CatalogView,
        operations: Operations,
        rows: OperationStore,
        requests: Requests,
    ) -> None:
        self._sources = sources
        self._registered = registered
        self._catalog = catalog
        self._operations = operations
        self._rows = rows
        self._requests = requests

    def start(self, caller: Caller, key: RequestKey, wanted: WantedImport) -> Operation:
        """Queue an import and return its operation; one that does the same already is returned instead.

        Raises Invalid (FIELD_INVALID, NAME_INVALID, BAD_PATH), NotFound (NAMESPACE_NOT_FOUND,
        ARTIFACT_NOT_FOUND), AlreadyExists (NAME_TAKEN, NAME_COLLIDES), Denied (SOURCE_ADDRESS_REFUSED,
        SCOPE_MISSING), Precondition (REQUEST_ID_REUSED, IN_USE: it runs in another way), Exhausted (QUOTA).
        """

        def make() -> str:
            return self._enqueued(caller, self._new(caller, wanted)).id

        number, _ = self._requests.run(caller, "StartImport", key, make)
        return self._operations.get(caller, number)

    def _enqueued(self, caller: Caller, new: NewOperation) -> Operation:
        queued = self._operations.enqueue(caller, new)
        if self._operations.sees(caller, queued):
            told = [(name, new.params.get(name), queued.params.get(name)) for name in _HOW]
            others = [f"{name} {has}, not {asked}" for name, asked, has in told if asked and asked != has]
            if others:
                raise joined_otherwise(queued, others)
            return queued
        return self._operations.enqueue(caller, dataclasses.replace(new, key=f"{new.key} {caller.principal}"))

    def _new(self, caller: Caller, wanted: WantedImport) -> NewOperation:
        if wanted.max_bytes_per_second < 0:
            raise invalid_field(
                "max_bytes_per_second", f"expected 0 or more, got {wanted.max_bytes_per_second}"
            )
        if isinstance(wanted.source, ArtifactName):
            return self._fetch(caller, wanted, wanted.source)
        source = self._sources.checked(wanted.source)
        target = wanted.target
        name = self._spelled(caller, target.artifact or _derived(caller, source, target))
        if isinstance(source.params, params.BundleImport):
            if wanted.max_bytes_per_second:
                raise invalid_field("max_bytes_per_second", "expected 0: bundles lie on the server's disk")
            self._catalog.access.require_write(caller, name.namespace)
            asked = source.params.model_copy(update={"anyones": caller.is_admin})
            source = dataclasses.replace(source, params=asked)
            return _operation(wanted, source, _for_bundle(target, name), name, f"namespaces/{name.namespace}")
        self._check_kind(source, name)
        filled = self._checked(caller, source, target, name)
        if target.artifact is None:
            self._check_original(caller, source, name)
        return _operation(wanted, source, filled, name, str(name))

    def _spelled(self, caller: Caller, name: ArtifactName) -> ArtifactName:
        """Return a name as its artifact spells it, which is found without regard to case."""
        artifact = self._catalog.artifacts.find(name) if caller.may_write(name.namespace) else None
        return artifact.name if artifact else name

    def _fetch(self, caller: Caller, wanted: WantedImport, artifact: ArtifactName) -> NewOperation:
        """Return the import of a registered source with what is asked for besides."""
        if wanted.target != WantedTarget():
            raise invalid_field(
                "target", f"expected nothing: {artifact} is registered with what it is filled from"
            )
        new = self._registered.params(caller, artifact)
        told = wanted.force or wanted.max_bytes_per_second or wanted.options != OperationOptions()
        if told and not caller.may_write(artifact.namespace):
            raise Denied(
                Reason.SCOPE_MISSING,
                f"One import fetches {artifact} for all who read it; only who may write it says how.",
                next_step="Ask for it without force, options and a limit of the rate.",
                facts={"artifact": str(artifact)},
            )
        asked = {
            "force": wanted.force,
            "check_only": wanted.check_only,
            "max_bytes_per_second": wanted.max_bytes_per_second,
        }
        key = f"{new.key} look" if wanted.check_only and new.key else new.key
        return dataclasses.replace(
            new,
            params={**new.params, **asked},
            key=key,
            options=wanted.options,
            for_all=new.for_all and not wanted.check_only,
        )

    def _checked(
        self, caller: Caller, source: Source, target: WantedTarget, name: ArtifactName
    ) -> params.Target:
        """Return the target as the body gets it, after all checks of an upload of that version."""
        create = target.create or ArtifactFields()
        _check_carried(create)
        create = dataclasses.replace(create, display_name=create.display_name or source.display_name)
        version = NewVersion(
            artifact=name,
            version_id=target.version_id,
            create=create,
            changelog=target.changelog,
            metadata=target.metadata,
            performance_metrics=target.performance_metrics,
            aliases=target.aliases,
        )
        version = self._free_or_same(caller, version, source)
        fields = version.create or create
        told = {each: getattr(fields, each) for each in _CARRIED if each != "visibility"}
        return params.Target(
            **told,
            artifact=str(name),
            visibility=fields.visibility.value if target.create else "",
            version_id=version.version_id,
            changelog=version.changelog,
            aliases=version.aliases,
            metadata=dict(version.metadata),
            performance_metrics=dict(version.performance_metrics),
        )

    def _free_or_same(self, caller: Caller, version: NewVersion, source: Source) -> NewVersion:
        """Return the version in its one form; its id may be taken by what an earlier import of this made."""
        try:
            return self._catalog.versions.check_target(caller, version)
        except AlreadyExists:
            taken = names.check_version_id(version.version_id)
            found = self._catalog.versions.get(caller, version.artifact.version(taken))
            if not same(original_of(found.origin.source), source.original):
                raise
            free = dataclasses.replace(version, version_id="")
            checked = self._catalog.versions.check_target(caller, free)
            return dataclasses.replace(checked, version_id=found.name.version)

    @staticmethod
    def _check_kind(source: Source, name: ArtifactName) -> None:
        if isinstance(source.params, params.HubImport) and source.kind is not name.kind:
            what = "dataset" if source.kind is Kind.DATASET else "model"
            raise invalid_field(
                "target.artifact",
                f"expected a {what}, which {source.display_name} is asked for as, got {name}",
                next_step="Set repository_kind to what the repository is, or choose another target.",
            )

    def _check_original(self, caller: Caller, source: Source, name: ArtifactName) -> None:
        """Refuse a derived name that stands for something else. Raises AlreadyExists (NAME_COLLIDES)."""
        artifact = self._catalog.artifacts.find(name)
        if artifact is not None:
            versions = self._catalog.versions.page(caller, name, _LOOKED_AT, "").items
            known = [original_of(each.origin.source) for each in versions if each.origin.source]
            fits = any(same(source.original, each) for each in known)
            if not fits and (known or artifact.fields.display_name != source.display_name):
                raise _collides(
                    source, name, shortened(known[0]) if known else f"{artifact.name}, which was not imported"
                )
        under_way = OperationFilter(kind=KIND, target=str(name), active_only=True)
        for each in self._rows.page(None, under_way, None, _LOOKED_AT).items:
            found = params.ImportParams.model_validate(each.params)
            if not isinstance(found.source, params.BundleImport):
                other = self._sources.original(found.source)
                if not same(source.original, other):
                    raise _collides(source, name, f"{shortened(other)}, which {each.name} imports")


def _derived(caller: Caller, source: Source, target: WantedTarget) -> ArtifactName:
    """Return the name in the caller's own namespace that follows from the source. Raises Invalid."""
    kind = source.kind if isinstance(source.params, params.HubImport) else target.kind or source.kind
    if not source.artifact_id or kind is None:
        what = "an id" if kind else "whether it is a model or a dataset"
        raise invalid_field(
            "target.artifact",
            f"{what} cannot be derived from {shortened(source.display_name or source.original)!r}",
            next_step="Name the artifact to fill, such as namespaces/{you}/datasets/{id}.",
        )
    return ArtifactName(caller.namespace, kind, source.artifact_id)


def _operation(
    wanted: WantedImport, source: Source, target: params.Target, name: ArtifactName, about: str
) -> NewOperation:
    asked = params.ImportParams(
        source=source.params,
        target=target,
        force=wanted.force,
        check_only=wanted.check_only,
        max_bytes_per_second=wanted.max_bytes_per_second,
    )
    document = asked.document()
    what = json.dumps({**document, "max_bytes_per_second": 0}, sort_keys=True)
    return NewOperation(
        kind=KIND,
        params=document,
        target=about,
        namespace=name.namespace,
        key=f"import {name.namespace} {hashlib.sha256(what.encode()).hexdigest()}",
        options=wanted.options,
    )


def _for_bundle(target: WantedTarget, name: ArtifactName) -> params.Target:
    """Return the target of a bundle, which brings everything but the namespace. Raises Invalid."""
    if target != WantedTarget(artifact=target.artifact, kind=target.kind):
        raise invalid_field(
            "target",
            "expected an artifact of the namespace to fill and nothing else: a bundle "
            "brings its own names and descriptions",
        )
    return params.Target(artifact=str(name))


def _check_carried(create: ArtifactFields) -> None:
    plain = ArtifactFields()
    for field in dataclasses.fields(ArtifactFields):
        told = getattr(create, field.name) != getattr(plain, field.name)
        if told and field.name not in _CARRIED:
            raise invalid_field(
                f"target.create.{field.name}",
                "expected nothing: an import does not set it",
                next_step="Update the artifact when it is there.",
            )


def _collides(source: Source, name: ArtifactName, other: str) -> AlreadyExists:
    original = shortened(source.original)
    return AlreadyExists(
        Reason.NAME_COLLIDES,
        f"{original} would become {name}, which stands for {other} already.",
        next_step="Name another artifact to fill.",
        facts={"name": str(name), "original": original, "other": other},
    )
