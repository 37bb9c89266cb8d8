"""Cuts of profile cdc: vectors, agreement of all code paths, locality of edits, changed sources."""

import importlib
import json
import os
import threading
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.patterns import pattern, vector_bytes
from ingot.content import chunking, cuts, digests

VECTORS = json.loads((Path(__file__).parent.parent / "vectors/cdc.json").read_text(encoding="utf-8"))
MIB = 1024 * 1024
LARGE = pattern("large", 21 * MIB + 12345)  # six windows, the last one short


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda v: json.dumps(v["input"]))
def test_cut_vectors(vector: dict[str, object]) -> None:
    source: dict[str, object] = vector["input"]  # type: ignore[assignment]
    data = vector_bytes(source)
    chunks = list(chunking.cut_bytes(data))
    assert [chunk.length for chunk in chunks] == vector["lengths"]
    segments = digests.split_segments([(chunk.digest, chunk.length) for chunk in chunks])
    assert digests.file_root("cdc", len(data), map(digests.segment_digest, segments)).hex() == vector["root"]


def test_vectors_agree_with_the_pure_python_chunker() -> None:
    """A second implementation of FastCDC-2020, so that the vectors do not only prove themselves."""
    reference = importlib.import_module("pyfastcdc.py").FastCDC(
        262144, min_size=196608, max_size=1048576, normalized_chunking=2, seed=0
    )
    for vector in VECTORS["vectors"]:
        data = vector_bytes(vector["input"])
        if len(data) <= 3_000_000:
            assert [piece.length for piece in reference.cut_buf(data)] == vector["lengths"]


@pytest.mark.parametrize("size", [0, 1, 196608, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 16 * MIB, len(LARGE)])
def test_file_and_memory_agree(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(LARGE[:size])
    assert list(chunking.cut_file(path)) == list(chunking.cut_bytes(LARGE[:size]))


def test_runs_without_a_cut_cross_windows(tmp_path: Path) -> None:
    """Zeros are only ever cut at the maximum, so every window leaves something over."""
    path = tmp_path / "zeros"
    data = bytes(20 * MIB + 77) + pattern("tail", 3 * MIB)
    path.write_bytes(data)
    assert list(chunking.cut_file(path)) == list(chunking.cut_bytes(data))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 3 * MIB))
def test_chunks_cover_the_input_within_bounds(size: int) -> None:
    data = memoryview(LARGE)[:size]
    position = 0
    chunks = list(chunking.cut_bytes(data))
    for chunk in chunks:
        assert chunk.offset == position
        assert chunk.digest == blake3(data[position : position + chunk.length]).digest()
        assert chunk.length <= cuts.CDC_MAX_SIZE
        position += chunk.length
    assert position == size
    assert all(chunk.length >= cuts.CDC_MIN_SIZE for chunk in chunks[:-1])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, len(LARGE)), st.binary(min_size=1, max_size=2000))
def test_an_insertion_changes_only_chunks_near_it(position: int, inserted: bytes) -> None:
    before = {chunk.digest for chunk in chunking.cut_bytes(LARGE)}
    edited = LARGE[:position] + inserted + LARGE[position:]
    new = [chunk.length for chunk in chunking.cut_bytes(edited) if chunk.digest not in before]
    assert sum(new) <= 6 * cuts.CDC_MAX_SIZE


def test_stopping_early_leaves_no_thread_behind(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(LARGE)
    before = set(threading.enumerate())
    chunks = chunking.cut_file(path)
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    assert set(threading.enumerate()) <= before


def test_a_file_that_shrank_or_was_touched_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)
    with path.open("rb") as file, pytest.raises(chunking.SourceChangedError, match="ended at byte 1000"):
        list(chunking.cut(file.fileno(), 2000))
    chunks = chunking.cut_file(path)
    next(chunks)
    os.utime(path, (1, 1))
    with pytest.raises(chunking.SourceChangedError, match="modified while"):
        next(chunks)


def test_unknown_profile_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown chunking profile 'fixed', expected one of: cdc, tensor"):
        cuts.Cuts("fixed")
