"""What was done on the server, and by whom: the record behind ListActivity and the counters of artifacts."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

_DAY = 24 * 3600
_PLACE = re.compile(r"namespaces/([^/]+)(?:/(?:models|datasets)/[^/]+)?")
SERVER = "server"  # what counters of everything together are kept under


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
    reason: str = ""  # ErrorReason of a call that failed
    row: int = 0  # of the list, where the write that the call made has put it there already

    @property
    def place(self) -> "Place":
        """What its target belongs to."""
        return Place.of(self.target)


@dataclass(frozen=True, slots=True)
class Place:
    """Which artifact (in small letters) and which namespace a name is, or belongs to; empty for others."""

    artifact: str = ""
    namespace: str = ""

    @classmethod
    def of(cls, target: str) -> "Place":
        """Return the place of a name, which may be any text."""
        found = _PLACE.match(target)
        if found is None:
            return cls()
        return cls(found[0].lower() if found[0].count("/") > 1 else "", found[1])


@dataclass(frozen=True, slots=True)
class ArtifactUsage:
    """Counters of one artifact; the first download is empty until there was one."""

    download_count: int = 0
    access_count: int = 0
    unique_users: int = 0
    first_downloaded_by: str = ""
    first_downloaded_from: str = ""
    first_download_time: float | None = None
    first_principal: str = ""  # who that was, by credential

    @property
    def total_requests(self) -> int:
        """Downloads and accesses together."""
        return self.download_count + self.access_count

    def seen_by(self, *, owner: bool, stranger: bool = False) -> "ArtifactUsage":
        """Return what somebody sees of it: who came from where is for owners, strangers see numbers."""
        shown = self if owner else replace(self, first_downloaded_from="", first_principal="")
        return replace(shown, first_downloaded_by="", first_download_time=None) if stranger else shown


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
    version: str = ""  # id of the version, where it is known


@dataclass(frozen=True, slots=True)
class UsageDay:
    """Uses on one day (UTC), by its number since the epoch."""

    day: int
    downloads: int = 0
    accesses: int = 0


@dataclass(frozen=True, slots=True)
class UserOfArtifact:
    """Who used an artifact, or one of its versions; times are epoch seconds, 0 where nobody noted them."""

    principal: str
    declared_user: str
    address: str  # of the last use
    downloads: int
    accesses: int
    first_time: float
    last_time: float


@dataclass(frozen=True, slots=True)
class UsageReport:
    """How one artifact, one namespace, or everything was used."""

    totals: ArtifactUsage
    days: Sequence[UsageDay] = ()  # every day of the span, oldest first
    users: Sequence[UserOfArtifact] = ()  # who used it last, first
    recent: Sequence[Activity] = ()  # newest first


@dataclass(frozen=True, slots=True)
class ActivityFilter:
    """Which activities a list shows; empty fields do not narrow it."""

    principal: str = ""
    target: str = ""
    action: str = ""
    artifact: str = ""  # in small letters
    namespace: str = ""
    failed: bool = False


@dataclass(slots=True)
class Gathered:
    """What waits in memory to be written together."""

    activities: list[Activity] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    dropped: int = 0  # left out because there was too much

    def __bool__(self) -> bool:
        return bool(self.activities or self.uses or self.dropped)


def day_of(time: float) -> int:
    """Return the number of a day (UTC) from epoch seconds."""
    return int(time // _DAY)


def start_of(day: int) -> float:
    """Return when a day begins, in epoch seconds."""
    return float(day * _DAY)


def namespace_subject(namespace: str) -> str:
    """Return what the counters of a whole namespace are kept under."""
    return f"namespaces/{namespace}"


def newest_first(activities: Sequence[Activity]) -> tuple[Activity, ...]:
    """Return activities by time: a change is written before what was gathered in the same second."""
    return tuple(sorted(activities, key=lambda activity: activity.time, reverse=True))
