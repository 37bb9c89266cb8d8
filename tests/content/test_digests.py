"""Canonical digests: the vectors of all languages, an independent reading of the layout, and refusals."""

import json
import struct
import unicodedata
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from helpers.patterns import vector_bytes
from ingot.content import digests

VECTORS = json.loads((Path(__file__).parent.parent / "vectors/digests.json").read_text(encoding="utf-8"))

digest_bytes = st.binary(min_size=32, max_size=32)
entries = st.lists(st.tuples(digest_bytes, st.integers(1, 2**32 - 1)), max_size=20)
nfc_paths = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).map(
    lambda text: unicodedata.normalize("NFC", text)
)


@pytest.mark.parametrize("vector", VECTORS["chunks"], ids=lambda v: json.dumps(v["input"]))
def test_chunk_vectors(vector: dict[str, str]) -> None:
    source: dict[str, object] = vector["input"]  # type: ignore[assignment]
    assert digests.chunk_digest(vector_bytes(source)).hex() == vector["digest"]


def test_segment_vectors() -> None:
    for vector in VECTORS["segments"]:
        pairs = [(bytes.fromhex(e["digest"]), e["length"]) for e in vector["entries"]]
        data = digests.segment_bytes(pairs)
        assert data.hex() == vector["bytes"]
        assert digests.segment_digest(data).hex() == vector["digest"]


def test_root_vectors() -> None:
    for vector in VECTORS["roots"]:
        root = digests.file_root(vector["profile"], vector["size"], map(bytes.fromhex, vector["segments"]))
        assert root.hex() == vector["root"]


def test_tree_vectors() -> None:
    for vector in VECTORS["trees"]:
        files = [(f["path"], f["size"], bytes.fromhex(f["root"])) for f in vector["files"]]
        assert digests.tree_digest(files).hex() == vector["digest"]
        assert digests.tree_digest(reversed(files)).hex() == vector["digest"]


def test_text_vectors() -> None:
    digest, text = bytes.fromhex(VECTORS["text"]["bytes"]), VECTORS["text"]["text"]
    assert digests.format_digest(digest) == text
    assert digests.parse_digest(text) == digest
    for refused in VECTORS["refused_text"]:
        with pytest.raises(ValueError, match="expected blake3:"):
            digests.parse_digest(refused)


def test_layout_read_independently() -> None:
    """Write the bytes of one file and one tree by hand, so that vectors repeat no mistake of the code."""
    first, second = blake3(b"one").digest(), blake3(b"two!").digest()
    segment = first + b"\x03\x00\x00\x00" + second + b"\x04\x00\x00\x00"
    assert digests.segment_bytes([(first, 3), (second, 4)]) == segment
    root = blake3(b"ingot file 1\ncdc\n\x07\0\0\0\0\0\0\0" + blake3(segment).digest()).digest()
    assert digests.file_root("cdc", 7, [digests.segment_digest(segment)]) == root
    tree = blake3(b"ingot tree 1\n" + b"\x01\0\0\0" + b"B" + struct.pack("<Q", 7) + root
                  + b"\x02\0\0\0" + "é".encode() + struct.pack("<Q", 7) + root).digest()  # fmt: skip
    assert digests.tree_digest([("é", 7, root), ("B", 7, root)]) == tree


@given(entries)
def test_segment_round_trip(pairs: list[tuple[bytes, int]]) -> None:
    assert digests.segment_entries(digests.segment_bytes(pairs)) == pairs


@given(
    st.lists(st.tuples(nfc_paths, st.integers(0, 2**63), digest_bytes), unique_by=lambda f: f[0], max_size=6)
)
def test_tree_digest_ignores_order_and_sees_every_change(files: list[tuple[str, int, bytes]]) -> None:
    digest = digests.tree_digest(files)
    assert digests.tree_digest(sorted(files, reverse=True)) == digest
    for index, (path, size, root) in enumerate(files):
        changed = [*files]
        changed[index] = (path, size + 1, root)
        assert digests.tree_digest(changed) != digest
        del changed[index]
        assert digests.tree_digest(changed) != digest


def test_segments_are_full_but_the_last() -> None:
    pairs = [(bytes(32), 1)] * (digests.SEGMENT_MAX_ENTRIES + 1)
    parts = digests.split_segments(pairs)
    assert [len(part) // digests.ENTRY_SIZE for part in parts] == [digests.SEGMENT_MAX_ENTRIES, 1]
    assert digests.split_segments([]) == []
    with pytest.raises(ValueError, match="at most 16384"):
        digests.segment_bytes(pairs)


@pytest.mark.parametrize(
    "data", [b"x" * 35, b"x" * 37, bytes(36), b"x" * 36 * (digests.SEGMENT_MAX_ENTRIES + 1)]
)
def test_malformed_segments_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        digests.segment_entries(data)


def test_wrong_forms_are_refused() -> None:
    root = bytes(32)
    with pytest.raises(ValueError, match="stands twice"):
        digests.tree_digest([("a", 1, root), ("a", 2, root)])
    with pytest.raises(ValueError, match="NFC"):
        digests.tree_digest([("e\u0301", 1, root)])
    with pytest.raises(ValueError, match="32 bytes"):
        digests.tree_digest([("a", 1, b"short")])
    with pytest.raises(ValueError, match="32 bytes"):
        digests.segment_bytes([(b"short", 1)])
    with pytest.raises(ValueError, match="length"):
        digests.segment_bytes([(root, 0)])
    with pytest.raises(ValueError, match="profile"):
        digests.file_root("a\nb", 0, [])
    with pytest.raises(ValueError, match="size"):
        digests.file_root("cdc", -1, [])
