"""Administrators look users up, change and remove them; rights change from the next call on."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf import field_mask_pb2

from helpers.servers import Server, running_server
from helpers.transfers import refused
from ingot.server.core.identity import Role
from ingot.v1 import auth_pb2 as pb
from ingot.v1 import catalog_pb2

ME = pb.GetMeRequest()
PASSWORD = "correct horse battery"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path) as running:
        yield running


def _update(server: Server, user: pb.User, *paths: str) -> pb.User:
    request = pb.UpdateUserRequest(user=user, update_mask=field_mask_pb2.FieldMask(paths=paths))
    return server.admin.auth.UpdateUser(request).user


def _get(server: Server, user: str) -> pb.User:
    return server.admin.auth.GetUser(pb.GetUserRequest(name=f"users/{user}")).user


def test_only_administrators_look_users_up_and_change_them(server: Server) -> None:
    server.token("sara")
    assert _get(server, "sara").display_name == "Sara"
    omid = server.member("omid").auth
    with refused(grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING"):
        omid.GetUser(pb.GetUserRequest(name="users/sara"))
    with refused(grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING"):
        omid.UpdateUser(pb.UpdateUserRequest(user=pb.User(name="users/omid", role=pb.ROLE_ADMIN)))
    with refused(grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING"):
        omid.DeleteUser(pb.DeleteUserRequest(name="users/sara"))
    with refused(grpc.StatusCode.NOT_FOUND, "USER_NOT_FOUND"):
        _get(server, "nobody")


@pytest.mark.contract("S0-101")
def test_a_new_role_counts_from_the_next_call_on(server: Server) -> None:
    sara = server.member("sara").auth
    assert sara.GetMe(ME).role == pb.ROLE_MEMBER
    _update(server, pb.User(name="users/sara", role=pb.ROLE_VIEWER))
    assert sara.GetMe(ME).role == pb.ROLE_VIEWER
    assert "catalog.write" not in sara.GetMe(ME).scopes
    _update(server, pb.User(name="users/sara", role=pb.ROLE_MEMBER), "role")
    assert "catalog.write" in sara.GetMe(ME).scopes


def test_a_disabled_user_is_refused_at_once_with_every_credential(server: Server) -> None:
    server.token("sara")
    change = pb.ChangePasswordRequest(name="users/sara", new_password=PASSWORD)
    server.admin.auth.ChangePassword(change)
    login = server.stubs().auth.Login(pb.LoginRequest(username="sara", password=PASSWORD))
    _update(server, pb.User(name="users/sara", disabled=True))
    for token in (server.token("sara"), login.access_token):
        with refused(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"):
            server.stubs(token).auth.GetMe(ME)
    with refused(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"):
        server.stubs().auth.RefreshLogin(pb.RefreshLoginRequest(refresh_token=login.refresh_token))
    with refused(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"):
        server.stubs().auth.Login(pb.LoginRequest(username="sara", password=PASSWORD))
    _update(server, pb.User(name="users/sara"), "disabled")
    assert server.stubs(server.token("sara")).auth.GetMe(ME).principal == "users/sara"
    with refused(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"):  # logins were ended, not suspended
        server.stubs(login.access_token).auth.GetMe(ME)


def test_an_etag_keeps_two_administrators_from_overwriting_each_other(server: Server) -> None:
    server.token("sara")
    seen = _get(server, "sara")
    changed = _update(server, pb.User(name="users/sara", display_name="سارا", etag=seen.etag))
    assert (changed.display_name, changed.etag == seen.etag) == ("سارا", False)
    with refused(grpc.StatusCode.ABORTED, "ETAG_MISMATCH"):
        _update(server, pb.User(name="users/sara", display_name="Sara", etag=seen.etag))
    with refused(grpc.StatusCode.ABORTED, "ETAG_MISMATCH"):
        server.admin.auth.DeleteUser(pb.DeleteUserRequest(name="users/sara", etag=seen.etag))


@pytest.mark.parametrize(
    "request_",
    [
        pb.UpdateUserRequest(user=pb.User(name="users/sara")),
        pb.UpdateUserRequest(
            user=pb.User(name="users/sara"), update_mask=field_mask_pb2.FieldMask(paths=["uid"])
        ),
        pb.UpdateUserRequest(user=pb.User(name="users/sara", role=pb.ROLE_WORKER)),
        pb.UpdateUserRequest(
            user=pb.User(name="users/sara"), update_mask=field_mask_pb2.FieldMask(paths=["role"])
        ),
        pb.UpdateUserRequest(user=pb.User(name="users/sara", display_name="x" * 201)),
    ],
    ids=["nothing", "unknown path", "worker", "no role", "long name"],
)
def test_a_change_that_cannot_be_is_refused(server: Server, request_: pb.UpdateUserRequest) -> None:
    server.token("sara")
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"):
        server.admin.auth.UpdateUser(request_)


def test_the_administrator_of_the_data_folder_stays(server: Server) -> None:
    for user in (
        pb.User(name="users/admin", role=pb.ROLE_MEMBER),
        pb.User(name="users/admin", disabled=True),
    ):
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "PROTECTED"):
            _update(server, user)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "PROTECTED"):
        server.admin.auth.DeleteUser(pb.DeleteUserRequest(name="users/admin"))
    second = server.stubs(server.token("second", Role.ADMIN)).auth
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "PROTECTED"):
        second.DeleteUser(pb.DeleteUserRequest(name="users/second"))


def test_a_removed_user_is_gone_with_all_credentials_and_the_name_stays_taken(server: Server) -> None:
    sara = server.member("sara")
    sara.auth.SetCredential(pb.SetCredentialRequest(host="huggingface.co", secret="hf_x"))
    sara.auth.ChangePassword(pb.ChangePasswordRequest(new_password=PASSWORD))
    login = server.stubs().auth.Login(pb.LoginRequest(username="sara", password=PASSWORD))
    server.admin.auth.DeleteUser(pb.DeleteUserRequest(name="users/sara", validate_only=True))
    assert sara.auth.GetMe(ME).user.name == "users/sara", "only looked"
    server.admin.auth.DeleteUser(pb.DeleteUserRequest(name="users/sara"))
    for token in (server.token("sara"), login.access_token):
        with refused(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"):
            server.stubs(token).auth.GetMe(ME)
    with refused(grpc.StatusCode.UNAUTHENTICATED, "LOGIN_FAILED"):
        server.stubs().auth.Login(pb.LoginRequest(username="sara", password=PASSWORD))
    assert "users/sara" not in [
        each.name for each in server.admin.auth.ListUsers(pb.ListUsersRequest()).users
    ]
    with refused(grpc.StatusCode.ALREADY_EXISTS, "NAME_TAKEN"):
        server.admin.auth.CreateUser(pb.CreateUserRequest(user_id="sara"))
    with refused(grpc.StatusCode.NOT_FOUND, "USER_NOT_FOUND"):
        server.admin.auth.DeleteUser(pb.DeleteUserRequest(name="users/sara"))
    server.admin.auth.DeleteUser(pb.DeleteUserRequest(name="users/sara", allow_missing=True))


def test_who_owns_something_is_not_removed(server: Server) -> None:
    request = catalog_pb2.CreateArtifactRequest(
        parent="namespaces/sara", kind=catalog_pb2.ARTIFACT_KIND_MODEL, artifact_id="tiny"
    )
    server.member("sara").catalog.CreateArtifact(request)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "IN_USE") as facts:
        server.admin.auth.DeleteUser(pb.DeleteUserRequest(name="users/sara"))
    assert "1 models" in facts["held"]
    server.member("omid").auth.CreateNamespace(pb.CreateNamespaceRequest(namespace_id="team"))
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "IN_USE") as facts:
        server.admin.auth.DeleteUser(pb.DeleteUserRequest(name="users/omid"))
    assert "namespaces/team as its last owner" in facts["held"]
