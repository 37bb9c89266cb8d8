"""How many files and connections the server may have open: as many as the system lets it.

Usual systems begin a program with 1024 and let it have far more. Each connection takes one, so that somebody
who opens a thousand and says nothing would leave none for anybody else, nor for packs and rows.
"""

import resource

_MOST = 1_048_576  # what "unlimited" is taken for


def raise_limit() -> int:
    """Let this process, and those that it starts, have as many files open as they may; return how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # some systems take less than they tell
        return soft
    return wanted
