"""Answers of a server that has a dataset, a model, jobs and so on: one of each, always the same."""

from google.protobuf import duration_pb2, timestamp_pb2

from helpers.canned_server import CannedServer
from ingot.v1 import (
    auth_pb2,
    catalog_pb2,
    common_pb2,
    errors_pb2,
    operations_pb2,
    system_pb2,
    training_pb2,
    workers_pb2,
)
from ingot.v1 import transfer_pb2 as transfer

DATASET = "namespaces/ada/datasets/chat"
MODEL = "namespaces/ada/models/tiny"
DIGEST = "blake3:" + "ab" * 32
JOB = "trainingJobs/job_1"


def at(second: int) -> timestamp_pb2.Timestamp:
    """Return a moment on 2026-03-04, `second` seconds after 05:06:00 UTC."""
    return timestamp_pb2.Timestamp(seconds=1772600760 + second)


def lasting(seconds: float) -> duration_pb2.Duration:
    """Return a span."""
    return duration_pb2.Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))


def version(number: int, **changes: object) -> catalog_pb2.Version:
    """Return a version of the dataset."""
    made = catalog_pb2.Version(
        name=f"{DATASET}/versions/{number}",
        state=catalog_pb2.VERSION_STATE_READY,
        changelog=f"change {number}",
        format="jsonl",
        digest=DIGEST,
        file_count=2,
        size_bytes=786432,
        new_bytes=4096,
        storage_uri=f"ingot://chat/{number}",
        origin=catalog_pb2.VersionOrigin(upload=f"uploads/file_{number}"),
        creator="users/ada",
        create_time=at(number),
        ready_time=at(number),
        aliases=["latest", "prod"] if number == 2 else [],
    )
    made.metadata.update({"rows": 800, "note": "گفتگو"})
    made.performance_metrics.update({"accuracy": 97.5})
    return made


def artifact(*, versions: bool = False) -> catalog_pb2.Artifact:
    """Return the dataset."""
    return catalog_pb2.Artifact(
        name=DATASET,
        uid="0190-chat",
        kind=catalog_pb2.ARTIFACT_KIND_DATASET,
        display_name="گفتگوهای کوتاه",
        description="Small talk in two languages",
        tags=["chat", "persian"],
        language="fa,en",
        license="CC-BY-4.0",
        format="jsonl",
        source="manual",
        visibility=catalog_pb2.VISIBILITY_PRIVATE,
        lifecycle=catalog_pb2.ARTIFACT_LIFECYCLE_ACTIVE,
        owner="users/ada",
        current_version=f"{DATASET}/versions/2",
        version_count=2,
        size_bytes=786432,
        stored_bytes=800000,
        usage=catalog_pb2.Usage(
            download_count=3,
            access_count=9,
            total_requests=12,
            unique_users=2,
            first_downloaded_by="omid",
            first_principal="users/sara",
            first_downloaded_from="10.0.0.7",
            first_download_time=at(9),
        ),
        create_time=at(0),
        update_time=at(5),
        etag='"5"',
        versions=[version(2), version(1)] if versions else [],
    )


def dashboard(activity: common_pb2.Activity) -> system_pb2.GetDashboardResponse:
    """Return the dashboard."""
    return system_pb2.GetDashboardResponse(
        total_models=3,
        total_datasets=1,
        model_version_count=12,
        dataset_version_count=2,
        user_count=4,
        total_size_bytes=1 << 33,
        model_size_bytes=1 << 32,
        dataset_size_bytes=786432,
        stored_bytes=1 << 31,
        folder_bytes=(1 << 31) + 4_000_000,
        folder_time=at(58),
        disk_total_bytes=1 << 40,
        disk_free_bytes=1 << 39,
        total_requests=12,
        download_count=3,
        access_count=9,
        unique_users=2,
        call_count=1234,
        days=[system_pb2.DashboardDay(start_time=at(0), download_count=3, access_count=9, call_count=1234)],
        recent_activity=[activity],
        most_downloaded=[system_pb2.ArtifactUse(name=DATASET, usage=artifact().usage)],
        active_uploads=1,
        failed_uploads=2,
        operations=[
            system_pb2.OperationCount(queue="download", state=operations_pb2.OPERATION_STATE_RUNNING, count=2)
        ],
        training_jobs=[system_pb2.TrainingJobCount(state=training_pb2.TRAINING_JOB_STATE_RUNNING, count=1)],
        workers=[system_pb2.WorkerCount(state=workers_pb2.WORKER_STATE_ONLINE, count=1)],
        pending_approvals=1,
        problems=[
            system_pb2.ProblemCount(
                reason=errors_pb2.ERROR_REASON_CHUNK_HASH_MISMATCH,
                count=2,
                total_count=5,
                days=[system_pb2.ProblemDay(start_time=at(0), count=2)],
                last_time=at(40),
                last_method="TransferService/PutChunks",
                last_code="INVALID_ARGUMENT",
                last_target="uploads/file_3",
                last_principal="users/ada",
                last_message="Chunk 7 is not what its digest says; expected blake3:00, got blake3:11.",
                last_request_id="r-2",
            )
        ],
        methods=[
            system_pb2.MethodCount(
                method="CatalogService/GetArtifact",
                count=1000,
                failed_count=3,
                p50=lasting(0.0012),
                p95=lasting(0.004),
                p99=lasting(0.02),
                total=lasting(1.5),
            ),
            system_pb2.MethodCount(method="SystemService/GetHealth", count=234),
        ],
    )


def settings() -> list[system_pb2.SettingValue]:
    """Return two settings."""
    return [
        system_pb2.SettingValue(
            name="activity_days",
            value="7",
            origin="INGOT_ACTIVITY_DAYS",
            help="How long the record of calls is kept, in days.",
            default_value="90",
            kind="whole number",
            populated=True,
        ),
        system_pb2.SettingValue(
            name="hub_token", origin="/etc/ingot.toml", kind="text", secret=True, populated=True
        ),
    ]


def job(
    state: training_pb2.TrainingJobState.ValueType = training_pb2.TRAINING_JOB_STATE_RUNNING,
) -> training_pb2.TrainingJob:
    """Return the training job."""
    return training_pb2.TrainingJob(
        name=JOB,
        display_name="persian-chat-small",
        namespace="namespaces/ada",
        dataset_version=f"{DATASET}/versions/2",
        dataset_digest=DIGEST,
        output_artifact=MODEL,
        config=training_pb2.TrainingConfig(hidden_size=192, learning_rate=0.002, use_gpu=False),
        deepspeed=training_pb2.DeepSpeedConfig(zero_stage=1),
        plan=training_pb2.TrainingPlan(
            steps=120,
            tokens=245760,
            parameters=1900000,
            memory_bytes=1 << 29,
            disk_bytes=1 << 27,
            global_batch_size=8,
        ),
        state=state,
        desired_state=training_pb2.DESIRED_STATE_RUN,
        attempt=1,
        worker="workers/worker_1",
        progress=common_pb2.Progress(
            phase="training", done=30, total=120, unit="steps", percent=25, rate=1.5, eta=lasting(60)
        ),
        latest_metrics=common_pb2.Metrics(
            step=30,
            epoch=0.25,
            values={
                "loss": 2.25,
                "smoothed_loss": 2.5,
                "learning_rate": 0.0018,
                "tokens_per_second": 12345.0,
            },
        ),
        latest_checkpoint=f"{JOB}/checkpoints/20",
        training_time=lasting(20),
        creator="users/ada",
        create_time=at(10),
        start_time=at(12),
    )


def failed() -> training_pb2.TrainingJob:
    """Return the job as it failed."""
    made = job(training_pb2.TRAINING_JOB_STATE_FAILED)
    made.problem.message = "The loss is not a number since step 31."
    made.problem.next_step = "Lower the learning rate."
    made.problem.facts["log_seq"] = "77"
    made.finish_time.CopyFrom(at(40))
    return made


def upload() -> transfer.Upload:
    """Return an open upload."""
    return transfer.Upload(
        name="uploads/file_3",
        namespace="namespaces/ada",
        target=transfer.UploadTarget(version=transfer.NewVersion(artifact=DATASET)),
        state=transfer.UPLOAD_STATE_OPEN,
        stage=transfer.UPLOAD_STAGE_UPLOADING,
        progress_percent=50,
        stored_bytes=393216,
        stored_chunks=5,
        received_bytes=400000,
        size_bytes=786432,
        chunk_count=10,
        original_name="chat",
        description="Uploaded chat",
        creator="users/ada",
        create_time=at(20),
        update_time=at(21),
        expire_time=at(3600),
    )


def operation(state: str, kind: str = "import") -> operations_pb2.Operation:
    """Return an import of two files, or another kind of work, in a state such as RUNNING."""
    made = operations_pb2.Operation(
        name="operations/op_12",
        kind=kind,
        target=MODEL,
        queue="download",
        state=operations_pb2.OperationState.Value(f"OPERATION_STATE_{state}"),
        attempt=0 if state == "QUEUED" else 2,
        retry_policy=operations_pb2.RetryPolicy(max_attempts=5, delay=lasting(30), multiplier=1),
        timeout=lasting(36000),
        requester="users/ada",
        create_time=at(1),
        namespace="namespaces/ada",
        etag='"7"',
    )
    made.params.update({"source": {"kind": "hub", "repository": "google/tiny"}, "force": False})
    if state != "QUEUED":
        made.start_time.CopyFrom(at(3))
    if state == "RUNNING":
        made.progress.CopyFrom(fetching(0.25))
    if state in ("SUCCEEDED", "FAILED", "CANCELLED"):
        made.finish_time.CopyFrom(at(45))
    if state == "FAILED":
        made.problem.reason = errors_pb2.ERROR_REASON_SOURCE_DENIED
        made.problem.message = "google/tiny is private or gated, and no token is kept for huggingface.co."
        made.problem.next_step = "Keep one: ingot credentials set huggingface.co"
        made.problem.facts["repository"] = "google/tiny"
    return made


def fetching(share: float) -> common_pb2.Progress:
    """Return how far the import is: two files of 96 and 32 MiB come side by side."""
    mib = 1 << 20
    return common_pb2.Progress(
        phase="fetching",
        done=int(128 * mib * share),
        total=128 * mib,
        unit="bytes",
        percent=100 * share,
        rate=4 * mib,
        eta=lasting(32 * (1 - share)),
        files=[
            common_pb2.FileProgress(path="model.safetensors", done=int(96 * mib * share), total=96 * mib),
            common_pb2.FileProgress(path="tokenizer.json", done=int(32 * mib * share), total=32 * mib),
        ],
    )


def recovered() -> operations_pb2.Operation:
    """Return what the server did for itself when it started."""
    made = operations_pb2.Operation(
        name="operations/op_1",
        kind="recover",
        state=operations_pb2.OPERATION_STATE_SUCCEEDED,
        attempt=1,
        requester="system",
        create_time=at(1),
        finish_time=at(2),
    )
    made.result.update({"packs": 3})
    return made


def kinds() -> list[operations_pb2.OperationKind]:
    """Return two kinds of operations."""
    policy = operations_pb2.RetryPolicy(max_attempts=5, delay=lasting(30), multiplier=1)
    fetch = operations_pb2.OperationKind(
        kind="import",
        description="Fetch a Hub repository, URLs or a bundle and make a version of it.",
        queue="download",
        queue_limit=2,
        retry_policy=policy,
        timeout=lasting(36000),
    )
    fetch.params_schema.update(
        {
            "properties": {
                "force": {"type": "boolean", "description": "Fetch even when that content is here already."},
                "source": {"oneOf": [{"$ref": "#/$defs/HubImport"}, {"$ref": "#/$defs/UrlImport"}]},
            }
        }
    )
    scrub = operations_pb2.OperationKind(
        kind="scrub",
        description="Read a share of the stored chunks and check their digests.",
        queue="maintenance",
        queue_limit=1,
        retry_policy=operations_pb2.RetryPolicy(max_attempts=3, delay=lasting(10), multiplier=2),
        timeout=lasting(36000),
        period=lasting(86400),
        next_time=at(3600),
    )
    return [fetch, scrub]


def install(server: CannedServer) -> None:
    """Write down every answer."""
    _catalog(server)
    _training(server)
    _around(server)
    _governance(server)


def approval() -> catalog_pb2.Approval:
    """An approval that was given."""
    checks = [
        catalog_pb2.EvidenceCheck(
            name="validation",
            passed=True,
            required=True,
            expected="its last validation passed",
            found="operations/op_12: 7 records, no findings",
        ),
        catalog_pb2.EvidenceCheck(
            name="metric:agreement", passed=False, required=True, expected="at least 0.9", found="none"
        ),
    ]
    return catalog_pb2.Approval(
        name="approvals/approval_1",
        version=f"{DATASET}/versions/2",
        state=catalog_pb2.APPROVAL_STATE_DECLINED,
        requester="users/ada",
        creator="users/ada",
        comment="cleaned by hand",
        evidence=catalog_pb2.Evidence(checks=checks, time=at(7)),
        create_time=at(6),
        decider="users/sara",
        decision_comment="not measured",
        decide_time=at(7),
        etag="1",
    )


def _governance(server: CannedServer) -> None:
    found = approval()
    server.answer("CatalogService/ListApprovals", catalog_pb2.ListApprovalsResponse(approvals=[found]))
    server.answer("CatalogService/GetApproval", catalog_pb2.GetApprovalResponse(approval=found))
    server.answer("CatalogService/RequestApproval", catalog_pb2.RequestApprovalResponse(approval=found))
    server.answer("CatalogService/DecideApproval", catalog_pb2.DecideApprovalResponse(approval=found))
    server.answer("CatalogService/WithdrawApproval", catalog_pb2.WithdrawApprovalResponse(approval=found))
    entry = system_pb2.AuditEntry(
        number=3,
        time=at(6),
        action="update",
        method="CatalogService/UpdateArtifact",
        target=DATASET,
        principal="users/ada",
        user="ada",
        token="users/ada/tokens/tok_1",
        declared_user="ada",
        address="127.0.0.1",
        client="ingot-python/0.1.0",
        request_id="call-1",
        code="OK",
        facts={"fields": "license"},
        previous="blake3:" + 64 * "1",
        hash="blake3:" + 64 * "2",
    )
    head = system_pb2.AuditHead(
        server="server-1",
        number=3,
        hash=entry.hash,
        time=at(7),
        key="ed25519:" + 64 * "a",
        signature=b"\1" * 64,
    )
    server.answer(
        "SystemService/ListAuditEntries", system_pb2.ListAuditEntriesResponse(entries=[entry], head=head)
    )
    server.answer(
        "SystemService/VerifyAudit",
        system_pb2.VerifyAuditResponse(
            checked=3, complete=True, last_number=3, last_hash=entry.hash, head=head
        ),
    )


def _catalog(server: CannedServer) -> None:
    server.answer("CatalogService/ListArtifacts", catalog_pb2.ListArtifactsResponse(artifacts=[artifact()]))
    server.answer(
        "CatalogService/GetArtifact", catalog_pb2.GetArtifactResponse(artifact=artifact(versions=True))
    )
    server.answer("CatalogService/GetVersion", catalog_pb2.GetVersionResponse(version=version(2)))
    server.answer("CatalogService/UpdateArtifact", catalog_pb2.UpdateArtifactResponse(artifact=artifact()))
    lost = catalog_pb2.DeleteArtifactResponse(artifact=artifact(), version_count=2, size_bytes=1572864)
    server.answer("CatalogService/DeleteArtifact", lost)
    alias = catalog_pb2.Alias(
        name=f"{DATASET}/aliases/prod",
        version=f"{DATASET}/versions/2",
        update_time=at(6),
        updated_by="users/ada",
    )
    server.answer("CatalogService/ListAliases", catalog_pb2.ListAliasesResponse(aliases=[alias]))
    server.answer("CatalogService/SetAlias", catalog_pb2.SetAliasResponse(alias=alias))
    server.answer("CatalogService/DeleteAlias", catalog_pb2.DeleteAliasResponse())
    reader = catalog_pb2.Grant(user="users/sara", granted_by="users/ada", create_time=at(5))
    access = catalog_pb2.Access(
        name=DATASET,
        visibility=catalog_pb2.VISIBILITY_PRIVATE,
        owner="users/ada",
        readers=[reader],
        etag="1",
    )
    server.answer("CatalogService/GetAccess", catalog_pb2.GetAccessResponse(access=access))
    server.answer("CatalogService/SetAccess", catalog_pb2.SetAccessResponse(access=access))
    stats = catalog_pb2.GetCatalogStatsResponse(
        total_count=1,
        total_size_bytes=1572864,
        version_count=2,
        languages=[catalog_pb2.ValueCount(value="fa", count=1)],
        formats=[catalog_pb2.ValueCount(value="jsonl", count=1)],
        tags=[catalog_pb2.ValueCount(value="chat", count=1)],
    )
    server.answer("CatalogService/GetCatalogStats", stats)
    file = transfer.FileEntry(
        path="chat.jsonl", size_bytes=786432, root=b"\xcd" * 32, format="jsonl", profile="cdc", chunk_count=12
    )
    server.answer(
        "TransferService/ListFiles", transfer.ListFilesResponse(files=[file], tree=f"{DATASET}/versions/2")
    )
    server.answer(
        "TransferService/StatFile", transfer.StatFileResponse(file=file, tree=f"{DATASET}/versions/2")
    )
    server.answer("TransferService/ListUploads", transfer.ListUploadsResponse(uploads=[upload()]))
    server.answer("TransferService/GetUpload", transfer.GetUploadResponse(upload=upload()))
    server.answer(
        "TransferService/GetUploadStats",
        transfer.GetUploadStatsResponse(
            total_uploads=7,
            successful_uploads=4,
            failed_uploads=2,
            active_uploads=1,
            total_files=12,
            total_size=3_600_000,
            average_file_size=300_000.0,
        ),
    )
    server.answer("TransferService/AbortUpload", transfer.AbortUploadResponse(upload=upload()))


def _training(server: CannedServer) -> None:
    server.answer(
        "TrainingService/ListTrainingJobs", training_pb2.ListTrainingJobsResponse(training_jobs=[job()])
    )
    server.answer("TrainingService/GetTrainingJob", training_pb2.GetTrainingJobResponse(training_job=job()))
    server.answer(
        "TrainingService/CreateTrainingJob", training_pb2.CreateTrainingJobResponse(training_job=job())
    )
    server.answer(
        "TrainingService/PauseTrainingJob", training_pb2.PauseTrainingJobResponse(training_job=job())
    )
    gone = training_pb2.DeleteTrainingJobResponse(checkpoint_count=2, size_bytes=1 << 21)
    server.answer("TrainingService/DeleteTrainingJob", gone)
    points = [
        training_pb2.MetricPoint(step=step, value=4 - step / 20, time=at(step)) for step in (10, 20, 30)
    ]
    series = [training_pb2.MetricSeries(name="loss", points=points)]
    server.answer(
        "TrainingService/ListTrainingMetrics", training_pb2.ListTrainingMetricsResponse(series=series)
    )
    checkpoint = training_pb2.Checkpoint(
        name=f"{JOB}/checkpoints/20",
        step=20,
        epoch=0.17,
        digest=DIGEST,
        size_bytes=1 << 20,
        file_count=4,
        metrics={"val/loss": 2.4},
        kind=transfer.CHECKPOINT_KIND_PERIODIC,
        attempt=1,
        create_time=at(30),
    )
    server.answer(
        "TrainingService/ListCheckpoints", training_pb2.ListCheckpointsResponse(checkpoints=[checkpoint])
    )
    lines = [
        training_pb2.ReadTrainingLogsResponse(
            seq=number, time=at(number), line=common_pb2.LogLine(level=level, rank=rank, text=text)
        )
        for number, level, rank, text in (
            (3, common_pb2.LOG_LEVEL_INFO, -1, "fetching datasets/ada/chat@2"),
            (7, common_pb2.LOG_LEVEL_WARNING, 0, "12 records were cut"),
        )
    ]
    server.answer("TrainingService/ReadTrainingLogs", lines)
    server.answer(
        "TrainingService/GetTrainingStats",
        training_pb2.GetTrainingStatsResponse(
            total_jobs=3, running_jobs=1, completed_jobs=2, total_training_time_ms=95000
        ),
    )


def _around(server: CannedServer) -> None:
    health = system_pb2.GetHealthResponse(
        status=system_pb2.HEALTH_STATUS_HEALTHY,
        parts=[
            system_pb2.HealthPart(
                name="database", status=system_pb2.HEALTH_STATUS_HEALTHY, message="writes 0.4 ms"
            )
        ],
        mount_point="/srv/ingot",
        database_version="3.51.3",
        write_queue=system_pb2.WriteQueue(length=0, longest_wait=lasting(0.25)),
        active_uploads=1,
        total_files=4,
        start_time=at(0),
    )
    server.answer("SystemService/GetHealth", health)
    server.answer(
        "SystemService/GetStorage",
        system_pb2.GetStorageResponse(
            areas=[system_pb2.StorageArea(name="datasets", logical_bytes=1572864, item_count=2)],
            logical_bytes=1572864,
            chunk_bytes=786432,
            chunk_count=12,
            pack_bytes=790000,
            pack_count=1,
            disk_total_bytes=1 << 40,
            disk_free_bytes=1 << 39,
            database_bytes=1 << 20,
        ),
    )
    activity = common_pb2.Activity(
        time=at(50),
        action="download",
        method="TransferService/ReadManifest",
        target=f"{DATASET}/versions/2",
        principal="users/ada",
        declared_user="omid",
        address="10.0.0.7",
        code="OK",
        duration=lasting(0.5),
        request_id="r-1",
    )
    server.answer("SystemService/ListActivity", system_pb2.ListActivityResponse(activities=[activity]))
    server.answer("SystemService/GetDashboard", dashboard(activity))
    server.answer("SystemService/ListSettings", system_pb2.ListSettingsResponse(settings=settings()))
    day = timestamp_pb2.Timestamp(seconds=at(0).seconds // 86400 * 86400)
    server.answer(
        "CatalogService/GetUsage",
        catalog_pb2.GetUsageResponse(
            usage=artifact().usage,
            days=[
                catalog_pb2.UsageDay(start_time=timestamp_pb2.Timestamp(seconds=day.seconds - 86400)),
                catalog_pb2.UsageDay(start_time=day, download_count=3, access_count=9, total_requests=12),
            ],
            users=[
                catalog_pb2.UsageUser(
                    principal="users/ada",
                    declared_user="omid",
                    address="10.0.0.7",
                    download_count=3,
                    access_count=9,
                    first_time=at(9),
                    last_time=at(50),
                )
            ],
            recent_activity=[activity],
        ),
    )
    server.answer(
        "SystemService/GetServerInfo",
        system_pb2.GetServerInfoResponse(version="0.1.0", server_id="srv-1", server_time=at(60)),
    )
    worker = workers_pb2.Worker(
        name="workers/worker_1",
        display_name="desk",
        state=workers_pb2.WORKER_STATE_ONLINE,
        devices=[workers_pb2.Device(kind="cpu", count=2, memory_bytes=1 << 33)],
        missing_software=["deepspeed"],
        assignments=[JOB],
        last_heartbeat_time=at(55),
    )
    server.answer("WorkersService/ListWorkers", workers_pb2.ListWorkersResponse(workers=[worker]))
    server.answer(
        "OperationsService/ListOperations",
        operations_pb2.ListOperationsResponse(operations=[operation("RUNNING"), recovered()]),
    )
    server.answer(
        "OperationsService/GetOperation", operations_pb2.GetOperationResponse(operation=operation("FAILED"))
    )
    server.answer(
        "OperationsService/ListOperationKinds", operations_pb2.ListOperationKindsResponse(kinds=kinds())
    )
    credential = auth_pb2.Credential(
        name="users/ada/credentials/huggingface.co", create_time=at(1), update_time=at(30)
    )
    server.answer("AuthService/ListCredentials", auth_pb2.ListCredentialsResponse(credentials=[credential]))
    server.answer("AuthService/SetCredential", auth_pb2.SetCredentialResponse(credential=credential))
    server.answer("AuthService/DeleteCredential", auth_pb2.DeleteCredentialResponse())
    user = auth_pb2.User(
        name="users/sara", display_name="سارا", role=auth_pb2.ROLE_MEMBER, namespace="namespaces/sara"
    )
    namespace = auth_pb2.Namespace(
        name="namespaces/ada",
        create_time=at(1),
        size_bytes=3 * 1024**3,
        stored_bytes=2 * 1024**3,
        quota_bytes=10 * 1024**3,
        effective_quota_bytes=10 * 1024**3,
        role=auth_pb2.MEMBER_ROLE_OWNER,
    )
    members = [
        auth_pb2.Member(
            name=f"namespaces/ada/members/{each}", user=f"users/{each}", role=role, create_time=at(1)
        )
        for each, role in (("ada", auth_pb2.MEMBER_ROLE_OWNER), ("sara", auth_pb2.MEMBER_ROLE_READER))
    ]
    server.answer("AuthService/ListMembers", auth_pb2.ListMembersResponse(members=members))
    server.answer("AuthService/SetMember", auth_pb2.SetMemberResponse(member=members[1]))
    server.answer("AuthService/RemoveMember", auth_pb2.RemoveMemberResponse())
    server.answer("AuthService/CreateNamespace", auth_pb2.CreateNamespaceResponse(namespace=namespace))
    server.answer("AuthService/DeleteNamespace", auth_pb2.DeleteNamespaceResponse())
    server.answer("AuthService/ListNamespaces", auth_pb2.ListNamespacesResponse(namespaces=[namespace]))
    server.answer("AuthService/GetNamespace", auth_pb2.GetNamespaceResponse(namespace=namespace))
    server.answer("AuthService/ListUsers", auth_pb2.ListUsersResponse(users=[user]))
    server.answer("AuthService/CreateUser", auth_pb2.CreateUserResponse(user=user))
    token = auth_pb2.ApiToken(
        name="users/sara/tokens/tok_2", display_name="laptop", role=auth_pb2.ROLE_MEMBER
    )
    server.answer("AuthService/ListTokens", auth_pb2.ListTokensResponse(tokens=[token]))
    server.answer(
        "AuthService/CreateToken", auth_pb2.CreateTokenResponse(token=token, secret="ingot_shown_once")
    )
    server.answer("AuthService/RevokeToken", auth_pb2.RevokeTokenResponse(token=token))
