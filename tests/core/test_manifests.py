"""The form of files in a manifest."""

import dataclasses

import pytest

from ingot.content import digests
from ingot.server.core import manifests
from ingot.server.core.errors import Invalid, Reason
from ingot.server.core.manifests import FileDraft, Segment
from ingot.server.core.packs import MAX_CHUNK_SIZE

FULL = digests.SEGMENT_MAX_ENTRIES


def _entries(*lengths: int) -> bytes:
    return digests.segment_bytes(
        [(digests.chunk_digest(bytes([index % 256])), n) for index, n in enumerate(lengths)]
    )


SMALL = FileDraft("a.jsonl", "cdc", 30, 1, (Segment(0, _entries(10, 20)),))
LARGE = FileDraft("b.bin", "cdc", FULL + 5, 2, (Segment(0, _entries(*[1] * FULL)), Segment(1, _entries(5))))


def test_lengths_are_read_from_packed_entries() -> None:
    assert list(manifests.lengths_of(_entries(1, 70_000, 2**22))) == [1, 70_000, 2**22]
    assert Segment(0, _entries(1, 70_000)).size_bytes == 70_001


@pytest.mark.parametrize("file", [SMALL, LARGE, FileDraft("empty", "cdc", 0, 0, ())])
def test_a_good_file_passes_and_gets_the_root_of_the_digest_rules(file: FileDraft) -> None:
    manifests.check_file(file, "files[0]")
    segments = [digests.segment_digest(each.entries) for each in file.segments]
    assert manifests.with_root(file).root == digests.file_root("cdc", file.size_bytes, segments)


def test_the_order_in_which_segments_came_does_not_matter() -> None:
    turned = dataclasses.replace(LARGE, segments=LARGE.segments[::-1])
    assert manifests.with_root(turned).root == manifests.with_root(LARGE).root


def test_a_part_has_no_root_yet() -> None:
    part = dataclasses.replace(LARGE, segments=LARGE.segments[:1])
    manifests.check_file(part, "files[0]")
    assert manifests.with_root(part).root == b""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"profile": "fixed"}, Reason.FIELD_INVALID),
        ({"size_bytes": 31}, Reason.BAD_LENGTH),
        ({"size_bytes": -1}, Reason.BAD_LENGTH),
        ({"size_bytes": manifests.MAX_FILE_BYTES + 1}, Reason.BAD_LENGTH),
        ({"segment_count": 0}, Reason.FIELD_INVALID),
        ({"segments": (Segment(1, _entries(30)),)}, Reason.BAD_LENGTH),
        ({"segments": (Segment(0, _entries(10, 20)[:-1]),)}, Reason.BAD_LENGTH),
        ({"segments": (Segment(0, b""),)}, Reason.BAD_LENGTH),
        ({"segment_count": 2}, Reason.BAD_LENGTH),  # the first of two is not full
        ({"segments": SMALL.segments * 2}, Reason.BAD_LENGTH),
        ({"segments": (Segment(0, bytes(32) + (30).to_bytes(4, "big")),)}, Reason.BAD_LENGTH),
        ({"segments": (Segment(0, bytes(32) + bytes(4)),)}, Reason.BAD_LENGTH),
        (
            {"segments": (Segment(0, _entries(MAX_CHUNK_SIZE + 1)),), "size_bytes": MAX_CHUNK_SIZE + 1},
            Reason.BAD_LENGTH,
        ),
    ],
)
def test_a_bad_file_is_refused_with_its_field(change: dict[str, object], reason: Reason) -> None:
    with pytest.raises(Invalid) as refused:
        manifests.check_file(dataclasses.replace(SMALL, **change), "files[7]")  # type: ignore[arg-type]
    assert refused.value.reason is reason
    assert refused.value.facts["field"].startswith("files[7].")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/b.safetensors", "safetensors"),
        ("x.NDJSON", "jsonl"),
        ("README", ""),
        ("a.b/c", ""),
        ("w.h5", "h5"),
    ],
)
def test_formats_are_told_from_names(path: str, name: str) -> None:
    assert manifests.format_of(path) == name


def test_the_main_format_is_that_of_most_bytes_but_never_a_note_beside_data() -> None:
    assert manifests.main_format({"jsonl": 10, "csv": 5, "": 100}) == "jsonl"
    assert manifests.main_format({"json": 10_000, "safetensors": 5}) == "safetensors"
    assert manifests.main_format({"txt": 10}) == "txt"
    assert manifests.main_format({"": 10}) == ""
