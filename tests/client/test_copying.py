"""Copying between files inside the system: what arrives, and what is told when the source ends."""

import os
import pathlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from helpers.patterns import pattern
from ingot.client import _copying


@contextmanager
def opened(folder: pathlib.Path, content: bytes) -> Iterator[tuple[int, int]]:
    """Give descriptors of a file with this content and of an empty one."""
    (folder / "source").write_bytes(content)
    source = os.open(folder / "source", os.O_RDONLY)
    sink = os.open(folder / "sink", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        yield source, sink
    finally:
        os.close(source)
        os.close(sink)


def test_a_range_lands_where_it_should(tmp_path: pathlib.Path) -> None:
    content = pattern("x", 20 * 1024 * 1024)
    with opened(tmp_path, content) as (source, sink):
        assert _copying.copy_range(source, 1000, sink, 7, 18_000_000)
        assert os.pread(sink, 18_000_100, 7) == content[1000:18_001_000]


def test_a_source_that_ends_early_is_told(tmp_path: pathlib.Path) -> None:
    with opened(tmp_path, b"short") as (source, sink):
        assert not _copying.copy_range(source, 2, sink, 0, 4)
        assert os.pread(sink, 10, 0) == b"ort"


def test_a_clone_has_all_bytes_or_none(tmp_path: pathlib.Path) -> None:
    content = pattern("x", 1_000_001)
    with opened(tmp_path, content) as (source, sink):
        cloned = _copying.clone(source, sink)
        assert os.pread(sink, 2_000_000, 0) == (content if cloned else b"")


def test_a_failure_of_the_disk_is_no_missing_ability(tmp_path: pathlib.Path) -> None:
    with opened(tmp_path, b"content") as (source, _), pytest.raises(OSError, match="Bad file descriptor"):
        _copying.copy_range(source, 0, source, 0, 7)  # not open for writing
