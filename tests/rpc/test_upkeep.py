"""Upkeep through the API: an administrator starts it, the server does it, the result tells."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf import json_format

from helpers.sdk import write_tree
from helpers.servers import Server, running_server
from ingot.client import Client, Denied
from ingot.server.storage import backups

MIB = 1024 * 1024


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    return tmp_path / "backups"


@pytest.fixture(name="server")
def _server(tmp_path: Path, folder: Path) -> Iterator[Server]:
    with running_server(tmp_path / "home", collect_grace_seconds=0.0, backup_dir=folder) as server:
        yield server


@pytest.fixture(name="admin")
def _admin(server: Server) -> Iterator[Client]:
    with Client(server.address, server.admin_token, user="root") as client:
        yield client


def result_of(admin: Client, kind: str) -> dict[str, object]:
    """Run upkeep to its end and return what it tells."""
    operation = admin.operations.start_upkeep(kind)
    found: dict[str, object] = json_format.MessageToDict(admin.operations.wait(operation.name).result)
    return found


def flip_a_byte(home: Path) -> None:
    """Damage the largest chunk of the only pack, as a failing disk would."""
    (pack,) = home.glob("packs/*/*.pack")
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(content)


@pytest.mark.contract("S3-59")
def test_verify_finds_damage_and_says_whose(server: Server, admin: Client, tmp_path: Path) -> None:
    admin.push("datasets/chat", write_tree(tmp_path / "data", {"a.bin": os.urandom(MIB)}))
    assert result_of(admin, "verify")["healthy"] is True
    flip_a_byte(server.app.folder.path)
    found = result_of(admin, "verify")
    assert found["healthy"] is False
    assert found["damaged_chunks"] == 1
    assert found["needed_by"] == ["namespaces/admin/datasets/chat/versions/1"]
    again = admin.push("datasets/chat", tmp_path / "data")  # heals: the lost chunk travels again
    assert again is not None
    assert result_of(admin, "scrub")["damaged_chunks"] == 0


def test_collect_leaves_what_a_version_needs(server: Server, admin: Client, tmp_path: Path) -> None:
    admin.push("datasets/chat", write_tree(tmp_path / "data", {"a.bin": os.urandom(MIB)}))
    assert result_of(admin, "collect")["condemned_packs"] == 0
    assert b"".join(admin.read("datasets/chat:a.bin")) == (tmp_path / "data" / "a.bin").read_bytes()


@pytest.mark.contract("S0-107", "S1-64")
def test_a_backup_of_a_serving_server_is_restored_and_served(
    server: Server, admin: Client, tmp_path: Path, folder: Path
) -> None:
    content = os.urandom(MIB)
    pushed = admin.push("datasets/chat", write_tree(tmp_path / "data", {"a.bin": content}))
    made = result_of(admin, "backup")
    assert Path(str(made["path"])).parent == folder
    assert made["packs"] == 1
    backups.restore(folder, tmp_path / "new" / "data")
    with (
        running_server(tmp_path / "new") as restored,
        Client(restored.address, restored.admin_token, user="root") as client,
    ):
        assert client.catalog.version("datasets/chat").digest == pushed.digest
        assert b"".join(client.read("datasets/chat:a.bin")) == content


def test_upkeep_is_for_administrators(server: Server) -> None:
    with Client(server.address, server.token("sara"), user="sara") as sara, pytest.raises(Denied):
        sara.operations.start_upkeep("collect")


@pytest.mark.parametrize("kind", ["clean", "collect", "scrub", "verify", "backup"])
def test_every_kind_of_upkeep_ends_well_on_an_empty_server(admin: Client, kind: str) -> None:
    assert isinstance(result_of(admin, kind), dict)
