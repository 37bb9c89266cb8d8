"""Names of functions, for people who look at what holds the writer, a trace or a log."""

import functools
from collections.abc import Callable


def label_of(fn: Callable[..., object]) -> str:
    """Return a name for `fn` that a person can find in the code."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return getattr(fn, "__qualname__", type(fn).__qualname__)
