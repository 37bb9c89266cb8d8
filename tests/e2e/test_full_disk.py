"""A server on a disk that is full to the last byte: it says so, frees space by itself, and goes on.

The disk is a real file system of 128 MiB in memory, in a mount namespace of the server's own (`unshare`), so
no root is needed. Where the kernel allows no such namespaces, the test says so.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from io import RawIOBase
from pathlib import Path

import pytest

from helpers.eventually import eventually
from ingot.client import Client, IngotError
from ingot.server.storage import ballast
from ingot.v1 import catalog_pb2, transfer_pb2

MIB = 1024 * 1024
SIZE = 128
MOUNT = f'mount -t tmpfs -o size={SIZE}m,mode=700 tmpfs "$1" && shift && exec "$@"'

pytestmark = pytest.mark.slow


class FullDiskServer:
    """A server in a namespace with a small disk of its own."""

    def __init__(self, folder: Path) -> None:
        self.disk = folder / "disk"
        self.disk.mkdir()
        data = self.disk / "data"
        flags = ["--data", str(data), "--listen", "127.0.0.1:0", "--json", "--collect-grace-seconds", "0"]
        server = [sys.executable, "-m", "ingot.server.cli", "serve", *flags]
        self.process = subprocess.Popen(
            ["unshare", "--map-root-user", "--mount", "sh", "-c", MOUNT, "sh", str(self.disk), *server],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.facts = json.loads(self.process.stdout.readline())
        # The disk as the server sees it, from outside of its namespace.
        self.root = Path(f"/proc/{self.process.pid}/root{data}")

    def fill(self) -> Path:
        """Let another program take every byte that is left; return its file."""
        hog = self.root.parent / "hog"
        for size in (64 * 1024, 1):
            with hog.open("ab", buffering=0) as file, pytest.raises(OSError, match="No space"):
                write_for_ever(file, bytes(size))
        return hog

    def free(self) -> int:
        return shutil.disk_usage(self.root).free


def write_for_ever(file: RawIOBase, data: bytes) -> None:
    while True:
        file.write(data)


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> Iterator[FullDiskServer]:
    if subprocess.run(["unshare", "--map-root-user", "--mount", "true"], check=False).returncode:
        pytest.skip("the kernel allows no mount namespaces here")
    server = FullDiskServer(tmp_path)
    with server.process:  # waits for its end, and closes its output
        yield server
        server.process.terminate()


def files(folder: Path, **contents: bytes) -> Path:
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.contract("S3-58", "S3-60")
def test_a_disk_that_is_full_to_the_last_byte_is_emptied_by_collection(
    server: FullDiskServer, tmp_path: Path
) -> None:
    """Most of a pack is of an upload that was given up, the rest of a version: a copy would not fit."""
    token = (server.root / "admin.token").read_text().strip()
    kept, gone = os.urandom(4 * MIB), os.urandom(30 * MIB)
    folder = files(tmp_path / "both", kept=kept, gone=gone)
    wanted = catalog_pb2.Artifact()
    with Client(server.facts["listen"][0], token, user="root") as client:
        target = transfer_pb2.NewVersion(artifact="namespaces/admin/datasets/both", create=wanted)
        with client.uploads.open(target) as upload:
            upload.add({"kept": folder / "kept", "gone": folder / "gone"})
            client.push("datasets/kept", files(tmp_path / "one", kept=kept))
        client.uploads.abort(upload.name)
        hog = server.fill()
        assert b"".join(client.read("datasets/kept:kept")) == kept  # reads go on
        with pytest.raises(IngotError, match="disk"):
            client.push("datasets/more", files(tmp_path / "more", more=os.urandom(MIB)))
        assert eventually(lambda: purged(client)) == 1
        freed = 0.0
        for _ in range(3):  # condemn and trim, then free; the ballast is put back at the end
            freed += eventually(lambda: collected(client))["freed_bytes"]
        assert freed >= 29 * MIB
        assert server.free() + ballast.MOST >= 29 * MIB
        assert (server.root / "ingot.db.ballast").exists()
        assert b"".join(client.read("datasets/kept:kept")) == kept
        hog.unlink()
        client.push("datasets/more", tmp_path / "more")
        verified = client.operations.wait(client.operations.start_upkeep("verify").name).result
        assert verified["healthy"] is True


def purged(client: Client) -> int:
    """Forget what was given up and return how many; 0 while the disk has no room for that."""
    try:
        return client.uploads.purge(older_than=timedelta(0))
    except IngotError:
        return 0


def collected(client: Client) -> Mapping[str, float]:
    """Collect and return what that tells; nothing while the disk has no room for it."""
    try:
        return client.operations.wait(client.operations.start_upkeep("collect").name).result  # type: ignore[return-value]
    except IngotError:
        return {}
