"""The catalog: models and datasets, their versions and aliases."""

from collections.abc import Iterator, Mapping, Sequence

from google.protobuf import field_mask_pb2

from ingot.client import _filling, _pages, _structs, _watches
from ingot.client._access import AccessPart, visibility_of
from ingot.client._calls import Calls, new_id
from ingot.client._channels import Link
from ingot.client._errors import Invalid
from ingot.client._names import Names
from ingot.client._references import DATASETS, MODELS, Reference
from ingot.client._trash import TrashPart
from ingot.client._watches import OnBreak
from ingot.v1 import catalog_pb2 as pb
from ingot.v1 import catalog_pb2_grpc

_LIFECYCLES = {"ready": "active"}  # as a system before Ingot says it
_KINDS = {MODELS: pb.ARTIFACT_KIND_MODEL, DATASETS: pb.ARTIFACT_KIND_DATASET}


class Catalog(AccessPart, TrashPart):
    """Calls of CatalogService; names may be given in any form of `_references.py`."""

    def __init__(self, link: Link, calls: Calls, names: Names) -> None:
        self._stub = catalog_pb2_grpc.CatalogServiceStub(link.channel)
        self._calls = calls
        self._names = names

    def create(
        self, ref: str | Reference, fields: pb.Artifact | None = None, *, validate_only: bool = False
    ) -> pb.Artifact:
        """Create a model or dataset without versions; `fields` describe it (see `artifact_fields`)."""
        self._names.artifact(ref)
        named = self._names.reference(ref)
        request = pb.CreateArtifactRequest(
            parent=f"namespaces/{named.namespace}",
            kind=kind_of(named.kind),
            artifact_id=named.artifact,
            artifact=fields,
            request_id=new_id(),
            validate_only=validate_only,
        )
        return self._calls.unary(self._stub.CreateArtifact, request).artifact

    def get(self, ref: str | Reference, *, versions: bool = False) -> pb.Artifact:
        """Return an artifact, on wish with its newest 20 versions."""
        request = pb.GetArtifactRequest(name=self._names.artifact(ref), view=_view(versions))
        return self._calls.unary(self._stub.GetArtifact, request).artifact

    def list(
        self,
        kind: str = "",
        *,
        namespace: str | None = None,
        filter: str = "",
        order_by: str = "",
        versions: bool = False,
        limit: int | None = None,
        deleted: bool = False,
    ) -> Iterator[pb.Artifact]:
        """Yield what one may see: `kind` is models, datasets or empty for both; newest first by default.

        `filter` joins values, comparisons and words, as in `tag:chat AND size_bytes > 10MB small*`; see
        ListArtifacts. `order_by` is create_time, update_time, name, size_bytes or version_count, and ` desc`.
        With `deleted` what is in the trash of the namespaces one may write to.
        """

        def page(size: int, token: str) -> tuple[Sequence[pb.Artifact], str]:
            request = pb.ListArtifactsRequest(
                parent=self._names.parent(namespace),
                kind=kind_of(kind) if kind else pb.ARTIFACT_KIND_UNSPECIFIED,
                page_size=size,
                page_token=token,
                filter=filter,
                order_by=order_by,
                view=_view(versions),
                show_deleted=deleted,
            )
            reply = self._calls.unary(self._stub.ListArtifacts, request)
            return reply.artifacts, reply.next_page_token

        return _pages.walk(page, limit)

    def facets(
        self,
        kind: str = "",
        *,
        namespace: str | None = None,
        filter: str = "",
        fields: Sequence[str] = (),
        max_values: int = 0,
    ) -> pb.GetFacetsResponse:
        """Count what one may see and what matches, and of it each value of some fields.

        Without `fields` those that people narrow lists by; 20 values of each unless `max_values` says more.
        """
        request = pb.GetFacetsRequest(
            parent=self._names.parent(namespace),
            kind=kind_of(kind) if kind else pb.ARTIFACT_KIND_UNSPECIFIED,
            filter=filter,
            fields=fields,
            max_values=max_values,
        )
        return self._calls.unary(self._stub.GetFacets, request)

    def watch(
        self,
        kind: str = "",
        *,
        namespace: str | None = None,
        filter: str = "",
        changes_only: bool = False,
        resume_token: str = "",
        on_break: OnBreak | None = None,
    ) -> Iterator[pb.WatchArtifactsResponse]:
        """Yield the latest state of everything that matches, `synced` once, then each change.

        `gone` is the uid of one that does not match (any more). It does not end by itself. States in between
        may be skipped. Broken connections are resumed with the token of the last message; give that as
        `resume_token` to go on later. With `changes_only` what is there already is left out.
        """

        def open_stream(token: str) -> Iterator[pb.WatchArtifactsResponse]:
            request = pb.WatchArtifactsRequest(
                parent=self._names.parent(namespace),
                kind=kind_of(kind) if kind else pb.ARTIFACT_KIND_UNSPECIFIED,
                filter=filter,
                changes_only=changes_only,
                resume_token=token,
            )
            return self._calls.stream(self._stub.WatchArtifacts, request)

        synced = False
        for message in _watches.go_on(
            self._calls, open_stream, lambda before, now: now.resume_token or before, resume_token, on_break
        ):
            found = message.WhichOneof("message")
            if found in ("artifact", "gone") or (found == "synced" and not synced):
                synced = synced or found == "synced"
                yield message

    def update(
        self, ref: str | Reference, fields: pb.Artifact, paths: Sequence[str], *, etag: str = ""
    ) -> pb.Artifact:
        """Change the fields that `paths` name to their values in `fields`; with `etag` only if unchanged."""
        wanted = pb.Artifact()
        wanted.CopyFrom(fields)
        wanted.name, wanted.etag = self._names.artifact(ref), etag
        request = pb.UpdateArtifactRequest(
            artifact=wanted, update_mask=field_mask_pb2.FieldMask(paths=paths), request_id=new_id()
        )
        return self._calls.unary(self._stub.UpdateArtifact, request).artifact

    def stats(self, kind: str) -> pb.GetCatalogStatsResponse:
        """Return totals over all models or all datasets that one may see."""
        return self._calls.unary(self._stub.GetCatalogStats, pb.GetCatalogStatsRequest(kind=kind_of(kind)))

    def usage(
        self, ref: str | Reference | None = None, *, days: int = 0, activity_size: int = 0
    ) -> pb.GetUsageResponse:
        """Return how an artifact was used, or `namespaces/{id}`; without a reference all of one's own.

        `days` up to today (0: 30) and the number of users and calls (0: 10) bound the answer.
        """
        whole = isinstance(ref, str) and ref.startswith("namespaces/") and ref.count("/") == 1
        if ref is None or whole:
            name = str(ref) if whole else f"namespaces/{self._names.default_namespace}"
        else:
            name = self._names.artifact(ref)
        request = pb.GetUsageRequest(name=name, days=days, activity_size=activity_size)
        return self._calls.unary(self._stub.GetUsage, request)

    def version(self, ref: str | Reference) -> pb.Version:
        """Return one version; an alias, or the artifact for its latest version, is resolved."""
        request = pb.GetVersionRequest(name=self._names.version(ref))
        return self._calls.unary(self._stub.GetVersion, request).version

    def versions(
        self, ref: str | Reference, *, limit: int | None = None, deleted: bool = False
    ) -> Iterator[pb.Version]:
        """Yield the versions of an artifact, newest first; with `deleted` those in the trash."""
        name = self._names.artifact(ref)

        def page(size: int, token: str) -> tuple[Sequence[pb.Version], str]:
            request = pb.ListVersionsRequest(
                parent=name, page_size=size, page_token=token, show_deleted=deleted
            )
            reply = self._calls.unary(self._stub.ListVersions, request)
            return reply.versions, reply.next_page_token

        return _pages.walk(page, limit)

    def set_alias(self, ref: str | Reference, alias: str, *, etag: str = "") -> pb.Alias:
        """Point `alias` at the version that `ref` names; creates the alias when needed."""
        named = self._names.reference(ref)
        request = pb.SetAliasRequest(
            name=f"{named.artifact_name}/aliases/{alias}",
            version=self._names.version(ref),
            etag=etag,
            request_id=new_id(),
        )
        return self._calls.unary(self._stub.SetAlias, request).alias

    def delete_alias(
        self, ref: str | Reference, alias: str, *, allow_missing: bool = False, etag: str = ""
    ) -> None:
        """Remove an alias of an artifact; the version it pointed at stays."""
        request = pb.DeleteAliasRequest(
            name=f"{self._names.artifact(ref)}/aliases/{alias}",
            etag=etag,
            allow_missing=allow_missing,
            request_id=new_id(),
        )
        self._calls.unary(self._stub.DeleteAlias, request)

    def aliases(self, ref: str | Reference, *, limit: int | None = None) -> Iterator[pb.Alias]:
        """Yield the aliases of an artifact by name; `latest` is among them once a version is ready."""
        name = self._names.artifact(ref)

        def page(size: int, token: str) -> tuple[Sequence[pb.Alias], str]:
            request = pb.ListAliasesRequest(parent=name, page_size=size, page_token=token)
            reply = self._calls.unary(self._stub.ListAliases, request)
            return reply.aliases, reply.next_page_token

        return _pages.walk(page, limit)


def artifact_fields(
    *,
    display_name: str = "",
    description: str = "",
    card: str = "",
    tags: Sequence[str] = (),
    language: str = "",
    license: str = "",
    framework: str = "",
    task_type: str = "",
    model_type: str = "",
    format: str = "",
    source: str = "",
    requirements: Mapping[str, object] | None = None,
    metadata: Mapping[str, object] | None = None,
    visibility: str = "",
    lifecycle: str = "",
    validation: pb.ValidationPolicy | None = None,
) -> pb.Artifact:
    """Return the describing fields of an artifact, for create, update and push.

    `visibility` is private, internal or public; `lifecycle` active (or ready), deprecated or archived.
    """
    fields = pb.Artifact(
        display_name=display_name,
        description=description,
        card=card,
        tags=tags,
        language=language,
        license=license,
        framework=framework,
        task_type=task_type,
        model_type=model_type,
        format=format,
        source=source,
        validation=validation,
    )
    if requirements:
        fields.requirements.CopyFrom(_structs.struct_of(requirements, "requirements"))
    if metadata:
        fields.metadata.CopyFrom(_structs.struct_of(metadata, "metadata"))
    if visibility:
        fields.visibility = visibility_of(visibility)
    if lifecycle:
        fields.lifecycle = pb.ArtifactLifecycle.Value(
            _enum_name(
                "lifecycle",
                "ARTIFACT_LIFECYCLE",
                _LIFECYCLES.get(lifecycle.lower(), lifecycle),
                pb.ArtifactLifecycle.keys(),
            )
        )
    return fields


def validation_policy(
    mode: str = "server", rules: pb.ValidationRules | Mapping[str, object] | None = None
) -> pb.ValidationPolicy:
    """Return what the versions of an artifact must pass before others see them, for `artifact_fields`.

    `mode` is required, none, or server for what the server is set to. Rules may be a mapping by their names
    in the API, such as {"min_records": 100}.
    """
    modes = {"server": pb.VALIDATION_MODE_UNSPECIFIED, "none": pb.VALIDATION_MODE_NONE}
    modes["required"] = pb.VALIDATION_MODE_REQUIRED
    return pb.ValidationPolicy(
        mode=_filling.one_of(mode, modes, "mode"),
        rules=_filling.filled(pb.ValidationRules(), rules, "rules"),
    )


def kind_of(word: str) -> pb.ArtifactKind.ValueType:
    """Return the kind behind `models` or `datasets`. Raises Invalid."""
    if word not in _KINDS:
        raise Invalid(
            f"kind: expected models or datasets, got {word!r}.",
            reason="FIELD_INVALID",
            next_step="Write models or datasets.",
        )
    return _KINDS[word]


def _view(versions: bool) -> pb.ArtifactView.ValueType:
    return pb.ARTIFACT_VIEW_WITH_VERSIONS if versions else pb.ARTIFACT_VIEW_BASIC


def _enum_name(field: str, prefix: str, word: str, known: Sequence[str]) -> str:
    name = f"{prefix}_{word.upper()}"
    if name not in known or name.endswith("_UNSPECIFIED"):
        words = [
            each.removeprefix(f"{prefix}_").lower() for each in known if not each.endswith("_UNSPECIFIED")
        ]
        raise Invalid(
            f"{field}: expected one of {', '.join(words)}, got {word!r}.",
            reason="FIELD_INVALID",
            next_step=f"Use {words[0]} for example.",
        )
    return name
