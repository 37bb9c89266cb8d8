"""Secrets of people for outside hosts: kept encrypted, never shown again, sent to their host only.

An operation gets what its requester may use there (`for_operation`): the requester's own credential for the
host. The fetch of a registered artifact is asked for by any reader, but its source was chosen by who
registered it: that person's credentials are used, never the reader's. For the Hub, or the mirror that the
server is set to, what the server is set to use comes next, and last, where that is allowed, the login that
the account running the server saved with the Hub's own tools. These two read for everybody; they write for
administrators only.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ingot.server.core import hosts, journal
from ingot.server.core.clock import Clock
from ingot.server.core.credentials import Credential, CredentialStore
from ingot.server.core.errors import Denied, NotFound, Reason, invalid_field
from ingot.server.core.identity import Caller, Scope, user_of
from ingot.server.core.kinds import KINDS
from ingot.server.core.operations import Operation
from ingot.server.core.pages import Page, PageTokens, page_size
from ingot.server.core.params import ExportParams, HubExport, HubImport, ImportParams, UrlImport

LONGEST_SECRET = 4096


@dataclass(frozen=True, slots=True)
class HubAccess:
    """What the server itself may say to the Hub."""

    endpoint: str = "https://huggingface.co"
    token: str = field(default="", repr=False)  # sent to the endpoint only
    saved_login: Callable[[str], str] = field(default=lambda _: "", repr=False)  # by host; "" without one


class Credentials:
    """The rules about credentials; methods run inside a unit of work."""

    def __init__(self, store: CredentialStore, pages: PageTokens, hub: HubAccess, clock: Clock) -> None:
        self._store = store
        self._pages = pages
        self._hub = hub
        self._clock = clock

    def set(self, caller: Caller, host: str, secret: str) -> Credential:
        """Keep the caller's secret for a host; it replaces an earlier one.

        Raises Invalid (NAME_INVALID, FIELD_INVALID), Denied (SCOPE_MISSING) for workers.
        """
        if caller.is_worker:
            raise Denied(
                Reason.SCOPE_MISSING,
                f"{caller.principal} is a worker's token; credentials are kept for people.",
                next_step="Use the token of a person.",
            )
        host = hosts.check_host(host)
        _check_secret(secret)
        now = self._clock.now()
        kept = self._store.put(Credential(caller.user, host, now, now), secret)
        journal.about(kept.name)
        return kept

    def page(self, caller: Caller, size: int, token: str) -> Page[Credential]:
        """Return a page of the caller's credentials in the order of their hosts.

        Raises Invalid (FIELD_INVALID, PAGE_TOKEN_INVALID).
        """
        size = page_size(size)
        query = f"ListCredentials {caller.principal}"
        after = self._pages.decode(query, token)
        if caller.is_worker:
            return Page(())
        rows = self._store.page(caller.user, str(after[0]) if after else "", size + 1)
        more = len(rows) > size
        return Page(tuple(rows[:size]), self._pages.encode(query, (rows[size - 1].host,)) if more else "")

    def delete(self, caller: Caller, user: str, host: str) -> None:
        """Forget a credential; one that is absent is no error.

        Raises Invalid (NAME_INVALID), NotFound (USER_NOT_FOUND) for other users' unless the caller is an
        administrator.
        """
        host = hosts.check_host(host, "name")
        mine = user == caller.user and not caller.is_worker
        if not mine and not (caller.is_admin and Scope.ADMIN in caller.scopes):
            raise NotFound(
                Reason.USER_NOT_FOUND,
                f"There is no user {user!r}, or its credentials are not yours.",
                next_step="ListCredentials shows yours with their names.",
                facts={"user": user},
            )
        self._store.delete(user, host)

    def secret_for(self, user: str, host: str) -> str | None:
        """Return what to send to a host in the name of a user; "" stands for the server itself.

        `host` is in its one form. Never returns a secret that was kept for another host.
        Raises DataLoss (DATA_LOSS).
        """
        own = self._store.secret(user, host) if user else None
        return own if own is not None else self._of_server(host)

    def for_writing(self, caller: Caller) -> bool:
        """Return whether the server's own token may be used for an export that the caller asks for.

        Raises Denied (SOURCE_DENIED) when there is no token that it may use; DataLoss (DATA_LOSS).
        """
        host = hosts.host_of(self._hub.endpoint)
        if self._store.secret(caller.user, host) is not None:
            return caller.is_admin
        theirs = self._of_server(host) is not None
        if caller.is_admin and theirs:
            return True
        why = "a token of your own, for that of the server is for administrators" if theirs else "a token"
        raise Denied(
            Reason.SOURCE_DENIED,
            f"Writing to {host} takes {why}, and {caller.principal} has none.",
            next_step=f"Keep one with `ingot credentials set {host}`, then export again.",
            facts={"host": host},
        )

    def _of_server(self, host: str) -> str | None:
        if self._hub.token and host == hosts.host_of(self._hub.endpoint):
            return self._hub.token
        return self._hub.saved_login(host) or None

    def for_operation(self, operation: Operation) -> Mapping[str, str]:
        """Return the secrets that the body of an operation may use, by host. Raises DataLoss."""
        who = _in_whose_name(operation)
        user = user_of(who)
        person = user if who == f"users/{user}" else ""
        secret_for = self.secret_for if _may_use_servers(operation) else self._store.secret
        found = {host: secret_for(person, host) for host in self._hosts(operation)}
        return {host: secret for host, secret in found.items() if secret is not None}

    def _hosts(self, operation: Operation) -> frozenset[str]:
        """Return the hosts that an operation speaks to; the body sends nothing in the clear."""
        match KINDS[operation.kind].params_type.model_validate(operation.params):
            case ImportParams(source=HubImport()) | ExportParams(destination=HubExport()):
                return frozenset({hosts.host_of(self._hub.endpoint)})
            case ImportParams(source=UrlImport(files=files)):
                urls = (url for file in files for url in file.urls)
                return frozenset(map(hosts.host_of, urls)) - {""}
            case _:
                return frozenset()


def _in_whose_name(operation: Operation) -> str:
    """Return the principal in whose name an operation speaks to outside hosts."""
    if operation.kind == "import":
        asked = ImportParams.model_validate(operation.params)
        if asked.registered:
            return asked.registrar
    return operation.requester


def _may_use_servers(operation: Operation) -> bool:
    """Return whether what the server itself may say to the Hub serves an operation."""
    if operation.kind != "export":
        return True
    asked = ExportParams.model_validate(operation.params).destination
    return isinstance(asked, HubExport) and asked.server_token


def _check_secret(secret: str) -> None:
    """Refuse what cannot be a token; the message never holds it. Raises Invalid (FIELD_INVALID)."""
    if not secret:
        raise invalid_field("secret", "expected a token, got nothing", next_step="To forget one, delete it.")
    if len(secret) > LONGEST_SECRET:
        raise invalid_field("secret", f"expected at most {LONGEST_SECRET} characters, got {len(secret)}")
    if not all("!" <= letter <= "~" for letter in secret):
        raise invalid_field(
            "secret", "expected visible ASCII characters without spaces, got others among them"
        )
