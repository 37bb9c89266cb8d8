"""AuthService on a whole server: users, tokens, and that a revoked one is useless at once."""

import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf import duration_pb2

from helpers.servers import Server, running_server
from helpers.transfers import refused
from ingot.v1 import auth_pb2 as pb

ME = pb.GetMeRequest()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path) as running:
        yield running


@pytest.mark.contract("S0-97", "S1-50")
def test_every_call_needs_a_credential_that_is_good(server: Server) -> None:
    with refused(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING") as told:
        server.stubs().auth.GetMe(ME)
    assert "ingot login" in told["next_step"]
    with refused(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"):
        server.stubs("ingot_1_guess").auth.GetMe(ME)


def test_the_administrator_made_at_the_first_start_is_known(server: Server) -> None:
    found = server.admin.auth.GetMe(ME)
    assert (found.user.name, found.role, found.namespace) == (
        "users/admin",
        pb.ROLE_ADMIN,
        "namespaces/admin",
    )
    assert (found.principal, "admin" in found.scopes, "worker" in found.scopes) == (
        "users/admin",
        True,
        False,
    )
    assert (server.folder / "admin.token").stat().st_mode & 0o777 == 0o600


def test_no_secret_is_stored(server: Server) -> None:
    secrets = [server.admin_token, server.token("sara"), server.worker_token()]
    database = Path(server.app.database.path)
    kept = b"".join(file.read_bytes() for file in database.parent.glob(f"{database.name}*"))
    for secret in secrets:
        assert secret.encode() not in kept
        assert hashlib.sha256(secret.encode()).digest() in kept


@pytest.mark.contract("S0-101")
def test_administrators_make_users_with_a_namespace_each(server: Server) -> None:
    request = pb.CreateUserRequest(
        user_id="sara", display_name="سارا", role=pb.ROLE_MEMBER, request_id=str(uuid.uuid4())
    )
    made, again = (server.admin.auth.CreateUser(request).user for _ in range(2))
    assert made == again
    assert (made.name, made.namespace, made.display_name) == ("users/sara", "namespaces/sara", "سارا")
    with refused(grpc.StatusCode.ALREADY_EXISTS, "NAME_TAKEN"):
        server.admin.auth.CreateUser(pb.CreateUserRequest(user_id="sara"))
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "NAME_INVALID"):
        server.admin.auth.CreateUser(pb.CreateUserRequest(user_id="Sara"))
    with refused(grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING"):
        server.member("omid").auth.CreateUser(pb.CreateUserRequest(user_id="nima"))
    first = server.admin.auth.ListUsers(pb.ListUsersRequest(page_size=2))
    rest = server.admin.auth.ListUsers(pb.ListUsersRequest(page_size=2, page_token=first.next_page_token))
    assert [each.name for each in (*first.users, *rest.users)] == ["users/admin", "users/omid", "users/sara"]


def test_a_token_is_narrow_expires_and_is_listed_without_its_secret(server: Server) -> None:
    sara = server.member("sara").auth
    request = pb.CreateTokenRequest(
        display_name="reader", scopes=["catalog.read", "account"], ttl=duration_pb2.Duration(seconds=3600)
    )
    reply = sara.CreateToken(request)
    assert reply.secret.startswith("ingot_")
    assert reply.token.expire_time.seconds - reply.token.create_time.seconds == 3600
    narrow = server.stubs(reply.secret)
    assert list(narrow.auth.GetMe(ME).scopes) == ["account", "catalog.read"]
    with refused(grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING"):
        narrow.auth.CreateToken(pb.CreateTokenRequest(scopes=["catalog.write"]))
    listed = sara.ListTokens(pb.ListTokensRequest(parent="users/sara")).tokens
    assert [each.display_name for each in listed] == ["", "reader"]
    assert listed[1].HasField("last_use_time")
    for wrong in (
        pb.CreateTokenRequest(scopes=["everything"]),
        pb.CreateTokenRequest(ttl=duration_pb2.Duration(seconds=-1)),
        pb.CreateTokenRequest(role=pb.ROLE_ADMIN),
    ):
        with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"):
            sara.CreateToken(wrong)


def test_revoking_a_token_works_from_the_next_call_on(server: Server) -> None:
    reply = server.member("sara").auth.CreateToken(pb.CreateTokenRequest())
    other = server.stubs(reply.secret)
    other.auth.GetMe(ME)
    with refused(grpc.StatusCode.NOT_FOUND, "TOKEN_NOT_FOUND"):
        server.member("omid").auth.RevokeToken(pb.RevokeTokenRequest(name=reply.token.name))
    revoked = server.member("sara").auth.RevokeToken(pb.RevokeTokenRequest(name=reply.token.name)).token
    assert revoked.HasField("revoke_time")
    with refused(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"):
        other.auth.GetMe(ME)


def test_only_administrators_make_tokens_for_workers(server: Server) -> None:
    request = pb.CreateTokenRequest(role=pb.ROLE_WORKER, display_name="box 1")
    with refused(grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING"):
        server.member("sara").auth.CreateToken(request)
    reply = server.admin.auth.CreateToken(request)
    found = server.stubs(reply.secret).auth.GetMe(ME)
    assert (found.role, found.principal) == (pb.ROLE_WORKER, reply.token.name)
    with refused(grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING"):
        server.stubs(reply.secret).auth.ListUsers(pb.ListUsersRequest())
