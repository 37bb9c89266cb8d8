"""The client: one object per server, with a part for each thing one may do.

with Client() as client:                       # finds the server, see `_connection.py`
    client.catalog.list("models")
    client.training.create("datasets/chat", output="models/tiny", start=True)
    client.pull("models/tiny@prod", "tiny/")
"""

from copy import copy
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING

from ingot.client import _connection, _identity
from ingot.client._calls import DEFAULT_TIMEOUT, Calls
from ingot.client._channels import Link, link_to
from ingot.client._connection import Endpoint, TlsFiles
from ingot.client._names import Names
from ingot.client._scopes import Scope
from ingot.client._transfers import Transfers

if TYPE_CHECKING:  # each part is imported when it is first used: a command needs one of them
    from ingot.client._approvals import Approvals
    from ingot.client._audit import Audit
    from ingot.client._auth import Auth
    from ingot.client._catalog import Catalog
    from ingot.client._operations import Operations
    from ingot.client._system import System
    from ingot.client._training import Training
    from ingot.client._trees import Trees
    from ingot.client._uploads import Uploads
    from ingot.client._versions import Versions
    from ingot.client._workers import Workers


class Client(Transfers):
    """A connection to one Ingot server; safe to use from several threads, closed once.

    Replies are the API's own messages (`ingot.v1`), taken out of their response. Failures are IngotError.
    """

    def __init__(
        self,
        server: str | None = None,
        token: str | None = None,
        *,
        namespace: str = "",
        user: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        link: Link | None = None,
        tls: TlsFiles | None = None,
    ) -> None:
        """Prepare a connection; nothing is sent before the first call.

        `namespace` is what references without one mean (else the caller's own), `user` the name recorded
        beside the credential (else found on this machine), `timeout` the deadline of unary calls in seconds,
        `link` channels that were made elsewhere, `tls` authorities to trust and a certificate of one's own.
        """
        self._link = link or dialled(_connection.find_endpoint(server, token, files=tls))
        endpoint = self._link.endpoint
        self._namespace = namespace or endpoint.namespace
        self._user = _identity.declared_user() if user is None else user
        self._calls = Calls(
            endpoint.shown, _identity.headers(self._user), self._link.signed_in, timeout=timeout
        )
        # The server is asked only when a reference names no namespace.
        self.names = Names(lambda: self._namespace or self.auth.me().namespace.removeprefix("namespaces/"))

    @cached_property
    def auth(self) -> "Auth":
        """Users and API tokens."""
        from ingot.client._auth import Auth

        return Auth(self._link, self._calls)

    @cached_property
    def catalog(self) -> "Catalog":
        """Models and datasets, their versions and aliases."""
        from ingot.client._catalog import Catalog

        return Catalog(self._link, self._calls, self.names)

    @cached_property
    def versions(self) -> "Versions":
        """What is said about versions, what is in them, and how two of them differ."""
        from ingot.client._versions import Versions

        return Versions(self._link, self._calls, self.names)

    @cached_property
    def training(self) -> "Training":
        """Training jobs, and text from what they made."""
        from ingot.client._training import Training

        return Training(self._link, self._calls, self.names)

    @cached_property
    def uploads(self) -> "Uploads":
        """Uploads, and the files of any tree."""
        from ingot.client._uploads import Uploads

        return Uploads(self._link, self._calls, self.names)

    @cached_property
    def trees(self) -> "Trees":
        """Trees chunk by chunk, for programs that keep chunks in a form of their own."""
        from ingot.client._trees import Trees

        return Trees(self._link, self._calls, self.names)

    @cached_property
    def workers(self) -> "Workers":
        """Machines that train."""
        from ingot.client._workers import Workers

        return Workers(self._link, self._calls)

    @cached_property
    def operations(self) -> "Operations":
        """Background work of the server."""
        from ingot.client._operations import Operations

        return Operations(self._link, self._calls, self.names, self._namespace)

    @cached_property
    def system(self) -> "System":
        """The server itself."""
        from ingot.client._system import System

        return System(self._link, self._calls)

    @cached_property
    def audit(self) -> "Audit":
        """The audit log: who changed what."""
        from ingot.client._audit import Audit

        return Audit(self._link, self._calls, self.names)

    @cached_property
    def approvals(self) -> "Approvals":
        """Approvals of versions."""
        from ingot.client._approvals import Approvals

        return Approvals(self._link, self._calls, self.names)

    def with_timeout(self, seconds: float) -> "Client":
        """Return a client over the same connection with another deadline for unary calls."""
        return Client(namespace=self._namespace, user=self._user, timeout=seconds, link=self._link)

    def within(self, scope: Scope) -> "Client":
        """Return a client over the same connection whose calls end when the scope is stopped."""
        found = copy(self)
        for name, part in vars(Client).items():
            if isinstance(part, cached_property):  # it has calls of its own
                vars(found).pop(name, None)
        vars(found)["_calls"] = self._calls.within(scope)
        return found

    @property
    def endpoint(self) -> Endpoint:
        """Where it talks to."""
        return self._link.endpoint

    def close(self) -> None:
        """Close the connection; calls in flight are cancelled."""
        self._link.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def dialled(endpoint: Endpoint) -> Link:
    """Return a link to a server, signed in as its context says. Raises Invalid for files it cannot read."""
    link = link_to(endpoint)
    if endpoint.login:
        from ingot.client import _logins  # only for those who signed in with a password

        _logins.sign_in_from(link, endpoint.login)
    return link
