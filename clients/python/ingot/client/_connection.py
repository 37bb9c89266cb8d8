"""Where to talk to and with which token.

Server: the argument, else INGOT_SERVER, else the current context of ~/.config/ingot/config.toml, else a
server on this machine, found through its data folder: the one INGOT_DATA_DIR names, `.run` of the working
folder (where `make run` keeps it), or the standard one. Such a server writes `server.json` with its addresses
and, for its owner alone, `admin.token`.

Token: the argument, else INGOT_TOKEN, else that of the context or data folder the server came from; a context
may keep a login, whose tokens are renewed as needed (`_logins.py`). A token never goes to a plaintext address
that is not loopback; that is refused before anything is sent.

Addresses: `host:port` (plaintext on loopback, else TLS), `http://host:port` (plaintext), `https://host[:port]`
(TLS), `unix:/path/to/socket`. For TLS the authorities of the system count, or those of INGOT_CA_FILE; a
certificate of one's own, where the server asks for one, is in INGOT_CERT_FILE and INGOT_KEY_FILE.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ingot.client import _contexts
from ingot.client._errors import Denied, Invalid, Unauthenticated, Unreachable

STANDARD_PORT = 7070
SERVER_FILE = "server.json"
TOKEN_FILE = "admin.token"
LOCAL_AUTHORITY = "certs/ca.pem"  # where `ingot-server certs` puts it
RUN_FOLDER = ".run"

_HOST_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+(%\w+)?\]|[^][:/\s?#@]+)(:(?P<port>[0-9]{1,9}))?")
_LOOPBACK = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|\[::1\]")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server's address, what protects the way there, and the credential."""

    target: str  # what gRPC dials: host:port or unix:/path
    tls: bool = False
    token: str = ""
    namespace: str = ""  # default namespace, when the context names one
    ca_file: str = ""  # certificates to trust instead of the system's
    cert_file: str = ""  # certificate of this client, with its key
    key_file: str = ""
    login: str = ""  # context that keeps the login that `token` is of
    source: str = ""  # where the address came from, in words

    def __repr__(self) -> str:
        shown = "hidden" if self.token else "none"
        return f"Endpoint({self.target!r}, tls={self.tls}, token={shown}, from {self.source})"

    @property
    def is_loopback(self) -> bool:
        """Whether nothing leaves this machine."""
        return self.target.startswith("unix:") or _host_is_loopback(self.target.rpartition(":")[0])

    @property
    def shown(self) -> str:
        """The address with where it came from, for messages."""
        return f"{self.target} (from {self.source})" if self.source else self.target


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Files for TLS that somebody named: authorities to trust, a certificate of one's own with its key."""

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


def find_endpoint(
    server: str | None = None,
    token: str | None = None,
    environ: Mapping[str, str] = os.environ,
    files: TlsFiles | None = None,
) -> Endpoint:
    """Return the endpoint to use, by the rules above. Raises Invalid, Denied, Unreachable."""
    endpoint = _with_files(_address(server, environ), files or TlsFiles(), environ)
    chosen = token or environ.get("INGOT_TOKEN")
    return checked(replace(endpoint, token=chosen, login="") if chosen else endpoint)


def checked(endpoint: Endpoint) -> Endpoint:
    """Return the endpoint unless its token cannot travel, or would in the clear.

    Raises Unauthenticated (TOKEN_INVALID) and Denied (TLS_REQUIRED).
    """
    if not re.fullmatch(r"[\x21-\x7e]*", endpoint.token):
        raise Unauthenticated(
            "The token is none: it has spaces, line breaks or letters that no token has.",
            reason="TOKEN_INVALID",
            next_step="Copy it again, in one piece; if it is from INGOT_TOKEN, look at what that holds.",
        )
    if endpoint.token:
        require_protected(endpoint, "a token")
    return endpoint


def endpoint_of(context: _contexts.Context) -> Endpoint:
    """Return the endpoint of one context, whichever is in use. Raises Invalid, Denied."""
    return checked(_of_context(parse_address(context.server, f"context {context.name!r}"), context))


def require_protected(endpoint: Endpoint, what: str) -> None:
    """Refuse to send a secret in the clear to another machine. Raises Denied (TLS_REQUIRED)."""
    if not endpoint.tls and not endpoint.is_loopback:
        raise Denied(
            f"Refused to send {what} to {endpoint.target} over an unprotected connection.",
            reason="TLS_REQUIRED",
            next_step=f"Use https://{endpoint.target}, or a tunnel (ssh -L) and its port on this machine.",
        )


def parse_address(text: str, source: str) -> Endpoint:
    """Return the endpoint of an address in one of the forms above. Raises Invalid."""
    socket = text.removeprefix("unix:").removeprefix("//")
    if text.startswith("unix:") and socket:
        return Endpoint(f"unix:{socket}", source=source)
    scheme, mark, rest = text.rpartition("://")
    found = _HOST_PORT.fullmatch(rest.rstrip("/"))
    if (mark and scheme not in ("http", "https")) or found is None:
        raise _not_an_address(text, source)
    host, port = found["host"], int(found["port"] or (443 if scheme == "https" else STANDARD_PORT))
    if not 0 < port < 65536:
        raise _not_an_address(text, source, f" A port is a number from 1 to 65535, not {port}.")
    tls = scheme == "https" or (not scheme and not _host_is_loopback(host))
    return Endpoint(f"{host}:{port}", tls=tls, source=source)


def _not_an_address(text: str, source: str, why: str = "") -> Invalid:
    return Invalid(
        f"Not a server address: expected host:port, [IPv6]:port, https://host:port or unix:/path,"
        f" got {text!r} (from {source}).{why}",
        reason="FIELD_INVALID",
        next_step=f"Write for example: --server localhost:{STANDARD_PORT}",
    )


def _address(server: str | None, environ: Mapping[str, str]) -> Endpoint:
    for text, source in ((server, "--server"), (environ.get("INGOT_SERVER"), "INGOT_SERVER")):
        if text:
            return _with_known_token(parse_address(text, source), environ)
    contexts = _contexts.load_contexts(environ)
    if context := contexts.current:
        found = parse_address(context.server, f"context {context.name!r} of {contexts.path}")
        return _of_context(found, context)
    for folder in _data_folders(environ):
        if local := _local(folder):
            return local
    raise Unreachable(
        "No Ingot server is known: there is no --server, no INGOT_SERVER, no context in"
        f" {contexts.path} and no server in {', '.join(map(str, _data_folders(environ)))}.",
        reason="SERVER_UNKNOWN",
        next_step="Start one with `ingot-server serve`, or name one: --server HOST:PORT",
    )


def _with_known_token(endpoint: Endpoint, environ: Mapping[str, str]) -> Endpoint:
    # A context or a local server with the very same address also knows the token for it.
    for context in _contexts.load_contexts(environ).all:
        known = parse_address(context.server, "config")
        if known.target == endpoint.target:
            return _of_context(replace(endpoint, tls=endpoint.tls or known.tls), context)
    for folder in _data_folders(environ):
        if endpoint.is_loopback and _dialled(endpoint.target) in _addresses(folder):
            return _with_tls_of(replace(endpoint, token=_token(folder)), folder)
    return endpoint


def _of_context(endpoint: Endpoint, context: _contexts.Context) -> Endpoint:
    return replace(
        endpoint,
        token=context.token,
        login=context.name if context.refresh_token else "",
        namespace=context.namespace,
        ca_file=context.ca_file,
        cert_file=context.cert_file,
        key_file=context.key_file,
    )


def _with_files(endpoint: Endpoint, files: TlsFiles, environ: Mapping[str, str]) -> Endpoint:
    """Return the endpoint with the files for TLS: those that were named, else INGOT_…, else the context's."""
    return replace(
        endpoint,
        ca_file=files.ca_file or environ.get("INGOT_CA_FILE") or endpoint.ca_file,
        cert_file=files.cert_file or environ.get("INGOT_CERT_FILE") or endpoint.cert_file,
        key_file=files.key_file or environ.get("INGOT_KEY_FILE") or endpoint.key_file,
    )


def _with_tls_of(endpoint: Endpoint, folder: Path) -> Endpoint:
    """Return the endpoint of a server on this machine with TLS if it says that it speaks that."""
    if endpoint.target.startswith("unix:") or _announced(folder).get("tls") is not True:
        return endpoint
    authority = folder / LOCAL_AUTHORITY
    return replace(endpoint, tls=True, ca_file=str(authority) if authority.exists() else "")


def _data_folders(environ: Mapping[str, str]) -> list[Path]:
    """Return the folders where a server of this machine may keep its data, likeliest first."""
    if named := environ.get("INGOT_DATA_DIR"):
        return [Path(named)]
    data = environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local", "share")
    return [Path.cwd() / RUN_FOLDER, Path(data) / "ingot"]


def _local(folder: Path) -> Endpoint | None:
    addresses = _addresses(folder)
    if not addresses:
        return None
    endpoint = Endpoint(addresses[0], source=f"the local server in {folder}")
    return _with_tls_of(replace(endpoint, token=_token(folder)), folder)


def _announced(folder: Path) -> Mapping[str, object]:
    """Return what the server that runs on this folder tells of itself; nothing when none does."""
    try:
        written = json.loads((folder / SERVER_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return written if isinstance(written, dict) and _alive(written.get("pid")) else {}


def _addresses(folder: Path) -> list[str]:
    """Return the addresses of the server that runs on this folder, best first; none when it does not."""
    written = _announced(folder)
    listed = written.get("listen")
    tcp = [each for each in listed if isinstance(each, str)] if isinstance(listed, list) else []
    socket = written.get("socket")
    found = [f"unix:{socket}"] if isinstance(socket, str) and socket and os.path.exists(socket) else []
    return found + [_dialled(each) for each in tcp]


def _dialled(listen: str) -> str:
    # A server that listens everywhere is reached on loopback, which goes by more than one name.
    return re.sub(r"^(0\.0\.0\.0|\[::\]|localhost):", "127.0.0.1:", listen)


def _alive(pid: object) -> bool:
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's process
    return True


def _token(folder: Path) -> str:
    try:
        return (folder / TOKEN_FILE).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
    except PermissionError as failure:
        raise Unauthenticated(
            f"The token of the local server is not yours to read: {folder / TOKEN_FILE}.",
            reason="TOKEN_MISSING",
            next_step="Ask its administrator for a token and sign in: ingot login --server ADDRESS",
        ) from failure


def _host_is_loopback(host: str) -> bool:
    return _LOOPBACK.fullmatch(host.lower()) is not None
