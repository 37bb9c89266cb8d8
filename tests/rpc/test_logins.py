"""Signing in with a password on a whole server: tokens, refreshing, ending, passwords, locks."""

import dataclasses
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import argon2
import grpc
import pytest

from helpers.clocks import HandClock
from helpers.servers import Server, running_server
from helpers.transfers import refused
from ingot.server.core.errors import Conflict, Reason, Unauthenticated
from ingot.server.core.identity import system_caller
from ingot.server.domain import login_attempts, logins
from ingot.server.domain.passwords import Passwords
from ingot.v1 import auth_pb2 as pb
from ingot.v1 import auth_pb2_grpc, system_pb2

ME = pb.GetMeRequest()
PASSWORD = "correct horse battery"
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
LOCKED = grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(scope="module")
def hashed() -> str:
    """Hash the password once for all: it takes a tenth of a second on purpose."""
    return Passwords().hashed(PASSWORD)


@pytest.fixture
def server(tmp_path: Path, clock: HandClock, hashed: str) -> Iterator[Server]:
    with running_server(tmp_path, clock=clock) as running:
        running.token("sara")
        running.app.database.write(running.app.people.logins.set_password, "sara", hashed).result(100)
        yield running


def _give_password(server: Server, user: str, password: str = PASSWORD) -> None:
    server.token(user)
    request = pb.ChangePasswordRequest(name=f"users/{user}", new_password=password)
    server.admin.auth.ChangePassword(request)


def _login(server: Server, user: str = "sara", password: str = PASSWORD) -> pb.LoginResponse:
    return server.stubs().auth.Login(pb.LoginRequest(username=user, password=password))


def _refresh(server: Server, token: str) -> pb.RefreshLoginResponse:
    return server.stubs().auth.RefreshLogin(pb.RefreshLoginRequest(refresh_token=token))


@pytest.mark.contract("S0-97", "S0-98", "S1-50")
def test_a_password_gives_a_token_that_calls_are_made_with(server: Server) -> None:
    reply = _login(server)
    assert (reply.user.name, reply.access_ttl.seconds) == ("users/sara", 900)
    assert reply.access_token.count(".") == 2
    me = server.stubs(reply.access_token).auth.GetMe(ME)
    assert (me.principal, me.role) == ("users/sara", pb.ROLE_MEMBER)
    assert me.token.startswith("users/sara/logins/")
    info = server.stubs().system.GetServerInfo(system_pb2.GetServerInfoRequest())
    assert "password" in info.auth_modes


def test_a_name_may_be_typed_in_capitals_and_a_password_in_any_unicode_form(server: Server) -> None:
    _give_password(server, "omid", "گذرواژه‌ای بلند ﬁ")
    assert _login(server, " OMID ", "گذرواژه‌ای بلند fi").user.name == "users/omid"


@pytest.mark.parametrize("user", ["sara", "nobody", "../etc", "", "omid"])
def test_whatever_is_wrong_is_told_in_the_same_words(server: Server, user: str) -> None:
    server.token("omid")  # a user without a password
    with refused(UNAUTHENTICATED, "LOGIN_FAILED") as facts:
        _login(server, user, "wrong password")
    assert set(facts) == {"message", "next_step"}
    assert facts["message"] == "User or password is wrong."


def test_an_unknown_user_takes_as_long_as_a_wrong_password(server: Server) -> None:
    def seconds(user: str) -> float:
        started = time.process_time()
        with refused(UNAUTHENTICATED, "LOGIN_FAILED"):
            _login(server, user, "wrong password")
        return time.process_time() - started

    def hashing() -> float:
        started = time.process_time()
        Passwords().hashed("wrong password")
        return time.process_time() - started

    # Time of the processor, interleaved: whatever else the machine does counts little, and for all alike.
    turns = [
        (seconds(f"nobody-{turn}"), seconds("sara"), hashing()) for turn in range(login_attempts.FREE - 1)
    ]
    unknown, known, one = (statistics.median(times) for times in zip(*turns, strict=True))
    assert known / 3 < unknown < known * 3
    assert unknown > one / 2


def test_a_refresh_token_gives_the_next_tokens_and_is_used_up(server: Server, clock: HandClock) -> None:
    first = _login(server)
    clock.ahead += 16 * 60
    with refused(UNAUTHENTICATED, "TOKEN_EXPIRED"):
        server.stubs(first.access_token).auth.GetMe(ME)
    second = _refresh(server, first.refresh_token)
    assert second.refresh_token != first.refresh_token
    assert second.login_expire_time == first.login_expire_time
    assert server.stubs(second.access_token).auth.GetMe(ME).principal == "users/sara"
    # A reply that was lost is given again; that is no theft.
    assert _refresh(server, first.refresh_token).refresh_token == second.refresh_token
    third = _refresh(server, second.refresh_token)
    clock.ahead += logins.REPLY_LOST_SECONDS + 1
    with refused(UNAUTHENTICATED, "TOKEN_INVALID") as facts:
        _refresh(server, second.refresh_token)
    assert "ended" in facts["message"]
    for token in (third.refresh_token, second.refresh_token):
        with refused(UNAUTHENTICATED, "TOKEN_INVALID"):
            _refresh(server, token)
    with refused(UNAUTHENTICATED, "TOKEN_INVALID"):
        server.stubs(third.access_token).auth.GetMe(ME)
    _login(server)  # nobody is locked out by it


def test_made_up_refresh_tokens_end_nothing(server: Server) -> None:
    reply = _login(server)
    prefix, login, generation, signature = reply.refresh_token.split("_")
    forged = [
        f"{prefix}_{login}_{generation}_{signature[:-1]}{'0' if signature[-1] != '0' else '1'}",
        f"{prefix}_{login}_{int(generation) + 1}_{signature}",
        f"{prefix}_{int(login) + 1}_{generation}_{signature}",
        f"{prefix}_{login}_0_{signature}",
        f"{prefix}_{login}_{generation}_",
        "ingotre_",
        "",
        reply.access_token,
        "x" * 5000,
    ]
    for token in forged:
        with refused(UNAUTHENTICATED, "TOKEN_INVALID"):
            _refresh(server, token)
    with refused(UNAUTHENTICATED, "TOKEN_INVALID"):
        server.stubs(reply.refresh_token).auth.GetMe(ME)  # no credential for calls
    assert _refresh(server, reply.refresh_token).access_token


def test_a_login_ends_after_its_days(server: Server, clock: HandClock) -> None:
    reply = _login(server)
    clock.ahead += 29 * 24 * 3600
    reply.refresh_token = _refresh(server, reply.refresh_token).refresh_token
    clock.ahead += 2 * 24 * 3600
    with refused(UNAUTHENTICATED, "TOKEN_EXPIRED"):
        _refresh(server, reply.refresh_token)


def test_logging_out_works_at_once_and_ends_one_login_or_all(server: Server) -> None:
    here, there, elsewhere = (_login(server) for _ in range(3))
    stubs = server.stubs(here.access_token)
    assert stubs.auth.Logout(pb.LogoutRequest()).ended_logins == 1
    with refused(UNAUTHENTICATED, "TOKEN_INVALID"):
        stubs.auth.GetMe(ME)
    with refused(UNAUTHENTICATED, "TOKEN_INVALID"):
        _refresh(server, here.refresh_token)
    assert server.stubs(there.access_token).auth.Logout(pb.LogoutRequest(everywhere=True)).ended_logins == 2
    with refused(UNAUTHENTICATED, "TOKEN_INVALID"):
        server.stubs(elsewhere.access_token).auth.GetMe(ME)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "STATE_INVALID"):
        server.member("sara").auth.Logout(pb.LogoutRequest())


def test_a_new_password_ends_all_other_logins(server: Server) -> None:
    mine, stolen = _login(server), _login(server)
    request = pb.ChangePasswordRequest(old_password="guessed wrong", new_password="another long password")
    changing = server.stubs(mine.access_token).auth
    with refused(UNAUTHENTICATED, "LOGIN_FAILED"):
        changing.ChangePassword(request)
    request.old_password = PASSWORD
    assert changing.ChangePassword(request).ended_logins == 1
    assert changing.GetMe(ME).principal == "users/sara"
    with refused(UNAUTHENTICATED, "TOKEN_INVALID"):
        server.stubs(stolen.access_token).auth.GetMe(ME)
    with refused(UNAUTHENTICATED, "LOGIN_FAILED"):
        _login(server)
    _login(server, password="another long password")


@pytest.mark.parametrize(
    "password", ["", "short", "aaaaaaaaaaaaaaaa", "sara-sara-sara", "x" * 1025, "SARA123456"]
)
def test_a_password_that_is_easy_to_guess_is_refused(server: Server, password: str) -> None:
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID") as facts:
        server.admin.auth.ChangePassword(pb.ChangePasswordRequest(name="users/sara", new_password=password))
    assert not password or password not in facts["message"]


def test_who_may_set_whose_password(server: Server) -> None:
    other = pb.ChangePasswordRequest(name="users/sara", new_password=PASSWORD)
    with refused(grpc.StatusCode.NOT_FOUND, "USER_NOT_FOUND"):
        server.member("omid").auth.ChangePassword(other)
    with refused(grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING"):
        server.worker().auth.ChangePassword(pb.ChangePasswordRequest(new_password=PASSWORD))
    # A narrow token of somebody without a password could otherwise make itself a whole one.
    narrow = server.member("omid").auth.CreateToken(pb.CreateTokenRequest(scopes=["account"])).secret
    with refused(grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING"):
        server.stubs(narrow).auth.ChangePassword(pb.ChangePasswordRequest(new_password=PASSWORD))
    server.member("omid").auth.ChangePassword(pb.ChangePasswordRequest(new_password=PASSWORD))
    assert _login(server, "omid").user.name == "users/omid"


@pytest.mark.parametrize("ttl", [None, 600])
def test_a_lesser_token_of_an_administrator_makes_itself_none(server: Server, ttl: int | None) -> None:
    """Nor by way of another user, whom it would make an administrator, or give a password."""
    asked = pb.CreateTokenRequest(scopes=[] if ttl else ["account", "admin"])
    if ttl:
        asked.ttl.FromSeconds(ttl)
    lesser = server.stubs(server.admin.auth.CreateToken(asked).secret).auth
    promoted = pb.UpdateUserRequest(user=pb.User(name="users/sara", role=pb.ROLE_ADMIN))
    promoted.update_mask.paths.append("role")
    for change in (
        lambda: lesser.CreateUser(pb.CreateUserRequest(user_id="evil", role=pb.ROLE_ADMIN)),
        lambda: lesser.UpdateUser(promoted),
        lambda: lesser.ChangePassword(pb.ChangePasswordRequest(name="users/sara", new_password=PASSWORD)),
    ):
        with refused(grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING"):
            change()
    assert lesser.CreateUser(pb.CreateUserRequest(user_id="reza")).user.role == pb.ROLE_MEMBER


def test_a_login_can_make_tokens_that_outlive_it(server: Server) -> None:
    reply = _login(server)
    made = server.stubs(reply.access_token).auth.CreateToken(pb.CreateTokenRequest(display_name="laptop"))
    server.stubs(reply.access_token).auth.Logout(pb.LogoutRequest())
    assert server.stubs(made.secret).auth.GetMe(ME).principal == "users/sara"


def test_wrong_passwords_cost_growing_pauses_that_end(server: Server, clock: HandClock) -> None:
    for _ in range(login_attempts.FREE):
        with refused(UNAUTHENTICATED, "LOGIN_FAILED"):
            _login(server, password="wrong password")
    with refused(LOCKED, "LOGIN_LOCKED") as facts:
        _login(server)  # also the right one: else the pause would tell which it is
    assert 0 < int(facts["seconds"]) <= 10
    clock.ahead += login_attempts.FIRST_PAUSE + 1
    with refused(UNAUTHENTICATED, "LOGIN_FAILED"):
        _login(server, password="wrong password")
    with refused(LOCKED, "LOGIN_LOCKED") as facts:
        _login(server)
    assert 10 < int(facts["seconds"]) <= 20
    clock.ahead += 2 * login_attempts.FIRST_PAUSE + 1
    _login(server)
    with refused(UNAUTHENTICATED, "LOGIN_FAILED"):  # a right one forgets the wrong ones
        _login(server, password="wrong password")
    _login(server)


def test_logins_of_one_address_are_limited_like_all_calls_without_a_credential(tmp_path: Path) -> None:
    with running_server(
        tmp_path, listen=("127.0.0.1:0",), public_calls_per_second=0.001, public_call_burst=3
    ) as server:
        channel = grpc.insecure_channel(server.app.addresses[0])
        stub = auth_pb2_grpc.AuthServiceStub(channel)
        for number in range(3):
            with refused(UNAUTHENTICATED, "LOGIN_FAILED"):
                stub.Login(pb.LoginRequest(username=f"user-{number}", password="wrong password"))
        with refused(LOCKED, "RATE_LIMITED"):
            stub.Login(pb.LoginRequest(username="sara", password="wrong password"))
        channel.close()


def test_wrong_passwords_side_by_side_are_all_counted(server: Server) -> None:
    codes: list[grpc.StatusCode] = []

    def guess() -> None:
        try:
            _login(server, password="wrong password")
        except grpc.RpcError as error:
            codes.append(error.code())

    threads = [threading.Thread(target=guess) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes.count(UNAUTHENTICATED) == login_attempts.FREE
    assert codes.count(LOCKED) == 20 - login_attempts.FREE


def test_an_outdated_hash_is_made_anew_at_the_next_login(server: Server) -> None:
    rules = server.app.people.logins
    cheap = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    server.app.database.write(rules.set_password, "sara", cheap).result(100)
    _login(server)
    renewed = server.app.database.read(rules.stored, "sara")
    assert renewed not in (None, cheap)
    _login(server)
    assert server.app.database.read(rules.stored, "sara") == renewed


def test_a_password_that_changed_while_it_was_checked_opens_nothing(server: Server) -> None:
    rules, write = server.app.people.logins, server.app.database.write
    caller = server.app.database.read(rules.signing_in, "sara")
    stored = server.app.database.read(rules.stored, "sara")
    write(rules.set_password, "sara", "another hash").result(100)
    with pytest.raises(Unauthenticated) as caught:
        write(rules.open, caller, stored).result(100)
    assert caught.value.reason is Reason.LOGIN_FAILED
    wanted = dataclasses.replace(
        server.app.database.read(rules.changing, system_caller(), "sara"), stored=stored
    )
    with pytest.raises(Conflict):
        write(rules.change, system_caller(), wanted, "a third hash").result(100)


def test_the_oldest_of_very_many_logins_ends(server: Server) -> None:
    rules, write = server.app.people.logins, server.app.database.write
    caller = server.app.database.read(rules.signing_in, "sara")
    stored = server.app.database.read(rules.stored, "sara")
    issued = [write(rules.open, caller, stored).result(100) for _ in range(logins.MOST_LOGINS + 1)]
    with refused(UNAUTHENTICATED, "TOKEN_INVALID"):
        server.stubs(issued[0].access_token).auth.GetMe(ME)
    for each in (issued[1], issued[-1]):
        assert server.stubs(each.access_token).auth.GetMe(ME).principal == "users/sara"


def test_what_is_kept_gives_neither_password_nor_tokens(server: Server) -> None:
    reply = _login(server)
    database = Path(server.app.database.path)
    kept = b"".join(file.read_bytes() for file in database.parent.glob(f"{database.name}*"))
    logs = b"".join(file.read_bytes() for file in (server.folder / "logs").iterdir())
    for secret in (PASSWORD, reply.access_token, reply.refresh_token, reply.refresh_token.rpartition("_")[2]):
        assert secret.encode() not in kept + logs
    assert b"$argon2id$" in kept
