"""Every RPC can be tried by hand, without our clients: a gRPC tool finds and calls it by reflection."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.processes import ServerProcess, server_process
from ingot.server.rpc import methods

pytestmark = [pytest.mark.slow, pytest.mark.contract("S0-111")]
BUF = str(Path(sys.executable).parent / "buf")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with server_process(tmp_path_factory.mktemp("buf") / "data") as running:
        yield running


def _curl(server: ServerProcess, *arguments: str, token: str = "") -> "subprocess.CompletedProcess[str]":
    header = ["-H", f"authorization: Bearer {token}"] if token else []
    command = [BUF, "curl", "--protocol", "grpc", "--http2-prior-knowledge", *header, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def test_all_methods_are_listed(server: ServerProcess) -> None:
    listed = _curl(server, f"http://{server.address}", "--list-methods")
    assert listed.returncode == 0, listed.stderr
    wanted = {path.removeprefix("/") for path in methods.all_methods()}
    assert wanted | {"grpc.health.v1.Health/Check"} <= set(listed.stdout.split())


def test_a_call_is_answered(server: ServerProcess) -> None:
    url = f"http://{server.address}/ingot.v1.AuthService/GetMe"
    called = _curl(server, url, token=server.admin_token)
    assert called.returncode == 0, called.stderr
    assert json.loads(called.stdout)["user"]["name"] == "users/admin"


def test_a_stream_is_answered(server: ServerProcess) -> None:
    url = f"http://{server.address}/grpc.health.v1.Health/Watch"
    command = [BUF, "curl", "--protocol", "grpc", "--http2-prior-knowledge", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        said = ""
        while "}" not in said:
            line = watching.stdout.readline()
            assert line, "the watch ended"
            said += line
        watching.kill()
    assert json.loads(said) == {"status": "SERVING"}


def test_a_refusal_says_why_and_what_to_do(server: ServerProcess) -> None:
    called = _curl(server, f"http://{server.address}/ingot.v1.SystemService/GetStorage")
    assert called.returncode != 0
    told = json.loads(called.stderr)
    assert told["code"] == "unauthenticated"
    assert "expected metadata 'authorization: Bearer <token>'" in told["message"]
    assert told["details"][0]["type"] == "google.rpc.ErrorInfo"
