"""Rules for the paths of files in a tree, the same on every platform and on both ends of a transfer.

A path that one common file system cannot hold, or that two file systems would read differently, is refused
before it enters a tree: whoever pulls the tree later may sit at another operating system. Paths are never
repaired silently.
"""

import re
import unicodedata
from collections.abc import Iterable

from ingot.content.texts import shortened

MAX_PATH_BYTES = 1024
MAX_PART_BYTES = 255

# Windows cannot hold these in a name; ":" would also open a drive or an alternate stream there.
_FORBIDDEN = frozenset('<>:"|?*')
_RESERVED = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$"]
    + [device + digit for device in ("com", "lpt") for digit in "0123456789¹²³"]
)
# Most paths: ASCII letters, digits and "_-." in parts that nobody could take amiss. They need no closer look,
# which takes thirty times as long.
_DEVICE = r"(?i:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:[./]|\Z)"
_PART = rf"(?!{_DEVICE})[A-Za-z0-9_-](?:[A-Za-z0-9_.-]{{0,250}}[A-Za-z0-9_-])?"
_PLAIN = re.compile(f"{_PART}(?:/{_PART})*")


class PathError(Exception):
    """A path breaks a rule. `path` is the path as it may be shown, `rule` says in words which rule."""

    def __init__(self, path: str, rule: str) -> None:
        self.path = shortened(path)
        super().__init__(f"path {self.path!r} is refused: {rule}")
        self.rule = rule


def check_path(path: str) -> None:
    """Raise PathError unless `path` may name a file in a tree, under POSIX and Windows rules alike."""
    if len(path) > MAX_PATH_BYTES or not _PLAIN.fullmatch(path):
        _check_closely(path)


def _check_closely(path: str) -> None:
    try:
        encoded = path.encode("utf-8")
    except UnicodeEncodeError:
        raise PathError(path, "it is not valid Unicode; rename the file to a UTF-8 name") from None
    if not path:
        raise PathError(path, "it is empty")
    if len(encoded) > MAX_PATH_BYTES:
        raise PathError(path, f"it is {len(encoded)} bytes long, at most {MAX_PATH_BYTES} are allowed")
    if unicodedata.normalize("NFC", path) != path:
        raise PathError(path, "it is not in Unicode form NFC")
    if path.startswith("/"):
        raise PathError(path, "it starts with '/'; paths in a tree are relative")
    for character in path:
        if unicodedata.category(character) == "Cc":
            raise PathError(path, f"it contains the control character U+{ord(character):04X}")
        if character == "\\":
            raise PathError(path, "it contains a backslash; parts are separated by '/'")
        if character in _FORBIDDEN:
            raise PathError(path, f"it contains {character!r}, which Windows cannot store in a name")
    for part in path.split("/"):
        _check_part(path, part)


def check_tree(paths: Iterable[str]) -> None:
    """Raise PathError unless all `paths` may stand together in one tree.

    Beside the rules for each path: no path stands twice, no file is also a folder, and no two names differ
    only by case, because a file system that ignores case would merge them.
    """
    spelling: dict[str, str] = {}
    files: set[str] = set()
    folders: set[str] = set()
    for path in paths:
        check_path(path)
        if path in files:
            raise PathError(path, "it stands twice in the tree")
        files.add(path)
        end = path.find("/")
        while end != -1:
            folder = path[:end]
            if folder not in folders:
                folders.add(folder)
                _check_spelling(spelling, path, folder)
            end = path.find("/", end + 1)
        _check_spelling(spelling, path, path)
    both = files & folders
    if both:
        raise PathError(min(both), "it is a file and a folder at once")


def fold(path: str) -> str:
    """Return the key under which a file system that ignores case and Unicode form would store `path`."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


def _check_spelling(spelling: dict[str, str], path: str, name: str) -> None:
    known = spelling.setdefault(fold(name), name)
    if known != name:
        raise PathError(
            path, f"{shortened(name)!r} and {shortened(known)!r} would be the same name where case is ignored"
        )


def _check_part(path: str, part: str) -> None:
    if part == "":
        raise PathError(path, "it has an empty part ('//' or a '/' at the end)")
    if part in (".", ".."):
        raise PathError(path, f"it contains the part {part!r}")
    shown = shortened(part)
    if part[-1] in ". ":
        raise PathError(path, f"its part {shown!r} ends with a dot or a space, which Windows drops")
    if len(part.encode("utf-8")) > MAX_PART_BYTES:
        raise PathError(path, f"its part {part[:40] + '…'!r} is longer than {MAX_PART_BYTES} bytes")
    stem = part.split(".", 1)[0].rstrip(" ").casefold()
    if stem in _RESERVED:
        raise PathError(path, f"its part {shown!r} is a device name on Windows")
