"""Usage and the record of calls between the wire and the rules."""

from ingot.server.core.usage import Activity, ArtifactUsage, UsageDay, UsageReport, UserOfArtifact, start_of
from ingot.server.rpc import convert_common as common
from ingot.v1 import catalog_pb2, common_pb2

_NONE = ArtifactUsage()


def usage_message(usage: ArtifactUsage) -> catalog_pb2.Usage:
    """Return counters as the API shows them."""
    message = catalog_pb2.Usage()
    show_usage(message, usage)
    return message


def show_usage(message: catalog_pb2.Usage, usage: ArtifactUsage) -> None:
    """Fill an empty message as `usage_message` does."""
    message.SetInParent()
    if usage == _NONE:  # as most have it on a page
        return
    message.download_count = usage.download_count
    message.access_count = usage.access_count
    message.total_requests = usage.total_requests
    message.unique_users = usage.unique_users
    message.first_downloaded_by = usage.first_downloaded_by
    message.first_downloaded_from = usage.first_downloaded_from
    message.first_principal = usage.first_principal
    if usage.first_download_time is not None:
        common.set_time(message.first_download_time, usage.first_download_time)


def day_message(day: UsageDay) -> catalog_pb2.UsageDay:
    """Return one day as the API shows it."""
    return catalog_pb2.UsageDay(
        start_time=common.timestamp(start_of(day.day)),
        download_count=day.downloads,
        access_count=day.accesses,
        total_requests=day.downloads + day.accesses,
    )


def report_message(report: UsageReport) -> catalog_pb2.GetUsageResponse:
    """Return a report as GetUsage answers it."""
    return catalog_pb2.GetUsageResponse(
        usage=usage_message(report.totals),
        days=map(day_message, report.days),
        users=map(_user, report.users),
        recent_activity=map(activity_message, report.recent),
    )


def activity_message(activity: Activity) -> common_pb2.Activity:
    """Return a call as the record shows it."""
    return common_pb2.Activity(
        time=common.timestamp(activity.time),
        duration=common.duration(activity.seconds),
        action=activity.action,
        method=activity.method,
        target=activity.target,
        principal=activity.principal,
        declared_user=activity.declared_user,
        address=activity.address,
        code=activity.code,
        request_id=activity.call_id,
        reason=activity.reason,
    )


def _user(user: UserOfArtifact) -> catalog_pb2.UsageUser:
    return catalog_pb2.UsageUser(
        principal=user.principal,
        declared_user=user.declared_user,
        address=user.address,
        download_count=user.downloads,
        access_count=user.accesses,
        first_time=common.timestamp(user.first_time or None),
        last_time=common.timestamp(user.last_time or None),
    )
