"""What is registered but not here yet: the server fetches it when it is first read, and we wait for that.

Reading such an artifact starts its import once and is refused with NOT_FETCHED, which names the operation.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from ingot.client._errors import Precondition, StoppedWaiting
from ingot.client._progress import OnProgress, Stage, TransferProgress

if TYPE_CHECKING:
    from ingot.client._operations import Operations
    from ingot.v1 import common_pb2

T = TypeVar("T")

NOT_FETCHED = "NOT_FETCHED"
_TIMES = 3  # that something may be removed again while it is fetched


def once_fetched(
    work: "Callable[[], T]", operations: "Callable[[], Operations]", on_progress: OnProgress | None
) -> T:
    """Return what `work` returns, after waiting for the fetch that it is refused for.

    Raises what the fetch failed with, and StoppedWaiting on Ctrl-C. Its progress is told with the stage
    FETCHING.
    """
    for _ in range(_TIMES):
        try:
            return work()
        except Precondition as error:
            operation = error.facts.get("operation", "")
            if error.reason != NOT_FETCHED or not operation:
                raise
        try:
            operations().wait(operation, on_progress=_told(on_progress) if on_progress else None)
        except KeyboardInterrupt as stop:
            raise StoppedWaiting(operation) from stop
    return work()


def read_once_fetched(
    pieces: Callable[[], Iterator[T]], operations: "Callable[[], Operations]"
) -> Iterator[T]:
    """Yield what `pieces` yields, after waiting for the fetch that its first piece is refused for."""

    def begun() -> Iterator[T]:
        rest = pieces()
        return itertools.chain(list(itertools.islice(rest, 1)), rest)

    yield from once_fetched(begun, operations, None)


def _told(on_progress: OnProgress) -> "Callable[[common_pb2.Progress], None]":
    begun = time.monotonic()

    def tell(progress: "common_pb2.Progress") -> None:
        if progress.unit not in ("bytes", ""):
            return
        on_progress(
            TransferProgress(
                Stage.FETCHING,
                files_total=1,
                bytes_total=progress.total,
                bytes_moved=progress.done,
                seconds=time.monotonic() - begun,
            )
        )

    return tell
