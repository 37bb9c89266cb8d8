"""Transfer messages to types of core and back."""

from collections.abc import Iterator

from ingot.content import cuts, digests
from ingot.server.core import manifests
from ingot.server.core.artifacts import NewVersion
from ingot.server.core.chunks import ChunkOutcome, Presence, StreamReceipt
from ingot.server.core.errors import invalid_field
from ingot.server.core.file_uploads import FileClaim, FilePlan, UploadedFile
from ingot.server.core.manifests import FileDraft, FileFacts, Segment
from ingot.server.core.names import UploadName, artifact_name, made_id, namespace_id
from ingot.server.core.training import CheckpointKind, NewCheckpoint
from ingot.server.core.transfer_stores import ChunkRun
from ingot.server.core.upload_stats import UploadStats
from ingot.server.core.uploads import (
    TransferLimits,
    Upload,
    UploadDraft,
    UploadStage,
    UploadState,
    UploadTarget,
)
from ingot.server.domain.downloads import ManifestPage, OpenedTree
from ingot.server.rpc import convert_catalog
from ingot.server.rpc import convert_common as common
from ingot.v1 import transfer_pb2

_OUTCOMES = {
    ChunkOutcome.STORED: transfer_pb2.CHUNK_OUTCOME_STORED,
    ChunkOutcome.ALREADY: transfer_pb2.CHUNK_OUTCOME_ALREADY,
}
PURGE_SECONDS = 24 * 3600.0  # of failed uploads, when the request does not say
_MESSAGE_BYTES = 1024 * 1024
_FILE_OVERHEAD = 256  # bytes of a file's entry beside its segments, about


# --- requests -------------------------------------------------------------------------------------------


def draft_of(request: transfer_pb2.BeginUploadRequest) -> UploadDraft:
    """Return what a caller asks for. Raises Invalid."""
    return UploadDraft(
        target=target_of(request.target),
        namespace=namespace_id(request.namespace, "namespace") if request.namespace else "",
        size_bytes=request.size_bytes,
        original_name=request.original_name,
        description=request.description,
    )


def target_of(message: transfer_pb2.UploadTarget) -> UploadTarget:
    """Return what an upload shall become. Raises Invalid."""
    match message.WhichOneof("target"):
        case "version":
            return _new_version(message.version)
        case "checkpoint":
            return _new_checkpoint(message.checkpoint)
        case _:
            raise invalid_field("target", "expected a version or a checkpoint, got neither")


def files_of(request: transfer_pb2.PutManifestRequest) -> list[FileDraft]:
    """Return the files of a manifest, in full or in part."""
    return [
        FileDraft(
            path=file.path,
            profile=file.profile,
            size_bytes=file.size_bytes,
            segment_count=file.segment_count,
            segments=tuple(Segment(each.index, each.entries) for each in file.segments),
            blake3=file.blake3,
            sha256=file.sha256,
            format=file.format,
        )
        for file in request.files
    ]


def stage_of(value: transfer_pb2.UploadStage.ValueType) -> UploadStage | None:
    """Return the stage to list, None for all. Raises Invalid for one that no upload has."""
    if value == transfer_pb2.UPLOAD_STAGE_UNSPECIFIED:
        return None
    if value not in transfer_pb2.UploadStage.values():
        raise invalid_field("stage", f"expected a stage of an upload, got {value}")
    return UploadStage[transfer_pb2.UploadStage.Name(value).removeprefix("UPLOAD_STAGE_")]


def purge_age_of(request: transfer_pb2.PurgeUploadsRequest) -> float:
    """Return the seconds that an upload must be failed for. Raises Invalid (FIELD_INVALID)."""
    if not request.HasField("older_than"):
        return PURGE_SECONDS
    seconds = common.seconds_of(request.older_than)
    if seconds < 0:
        raise invalid_field("older_than", f"expected 0 or more, got {seconds:g} s")
    return seconds


def file_plan_of(header: transfer_pb2.UploadFileHeader) -> FilePlan:
    """Return where a file goes and what is told of it. Raises Invalid."""
    if header.profile and header.profile not in cuts.PROFILES:
        known = ", ".join(cuts.PROFILES)
        raise invalid_field("header.profile", f"expected one of {known}, or none, got {header.profile!r}")
    path = header.path or header.original_name
    return FilePlan(
        destination=_destination(header),
        path=path,
        claim=FileClaim(
            header.size_bytes if header.HasField("size_bytes") else None, header.blake3, header.sha256
        ),
        format=header.format or manifests.format_of(path),
        profile=header.profile or cuts.TENSOR,
    )


def claim_of(finish: transfer_pb2.UploadFileFinish) -> FileClaim:
    """Return what the end of a stream tells of the file."""
    return FileClaim(finish.size_bytes if finish.HasField("size_bytes") else None, finish.blake3)


def days_of(request: transfer_pb2.GetUploadStatsRequest) -> tuple[float | None, float | None]:
    """Return from when to when uploads count, None without a bound. Raises Invalid (FIELD_INVALID)."""
    first = common.date_of(request.from_time, "from_time") if request.HasField("from_time") else None
    last = common.date_of(request.to_time, "to_time") if request.HasField("to_time") else None
    return first, last


def runs_of(request: transfer_pb2.ReadChunksRequest, limit: int) -> list[ChunkRun]:
    """Return the runs of chunks that are asked for. Raises Invalid (FIELD_INVALID)."""
    if len(request.ranges) > limit:
        raise invalid_field("ranges", f"expected at most {limit} ranges, got {len(request.ranges)}")
    return [ChunkRun(each.path, each.first, each.count) for each in request.ranges]


# --- replies --------------------------------------------------------------------------------------------


def upload(found: Upload) -> transfer_pb2.Upload:
    """Return an upload as a message."""
    return transfer_pb2.Upload(
        name=str(found.name),
        namespace=f"namespaces/{found.namespace}",
        target=target(found.target),
        state=transfer_pb2.UploadState.Value(f"UPLOAD_STATE_{found.state}"),
        stage=transfer_pb2.UploadStage.Value(f"UPLOAD_STAGE_{found.stage}"),
        progress_percent=found.progress_percent,
        stored_bytes=found.stored_bytes,
        stored_chunks=found.stored_chunks,
        missing_chunks=found.missing_chunks if found.state is not UploadState.COMMITTED else 0,
        received_bytes=found.received_bytes,
        size_bytes=found.size_bytes or found.manifest_bytes,
        chunk_count=found.chunk_count,
        original_name=found.original_name,
        description=found.description,
        expire_time=common.timestamp(found.expire_time),
        problem=common.problem(found.problem),
        result=found.result,
        result_digest=digests.format_digest(found.result_digest) if found.result_digest else "",
        creator=found.creator,
        create_time=common.timestamp(found.create_time),
        update_time=common.timestamp(found.update_time),
    )


def target(found: UploadTarget) -> transfer_pb2.UploadTarget:
    """Return what an upload becomes as a message; fields for a missing artifact are not told again."""
    if isinstance(found, NewCheckpoint):
        checkpoint = transfer_pb2.NewCheckpoint(
            training_job=f"trainingJobs/{found.job}",
            step=found.step,
            attempt=found.attempt,
            epoch=found.epoch,
            kind=transfer_pb2.CheckpointKind.Value(f"CHECKPOINT_KIND_{found.kind.name}"),
            metrics=dict(found.metrics),
            world_size=found.world_size,
        )
        return transfer_pb2.UploadTarget(checkpoint=checkpoint)
    version = transfer_pb2.NewVersion(
        artifact=str(found.artifact),
        version_id=found.version_id,
        expected_latest=found.expected_latest,
        changelog=found.changelog,
        metadata=convert_catalog.struct_of(found.metadata),
        performance_metrics=convert_catalog.struct_of(found.performance_metrics),
        aliases=found.aliases,
        format=found.format,
        training_job=found.training_job,
        attempt=found.attempt,
        source=found.source,
        source_commit=found.source_commit,
    )
    return transfer_pb2.UploadTarget(version=version)


def upload_stats(found: UploadStats) -> transfer_pb2.GetUploadStatsResponse:
    """Return counts of uploads as a message."""
    return transfer_pb2.GetUploadStatsResponse(
        total_uploads=found.total,
        successful_uploads=found.successful,
        failed_uploads=found.failed,
        active_uploads=found.active,
        total_files=found.files,
        total_size=found.size,
        average_file_size=found.average_file_size,
    )


def chunk_receipt(found: StreamReceipt, digest: bytes) -> transfer_pb2.PutChunkResponse:
    """Return the acknowledgement of a single chunk as a message."""
    return transfer_pb2.PutChunkResponse(
        outcome=_OUTCOMES[found.outcomes[0]],
        digest=digest,
        lease_expire_time=common.timestamp(found.lease_expires),
    )


def uploaded_file(found: UploadedFile) -> transfer_pb2.UploadFileResponse:
    """Return what became of a file as a message."""
    return transfer_pb2.UploadFileResponse(
        upload=upload(found.upload),
        version=convert_catalog.version_message(found.version) if found.version else None,
        file=file(found.file),
    )


def presence(found: Presence) -> transfer_pb2.FindMissingResponse:
    """Return what is missing as a message."""
    return transfer_pb2.FindMissingResponse(
        missing=found.missing, lease_expire_time=common.timestamp(found.lease_expires)
    )


def receipt(found: StreamReceipt) -> transfer_pb2.PutChunksResponse:
    """Return the acknowledgement of a stream as a message."""
    return transfer_pb2.PutChunksResponse(
        outcomes=[_OUTCOMES[each] for each in found.outcomes],
        stored_bytes=found.stored_bytes,
        already_bytes=found.already_bytes,
        lease_expire_time=common.timestamp(found.lease_expires),
    )


def file(found: FileFacts) -> transfer_pb2.FileEntry:
    """Return a file as a message."""
    return transfer_pb2.FileEntry(
        path=found.path,
        size_bytes=found.size_bytes,
        root=found.root,
        blake3=found.blake3,
        sha256=found.sha256,
        verified=found.verified,
        format=found.format,
        profile=found.profile,
        chunk_count=found.chunk_count,
    )


def manifest_header(opened: OpenedTree) -> transfer_pb2.ManifestHeader:
    """Return what a manifest begins with."""
    tree = opened.tree
    return transfer_pb2.ManifestHeader(
        tree=opened.name,
        digest=digests.format_digest(tree.digest) if tree.digest else "",
        file_count=tree.file_count,
        size_bytes=tree.size_bytes,
    )


def manifest_messages(page: ManifestPage) -> Iterator[transfer_pb2.ReadManifestResponse]:
    """Yield a page in messages of about 1 MiB; a file whose segments do not fit stands again in the next."""
    message, size, last = transfer_pb2.ReadManifestResponse(), 0, ""
    for row in page.rows:
        if size and size + len(row.entries) > _MESSAGE_BYTES:
            yield message
            message, size = transfer_pb2.ReadManifestResponse(), 0
        if not message.files or row.file.path != last:
            message.files.add(file=file(row.file))
            size, last = size + _FILE_OVERHEAD, row.file.path
        if row.position >= 0:
            message.files[-1].segments.add(index=row.position, entries=row.entries)
            size += len(row.entries)
    if message.files:
        yield message


def capabilities(
    limits: TransferLimits, now: float, *, draining: bool
) -> transfer_pb2.GetCapabilitiesResponse:
    """Return all limits as a message; `now` in epoch seconds."""
    return transfer_pb2.GetCapabilitiesResponse(
        digest_functions=["blake3-256"],
        profiles=cuts.PROFILES,
        message_bytes=limits.message_bytes,
        max_message_bytes=limits.max_message_bytes,
        max_chunk_bytes=limits.max_chunk_bytes,
        max_file_bytes=limits.max_file_bytes,
        max_segment_chunks=limits.max_segment_chunks,
        max_digests=limits.max_digests,
        max_stream_bytes=limits.max_stream_bytes,
        min_bytes_per_second=limits.min_bytes_per_second,
        max_streams=limits.max_streams,
        max_read_streams=limits.max_read_streams,
        max_open_uploads=limits.max_open_uploads,
        max_path_bytes=limits.max_path_bytes,
        server_time=common.timestamp(now),
        draining=draining,
        max_dataset_bytes=limits.max_dataset_bytes,
        max_model_bytes=limits.max_model_bytes,
        max_stream_time=common.duration(limits.max_stream_seconds),
        idle_timeout=common.duration(limits.idle_seconds),
        read_idle_timeout=common.duration(limits.read_idle_seconds),
        rate_grace=common.duration(limits.grace_seconds),
        stream_sizes=[
            transfer_pb2.StreamSize(below_bytes=below, stream_bytes=min(stream, limits.max_stream_bytes))
            for below, stream in limits.stream_sizes
        ],
        max_ranges=limits.max_ranges,
        calls_per_second=limits.calls_per_second,
        call_burst=limits.call_burst,
        max_message_chunks=limits.max_message_chunks,
        max_stream_chunks=limits.max_stream_chunks,
        max_message_files=limits.max_message_files,
        max_manifest_calls=limits.max_manifest_calls,
        max_tree_files=limits.max_tree_files,
        max_tree_chunks=limits.max_tree_chunks,
        max_watch_streams=limits.max_watch_streams,
        max_failed_uploads=limits.max_failed_uploads,
        max_upload_life=common.duration(limits.max_life_seconds),
        upload_ttl=common.duration(limits.upload_ttl_seconds),
    )


# --- inside ---------------------------------------------------------------------------------------------


def _destination(header: transfer_pb2.UploadFileHeader) -> UploadDraft | UploadName:
    match header.WhichOneof("destination"):
        case "upload":
            return UploadName(made_id(header.upload, "uploads", "header.upload"))
        case "version":
            return UploadDraft(
                target=_new_version(header.version),
                namespace="",
                size_bytes=header.size_bytes,
                original_name=header.original_name,
                description=header.description,
            )
        case _:
            raise invalid_field("header.destination", "expected a version or an open upload, got neither")


def _new_version(message: transfer_pb2.NewVersion) -> NewVersion:
    return NewVersion(
        artifact=artifact_name(message.artifact, "target.version.artifact"),
        version_id=message.version_id,
        create=(
            convert_catalog.fields_of(message.create, "target.version.create")
            if message.HasField("create")
            else None
        ),
        expected_latest=message.expected_latest if message.HasField("expected_latest") else None,
        changelog=message.changelog,
        metadata=convert_catalog.json_of(message.metadata, "target.version.metadata"),
        performance_metrics=convert_catalog.json_of(
            message.performance_metrics, "target.version.performance_metrics"
        ),
        aliases=tuple(message.aliases),
        format=message.format,
        training_job=message.training_job,
        attempt=message.attempt,
        source=message.source,
        source_commit=message.source_commit,
    )


def _new_checkpoint(message: transfer_pb2.NewCheckpoint) -> NewCheckpoint:
    known = message.kind in transfer_pb2.CheckpointKind.values()
    kind = transfer_pb2.CheckpointKind.Name(message.kind).removeprefix("CHECKPOINT_KIND_") if known else ""
    if kind not in CheckpointKind.__members__:
        expected = ", ".join(CheckpointKind.__members__)
        raise invalid_field("target.checkpoint.kind", f"expected one of {expected}, got {message.kind}")
    return NewCheckpoint(
        job=made_id(message.training_job, "trainingJobs", "target.checkpoint.training_job"),
        step=message.step,
        attempt=message.attempt,
        epoch=message.epoch,
        kind=CheckpointKind[kind],
        world_size=message.world_size,
        metrics=dict(message.metrics),
    )
