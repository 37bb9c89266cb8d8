"""Upkeep through the API: an administrator starts it, the server does it, the result tells."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from google.protobuf import json_format

from helpers.eventually import eventually
from helpers.sdk import write_tree
from helpers.servers import Server, running_server
from ingot.client import Client, DataLoss, Denied
from ingot.server import cli
from ingot.server.storage import backup_folder, backups, sql
from ingot.server.storage.trees_sql import TreesSql
from ingot.v1 import system_pb2

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


def test_the_schema_of_a_result_names_what_it_tells(server: Server, admin: Client) -> None:
    schemas = {kind.kind: json_format.MessageToDict(kind.result_schema) for kind in admin.operations.kinds()}
    for kind in ("clean", "collect", "scrub", "verify", "backup"):
        assert result_of(admin, kind).keys() == schemas[kind]["properties"].keys(), kind
    (recovered,) = admin.operations.list(kind="recover")
    assert json_format.MessageToDict(recovered.result).keys() == schemas["recover"]["properties"].keys()


def drop_trees(server: Server, artifact: str) -> None:
    """Drop the trees of all versions of an artifact, as purging does."""

    def drop() -> None:
        for (tree,) in sql.rows("SELECT id FROM tree WHERE artifact = ?", artifact):
            TreesSql().drop(tree)

    server.app.database.write(drop).result(100)


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


@pytest.mark.contract("S3-59", "S3-60")
def test_a_flipped_bit_is_found_by_scrub_told_on_read_and_healed_by_a_push(
    server: Server, admin: Client, tmp_path: Path
) -> None:
    """From the damage to the last equal byte; both versions that share the chunk heal."""
    home = server.app.folder.path
    content = os.urandom(2 * MIB)
    data = write_tree(tmp_path / "data", {"a.bin": content})
    admin.push("datasets/chat", data)
    admin.push("datasets/twin", data)
    (pack,) = home.glob("packs/*/*.pack")
    flip_a_byte(home)
    found = result_of(admin, "scrub")
    assert found["damaged_chunks"] == 1
    assert found["needed_by"] == [
        "namespaces/admin/datasets/chat/versions/1",
        "namespaces/admin/datasets/twin/versions/1",
    ]
    assert "Push the files" in str(found["next_step"])
    assert found["quarantined_packs"] == 1
    assert (home / "quarantine" / pack.name).exists()
    assert not pack.exists()
    with pytest.raises(DataLoss) as caught:
        b"".join(admin.read("datasets/chat:a.bin"))
    assert "ush" in caught.value.next_step
    sent = admin.push("datasets/chat", data)
    assert 0 < sent.sent_bytes < MIB + MIB // 2  # the damaged chunk only
    for name in ("chat", "twin"):
        assert b"".join(admin.read(f"datasets/{name}@1:a.bin")) == content
    admin.pull("datasets/twin", tmp_path / "pulled")
    assert (tmp_path / "pulled" / "a.bin").read_bytes() == content
    assert result_of(admin, "verify")["healthy"] is True

    def healthy() -> bool:  # also of a disk that is busy for a moment
        health = server.admin.system.GetHealth(system_pb2.GetHealthRequest())
        return health.status == system_pb2.HEALTH_STATUS_HEALTHY

    assert eventually(healthy)


def test_collect_gives_space_back_inside_packs_that_are_partly_needed(
    server: Server, admin: Client, tmp_path: Path
) -> None:
    """One stream brought the files of two versions; half of it goes with the second one."""
    home = server.app.folder.path
    kept, gone = os.urandom(6 * MIB), os.urandom(2 * MIB)
    admin.push("datasets/chat", write_tree(tmp_path / "both", {"a": kept, "b": gone}))
    admin.push("datasets/kept", write_tree(tmp_path / "one", {"a": kept}))
    packs = list(home.glob("packs/*/*.pack"))
    before = sum(pack.stat().st_blocks for pack in packs) * 512
    drop_trees(server, "namespaces/admin/datasets/chat")
    freed = [result_of(admin, "collect") for _ in range(3)]
    after = sum(pack.stat().st_blocks for pack in home.glob("packs/*/*.pack")) * 512
    assert before - after >= 2 * MIB - 64 * 1024
    assert sum(float(str(each["freed_bytes"])) for each in freed) == before - after
    assert b"".join(admin.read("datasets/kept:a")) == kept
    assert result_of(admin, "verify")["healthy"] is True


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


@pytest.mark.contract("S0-107", "S1-64", "S3-60")
def test_backups_while_others_push_are_kept_by_number_and_end_clean_when_restored(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was pushed before a backup began is in it, what came meanwhile may be; all of it fits."""
    contents = {f"datasets/d{number}": os.urandom(MIB) for number in range(6)}
    with (
        running_server(tmp_path / "home", backup_dir=folder, backup_keep=2, io_threads=4) as server,
        Client(server.address, server.admin_token, user="root") as admin,
        ThreadPoolExecutor(1) as pool,
    ):
        for number in range(3):
            name = f"datasets/d{number}"
            admin.push(name, write_tree(tmp_path / name, {"a.bin": contents[name]}))
            meanwhile = f"datasets/d{number + 3}"
            data = write_tree(tmp_path / meanwhile, {"a.bin": contents[meanwhile]})
            pushing = pool.submit(admin.push, meanwhile, data)
            made = result_of(admin, "backup")
            pushing.result(100)
    assert len(backup_folder.found(folder)) == 2
    assert backup_folder.found(folder)[-1].name == Path(str(made["path"])).name
    backups.restore(folder, tmp_path / "new" / "data")
    assert cli.main(["doctor", "--deep", "--data", str(tmp_path / "new" / "data")]) == 0, capsys.readouterr()
    with (
        running_server(tmp_path / "new") as restored,
        Client(restored.address, restored.admin_token, user="root") as client,
    ):
        for name in ("datasets/d0", "datasets/d1", "datasets/d2", "datasets/d3", "datasets/d4"):
            assert b"".join(client.read(f"{name}:a.bin")) == contents[name]


def test_a_scrub_of_all_ages_reads_each_pack_once(tmp_path: Path) -> None:
    with (
        running_server(tmp_path / "home", scrub_days=0.0) as server,
        Client(server.address, server.admin_token, user="root") as admin,
    ):
        for name in ("a", "b"):
            admin.push(f"datasets/{name}", write_tree(tmp_path / name, {"a.bin": os.urandom(100)}))
        operation = admin.operations.start_upkeep("scrub")
        ended = admin.operations.wait(operation.name)
        assert json_format.MessageToDict(ended.result)["packs"] == 2


def test_upkeep_is_for_administrators(server: Server) -> None:
    with Client(server.address, server.token("sara"), user="sara") as sara, pytest.raises(Denied):
        sara.operations.start_upkeep("collect")


@pytest.mark.parametrize("kind", ["clean", "collect", "scrub", "verify", "backup"])
def test_every_kind_of_upkeep_ends_well_on_an_empty_server(admin: Client, kind: str) -> None:
    assert isinstance(result_of(admin, kind), dict)
