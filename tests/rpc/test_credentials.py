"""Credentials over the wire: never shown again, and in nothing that the server writes or tells."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from helpers.servers import Server, running_server
from helpers.transfers import refused
from ingot.v1 import auth_pb2 as pb
from ingot.v1 import system_pb2

SECRET = "hf_NobodyMayEverReadThis"
SERVERS_OWN = "hf_TokenOfTheServerItself"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path, hub_token=SERVERS_OWN) as running:
        yield running


@pytest.mark.contract("S3-49")
def test_a_secret_is_kept_for_its_owner_and_written_nowhere(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    sara = server.member("sara").auth
    kept = sara.SetCredential(pb.SetCredentialRequest(host="huggingface.co", secret=SECRET)).credential
    assert kept.name == "users/sara/credentials/huggingface.co"
    assert list(sara.ListCredentials(pb.ListCredentialsRequest()).credentials) == [kept]
    assert SECRET not in str(kept)
    info = server.stubs().system.GetServerInfo(system_pb2.GetServerInfoRequest())
    assert SERVERS_OWN not in str(info)
    assert SERVERS_OWN not in repr(server.app.settings)
    server.app.database.write(lambda: None).result()
    written = b"".join(file.read_bytes() for file in server.folder.rglob("*") if file.is_file())
    for secret in (SECRET, SERVERS_OWN):
        assert secret.encode() not in written
        assert secret not in caplog.text
    assert not server.member("omid").auth.ListCredentials(pb.ListCredentialsRequest()).credentials
    for _ in range(2):
        sara.DeleteCredential(pb.DeleteCredentialRequest(name=kept.name))
    assert not sara.ListCredentials(pb.ListCredentialsRequest()).credentials


def test_refusals(server: Server) -> None:
    sara = server.member("sara").auth
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "NAME_INVALID"):
        sara.SetCredential(pb.SetCredentialRequest(host="https://huggingface.co", secret=SECRET))
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID") as facts:
        sara.SetCredential(pb.SetCredentialRequest(host="huggingface.co", secret=f"{SECRET} and more"))
    assert SECRET not in facts["message"]
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID"):
        sara.ListCredentials(pb.ListCredentialsRequest(page_token="made-up"))
    for name in ("huggingface.co", "users/sara/credentials/", "users/sara/credentials/a/b"):
        with refused(grpc.StatusCode.INVALID_ARGUMENT, "NAME_INVALID"):
            sara.DeleteCredential(pb.DeleteCredentialRequest(name=name))
    with refused(grpc.StatusCode.NOT_FOUND, "USER_NOT_FOUND"):
        sara.DeleteCredential(pb.DeleteCredentialRequest(name="users/omid/credentials/huggingface.co"))
    with refused(grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING"):
        server.worker().auth.SetCredential(pb.SetCredentialRequest(host="huggingface.co", secret=SECRET))


def test_the_settings_command_tells_that_a_secret_is_set_and_not_which() -> None:
    command = [sys.executable, "-m", "ingot.server.cli", "settings"]
    environment = {"HUGGINGFACE_TOKEN": SERVERS_OWN, "HOME": "/nonexistent"}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert "# hub_token is a secret; it is set" in told
    assert SERVERS_OWN not in told
    refused = subprocess.run(
        [*command, "--hub-token", "x"], env=environment, capture_output=True, check=False
    )
    assert refused.returncode == 2, "whoever lists the processes would see it"
