"""Why the Hub did not give what was asked of it: its refusals and failures as our errors, told apart.

Without a token the Hub answers alike (401) for names that nobody has and for those that are private; with one
it answers 404 for both. Each error says which of them it may be, and how to give a token.
"""

import socket
import ssl
from dataclasses import dataclass

import httpx2

from ingot.server.core.errors import (
    Denied,
    FieldProblem,
    IngotError,
    Invalid,
    NotFound,
    Precondition,
    Reason,
    Unavailable,
)
from ingot.server.core.hosts import host_of
from ingot.server.sources.addresses import named
from ingot.server.sources.answers import Answer


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of the Hub, for telling why it was not answered."""

    endpoint: str
    source: str  # hf://…
    revision: str
    is_signed_in: bool

    @property
    def host(self) -> str:
        """The Hub's host, as credentials name it."""
        return host_of(self.endpoint)

    def judge(self, response: httpx2.Response) -> None:
        """Raise our error for an answer that is none."""
        if response.status_code < 400:
            return
        code = response.headers.get("X-Error-Code", "")
        if code == "GatedRepo":
            raise self.gated()
        if code == "RevisionNotFound":
            raise NotFound(
                Reason.SOURCE_NOT_FOUND,
                f"{self.source} has no revision {self.revision!r}.",
                next_step="Give a branch, tag or commit of it, or none for its main branch.",
                facts=self._facts("revision"),
            )
        if response.status_code in (401, 403):
            raise self._denied(response.status_code)
        if response.status_code == 404:
            raise NotFound(
                Reason.SOURCE_NOT_FOUND,
                f"{self.host} has no {self.source}, or does not show it to this token.",
                next_step="Check the spelling, and that it is a "
                + ("dataset." if "datasets/" in self.source else "model; datasets are hf://datasets/…."),
                facts=self._facts("name"),
            )
        raise Answer(response.url, response.status_code, _lowered(response.headers)).failure()

    def gated(self) -> Denied:
        """Return the error for a repository whose files need consent."""
        page = f"{self.endpoint}/{self.source.removeprefix('hf://')}"
        if self.is_signed_in:
            message = f"{self.source} is gated, and this token has not been let in."
            step = f"Ask for access at {page}, with the account of the token, then retry."
        else:
            message = f"{self.source} is gated: its files need a token whose account was let in."
            step = f"Ask for access at {page}, then {self._give_token()}"
        return Denied(Reason.SOURCE_DENIED, message, next_step=step, facts=self._facts("gated"))

    def unreachable(self, error: httpx2.TransportError) -> IngotError:
        """Return the error for a network that did not bring an answer."""
        cause, what = _cause(error)
        if cause == "address":
            return no_endpoint(self.endpoint)
        return Unavailable(
            Reason.SOURCE_UNREACHABLE,
            f"{self.host} cannot be reached: {what}.",
            next_step="Check the server's network, firewall and setting hub_endpoint, then retry.",
            facts=self._facts(cause),
        )

    def misunderstood(self, error: Exception) -> IngotError:
        """Return the error for what the library could not make sense of."""
        if type(error).__name__ == "HFValidationError":
            message = f"{self.source}: expected hf://OWNER/NAME or hf://datasets/OWNER/NAME."
            problem = FieldProblem("hub.repository", message, Reason.NAME_INVALID)
            return Invalid(Reason.NAME_INVALID, message, facts=self._facts("name"), fields=(problem,))
        return self.not_a_hub()

    def not_a_hub(self) -> Precondition:
        """Return the error for a server that speaks something else."""
        return Precondition(
            Reason.SOURCE_UNREACHABLE,
            f"{self.endpoint} does not answer as the Hugging Face Hub does.",
            next_step="Check the server's setting hub_endpoint, and any proxy between.",
            facts=self._facts("protocol"),
        )

    def unprotected(self, url: httpx2.URL) -> Precondition:
        """Return the error for a redirect that leaves TLS."""
        return Precondition(
            Reason.SOURCE_UNREACHABLE,
            f"{self.endpoint} leads to {named(url)}, where nothing protects what is said.",
            next_step="Check the server's setting hub_endpoint, and any proxy between.",
            facts=self._facts("redirect"),
        )

    def no_library(self) -> Precondition:
        """Return the error for a server that was installed without the library."""
        return Precondition(
            Reason.ENVIRONMENT_MISSING,
            "The server cannot speak to the Hub: the package huggingface_hub is not installed.",
            next_step="Install it beside the server: pip install 'ingot[hub]'",
            facts=self._facts("library"),
        )

    def _denied(self, status: int) -> Denied:
        if self.is_signed_in:
            message = f"{self.host} does not take the token for {self.source} (HTTP {status})."
            step = (
                "Check that the token is still good, and may read this repository; then " + self._give_token()
            )
        else:
            message = f"{self.host} shows no {self.source} without a token: no such name, or private."
            step = f"Check the spelling. If it is private, {self._give_token()}"
        return Denied(Reason.SOURCE_DENIED, message, next_step=step, facts=self._facts("token"))

    def _give_token(self) -> str:
        return (
            f"keep a token with `ingot credentials set {self.host}`, or start the server with "
            "HUGGINGFACE_TOKEN set, and retry."
        )

    def _facts(self, cause: str) -> dict[str, str]:
        return {"source": self.source, "host": self.host, "cause": cause}


def no_endpoint(endpoint: str) -> Invalid:
    """Return the error for a setting that is no address."""
    message = f"hub_endpoint: expected an address such as https://huggingface.co, got {endpoint!r}."
    return Invalid(
        Reason.FIELD_INVALID,
        message,
        next_step="Change that setting of the server.",
        fields=(FieldProblem("hub_endpoint", message),),
    )


def _lowered(headers: httpx2.Headers) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _cause(error: BaseException) -> tuple[str, str]:
    """Return in a word and in a sentence why there was no answer."""
    if isinstance(error, httpx2.UnsupportedProtocol | httpx2.LocalProtocolError):
        return "address", str(error)
    if isinstance(error, httpx2.TimeoutException):
        return "stalled", "it did not answer in time"
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, socket.gaierror):
            return "dns", "its name has no address here"
        if isinstance(inner, ssl.SSLError):
            return "tls", f"its certificate is not taken ({inner.reason or inner})"
        inner = inner.__cause__ or inner.__context__
    if isinstance(error, httpx2.ConnectError):
        return "connect", f"no connection ({error})"
    return "network", f"the connection broke ({error})"
