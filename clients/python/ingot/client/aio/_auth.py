"""Auth, to be awaited. Made from _auth.py by docs/tools/async_form.py."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta

from ingot.client._auth import Auth
from ingot.client.aio._running import AsyncPart
from ingot.v1 import auth_pb2 as pb
from ingot.v1 import catalog_pb2


class AsyncAuth(AsyncPart[Auth]):
    """Calls of AuthService; users may be given as `ada` or `users/ada`."""

    async def me(self) -> "pb.GetMeResponse":
        """Return who the credential belongs to and what it may do."""
        return await self._call(lambda sdk: sdk.me())

    async def login(self, username: str, password: str) -> "pb.LoginResponse":
        """Sign in with a password: from now on this client calls as that user, and renews its tokens itself.

        Raises Unauthenticated (LOGIN_FAILED), LimitReached (LOGIN_LOCKED, with `retry_after`), Denied
        (TLS_REQUIRED).
        """
        return await self._call(lambda sdk: sdk.login(username, password))

    async def logout(self, *, everywhere: bool = False, revoke_tokens: bool = False) -> "pb.LogoutResponse":
        """End the login of this client, or all logins of its user; return how many ended.

        With `everywhere`, `revoke_tokens` also ends the API tokens that were made in logins.
        """
        return await self._call(lambda sdk: sdk.logout(everywhere=everywhere, revoke_tokens=revoke_tokens))

    async def change_password(
        self, new_password: str, *, old_password: str = "", user: str = "", revoke_tokens: bool = False
    ) -> "pb.ChangePasswordResponse":
        """Set a password and end all other logins of the user; return how many ended.

        The old one is needed except for a first one, and for administrators who set another user's.
        `revoke_tokens` also ends the API tokens that were made in logins.
        """
        return await self._call(
            lambda sdk: sdk.change_password(
                new_password, old_password=old_password, user=user, revoke_tokens=revoke_tokens
            )
        )

    async def user(self, user: str) -> "pb.GetUserResponse":
        """Return a user, and how they can come in at present; for administrators."""
        return await self._call(lambda sdk: sdk.user(user))

    async def update_user(
        self,
        user: str,
        *,
        display_name: str | None = None,
        role: str | None = None,
        disabled: bool | None = None,
        etag: str = "",
        keep_tokens: bool = False,
    ) -> "pb.UpdateUserResponse":
        """Change what is given of a user; for administrators. With `etag` only if unchanged.

        Who is no administrator any more, or disabled, loses the tokens made for others, unless `keep_tokens`.
        """
        return await self._call(
            lambda sdk: sdk.update_user(
                user,
                display_name=display_name,
                role=role,
                disabled=disabled,
                etag=etag,
                keep_tokens=keep_tokens,
            )
        )

    async def delete_user(
        self, user: str, *, etag: str = "", allow_missing: bool = False, validate_only: bool = False
    ) -> "pb.DeleteUserResponse":
        """Remove a user whose namespace is empty, with all credentials; the name stays taken.

        With `validate_only` only look whether that is possible, and tell what they belong to.
        """
        return await self._call(
            lambda sdk: sdk.delete_user(
                user, etag=etag, allow_missing=allow_missing, validate_only=validate_only
            )
        )

    async def create_user(self, user_id: str, *, display_name: str = "", role: str = "member") -> "pb.User":
        """Create a user with a namespace of the same name; `role` is admin, member or viewer."""
        return await self._call(lambda sdk: sdk.create_user(user_id, display_name=display_name, role=role))

    def users(self, *, limit: int | None = None) -> "AsyncIterator[pb.User]":
        """Yield all users by name."""
        return self._each(lambda sdk: sdk.users(limit=limit))

    async def create_token(
        self,
        *,
        user: str = "",
        display_name: str = "",
        scopes: Sequence[str] = (),
        ttl: timedelta | None = None,
        role: str = "",
    ) -> "pb.CreateTokenResponse":
        """Make a token for the caller or another user; `secret` is in this reply and nowhere else.

        `role` worker makes a worker's token; empty means the user's own role.
        """
        return await self._call(
            lambda sdk: sdk.create_token(
                user=user, display_name=display_name, scopes=scopes, ttl=ttl, role=role
            )
        )

    def tokens(self, *, user: str = "", limit: int | None = None) -> "AsyncIterator[pb.ApiToken]":
        """Yield the tokens of the caller, or of another user for administrators."""
        return self._each(lambda sdk: sdk.tokens(user=user, limit=limit))

    async def revoke_token(self, name: str) -> "pb.ApiToken":
        """Make a token useless from the next call on; `name` is users/USER/tokens/TOKEN."""
        return await self._call(lambda sdk: sdk.revoke_token(name))

    async def set_credential(self, host: str, secret: str) -> "pb.Credential":
        """Keep the caller's secret for an outside host, such as a Hub token; it is never shown again."""
        return await self._call(lambda sdk: sdk.set_credential(host, secret))

    def credentials(self, *, limit: int | None = None) -> "AsyncIterator[pb.Credential]":
        """Yield for which hosts the caller has kept a secret."""
        return self._each(lambda sdk: sdk.credentials(limit=limit))

    async def delete_credential(self, host: str) -> "None":
        """Forget the caller's secret for a host, by `HOST` or users/USER/credentials/HOST."""
        return await self._call(lambda sdk: sdk.delete_credential(host))

    async def namespace(self, namespace: str = "") -> "pb.Namespace":
        """Return a namespace with what it has and may have, one's own unless told otherwise."""
        return await self._call(lambda sdk: sdk.namespace(namespace))

    def namespaces(self, *, limit: int | None = None) -> "AsyncIterator[pb.Namespace]":
        """Yield the namespaces that one belongs to by name, all of them for administrators."""
        return self._each(lambda sdk: sdk.namespaces(limit=limit))

    async def set_quotas(
        self, namespace: str, quotas: Mapping[str, int | None], *, etag: str = ""
    ) -> "pb.Namespace":
        """Change quotas of a namespace, by field: quota_bytes, physical_quota_bytes.

        0 is no limit, None the server's default. For administrators; with `etag` only if unchanged.
        """
        return await self._call(lambda sdk: sdk.set_quotas(namespace, quotas, etag=etag))

    async def set_approval_policy(
        self, namespace: str, policy: catalog_pb2.ApprovalPolicy, *, etag: str = ""
    ) -> "pb.Namespace":
        """Set what approvals of all versions in a namespace need; artifacts add to it. For administrators."""
        return await self._call(lambda sdk: sdk.set_approval_policy(namespace, policy, etag=etag))

    async def create_namespace(self, namespace: str) -> "pb.Namespace":
        """Make a namespace for a team and own it; ids are shared with users and never used again."""
        return await self._call(lambda sdk: sdk.create_namespace(namespace))

    async def delete_namespace(
        self, namespace: str, *, validate_only: bool = False
    ) -> "pb.DeleteNamespaceResponse":
        """Remove a namespace that has nothing in it, or only look whether it can be, and whose it is."""
        return await self._call(lambda sdk: sdk.delete_namespace(namespace, validate_only=validate_only))

    def members(self, namespace: str, *, limit: int | None = None) -> "AsyncIterator[pb.Member]":
        """Yield the members of a namespace by user."""
        return self._each(lambda sdk: sdk.members(namespace, limit=limit))

    async def set_member(self, namespace: str, user: str, role: str) -> "pb.Member":
        """Add a user to a namespace, or give a member another role: owner, writer or reader."""
        return await self._call(lambda sdk: sdk.set_member(namespace, user, role))

    async def remove_member(self, namespace: str, user: str) -> "None":
        """Remove a member from a namespace; who is none of them is no error."""
        return await self._call(lambda sdk: sdk.remove_member(namespace, user))
