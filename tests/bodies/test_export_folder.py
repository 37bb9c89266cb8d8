"""Exports to folders: whole or not at all, only what changed, and nothing of anybody else is lost."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.body_work import run_here
from helpers.sdk import member_client, tree_of, write_tree
from helpers.servers import Server
from ingot.client import Client
from ingot.server.bodies import export_folder, folders
from ingot.server.bodies.failures import BodyFailure, Cancelled, translated
from ingot.server.core import params
from ingot.server.core.errors import Precondition, Reason
from ingot.server.sources import export_places

UID = "0198c5a2-7a4e-7c3b-9d0e-3f6a1b2c4d5e"
FIRST = {"config.json": b"{}", "data/part.bin": bytes(range(256)) * 9000, "empty": b""}
SECOND = {"config.json": b'{"b": 2}', "data/part.bin": FIRST["data/part.bin"], "new/file": b"x"}


class Rig:
    """A server, and a root below which its exports may write."""

    def __init__(self, client: Client, address: str, token: str, folder: Path) -> None:
        self.client, self._address, self._token, self._folder = client, address, token, folder
        self.root = folder / "root"
        self.root.mkdir()

    def push(self, files: dict[str, bytes], name: str = "models/tiny") -> str:
        source = self._folder / f"source{len(os.listdir(self._folder))}"
        return self.client.push(name, write_tree(source, files), hidden=True).name

    def export(
        self,
        version: str,
        name: str = "tiny",
        *,
        uid: str = UID,
        layout: str = "name",
        remove: bool = False,
        stopping: threading.Event | None = None,
    ) -> params.ExportResult:
        asked = params.ExportParams.model_validate(
            {
                "versions": () if remove else (version,),
                "destination": {
                    "kind": "folder",
                    "path": str(self.root / "sub"),
                    "root": str(self.root),
                    "layout": layout,
                    "names": (name,),
                    "artifacts": (uid,),
                    "remove": remove,
                },
            }
        )
        return run_here(
            export_folder.run,
            asked,
            self._folder / "own",
            server=self._address,
            token=self._token,
            stopping=stopping,
        )

    @property
    def place(self) -> Path:
        return self.root / "sub" / "tiny"

    def refused(self, version: str, **wanted: str) -> BodyFailure:
        """Return why an export fails, and check that it changed nothing."""
        before = seen(self.root)
        with pytest.raises((BodyFailure, Precondition)) as caught:
            self.export(version, **wanted)  # type: ignore[arg-type]  # as the test says
        assert seen(self.root) == before
        return translated(caught.value, "")


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Client, Server]]:
    with member_client() as found:
        yield found


@pytest.fixture
def rig(served: tuple[Client, Server], tmp_path: Path) -> Rig:
    client, server = served
    return Rig(client, server.address, server.token("member"), tmp_path)


def exported(place: Path) -> dict[str, bytes]:
    """Return the files of a place without its marker."""
    return {path: data for path, data in tree_of(place).items() if not path.endswith(export_places.MARKER)}


def seen(folder: Path) -> dict[str, bytes]:
    """Return everything below a folder but locks."""
    return {path: data for path, data in tree_of(folder).items() if not path.endswith("-lock")}


@pytest.mark.contract("S0-12", "S0-30", "S2-47")
def test_a_version_becomes_a_readable_folder_of_its_name(rig: Rig) -> None:
    done = rig.export(rig.push(FIRST))
    assert exported(rig.place) == FIRST
    assert (done.path, done.file_count, done.size_bytes) == (
        str(rig.place),
        3,
        len(FIRST["data/part.bin"]) + 2,
    )
    assert sorted(os.listdir(rig.root / "sub")) == ["tiny"]


def test_the_next_version_takes_its_place_and_brings_only_what_changed(rig: Rig) -> None:
    rig.export(rig.push(FIRST))
    old = (rig.place / "data/part.bin").stat()
    done = rig.export(rig.push(SECOND))
    assert exported(rig.place) == SECOND
    assert done.written_bytes == len(SECOND["config.json"]) + 1
    assert (rig.place / "data/part.bin").stat().st_ino == old.st_ino
    assert sorted(os.listdir(rig.root / "sub")) == ["tiny"]


def test_the_same_version_again_writes_nothing(rig: Rig) -> None:
    version = rig.push(FIRST)
    rig.export(version)
    before = {path: path.stat().st_ctime_ns for path in rig.place.rglob("*")}
    assert rig.export(version).written_bytes == 0
    assert {path: path.stat().st_ctime_ns for path in rig.place.rglob("*")} == before


def test_a_file_that_somebody_removed_is_written_again(rig: Rig) -> None:
    version = rig.push(FIRST)
    rig.export(version)
    (rig.place / "config.json").unlink()
    rig.export(version)
    assert exported(rig.place) == FIRST


def test_a_folder_that_is_not_ours_is_left_alone(rig: Rig) -> None:
    version = rig.push(FIRST)
    write_tree(rig.place, {"mine.txt": b"precious"})
    failure = rig.refused(version)
    assert (failure.reason, failure.retry) == (Reason.IN_USE, False)
    assert "no marker" in failure.message


def test_a_file_that_somebody_added_or_edited_is_not_lost(rig: Rig) -> None:
    rig.export(rig.push(FIRST))
    second = rig.push(SECOND)
    write_tree(rig.place, {"mine.txt": b"precious"})
    assert "mine.txt" in rig.refused(second).message
    (rig.place / "mine.txt").unlink()
    (rig.place / "config.json").write_bytes(b"edited by hand")
    assert "config.json" in rig.refused(second).message


def test_another_artifact_does_not_get_the_folder(rig: Rig) -> None:
    version = rig.push(FIRST)
    rig.export(version)
    failure = rig.refused(version, uid="0" * 36)
    assert (failure.reason, failure.retry) == (Reason.IN_USE, False)
    assert "another artifact" in failure.message


def test_links_are_never_followed(rig: Rig, tmp_path: Path) -> None:
    version = rig.push(FIRST)
    outside = tmp_path / "outside"
    outside.mkdir()
    (rig.root / "sub").symlink_to(outside)
    assert rig.refused(version).reason is Reason.BAD_PATH
    (rig.root / "sub").unlink()
    (rig.root / "sub").mkdir()
    rig.place.symlink_to(outside)
    assert rig.refused(version).reason is Reason.IN_USE
    rig.place.unlink()
    rig.export(version)
    (rig.place / "config.json").unlink()
    (rig.place / "config.json").symlink_to(outside / "x")
    assert "config.json" in rig.refused(version).message
    assert list(outside.iterdir()) == []


def test_one_that_is_asked_to_stop_leaves_what_was_there(rig: Rig) -> None:
    rig.export(rig.push(FIRST))
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(Cancelled):
        rig.export(rig.push(SECOND), stopping=stopping)
    assert exported(rig.place) == FIRST
    assert sorted(os.listdir(rig.root / "sub")) == ["tiny"]


def test_two_writers_of_one_folder_do_not_meet(rig: Rig) -> None:
    version = rig.push(FIRST)
    (rig.root / "sub").mkdir()
    with folders.held(rig.place), pytest.raises(BodyFailure) as caught:
        rig.export(version)
    assert (caught.value.reason, caught.value.retry) == (Reason.BUSY, True)
    rig.export(version)


def test_nothing_is_exported_into_what_was_exported(rig: Rig) -> None:
    version = rig.push(FIRST)
    rig.export(version)
    assert rig.refused(version, name="tiny/deep/other").reason is Reason.IN_USE
    rig.export(version, name="sara/" + UID, layout="owner_uid")
    assert rig.refused(version, name=f"sara/{UID}/other").reason is Reason.IN_USE


def test_nobody_takes_a_folder_while_another_writes_into_it(rig: Rig) -> None:
    version = rig.push(FIRST)
    with folders.way_to(str(rig.root), rig.place / "deep/other"):
        assert rig.refused(version).reason is Reason.BUSY
        with folders.way_to(str(rig.root), rig.place / "third"):
            pass
        assert rig.refused(version).reason is Reason.BUSY
    (rig.place / "deep").rmdir()
    rig.place.rmdir()
    with folders.held(rig.place):
        assert rig.refused(version, name="tiny/other").reason is Reason.BUSY
    rig.export(version)
    assert sorted(os.listdir(rig.root / "sub")) == ["tiny"]
    assert os.listdir(rig.root) == ["sub"]


def test_what_an_attempt_left_is_gone_on_with(rig: Rig) -> None:
    """A kill may come before or after the exchange of old and new."""
    version = rig.push(FIRST)
    left = rig.root / "sub" / ".tiny.op_1.part"
    write_tree(left, {"config.json": FIRST["config.json"], "stray": b"x", export_places.MARKER: b"{}"})
    rig.export(version)
    assert exported(rig.place) == FIRST
    write_tree(left, {"old": b"x"})
    rig.export(version)
    assert sorted(os.listdir(rig.root / "sub")) == ["tiny"]


def test_what_another_operation_left_unfinished_goes(rig: Rig) -> None:
    write_tree(rig.root / "sub" / ".tiny.op_77.part", {"old": b"x"})
    write_tree(rig.root / "sub", {".tiny.txt": b"precious"})
    rig.export(rig.push(FIRST))
    assert sorted(os.listdir(rig.root / "sub")) == [".tiny.txt", "tiny"]


@pytest.mark.contract("S4-31")
def test_removing_takes_what_was_exported_and_nothing_else(rig: Rig) -> None:
    rig.export(rig.push(FIRST))
    write_tree(rig.place, {"mine.txt": b"precious"})
    with pytest.raises(Precondition, match=r"mine\.txt"):
        rig.export("", remove=True)
    (rig.place / "mine.txt").unlink()
    rig.export("", remove=True)
    assert os.listdir(rig.root / "sub") == []
    rig.export("", remove=True)


# --- by owner and uid -----------------------------------------------------------------------------------


@pytest.mark.contract("S1-2", "S1-7", "S1-38")
def test_an_artifact_of_one_file_is_that_file_below_its_owner(rig: Rig) -> None:
    name = f"sara/{UID}"
    rig.export(rig.push({"weights/model.safetensors": b"one"}), name, layout="owner_uid")
    place = rig.root / "sub" / "sara" / f"{UID}.safetensors"
    assert place.read_bytes() == b"one"
    rig.export(rig.push({"model.safetensors": b"two"}), name, layout="owner_uid")
    assert place.read_bytes() == b"two"
    assert sorted(exported(rig.root / "sub")) == [f"sara/{UID}.safetensors"]


def test_an_artifact_of_many_files_is_a_folder_there_and_either_replaces_the_other(rig: Rig) -> None:
    name = f"sara/{UID}"
    rig.export(rig.push({"model.onnx": b"one"}), name, layout="owner_uid")
    rig.export(rig.push(SECOND), name, layout="owner_uid")
    assert exported(rig.root / "sub" / "sara" / UID) == SECOND
    assert not (rig.root / "sub" / "sara" / f"{UID}.onnx").exists()
    rig.export(rig.push({"model.gguf": b"three"}), name, layout="owner_uid")
    assert exported(rig.root / "sub") == {f"sara/{UID}.gguf": b"three"}


def test_a_file_of_somebody_else_is_not_replaced_by_one_that_stands_alone(rig: Rig) -> None:
    version = rig.push({"model.onnx": b"one"})
    place = rig.root / "sub" / "sara" / f"{UID}.onnx"
    write_tree(rig.root, {f"sub/sara/{UID}.onnx": b"precious"})
    assert "something else is there" in rig.refused(version, name=f"sara/{UID}", layout="owner_uid").message
    place.unlink()
    rig.export(version, f"sara/{UID}", layout="owner_uid")
    place.write_bytes(b"edited")
    edited = rig.refused(version, name=f"sara/{UID}", layout="owner_uid")
    assert "not what was exported" in edited.message


def test_a_kill_around_the_exchange_of_a_single_file_is_healed(rig: Rig) -> None:
    """The marker names both what was there and what is coming, so either is known as ours."""
    name, version = f"sara/{UID}", rig.push({"model.onnx": b"one"})
    rig.export(version, name, layout="owner_uid")
    marker = rig.root / "sub" / "sara" / f".{UID}{export_places.MARKER}"
    told = export_places.Marker.model_validate_json(marker.read_bytes())
    place = rig.root / "sub" / "sara" / f"{UID}.onnx"
    place.write_bytes(b"coming")
    coming = {place.name: export_places.WrittenFile(size=6, mtime_ns=place.stat().st_mtime_ns)}
    marker.write_text(told.model_copy(update={"coming": coming}).model_dump_json())
    rig.export(version, name, layout="owner_uid")
    assert place.read_bytes() == b"one"
