"""Signing in, contexts, and what a report of a fault holds."""

import pathlib

import pytest

from helpers import canned_answers
from helpers.canned_server import CannedServer, failure
from helpers.command_lines import CommandLine


@pytest.fixture(autouse=True)
def _answers(canned: CannedServer) -> None:
    canned_answers.install(canned)


@pytest.fixture
def signed_out(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.delenv("INGOT_TOKEN")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("signed_out")
def test_login_remembers_server_and_token_for_its_owner_alone(
    canned: CannedServer, tmp_path: pathlib.Path
) -> None:
    run = CommandLine(canned.address, typed="ingot_typed_secret\n").run("login", "--name", "home")
    assert run.code == 0
    assert "as ada (admin)" in run.out
    kept = tmp_path / "xdg" / "config" / "ingot" / "config.toml"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert "ingot_typed_secret" in kept.read_text(encoding="utf-8")
    assert "ingot_typed_secret" not in run.out + run.err

    # From now on neither server nor token need be said.
    assert CommandLine().run("whoami", "-q").out == "ada\n"
    assert canned.metadata("AuthService/GetMe")["authorization"] == "Bearer ingot_typed_secret"
    heading, row = CommandLine().run("context", "ls").out.splitlines()
    assert (heading.split(), row.split()) == (
        ["NAME", "SERVER", "NAMESPACE"],
        ["*", "home", canned.address, "-"],
    )
    assert CommandLine().run("context", "use", "home", "-q").out == "home\n"
    assert CommandLine().run("logout").err == "Forgot 'home'.\n"
    assert CommandLine().run("whoami").code == 9


@pytest.mark.usefixtures("signed_out")
def test_a_refused_token_is_not_kept(canned: CannedServer, tmp_path: pathlib.Path) -> None:
    canned.answer("AuthService/GetMe", failure("UNAUTHENTICATED", "The token is not known.", "TOKEN_INVALID"))
    assert CommandLine(canned.address, typed="wrong\n").run("login").code == 4
    assert not (tmp_path / "xdg" / "config" / "ingot").exists()


@pytest.mark.usefixtures("signed_out")
def test_login_without_a_token_says_how_to_get_one(canned: CannedServer) -> None:
    run = CommandLine(canned.address).run("login")
    assert run.code == 4
    assert "ingot tokens create" in run.err


def test_an_unknown_context_offers_the_list(cli: CommandLine) -> None:
    run = cli.run("context", "use", "nowhere")
    assert (run.code, "ingot context ls" in run.err) == (3, True)


def test_whoami_tells_role_and_scopes(cli: CommandLine) -> None:
    run = cli.run("whoami")
    assert "role:         admin\n" in run.out
    assert "scopes:       catalog.read, training.run\n" in run.out


def test_env_shows_the_declared_user_and_no_secret(cli: CommandLine) -> None:
    run = cli.run("env")
    assert run.code == 0
    assert "user:            ada (recorded beside the credential)\n" in run.out
    for fact in ("ingot:", "python:", "grpcio:", "server version:  0.1.0", "signed in:       ada (admin)"):
        assert fact in run.out
    assert "ingot_test_secret" not in run.out + run.err + cli.run("env", "--json").out


def test_env_works_without_a_server(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = CommandLine().run("env")
    assert run.code == 0
    assert "server:       none (" in run.out


def test_version(cli: CommandLine) -> None:
    printed = cli.run("version").out
    assert printed == f"ingot {cli.run('version', '-q').out}"
    assert cli.run("completion", "bash").out.endswith("complete -o default -F _ingot ingot\n")
