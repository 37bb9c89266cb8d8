"""The program starts light: no library that the command does not need, and little time."""

import functools
import os
import pathlib
import resource
import subprocess
import sys
from collections.abc import Callable

import pytest

from helpers.canned_server import CannedServer
from ingot.v1 import catalog_pb2, operations_pb2

ROOT = pathlib.Path(__file__).parents[3]
ROOTS = ("clients/python", "generated/python")
NEVER = {
    "torch",
    "deepspeed",
    "transformers",
    "huggingface_hub",
    "rich",
    "numpy",
    "hypothesis",
    "requests",
    "yaml",
    "pydantic",
}
NOT_WITHOUT_A_CALL = NEVER | {"grpc", "google.protobuf.message", "asyncio", "blake3", "pyfastcdc"}
MOST = 2.7  # times what it costs to load gRPC, which is 0.11 s where a call takes 0.2 s


def _start(*words: str) -> tuple[set[str], str]:
    """Run the program in a process of its own; return the modules it loaded and what it printed."""
    code = (
        "import sys; from ingot.client.cli.main import main; code = main(sys.argv[1:]);"
        "print('LOADED', *sys.modules); sys.exit(code)"
    )
    path = os.pathsep.join(str(ROOT / root) for root in ROOTS)
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    printed, _, loaded = done.stdout.rpartition("LOADED ")
    return set(loaded.split()), printed


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("push", "--help"),
        ("train", "--help"),
        ("import", "--help"),
        ("validate", "--help"),
        ("operations", "watch", "--help"),
        ("version",),
    ],
)
def test_help_loads_no_protocol(words: tuple[str, ...]) -> None:
    loaded, printed = _start(*words)
    assert printed
    assert loaded & NOT_WITHOUT_A_CALL == set()


def test_a_call_loads_nothing_heavy(canned: CannedServer) -> None:
    canned.answer("CatalogService/ListArtifacts", catalog_pb2.ListArtifactsResponse())
    canned.answer("OperationsService/ListOperations", operations_pb2.ListOperationsResponse())
    for words in (["ls"], ["operations", "ls"]):
        loaded, _ = _start(*words, "--server", canned.address)
        assert "grpc" in loaded
        assert loaded & NEVER == set()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_fault(canned: CannedServer, tmp_path: pathlib.Path, closed: str) -> None:
    canned.answer("CatalogService/ListArtifacts", catalog_pb2.ListArtifactsResponse())
    path = os.pathsep.join(str(ROOT / root) for root in ROOTS)
    for words in (f"ls datasets --server {canned.address}", "ls --help", "ls --wrong"):
        done = subprocess.run(
            ["sh", "-c", f"{sys.executable} -m ingot.client.cli.main {words} {closed}"],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == (2 if "wrong" in words else 0), done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_help_and_a_unary_call_start_fast(canned: CannedServer) -> None:
    canned.answer("CatalogService/ListArtifacts", catalog_pb2.ListArtifactsResponse())
    load_grpc = [sys.executable, "-c", "import grpc, google.protobuf.message"]
    for words in (["--help"], ["ls", "--server", canned.address]):
        # Processor time, the best of some, beside a yardstick: how fast and how busy a machine is varies.
        ours, yardstick = [], []
        for _ in range(5):
            ours.append(_processor_seconds(functools.partial(_start, *words)))
            yardstick.append(_processor_seconds(functools.partial(subprocess.run, load_grpc, check=True)))
        assert min(ours) < MOST * min(yardstick)


def _processor_seconds(run: Callable[[], object]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
