"""Where a file is cut into chunks; a profile names the rule and is recorded with each file.

``cdc`` is FastCDC in its 2020 form, average 256 KiB, minimum 192 KiB, maximum 1 MiB, normalisation 2, seed 0.
An edit moves only the cuts near it.

``tensor`` cuts a file that tells where its tensors lie (`layouts.py`): each tensor of 16 KiB and more
by itself, every 4 MiB from its start on, so that it has the same chunks in whatever file and order it stands.
PyTorch keeps many tensors in one storage, so its storages are cut by themselves, but each as ``cdc``.
What lies between those (the header, runs of smaller tensors, what follows the last one) is cut as ``cdc``,
anew from where it begins; the end of the header is a cut too. A file without a layout is cut as ``cdc``.

A cut depends on the bytes before it alone: what is certain by now stays so whatever follows.
"""

import warnings
from bisect import bisect_right
from functools import lru_cache
from typing import TYPE_CHECKING

from ingot.content import layouts
from ingot.content.flow import Reader
from ingot.content.layouts import Layout

if TYPE_CHECKING:
    from pyfastcdc import FastCDC

CDC = "cdc"
TENSOR = "tensor"
PROFILES = (CDC, TENSOR)

CDC_MIN_SIZE = 192 * 1024  # bytes below it are not searched: that halves the cost (docs/adr/0017)
CDC_AVG_SIZE = 256 * 1024
CDC_MAX_SIZE = 1024 * 1024
PIECE = 4 * 1024 * 1024  # of a tensor; the largest chunk there may be
LEAST_MEAN = layouts.ALONE // 2  # no file has smaller chunks on average: every other one may be tiny
WINDOW = PIECE  # bytes to look at at a time; more than a window has at least one chunk


class ChunkerMissingError(Exception):
    """The compiled part of pyfastcdc is missing; its pure Python part has half a percent of the speed."""


class Cuts:
    """Finds the cuts of one file, from its beginning on; for one thread."""

    def __init__(self, profile: str = TENSOR) -> None:
        """With `tensor` the layout is found in the bytes, or told by `use`. Raises ValueError."""
        if profile not in PROFILES:
            raise ValueError(f"unknown chunking profile {profile!r}, expected one of: {', '.join(PROFILES)}")
        self._layout: Layout | None = None
        self._reader = Reader(layouts.read) if profile == TENSOR else None
        self._at = 0  # behind the last certain cut
        self._read = 0  # by the reader

    @property
    def profile(self) -> str:
        """The profile to record: it is known once the whole file has been seen."""
        return CDC if self._layout is None else TENSOR

    @property
    def wants_layout(self) -> bool:
        """Whether a layout would be used: at the beginning, unless the profile is `cdc`."""
        return self._reader is not None and self._at == 0

    def use(self, layout: Layout) -> None:
        """Cut by this layout, which was found otherwise than in the bytes."""
        self._layout, self._reader = layout, None

    def window(self) -> int:
        """Return how many bytes to look at next, so that few of them have to be looked at again."""
        start, end, by_piece = self._region(self._at + WINDOW - 1)
        rest = self._at + WINDOW - start
        whole = not by_piece or self._at + WINDOW >= end or rest % PIECE == 0
        return WINDOW if whole else WINDOW - rest

    def certain(self, view: memoryview, *, last: bool) -> list[int]:
        """Return the lengths of the chunks that the bytes behind the last certain cut begin with.

        With `last` nothing follows, and they end with the bytes. Raises ChunkerMissingError.
        """
        begin, here = self._at, self._at + len(view)
        self._learn(view)
        lengths: list[int] = []
        while self._at < here:
            _, end, by_piece = self._region(self._at)
            part = view[self._at - begin : min(end, here) - begin]
            found = _pieces(len(part)) if by_piece else _cdc_lengths(part)
            if end > here and not last and (not by_piece or found[-1] < PIECE):
                found.pop()
            if not found:
                break
            lengths += found
            self._at += sum(found)
            if end > here:
                break
        return lengths

    def _learn(self, view: memoryview) -> None:
        """Read on in the header; it has told of every cut that the bytes contain when this is done."""
        if self._reader is None:
            return
        fresh = view[self._read - self._at :]
        self._read += len(fresh)
        self._reader.feed(fresh)
        if self._reader.is_over:
            self._layout, self._reader = self._reader.found, None

    def _region(self, at: int) -> tuple[int, int, bool]:
        """Return from where to where the bytes around `at` are cut alike, and whether that is by PIECE."""
        layout = self._layout
        if layout is None:
            return 0, _END, False
        if at < layout.header_end:
            return 0, layout.header_end, False
        index = bisect_right(layout.starts, at) - 1
        if index >= 0 and at < layout.ends[index]:
            return layout.starts[index], layout.ends[index], not layout.mixed
        start = layout.ends[index] if index >= 0 else layout.header_end
        return start, layout.starts[index + 1] if index + 1 < len(layout.starts) else _END, False


_END = 2**63


def _pieces(size: int) -> list[int]:
    whole, rest = divmod(size, PIECE)
    return [PIECE] * whole + ([rest] if rest else [])


def _cdc_lengths(view: memoryview) -> list[int]:
    if len(view) <= CDC_MIN_SIZE:
        return [len(view)]
    # A cutter may serve one thread at a time; making one is cheap.
    cutter = _cdc_class()(
        CDC_AVG_SIZE, min_size=CDC_MIN_SIZE, max_size=CDC_MAX_SIZE, normalized_chunking=2, seed=0
    )
    return [piece.length for piece in cutter.cut_buf(view)]


@lru_cache(maxsize=1)
def _cdc_class() -> "type[FastCDC]":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns about the case that is refused here
        import pyfastcdc
    if not pyfastcdc.FastCDC.__module__.startswith("pyfastcdc.cy"):
        raise ChunkerMissingError(
            "the compiled extension of pyfastcdc is missing; install a wheel of pyfastcdc for this platform, "
            "or a C compiler, then run: pip install --force-reinstall --no-binary pyfastcdc pyfastcdc"
        )
    return pyfastcdc.FastCDC
