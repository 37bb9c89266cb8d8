"""Outside hosts as credentials name them: `huggingface.co`, `mirror.example:8443`, `[::1]:8080`.

A credential goes to the very host and port it was kept for, so both are written in one form: lower case, and
the port only where it is not that of the scheme.
"""

import ipaddress
import re
import urllib.parse

from ingot.server.core.errors import FieldProblem, Invalid, Reason

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_PORTS = {"http": 80, "https": 443}
_LIMIT = 253


def check_host(text: str, field: str = "host") -> str:
    """Return a host, with its port if one is told, in its one form. Raises Invalid (NAME_INVALID)."""
    found = _parsed(text)
    if found is None:
        shown = text if len(text) <= 120 else text[:117] + "..."
        message = f"{field}: expected a host such as huggingface.co or mirror.example:8443, got {shown!r}."
        raise Invalid(
            Reason.NAME_INVALID,
            message,
            next_step="Leave out https:// and whatever comes after the host.",
            facts={"field": field, "got": shown},
            fields=(FieldProblem(field, message, Reason.NAME_INVALID),),
        )
    return found


def host_of(url: str) -> str:
    """Return the host of an http(s) address in its one form, "" when it has none."""
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    name = parts.hostname or ""
    standard = port is None or port == _PORTS.get(parts.scheme.lower())
    return _parsed(_joined(name, None if standard else port)) or ""


def _parsed(text: str) -> str | None:
    """Return a host in its one form, None when it is none."""
    try:
        parts = urllib.parse.urlsplit(f"//{text}")
        name, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    if not text.isascii() or parts.netloc != text or "@" in text or port == 0 or text.endswith(":"):
        return None
    name = name.removesuffix(".")
    if ":" in name:
        try:
            name = str(ipaddress.IPv6Address(name))
        except ValueError:
            return None
    elif not _NAME.fullmatch(name) or len(name) > _LIMIT:
        return None
    return _joined(name, port)


def _joined(name: str, port: int | None) -> str:
    bracketed = f"[{name}]" if ":" in name and not name.startswith("[") else name
    return bracketed if port is None else f"{bracketed}:{port}"
