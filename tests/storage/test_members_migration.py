"""Users of a server from before there were members own the namespace of their id, and see what they saw."""

from helpers.schema import earlier
from ingot.server.core.members import MemberRole
from ingot.server.storage.database import open_database
from ingot.server.storage.identity_sql import UsersSql
from ingot.server.storage.members_sql import MembersSql
from ingot.server.storage.migration_runner import migrate

_BEFORE = 17


def test_every_user_from_before_owns_its_namespace() -> None:
    database = earlier(open_database("sqlite:///:memory:"), _BEFORE)
    with database.direct() as connection:
        for user, role in (("sara", "MEMBER"), ("vera", "VIEWER")):
            connection.execute_sql("INSERT INTO namespace(id, created) VALUES (?, 5.0)", (user,))
            connection.execute_sql(
                "INSERT INTO user(id, uid, display_name, role, created, disabled) "
                "VALUES (?, ?, '', ?, 5.0, 0)",
                (user, f"uid-{user}", role),
            )
        connection.execute_sql("INSERT INTO namespace(id, created) VALUES ('library', 6.0)")
    migrate(database)
    users = UsersSql()
    for user in ("sara", "vera"):
        (own,) = database.read(users.memberships, user)
        assert (own.namespace, own.role, own.create_time) == (user, MemberRole.OWNER, 5.0)
        assert database.read(users.namespace_exists, user)
    assert database.read(users.namespace_exists, "library")
    assert database.read(MembersSql().page, "library", "", 9) == []
    database.close()
