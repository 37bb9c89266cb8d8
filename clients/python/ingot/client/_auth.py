"""Who is calling: users, API tokens and the secrets they keep for outside hosts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from google.protobuf import duration_pb2, field_mask_pb2

from ingot.client import _connection, _logins, _pages
from ingot.client._bearers import NOBODY
from ingot.client._calls import Calls, new_id
from ingot.client._channels import Link
from ingot.client._errors import Invalid
from ingot.client._members import Members
from ingot.v1 import auth_pb2 as pb
from ingot.v1 import auth_pb2_grpc, catalog_pb2


class Auth(Members):
    """Calls of AuthService; users may be given as `ada` or `users/ada`."""

    def __init__(self, link: Link, calls: Calls) -> None:
        self._link = link
        self._stub = auth_pb2_grpc.AuthServiceStub(link.channel)
        self._calls = calls

    def me(self) -> pb.GetMeResponse:
        """Return who the credential belongs to and what it may do."""
        return self._calls.unary(self._stub.GetMe, pb.GetMeRequest())

    def login(self, username: str, password: str) -> pb.LoginResponse:
        """Sign in with a password: from now on this client calls as that user, and renews its tokens itself.

        Raises Unauthenticated (LOGIN_FAILED), LimitReached (LOGIN_LOCKED, with `retry_after`), Denied
        (TLS_REQUIRED).
        """
        _connection.require_protected(self._link.endpoint, "a password")
        calls = replace(self._calls, bearer=NOBODY)
        reply = calls.unary(self._stub.Login, pb.LoginRequest(username=username, password=password))
        _logins.sign_in(self._link, _logins.LoginTokens.of(reply))
        return reply

    def logout(self, *, everywhere: bool = False, revoke_tokens: bool = False) -> pb.LogoutResponse:
        """End the login of this client, or all logins of its user; return how many ended.

        With `everywhere`, `revoke_tokens` also ends the API tokens that were made in logins.
        """
        request = pb.LogoutRequest(everywhere=everywhere, revoke_tokens=revoke_tokens)
        return self._calls.unary(self._stub.Logout, request)

    def change_password(
        self, new_password: str, *, old_password: str = "", user: str = "", revoke_tokens: bool = False
    ) -> pb.ChangePasswordResponse:
        """Set a password and end all other logins of the user; return how many ended.

        The old one is needed except for a first one, and for administrators who set another user's.
        `revoke_tokens` also ends the API tokens that were made in logins.
        """
        request = pb.ChangePasswordRequest(
            name=_user(user),
            old_password=old_password,
            new_password=new_password,
            revoke_tokens=revoke_tokens,
        )
        return self._calls.unary(self._stub.ChangePassword, request)

    def user(self, user: str) -> pb.GetUserResponse:
        """Return a user, and how they can come in at present; for administrators."""
        return self._calls.unary(self._stub.GetUser, pb.GetUserRequest(name=_user(user)))

    def update_user(
        self,
        user: str,
        *,
        display_name: str | None = None,
        role: str | None = None,
        disabled: bool | None = None,
        etag: str = "",
        keep_tokens: bool = False,
    ) -> pb.UpdateUserResponse:
        """Change what is given of a user; for administrators. With `etag` only if unchanged.

        Who is no administrator any more, or disabled, loses the tokens made for others, unless `keep_tokens`.
        """
        wanted = pb.User(
            name=_user(user),
            display_name=display_name or "",
            role=role_of(role) if role else pb.ROLE_UNSPECIFIED,
            disabled=disabled or False,
            etag=etag,
        )
        given = {"display_name": display_name, "role": role, "disabled": disabled}
        mask = field_mask_pb2.FieldMask(paths=[path for path, value in given.items() if value is not None])
        request = pb.UpdateUserRequest(user=wanted, update_mask=mask, keep_tokens=keep_tokens)
        return self._calls.unary(self._stub.UpdateUser, request)

    def delete_user(
        self, user: str, *, etag: str = "", allow_missing: bool = False, validate_only: bool = False
    ) -> pb.DeleteUserResponse:
        """Remove a user whose namespace is empty, with all credentials; the name stays taken.

        With `validate_only` only look whether that is possible, and tell what they belong to.
        """
        request = pb.DeleteUserRequest(
            name=_user(user), etag=etag, allow_missing=allow_missing, validate_only=validate_only
        )
        return self._calls.unary(self._stub.DeleteUser, request)

    def create_user(self, user_id: str, *, display_name: str = "", role: str = "member") -> pb.User:
        """Create a user with a namespace of the same name; `role` is admin, member or viewer."""
        request = pb.CreateUserRequest(
            user_id=user_id, display_name=display_name, role=role_of(role), request_id=new_id()
        )
        return self._calls.unary(self._stub.CreateUser, request).user

    def users(self, *, limit: int | None = None) -> Iterator[pb.User]:
        """Yield all users by name."""

        def page(size: int, token: str) -> tuple[Sequence[pb.User], str]:
            reply = self._calls.unary(
                self._stub.ListUsers, pb.ListUsersRequest(page_size=size, page_token=token)
            )
            return reply.users, reply.next_page_token

        return _pages.walk(page, limit)

    def create_token(
        self,
        *,
        user: str = "",
        display_name: str = "",
        scopes: Sequence[str] = (),
        ttl: timedelta | None = None,
        role: str = "",
    ) -> pb.CreateTokenResponse:
        """Make a token for the caller or another user; `secret` is in this reply and nowhere else.

        `role` worker makes a worker's token; empty means the user's own role.
        """
        request = pb.CreateTokenRequest(
            parent=_user(user),
            display_name=display_name,
            scopes=scopes,
            ttl=_duration(ttl),
            role=role_of(role) if role else pb.ROLE_UNSPECIFIED,
        )
        return self._calls.unary(self._stub.CreateToken, request)

    def tokens(self, *, user: str = "", limit: int | None = None) -> Iterator[pb.ApiToken]:
        """Yield the tokens of the caller, or of another user for administrators."""

        def page(size: int, token: str) -> tuple[Sequence[pb.ApiToken], str]:
            request = pb.ListTokensRequest(parent=_user(user), page_size=size, page_token=token)
            reply = self._calls.unary(self._stub.ListTokens, request)
            return reply.tokens, reply.next_page_token

        return _pages.walk(page, limit)

    def revoke_token(self, name: str) -> pb.ApiToken:
        """Make a token useless from the next call on; `name` is users/USER/tokens/TOKEN."""
        return self._calls.unary(self._stub.RevokeToken, pb.RevokeTokenRequest(name=name)).token

    def set_credential(self, host: str, secret: str) -> pb.Credential:
        """Keep the caller's secret for an outside host, such as a Hub token; it is never shown again."""
        request = pb.SetCredentialRequest(host=host, secret=secret)
        return self._calls.unary(self._stub.SetCredential, request).credential

    def credentials(self, *, limit: int | None = None) -> Iterator[pb.Credential]:
        """Yield for which hosts the caller has kept a secret."""

        def page(size: int, token: str) -> tuple[Sequence[pb.Credential], str]:
            request = pb.ListCredentialsRequest(page_size=size, page_token=token)
            reply = self._calls.unary(self._stub.ListCredentials, request)
            return reply.credentials, reply.next_page_token

        return _pages.walk(page, limit)

    def delete_credential(self, host: str) -> None:
        """Forget the caller's secret for a host, by `HOST` or users/USER/credentials/HOST."""
        name = host if host.startswith("users/") else f"{self.me().user.name}/credentials/{host}"
        self._calls.unary(self._stub.DeleteCredential, pb.DeleteCredentialRequest(name=name))

    def namespace(self, namespace: str = "") -> pb.Namespace:
        """Return a namespace with what it has and may have, one's own unless told otherwise."""
        name = _namespace(namespace) if namespace else self.me().namespace
        return self._calls.unary(self._stub.GetNamespace, pb.GetNamespaceRequest(name=name)).namespace

    def namespaces(self, *, limit: int | None = None) -> Iterator[pb.Namespace]:
        """Yield the namespaces that one belongs to by name, all of them for administrators."""

        def page(size: int, token: str) -> tuple[Sequence[pb.Namespace], str]:
            request = pb.ListNamespacesRequest(page_size=size, page_token=token)
            reply = self._calls.unary(self._stub.ListNamespaces, request)
            return reply.namespaces, reply.next_page_token

        return _pages.walk(page, limit)

    def set_quotas(self, namespace: str, quotas: Mapping[str, int | None], *, etag: str = "") -> pb.Namespace:
        """Change quotas of a namespace, by field: quota_bytes, physical_quota_bytes.

        0 is no limit, None the server's default. For administrators; with `etag` only if unchanged.
        """
        wanted = pb.Namespace(name=_namespace(namespace), etag=etag)
        for field, value in quotas.items():
            if value is not None:
                setattr(wanted, field, value)
        mask = field_mask_pb2.FieldMask(paths=list(quotas))
        request = pb.UpdateNamespaceRequest(namespace=wanted, update_mask=mask)
        return self._calls.unary(self._stub.UpdateNamespace, request).namespace

    def set_approval_policy(
        self, namespace: str, policy: catalog_pb2.ApprovalPolicy, *, etag: str = ""
    ) -> pb.Namespace:
        """Set what approvals of all versions in a namespace need; artifacts add to it. For administrators."""
        wanted = pb.Namespace(name=_namespace(namespace), approval=policy, etag=etag)
        mask = field_mask_pb2.FieldMask(paths=["approval"])
        request = pb.UpdateNamespaceRequest(namespace=wanted, update_mask=mask)
        return self._calls.unary(self._stub.UpdateNamespace, request).namespace


def role_of(word: str) -> pb.Role.ValueType:
    """Return the role behind admin, member, viewer or worker. Raises Invalid."""
    words = [name.removeprefix("ROLE_").lower() for name, _ in pb.Role.items() if name != "ROLE_UNSPECIFIED"]
    if word not in words:
        raise Invalid(
            f"role: expected one of {', '.join(words)}, got {word!r}.",
            reason="FIELD_INVALID",
            next_step="Use member for people, worker for machines that train.",
        )
    return pb.Role.Value(f"ROLE_{word.upper()}")


def _user(text: str) -> str:
    return f"users/{text.removeprefix('users/')}" if text else ""


def _namespace(text: str) -> str:
    return f"namespaces/{text.removeprefix('namespaces/')}"


def _duration(span: timedelta | None) -> duration_pb2.Duration | None:
    if span is None:
        return None
    duration = duration_pb2.Duration()
    duration.FromTimedelta(span)
    return duration
