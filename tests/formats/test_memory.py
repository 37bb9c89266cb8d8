"""Two gigabytes in 64 MiB: a process that validates a file of that size, made while it is read."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench/validation.py"


LITTLE = 8  # MiB


def most(format: str) -> float:
    """Return how many MiB a process may need, of which interpreter and libraries take some 43."""
    return max(64.0, measured(format, LITTLE)["peak_mib"] + 16.0)


def measured(format: str, mib: int) -> dict[str, float]:
    command = [sys.executable, str(BENCH), "--here", "--formats", format, "--mib", str(mib)]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.contract("S3-9")
@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_two_gigabytes_need_no_more_than_64_mebibytes(format: str) -> None:
    found = measured(format, 2048)
    assert found["bytes"] > 2_140_000_000
    assert found["records"] > 3_000_000
    assert found["peak_mib"] < most(format)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["json", "txt"])
def test_memory_does_not_grow_with_the_file(format: str) -> None:
    assert measured(format, 48)["peak_mib"] < most(format)
