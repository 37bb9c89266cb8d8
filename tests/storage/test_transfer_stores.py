"""The stores of transfers on SQLite: the index with its holders, trees with their files, uploads."""

import dataclasses
from collections.abc import Iterator

import pytest

from helpers.schema import migrated
from ingot.content import digests
from ingot.server.core import manifests
from ingot.server.core.artifacts import (
    ArtifactFields,
    NewVersion,
    ValidationMode,
    ValidationPolicy,
    VersionState,
    Visibility,
)
from ingot.server.core.errors import Conflict, Problem, Reason
from ingot.server.core.manifests import FileDraft, Segment
from ingot.server.core.names import UploadName, artifact_name
from ingot.server.core.packs import PackEntry, SealedPack
from ingot.server.core.params import Rules
from ingot.server.core.training import CheckpointKind, NewCheckpoint
from ingot.server.core.transfer_stores import ChunkRun, ChunkStore, SegmentRow, TreeStore, UploadStore
from ingot.server.core.uploads import Upload, UploadStage, UploadState, UploadTarget
from ingot.server.storage.chunks_sql import ChunksSql
from ingot.server.storage.database import Database, open_database
from ingot.server.storage.trees_sql import TreesSql
from ingot.server.storage.uploads_sql import UploadsSql

NOW = 1000.0
LATER = NOW + 100
PROBLEM = Problem(Reason.VALIDATION_FAILED, "cancelled", {}, "retry", NOW)


@pytest.fixture(name="database")
def _database() -> Iterator[Database]:
    database = open_database("sqlite:///:memory:")
    migrated(database)
    yield database
    database.close()


@pytest.fixture(name="chunks")
def _chunks() -> ChunkStore:
    return ChunksSql()


@pytest.fixture(name="trees")
def _trees() -> TreeStore:
    return TreesSql()


@pytest.fixture(name="uploads")
def _uploads() -> UploadStore:
    return UploadsSql()


def _digest(index: int) -> bytes:
    return digests.chunk_digest(b"%d" % index)


def _pack(name: str, *chunks: int) -> SealedPack:
    entries = tuple(PackEntry(_digest(chunk), 100 * place, 10 + chunk) for place, chunk in enumerate(chunks))
    return SealedPack(name, 1000, entries)


def _packed(*chunks: int) -> bytes:
    return b"".join(map(_digest, chunks))


def _entries(*chunks: int) -> bytes:
    return digests.segment_bytes([(_digest(chunk), 10 + chunk) for chunk in chunks])


def _file(path: str, *chunks: int, **changes: object) -> FileDraft:
    size = sum(10 + chunk for chunk in chunks)
    segments = (Segment(0, _entries(*chunks)),) if chunks else ()
    file = manifests.with_root(FileDraft(path, "cdc", size, len(segments), segments))
    return dataclasses.replace(file, **changes)  # type: ignore[arg-type]


def _segments_after(trees: TreeStore, tree: int, after: tuple[str, int]) -> list[SegmentRow]:
    return list(trees.segments(tree, after))


def _holder(chunks: ChunkStore, trees: TreeStore, *held: int) -> int:
    """Make a tree that holds these chunks; inside a write."""
    tree = trees.add("uploads/file_1", "anna", NOW, LATER)
    chunks.hold(tree, [each.id for each in chunks.known(_packed(*held), "anna", NOW)])
    return tree


# --- chunks ---------------------------------------------------------------------------------------------


def test_presence_belongs_to_the_namespace_of_a_living_tree(
    database: Database, chunks: ChunkStore, trees: TreeStore
) -> None:
    def prepare() -> None:
        chunks.add_pack(_pack("p", 1, 2, 3), NOW)
        mine = trees.add("uploads/file_1", "anna", NOW, LATER)
        theirs = trees.add("uploads/file_2", "bert", NOW, LATER)
        found = {each.position: each.id for each in chunks.known(_packed(1, 2, 3), "anna", NOW)}
        assert sorted(chunks.hold(mine, [found[0]])) == [found[0]]
        assert list(chunks.hold(mine, [found[0]])) == []
        chunks.hold(theirs, [found[1]])

    database.write(prepare).result()
    asked = _packed(3, 1, 9, 2, 1)
    known = database.read(chunks.known, asked, "anna", NOW)
    assert [(each.position, each.length, each.visible) for each in known] == [
        (0, 13, False),
        (1, 11, True),
        (3, 12, False),
        (4, 11, True),
    ]
    assert not any(each.visible for each in database.read(chunks.known, asked, "anna", LATER))
    assert database.read(chunks.stored, asked) == {_digest(1), _digest(2), _digest(3)}
    assert database.read(chunks.known, b"", "anna", NOW) == ()


def test_eight_thousand_digests_are_one_question(database: Database, chunks: ChunkStore) -> None:
    many = list(range(8192))
    database.write(chunks.add_pack, _pack("p", *many[::2]), NOW).result()
    known = database.read(chunks.known, _packed(*many), "anna", NOW)
    assert [each.position for each in known] == many[::2]


def test_a_pack_entered_twice_or_later_moves_nothing(
    database: Database, chunks: ChunkStore, trees: TreeStore
) -> None:
    for pack in (_pack("a", 1, 2), _pack("b", 2, 3), _pack("a", 1, 2)):
        database.write(chunks.add_pack, pack, NOW).result()
    tree = database.write(_holder, chunks, trees, 1, 2, 3).result()
    places = database.read(chunks.places, _entries(1, 2, 3, 4), tree)
    assert [None if place is None else (place.pack, place.offset) for place in places] == [
        ("a", 0),
        ("a", 100),
        ("b", 100),
        None,
    ]


def test_only_chunks_that_the_tree_holds_have_a_place(
    database: Database, chunks: ChunkStore, trees: TreeStore
) -> None:
    database.write(chunks.add_pack, _pack("a", 1, 2), NOW).result()
    tree = database.write(_holder, chunks, trees, 2).result()
    places = database.read(chunks.places, _entries(1, 2, 9), tree)
    assert [place and place.digest for place in places] == [None, _digest(2), None]


def test_lost_chunks_are_unknown_until_they_are_stored_again(
    database: Database, chunks: ChunkStore, trees: TreeStore
) -> None:
    database.write(chunks.add_pack, _pack("a", 1, 2), NOW).result()
    tree = database.write(_holder, chunks, trees, 1).result()
    assert database.write(chunks.lose, _digest(1), "other").result() is False
    assert database.write(chunks.lose, _digest(1), "a").result() is True
    assert database.read(chunks.stored, _packed(1, 2)) == {_digest(2)}
    assert database.read(chunks.places, _entries(1), tree) == [None]
    database.write(chunks.add_pack, _pack("b", 1), NOW).result()
    place = database.read(chunks.places, _entries(1), tree)[0]
    assert place is not None
    assert place.pack == "b"
    assert database.read(chunks.lost) == 0


def test_a_pack_that_vanishes_takes_its_chunks_along_and_brings_them_back(
    database: Database, chunks: ChunkStore
) -> None:
    database.write(chunks.add_pack, _pack("a", 1, 2), NOW).result()
    assert database.write(lambda: chunks.mark_packs(["a"], missing=True)).result() == 2
    assert [pack.missing for pack in database.read(lambda: list(chunks.packs()))] == [True]
    assert database.read(chunks.lost) == 2
    assert database.write(lambda: chunks.mark_packs(["a"], missing=False)).result() == 2
    assert database.read(chunks.stored, _packed(1, 2)) == {_digest(1), _digest(2)}


def test_states_say_for_every_entry_what_the_tree_holds(
    database: Database, chunks: ChunkStore, trees: TreeStore
) -> None:
    def prepare() -> int:
        chunks.add_pack(_pack("a", 1, 2), NOW)
        tree = trees.add("uploads/file_1", "anna", NOW, LATER)
        chunks.hold(tree, [each.id for each in chunks.known(_packed(1), "anna", NOW)])
        return tree

    tree = database.write(prepare).result()
    states = database.read(chunks.states, _entries(2, 1, 7, 1), tree)
    assert [(length, bool(held)) for _, length, held in states] == [
        (12, False),
        (11, True),
        (None, False),
        (11, True),
    ]


def test_a_tree_gives_up_what_its_manifest_does_not_name(
    database: Database, chunks: ChunkStore, trees: TreeStore
) -> None:
    def run() -> tuple[int, int]:
        chunks.add_pack(_pack("a", 1, 2, 3), NOW)
        tree = trees.add("uploads/file_1", "anna", NOW, LATER)
        ids = [each.id for each in chunks.known(_packed(1, 2, 3), "anna", NOW)]
        chunks.hold(tree, ids)
        before = chunks.held(tree)
        chunks.hold_only(tree, ids[1:2])
        return before, chunks.held(tree)

    assert database.write(run).result() == (3, 1)


# --- trees ----------------------------------------------------------------------------------------------


def test_files_are_replaced_by_path_and_listed_in_byte_order(database: Database, trees: TreeStore) -> None:
    def run() -> int:
        tree = trees.add("uploads/file_1", "anna", NOW, LATER)
        trees.put_files(tree, [_file("b", 1), _file("ز", 2), _file("a/z", 3), _file("B", 4), _file("empty")])
        trees.put_files(tree, [_file("b", 5, 6)])
        return tree

    tree = database.write(run).result()
    files = database.read(trees.files, tree, None, 10)
    assert [(file.path, file.size_bytes, file.chunk_count) for file in files] == [
        ("B", 14, 1),
        ("a/z", 13, 1),
        ("b", 31, 2),
        ("empty", 0, 0),
        ("ز", 12, 1),
    ]
    assert [file.path for file in database.read(trees.files, tree, "a/z", 2)] == ["b", "empty"]
    assert database.read(trees.totals, tree) == (5, 70, 5)
    runs = [ChunkRun("b", 1, 1), ChunkRun("none", 0, 1), ChunkRun("empty", 0, 0), ChunkRun("b", 0, 9)]
    assert database.read(trees.entries, tree, runs) == [
        (2, _entries(6)),
        None,
        (0, b""),
        (2, _entries(5, 6)),
    ]
    rows = database.read(lambda: list(trees.segments(tree)))
    assert [(row.file.path, row.position, row.segment_count, row.entries) for row in rows[2:4]] == [
        ("b", 0, 1, _entries(5, 6)),
        ("empty", -1, 0, b""),
    ]
    for index, row in enumerate(rows):
        after = (row.file.path, row.position)
        assert database.read(_segments_after, trees, tree, after) == rows[index + 1 :]
    database.write(trees.clear, tree).result()
    assert database.read(trees.totals, tree) == (0, 0, 0)


def test_a_file_comes_in_parts_and_a_segment_keeps_its_content(database: Database, trees: TreeStore) -> None:
    first, second, other = Segment(0, _entries(1)), Segment(1, _entries(2)), Segment(1, _entries(3))
    part = FileDraft("large", "cdc", 23, 2, (second,))
    tree = database.write(trees.add, "uploads/file_1", "anna", NOW, LATER).result()

    database.write(trees.put_files, tree, [part]).result()
    database.write(trees.put_files, tree, [dataclasses.replace(part, segments=(first,))]).result()
    database.write(trees.put_files, tree, [part]).result()  # again: nothing changes
    assert database.read(trees.totals, tree) == (1, 23, 2)
    assert database.read(trees.segment, tree, "large", 1) == second.entries
    assert database.read(trees.segment_sizes, tree, "large") == [11, 12]
    rows = database.read(lambda: list(trees.segments(tree)))
    assert [(row.position, row.segment_count) for row in rows] == [(0, 2), (1, 2)]
    assert database.read(lambda: list(trees.segments(tree, ("large", 0)))) == rows[1:]

    conflict = database.write(trees.put_files, tree, [dataclasses.replace(part, segments=(other,))])
    with pytest.raises(Conflict) as refused:
        conflict.result()
    assert refused.value.reason is Reason.SEGMENT_CONFLICT

    changed = dataclasses.replace(part, size_bytes=24, segments=(other,))  # another file by the same path
    database.write(trees.put_files, tree, [changed]).result()
    assert database.read(trees.segment_sizes, tree, "large") == [13]


def test_a_tree_changes_hands_and_is_dropped(
    database: Database, trees: TreeStore, chunks: ChunkStore
) -> None:
    tree = database.write(trees.add, "uploads/file_1", "anna", NOW, LATER).result()
    database.write(trees.put_files, tree, [_file("a", 1), _file("b", 2, root=b"")]).result()
    database.write(
        trees.adopt, tree, "uid-1", "namespaces/anna/models/m", bytes(32), [("b", b"r" * 32)]
    ).result()
    assert database.read(trees.find, "uploads/file_1") is None
    found = database.read(trees.find, "uid-1")
    assert found is not None
    assert (found.id, found.digest, found.file_count, found.size_bytes) == (tree, bytes(32), 2, 23)
    late = database.read(trees.file, tree, "b")
    assert late is not None
    assert late.root == b"r" * 32
    assert database.read(trees.exists, tree)
    database.write(trees.drop, tree).result()
    assert not database.read(trees.exists, tree)
    assert database.read(trees.file, tree, "b") is None


@pytest.mark.contract("S3-61")
def test_a_hundred_thousand_small_files(database: Database, trees: TreeStore) -> None:
    tree = database.write(trees.add, "uploads/file_1", "anna", NOW, LATER).result()
    paths = [f"data/{index:06}.txt" for index in range(100_000)]
    file = _file("x", 1)
    for start in range(0, len(paths), 20_000):
        some = [dataclasses.replace(file, path=path) for path in paths[start : start + 20_000]]
        database.write(trees.put_files, tree, some).result()
    assert database.read(trees.totals, tree) == (100_000, 1_100_000, 100_000)
    assert database.read(lambda: sum(1 for _ in trees.segments(tree))) == 100_000


# --- uploads --------------------------------------------------------------------------------------------

VERSION = NewVersion(
    artifact=artifact_name("namespaces/anna/datasets/chat"),
    version_id="1.0",
    create=ArtifactFields(
        tags=("a", "b"),
        visibility=Visibility.PUBLIC,
        metadata={"n": [1, None]},
        validation=ValidationPolicy(ValidationMode.REQUIRED, Rules(min_records=3, allowed_formats=("csv",))),
    ),
    expected_latest="",
    metadata={"زبان": "فارسی"},
    aliases=("prod",),
)
CHECKPOINT = NewCheckpoint(
    job="job_1",
    step=20,
    attempt=2,
    epoch=0.5,
    kind=CheckpointKind.BEST,
    world_size=1,
    metrics={"eval_loss": 1.5},
)


def _upload(number: int, target: UploadTarget = VERSION, **changes: object) -> Upload:
    upload = Upload(
        name=UploadName(f"file_{number}"),
        namespace="anna",
        target=target,
        tree=number,
        state=UploadState.OPEN,
        creator="users/anna",
        size_bytes=10,
        original_name="chat.jsonl",
        description="Uploaded chat.jsonl",
        create_time=NOW,
        update_time=NOW,
        expire_time=LATER,
    )
    return dataclasses.replace(upload, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("target", [VERSION, CHECKPOINT, dataclasses.replace(VERSION, create=None)])
def test_an_upload_comes_back_as_it_was(
    database: Database, uploads: UploadStore, target: UploadTarget
) -> None:
    problem = Problem(Reason.MISSING_CHUNKS, "missing", {"missing": "3"}, "send them", NOW)
    upload = _upload(7, target, problem=problem, result_digest=bytes(32), received_bytes=5)
    database.write(uploads.add, dataclasses.replace(upload, received_bytes=0)).result()
    assert database.write(uploads.save, upload, UploadState.OPEN).result()
    assert database.read(uploads.find, upload.name) == upload
    assert database.read(uploads.find, UploadName("file_8")) is None


def test_saving_is_compare_and_set(database: Database, uploads: UploadStore) -> None:
    database.write(uploads.add, _upload(1)).result()
    sealed = _upload(1, state=UploadState.SEALING)
    assert database.write(uploads.save, sealed, UploadState.SEALING).result() is False
    assert database.write(uploads.save, sealed, UploadState.OPEN).result() is True
    assert database.write(uploads.save, sealed, UploadState.OPEN).result() is False
    assert database.read(uploads.in_state, UploadState.SEALING) == [sealed]


def test_pages_and_counts(database: Database, uploads: UploadStore) -> None:
    states = (UploadState.OPEN, UploadState.COMMITTED, UploadState.OPEN, UploadState.SEALING)
    for number, state in enumerate(states, start=1):
        upload = _upload(number, state=state, namespace="anna" if number < 4 else "bert")
        database.write(uploads.add, upload).result()

    def numbers(**narrowed: object) -> list[int]:
        wanted = {"namespaces": None, "creator": None, "stage": None, "after": None, "size": 10} | narrowed
        return [key for key, _ in database.read(lambda: uploads.page(**wanted))]  # type: ignore[arg-type]

    assert numbers() == [4, 3, 2, 1]
    assert numbers(size=2) == [4, 3]
    assert numbers(after=3) == [2, 1]
    assert numbers(namespaces={"bert"}) == [4]
    assert numbers(stage=UploadStage.UPLOADING) == [3, 1]
    assert numbers(stage=UploadStage.UPLOADING, creator="users/anna", namespaces={"anna"}) == [3, 1]
    assert numbers(creator="users/nobody") == []
    assert database.read(uploads.count_open, "users/anna") == 3


def test_what_is_due_and_what_is_forgotten(database: Database, uploads: UploadStore) -> None:
    rows = [
        _upload(1, expire_time=NOW),
        _upload(2, state=UploadState.ABORTED, expire_time=NOW),
        _upload(3, state=UploadState.COMMITTED, expire_time=NOW),
        _upload(4, expire_time=LATER),
        _upload(5, state=UploadState.ABORTED, expire_time=NOW, tree=0),
    ]
    for row in rows:
        database.write(uploads.add, row).result()
    rows.append(_upload(6, state=UploadState.FAILED, expire_time=NOW))
    rows.append(_upload(7, state=UploadState.COMMITTED, version_state=VersionState.VALIDATING))
    for row in rows[5:]:
        database.write(uploads.add, row).result()
    due = database.read(uploads.due, NOW, 10)
    assert [each.name.upload for each in due] == ["file_1", "file_2", "file_6"]
    forgotten = database.write(uploads.forget, LATER, 10).result()
    assert [each.name.upload for each in forgotten] == ["file_3"]
    assert database.read(uploads.find, UploadName("file_3")) is None


def test_failed_ones_are_found_by_age_and_creator(database: Database, uploads: UploadStore) -> None:
    rows = [
        _upload(1, state=UploadState.ABORTED, update_time=NOW + 2),
        _upload(2, state=UploadState.EXPIRED, update_time=NOW + 1, creator="users/bert"),
        _upload(3, state=UploadState.COMMITTED, version_state=VersionState.REJECTED, update_time=NOW),
        _upload(4, state=UploadState.COMMITTED, version_state=VersionState.STAGED, problem=PROBLEM),
        _upload(5, state=UploadState.COMMITTED, version_state=VersionState.STAGED),
        _upload(6, state=UploadState.FAILED, update_time=LATER),
    ]
    for row in rows:
        database.write(uploads.add, row).result()

    def failed(creator: str | None, size: int = 10) -> set[str]:
        return {each.name.upload for each in database.read(uploads.failed, LATER, creator, size)}

    assert failed(None) == {"file_1", "file_2", "file_3", "file_4"}
    assert failed("users/bert") == {"file_2"}
    assert len(failed(None, 2)) == 2
    database.write(uploads.remove, UploadName("file_2")).result()
    assert failed("users/bert") == set()
    assert database.read(uploads.find, UploadName("file_3")) == rows[2]


def test_bytes_that_travelled_are_added_in_any_state(database: Database, uploads: UploadStore) -> None:
    database.write(uploads.add, _upload(1, state=UploadState.ABORTED)).result()
    for size in (5, 7):
        database.write(uploads.count_received, UploadName("file_1"), size).result()
    found = database.read(uploads.find, UploadName("file_1"))
    assert found is not None
    assert found.received_bytes == 12
