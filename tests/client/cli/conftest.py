"""Fixtures of the command line: a server with written-down answers, and the program that talks to it."""

import pathlib
import time
from collections.abc import Iterator

import pytest

from helpers.canned_server import CannedServer
from helpers.command_lines import CommandLine
from ingot.v1 import auth_pb2


@pytest.fixture(autouse=True)
def _one_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Print times of one zone, and record one user."""
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("USER", "ada")
    monkeypatch.setenv("INGOT_TOKEN", "ingot_test_secret")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def canned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CannedServer]:
    with CannedServer(tmp_path_factory.mktemp("s")) as server:
        me = auth_pb2.GetMeResponse(
            user=auth_pb2.User(name="users/ada", display_name="Ada", role=auth_pb2.ROLE_ADMIN),
            role=auth_pb2.ROLE_ADMIN,
            scopes=["catalog.read", "training.run"],
            token="users/ada/tokens/tok_1",
            namespace="namespaces/ada",
            principal="users/ada",
        )
        server.answer("AuthService/GetMe", me)
        yield server


@pytest.fixture
def cli(canned: CannedServer) -> CommandLine:
    return CommandLine(canned.address)


@pytest.fixture
def golden_folder() -> pathlib.Path:
    return pathlib.Path(__file__).parent / "golden"
