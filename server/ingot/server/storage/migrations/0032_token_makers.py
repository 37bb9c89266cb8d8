"""Who made a token, and in which login; and what an audit entry's target lies below."""

import peewee
from playhouse.migrate import SqliteMigrator

_LOGIN = "/logins/"
_TOKENS = (
    "ALTER TABLE api_token ADD COLUMN maker TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE api_token ADD COLUMN login INTEGER NOT NULL DEFAULT 0",
    "CREATE INDEX api_token_maker ON api_token(maker)",
)
# The audit log knows it of tokens that were made since there is one.
_MADE = (
    "SELECT {wanted} FROM audit_entry WHERE method = 'AuthService/CreateToken' AND code = 'OK' "
    "AND target = 'users/' || api_token.user_id || '/tokens/tok_' || api_token.id"
)
_MAKERS = (
    f"UPDATE api_token SET maker = ifnull(({_MADE.format(wanted='user')}), ''), "
    f"login = ifnull(({_MADE.format(wanted='login_of(token)')}), 0)"
)
_ENTRIES = (
    "ALTER TABLE audit_entry ADD COLUMN root TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE audit_entry ADD COLUMN place TEXT NOT NULL DEFAULT ''",
    "UPDATE audit_entry SET root = first_of(target, 2), place = first_of(target, 4)",
    "DROP INDEX audit_entry_target_number",
    "CREATE INDEX audit_entry_root_number ON audit_entry(root, number)",
    "CREATE INDEX audit_entry_place_number ON audit_entry(place, number)",
)


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Add the columns, with what the log tells of the time before."""
    connection = db.connection()
    connection.create_function("login_of", 1, _login_of, deterministic=True)
    connection.create_function("first_of", 2, _first_of, deterministic=True)
    for statement in (*_TOKENS, _MAKERS, *_ENTRIES):
        db.execute_sql(statement)


def _login_of(token: str) -> int:
    number = token.partition(_LOGIN)[2]
    return int(number) if number.isascii() and number.isdigit() else 0


def _first_of(name: str, count: int) -> str:
    return "/".join(name.split("/")[:count])
