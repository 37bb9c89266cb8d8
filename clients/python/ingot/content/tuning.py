"""How Ingot's own programs have Python look for cycles. A library leaves that to the program it is part of.

The collector looks at the youngest objects after every 700 new ones, and at more of them now and then. What a
manifest of ten thousand files is made of lives long and has no cycles: that looking was a seventh of the CPU
time of pushing and pulling them, on both sides. And a process that ends looks through all that it has.
Memory is the affair of `malloc.py`.
"""

import gc

YOUNG = 10_000  # new objects after which the youngest are looked at: some megabytes
_ROUNDS = 20  # of those after which older ones are, too


def begin() -> None:
    """Tune this process; call it first thing, since importing makes many objects."""
    gc.set_threshold(YOUNG, _ROUNDS, _ROUNDS)


def end() -> None:
    """Let this process end without looking for cycles in what it is about to give up; call it last."""
    gc.freeze()
