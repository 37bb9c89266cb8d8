"""Tokens of a server from before they remembered which token they were made with: the audit log knows."""

from helpers.schema import earlier
from ingot.server.storage.database import open_database
from ingot.server.storage.identity_sql import TokensSql
from ingot.server.storage.migration_runner import migrate

_BEFORE = 34
_ENTRY = (
    "INSERT INTO audit_entry VALUES (?, 5, '', 'AuthService/CreateToken', ?, '', '', ?, '', '', '', '', "
    "'OK', '{}', '', '', '', ?)"
)


def test_what_an_administrator_made_for_others_is_known_with_what_was_made_with_it() -> None:
    database = earlier(open_database("sqlite:///:memory:"), _BEFORE)
    with database.direct() as connection:
        for user in ("boss", "mia"):
            connection.execute_sql(
                "INSERT INTO user(id, uid, display_name, role, created, disabled) "
                "VALUES (?, ?, '', 'MEMBER', 5.0, 0)",
                (user, f"uid-{user}"),
            )
        for number, user, maker, token in (
            (1, "boss", "system", ""),
            (2, "mia", "boss", "users/boss/tokens/tok_1"),
            (3, "mia", "mia", "users/mia/tokens/tok_2"),
            (4, "mia", "mia", "users/mia/logins/2"),
            (5, "boss", "boss", "users/boss/tokens/tok_1"),
        ):
            connection.execute_sql(
                "INSERT INTO api_token(id, user_id, digest, display_name, role, scopes, created, maker) "
                "VALUES (?, ?, ?, '', 'MEMBER', '', 5.0, ?)",
                (number, user, bytes([number]), maker),
            )
            name = f"users/{user}/tokens/tok_{number}"
            connection.execute_sql(_ENTRY, (number, name, token, name))
    migrate(database)
    tokens = TokensSql()
    assert [each.id for each in database.read(tokens.made_for_others, "boss")] == ["tok_2", "tok_3"]
    found = [database.read(tokens.find, f"tok_{number}") for number in range(1, 6)]
    assert [each.parent for each in found if each] == ["", "tok_1", "tok_2", "", "tok_1"]
    database.close()
