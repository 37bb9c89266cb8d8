"""`ingot-server users` and `ingot-server certs`: what they do to a folder, and what they say."""

import io
import os
import pwd
import stat
from pathlib import Path

import grpc
import pytest
from cryptography import x509

from helpers.servers import running_server
from helpers.transfers import refused
from ingot.server import cli
from ingot.server.rpc.tls import Tls
from ingot.v1 import auth_pb2 as pb
from ingot.v1 import system_pb2

PASSWORD = "correct horse battery"


class Program:
    """Runs `ingot-server` in this process on one data folder."""

    def __init__(
        self, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.data = data
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def run(self, *words: str, typed: str = "") -> tuple[int, str, str]:
        """Return exit status, output and errors."""
        self._monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        code = cli.main([*words, "--data", str(self.data)])
        said = self._capsys.readouterr()
        return code, said.out, said.err


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    return Program(tmp_path / "data", monkeypatch, capsys)


def test_a_user_of_the_system_without_a_name_may_add_people(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in containers that run as a number."""

    def unknown(_: int) -> pwd.struct_passwd:
        raise KeyError("no such number")

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert program.run("users", "add", "sara", "--password-stdin", typed=f"{PASSWORD}\n")[0] == 0
    with running_server(tmp_path) as server:
        entries = server.admin.system.ListAuditEntries(system_pb2.ListAuditEntriesRequest()).entries
    assert f"uid {os.getuid()}" in {each.declared_user for each in entries}


def test_a_first_administrator_gets_a_password_before_the_first_start(
    program: Program, tmp_path: Path
) -> None:
    code, said, _ = program.run("users", "passwd", "admin", "--password-stdin", typed=f"{PASSWORD}\n")
    assert (code, "admin has another password" in said) == (0, True)
    assert program.run("users", "add", "sara", "--password-stdin", typed=f"{PASSWORD}\n")[0] == 0
    assert program.run("users", "disable", "sara")[1] == "sara may no longer sign in.\n"
    assert program.run("users", "ls")[1].splitlines() == [
        "admin                 admin, password",
        "sara                  member, password, disabled",
    ]
    with running_server(tmp_path) as server:
        request = pb.LoginRequest(username="admin", password=PASSWORD)
        token = server.stubs().auth.Login(request).access_token
        assert server.stubs(token).auth.GetMe(pb.GetMeRequest()).role == pb.ROLE_ADMIN
        entries = server.admin.system.ListAuditEntries(system_pb2.ListAuditEntriesRequest()).entries
        assert "ingot-server/users passwd" in [each.method for each in entries]
        assert "alarm" not in [each.action for each in entries]
        with refused(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"):
            server.stubs().auth.Login(pb.LoginRequest(username="sara", password=PASSWORD))
        code, _, told = program.run("users", "passwd", "admin", "--password-stdin", typed=f"{PASSWORD}\n")
        assert (code, "ingot users passwd admin" in told) == (1, True)
    assert program.run("users", "enable", "sara")[1] == "sara may sign in.\n"


def test_roles_names_and_users_are_changed_without_a_server(program: Program, tmp_path: Path) -> None:
    given = ("--role", "viewer", "--title", "سارا", "--password-stdin")
    assert program.run("users", "create", "sara", *given, typed=f"{PASSWORD}\n")[0] == 0
    assert program.run("users", "role", "sara", "admin")[1] == "sara (سارا): admin\n"
    assert program.run("users", "edit", "sara", "--role", "member", "--disable")[1] == (
        "sara (سارا): member, disabled\n"
    )
    assert program.run("users", "show", "sara")[1].splitlines() == [
        "sara (سارا): member, disabled",
        "password: set",
        "logins:   0 that have not ended",
        "tokens:   0 that are good",
    ]
    assert "add --yes" in program.run("users", "rm", "sara")[2]
    assert program.run("users", "rm", "sara", "--yes")[1] == "sara was removed; the name stays taken.\n"
    assert program.run("users", "create", "sara", "--password-stdin", typed=f"{PASSWORD}\n")[0] == 1
    with running_server(tmp_path) as server:
        request = system_pb2.ListAuditEntriesRequest(target="users/sara", order_by="number")
        entries = server.admin.system.ListAuditEntries(request).entries
        assert [(each.method.split()[-1], dict(each.facts)) for each in entries] == [
            ("create", {"role": "VIEWER"}),
            ("role", {"role": "ADMIN", "before": "VIEWER"}),
            ("edit", {"role": "MEMBER", "before": "ADMIN", "disabled": "True"}),
            ("rm", {}),
        ]


@pytest.mark.parametrize(
    ("words", "typed", "told"),
    [
        (("passwd", "admin", "--password-stdin"), "short\n", "expected 10 to 1024 characters, got 5"),
        (("passwd", "nobody", "--password-stdin"), f"{PASSWORD}\n", "no user 'nobody'"),
        (("passwd",), "", "expected a user"),
        (("passwd", "admin"), "", "add --password-stdin"),
        (("disable", "admin"), "", "users/admin is protected"),
        (("role", "admin", "member"), "", "users/admin is protected"),
        (("role", "admin"), "", "expected a role, one of member, viewer, admin"),
        (("role", "admin", "boss"), "", "expected a role, one of member, viewer, admin"),
        (("edit", "admin"), "", "expected --role, --title, --disable or --enable"),
        (("show", "admin", "viewer"), "", "expected nothing after the user"),
        (("show", "nobody"), "", "no user 'nobody'"),
        (("rm", "admin", "--yes"), "", "users/admin is protected"),
        (("add", "Sara", "--password-stdin"), f"{PASSWORD}\n", "Sara"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    program: Program, words: tuple[str, ...], typed: str, told: str
) -> None:
    code, said, errors = program.run("users", *words, typed=typed)
    assert (code, said) == (1, "")
    assert told in errors
    assert errors.startswith("error: ")
    assert "Traceback" not in errors


def test_the_end_of_input_where_a_password_is_asked_for_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def ended(prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", ended)
    assert cli.main(["users", "passwd", "admin", "--data", str(tmp_path / "data")]) == 1
    assert "No password was typed; nothing was changed." in capsys.readouterr().err


def test_a_folder_that_is_not_there_and_that_nobody_named_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("INGOT_DATA_DIR", "UPLOAD_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
    assert cli.main(["users", "passwd", "admin", "--password-stdin"]) == 1
    assert f"There is no data folder {tmp_path / 'ingot'}, and none was named" in capsys.readouterr().err
    assert not (tmp_path / "ingot").exists()
    assert cli.main(["users", "ls", "--data", str(tmp_path / "named")]) == 0
    assert capsys.readouterr().err.endswith(f"In the data folder {tmp_path / 'named'}.\n")


def test_certificates_are_made_renewed_and_used(program: Program) -> None:
    code, said, _ = program.run("certs", "--host", "ingot.example", "--client", "worker-1")
    folder = program.data / "certs"
    assert (code, f"serve --data {program.data} --tls-cert {folder / 'server.pem'}" in said) == (0, True)
    mask = os.umask(0o077)
    os.umask(mask)
    assert {each.name: stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()} == {
        "ca.pem": 0o644 & ~mask,
        "ca.key": 0o600,
        "server.pem": 0o644 & ~mask,
        "server.key": 0o600,
        "client-worker-1.pem": 0o644 & ~mask,
        "client-worker-1.key": 0o600,
    }
    assert Tls(folder / "server.pem", folder / "server.key", folder / "ca.pem").asks_clients
    before = (folder / "ca.pem").read_bytes(), (folder / "server.pem").read_bytes()
    assert program.run("certs", "--host", "192.0.2.7", "--days", "30")[0] == 0
    assert (folder / "ca.pem").read_bytes() == before[0]
    renewed = x509.load_pem_x509_certificate((folder / "server.pem").read_bytes())
    assert (folder / "server.pem").read_bytes() != before[1]
    assert 28 <= (renewed.not_valid_after_utc - renewed.not_valid_before_utc).days <= 31
    names = renewed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "192.0.2.7" in [str(each) for each in names.get_values_for_type(x509.IPAddress)]
    assert "localhost" in names.get_values_for_type(x509.DNSName)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--days", "0"), "--days: expected 1 to 825, got 0"),
        (("--client", "../x"), "--client: expected letters"),
        (("--host", "سرور.example"), "--host: expected a name in ASCII"),
        (("--host", "https://ingot.example:7070"), "--host: expected one name or address, without https://"),
    ],
)
def test_certificates_that_cannot_be_are_refused(program: Program, words: tuple[str, ...], told: str) -> None:
    code, _, errors = program.run("certs", *words)
    assert (code, told in errors) == (1, True)


def test_an_authority_without_its_key_is_not_replaced(program: Program) -> None:
    program.run("certs")
    authority = program.data / "certs" / "ca.pem"
    before = authority.read_bytes()
    (program.data / "certs" / "ca.key").unlink()
    code, _, errors = program.run("certs")
    assert (code, "cannot be used" in errors) == (1, True)
    assert authority.read_bytes() == before
