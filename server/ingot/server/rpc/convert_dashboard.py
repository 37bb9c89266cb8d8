"""The dashboard and the settings between the wire and the rules."""

import grpc

from ingot.server.core.call_figures import MethodFigures, ProblemFigures
from ingot.server.core.dashboard import Bytes, Overview
from ingot.server.core.errors import Reason
from ingot.server.core.names import Kind
from ingot.server.core.shown_settings import ShownSetting
from ingot.server.core.usage import start_of
from ingot.server.rpc import convert_common as common
from ingot.server.rpc import convert_usage
from ingot.v1 import errors_pb2, operations_pb2, system_pb2, training_pb2, workers_pb2

_UNKNOWN = errors_pb2.ERROR_REASON_UNSPECIFIED
_REASONS = frozenset(reason.value for reason in Reason)  # a row may have one of an older version


def dashboard_message(found: Overview, sizes: Bytes) -> system_pb2.GetDashboardResponse:
    """Return the dashboard as the API shows it."""
    models, datasets = found.totals[Kind.MODEL], found.totals[Kind.DATASET]
    usage, work = found.usage.totals, found.work
    return system_pb2.GetDashboardResponse(
        total_models=models.artifact_count,
        total_datasets=datasets.artifact_count,
        model_version_count=models.version_count,
        dataset_version_count=datasets.version_count,
        user_count=found.users,
        total_size_bytes=sizes.logical,
        model_size_bytes=models.size_bytes,
        dataset_size_bytes=datasets.size_bytes,
        stored_bytes=sizes.packs,
        folder_bytes=sizes.folder,
        folder_time=common.timestamp(sizes.folder_time),
        disk_total_bytes=sizes.disk_total,
        disk_free_bytes=sizes.disk_free,
        total_requests=usage.total_requests,
        download_count=usage.download_count,
        access_count=usage.access_count,
        unique_users=usage.unique_users,
        call_count=sum(found.calls.values()),
        days=_days(found),
        recent_activity=map(convert_usage.activity_message, found.usage.recent),
        most_downloaded=[
            system_pb2.ArtifactUse(name=name, usage=convert_usage.usage_message(each))
            for name, each in found.most_downloaded
        ],
        active_uploads=work.active_uploads,
        failed_uploads=work.failed_uploads,
        operations=_operations(found),
        training_jobs=[
            system_pb2.TrainingJobCount(
                state=training_pb2.TrainingJobState.Value(f"TRAINING_JOB_STATE_{state.value}"), count=count
            )
            for state, count in sorted(work.training_jobs.items())
        ],
        workers=[
            system_pb2.WorkerCount(
                state=workers_pb2.WorkerState.Value(f"WORKER_STATE_{state.value}"), count=count
            )
            for state, count in sorted(work.workers.items())
        ],
        pending_approvals=work.pending_approvals,
        problems=map(_problem, found.problems),
        methods=map(_method, found.methods),
    )


def setting_message(found: ShownSetting) -> system_pb2.SettingValue:
    """Return a setting as the API shows it."""
    return system_pb2.SettingValue(
        name=found.name,
        value=found.value,
        origin=found.origin,
        help=found.help,
        default_value=found.default,
        kind=found.kind,
        secret=found.secret,
        populated=found.populated,
    )


def _days(found: Overview) -> list[system_pb2.DashboardDay]:
    return [
        system_pb2.DashboardDay(
            start_time=common.timestamp(start_of(day.day)),
            download_count=day.downloads,
            access_count=day.accesses,
            call_count=found.calls.get(day.day, 0),
        )
        for day in found.usage.days
    ]


def _operations(found: Overview) -> list[system_pb2.OperationCount]:
    return [
        system_pb2.OperationCount(
            queue=queue,
            state=operations_pb2.OperationState.Value(f"OPERATION_STATE_{state.value}"),
            count=count,
        )
        for (queue, state), count in sorted(found.work.operations.items())
    ]


def _problem(found: ProblemFigures) -> system_pb2.ProblemCount:
    last = found.last
    return system_pb2.ProblemCount(
        reason=common.reason(Reason(last.reason)) if last.reason in _REASONS else _UNKNOWN,
        count=found.count,
        total_count=found.total,
        days=[
            system_pb2.ProblemDay(start_time=common.timestamp(start_of(day)), count=count)
            for day, count in sorted(found.days.items())
        ],
        last_time=common.timestamp(last.time),
        last_method=last.method,
        last_code=last.code,
        last_target=last.target,
        last_principal=last.principal,
        last_message=last.message,
        last_request_id=last.call_id,
    )


def _method(found: MethodFigures) -> system_pb2.MethodCount:
    p50, p95, p99 = (common.duration(found.times.percentile(share)) for share in (0.5, 0.95, 0.99))
    return system_pb2.MethodCount(
        method=found.method,
        count=found.count,
        failed_count=found.count - found.codes.get(grpc.StatusCode.OK.name, 0),
        p50=p50,
        p95=p95,
        p99=p99,
        total=common.duration(found.seconds),
    )
