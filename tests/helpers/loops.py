"""One event loop in a thread, for all tests of a process: gRPC's asyncio allows no second one."""

import asyncio
import functools
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="test-loop", daemon=True).start()
    return loop


def run(work: Coroutine[Any, Any, T], timeout: float = 100.0) -> T:
    """Run a coroutine on the loop and return its result."""
    return asyncio.run_coroutine_threadsafe(work, _loop()).result(timeout)
