"""A real, valid request for every case of the permission matrix (tests/rpc/permissions.txt).

`At` is one call to be made: by whom, on which things, and `thing`, the name of what was made for it. A call
that goes through uses that up, unless the request says that it `lasts`; the next call gets another one.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from google.protobuf import duration_pb2
from google.protobuf.message import Message

from helpers.permission_world import CHUNK, NINA, PASSWORD, PATH, TEAM, UPLOADED, USERS, Place, World
from helpers.transfers import file_manifest, stream, tree_digest
from ingot.v1 import auth_pb2 as auth
from ingot.v1 import catalog_pb2 as catalog
from ingot.v1 import operations_pb2 as operations
from ingot.v1 import system_pb2 as system
from ingot.v1 import training_pb2 as training
from ingot.v1 import transfer_pb2 as transfer
from ingot.v1 import workers_pb2 as workers


@dataclasses.dataclass(frozen=True, slots=True)
class At:
    """One call to be made."""

    world: World
    caller: str  # a column of the table
    place: Place
    thing: str = ""

    @property
    def user(self) -> str:
        """Id of the user who calls; of the team's owner for callers that are nobody."""
        return USERS.get(self.caller, "olga")


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """How to ask, and how to make what is asked about; `lasts` when asking does not use that up."""

    ask: Callable[[At], Message | Sequence[Message]]
    fresh: Callable[[At], str] | None = None
    lasts: bool = False


def _made(make: Callable[[World, Place], str]) -> Callable[[At], str]:
    return lambda at: make(at.world, at.place)


def _whole_file(header: transfer.UploadFileHeader) -> list[Message]:
    return [
        transfer.UploadFileRequest(header=header),
        transfer.UploadFileRequest(data=b"some text"),
        transfer.UploadFileRequest(finish=transfer.UploadFileFinish()),
    ]


def _new_version(at: At) -> transfer.NewVersion:
    name = f"{at.place.parent}/datasets/n{at.world.number()}"
    return transfer.NewVersion(artifact=name, create=catalog.Artifact())


def _work(at: At) -> tuple[str, int]:
    name, attempt = (at.thing or at.world.work).split()
    return name, int(attempt)


def _job(at: At) -> str:
    """Return the job that a worker has for the team, and another one for anybody's own namespace."""
    return at.world.job if at.place.namespace == TEAM else at.world.new_job(at.place)


_ARTIFACTS = _made(World.new_artifact)
_VERSIONS = _made(World.new_version)
_UPLOADS, _OPEN = _made(World.new_upload), _made(World.new_open_upload)

REQUESTS: dict[str, Request] = {
    # --- catalog: reading
    "GetArtifact": Request(lambda at: catalog.GetArtifactRequest(name=at.place.dataset)),
    "ListVersions": Request(lambda at: catalog.ListVersionsRequest(parent=at.place.dataset)),
    "ListAliases": Request(lambda at: catalog.ListAliasesRequest(parent=at.place.dataset)),
    "ListAliasMoves": Request(
        lambda at: catalog.ListAliasMovesRequest(parent=f"{at.place.dataset}/aliases/prod")
    ),
    "GetUsage": Request(lambda at: catalog.GetUsageRequest(name=at.place.dataset)),
    "GetVersion": Request(lambda at: catalog.GetVersionRequest(name=at.place.version)),
    "CompareVersions": Request(
        lambda at: catalog.CompareVersionsRequest(base=at.place.version, other=at.place.version)
    ),
    "GetVersionSummary": Request(lambda at: catalog.GetVersionSummaryRequest(name=at.place.version)),
    "PreviewVersion": Request(lambda at: catalog.PreviewVersionRequest(name=at.place.version)),
    "GetLineage": Request(lambda at: catalog.GetLineageRequest(name=at.place.version)),
    "GetLineage:job": Request(lambda at: catalog.GetLineageRequest(name=at.thing), _job, lasts=True),
    "ListArtifacts": Request(lambda at: catalog.ListArtifactsRequest(parent="namespaces/-")),
    "GetFacets": Request(lambda at: catalog.GetFacetsRequest(parent="namespaces/-")),
    "WatchArtifacts": Request(lambda at: catalog.WatchArtifactsRequest(parent="namespaces/-")),
    "GetCatalogStats": Request(lambda at: catalog.GetCatalogStatsRequest(kind=catalog.ARTIFACT_KIND_DATASET)),
    # --- catalog: changing
    "CreateArtifact": Request(
        lambda at: catalog.CreateArtifactRequest(parent=at.place.parent, kind=catalog.ARTIFACT_KIND_MODEL)
    ),
    "UpdateArtifact": Request(
        lambda at: catalog.UpdateArtifactRequest(
            artifact=catalog.Artifact(name=at.place.dataset, description="Told by somebody.")
        )
    ),
    "UpdateArtifact:visibility": Request(
        lambda at: catalog.UpdateArtifactRequest(
            artifact=catalog.Artifact(
                name=at.thing,
                visibility=catalog.VISIBILITY_PRIVATE
                if at.place.label == "internal"
                else catalog.VISIBILITY_INTERNAL,
            )
        ),
        _ARTIFACTS,
        lasts=True,
    ),
    "UpdateArtifact:validation": Request(
        lambda at: catalog.UpdateArtifactRequest(
            artifact=catalog.Artifact(
                name=at.thing,
                validation=catalog.ValidationPolicy(rules=catalog.ValidationRules(max_bad_ratio=0.5)),
            )
        ),
        _ARTIFACTS,
    ),
    "DeleteArtifact": Request(lambda at: catalog.DeleteArtifactRequest(name=at.thing), _ARTIFACTS),
    "RestoreArtifact": Request(
        lambda at: catalog.RestoreArtifactRequest(name=at.thing), _made(World.new_trash)
    ),
    "PurgeArtifact": Request(lambda at: catalog.PurgeArtifactRequest(name=at.thing), _made(World.new_trash)),
    "SetAlias": Request(
        lambda at: catalog.SetAliasRequest(name=f"{at.place.dataset}/aliases/next", version=at.place.version)
    ),
    "DeleteAlias": Request(lambda at: catalog.DeleteAliasRequest(name=at.thing), _made(World.new_alias)),
    "UpdateVersion": Request(
        lambda at: catalog.UpdateVersionRequest(
            version=catalog.Version(name=at.thing, changelog="Told by somebody.")
        ),
        _VERSIONS,
        lasts=True,
    ),
    "DeleteVersion": Request(lambda at: catalog.DeleteVersionRequest(name=at.thing, force=True), _VERSIONS),
    "RestoreVersion": Request(
        lambda at: catalog.RestoreVersionRequest(name=at.thing), _made(World.new_deleted_version)
    ),
    "PurgeVersion": Request(
        lambda at: catalog.PurgeVersionRequest(name=at.thing), _made(World.new_deleted_version)
    ),
    "GetAccess": Request(lambda at: catalog.GetAccessRequest(name=at.place.dataset)),
    "SetAccess": Request(
        lambda at: catalog.SetAccessRequest(name=at.place.dataset, add_readers=[f"users/{NINA}"])
    ),
    # --- catalog: approvals
    "RequestApproval": Request(
        lambda at: catalog.RequestApprovalRequest(version=at.thing), _VERSIONS, lasts=True
    ),
    "GetApproval": Request(
        lambda at: catalog.GetApprovalRequest(name=at.thing), _made(World.new_approval), lasts=True
    ),
    "WithdrawApproval": Request(
        lambda at: catalog.WithdrawApprovalRequest(name=at.thing), _made(World.new_approval)
    ),
    "DecideApproval": Request(
        lambda at: catalog.DecideApprovalRequest(
            name=at.thing, decision=catalog.APPROVAL_DECISION_APPROVE, comment="Good."
        ),
        _made(World.new_approval),
    ),
    "ListApprovals": Request(lambda at: catalog.ListApprovalsRequest()),
    # --- transfer: reading
    "GetCapabilities": Request(lambda at: transfer.GetCapabilitiesRequest()),
    "StatFile": Request(lambda at: transfer.StatFileRequest(tree=at.place.version, path=PATH)),
    "ListFiles": Request(lambda at: transfer.ListFilesRequest(tree=at.place.version)),
    "ReadManifest": Request(lambda at: transfer.ReadManifestRequest(tree=at.place.version)),
    "ReadFile": Request(lambda at: transfer.ReadFileRequest(tree=at.place.version, path=PATH)),
    "ReadChunks": Request(
        lambda at: transfer.ReadChunksRequest(
            tree=at.place.version, ranges=[transfer.ChunkRange(path=PATH, first=0, count=1)]
        )
    ),
    # --- transfer: uploads
    "BeginUpload": Request(
        lambda at: transfer.BeginUploadRequest(target=transfer.UploadTarget(version=_new_version(at)))
    ),
    "UploadFile:version": Request(
        lambda at: _whole_file(transfer.UploadFileHeader(path="a.txt", version=_new_version(at)))
    ),
    "UploadFile:upload": Request(
        lambda at: _whole_file(transfer.UploadFileHeader(path="a.txt", upload=at.thing)), _OPEN
    ),
    "GetUpload": Request(lambda at: transfer.GetUploadRequest(name=at.thing), _OPEN, lasts=True),
    "WatchUpload": Request(lambda at: transfer.WatchUploadRequest(name=at.thing), _OPEN, lasts=True),
    "FindMissing": Request(
        lambda at: transfer.FindMissingRequest(upload=at.thing, digests=CHUNK[0]), _OPEN, lasts=True
    ),
    "PutChunks": Request(lambda at: list(stream(at.thing, [CHUNK])), _OPEN, lasts=True),
    "PutChunk": Request(
        lambda at: transfer.PutChunkRequest(upload=at.thing, data=CHUNK[1]), _OPEN, lasts=True
    ),
    "PutManifest": Request(
        lambda at: transfer.PutManifestRequest(
            upload=at.thing, files=[file_manifest(path, file) for path, file in UPLOADED.items()]
        ),
        _OPEN,
        lasts=True,
    ),
    "RenewUpload": Request(lambda at: transfer.RenewUploadRequest(name=at.thing), _OPEN, lasts=True),
    "RetryUpload": Request(lambda at: transfer.RetryUploadRequest(name=at.thing), _OPEN, lasts=True),
    "AbortUpload": Request(lambda at: transfer.AbortUploadRequest(name=at.thing), _OPEN),
    "CommitUpload": Request(
        lambda at: transfer.CommitUploadRequest(
            upload=at.thing, expected_digest=tree_digest(UPLOADED), file_count=1
        ),
        _UPLOADS,
    ),
    "GetUpload:checkpoint": Request(
        lambda at: transfer.GetUploadRequest(name=at.thing), _made(World.new_checkpoint_upload), lasts=True
    ),
    "FindMissing:checkpoint": Request(
        lambda at: transfer.FindMissingRequest(upload=at.thing, digests=CHUNK[0]),
        _made(World.new_checkpoint_upload),
        lasts=True,
    ),
    "ListUploads": Request(lambda at: transfer.ListUploadsRequest(parent="namespaces/-")),
    "GetUploadStats": Request(lambda at: transfer.GetUploadStatsRequest(parent="namespaces/-")),
    "PurgeUploads": Request(
        lambda at: transfer.PurgeUploadsRequest(older_than=duration_pb2.Duration(seconds=3600))
    ),
    # --- operations
    "StartImport": Request(
        lambda at: operations.StartImportRequest(
            hub=operations.HubSource(repository="google/flan-t5-small"),
            target=transfer.NewVersion(
                artifact=f"{at.place.parent}/models/h{at.world.number()}", create=catalog.Artifact()
            ),
        )
    ),
    "StartValidation": Request(lambda at: operations.StartValidationRequest(version=at.place.version)),
    "StartExport": Request(
        lambda at: operations.StartExportRequest(
            sources=[at.place.version], folder=operations.FolderDestination(), validate_only=True
        )
    ),
    "StartUpkeep": Request(lambda at: operations.StartUpkeepRequest(kind=operations.UPKEEP_KIND_CLEAN)),
    "GetOperation": Request(
        lambda at: operations.GetOperationRequest(name=at.thing), _made(World.new_operation), lasts=True
    ),
    "WatchOperation": Request(
        lambda at: operations.WatchOperationRequest(name=at.thing), _made(World.new_operation), lasts=True
    ),
    "CancelOperation": Request(
        lambda at: operations.CancelOperationRequest(name=at.thing), _made(World.new_operation)
    ),
    "RetryOperation": Request(
        lambda at: operations.RetryOperationRequest(name=at.thing), _made(World.new_operation), lasts=True
    ),
    "ListOperations": Request(lambda at: operations.ListOperationsRequest()),
    "WatchOperations": Request(lambda at: operations.WatchOperationsRequest()),
    "ListOperationKinds": Request(lambda at: operations.ListOperationKindsRequest()),
    # --- training
    "CreateTrainingJob:dataset": Request(
        lambda at: training.CreateTrainingJobRequest(
            namespace=f"namespaces/{at.user}", dataset=at.place.dataset, validate_only=True
        )
    ),
    "CreateTrainingJob:namespace": Request(
        lambda at: training.CreateTrainingJobRequest(
            namespace=at.place.parent,
            dataset=f"namespaces/{TEAM}/datasets/internal",
            output_artifact=f"{at.place.parent}/models/t{at.world.number()}",
        )
    ),
    "GenerateText": Request(lambda at: training.GenerateTextRequest(model=at.place.model, prompt="Salaam")),
    "GetTrainingJob": Request(lambda at: training.GetTrainingJobRequest(name=at.thing), _job, lasts=True),
    "WatchTrainingJob": Request(lambda at: training.WatchTrainingJobRequest(name=at.thing), _job, lasts=True),
    "ReadTrainingLogs": Request(lambda at: training.ReadTrainingLogsRequest(name=at.thing), _job, lasts=True),
    "ListTrainingMetrics": Request(
        lambda at: training.ListTrainingMetricsRequest(name=at.thing), _job, lasts=True
    ),
    "ListCheckpoints": Request(lambda at: training.ListCheckpointsRequest(parent=at.thing), _job, lasts=True),
    "StartTrainingJob": Request(
        lambda at: training.StartTrainingJobRequest(name=at.thing), _made(World.new_job)
    ),
    "PauseTrainingJob": Request(
        lambda at: training.PauseTrainingJobRequest(name=at.thing), _made(World.new_waiting_job)
    ),
    "ResumeTrainingJob": Request(
        lambda at: training.ResumeTrainingJobRequest(name=at.thing), _made(World.new_paused_job)
    ),
    "CancelTrainingJob": Request(
        lambda at: training.CancelTrainingJobRequest(name=at.thing), _made(World.new_waiting_job)
    ),
    "DeleteTrainingJob": Request(
        lambda at: training.DeleteTrainingJobRequest(name=at.thing), _made(World.new_job)
    ),
    "ReproduceTrainingJob": Request(
        lambda at: training.ReproduceTrainingJobRequest(
            name=at.thing, output_artifact=f"namespaces/{at.user}/models/r{at.world.number()}"
        ),
        _job,
        lasts=True,
    ),
    "ListTrainingJobs": Request(lambda at: training.ListTrainingJobsRequest(parent="namespaces/-")),
    "GetTrainingStats": Request(lambda at: training.GetTrainingStatsRequest()),
    # --- workers
    "RegisterWorker": Request(lambda at: workers.RegisterWorkerRequest(display_name="another")),
    "ListWorkers": Request(lambda at: workers.ListWorkersRequest()),
    "ClaimWork": Request(lambda at: workers.ClaimWorkRequest(worker=at.world.worker)),
    "Heartbeat": Request(
        lambda at: workers.HeartbeatRequest(
            worker=at.world.worker, work=[workers.HeldWork(name=_work(at)[0], attempt=_work(at)[1])]
        )
    ),
    "ReportEvents": Request(
        lambda at: workers.ReportEventsRequest(
            worker=at.world.worker, name=_work(at)[0], attempt=_work(at)[1]
        )
    ),
    "FinishWork": Request(
        lambda at: workers.FinishWorkRequest(
            worker=at.world.worker,
            name=_work(at)[0],
            attempt=_work(at)[1],
            outcome=workers.WORK_OUTCOME_RELEASED,
        ),
        _made(World.new_claim),
    ),
    "WatchWorker": Request(lambda at: workers.WatchWorkerRequest(worker=at.world.worker)),
    # --- accounts
    "Login": Request(lambda at: auth.LoginRequest(username=NINA, password=PASSWORD)),
    "RefreshLogin": Request(
        lambda at: auth.RefreshLoginRequest(refresh_token=at.thing), _made(World.new_login)
    ),
    "Logout": Request(lambda at: auth.LogoutRequest(everywhere=True)),
    "ChangePassword": Request(lambda at: auth.ChangePasswordRequest(new_password=PASSWORD)),
    "ChangePassword:other": Request(
        lambda at: auth.ChangePasswordRequest(name=at.thing, new_password=PASSWORD),
        _made(World.new_user),
        lasts=True,
    ),
    "GetMe": Request(lambda at: auth.GetMeRequest()),
    "CreateUser": Request(lambda at: auth.CreateUserRequest(user_id=f"made-{at.world.number()}")),
    "ListUsers": Request(lambda at: auth.ListUsersRequest()),
    "GetUser": Request(lambda at: auth.GetUserRequest(name=f"users/{NINA}")),
    "UpdateUser": Request(
        lambda at: auth.UpdateUserRequest(user=auth.User(name=f"users/{NINA}", display_name="Nina"))
    ),
    "DeleteUser": Request(lambda at: auth.DeleteUserRequest(name=at.thing), _made(World.new_user)),
    "CreateToken": Request(lambda at: auth.CreateTokenRequest()),
    "ListTokens": Request(lambda at: auth.ListTokensRequest()),
    "ListTokens:other": Request(lambda at: auth.ListTokensRequest(parent=f"users/{NINA}")),
    "RevokeToken": Request(
        lambda at: auth.RevokeTokenRequest(name=at.world.new_token(at.user)),
    ),
    "RevokeToken:other": Request(
        lambda at: auth.RevokeTokenRequest(name=at.thing), lambda at: at.world.new_token(NINA)
    ),
    "SetCredential": Request(lambda at: auth.SetCredentialRequest(host="huggingface.co", secret="hf_secret")),
    "ListCredentials": Request(lambda at: auth.ListCredentialsRequest()),
    "DeleteCredential": Request(
        lambda at: auth.DeleteCredentialRequest(name=f"users/{at.user}/credentials/example.com")
    ),
    "DeleteCredential:other": Request(
        lambda at: auth.DeleteCredentialRequest(name=f"users/{NINA}/credentials/example.com")
    ),
    # --- namespaces
    "GetNamespace": Request(lambda at: auth.GetNamespaceRequest(name=at.place.parent)),
    "ListNamespaces": Request(lambda at: auth.ListNamespacesRequest()),
    "ListMembers": Request(lambda at: auth.ListMembersRequest(parent=at.place.parent)),
    "SetMember": Request(
        lambda at: auth.SetMemberRequest(
            name=f"{at.place.parent}/members/{NINA}", role=auth.MEMBER_ROLE_READER
        )
    ),
    "RemoveMember": Request(lambda at: auth.RemoveMemberRequest(name=f"{at.place.parent}/members/{NINA}")),
    "CreateNamespace": Request(
        lambda at: auth.CreateNamespaceRequest(namespace_id=f"ns-{at.world.number()}")
    ),
    "UpdateNamespace": Request(
        lambda at: auth.UpdateNamespaceRequest(
            namespace=auth.Namespace(name=f"namespaces/{NINA}", quota_bytes=2**40)
        )
    ),
    "DeleteNamespace": Request(
        lambda at: auth.DeleteNamespaceRequest(name=at.thing), _made(World.new_namespace)
    ),
    # --- the system
    "GetServerInfo": Request(lambda at: system.GetServerInfoRequest()),
    "GetHealth": Request(lambda at: system.GetHealthRequest()),
    "GetStorage": Request(lambda at: system.GetStorageRequest()),
    "ListActivity": Request(lambda at: system.ListActivityRequest()),
    "GetDashboard": Request(lambda at: system.GetDashboardRequest()),
    "ListSettings": Request(lambda at: system.ListSettingsRequest()),
    "ListAuditEntries": Request(lambda at: system.ListAuditEntriesRequest()),
    "VerifyAudit": Request(lambda at: system.VerifyAuditRequest()),
}


def messages(request: Message | Sequence[Message]) -> Iterator[Message]:
    """Yield what a client sends."""
    yield from [request] if isinstance(request, Message) else request
