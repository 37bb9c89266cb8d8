"""For properties of the form "whatever comes in is taken or refused like this"."""

from collections.abc import Callable
from typing import ParamSpec

from ingot.server.core.errors import IngotError

P = ParamSpec("P")


def refusal_of(fn: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> IngotError | None:
    """Call `fn` and return the error with which it refused, None when it took its arguments."""
    try:
        fn(*args, **kwargs)
    except IngotError as error:
        return error
    return None
