"""Kept folders and the mount point on a whole server: they follow latest, and go with their artifact."""

import fcntl
import shutil
from pathlib import Path

import pytest

from helpers.eventually import eventually
from helpers.sdk import tree_of, write_tree
from helpers.servers import running_server
from ingot.client import Client, IngotError, operation_options
from ingot.server.sources.export_places import MARKER
from ingot.server.storage.data_folder import DataFolderError

pytestmark = pytest.mark.slow


def shown(folder: Path) -> dict[str, bytes]:
    """Return what a reader of a folder sees, without markers and locks; nothing while files come and go."""
    try:
        return {path: data for path, data in tree_of(folder).items() if "/." not in f"/{path}"}
    except OSError:
        return {}


@pytest.mark.contract("S2-8", "S2-47", "S4-31", "S4-36")
def test_the_mount_point_shows_each_artifact_as_it_is_now(tmp_path: Path) -> None:
    mount = tmp_path / "models"
    source = write_tree(tmp_path / "1", {"config.json": b"1"})
    with running_server(tmp_path) as server:
        token = server.token("member")
        with Client(server.address, token) as client:
            client.push("models/tiny", source)
    with running_server(tmp_path, mount_point=mount) as server, Client(server.address, token) as client:
        eventually(lambda: shown(mount) == {"tiny/config.json": b"1"}, what="what was there before is kept")
        client.push("models/tiny", write_tree(tmp_path / "2", {"config.json": b"2", "new": b"x"}))
        client.push("datasets/chat", write_tree(tmp_path / "3", {"a.jsonl": b"{}\n"}))
        expected = {"tiny/config.json": b"2", "tiny/new": b"x", "chat/a.jsonl": b"{}\n"}
        eventually(lambda: shown(mount) == expected, what="the next versions are kept")
        for number in (1, 2):
            client.catalog.delete_version(f"models/tiny@{number}")
        eventually(lambda: shown(mount) == {"chat/a.jsonl": b"{}\n"}, what="no version, no files")
        eventually(lambda: client.catalog.get("models/tiny").fetch.local_path == "", what="no place told")
        client.catalog.restore_version("models/tiny@2")
        eventually(lambda: shown(mount) == expected, what="what is taken out of the trash is back")
        client.catalog.delete("models/tiny", force=True)
        eventually(lambda: shown(mount) == {"chat/a.jsonl": b"{}\n"}, what="what was deleted is gone")
        assert (mount / "chat" / MARKER).exists()


@pytest.mark.contract("S0-20", "S0-42", "S4-8")
def test_a_folder_is_kept_until_it_is_exported_without(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with (
        running_server(tmp_path, export_roots=(str(out),)) as server,
        Client(server.address, server.token("member")) as client,
    ):
        client.push("models/tiny", write_tree(tmp_path / "1", {"a": b"1"}))
        started = client.operations.start_export("models/tiny", str(out), keep=True)
        assert started is not None
        client.operations.wait(started.name)
        client.push("models/tiny", write_tree(tmp_path / "2", {"a": b"2"}))
        eventually(lambda: shown(out) == {"tiny/a": b"2"}, what="the folder follows")
        assert client.catalog.get("models/tiny").fetch.local_path == str(out / "tiny")
        (following, *_) = client.operations.list(kind="export")
        client.operations.wait(following.name)
        ended = client.operations.start_export("models/tiny", str(out))
        assert ended is not None
        client.operations.wait(ended.name)
        client.push("models/tiny", write_tree(tmp_path / "3", {"a": b"3"}))
        assert len(list(client.operations.list(kind="export"))) == 3
        shutil.rmtree(out)


def test_an_export_that_ended_without_its_body_leaves_no_part(tmp_path: Path) -> None:
    """Its last try fails in a way that another one could mend, so the body keeps what it wrote."""
    out = tmp_path / "out"
    with (
        running_server(tmp_path, export_roots=(str(out),)) as server,
        Client(server.address, server.token("member")) as client,
    ):
        client.push("models/tiny", write_tree(tmp_path / "1", {"a": b"1"}))
        parts = {f".tiny.op_{number}.part": b"x" for number in range(1, 60)}
        write_tree(out, {**parts, ".tiny.ingot-lock": b""})
        with (out / ".tiny.ingot-lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            options = operation_options(max_attempts=1)
            started = client.operations.start_export("models/tiny", str(out), options=options)
            assert started is not None
            with pytest.raises(IngotError, match="Another operation writes"):
                client.operations.wait(started.name)
            mine = f".tiny.{started.name.rpartition('/')[2]}.part"
            del parts[mine]
            eventually(lambda: not (out / mine).exists(), what="its part being gone")
        assert tree_of(out) == {**parts, ".tiny.ingot-lock": b""}


@pytest.mark.contract("S2-48")
def test_a_mount_point_that_cannot_be_written_ends_the_start_with_a_sentence(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_bytes(b"")
    with (
        pytest.raises(DataFolderError, match=r"The mount point .* cannot be used"),
        running_server(tmp_path, mount_point=place / "models"),
    ):
        pass
