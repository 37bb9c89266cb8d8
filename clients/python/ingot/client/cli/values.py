"""What several commands take as the value of a flag: KEY=VALUE, and bytes a second."""

import json
import math
import re

from ingot.client._errors import Invalid

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([KMG]?)i?B?(?:/s)?", re.IGNORECASE)


_MOST_WHOLE = 2**53  # numbers of free structures are doubles: beyond, digits are lost
_NUMBERS = ("--metric", "--rule")  # whose values are numbers, whatever becomes of their last digits


def pairs(settings: list[str], flag: str) -> dict[str, object]:
    """Return `key=value` texts as a dictionary; a value is JSON or else text. Raises Invalid.

    What would be another number when it is kept as one stays text: python=3.10, id=12345678901234567890.
    """
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
            value = json.loads(text)
        except ValueError:
            value = text
        found[key] = text if flag not in _NUMBERS and _loses(value, text, flag) else value
    return found


def _loses(value: object, text: str, flag: str) -> bool:
    """Return whether a number says less than its text: of a requirement 3.10 is another version than 3.1."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if isinstance(value, int):
        return abs(value) > _MOST_WHOLE
    version = flag == "--requirement" and text.endswith("0") and "e" not in text.lower()
    return version or not math.isfinite(value)


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
