"""Where an export writes, in the words of the API.

/srv/out or ''           a folder on the server, below one of those for exports; empty is the mount point
hf://OWNER/NAME          a repository of the Hub, hf://datasets/OWNER/NAME for a dataset
/srv/out/all.ingot       a signed bundle on the server
"""

from dataclasses import dataclass
from datetime import datetime

from google.protobuf import timestamp_pb2

from ingot.client import _filling, _imports
from ingot.client._errors import Invalid
from ingot.client._references import DATASETS, MODELS, HubSource
from ingot.v1 import operations_pb2 as pb

AnyDestination = pb.FolderDestination | pb.HubDestination | pb.BundleDestination
Destination = str | HubSource | AnyDestination
LAYOUTS = {"name": pb.EXPORT_LAYOUT_NAME, "owner-uid": pb.EXPORT_LAYOUT_OWNER_UID}
_DEFAULT_LAYOUT = "name"
_KINDS = {MODELS: pb.HUB_REPOSITORY_KIND_UNSPECIFIED, DATASETS: pb.HUB_REPOSITORY_KIND_DATASET}


@dataclass(frozen=True, slots=True)
class ExportChoice:
    """How to write: two words about folders, one about bundles, three about the Hub."""

    layout: str = _DEFAULT_LAYOUT
    keep: bool = False
    since: datetime | None = None
    private: bool = False
    branch: str = ""
    message: str = ""


def fill(request: pb.StartExportRequest, destination: Destination, choice: ExportChoice) -> None:
    """Put the destination into the request. Raises Invalid for a choice that says nothing about it."""
    where = parse_destination(destination) if isinstance(destination, str | HubSource) else destination
    if isinstance(where, pb.FolderDestination):
        _refuse(choice, "a folder", "since", "private", "branch", "message")
        request.folder.CopyFrom(where)
        request.folder.keep |= choice.keep
        layout = _filling.one_of(choice.layout, LAYOUTS, "layout")
        if choice.layout != _DEFAULT_LAYOUT or not where.layout:
            request.folder.layout = layout
    elif isinstance(where, pb.HubDestination):
        _refuse(choice, "a repository of the Hub", "layout", "keep", "since")
        request.hub.CopyFrom(where)
        request.hub.private |= choice.private
        request.hub.branch = choice.branch or where.branch
        request.hub.message = choice.message or where.message
    else:
        _refuse(choice, "a bundle", "layout", "keep", "private", "branch", "message")
        request.bundle.CopyFrom(where)
        if choice.since is not None:
            request.bundle.since.CopyFrom(_timestamp(choice.since))


def parse_destination(text: str | HubSource) -> AnyDestination:
    """Return the destination that a text names. Raises Invalid."""
    found = _imports.parse_source(text) if isinstance(text, str) and "://" in text else text
    if isinstance(found, HubSource):
        return pb.HubDestination(
            repository=found.repository, repository_kind=_KINDS[found.kind], branch=found.revision
        )
    if not isinstance(found, str):
        raise Invalid(
            f"Cannot export to {str(text)!r}: expected a folder, hf://OWNER/NAME or FILE.ingot.",
            reason="FIELD_INVALID",
            next_step="Name one of these.",
        )
    if found.endswith(_imports.BUNDLE_SUFFIX):
        return pb.BundleDestination(path=found)
    return pb.FolderDestination(path=found)


def _refuse(choice: ExportChoice, what: str, *names: str) -> None:
    unset = ExportChoice()
    for name in names:
        if getattr(choice, name) != getattr(unset, name):
            raise Invalid(
                f"{name}: says nothing about {what}.",
                reason="FIELD_INVALID",
                facts={"field": name},
                next_step=f"Leave {name} away, or export to something else.",
            )


def _timestamp(moment: datetime) -> timestamp_pb2.Timestamp:
    if moment.tzinfo is None:
        raise Invalid(
            f"since: {moment} has no time zone.",
            reason="FIELD_INVALID",
            facts={"field": "since"},
            next_step="Give it one, for example datetime.now(UTC).",
        )
    made = timestamp_pb2.Timestamp()
    made.FromDatetime(moment)
    return made
