"""What is said about versions, what is in them, and how two of them differ."""

from collections.abc import Iterator, Mapping, Sequence

from google.protobuf import field_mask_pb2

from ingot.client import _filling, _pages, _structs
from ingot.client._calls import Calls, new_id
from ingot.client._channels import Link
from ingot.client._names import Names, job_name
from ingot.client._references import Reference
from ingot.v1 import catalog_pb2 as pb
from ingot.v1 import catalog_pb2_grpc

_PARTS = {
    "first": pb.PREVIEW_PART_FIRST,
    "last": pb.PREVIEW_PART_LAST,
    "random": pb.PREVIEW_PART_RANDOM,
}


class Versions:
    """Calls of CatalogService about versions; names may be given in any form of `_references.py`."""

    def __init__(self, link: Link, calls: Calls, names: Names) -> None:
        self._stub = catalog_pb2_grpc.CatalogServiceStub(link.channel)
        self._calls = calls
        self._names = names

    def update(
        self,
        ref: str | Reference,
        *,
        changelog: str | None = None,
        metadata: Mapping[str, object] | None = None,
        metrics: Mapping[str, object] | None = None,
        etag: str = "",
    ) -> pb.Version:
        """Change what is said about a version: what is not None replaces what was there.

        With `etag` only if nobody changed it since. Its files never change.
        """
        version = pb.Version(name=self._names.version(ref), etag=etag)
        paths: list[str] = []
        if changelog is not None:
            version.changelog = changelog
            paths.append("changelog")
        if metadata is not None:
            version.metadata.CopyFrom(_structs.struct_of(metadata, "metadata"))
            paths.append("metadata")
        if metrics is not None:
            version.performance_metrics.CopyFrom(_structs.struct_of(metrics, "metrics"))
            paths.append("performance_metrics")
        request = pb.UpdateVersionRequest(
            version=version, update_mask=field_mask_pb2.FieldMask(paths=paths), request_id=new_id()
        )
        return self._calls.unary(self._stub.UpdateVersion, request).version

    def lineage(
        self, ref: str | Reference, *, up: bool = True, down: bool = True, depth: int = 0
    ) -> pb.GetLineageResponse:
        """Return where a version, or a training job (`job_12`), comes from and what came of it.

        `depth` are the steps from there, 0 for the usual ones.
        """
        is_job = isinstance(ref, str) and ref.removeprefix("trainingJobs/").startswith("job_")
        name = job_name(str(ref)) if is_job else self._names.version(ref)
        ways = {(True, False): pb.LINEAGE_DIRECTION_UP, (False, True): pb.LINEAGE_DIRECTION_DOWN}
        way = ways.get((up, down), pb.LINEAGE_DIRECTION_UNSPECIFIED)
        request = pb.GetLineageRequest(name=name, direction=way, depth=depth)
        return self._calls.unary(self._stub.GetLineage, request)

    def compare(
        self,
        base: str | Reference,
        other: str | Reference,
        *,
        include_same: bool = False,
        limit: int | None = None,
    ) -> pb.CompareVersionsResponse:
        """Return what differs from `base` to `other`, with at most `limit` files (all when None)."""
        request = pb.CompareVersionsRequest(
            base=self._names.version(base), other=self._names.version(other), include_same=include_same
        )
        found = pb.CompareVersionsResponse()

        def page(size: int, token: str) -> tuple[Sequence[pb.FileChange], str]:
            request.page_size, request.page_token = max(1, size), token
            reply = self._calls.unary(self._stub.CompareVersions, request)
            if not token:
                found.CopyFrom(reply)
                del found.files[:]
                request.base, request.other = reply.base.name, reply.other.name  # aliases may move meanwhile
            return reply.files, reply.next_page_token

        if limit == 0:
            page(1, "")
        found_files = list(_pages.walk(page, limit))
        found.files.extend(found_files)
        found.next_page_token = ""
        return found

    def summary(self, ref: str | Reference, *, max_tensors: int = 0) -> pb.VersionSummary:
        """Return what the files of a version say about it: facts, files, tensors, findings."""
        request = pb.GetVersionSummaryRequest(name=self._names.version(ref), max_tensors=max_tensors)
        return self._calls.unary(self._stub.GetVersionSummary, request).summary

    def preview(
        self, ref: str | Reference, *, rows: int = 20, part: str = "first", seed: int = 0
    ) -> pb.PreviewVersionResponse:
        """Return rows of a data file: `part` is first, last or random; `datasets/chat:train.jsonl` names one.

        The same seed draws the same random rows.
        """
        found = self._names.reference(ref)
        request = pb.PreviewVersionRequest(
            name=found.name,
            path=found.path,
            part=_filling.one_of(part, _PARTS, "part"),
            rows=rows,
            seed=seed,
        )
        return self._calls.unary(self._stub.PreviewVersion, request)

    def alias_moves(
        self, ref: str | Reference, alias: str, *, limit: int | None = None
    ) -> Iterator[pb.AliasMove]:
        """Yield where an alias of an artifact pointed, the newest move first; `latest` has a history too."""
        name = f"{self._names.artifact(ref)}/aliases/{alias}"

        def page(size: int, token: str) -> tuple[Sequence[pb.AliasMove], str]:
            request = pb.ListAliasMovesRequest(parent=name, page_size=size, page_token=token)
            reply = self._calls.unary(self._stub.ListAliasMoves, request)
            return reply.moves, reply.next_page_token

        return _pages.walk(page, limit)
