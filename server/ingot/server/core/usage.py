"""What was done on the server, and by whom: the record behind ListActivity and the counters of artifacts."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Activity:
    """One finished call. `time` is when it began, in epoch seconds; `seconds` how long it took."""

    time: float
    action: str  # list, get, download, delete, create, update, upload, train, …
    method: str  # CatalogService/GetArtifact
    target: str  # name it was done to
    principal: str  # who, by credential; empty for public calls without one
    declared_user: str
    address: str
    code: str  # OK, NOT_FOUND, …
    seconds: float
    call_id: str


@dataclass(frozen=True, slots=True)
class ArtifactUsage:
    """Counters of one artifact; the first download is empty until there was one."""

    download_count: int = 0
    access_count: int = 0
    unique_users: int = 0
    first_downloaded_by: str = ""
    first_downloaded_from: str = ""
    first_download_time: float | None = None

    @property
    def total_requests(self) -> int:
        """Downloads and accesses together."""
        return self.download_count + self.access_count


@dataclass(frozen=True, slots=True)
class Use:
    """One access to an artifact, or one download of it when it has an id.

    A download is counted once per `download_id`, which the client makes for one pull and keeps as it resumes.
    """

    artifact_uid: str
    principal: str
    declared_user: str
    address: str
    time: float  # epoch seconds
    download_id: str = ""


@dataclass(frozen=True, slots=True)
class ActivityFilter:
    """Which activities a list shows; empty fields do not narrow it."""

    principal: str = ""
    target: str = ""
    action: str = ""
