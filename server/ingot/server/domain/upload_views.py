"""Looking at uploads over time: the events of one, and counts of many."""

from ingot.server.core.errors import Denied, Reason, invalid_field
from ingot.server.core.identity import Caller
from ingot.server.core.names import ANY_NAMESPACE, UploadName
from ingot.server.core.upload_stats import UploadStats, UploadTally, day_of
from ingot.server.core.uploads import Upload, UploadStage
from ingot.server.domain.events import EventLog, LogPage
from ingot.server.domain.uploads import Uploads

_ENDS = (UploadStage.FRESH, UploadStage.FAILED)


class UploadViews:
    """The rules of watching and counting; every method runs inside a read."""

    def __init__(self, uploads: Uploads, tally: UploadTally, log: EventLog) -> None:
        self._uploads = uploads
        self._tally = tally
        self._log = log

    def get(self, caller: Caller, name: UploadName) -> Upload:
        """Return an upload. Raises NotFound (UPLOAD_NOT_FOUND)."""
        return self._uploads.find(caller, name)

    def events(self, caller: Caller, name: UploadName, after: int, limit: int) -> LogPage:
        """Return up to `limit` events of an upload after a number, and whether it ended with them.

        Raises NotFound (UPLOAD_NOT_FOUND), OutOfRange (RESUME_TOKEN_EXPIRED).
        """
        upload = self._uploads.find(caller, name)
        events = self._log.read(str(name), after, limit)
        position, latest = events[-1].seq if events else after, self._log.bounds(str(name)).latest
        return LogPage(events, position, latest, upload.stage in _ENDS and position >= latest)

    def stats(
        self,
        caller: Caller,
        namespace: str,
        first: float | None,
        last: float | None,
        *,
        all_users: bool,
    ) -> UploadStats:
        """Return how many uploads the caller, or everybody, began in a namespace (`-`: any), and their ends.

        They began on the days of `first` to `last` (epoch seconds; None: no bound). Raises Denied
        (SCOPE_MISSING) when others than administrators ask for all, Invalid (FIELD_INVALID).
        """
        if all_users and not caller.is_admin:
            raise Denied(
                Reason.SCOPE_MISSING,
                f"Only administrators may count everybody's uploads; {caller.principal} is none.",
                next_step="Leave all_users out to count your own.",
            )
        if first is not None and last is not None and last < first:
            raise invalid_field("to_time", "expected from_time or later")
        return self._tally.sum(
            None if namespace == ANY_NAMESPACE else (namespace,),
            None if all_users else caller.principal,
            None if first is None else day_of(first),
            None if last is None else day_of(last),
        )
