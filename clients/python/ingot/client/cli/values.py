"""What several commands take as the value of a flag: KEY=VALUE, and bytes a second."""

import json
import re

from ingot.client._errors import Invalid

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([KMG]?)i?B?(?:/s)?", re.IGNORECASE)


def pairs(settings: list[str], flag: str) -> dict[str, object]:
    """Return `key=value` texts as a dictionary; a value is JSON or else text. Raises Invalid."""
    found: dict[str, object] = {}
    for setting in settings:
        key, mark, text = setting.partition("=")
        if not mark or not key:
            example = "min_records=100" if flag == "--rule" else "accuracy=97.5"
            raise Invalid(
                f"{flag}: expected KEY=VALUE, got {setting!r}.",
                reason="USAGE",
                next_step=f"Write for example: {flag} {example}",
            )
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text
    return found


def rate(text: str) -> float:
    """Return bytes a second; 0 without a limit. Raises Invalid."""
    if not text:
        return 0.0
    match = _RATE.fullmatch(text)
    if not match or not float(match[1]):
        raise Invalid(
            f"--limit-rate: expected a number with K, M or G, got {text!r}.",
            reason="FIELD_INVALID",
            next_step="Write for example: --limit-rate 10M",
        )
    return float(match[1]) * _UNITS[match[2].upper()]
