"""The parts of the audit log, wired for app.py.

parts = AuditParts(settings, folder, database, usage, tokens, clock)
hops = Hops(database, parts.journaling)              # entries are made in the writes of calls
Pipeline(…, ended=parts.journaling.ended)
await parts.begin(hops)                              # before any call; then keep(hops) again and again
"""

import logging

from ingot.server.core.clock import Clock
from ingot.server.core.errors import IngotError
from ingot.server.core.pages import PageTokens
from ingot.server.domain.audit import Audit
from ingot.server.domain.audit_heads import AuditHeads, Settle
from ingot.server.domain.usage import Usage
from ingot.server.rpc import usage_storing
from ingot.server.rpc.audit import AuditRules
from ingot.server.rpc.hops import Hops
from ingot.server.rpc.journaling import Journaling
from ingot.server.settings.fields import Settings
from ingot.server.sources import signing
from ingot.server.sources.signing import SigningKey
from ingot.server.storage import audit_head
from ingot.server.storage.audit_head import AuditHeadFile
from ingot.server.storage.audit_sql import AuditSql
from ingot.server.storage.data_folder import DataFolder
from ingot.server.storage.database import Database

log = logging.getLogger(__name__)


class AuditParts:
    """The rules of the audit log, what makes its entries, and what keeps its head."""

    def __init__(
        self,
        settings: Settings,
        folder: DataFolder,
        database: Database,
        usage: Usage,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        self.audit = Audit(AuditSql(), tokens, clock, folder.server_id)
        self.journaling = Journaling(self.audit, usage, clock)
        self.heads = AuditHeads(
            self.audit,
            database,
            AuditHeadFile(settings.audit_head),
            SigningKey.of_folder(folder.path),
            signing.has_signed,
            clock,
        )
        self.rules = AuditRules(self.audit, self.heads)
        self._home = folder.path

    def open(self, settle: Settle) -> dict[str, str]:
        """Compare the log with its kept head, and settle what a restored backup brought; return that.

        Waits for files and rows.
        """
        settled = self.heads.begin(audit_head.take_restored(self._home), settle)
        audit_head.forget_restored(self._home)
        return settled

    async def begin(self, hops: Hops, settle: Settle, key: str) -> None:
        """As `open`, before any call; `key` is the id of the key for new packs, "" without encryption."""
        await hops.io(self.open, settle)
        if key:
            await hops.keep(self.audit.note_key, key)

    async def flush(self, hops: Hops) -> None:
        """Write what was refused; what cannot be written waits for the next time."""
        await usage_storing.store(hops, self.journaling)

    async def keep(self, hops: Hops) -> None:
        """Keep the newest entry as signed head."""
        await hops.io(self.heads.keep)

    async def end(self, hops: Hops) -> None:
        """Write what waits, then keep the head: the last words before the database is closed."""
        try:
            await self.flush(hops)
            await self.keep(hops)
        except (OSError, IngotError) as error:  # a bad disk must not keep the rest from being closed
            log.warning("server.audit_not_ended error=%s", error)
