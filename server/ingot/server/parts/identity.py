"""The parts of users, tokens and credentials, wired for app.py.

parts = IdentityParts(settings, folder, counters, requests, tokens, clock, database.after_commit)
Credentials(hops, parts.sign_in, clock)              # of the pipeline
parts.operation_tokens.make(operation)               # for the body of an operation
parts.credentials.for_operation(operation)           # the secrets that it may use
parts.serve(hops, grpc_server)
"""

import logging
import os
from pathlib import Path
from typing import Protocol

import grpc

from ingot.server.core import keys
from ingot.server.core.catalog_stores import CounterStore
from ingot.server.core.clock import Clock
from ingot.server.core.namespaces import Quotas
from ingot.server.core.pages import PageTokens
from ingot.server.domain.access_tokens import AccessTokens
from ingot.server.domain.credentials import Credentials, HubAccess
from ingot.server.domain.events import AfterCommit
from ingot.server.domain.identity import Identity
from ingot.server.domain.login_attempts import LoginAttempts
from ingot.server.domain.logins import Logins, Tokens
from ingot.server.domain.made_tokens import MadeTokens
from ingot.server.domain.members import Members, MemberStores
from ingot.server.domain.namespaces import Namespaces
from ingot.server.domain.operation_tokens import Fence, OperationTokens, SignIn
from ingot.server.domain.passwords import Passwords
from ingot.server.domain.refresh_tokens import RefreshTokens
from ingot.server.domain.requests import Requests
from ingot.server.domain.restoring import Restoring
from ingot.server.domain.users import Users
from ingot.server.rpc import usage_storing
from ingot.server.rpc.auth import AuthServicer
from ingot.server.rpc.auth_rules import AuthRules
from ingot.server.rpc.hops import Hops
from ingot.server.rpc.password_hashing import PasswordHashing
from ingot.server.rpc.tls import Tls
from ingot.server.settings.checks import is_loopback
from ingot.server.settings.fields import Settings
from ingot.server.sources import hub_login
from ingot.server.storage.accounts_sql import AccountsSql
from ingot.server.storage.aliases_sql import AliasesSql
from ingot.server.storage.credentials_sql import CredentialsSql
from ingot.server.storage.identity_sql import TokensSql, UsersSql
from ingot.server.storage.logins_sql import LoginsSql
from ingot.server.storage.members_sql import MembersSql
from ingot.server.storage.operations_sql import OperationsSql
from ingot.server.storage.sealing import Sealer
from ingot.v1 import auth_pb2_grpc

log = logging.getLogger(__name__)


class Secrets(Protocol):
    """What of a data folder credentials are made with."""

    secret: bytes
    server_id: str


class IdentityParts:
    """The rules of who may come in, and their servicer."""

    def __init__(
        self,
        settings: Settings,
        folder: Secrets,
        counters: CounterStore,
        requests: Requests,
        tokens: PageTokens,
        clock: Clock,
        after_commit: AfterCommit,
    ) -> None:
        users, secret, server_id = UsersSql(), folder.secret, folder.server_id
        self.identity = Identity(users, TokensSql(), counters, requests, tokens, clock, after_commit)
        self.operation_tokens = OperationTokens(secret)
        login_tokens = Tokens(
            AccessTokens(
                keys.derived(secret, keys.ACCESS_TOKENS), server_id, settings.login_minutes * 60.0, clock
            ),
            RefreshTokens(keys.derived(secret, keys.REFRESH_TOKENS)),
            settings.login_days,
        )
        self.made_tokens = MadeTokens(TokensSql(), clock, self.identity.rights_changed)
        self.logins = Logins(LoginsSql(), self.identity, login_tokens, self.made_tokens, counters, clock)
        self.users = Users(users, MembersSql(), self.identity, self.logins, self.made_tokens, clock)
        self.restoring = Restoring(self.logins, self.made_tokens)
        self._attempts = LoginAttempts(clock)
        fence = Fence(OperationsSql())
        self.sign_in = SignIn(self.identity, self.logins, self.operation_tokens, fence, users)
        sealer = Sealer(keys.derived(secret, keys.CREDENTIALS))
        self.credentials = Credentials(CredentialsSql(sealer), tokens, hub_access(settings), clock)

        quotas = Quotas(settings.namespace_quota_bytes, settings.namespace_physical_quota_bytes)
        self.namespaces = Namespaces(AccountsSql(), AliasesSql(), tokens, quotas)
        self.members = Members(
            MemberStores(MembersSql(), users),
            requests,
            tokens,
            clock,
            self.identity.rights_changed,
            settings.namespaces_per_member,
            settings.sources_namespace,
        )

    def serve(self, hops: Hops, server: grpc.aio.Server) -> None:
        """Add AuthService to a server."""
        rules = AuthRules(
            identity=self.identity,
            users=self.users,
            logins=self.logins,
            attempts=self._attempts,
            hashing=PasswordHashing(hops, Passwords()),
            credentials=self.credentials,
            namespaces=self.namespaces,
            members=self.members,
        )
        auth_pb2_grpc.add_AuthServiceServicer_to_server(AuthServicer(hops, rules), server)

    async def store_uses(self, hops: Hops) -> None:
        """Write down when tokens were last used; what cannot be written waits for the next time."""
        await usage_storing.store(hops, self.identity.uses)


def hub_access(settings: Settings) -> HubAccess:
    """Return what the server may say to the Hub, as it is set."""

    def saved(host: str) -> str:
        return hub_login.saved_token(host, os.environ) if settings.hub_login else ""

    return HubAccess(settings.hub_endpoint, settings.hub_token, saved)


def tls_of(settings: Settings) -> Tls | None:
    """Return what the addresses are protected with, as it is set. Raises TlsError."""
    if not settings.has_tls:
        open_ = [address for address in settings.listen if not is_loopback(address)]
        if open_:
            log.warning("server.unprotected addresses=%s: tokens and data can be read there", ",".join(open_))
        return None
    authority = settings.tls_client_ca
    return Tls(settings.tls_cert, settings.tls_key, None if authority == Path() else authority)
