"""The parts of the audit log, wired for app.py.

parts = AuditParts(usage, tokens, clock, folder.server_id)
hops = Hops(database, parts.journaling)              # entries are made in the writes of calls
Pipeline(…, ended=parts.journaling.ended)
"""

from ingot.server.core.clock import Clock
from ingot.server.core.pages import PageTokens
from ingot.server.domain.audit import Audit
from ingot.server.domain.usage import Usage
from ingot.server.rpc.journaling import Journaling
from ingot.server.storage.audit_sql import AuditSql


class AuditParts:
    """The rules of the audit log and what makes its entries."""

    def __init__(self, usage: Usage, tokens: PageTokens, clock: Clock, server: str) -> None:
        self.audit = Audit(AuditSql(), tokens, clock, server)
        self.journaling = Journaling(self.audit, usage, clock)
