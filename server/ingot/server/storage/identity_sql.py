"""Rows of users, tokens, requests and counters: the stores behind core/catalog_stores.py."""

from collections.abc import Mapping, Sequence

import peewee

from ingot.server.core.identity import ApiToken, Role, Scope, User
from ingot.server.core.members import Member, MemberRole
from ingot.server.storage import sql, tables

_OF_USERS = ("password", "login", "member", "access_grant")


class CountersSql:
    """Implements CounterStore."""

    def next(self, word: str) -> int:
        sql.run(
            "INSERT INTO counter(word, value) VALUES (?, 1) "
            "ON CONFLICT(word) DO UPDATE SET value = value + 1",
            word,
        )
        return tables.Counter.get_by_id(word).value


class RequestsSql:
    """Implements RequestStore."""

    def find(self, principal: str, method: str, request_id: str) -> tuple[bytes, str] | None:
        request = tables.Request
        row = request.get_or_none(
            request.principal == principal, request.method == method, request.request_id == request_id
        )
        return None if row is None else (bytes(row.digest), row.result)

    def add(
        self, principal: str, method: str, request_id: str, digest: bytes, result: str, now: float
    ) -> None:
        tables.Request.insert(
            principal=principal,
            method=method,
            request_id=request_id,
            digest=digest,
            result=result,
            created=now,
        ).execute()

    def drop(self, principal: str, method: str, request_id: str) -> None:
        request = tables.Request
        request.delete().where(
            request.principal == principal, request.method == method, request.request_id == request_id
        ).execute()

    def forget(self, before: float) -> int:
        return int(tables.Request.delete().where(tables.Request.created < before).execute())


class UsersSql:
    """Implements UserStore."""

    def find(self, user: str) -> User | None:
        row = tables.User.get_or_none(tables.User.id == user)
        return None if row is None else _user(row)

    def add(self, user: User) -> bool:
        namespace = tables.Namespace
        taken = namespace.get_or_none(namespace.id == user.id)  # also one that was deleted
        if self.find(user.id) is not None or taken is not None:
            return False
        namespace.insert(id=user.id, created=user.create_time).execute()
        owner = MemberRole.OWNER.value
        tables.Member.insert(namespace=user.id, user=user.id, role=owner, created=user.create_time).execute()
        tables.User.insert(
            id=user.id,
            uid=user.uid,
            display_name=user.display_name,
            role=user.role.value,
            created=user.create_time,
            disabled=user.disabled,
        ).execute()
        return True

    def page(self, after: str, size: int) -> Sequence[User]:
        rows = tables.User.select().where(tables.User.id > after).order_by(tables.User.id).limit(size)
        return [_user(row) for row in rows]

    def change(self, user: User) -> None:
        sql.run(
            "UPDATE user SET display_name = ?, role = ?, disabled = ? WHERE id = ?",
            user.display_name,
            user.role.value,
            int(user.disabled),
            user.id,
        )

    def remove(self, user: str) -> None:
        for table in _OF_USERS:
            sql.run(f"DELETE FROM {table} WHERE user = ?", user)
        tables.ApiToken.delete().where(tables.ApiToken.user == user).execute()
        tables.Credential.delete().where(tables.Credential.user == user).execute()
        tables.User.delete().where(tables.User.id == user).execute()

    def ensure_namespace(self, namespace: str, now: float) -> bool:
        if self.find(namespace) is not None:
            return False
        if not self.namespace_exists(namespace):
            sql.run(
                "INSERT INTO namespace(id, created) VALUES (?, ?) "
                "ON CONFLICT(id) DO UPDATE SET deleted = NULL, created = excluded.created",
                namespace,
                now,
            )
        return True

    def namespace_exists(self, namespace: str) -> bool:
        return bool(sql.rows("SELECT 1 FROM namespace WHERE id = ? AND deleted IS NULL", namespace))

    def memberships(self, user: str) -> Sequence[Member]:
        found = sql.rows("SELECT namespace, role, created FROM member WHERE user = ?", user)
        return [Member(namespace, user, MemberRole(role), time) for namespace, role, time in found]


# Tokens that a user made for other users, and all that were made with them.
_FOR_OTHERS = (
    "(WITH RECURSIVE made(id) AS (SELECT id FROM api_token WHERE maker = ? AND user_id != ? "
    "UNION SELECT child.id FROM api_token AS child JOIN made ON child.parent = made.id) SELECT id FROM made)"
)


class TokensSql:
    """Implements TokenStore."""

    def find(self, token: str) -> ApiToken | None:
        row = tables.ApiToken.get_or_none(tables.ApiToken.id == _number(token))
        return None if row is None else _token(row)

    def by_digest(self, digest: bytes) -> ApiToken | None:
        row = tables.ApiToken.get_or_none(tables.ApiToken.digest == digest)
        return None if row is None else _token(row)

    def add(self, token: ApiToken, digest: bytes) -> None:
        tables.ApiToken.insert(
            id=_number(token.id),
            user=token.user,
            digest=digest,
            display_name=token.display_name,
            role=token.role.value,
            scopes=" ".join(sorted(token.scopes)),
            created=token.create_time,
            expires=token.expire_time,
            used=token.last_use_time,
            revoked=token.revoke_time,
            maker=token.maker,
            login=token.login,
            parent=_number(token.parent) if token.parent else 0,
        ).execute()

    def page(self, user: str, after: int, size: int) -> Sequence[tuple[int, ApiToken]]:
        token = tables.ApiToken
        rows = token.select().where(token.user == user, token.id > after).order_by(token.id).limit(size)
        return [(row.id, _token(row)) for row in rows]

    def valid_of(self, user: str, display_name: str) -> Sequence[ApiToken]:
        token = tables.ApiToken
        mine = (token.user == user) & (token.display_name == display_name) & token.revoked.is_null()
        return [_token(row) for row in token.select().where(mine).order_by(token.id)]

    def made_by(self, user: str) -> Sequence[ApiToken]:
        token = tables.ApiToken
        rows = token.select().where(token.maker == user, token.revoked.is_null()).order_by(token.id)
        return [_token(row) for row in rows]

    def made_for_others(self, user: str) -> Sequence[ApiToken]:
        token = tables.ApiToken
        theirs = token.id.in_(peewee.SQL(_FOR_OTHERS, (user, user)))
        rows = token.select().where(theirs, token.user != user, token.revoked.is_null()).order_by(token.id)
        return [_token(row) for row in rows]

    def valid(self, now: float, size: int) -> Sequence[ApiToken]:
        token = tables.ApiToken
        return [_token(row) for row in token.select().where(_good(now)).order_by(token.id).limit(size)]

    def valid_count(self, user: str, now: float) -> int:
        return int(tables.ApiToken.select().where(tables.ApiToken.user == user, _good(now)).count())

    def revoke_all(self, now: float) -> int:
        row = tables.ApiToken
        return int(row.update(revoked=now).where(row.revoked.is_null()).execute())

    def revoke(self, token: str, now: float) -> bool:
        row = tables.ApiToken
        fresh = (row.id == _number(token)) & row.revoked.is_null()
        return bool(row.update(revoked=now).where(fresh).execute())

    def used(self, times: Mapping[str, float]) -> None:
        for token, time in times.items():
            tables.ApiToken.update(used=time).where(tables.ApiToken.id == _number(token)).execute()


def _good(now: float) -> peewee.Expression:
    row = tables.ApiToken
    ends: peewee.Expression = row.expires.is_null() | (row.expires > now)
    return row.revoked.is_null() & ends


def _number(token: str) -> int:
    return int(token.removeprefix("tok_"))


def _user(row: tables.User) -> User:
    return User(
        id=row.id,
        uid=row.uid,
        display_name=row.display_name,
        role=Role(row.role),
        create_time=row.created,
        disabled=bool(row.disabled),
    )


def _token(row: tables.ApiToken) -> ApiToken:
    return ApiToken(
        id=f"tok_{row.id}",
        user=row.__data__["user"],  # the id; `row.user` would ask for the whole row
        display_name=row.display_name,
        role=Role(row.role),
        scopes=frozenset(Scope(word) for word in row.scopes.split()),
        create_time=row.created,
        expire_time=row.expires,
        last_use_time=row.used,
        revoke_time=row.revoked,
        maker=row.maker,
        login=row.login,
        parent=f"tok_{row.parent}" if row.parent else "",
    )
