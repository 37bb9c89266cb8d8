"""Kill the process at each step of collection and of setting a damaged pack aside: nothing needed is lost.

The child has a store with a pack for each fate (deleted, rewritten, given holes, quarantined), runs upkeep
over it twice and is killed at a fail point. The parent lets `doctor` repair, and then everything that a tree
holds is readable but for the one chunk that was damaged; doctor finds nothing more.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.upkept_store import DAMAGED, NEEDED, readable
from ingot.server import cli
from ingot.server.core.failpoints import VARIABLE

REPOSITORY = Path(__file__).parents[2]
ROOTS = [str(REPOSITORY / root) for root in ("server", "clients/python", "tests")]
CHILD = (
    f"import sys; sys.path[:0] = {ROOTS!r}; from helpers import upkept_store; upkept_store.run(sys.argv[1])"
)

STEPS = (
    "collect.forgotten",
    "collect.copied",
    "pack.punching",
    "scrub.copied",
    "scrub.salvaged",
    "scrub.set_aside",
    "pack.synced:6",
    "pack.renamed:6",
    "pack.folder_synced:6",
    *(f"database.committing:{number}" for number in (12, 16, 20)),
    *(f"database.committed:{number}" for number in (10, 14, 18, 22)),
)
AGAIN = [
    pytest.param(step, id=f"{step} {trial}", marks=pytest.mark.long)
    for step in ("scrub.copied", "scrub.salvaged", "scrub.set_aside")  # the trials of kills reach the others
    for trial in range(2, 11)
]


@pytest.mark.slow
@pytest.mark.contract("S3-59", "S3-60")
@pytest.mark.parametrize("step", [*STEPS, *AGAIN])
def test_a_kill_during_upkeep_loses_nothing_that_is_needed(
    tmp_path: Path, step: str, capsys: pytest.CaptureFixture[str]
) -> None:
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        env={**os.environ, VARIABLE: step},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL, (child.returncode, child.stderr[-2000:])
    cli.main(["doctor", "--repair", "--deep", "--json", "--data", str(tmp_path)])
    found = json.loads(capsys.readouterr().out)["counts"]
    assert set(found) <= {"unknown pack", "leftover stream", "damaged chunk", "missing pack"}, found
    assert cli.main(["doctor", "--deep", "--data", str(tmp_path)]) == 0, capsys.readouterr().out
    assert readable(tmp_path) >= NEEDED - {DAMAGED}
