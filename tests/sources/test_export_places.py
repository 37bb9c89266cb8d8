"""What exports that died leave beside their targets goes, and nothing else there does."""

import fcntl
from pathlib import Path

import pytest

from helpers.sdk import tree_of, write_tree
from ingot.server.core.artifacts import JsonObject
from ingot.server.core.operations import Operation, OperationState
from ingot.server.sources import export_places


def export(destination: JsonObject) -> Operation:
    params: JsonObject = {"versions": ["namespaces/sara/models/tiny/versions/1"], "destination": destination}
    return Operation(12, "export", OperationState.FAILED, "users/sara", 0.0, params=params)


def to_folder(root: Path) -> Operation:
    names: JsonObject = {
        "names": ["tiny"],
        "artifacts": ["uid"],
        "path": str(root / "sub"),
        "root": str(root),
    }
    return export({"kind": "folder", **names})


def to_bundle(root: Path) -> Operation:
    return export({"kind": "bundle", "path": str(root / "sub" / "tiny"), "root": str(root)})


@pytest.mark.parametrize("kind", [to_folder, to_bundle])
def test_parts_and_locks_of_the_operation_go(tmp_path: Path, kind: type) -> None:
    kept = {
        "sub/.tiny.op_1.part/x": b"of another",
        "sub/.tiny.op_123.part": b"of another",
        "sub/.other.op_12.part": b"of another target",
        "sub/tiny/model": b"what was exported",
        "sub/.tiny.op_12.parted": b"of somebody",
    }
    write_tree(tmp_path, {**kept, "sub/.tiny.ingot-lock": b""})
    write_tree(tmp_path, {"sub/.tiny.op_12.part/a/b": b"x", "sub/.tiny.op_12.part.old": b"x"})
    export_places.tidy(kind(tmp_path))
    assert tree_of(tmp_path) == kept
    export_places.tidy(kind(tmp_path))


def test_a_lock_that_somebody_holds_stays(tmp_path: Path) -> None:
    lock = tmp_path / "sub" / ".tiny.ingot-lock"
    write_tree(tmp_path, {"sub/.tiny.ingot-lock": b""})
    with lock.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        export_places.tidy(to_folder(tmp_path))
        assert lock.exists()
    export_places.tidy(to_folder(tmp_path))
    assert not lock.exists()


def test_nothing_is_removed_behind_a_link(tmp_path: Path) -> None:
    outside = write_tree(tmp_path / "outside", {".tiny.op_12.part": b"x"})
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "sub").symlink_to(outside)
    export_places.tidy(to_folder(tmp_path / "root"))
    assert tree_of(outside) == {".tiny.op_12.part": b"x"}
