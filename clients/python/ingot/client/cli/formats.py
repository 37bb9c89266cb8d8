"""How numbers, times and names are written for people.

Sizes count in 1024, as the systems before Ingot did: 768 KB is 0.75 MB.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf import duration_pb2, timestamp_pb2

# Control characters but tab and line break, and those that turn the direction of what follows.
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_FIGURE = re.compile(r"[0-9][0-9,.]*( [KMGT]?B| s)?")
_KB, _MB, _GB, _TB = 1024, 1024**2, 1024**3, 1024**4


def visible(text: str) -> str:
    r"""Return a text with control characters written out (`\x1b`), so that it cannot steer a terminal.

    So are those that turn the direction of writing: with them one cell of a row could pass for another.
    """
    text = text.replace("\r\n", "\n")
    return _UNSEEN.sub(lambda found: _written_out(ord(found[0])), text)


def _written_out(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # the latter is JSON, too


def cell(text: str) -> str:
    """Return a visible text in one line, for a place that has no more."""
    return visible(text).replace("\t", "\\t").replace("\n", "\\n")


def size(count: float) -> str:
    """Return bytes in words: `512 B`, `12.3 KB`, `0.75 MB`, `1.20 GB`."""
    if count < 1000:
        return f"{count:.0f} B"
    if count < 100 * _KB:
        return f"{count / _KB:.1f} KB"
    for unit, word in ((_TB, "TB"), (_GB, "GB")):
        if count >= unit:
            return f"{count / unit:.2f} {word}"
    return f"{count / _MB:.2f} MB"


def count(number: float) -> str:
    """Return a whole number with its thousands apart."""
    return f"{number:,.0f}"


def plural(number: int, word: str, many: str = "") -> str:
    """Return `1 file`, `2 files`."""
    return f"{count(number)} {word if number == 1 else many or word + 's'}"


def seconds(span: float) -> str:
    """Return a time span: `0.8 s`, `42 s`, `3m 05s`, `2h 10m`, `4d 02h`."""
    if span < 10:
        return f"{span:.1f} s"
    whole = round(span)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02}m"
    return f"{whole // 86400}d {whole % 86400 // 3600:02}h"


def duration(span: "duration_pb2.Duration") -> str:
    """Return a time span of a message."""
    return seconds(span.seconds + span.nanos / 1e9)


def moment(time: "timestamp_pb2.Timestamp") -> str:
    """Return a time in the zone of this machine, to the second; `-` when it is not set."""
    return moment_of(time.seconds) if time.seconds else "-"


def moment_of(seconds: float) -> str:
    """Return the same of seconds since 1970."""
    return datetime.fromtimestamp(int(seconds), UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def clock(time: "timestamp_pb2.Timestamp") -> str:
    """Return the time of day in the zone of this machine."""
    return datetime.fromtimestamp(time.seconds, UTC).astimezone().strftime("%H:%M:%S")


def number(value: float) -> str:
    """Return a measured number with as many digits as help: `2.3105`, `1.8e-03`, `12,300`."""
    if value == 0 or value != value:
        return f"{value:g}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) < 0.01:
        return f"{value:.2e}"
    return f"{value:.4g}"


def word(enum_name: str, prefix: str) -> str:
    """Return `ready` for VERSION_STATE_READY with the prefix VERSION_STATE; `-` for an unspecified one."""
    bare = enum_name.removeprefix(f"{prefix}_").lower()
    return "-" if bare == "unspecified" else bare


def width(text: str) -> int:
    """Return how many columns a terminal needs: wide letters take two, joining marks none."""
    total = 0
    for letter in text:
        if unicodedata.combining(letter) or unicodedata.category(letter) in ("Cf", "Me", "Mn"):
            continue
        total += 2 if unicodedata.east_asian_width(letter) in ("F", "W") else 1
    return total


def columns(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return rows as lines whose cells stand below each other; numbers of a column align to the right."""
    table = [[cell(text) for text in row] for row in rows]
    if not table:
        return []
    widths = [max(width(row[at]) for row in table) for at in range(len(table[0]))]
    right = [all(_is_figure(row[at]) for row in table[1:]) and len(table) > 1 for at in range(len(table[0]))]
    return [
        "  ".join(_padded(cell, widths[at], right[at]) for at, cell in enumerate(row)).rstrip()
        for row in table
    ]


def _padded(cell: str, to: int, right: bool) -> str:
    gap = " " * (to - width(cell))
    return gap + cell if right else cell + gap


def _is_figure(cell: str) -> bool:
    return _FIGURE.fullmatch(cell) is not None
