"""Who made a token: what ends with all logins, with a password, with a role, and with a restored backup."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf import field_mask_pb2

from helpers.servers import Server, running_server
from helpers.transfers import refused
from ingot.server import cli
from ingot.server.core.identity import Role
from ingot.server.storage import backups
from ingot.v1 import auth_pb2 as pb
from ingot.v1 import system_pb2

ME = pb.GetMeRequest()
PASSWORD = "correct horse battery"
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path) as running:
        yield running


def _login(server: Server, user: str) -> str:
    """Give a user a password, sign in, and return the access token."""
    server.admin.auth.ChangePassword(pb.ChangePasswordRequest(name=f"users/{user}", new_password=PASSWORD))
    return server.stubs().auth.Login(pb.LoginRequest(username=user, password=PASSWORD)).access_token


def _made(server: Server, secret: str, **wanted: object) -> pb.CreateTokenResponse:
    return server.stubs(secret).auth.CreateToken(pb.CreateTokenRequest(**wanted))  # type: ignore[arg-type]


def _works(server: Server, secret: str) -> bool:
    try:
        server.stubs(secret).auth.GetMe(ME)
    except grpc.RpcError as error:
        assert error.code() is UNAUTHENTICATED  # noqa: PT017
        return False
    return True


def _update(server: Server, user: pb.User, *paths: str, keep: bool = False) -> pb.UpdateUserResponse:
    mask = field_mask_pb2.FieldMask(paths=paths)
    return server.admin.auth.UpdateUser(pb.UpdateUserRequest(user=user, update_mask=mask, keep_tokens=keep))


def _entry(server: Server, target: str) -> dict[str, str]:
    request = system_pb2.ListAuditEntriesRequest(target=target)
    return dict(server.admin.system.ListAuditEntries(request).entries[0].facts)


@pytest.mark.contract("S0-98")
def test_what_was_made_in_a_login_ends_with_all_logins_when_that_is_asked(server: Server) -> None:
    own = server.token("sara")  # made by the administrator, in no login
    access = _login(server, "sara")
    stolen = _made(server, access, display_name="stolen")
    second = _made(server, stolen.secret)  # a token of a token
    assert (stolen.token.creator, stolen.token.from_login) == ("users/sara", True)
    listed = {each.name: each for each in server.stubs(own).auth.ListTokens(pb.ListTokensRequest()).tokens}
    assert listed[second.token.name].from_login
    assert [each.from_login for each in listed.values()].count(False) == 1
    sara = server.stubs(own).auth
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"):
        sara.Logout(pb.LogoutRequest(revoke_tokens=True))
    kept = sara.Logout(pb.LogoutRequest(everywhere=True))
    assert (kept.ended_logins, kept.revoked_tokens, kept.kept_tokens) == (1, 0, 2)
    assert _works(server, stolen.secret)
    ended = sara.Logout(pb.LogoutRequest(everywhere=True, revoke_tokens=True))
    assert (ended.ended_logins, ended.revoked_tokens, ended.kept_tokens) == (0, 2, 0)
    assert [_works(server, each) for each in (own, stolen.secret, second.secret)] == [True, False, False]


def test_a_new_password_can_end_what_was_made_in_logins(server: Server) -> None:
    server.token("sara")
    first = _login(server, "sara")
    stolen, own = _made(server, first).secret, _made(server, first).secret
    change = pb.ChangePasswordRequest(old_password=PASSWORD, new_password="another long password")
    change.revoke_tokens = True
    reply = server.stubs(own).auth.ChangePassword(change)
    assert (reply.ended_logins, reply.revoked_tokens, reply.kept_tokens) == (1, 1, 0)
    assert [_works(server, each) for each in (first, stolen, own)] == [False, False, True]
    assert _entry(server, "users/sara")["revoked"].startswith("users/sara/tokens/tok_")
    told = pb.ChangePasswordRequest(name="users/sara", new_password=PASSWORD)
    assert server.admin.auth.ChangePassword(told).kept_tokens == 1


@pytest.mark.parametrize("how", ["role", "disabled", "deleted"])
def test_what_an_administrator_made_for_others_ends_with_the_role(server: Server, how: str) -> None:
    server.token("sara")
    boss = server.token("boss", Role.ADMIN)
    theirs = _made(server, boss, parent="users/sara")
    own = _made(server, boss)
    if how == "deleted":
        looked = server.admin.auth.DeleteUser(pb.DeleteUserRequest(name="users/boss", validate_only=True))
        assert _works(server, theirs.secret)
        reply = server.admin.auth.DeleteUser(pb.DeleteUserRequest(name="users/boss"))
        assert looked.ended_tokens == reply.ended_tokens == [theirs.token.name]
    else:
        wanted = pb.User(name="users/boss", role=pb.ROLE_MEMBER, disabled=how == "disabled")
        assert _update(server, wanted, how).ended_tokens == [theirs.token.name]
    assert not _works(server, theirs.secret)
    assert _works(server, own.secret) is (how == "role")
    assert _entry(server, "users/boss")["revoked"] == theirs.token.name


def test_a_token_of_a_token_that_an_administrator_made_ends_with_the_role(server: Server) -> None:
    own = server.token("sara")  # made by `admin`
    boss = server.token("boss", Role.ADMIN)
    first = _made(server, boss, parent="users/sara")
    second = _made(server, first.secret)
    third = _made(server, second.secret)
    server.stubs(own).auth.RevokeToken(pb.RevokeTokenRequest(name=second.token.name))  # what it made stays
    sure = _made(server, own)
    ended = _update(server, pb.User(name="users/boss", role=pb.ROLE_MEMBER), "role").ended_tokens
    assert sorted(ended) == sorted(each.token.name for each in (first, third))
    assert not any(_works(server, each.secret) for each in (first, second, third))
    assert _works(server, own)
    assert _works(server, sure.secret)


def test_tokens_made_for_others_stay_when_that_is_asked(server: Server) -> None:
    server.token("sara")
    made = _made(server, server.token("boss", Role.ADMIN), parent="users/sara")
    wanted = pb.User(name="users/boss", role=pb.ROLE_MEMBER)
    assert _update(server, wanted, "role", keep=True).ended_tokens == []
    assert _works(server, made.secret)
    listed = server.stubs(server.token("sara")).auth.ListTokens(pb.ListTokensRequest()).tokens
    assert [each.creator for each in listed if each.name == made.token.name] == ["users/boss"]


@pytest.mark.parametrize("how", ["role", "disabled"])
def test_a_team_that_loses_its_last_owner_who_can_act_is_told(server: Server, how: str) -> None:
    sara = server.member("sara").auth
    sara.CreateNamespace(pb.CreateNamespaceRequest(namespace_id="team"))
    server.token("omid")
    owner = pb.MEMBER_ROLE_OWNER
    sara.SetMember(pb.SetMemberRequest(name="namespaces/team/members/omid", role=owner))
    wanted = pb.User(name="users/omid", role=pb.ROLE_VIEWER, disabled=True)
    assert _update(server, wanted, how).ownerless_namespaces == []
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "PROTECTED"):  # the other one could not act
        sara.RemoveMember(pb.RemoveMemberRequest(name="namespaces/team/members/sara"))
    wanted = pb.User(name="users/sara", role=pb.ROLE_VIEWER, disabled=True)
    assert _update(server, wanted, how).ownerless_namespaces == ["namespaces/team"]
    server.token("nima")
    server.admin.auth.SetMember(pb.SetMemberRequest(name="namespaces/team/members/nima", role=owner))
    nima = server.member("nima").auth
    nima.RemoveMember(pb.RemoveMemberRequest(name="namespaces/team/members/sara"))
    assert _update(server, pb.User(name="users/omid", display_name="O"), "display_name").user.display_name


def test_administrators_see_how_a_user_can_come_in(server: Server) -> None:
    server.token("sara")
    asked = pb.GetUserRequest(name="users/sara")
    before = server.admin.auth.GetUser(asked)
    assert (before.has_password, before.login_count, before.token_count) == (False, 0, 1)
    _login(server, "sara")
    for _ in range(5):
        with refused(UNAUTHENTICATED, "LOGIN_FAILED"):
            server.stubs().auth.Login(pb.LoginRequest(username="sara", password="wrong password"))
    found = server.admin.auth.GetUser(asked)
    assert (found.has_password, found.login_count, found.token_count) == (True, 1, 1)
    assert [each.until_time.seconds > 0 for each in found.locks] == [True]


def test_a_restored_backup_brings_no_login_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running_server(tmp_path / "one") as server:
        token = server.token("sara")
        access = _login(server, "sara")
        refresh = server.stubs().auth.Login(pb.LoginRequest(username="sara", password=PASSWORD)).refresh_token
        store = backups.FolderBackups(server.folder, server.app.database.path, tmp_path / "backups")
        store.begin(1_700_000_000.0)
        store.finish()
    for folder, words in (("two", []), ("three", ["--revoke-tokens"])):
        home = tmp_path / folder / "data"
        assert cli.main(["restore", str(tmp_path / "backups"), "--data", str(home), *words]) == 0
        said = capsys.readouterr().out
        assert "Logins of that time were ended: 2." in said
        assert ("users/sara/tokens/tok_" in said) is not bool(words)
        with running_server(tmp_path / folder) as server:
            assert not _works(server, access)
            with refused(UNAUTHENTICATED, "TOKEN_INVALID"):
                server.stubs().auth.RefreshLogin(pb.RefreshLoginRequest(refresh_token=refresh))
            assert _works(server, token) is not bool(words)
            found = server.admin.system.ListAuditEntries(system_pb2.ListAuditEntriesRequest(action="restore"))
            (entry,) = found.entries
            assert (entry.principal, entry.facts["ended_logins"]) == ("system", "2")
            assert ("revoke_tokens" in entry.facts, entry.facts["revoked_tokens"] != "0") == (
                bool(words),
                bool(words),
            )
