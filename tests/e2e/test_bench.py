"""The bench runs, leaves out what is missing, and writes what it found; figures are nothing to test."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.long
def test_the_bench_writes_its_tables(tmp_path: Path) -> None:
    small = ["--only", "transfer", "--rounds", "1", "--mib", "4", "--files", "20"]
    places = ["--folder", str(tmp_path), "--results", str(tmp_path / "results"), "--peers", str(tmp_path)]
    command = [sys.executable, "bench/run.py", *small, *places, "--with", "ingot,encrypted,cp,raw,versitygw"]
    environment = {**os.environ, "INGOT_DISK_PLENTY_BYTES": "0"}  # how full this disk is decides nothing
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

    (written,) = (tmp_path / "results").glob("*.json")
    found = json.loads(written.read_text())["transfer"]
    assert found["failures"] == []
    assert list(found["left_out"]) == ["versitygw"]
    with_ingot = {case for case, rows in found["rows"].items() if rows[0]["row"] == "Ingot"}
    assert with_ingot == set(found["rows"])
    assert len(with_ingot) == 10
    beside = {row["row"] for row in found["rows"]["pull"]}
    assert beside == {"Ingot", "Ingot, encrypted at rest", "cp + fsync", "raw gRPC"}
    sent = {case: rows[0]["sent_percent"] for case, rows in found["rows"].items()}
    assert sent["push, new random bytes"] == 100
    assert sent["push again, unchanged"] == 0
    assert written.with_suffix(".md").read_text().count("\n| Ingot ") == 10
