"""What is recorded to cut its power: `python power_cut_programs.py PROGRAM ROOT NOTES`.

Everything below ROOT is on the disk that will lose its power. Whatever must have survived by now, the program
writes to NOTES, a line of JSON each time: the record has it in order with what was done to the files.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__":  # as a program it finds its modules itself
    where = Path(__file__).parents[2]
    sys.path[:0] = [str(where / part) for part in ("tests", "server", "clients/python", "generated/python")]

from google.protobuf import duration_pb2

from helpers.patterns import pattern
from helpers.servers import Server, running_server
from helpers.transfers import Pusher, cut, stream
from ingot.client import Client
from ingot.server import cli
from ingot.server.core import failpoints
from ingot.v1 import operations_pb2, transfer_pb2

Tell = Callable[..., None]

ARTIFACT = "namespaces/admin/datasets/cut"
KIB, MIB = 1024, 1024 * 1024
TREES = {
    "1": {
        "a/b/c/deep.txt": pattern("deep 1", 3000),
        "same.bin": pattern("same", 70_000),
        "note.txt": b"one",
        **{f"small/{number}.txt": pattern(f"small {number}", 500) for number in range(20)},
    },
    "2": {
        "a/b/d/other.txt": pattern("deep 2", 3000),
        "same.bin": pattern("same", 70_000),
        "note.txt": b"two",
        "large.bin": pattern("large", 9 * MIB),
    },
}


def contents(name: str) -> dict[str, bytes]:
    """Return the files of a version that one of the programs pushes."""
    return {"large.bin": pattern(f"large {name}", 150 * KIB), "small.txt": f"this is {name}".encode()}


def store(root: Path, tell: Tell) -> None:
    """Serve, push twice, stop, serve again and push once more."""
    for names in (("first", "second"), ("third",)):
        with running_server(root) as server:
            tell(serving=True)
            for name in names:
                _push(server, name, tell)
    tell(stopped=True)


def upkeep(root: Path, tell: Tell) -> None:
    """Collect what uploads left that were given up, delete a version, scrub, and make backups."""
    with running_server(root, collect_grace_seconds=0.0, adopted_pack_days=0.0, backup_keep=1) as server:
        _push(server, "first", tell)
        pusher = Pusher(server.admin.transfer, ())
        for kept, gone in ((60, 200), (200, 90), (0, 60)):
            wanted, unwanted = pattern(f"kept {kept}", kept * KIB), pattern(f"gone {gone}", gone * KIB)
            upload = pusher.begin(ARTIFACT)
            pusher.put(stream(upload, [*cut(wanted).chunks, *cut(unwanted).chunks]))
            if wanted:
                tell(version=pusher.push({"kept.bin": wanted}, ARTIFACT), kept=kept)
            pusher.stub.AbortUpload(transfer_pb2.AbortUploadRequest(name=upload))
            pusher.stub.PurgeUploads(transfer_pb2.PurgeUploadsRequest(older_than=duration_pb2.Duration()))
        for kind in ("COLLECT", "BACKUP", "COLLECT", "SCRUB"):
            _upkeep(server, kind)
            tell(done=kind)
        _push(server, "second", tell)
        _upkeep(server, "BACKUP")
        tell(done="BACKUP", all=True)


def adopt(root: Path, tell: Tell) -> None:
    """Die between the rename of a pack and the sync of its folder; then start again and use that pack."""
    child = os.fork()
    if child == 0:
        with running_server(root) as server, failpoints.armed("pack.renamed"):
            _push(server, "first", tell)
    os.waitpid(child, 0)
    with running_server(root) as server:
        _push(server, "first", tell)


def restore(root: Path, tell: Tell) -> None:
    """Restore a backup that lies elsewhere, where nothing is cut."""
    elsewhere = Path(f"{root}.elsewhere")
    with running_server(elsewhere, backup_dir=elsewhere / "backup") as server:
        _push(server, "first", lambda **_: None)
        _push(server, "second", lambda **_: None)
        _upkeep(server, "BACKUP")
    assert cli.main(["restore", str(elsewhere / "backup"), "--data", str(root / "data")]) == 0
    for number, name in enumerate(("first", "second"), start=1):
        tell(version=f"{ARTIFACT}/versions/{number}", content=name)


def pull(root: Path, tell: Tell) -> None:
    """Pull a version and then another one into a folder; notes and journals lie on the same disk."""
    elsewhere = Path(f"{root}.elsewhere")
    os.environ["INGOT_CACHE_DIR"] = str(root / "cache")
    with (
        running_server(elsewhere) as server,
        Client(server.address, server.admin_token, user="ada") as client,
    ):
        for number, files in TREES.items():
            folder = elsewhere / "source" / number
            for path, content in files.items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content)
            client.push("datasets/cut", folder)
        for number in TREES:
            client.pull(f"datasets/cut@{number}", root / "new" / "here")
            tell(pulled=number)


def _push(server: Server, name: str, tell: Tell) -> None:
    pusher = Pusher(server.admin.transfer, ())
    tell(version=pusher.push(contents(name), ARTIFACT), content=name)


def _upkeep(server: Server, kind: str) -> None:
    from helpers.eventually import eventually

    stub = server.admin.operations
    wanted = operations_pb2.UpkeepKind.Value(f"UPKEEP_KIND_{kind}")
    name = stub.StartUpkeep(operations_pb2.StartUpkeepRequest(kind=wanted)).operation.name

    def ended() -> bool:
        state = stub.GetOperation(operations_pb2.GetOperationRequest(name=name)).operation.state
        return state == operations_pb2.OPERATION_STATE_SUCCEEDED

    eventually(ended, timeout=100, what=f"the end of {name}")


PROGRAMS = {program.__name__: program for program in (store, upkeep, adopt, restore, pull)}


def main(program: str, root: str, notes: str) -> None:
    """Run one of the programs."""
    noted = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def tell(**facts: object) -> None:
        os.write(noted, json.dumps(facts).encode() + b"\n")

    PROGRAMS[program](Path(root), tell)


if __name__ == "__main__":
    main(*sys.argv[1:])
