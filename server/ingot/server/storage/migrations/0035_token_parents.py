"""With which token a token was made."""

import peewee
from playhouse.migrate import SqliteMigrator

_TOKEN = "/tokens/tok_"


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Add the column, with what the audit log tells of the time before."""
    db.connection().create_function("token_of", 1, _token_of, deterministic=True)
    db.execute_sql("ALTER TABLE api_token ADD COLUMN parent INTEGER NOT NULL DEFAULT 0")
    db.execute_sql(
        "UPDATE api_token SET parent = ifnull((SELECT token_of(token) FROM audit_entry "
        "WHERE method = 'AuthService/CreateToken' AND code = 'OK' "
        "AND place = 'users/' || api_token.user_id || '/tokens/tok_' || api_token.id), 0)"
    )
    db.execute_sql("CREATE INDEX api_token_parent ON api_token(parent)")


def _token_of(name: str) -> int:
    number = name.partition(_TOKEN)[2]
    return int(number) if number.isascii() and number.isdigit() else 0
