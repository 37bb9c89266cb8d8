"""Exports: who may have what written where, and the operation that does it.

References are pinned to concrete versions here, paths are found below the allowed folders, and the key of
the operation is its destination, so that two exports never write to one place at once.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Protocol

from ingot.content import digests
from ingot.content.texts import shortened
from ingot.server.core import params
from ingot.server.core.artifacts import Artifact, Version, VersionState
from ingot.server.core.catalog_stores import ArtifactStore, VersionStore
from ingot.server.core.errors import FieldProblem, Invalid, Precondition, Reason, invalid_field
from ingot.server.core.exports import (
    AllowedFolders,
    ExportSights,
    KeptExportStore,
    Layout,
    Place,
    WantedBundle,
    WantedExport,
    WantedFolder,
    WantedHub,
)
from ingot.server.core.identity import Caller
from ingot.server.core.names import ArtifactName, version_reference
from ingot.server.core.operations import NewOperation, Operation, OperationOptions
from ingot.server.core.training_stores import TrainingStore
from ingot.server.domain import export_refusals as refusals
from ingot.server.domain.catalog import Catalog
from ingot.server.domain.kept_exports import KeptExports, folder_operation
from ingot.server.domain.operations import Operations
from ingot.server.domain.requests import RequestKey, Requests
from ingot.server.domain.versions import Versions

_MOST_JOBS = 100  # whose facts a bundle tells: they stand in the parameters of the operation
_GRAIN = 2e-6  # seconds; times are told in microseconds, so the one that was told may be a little earlier


@dataclasses.dataclass(frozen=True, slots=True)
class _Chosen:
    """A version to export, with its artifact."""

    artifact: Artifact
    version: Version

    @property
    def name(self) -> ArtifactName:
        return self.artifact.name


@dataclasses.dataclass(frozen=True, slots=True)
class ExportShelves:
    """The rows and folders that exports look at."""

    artifacts: ArtifactStore
    versions: VersionStore
    kept: KeptExportStore
    jobs: TrainingStore
    folders: AllowedFolders
    sights: ExportSights


class HubTokens(Protocol):
    """Who may write to the Hub with which token."""

    def for_writing(self, caller: Caller) -> bool:
        """Return whether the server's own token may be used for an export that the caller asks for.

        Raises Denied (SOURCE_DENIED) when there is no token that it may use.
        """
        ...


class Exports:
    """The rules about exports; every method runs inside a write."""

    def __init__(
        self,
        shelves: ExportShelves,
        kept: KeptExports,
        catalog: Catalog,
        versions: Versions,
        operations: Operations,
        requests: Requests,
        tokens: HubTokens,
        usual: Place,
    ) -> None:
        self._shelves = shelves
        self._kept = kept
        self._catalog = catalog
        self._versions = versions
        self._operations = operations
        self._requests = requests
        self._tokens = tokens
        self._usual = usual  # where an export without a path goes

    def start(
        self,
        caller: Caller,
        key: RequestKey,
        wanted: WantedExport,
        options: OperationOptions,
        *,
        validate_only: bool,
    ) -> Operation | None:
        """Queue an export and return its operation; None with `validate_only`, which changes nothing.

        Raises Invalid (FIELD_INVALID, NAME_INVALID, BAD_PATH), NotFound (ARTIFACT_NOT_FOUND,
        VERSION_NOT_FOUND, ALIAS_NOT_FOUND), Precondition (STATE_INVALID, IN_USE: something else is being
        or was written there), Denied (SCOPE_MISSING: to keep takes the right to write; to write to the Hub a
        token of one's own).
        """
        if validate_only:
            self._check(self._planned(caller, wanted)[0])
            return None

        def make() -> str:
            operation, chosen = self._planned(caller, wanted)
            self._follow(caller, wanted, operation, chosen)
            asked = dataclasses.replace(operation, options=options)
            queued = self._operations.enqueue(caller, asked)
            if queued.params != asked.params or not refusals.sees(caller, queued):
                raise refusals.busy(caller, queued)
            return queued.id

        number, _ = self._requests.run(caller, "StartExport", key, make)
        return self._operations.get(caller, number)

    def local_paths(self, artifacts: Sequence[Artifact]) -> dict[str, str]:
        """Return, by uid, the folder that each artifact is kept in, of those that have one. Inside a read."""
        return dict(self._shelves.kept.folders([artifact.uid for artifact in artifacts]))

    # --- what -------------------------------------------------------------------------------------------

    def _planned(self, caller: Caller, wanted: WantedExport) -> tuple[NewOperation, Sequence[_Chosen]]:
        if not wanted.sources:
            raise invalid_field("sources", "expected at least one version, alias or artifact")
        if len(wanted.sources) > refusals.MOST_VERSIONS:
            raise refusals.too_many(len(wanted.sources))
        if isinstance(wanted.destination, WantedBundle):
            chosen = self._bundled(caller, wanted.sources, wanted.destination.since)
            return self._to_bundle(caller, wanted.destination, chosen), chosen
        chosen = [self._pinned(caller, text, index) for index, text in enumerate(wanted.sources)]
        chosen = list({each.version.name: each for each in chosen}.values())
        if isinstance(wanted.destination, WantedHub):
            return self._to_hub(caller, wanted.destination, chosen), chosen
        return self._to_folder(caller, wanted.destination, chosen), chosen

    def _pinned(self, caller: Caller, text: str, index: int) -> _Chosen:
        reference = version_reference(text, f"sources[{index}]")
        version = self._versions.resolve(caller, reference)
        return _Chosen(self._catalog.require_read(caller, version.name.artifact), version)

    def _bundled(self, caller: Caller, sources: Sequence[str], since: float | None) -> list[_Chosen]:
        """Return the versions of a bundle in the order in which they are made again."""
        found: dict[object, _Chosen] = {}
        for index, text in enumerate(sources):
            reference = version_reference(text, f"sources[{index}]")
            if isinstance(reference, ArtifactName):
                chosen = self._ready(self._catalog.require_read(caller, reference))
            else:
                chosen = [self._pinned(caller, text, index)]
            for each in chosen:
                if since is None or each.version.create_time > since + _GRAIN:
                    found[each.version.name] = each
            if len(found) > refusals.MOST_VERSIONS:
                raise refusals.too_many(len(found))
        if not found:
            what = "no ready version" if since is None else "no version that was committed after `since`"
            raise Precondition(
                Reason.STATE_INVALID,
                f"There is nothing to export: the sources have {what}.",
                next_step="Choose other sources, or an earlier time.",
            )
        return sorted(found.values(), key=lambda each: (str(each.name), each.version.create_time))

    def _ready(self, artifact: Artifact) -> list[_Chosen]:
        found: list[_Chosen] = []
        after: int | None = None
        while rows := self._shelves.versions.page(artifact, after, 500):
            after = rows[-1][0]
            found += [_Chosen(artifact, each) for _, each in rows if each.state is VersionState.READY]
            if len(found) > refusals.MOST_VERSIONS:
                raise refusals.too_many(len(found))
        return found

    # --- where ------------------------------------------------------------------------------------------

    def _to_folder(self, caller: Caller, wanted: WantedFolder, chosen: Sequence[_Chosen]) -> NewOperation:
        place = self._place(wanted)
        names: dict[str, _Chosen] = {}
        for each in chosen:
            name = folder_name(each.artifact, wanted.layout)
            if names.setdefault(name.lower(), each) is not each:
                raise invalid_field(
                    "sources",
                    f"{names[name.lower()].version.name} and {each.version.name} would both be written to "
                    f"{place.path}/{name}",
                    next_step="Export them to different folders.",
                )
            kept = self._shelves.kept.at(f"{place.path}/{name}")
            if kept is not None and kept.artifact_uid != each.artifact.uid:
                raise refusals.taken(kept.folder)
            self._check_target(Place(f"{place.path}/{name}", place.root), "folder.path")
            if wanted.keep or kept is not None:
                self._catalog.require_write(caller, each.name)
            if wanted.keep and each.version.name.version != each.artifact.current_version:
                raise invalid_field(
                    "sources",
                    f"expected the latest version of {each.name} to be kept, got {each.version.name}",
                    next_step="Name the artifact itself, or export this version without `keep`.",
                )
        asked = params.ExportParams(
            versions=tuple(str(each.version.name) for each in chosen),
            destination=params.FolderExport(
                path=place.path,
                root=place.root,
                layout=wanted.layout.value,
                names=tuple(folder_name(each.artifact, wanted.layout) for each in chosen),
                artifacts=tuple(each.artifact.uid for each in chosen),
            ),
        )
        return folder_operation(asked, caller.namespace, [each.name for each in chosen])

    def _to_hub(self, caller: Caller, wanted: WantedHub, chosen: Sequence[_Chosen]) -> NewOperation:
        if len(chosen) != 1:
            raise invalid_field(
                "sources",
                f"expected one version for one repository, got {len(chosen)}",
                next_step="Start one export for each.",
            )
        refusals.check_hub(wanted)
        kind = wanted.repository_kind or chosen[0].name.kind.word
        asked = params.ExportParams(
            versions=(str(chosen[0].version.name),),
            destination=params.HubExport.model_validate(
                {
                    "repository": wanted.repository,
                    "repository_kind": kind,
                    "branch": wanted.branch,
                    "private": wanted.private,
                    "message": wanted.message,
                    "server_token": self._tokens.for_writing(caller),
                }
            ),
        )
        return _operation(
            caller, asked, chosen, f"export hub {kind} {wanted.repository.lower()} {wanted.branch or 'main'}"
        )

    def _to_bundle(self, caller: Caller, wanted: WantedBundle, chosen: Sequence[_Chosen]) -> NewOperation:
        if not wanted.path:
            raise invalid_field("bundle.path", "expected the file to write, got nothing")
        place = self._shelves.folders.find(wanted.path, "bundle.path")
        if place.path == place.root or wanted.path.endswith("/"):
            raise invalid_field("bundle.path", f"expected a file, got the folder {wanted.path[:200]!r}")
        if self._shelves.kept.at(place.path) is not None:
            raise refusals.taken(place.path)
        self._check_target(place, "bundle.path", is_file=True)
        twins: dict[str, ArtifactName] = {}
        for each in chosen:
            short = f"{each.name.kind.value}/{each.name.artifact}".lower()
            if twins.setdefault(short, each.name) != each.name:
                raise invalid_field(
                    "sources",
                    f"{twins[short]} and {each.name} have the same id, and a bundle is imported into one "
                    "namespace",
                    next_step="Export them as two bundles.",
                )
        asked = params.ExportParams(
            versions=tuple(str(each.version.name) for each in chosen),
            destination=params.BundleExport(
                path=place.path, root=place.root, since=wanted.since, jobs=self._jobs(caller, chosen)
            ),
        )
        return _operation(caller, asked, chosen, f"export {place.path}")

    def _check_target(self, target: Place, field: str, *, is_file: bool = False) -> None:
        """Refuse names that exports keep for themselves, and what lies inside or around other exports.

        Raises Invalid (BAD_PATH), Precondition (IN_USE).
        """
        names = PurePosixPath(target.path).relative_to(target.root).parts
        if hidden := [name for name in names if name.startswith(".")]:
            message = f"{field}: expected names that do not begin with a dot, got {shortened(hidden[0])!r}."
            raise Invalid(
                Reason.BAD_PATH,
                message,
                next_step="Choose another name: exports keep their own notes in such files.",
                facts={"field": field},
                fields=(FieldProblem(field, message, Reason.BAD_PATH),),
            )
        self._kept.check_free(target.path, is_file=is_file)
        self._shelves.sights.check_around(target.root, target.path)

    def _check(self, operation: NewOperation) -> None:
        """Look at what the body would refuse. Raises Precondition (IN_USE)."""
        asked = params.ExportParams.model_validate(operation.params)
        match asked.destination:
            case params.FolderExport(path=path, names=names, artifacts=artifacts, layout=layout):
                for name, artifact in zip(names, artifacts, strict=True):
                    self._shelves.sights.check_folder(f"{path}/{name}", artifact, Layout(layout))
            case params.BundleExport(path=path):
                self._shelves.sights.check_bundle(path, asked.versions)

    def _place(self, wanted: WantedFolder) -> Place:
        return self._shelves.folders.find(wanted.path, "folder.path") if wanted.path else self._usual

    def _jobs(self, caller: Caller, chosen: Sequence[_Chosen]) -> tuple[params.JobFacts, ...]:
        """Return the facts of the training jobs behind the versions, of those that the caller may see."""
        names = dict.fromkeys(each.version.origin.training_job for each in chosen)
        found: list[params.JobFacts] = []
        for name in names:
            job = self._shelves.jobs.find(name.removeprefix("trainingJobs/")) if name else None
            if job is None or not caller.may_read(job.namespace):
                continue
            config = dataclasses.asdict(job.config)
            metrics = dataclasses.asdict(job.latest_metrics) if job.latest_metrics else {}
            found.append(
                params.JobFacts(
                    name=job.name,
                    dataset_version=str(job.dataset.name),
                    dataset_digest=digests.format_digest(job.dataset.digest),
                    base_version=str(job.base.name) if job.base else "",
                    base_digest=digests.format_digest(job.base.digest) if job.base else "",
                    attempt=job.attempt,
                    training_seconds=job.training_seconds,
                    config={key: value for key, value in config.items() if value is not None},
                    metrics={key: value for key, value in metrics.items() if value is not None},
                )
            )
        if len(found) > _MOST_JOBS:
            raise invalid_field(
                "sources",
                f"expected versions of at most {_MOST_JOBS} training jobs in a bundle, got {len(found)}",
                next_step="Export fewer artifacts at once.",
            )
        return tuple(found)

    # --- keeping ----------------------------------------------------------------------------------------

    def _follow(
        self, caller: Caller, wanted: WantedExport, operation: NewOperation, chosen: Sequence[_Chosen]
    ) -> None:
        """Begin to keep what is exported to a folder, or end it there."""
        folder = wanted.destination
        if not isinstance(folder, WantedFolder):
            return
        place = self._place(folder)
        for each in chosen:
            name = folder_name(each.artifact, folder.layout)
            if not folder.keep:
                self._shelves.kept.remove(f"{place.path}/{name}")
            elif not self._kept.keep(caller, each.artifact, place, name, folder.layout):
                raise refusals.taken(f"{place.path}/{name}")


def folder_name(artifact: Artifact, layout: Layout) -> str:
    """Return what an artifact is called below the folder of an export, without an extension."""
    if layout is Layout.OWNER_UID:
        return f"{artifact.name.namespace}/{artifact.uid}"
    return artifact.name.artifact


def _operation(
    caller: Caller, asked: params.ExportParams, chosen: Sequence[_Chosen], key: str
) -> NewOperation:
    return NewOperation(
        kind="export",
        params=asked.document(),
        target=asked.versions[0] if len(asked.versions) == 1 else "",
        namespace=caller.namespace,
        reads=tuple(dict.fromkeys(each.name.namespace for each in chosen)),
        key=key,
    )
