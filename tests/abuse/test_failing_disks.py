"""A disk that fails, is full or forgets: what was acknowledged comes back as it was or is told as lost.

System calls fail at each step of the write order; bits flip in packs and in the database, packs are cut,
extended, exchanged and deleted. Wrong bytes never come. Once the files are pushed again nothing is wrong.
"""

import contextlib
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import grpc
import pytest

from helpers.patterns import pattern
from helpers.servers import Server, running_server
from helpers.transfers import Pusher
from ingot.server import cli
from ingot.server.core import failpoints

ARTIFACT = "namespaces/admin/datasets/damaged"
LOST = grpc.StatusCode.DATA_LOSS
VERSIONS = [
    {"a.bin": pattern("damage a", 300_000), "small.txt": b"a few bytes"},
    {"b.bin": pattern("damage b", 400_000), "empty": b""},
    {"c.bin": pattern("damage c", 200_000), "again.bin": pattern("damage a", 300_000)},
]
STEPS = (
    "pack.reserved",
    "pack.appended",
    "pack.footer",
    "pack.synced",
    "pack.renamed",
    "pack.folder_synced",
    "database.committing",
)


def pusher_of(server: Server) -> Pusher:
    return Pusher(server.admin.transfer, ())


def push_all(server: Server) -> dict[str, Mapping[str, bytes]]:
    """Push every version; return what each holds, by its name."""
    pusher = pusher_of(server)
    return {pusher.push(files, ARTIFACT): files for files in VERSIONS}


# --- system calls that fail ---------------------------------------------------------------------------------


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("failing")
    with running_server(folder) as server:
        pushed = push_all(server)
        yield server
        for name, files in pushed.items():
            assert {path: pusher_of(server).read(name, path) for path in files} == files
        assert not list(server.folder.glob("ingest/*/*.open"))
    assert cli.main(["doctor", "--deep", "--data", str(folder / "data")]) == 0


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.contract("S3-58", "S3-60")
def test_a_push_over_a_failing_disk_is_refused_and_succeeds_afterwards(
    server: Server, step: str, error: str
) -> None:
    pusher = pusher_of(server)
    for turn in range(5):
        files = {"new.bin": pattern(f"{step} {error} {turn}", 300_000)}
        with failpoints.armed(f"{step}={error}"):
            refusal = _refusal(pusher, files)
        if refusal is not None:
            break  # else the server's own writing met the failure, which comes once
    wanted = grpc.StatusCode.RESOURCE_EXHAUSTED if error == "ENOSPC" else grpc.StatusCode.UNAVAILABLE
    assert refusal in (wanted, grpc.StatusCode.INTERNAL)
    version = pusher.push(files, ARTIFACT)
    assert pusher.read(version, "new.bin") == files["new.bin"]


def _refusal(pusher: Pusher, files: Mapping[str, bytes]) -> grpc.StatusCode | None:
    try:
        pusher.push(files, ARTIFACT)
    except grpc.RpcError as error:
        return error.code()
    return None


@pytest.mark.contract("S3-60")
def test_what_the_disk_cannot_read_is_told_as_lost_and_read_once_it_can(server: Server) -> None:
    pusher = pusher_of(server)
    content = pattern("unreadable", 300_000)
    version = pusher.push({"new.bin": content}, ARTIFACT)
    with failpoints.armed("pack.reading=EIO"):  # the first read fails, the one after a dropped cache does not
        got = answer(pusher, version, "new.bin")
    assert got in (content, LOST)
    assert pusher.read(version, "new.bin") == content


# --- what was written and is not what it was ----------------------------------------------------------------


@pytest.fixture(name="sound", scope="module")
def _sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a server that stored three versions in several packs, with a backup."""
    folder = tmp_path_factory.mktemp("sound")
    with running_server(folder) as server:
        push_all(server)
    assert cli.main(["backup", "--data", str(folder / "data"), "--backup-dir", str(folder / "backup")]) == 0
    return folder


Damage = Callable[[list[Path], random.Random], None]


def flip(file: Path, chance: random.Random, first: int = 0, last: int = -1) -> None:
    data = bytearray(file.read_bytes())
    data[chance.randrange(first, last % len(data) + 1)] ^= 1 << chance.randrange(8)
    rewrite(file, bytes(data))


def rewrite(file: Path, data: bytes) -> None:
    mode = file.stat().st_mode
    file.unlink()
    file.write_bytes(data)
    file.chmod(mode)


def exchange(packs: list[Path], chance: random.Random) -> None:
    one, other = chance.sample(packs, 2)
    first, second = one.read_bytes(), other.read_bytes()
    rewrite(one, second)
    rewrite(other, first)


def cut(packs: list[Path], chance: random.Random) -> None:
    pack = chance.choice(packs)
    data = pack.read_bytes()
    rewrite(pack, data[: chance.randrange(len(data))])


def extend(packs: list[Path], chance: random.Random) -> None:
    pack = chance.choice(packs)
    rewrite(pack, pack.read_bytes() + chance.randbytes(chance.randrange(1, 5000)))


DAMAGES: dict[str, Damage] = {
    "a bit of the header": lambda packs, chance: flip(chance.choice(packs), chance, 0, 40),
    "a bit of the data": lambda packs, chance: flip(chance.choice(packs), chance, 100, 50_000),
    "a bit of the footer": lambda packs, chance: flip(chance.choice(packs), chance, -100),
    "a cut pack": cut,
    "an extended pack": extend,
    "exchanged packs": exchange,
    "a deleted pack": lambda packs, chance: chance.choice(packs).unlink(),
    "an empty pack": lambda packs, chance: rewrite(chance.choice(packs), b""),
}
TIMES = [pytest.param(0), *(pytest.param(turn, marks=pytest.mark.long) for turn in range(1, 20))]


def answer(pusher: Pusher, version: str, path: str) -> bytes | grpc.StatusCode:
    """Return a file, or why it cannot be read."""
    try:
        return pusher.read(version, path)
    except grpc.RpcError as error:
        code = error.code()
        assert isinstance(code, grpc.StatusCode)
        return code


@pytest.mark.slow
@pytest.mark.contract("S3-59", "S3-60")
@pytest.mark.parametrize("turn", TIMES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_packs_give_no_wrong_bytes_and_are_healed_by_a_push(
    sound: Path, tmp_path: Path, damage: str, turn: int, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    shutil.copytree(sound / "data", data)
    DAMAGES[damage](sorted(data.glob("packs/*/*.pack")), random.Random(f"{damage} {turn}"))
    with running_server(tmp_path) as server:
        pusher = pusher_of(server)
        for number, files in enumerate(VERSIONS, start=1):
            for path, content in files.items():
                assert answer(pusher, f"{ARTIFACT}/versions/{number}", path) in (content, LOST)
    cli.main(["doctor", "--deep", "--repair", "--data", str(data)])
    with running_server(tmp_path) as server:
        push_all(server)
        pusher = pusher_of(server)
        for number, files in enumerate(VERSIONS * 2, start=1):
            for path, content in files.items():
                assert pusher.read(f"{ARTIFACT}/versions/{number}", path) == content
    capsys.readouterr()
    assert cli.main(["doctor", "--deep", "--data", str(data)]) == 0, capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.contract("S0-107")
@pytest.mark.parametrize(
    "turn", [*range(4), *(pytest.param(at, marks=pytest.mark.long) for at in range(4, 100))]
)
def test_a_damaged_database_gives_no_wrong_bytes_and_a_backup_brings_all_back(
    sound: Path, tmp_path: Path, turn: int
) -> None:
    data = tmp_path / "data"
    shutil.copytree(sound / "data", data)
    flip(data / "ingot.db", random.Random(turn))
    with contextlib.suppress(Exception), running_server(tmp_path) as server:
        # It may refuse to start, or any call; the flipped bit may be in a name.
        found = {
            (number, path): answer(pusher_of(server), f"{ARTIFACT}/versions/{number}", path)
            for number, files in enumerate(VERSIONS, start=1)
            for path in files
        }
        wrong = {
            place: got[:50]
            for place, got in found.items()
            if isinstance(got, bytes) and got != VERSIONS[place[0] - 1][place[1]]
        }
        if wrong:
            pytest.fail(f"wrong bytes: {wrong}")  # an exception that nothing suppresses
    restored = tmp_path / "restored"
    restored.mkdir()
    assert cli.main(["restore", str(sound / "backup"), "--data", str(restored / "data")]) == 0
    with running_server(restored) as server:
        for number, files in enumerate(VERSIONS, start=1):
            for path, content in files.items():
                assert pusher_of(server).read(f"{ARTIFACT}/versions/{number}", path) == content
