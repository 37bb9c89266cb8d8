"""What a pickle may import: a list of what model files need, and everything else judged by where it is from.

Loading a pickle calls what it imports, so a name decides. Names that models need are SAFE. Everything else of
Python itself and of the libraries that nearly every place has (they are where ways to run code are found anew
each month) is UNSAFE without being listed one by one: a list of bad names is never complete. A class of a
module that nobody else has, such as that of somebody's model, is UNKNOWN: loading needs it to be installed,
so whoever loads has decided to run it. A function of such a module is UNSAFE: it may be of a library that
only this list does not know, and be called with whatever the file says. A dotted name reaches into what a
module imported (`collections`, `_sys.modules`), so it is never safe; `SUSPECT` catches the same of one step.
"""

import re
import sys
from enum import StrEnum

from ingot.server.formats import pickle_names as names


class Verdict(StrEnum):
    """What importing a name means."""

    SAFE = "safe"
    UNKNOWN = "unknown"
    UNSAFE = "unsafe"


_OLD_DATA = frozenset({"__main__"})  # a class of the script that wrote the file
_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def is_name(text: str) -> bool:
    """Return whether a text can name a module or something in one."""
    return _NAME.fullmatch(text) is not None


def judge(module: str, name: str) -> Verdict:
    """Return what it means that a pickle imports `name` of `module`."""
    if "." not in name and _is_safe(module, name):
        return Verdict.SAFE
    if not is_name(module) or not is_name(name):
        return Verdict.UNSAFE
    top = module.partition(".")[0]
    if top in _OLD_DATA and names.CLASS.fullmatch(name):
        return Verdict.UNKNOWN
    if top in sys.stdlib_module_names or top in names.COMMON or top in names.OTHER_STANDARD:
        return Verdict.UNSAFE
    if any(names.SUSPECT.fullmatch(part) for part in name.split(".")):
        return Verdict.UNSAFE
    return Verdict.UNKNOWN if names.CLASS.fullmatch(name) else Verdict.UNSAFE


def _is_safe(module: str, name: str) -> bool:
    if name in names.SAFE.get(module, ()):
        return True
    if any(where.fullmatch(module) and what.fullmatch(name) for where, what in names.PATTERNS):
        return True
    if not names.WITH_CLASSES.match(module) or names.TESTS.search(module):
        return False
    return names.CLASS.fullmatch(name) is not None and names.SUSPECT.fullmatch(name) is None
