"""Kill the process at each step of the write order: nothing acknowledged is lost, no row outruns its bytes.

The child stores a stream, enters it into the index, and only then says so; it is killed at the third pass
through the fail point. The parent starts again over the same folder and looks.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import notes
from helpers.notes import Note
from ingot.server.core.failpoints import VARIABLE
from ingot.server.storage.database import open_database
from ingot.server.storage.packs_disk import DiskPacks

REPOSITORY = Path(__file__).parents[2]
ROOTS = [str(REPOSITORY / root) for root in ("server", "clients/python", "tests")]

CHILD = """
import sys
from pathlib import Path
from contracts.pack_store_contract import put
from helpers import notes
from helpers.patterns import pattern
from ingot.server.storage.database import open_database
from ingot.server.storage.packs_disk import DiskPacks

root = Path(sys.argv[1])
database = open_database(f"sqlite:///{root}/meta.db")
store = DiskPacks(root)
for round in range(5):
    (sealed,) = put(store, [pattern(f"{round}-{index}", 70_000) for index in range(3)])
    database.write(notes.add, sealed.id, len(sealed.entries)).result()
    print(sealed.id, flush=True)
"""

STEPS = {  # step → streams that are on the shelf afterwards
    "pack.reserved": 2,
    "pack.appended": 0,  # three chunks a stream: the third pass is in the first stream
    "pack.footer": 2,
    "pack.synced": 2,
    "pack.renamed": 3,
    "pack.folder_synced": 3,
    "database.committing": 3,
    "database.committed": 3,
}
UNPUBLISHED = ("pack.reserved", "pack.appended", "pack.footer", "pack.synced")


@pytest.mark.slow
@pytest.mark.contract("S3-60")
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path: Path, step: str) -> None:
    notes.prepare(open_database(f"sqlite:///{tmp_path}/meta.db")).close()
    child = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {ROOTS!r}\n{CHILD}", str(tmp_path)],
        env={**os.environ, VARIABLE: f"{step}:3"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr
    acknowledged = child.stdout.split()

    database = open_database(f"sqlite:///{tmp_path}/meta.db")
    store = DiskPacks(tmp_path)
    removed = store.recover()
    indexed = database.read(lambda: {row.name: row.number for row in Note.select()})
    database.close()
    on_shelf = {pack.id for pack in store.packs()}

    assert set(acknowledged) <= set(indexed), "an acknowledged stream has no row"
    assert set(indexed) <= on_shelf, "a row is ahead of its bytes"
    assert len(on_shelf) == STEPS[step]
    assert len(acknowledged) == (0 if step == "pack.appended" else 2)
    assert removed == (1 if step in UNPUBLISHED else 0)
    for pack in on_shelf:
        assert [found.entry for found in store.scan(pack)] == list(store.entries(pack))
        assert all(found.intact for found in store.scan(pack))
    assert not list((tmp_path / "ingest").rglob("*.open"))
