"""Where the tensors of a file lie, read from its header while the file flows by.

safetensors and GGUF files are known by how they begin, not by their names. Their headers are read strictly
and within bounds; whatever is odd, too large, or in a version nobody knows here means that the file has no
layout, and then it is cut like any other. Nothing depends on the size of the file or on how much of it comes
at a time, so a stream is understood like a file. PyTorch's zips tell where their members lie only at the
end: `zip_layout.py`.
"""

import os
from array import array
from collections.abc import Iterable
from dataclasses import dataclass

from ingot.content import gguf_layout, safetensors_layout
from ingot.content.flow import Flow, Odd, Reading

ALONE = 16 * 1024  # bytes from which on a tensor is cut by itself; smaller ones are glued to their neighbours
_ZIP = b"PK\x03\x04"
SNIFFED = 9  # bytes that tell the format


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a header ends, and the tensors that are cut by themselves, in order."""

    header_end: int
    starts: "array[int]"
    ends: "array[int]"
    mixed: bool = False  # each may hold several that are changed one by one


def layout(header_end: int, spans: Iterable[tuple[int, int]], *, mixed: bool = False) -> Layout:
    """Return the layout of tensors, from start to end and in order, without those that are too small."""
    starts, ends = array("Q"), array("Q")
    for start, end in spans:
        if end - start >= ALONE:
            starts.append(start)
            ends.append(end)
    return Layout(header_end, starts, ends, mixed)


def find(descriptor: int, size: int) -> Layout | None:
    """Return the layout of an open file that is known otherwise than by how it begins; None without one."""
    if os.pread(descriptor, len(_ZIP), 0) != _ZIP:
        return None
    from ingot.content import zip_layout  # and with it zipfile: only who has zips waits for it

    try:
        found = layout(0, zip_layout.read(descriptor, size), mixed=True)
    except Odd:
        return None
    return found if found.starts else None


def may_have_one(head: bytes) -> bool:
    """Return whether it is worth looking for a layout in a file whose first 9 bytes these are."""
    return gguf_layout.begins(head) or safetensors_layout.begins(head)


def read(flow: Flow) -> Reading[Layout]:
    """Read the layout from the first bytes of a file on. Raises Odd when it has none."""
    head = yield from flow.take(SNIFFED)
    if gguf_layout.begins(head):
        return layout(*(yield from gguf_layout.read(head, flow)))
    if safetensors_layout.begins(head):
        return layout(*(yield from safetensors_layout.read(head, flow)))
    raise Odd("neither GGUF nor safetensors")
