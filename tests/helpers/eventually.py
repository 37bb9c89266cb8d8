"""Wait for a condition instead of sleeping.

`eventually(probe)` calls the probe until it returns something true and hands that back. A probe that raises
AssertionError is asked again too, so it may be written as plain asserts. When the time is up, the message
holds the last answer or the last failed assertion.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.1


def eventually(probe: Callable[[], T], *, timeout: float = 100.0, what: str = "") -> T:
    """Return the first true answer of `probe`; raise AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while True:
        failure: AssertionError | None = None
        answer: T | None = None
        try:
            answer = probe()
        except AssertionError as error:
            failure = error
        if answer:
            return answer
        if time.monotonic() >= deadline:
            raise AssertionError(_message(what, timeout, answer, failure)) from failure
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


async def eventually_async(probe: Callable[[], Awaitable[T]], *, timeout: float = 100.0, what: str = "") -> T:
    """Do the same with a probe that is awaited, without blocking the loop."""
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while True:
        failure: AssertionError | None = None
        answer: T | None = None
        try:
            answer = await probe()
        except AssertionError as error:
            failure = error
        if answer:
            return answer
        if time.monotonic() >= deadline:
            raise AssertionError(_message(what, timeout, answer, failure)) from failure
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def _message(what: str, timeout: float, answer: object, failure: AssertionError | None) -> str:
    wanted = what or "the condition"
    last = f"last failure: {failure}" if failure else f"last answer: {answer!r}"
    return f"{wanted} did not come true within {timeout:g} s; {last}"
