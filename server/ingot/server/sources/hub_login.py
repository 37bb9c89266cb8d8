"""The login that somebody saved on this machine with the Hub's own tools (`hf auth login`).

It lies in a file below the home folder of the account, where `HF_TOKEN_PATH` and `HF_HOME` may move it:
https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables
"""

from collections.abc import Mapping
from pathlib import Path

HUB_HOST = "huggingface.co"  # whom the tools save it for


def saved_token(host: str, environment: Mapping[str, str]) -> str:
    """Return the saved token for a host; "" for any other host than the Hub's, or when there is none."""
    if host != HUB_HOST:
        return ""
    try:
        return _place(environment).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _place(environment: Mapping[str, str]) -> Path:
    told = environment.get("HF_TOKEN_PATH", "")
    if told:
        return Path(told).expanduser()
    home = environment.get("HF_HOME", "")
    if home:
        return Path(home).expanduser() / "token"
    cache = environment.get("XDG_CACHE_HOME", "") or "~/.cache"
    return Path(cache).expanduser() / "huggingface" / "token"
