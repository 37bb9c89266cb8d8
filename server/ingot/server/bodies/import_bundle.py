"""Import a signed bundle: nothing is made before all of it is verified.

    signature → every digest → what is here already → versions, one after the other, with the cuts they had

A version that is here with the same digest is skipped, so that an import that was killed goes on; one that is
here with another digest is refused before anything is made. It needs no network but the server's own socket.
"""

import shutil
from pathlib import Path

from google.protobuf import json_format, struct_pb2

from ingot.client import NotFound, PlacedFile, TransferProgress
from ingot.server.bodies.failures import BodyFailure
from ingot.server.bodies.work import Work
from ingot.server.core import names, params
from ingot.server.core.errors import Reason
from ingot.server.sources.bundle_manifest import BundledArtifact, BundledVersion, JsonFields
from ingot.server.sources.bundles import Bundle
from ingot.server.sources.signing import SigningKey
from ingot.v1 import catalog_pb2, transfer_pb2

_LINEAGE = "lineage"  # key in the metadata of a version that was trained elsewhere


def run(work: Work[params.ImportParams]) -> params.ImportResult:
    """Make the versions of a bundle in the namespace of the target."""
    source = work.params.source
    assert isinstance(source, params.BundleImport)
    with Bundle.open(Path(source.path), _trusted(work, source.signer)) as bundle:
        if not source.anyones:
            _check_readable(work, bundle)
        bundle.verify(lambda done, total: work.progress(done, total, phase="verifying"))
        return _Import(work, bundle).run()


def _trusted(work: Work[params.ImportParams], signer: str) -> frozenset[str]:
    """Return the keys that may have signed it: the one that was named, else those the server trusts."""
    if signer:
        return frozenset({signer.lower()})
    own = SigningKey.of_folder(Path(work.settings.text("data_dir"))).name
    return frozenset({own, *(each.lower() for each in work.settings.texts("trusted_bundle_keys"))})


def _check_readable(work: Work[params.ImportParams], bundle: Bundle) -> None:
    """Refuse a bundle of this server with what the requester may not see here: folders are shared by all.

    What somebody exported from the namespace that is filled comes back, also when it was removed since.
    Raises BodyFailure (SOURCE_DENIED).
    """
    if bundle.signer != SigningKey.of_folder(Path(work.settings.text("data_dir"))).name:
        return  # its names mean nothing here; whoever put it into the folder decided about it
    filled = names.artifact_name(work.params.target.artifact, "target.artifact").namespace
    for artifact in bundle.manifest.artifacts:
        if names.artifact_name(artifact.name).namespace == filled:
            continue
        try:
            work.client.catalog.get(artifact.name)
        except NotFound as error:
            raise BodyFailure(
                Reason.SOURCE_DENIED,
                f"The bundle {bundle.path.name} holds something of another namespace of this server that is "
                "not yours to see.",
                next_step="Ask its owner to share it, or an administrator to import the bundle.",
                facts={"path": str(bundle.path)},
            ) from error


class _Import:
    """One bundle, verified, on its way into a namespace."""

    def __init__(self, work: Work[params.ImportParams], bundle: Bundle) -> None:
        self._work = work
        self._bundle = bundle
        self._namespace = names.artifact_name(work.params.target.artifact, "target.artifact").namespace
        self._jobs = {job.name: job for job in bundle.manifest.jobs}

    def run(self) -> params.ImportResult:
        """Find out what is missing, and make that unless only a look was asked for."""
        wanted = [
            (artifact, version, self._name(artifact, version))
            for artifact in self._bundle.manifest.artifacts
            for version in artifact.versions
        ]
        self._check_names([name for _, _, name in wanted])
        missing = [each for each in wanted if not self._is_here(each[1], each[2])]
        needed = sum(version.size for _, version, _ in missing)
        made = 0
        if not self._work.params.check_only:
            for artifact, version, name in missing:
                made += self._make(artifact, version, name)
        latest = wanted[-1]
        return params.ImportResult(
            version="" if self._work.params.check_only and missing else latest[2],
            versions=tuple(name for _, _, name in wanted),
            existed=not missing,
            source=self._bundle.path.name,
            digest=latest[1].digest,
            file_count=sum(len(version.files) for _, version, _ in wanted),
            size_bytes=sum(version.size for _, version, _ in wanted),
            fetched_bytes=made,
            free_bytes=shutil.disk_usage(self._work.settings.text("data_dir")).free,
            needed_bytes=needed,
        )

    def _name(self, artifact: BundledArtifact, version: BundledVersion) -> str:
        """Return what a version of the bundle is called here."""
        told = names.artifact_name(artifact.name)
        here = names.ArtifactName(self._namespace, told.kind, told.artifact)
        return str(here.version(version.version))

    def _check_names(self, wanted: list[str]) -> None:
        """Refuse two versions that would get one name. Raises BodyFailure (NAME_COLLIDES)."""
        seen: set[str] = set()
        for name in wanted:
            if name.lower() in seen:
                raise BodyFailure(
                    Reason.NAME_COLLIDES,
                    f"Two versions of the bundle would both become {name}.",
                    next_step="Export their artifacts as two bundles, and import these into two namespaces.",
                    facts={"name": name},
                )
            seen.add(name.lower())

    def _is_here(self, version: BundledVersion, name: str) -> bool:
        """Return whether a version is here already. Raises BodyFailure (NAME_TAKEN) for another content."""
        try:
            found = self._work.client.catalog.version(name)
        except NotFound:
            return False
        if found.digest != version.digest:
            raise BodyFailure(
                Reason.NAME_TAKEN,
                f"{name} is here with the digest {found.digest}; the bundle has {version.digest}. Nothing "
                "was imported.",
                next_step="Import it into another namespace; the content of a version never changes.",
                facts={"name": name, "expected": version.digest, "found": found.digest},
            )
        return True

    def _make(self, artifact: BundledArtifact, version: BundledVersion, name: str) -> int:
        """Push a version with the cuts it had; return the bytes that the server lacked."""

        def tell(now: TransferProgress) -> None:
            self._work.progress(
                now.bytes_moved + now.bytes_reused, now.bytes_total, phase="storing", message=name
            )

        self._work.check()
        files = [
            PlacedFile(file.path, file.size, self._bundle.entries(file.segments), file.profile)
            for file in version.files
        ]
        target = transfer_pb2.NewVersion(
            artifact=name.rpartition("/versions/")[0],
            version_id=version.version,
            create=self._fields(artifact),
            changelog=version.changelog,
            metadata=_struct(self._metadata(version)),
            performance_metrics=_struct(version.performance_metrics),
            aliases=version.aliases,
            format=version.format,
            source=version.name,
            source_commit=version.origin.hub_commit,
        )
        done = self._work.client.trees.push(
            target, self._bundle.path, files, locate=self._bundle.locate, on_progress=tell
        )
        self._work.log(f"made {done.name} with {done.digest}")
        return done.sent_bytes

    def _fields(self, artifact: BundledArtifact) -> catalog_pb2.Artifact:
        """Return the fields of an artifact that has to be made; who may see it is decided here, not there."""
        told = self._work.params.target.visibility.upper() or "PRIVATE"
        return catalog_pb2.Artifact(
            display_name=artifact.display_name,
            description=artifact.description,
            card=artifact.card,
            tags=artifact.tags,
            language=artifact.language,
            license=artifact.license,
            framework=artifact.framework,
            task_type=artifact.task_type,
            model_type=artifact.model_type,
            source=artifact.source,
            requirements=_struct(artifact.requirements),
            metadata=_struct(artifact.metadata),
            visibility=catalog_pb2.Visibility.Value(f"VISIBILITY_{told}"),
            lifecycle=catalog_pb2.ArtifactLifecycle.Value(f"ARTIFACT_LIFECYCLE_{artifact.lifecycle}"),
        )

    def _metadata(self, version: BundledVersion) -> JsonFields:
        """Return the metadata of a version, with its lineage where it has one and none is told yet."""
        origin = {key: value for key, value in version.origin.model_dump(mode="json").items() if value}
        job = self._jobs.get(version.origin.training_job)
        if job is not None:
            origin["job"] = job.model_dump(mode="json")
        if not origin or _LINEAGE in version.metadata:
            return version.metadata
        return {**version.metadata, _LINEAGE: origin}


def _struct(values: JsonFields) -> struct_pb2.Struct:
    return json_format.ParseDict(values, struct_pb2.Struct())
