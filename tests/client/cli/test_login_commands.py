"""Signing in with a password on the command line, on a real server: what is kept, shown and forgotten."""

import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from helpers.command_lines import CommandLine
from helpers.servers import Server, running_server
from ingot.client._contexts import load_contexts
from ingot.server.core.identity import Role

PASSWORD = "correct horse battery"


@pytest.fixture
def server(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.delenv("INGOT_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)
    with running_server(tmp_path) as running:
        yield running


def administrator(server: Server, monkeypatch: pytest.MonkeyPatch, *words: str, typed: str = "") -> str:
    """Run a command as the administrator of the data folder; return what it said."""
    with monkeypatch.context() as patch:
        patch.setenv("INGOT_TOKEN", server.admin_token)
        run = CommandLine(server.address, typed=typed).run(*words)
    assert run.code == 0, run.err
    return run.out + run.err


@pytest.mark.contract("S0-98")
def test_a_user_gets_a_password_signs_in_and_out(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    administrator(server, monkeypatch, "users", "create", "sara", "--title", "سارا")
    said = administrator(server, monkeypatch, "users", "passwd", "sara", "--password-stdin", typed=PASSWORD)
    assert said == "sara has a new password; 0 other logins ended.\n"
    line = CommandLine(server.address, typed=f"{PASSWORD}\n")
    run = line.run("login", "--user", "sara", "--password-stdin", "--name", "home")
    assert run.code == 0, run.err
    assert "as sara (member); kept as 'home'" in run.out
    kept = load_contexts().current
    assert kept is not None
    assert kept.refresh_token.startswith("ingotre_")
    text = load_contexts().path.read_text(encoding="utf-8")
    assert load_contexts().path.stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in text + run.out + run.err
    assert kept.token not in run.out + run.err

    assert CommandLine().run("whoami", "-q").out == "sara\n"
    assert "/logins/" in CommandLine().run("whoami").out
    renewed = "another long password"
    change = CommandLine(typed=f"{PASSWORD}\n{renewed}\n").run("users", "passwd", "--password-stdin")
    assert (change.code, change.err) == (0, "sara has a new password; 0 other logins ended.\n")
    assert CommandLine().run("whoami", "-q").out == "sara\n"
    assert CommandLine().run("logout").err == "Forgot 'home'.\n"
    assert load_contexts().all == ()
    wrong = CommandLine(server.address, typed=f"{PASSWORD}\n").run(
        "login", "--user", "sara", "--password-stdin"
    )
    assert (wrong.code, "User or password is wrong." in wrong.err) == (4, True)
    assert load_contexts().all == ()


def test_logging_out_ends_the_login_also_where_it_was_copied_to(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.token("sara")
    administrator(server, monkeypatch, "users", "passwd", "sara", "--password-stdin", typed=PASSWORD)
    for name in ("home", "work", "lab"):
        line = CommandLine(server.address, typed=PASSWORD)
        assert line.run("login", "--user", "sara", "--password-stdin", "--name", name).code == 0
    copied = {each.name: each.token for each in load_contexts().all}
    assert CommandLine().run("logout", "--name", "home").code == 0
    monkeypatch.setenv("INGOT_TOKEN", copied["home"])
    assert CommandLine(server.address).run("whoami").code == 4
    monkeypatch.setenv("INGOT_TOKEN", copied["work"])
    assert CommandLine(server.address).run("whoami").code == 0
    monkeypatch.delenv("INGOT_TOKEN")
    assert "Ended 2 logins." in CommandLine().run("logout", "--everywhere").err
    ended = CommandLine().run("--server", "unix:nowhere", "whoami")
    assert ended.code == 9
    assert CommandLine().run("context", "use", "work").code == 0
    told = CommandLine().run("whoami")
    assert (told.code, "ingot login" in told.err) == (4, True)
    assert told.err.count("has ended") + told.err.count("cannot be used") == 2, "it is said once"
    assert CommandLine().run("logout").code == 0  # a login that has ended is only forgotten


def test_administrators_show_change_and_remove_users(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    token = server.token("sara")
    shown = administrator(server, monkeypatch, "users", "show", "sara")
    assert "user:       sara\n" in shown
    assert "role:       member\n" in shown
    administrator(server, monkeypatch, "users", "edit", "sara", "--role", "viewer", "--title", "S.")
    assert "viewer" in administrator(server, monkeypatch, "users", "ls")
    administrator(server, monkeypatch, "users", "edit", "sara", "--disable")
    assert "(disabled)" in administrator(server, monkeypatch, "users", "ls")
    monkeypatch.setenv("INGOT_TOKEN", token)
    assert CommandLine(server.address).run("whoami").code == 4
    administrator(server, monkeypatch, "users", "edit", "sara", "--enable")
    assert CommandLine(server.address).run("whoami", "-q").out == "sara\n"
    refused = CommandLine(server.address).run("users", "show", "sara")
    assert refused.code == 4
    for word in ("password:   none", "logins:     0", "tokens:     1", "locked:     nowhere"):
        assert word in administrator(server, monkeypatch, "users", "show", "sara")
    unasked = CommandLine(server.address, typed="")
    with monkeypatch.context() as patch:
        patch.setenv("INGOT_TOKEN", server.admin_token)
        assert "the name stays taken" in unasked.run("users", "rm", "sara").err
    assert "sara" not in administrator(server, monkeypatch, "users", "rm", "sara", "--yes", "-q")
    assert "sara" not in administrator(server, monkeypatch, "users", "ls")


def test_tokens_made_in_logins_are_told_and_ended_where_that_is_asked(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.token("sara")
    administrator(server, monkeypatch, "users", "passwd", "sara", "--password-stdin", typed=PASSWORD)
    signed_in = ("login", "--user", "sara", "--password-stdin", "--name", "home")
    assert CommandLine(server.address, typed=PASSWORD).run(*signed_in).code == 0
    made = CommandLine().run("tokens", "create", "--title", "ci", "--quiet").out.strip()
    assert "sara (login)" in CommandLine().run("tokens", "ls").out
    changed = ("users", "passwd", "sara", "--password-stdin")
    told = administrator(server, monkeypatch, *changed, typed=PASSWORD)
    assert "1 API token made in logins stay good (ingot tokens ls); --tokens ends them too." in told
    told = administrator(server, monkeypatch, *changed, "--tokens", typed=PASSWORD)
    assert "Revoked 1 token made in logins." in told
    monkeypatch.setenv("INGOT_TOKEN", made)
    assert CommandLine(server.address).run("whoami").code == 4
    monkeypatch.delenv("INGOT_TOKEN")
    assert CommandLine(server.address, typed=PASSWORD).run(*signed_in).code == 0
    CommandLine().run("tokens", "create", "--quiet")
    assert CommandLine().run("logout", "--tokens").code == 2
    said = CommandLine().run("logout", "--everywhere", "--tokens").err
    assert "Ended 1 login.\nRevoked 1 token made in logins.\n" in said
    assert CommandLine(server.address, typed=PASSWORD).run(*signed_in).code == 0


def test_what_goes_with_a_role_is_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    boss = server.token("boss", Role.ADMIN)
    server.token("sara")
    monkeypatch.setenv("INGOT_TOKEN", boss)
    assert CommandLine(server.address).run("tokens", "create", "--user", "sara").code == 0
    assert CommandLine(server.address).run("namespaces", "create", "team").code == 0
    monkeypatch.delenv("INGOT_TOKEN")
    kept = administrator(server, monkeypatch, "users", "edit", "boss", "--role", "member", "--keep-tokens")
    assert "ended" not in kept
    administrator(server, monkeypatch, "users", "edit", "boss", "--role", "admin")
    told = administrator(server, monkeypatch, "users", "edit", "boss", "--role", "viewer")
    assert "Tokens that they made for others were ended: users/sara/tokens/tok_" in told
    assert "team has no owner now who can act; name one: ingot members set team USER owner" in told


@pytest.mark.slow
def on_a_terminal(words: list[str], *answers: tuple[bytes, str]) -> tuple[int, bytes]:
    """Run `ingot` on a terminal of its own and type each answer at its question; return status and screen."""
    program = [str(pathlib.Path(sys.executable).parent / "ingot"), *words]
    terminal = [sys.executable, "-c", "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)", *program]
    with subprocess.Popen(terminal, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        shown = b""
        for question, answer in answers:
            while question not in shown:
                letter = process.stdout.read(1)
                assert letter, shown
                shown += letter
            process.stdin.write(answer.encode())
            process.stdin.flush()
        shown += process.stdout.read()
        return process.wait(100), shown


def test_on_a_terminal_the_password_is_asked_for_and_never_shown(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.token("sara")
    administrator(server, monkeypatch, "users", "passwd", "sara", "--password-stdin", typed=PASSWORD)
    status, shown = on_a_terminal(
        ["login", "--server", server.address],
        (b"give a token): ", "sara\n"),
        (b"Password of sara: ", f"{PASSWORD}\n"),
    )
    assert status == 0, shown
    assert b"as sara (member)" in shown
    assert PASSWORD.encode() not in shown
    assert CommandLine().run("whoami", "-q").out == "sara\n"


@pytest.mark.parametrize(
    ("words", "question", "told"),
    [
        (["login", "--user", "sara"], b"Password of sara: ", b"Password of sara: nothing was given."),
        (["credentials", "set"], b"Secret for huggingface.co: ", b"No secret for huggingface.co was given."),
    ],
)
def test_the_end_of_input_where_a_password_is_asked_for_gives_none(
    server: Server, words: list[str], question: bytes, told: bytes
) -> None:
    status, shown = on_a_terminal([*words, "--server", server.address], (question, "\x04"))
    assert (status, told in shown) == (2, True), shown


@pytest.mark.parametrize(
    ("words", "typed", "code", "told"),
    [
        (("login", "--user", "sara"), "x", 2, "--password-stdin < FILE"),
        (("login", "--user", "sara", "--password-stdin"), "", 2, "nothing was given"),
        (("users", "edit", "sara"), "", 2, "Nothing to change was named."),
        (
            ("login", "--user", "sara", "--password-stdin", "--server", "http://192.0.2.1:7070"),
            "x",
            4,
            "https://",
        ),
    ],
    ids=["no terminal", "no password", "no change", "in the clear"],
)
def test_what_cannot_be_says_what_to_do(
    server: Server, words: tuple[str, ...], typed: str, code: int, told: str
) -> None:
    run = CommandLine(server.address, typed=typed).run(*words)
    assert (run.code, told in run.err) == (code, True), run.err
