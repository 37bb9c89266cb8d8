"""What a call says about its sender besides the credential: program, version and the user's own name.

The name is recorded by the server beside the signed-in principal and grants nothing.
"""

import os
from collections.abc import Mapping
from urllib.parse import quote

from ingot.client._version import VERSION

CLIENT_NAME = "ingot-python"
_WHOAMI_SECONDS = 2.0


def declared_user(environ: Mapping[str, str] = os.environ) -> str:
    """Return the user's name: from USER or USERNAME, else the operating system, else `whoami`, else empty."""
    for variable in ("USER", "USERNAME"):
        if name := environ.get(variable, "").strip():
            return name
    return _system_user() or _whoami()


def version() -> str:
    """Return the version of this client."""
    return VERSION


def headers(user: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata of all calls, without a credential; a name beyond ASCII is percent-encoded."""
    pairs = [("x-client", f"{CLIENT_NAME}/{version()}")]
    if user:
        pairs.append(("x-ingot-user", quote(user, safe=" !#$&'()*+,/:;=?@[]\\")))
    return tuple(pairs)


def _system_user() -> str:
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):  # no such database (Windows), or no entry for the number (containers)
        return ""


def _whoami() -> str:
    import subprocess  # hardly ever needed, and slow to import

    try:
        done = subprocess.run(
            ["whoami"], capture_output=True, text=True, timeout=_WHOAMI_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
