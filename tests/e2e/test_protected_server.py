"""A server that other machines reach: TLS from its own authority, a client and a worker with certificates."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.eventually import eventually
from helpers.processes import SERVER, run_server, server_process
from ingot.client import Client, TlsFiles

pytestmark = pytest.mark.slow
BIN = Path(sys.executable).parent
PASSWORD = "correct horse battery\n"


@contextlib.contextmanager
def _worker(*arguments: str, environment: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    program = [str(BIN / "ingot-worker"), "run", *arguments]
    process = subprocess.Popen(
        program,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(100)


@pytest.mark.contract("S0-98", "S1-56")
def test_people_and_workers_come_over_tls_with_certificates(tmp_path: Path) -> None:
    data = tmp_path / "data"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "GRPC_VERBOSITY": "NONE",
    }

    def ingot(*words: str, typed: str = "") -> "subprocess.CompletedProcess[str]":
        command = [str(BIN / "ingot"), *words]
        return subprocess.run(
            command,
            env=environment,
            cwd=tmp_path,
            input=typed,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    assert run_server("certs", "--data", str(data), "--client", "sara", "--client", "gpu-1").status == 0
    add = [str(SERVER), "users", "add", "sara", "--role", "admin", "--password-stdin", "--data", str(data)]
    subprocess.run(add, input=PASSWORD, text=True, check=True, capture_output=True, timeout=100)
    certs = data / "certs"
    settings = ("--tls-cert", certs / "server.pem", "--tls-key", certs / "server.key")
    with server_process(data, *map(str, settings), "--tls-client-ca", str(certs / "ca.pem")) as server:
        address = f"https://localhost:{server.address.rpartition(':')[2]}"
        own = {
            name: (f"{certs}/client-{name}.pem", f"{certs}/client-{name}.key") for name in ("sara", "gpu-1")
        }
        login = ("login", "--server", address, "--user", "sara", "--password-stdin", "--name", "home")
        without = ingot(*login, "--ca", str(certs / "ca.pem"), typed=PASSWORD)
        assert without.returncode == 9, without.stderr
        files = ("--ca", str(certs / "ca.pem"), "--cert", own["sara"][0], "--key", own["sara"][1])
        signed_in = ingot(*login, *files, typed=PASSWORD)
        assert signed_in.returncode == 0, signed_in.stderr
        assert ingot("whoami", "-q").stdout == "sara\n"
        (tmp_path / "file.txt").write_text("over TLS")
        pushed = ingot("push", "datasets/words", str(tmp_path / "file.txt"))
        assert pushed.returncode == 0, pushed.stderr
        pulled = ingot("pull", "datasets/words", str(tmp_path / "back"))
        assert pulled.returncode == 0, pulled.stderr
        assert (tmp_path / "back" / "file.txt").read_text() == "over TLS"
        token = tmp_path / "worker.token"
        token.write_text(ingot("tokens", "create", "--role", "worker", "--quiet").stdout)
        arguments = ("--server", address, "--token-file", str(token), "--name", "gpu-1", "--devices", "cpu")
        tls = ("--ca", str(certs / "ca.pem"), "--cert", own["gpu-1"][0], "--key", own["gpu-1"][1])
        with (
            _worker(*arguments, *tls, "--dir", str(tmp_path / "work"), environment=environment),
            # Asked by the SDK: a program each time would take the processor from the worker that starts.
            Client(address, server.admin_token, tls=TlsFiles(*files[1::2])) as client,
        ):
            assert eventually(lambda: list(client.workers.list()), timeout=100)
            assert "gpu-1" in ingot("workers", "ls").stdout
        assert ingot("logout").returncode == 0
        assert ingot("whoami").returncode != 0
