"""The power fails at any moment: what was acknowledged is there, nothing is half done, and all goes on.

Unlike kill -9 that loses what the system had not yet written: bytes, sizes and names that were not synced, in
any order. The record of what real programs do is replayed on a model of a disk, see helpers/power_cuts.py.
"""

import contextlib
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import grpc
import pytest

from helpers import power_cuts
from helpers.disk_record import Step
from helpers.disk_states import BYTES, KEPT, LOST, NAMES, ZEROS, torn
from helpers.patterns import pattern
from helpers.power_cut_programs import ARTIFACT, KIB, TREES, contents
from helpers.power_cuts import Moment
from helpers.sdk import tree_of
from helpers.servers import Server, running_server
from helpers.transfers import Pusher
from ingot.client import Client
from ingot.server import cli
from ingot.v1 import catalog_pb2, system_pb2

CUTS = (LOST, NAMES, ZEROS, BYTES, KEPT)
FEW = 1  # disks in `make test`, besides what is lost in the end
MOST = 150  # disks of one program in the long test
SEEDS = 3  # torn disks at each moment in the long test


def every(steps: Sequence[Step], root: Path) -> list[Moment]:
    """Return every disk, with some torn ones at each moment; by chance when they are very many."""
    cuts = (*CUTS, *(torn(f"{root.parent.name} {seed}") for seed in range(SEEDS)))
    found = list(power_cuts.moments(steps, root, cuts))
    return found if len(found) <= MOST else random.Random(1).sample(found, MOST)


def some(steps: Sequence[Step], root: Path) -> list[Moment]:
    """Return a few disks: torn ones, and what the end of each note lost."""
    found = list(power_cuts.moments(steps, root, [LOST, torn(0)]))
    chosen = random.Random(0).sample(found, FEW)
    return [*chosen, [each for each in found if each.cut == LOST.name][-1]]


Chosen = Callable[[Sequence[Step], Path], list[Moment]]
LONG = (pytest.mark.long, pytest.mark.timeout(3600))
SERVERS = [
    pytest.param("adopt", some, id="adopt some"),
    *(pytest.param(program, every, id=program, marks=LONG) for program in ("store", "adopt", "upkeep")),
]


@contextlib.contextmanager
def disks(program: str, folder: Path, chosen: Chosen) -> Iterator[Iterator[tuple[Moment, Path]]]:
    """Record a program and give the disks that a cut leaves, one after the other in the same place."""
    steps = power_cuts.recorded(program, folder)
    root = folder / "disk"

    def each() -> Iterator[tuple[Moment, Path]]:
        for moment in chosen(steps, root):
            shutil.rmtree(root)
            moment.write(root)
            yield moment, root

    yield each()


# --- the server ---------------------------------------------------------------------------------------------


def promised(moment: Moment) -> dict[str, dict[str, bytes]]:
    """Return what was acknowledged: the files of each version."""
    found = {}
    for fact in moment.noted:
        if "version" in fact:
            kept = fact.get("kept")
            found[str(fact["version"])] = (
                {"kept.bin": pattern(f"kept {kept}", int(str(kept)) * KIB)}
                if kept
                else contents(str(fact["content"]))
            )
    return found


def check_server(server: Server, moment: Moment) -> None:
    """Compare all versions with what was promised; those that nobody heard of are whole, too."""
    pusher = Pusher(server.admin.transfer, ())
    for name, files in promised(moment).items():
        for path, content in files.items():
            assert pusher.read(name, path) == content, f"{name} {path} after a {moment}"
    with contextlib.suppress(grpc.RpcError):  # there is no artifact yet
        listed = server.admin.catalog.ListVersions(catalog_pb2.ListVersionsRequest(parent=ARTIFACT)).versions
        for version in listed:
            for file in pusher.files(version.name)[1]:
                assert pusher.read(version.name, file)
    assert not server.admin.system.VerifyAudit(system_pb2.VerifyAuditRequest()).findings, str(moment)
    new = pusher.push(contents("afterwards"), ARTIFACT)
    assert pusher.read(new, "large.bin") == contents("afterwards")["large.bin"]


def check_folder(root: Path, moment: Moment, capsys: pytest.CaptureFixture[str]) -> None:
    """Start over what is left, look at it, stop, and find nothing wrong."""
    with running_server(root) as server:
        check_server(server, moment)
    capsys.readouterr()
    assert cli.main(["doctor", "--deep", "--data", str(root / "data")]) == 0, (
        f"{moment}: {capsys.readouterr().out}"
    )


@pytest.mark.slow
@pytest.mark.parametrize(("program", "chosen"), SERVERS)
@pytest.mark.contract("S3-59", "S3-60")
def test_what_was_acknowledged_survives_a_power_cut(
    tmp_path: Path, program: str, chosen: Chosen, capsys: pytest.CaptureFixture[str]
) -> None:
    with disks(program, tmp_path, chosen) as left:
        for moment, root in left:
            check_folder(root, moment, capsys)
            backups = root / "data" / "backups"
            if any(fact.get("all") for fact in moment.noted):
                check_backup(backups, tmp_path / "restored", moment, capsys)


def check_backup(backups: Path, place: Path, moment: Moment, capsys: pytest.CaptureFixture[str]) -> None:
    """Restore the newest backup that was acknowledged and look at it."""
    place.mkdir()
    assert cli.main(["restore", str(backups), "--data", str(place / "data")]) == 0, str(moment)
    check_folder(place, moment, capsys)
    shutil.rmtree(place)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.contract("S3-59", "S3-60")
def test_a_restored_backup_survives_a_power_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that was cut off can be restored again."""
    with disks("restore", tmp_path, every) as left:
        for moment, root in left:
            if not (root / "data" / "ingot.db").exists():
                assert not moment.noted, str(moment)
                backup = tmp_path / "disk.elsewhere" / "backup"
                assert cli.main(["restore", str(backup), "--data", str(root / "data")]) == 0
            check_folder(root, moment, capsys)
            with running_server(root) as server:
                for number, name in enumerate(("first", "second"), start=1):
                    for path, content in contents(name).items():
                        version = f"{ARTIFACT}/versions/{number}"
                        assert Pusher(server.admin.transfer, ()).read(version, path) == content, str(moment)


# --- the client ---------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.contract("S3-53", "S3-60")
def test_what_was_pulled_survives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody sees half a file under its name, and pulling or pushing again goes on from anything."""
    with (
        disks("pull", tmp_path, every) as left,
        running_server(tmp_path / "disk.elsewhere") as server,
        Client(server.address, server.admin_token, user="ada") as client,
    ):
        for moment, root in left:
            monkeypatch.setenv("INGOT_CACHE_DIR", str(root / "cache"))
            here = root / "new" / "here"
            pulled = [str(fact["pulled"]) for fact in moment.noted]
            found = tree_of(here) if here.exists() else {}
            for path, content in found.items():
                if not path.startswith(".ingot-pull/"):
                    assert content in [files.get(path) for files in TREES.values()], (
                        f"{path} after a {moment}"
                    )
            if pulled:
                for path in TREES[pulled[-1]]:
                    assert path in found, f"{path} after a {moment}"
            for number, files in TREES.items():
                client.pull(f"datasets/cut@{number}", here, force=True)
                assert {path: (here / path).read_bytes() for path in files} == files, str(moment)
            source = tmp_path / "disk.elsewhere" / "source" / "1"
            assert client.push("datasets/again", source).file_count == len(TREES["1"])
