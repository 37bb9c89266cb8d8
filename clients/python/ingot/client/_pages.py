"""Walk the pages of a List method as one iterator."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

PAGE_SIZE = 200


def walk(page: Callable[[int, str], tuple[Sequence[T], str]], limit: int | None) -> Iterator[T]:
    """Yield at most `limit` items (all when None); `page(size, token)` returns items and the next token."""
    token = ""
    left = limit
    while left is None or left > 0:
        items, token = page(PAGE_SIZE if left is None else min(left, PAGE_SIZE), token)
        yield from items
        if left is not None:
            left -= len(items)
        if not token:
            return
