"""The people and the audit log of a data folder that no server uses: for `ingot-server users` and `restore`.

with opened(settings, folder) as offline:
    offline.change("passwd", "users/sara", rule)      # a write with its entry in the audit log
    offline.settled                                   # what a restored backup brought, and what was done
"""

import contextlib
import getpass
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from ingot.server.core import journal
from ingot.server.core.audit import Deed
from ingot.server.core.clock import SystemClock
from ingot.server.core.identity import SYSTEM
from ingot.server.core.pages import PageTokens
from ingot.server.domain.requests import Requests
from ingot.server.domain.usage import Usage
from ingot.server.parts.audit import AuditParts
from ingot.server.parts.identity import IdentityParts
from ingot.server.settings.fields import Settings
from ingot.server.storage.data_folder import DataFolder
from ingot.server.storage.database import Database, only_server, open_database
from ingot.server.storage.identity_sql import CountersSql, RequestsSql
from ingot.server.storage.migration_runner import migrate
from ingot.server.storage.usage_sql import UsageSql

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Offline:
    """The rules over an open data folder."""

    database: Database
    people: IdentityParts
    audit: AuditParts
    settled: Mapping[str, str]  # facts; empty when no backup was restored since it was opened last

    def change(self, action: str, target: str, rule: Callable[[], T]) -> T:
        """Run a rule in a write together with its entry in the audit log."""

        def whole() -> T:
            with journal.taking() as note:
                result = rule()
            self.audit.audit.append(
                Deed(
                    time=time.time(),
                    action="update",
                    method=f"ingot-server/{action}",
                    target=target,
                    principal=SYSTEM,
                    user=SYSTEM,
                    token="",
                    declared_user=_who(),
                    address="local",
                    client="ingot-server",
                    call_id="",
                    facts=note.facts,
                )
            )
            return result

        result = self.database.write(whole).result()
        self.audit.heads.keep()
        return result


def _who() -> str:
    """Return the name of who runs this program; containers run as numbers that have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


@contextlib.contextmanager
def opened(settings: Settings, folder: DataFolder) -> Iterator[Offline]:
    """Open the database of a folder that is held, brought to the present schema, and its audit log."""
    with (
        only_server(settings.database, folder.path),
        contextlib.closing(open_database(settings.database)) as database,
    ):
        migrate(database)
        clock, tokens = SystemClock(), PageTokens(folder.secret)
        people = IdentityParts(
            settings,
            folder,
            CountersSql(),
            Requests(RequestsSql(), clock),
            tokens,
            clock,
            database.after_commit,
        )
        usage = Usage(UsageSql(), tokens, clock, activity_days=settings.activity_days)
        audit = AuditParts(settings, folder, database, usage, tokens, clock)
        settled = audit.open(people.restoring.settle)
        yield Offline(database, people, audit, settled)
