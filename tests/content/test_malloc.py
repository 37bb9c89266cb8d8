"""The malloc thresholds are raised in a fresh process, and left alone when somebody tuned them."""

import subprocess
import sys
from pathlib import Path

import pytest

from ingot.content import malloc

CODE = Path(malloc.__file__).parent.parent.parent

PROGRAM = f"""
import sys; sys.path.insert(0, {str(CODE)!r})
import resource
from ingot.content import malloc
done = malloc.raise_thresholds()
def churn():
    for _ in range(50):
        bytes(8 << 20)[::4096]
churn()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
churn()
print(done, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(environment: dict[str, str]) -> tuple[bool, int]:
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    ).stdout.split()
    return output[0] == "True", int(output[1])


glibc_only = pytest.mark.skipif(not malloc._is_glibc(), reason="thresholds exist in glibc only")


@glibc_only
def test_raised_thresholds_save_page_faults() -> None:
    tuned, faults = run({})
    assert tuned
    kept, many = run({"MALLOC_TOP_PAD_": "131072"})
    assert not kept
    assert faults * 10 < many


@glibc_only
@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_own_tuning_is_respected(name: str) -> None:
    assert (
        run({name: {"MALLOC_ARENA_MAX": "2", "GLIBC_TUNABLES": "glibc.malloc.arena_max=2"}[name]})[0] is False
    )


def test_trim_may_always_be_called() -> None:
    assert malloc.trim() in (True, False)
