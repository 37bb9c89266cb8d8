"""An import that is followed while the server is killed: it goes on, and no event is lost or doubled."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from helpers.hub_faults import Fault
from helpers.hub_server import hub_server
from helpers.patterns import pattern
from helpers.processes import server_process

ROOT = pathlib.Path(__file__).parents[2]
WEIGHTS = pattern("weights", 4 << 20)


@pytest.mark.slow
@pytest.mark.contract("S0-27")
def test_a_followed_import_survives_the_death_of_the_server(
    tmp_path: pathlib.Path, request: pytest.FixtureRequest
) -> None:
    data = tmp_path / "data"
    path = os.pathsep.join(str(ROOT / each) for each in ("clients/python", "generated/python"))
    with hub_server() as hub:
        hub.add("google/tiny", {"model.safetensors": WEIGHTS})
        hub.faults.add("GET /lfs/|GET .*safetensors", Fault(stall_after=len(WEIGHTS) // 2), times=100)
        with server_process(data, "--hub-endpoint", hub.url) as server:
            address = f"unix:{server.facts['socket']}"  # which is the same after a restart
            words = ["import", "hf://google/tiny", "--json", "--server", address]
            with (tmp_path / "told").open("w", encoding="utf-8") as notes:
                command = subprocess.Popen(
                    [sys.executable, "-m", "ingot.client.cli.main", *words],
                    env={**os.environ, "PYTHONPATH": path, "INGOT_TOKEN": server.admin_token},
                    stdout=subprocess.PIPE,
                    stderr=notes,
                    text=True,
                )
            request.addfinalizer(command.kill)
            assert command.stdout is not None
            lines = []
            for line in command.stdout:
                lines.append(json.loads(line))
                if 0 < lines[-1].get("event", {}).get("progress", {}).get("done", 0) < len(WEIGHTS):
                    break
            server.stop(signal.SIGKILL)
        hub.faults.clear()
        with server_process(data, "--hub-endpoint", hub.url):
            lines += [json.loads(line) for line in command.stdout]
            code = command.wait(100)
    command.stdout.close()
    told = (tmp_path / "told").read_text(encoding="utf-8")
    assert code == 0, told
    assert "Lost the connection" in told
    numbers = [line["event"]["seq"] for line in lines if "event" in line]
    assert numbers == list(range(1, len(numbers) + 1))
    last = lines[-1]["snapshot"]
    assert (last["state"], last["attempt"]) == ("OPERATION_STATE_SUCCEEDED", 2)
    assert last["result"]["size_bytes"] == len(WEIGHTS)
