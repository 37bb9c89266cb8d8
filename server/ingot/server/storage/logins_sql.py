"""Rows of passwords and logins: the LoginStore of core/logins.py."""

from ingot.server.core.logins import Login
from ingot.server.storage import sql

_ROW = "number, user, nonce, generation, created, refreshed, expires, ended"


class LoginsSql:
    """Implements LoginStore."""

    def password(self, user: str) -> str | None:
        found = sql.rows("SELECT hashed FROM password WHERE user = ?", user)
        return str(found[0][0]) if found else None

    def set_password(self, user: str, hashed: str, now: float) -> None:
        sql.run(
            "INSERT INTO password(user, hashed, changed) VALUES (?, ?, ?) "
            "ON CONFLICT(user) DO UPDATE SET hashed = excluded.hashed, changed = excluded.changed",
            user,
            hashed,
            now,
        )

    def add(self, login: Login) -> None:
        sql.run(
            f"INSERT INTO login({_ROW}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            login.number,
            login.user,
            login.nonce,
            login.generation,
            login.create_time,
            login.refresh_time,
            login.expire_time,
            login.end_time,
        )

    def find(self, number: int) -> Login | None:
        found = sql.rows(f"SELECT {_ROW} FROM login WHERE number = ?", number)
        if not found:
            return None
        number, user, nonce, *rest = found[0]
        return Login(number, user, bytes(nonce), *rest)

    def renew(self, login: Login, now: float) -> bool:
        renewed = "UPDATE login SET generation = generation + 1, refreshed = ? WHERE number = ? "
        return sql.run(f"{renewed}AND generation = ?", now, login.number, login.generation) == 1

    def end(self, number: int, now: float) -> bool:
        return sql.run("UPDATE login SET ended = ? WHERE number = ? AND ended IS NULL", now, number) == 1

    def end_all(self, user: str, now: float, *, but: int = 0, newest: int = 0) -> int:
        chosen = "SELECT number FROM login WHERE user = ? AND ended IS NULL ORDER BY number DESC"
        return sql.run(
            f"UPDATE login SET ended = ? WHERE number != ? AND number IN ({chosen} LIMIT -1 OFFSET ?)",
            now,
            but,
            user,
            newest,
        )

    def end_everybodys(self, now: float) -> int:
        return sql.run("UPDATE login SET ended = ? WHERE ended IS NULL", now)

    def count(self, user: str, now: float) -> int:
        found = sql.rows(
            "SELECT count(*) FROM login WHERE user = ? AND ended IS NULL AND expires > ?", user, now
        )
        return int(found[0][0])

    def forget(self, before: float) -> int:
        return sql.run("DELETE FROM login WHERE expires < ?", before)
