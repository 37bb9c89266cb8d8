"""`ingot-server users`: users of a data folder that no server uses, for whoever may read that folder.

    ls · add USER · passwd USER · disable USER · enable USER

This is how a first administrator gets a password, and how somebody gets back in who forgot it. While a server
runs, an administrator does the same through it: `ingot users …`.
"""

import argparse
import contextlib
import getpass
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ingot.server.settings import Settings

if TYPE_CHECKING:
    from ingot.server.audit_parts import AuditParts
    from ingot.server.identity_parts import IdentityParts
    from ingot.server.storage.database import Database

T = TypeVar("T")
_ROLES = ("member", "viewer", "admin")
_ONLINE = {"ls": "ls", "add": "create", "passwd": "passwd", "disable": "edit", "enable": "edit"}


class UsersError(Exception):
    """It cannot be done here; the message says why and what to do."""


def declare(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    add_settings: Callable[[argparse.ArgumentParser], None],
) -> None:
    """Add the command to the parser of `ingot-server`."""
    users = commands.add_parser(
        "users",
        help="list, add and change users of a data folder that no server uses (else: ingot users)",
        description="Users of a data folder that no server uses. While one runs: ingot users.",
        epilog="examples:\n  ingot-server users passwd admin --data .run\n"
        "  ingot-server users add sara --title Sara --password-stdin --data .run < password.txt",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    users.add_argument("action", choices=tuple(_ONLINE), help="what to do")
    users.add_argument("user", nargs="?", default="", metavar="USER", help="whom (all but ls need one)")
    users.add_argument("--role", choices=_ROLES, default="member", help="of a new user")
    users.add_argument("--title", default="", metavar="TEXT", help="name of a new user in any script")
    users.add_argument(
        "--password-stdin", action="store_true", help="read the password from standard input, its first line"
    )
    add_settings(users)


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Do it and return the exit status. Raises UsersError, IngotError and what opening a folder raises."""
    if options.action == "ls":
        with _opened(settings, options) as folder:
            _list(folder)
        return 0
    if not options.user:
        raise UsersError(f"users {options.action}: expected a user, such as: users {options.action} sara")
    with _opened(settings, options) as folder:
        _ACTIONS[options.action](folder, options)
    return 0


@dataclass(frozen=True, slots=True)
class _Folder:
    """The rules over an open data folder."""

    database: "Database"
    people: "IdentityParts"
    audit: "AuditParts"

    def change(self, action: str, user: str, rule: Callable[[], T]) -> T:
        """Run a rule in a write together with its entry in the audit log."""
        from ingot.server.core.audit import Deed

        def whole() -> T:
            result = rule()
            self.audit.audit.append(
                Deed(
                    time=time.time(),
                    action="update",
                    method=f"ingot-server/users {action}",
                    target=f"users/{user}",
                    principal="system",
                    user="system",
                    token="",
                    declared_user=getpass.getuser(),
                    address="local",
                    client="ingot-server",
                    call_id="",
                )
            )
            return result

        result = self.database.write(whole).result()
        self.audit.heads.keep()
        return result


@contextlib.contextmanager
def _opened(settings: Settings, options: argparse.Namespace) -> Iterator[_Folder]:
    from ingot.server.audit_parts import AuditParts
    from ingot.server.core.clock import SystemClock
    from ingot.server.core.pages import PageTokens
    from ingot.server.domain.requests import Requests
    from ingot.server.domain.usage import Usage
    from ingot.server.identity_parts import IdentityParts
    from ingot.server.storage import audit_head
    from ingot.server.storage.data_folder import DataFolder, DataFolderError, read_announcement
    from ingot.server.storage.database import open_database
    from ingot.server.storage.identity_sql import CountersSql, RequestsSql
    from ingot.server.storage.migration_runner import migrate
    from ingot.server.storage.usage_sql import UsageSql

    try:
        held = DataFolder.hold(settings.data_dir)
    except DataFolderError as error:
        if not read_announcement(settings.data_dir.expanduser()):
            raise
        words = f"ingot users {_ONLINE[options.action]} {options.user}".rstrip()
        raise UsersError(f"{error} Through that server, as an administrator: {words}") from error
    with (
        contextlib.closing(held) as folder,
        contextlib.closing(open_database(settings.database)) as database,
    ):
        migrate(database)
        clock, tokens = SystemClock(), PageTokens(folder.secret)
        people = IdentityParts(
            settings,
            folder,
            CountersSql(),
            Requests(RequestsSql(), clock),
            tokens,
            clock,
            database.after_commit,
        )
        database.write(people.identity.ensure_administrator, folder.token("admin")).result()
        usage = Usage(UsageSql(), tokens, clock, activity_days=settings.activity_days)
        audit = AuditParts(settings, folder, database, usage, tokens, clock)
        audit.heads.begin(audit_head.take_restored(folder.path))
        audit_head.forget_restored(folder.path)
        yield _Folder(database, people, audit)


def _list(folder: _Folder) -> None:
    from ingot.server.core.identity import system_caller

    token = ""
    while True:
        page = folder.database.read(folder.people.identity.list_users, system_caller(), 1000, token)
        for user in page.items:
            has = folder.database.read(folder.people.logins.stored, user.id) is not None
            words = [user.role.value.lower(), "password" if has else "no password"]
            print(f"{user.id:20}  {', '.join([*words, *(['disabled'] if user.disabled else [])])}")
        if not page.next_token:
            return
        token = page.next_token


def _add(folder: _Folder, options: argparse.Namespace) -> None:
    from ingot.server.core.identity import Role, system_caller
    from ingot.server.domain.identity import NewUser
    from ingot.server.domain.requests import RequestKey

    wanted = NewUser(options.user, options.title, Role(options.role.upper()))
    hashed = _asked(options, options.user)

    def add() -> None:
        folder.people.identity.create_user(system_caller(), wanted, RequestKey())
        folder.people.logins.set_password(options.user, hashed)

    folder.change("add", options.user, add)
    print(f"{options.user} was added ({options.role}).")


def _passwd(folder: _Folder, options: argparse.Namespace) -> None:
    folder.database.read(folder.people.identity.find, options.user)
    hashed = _asked(options, options.user)
    ended = folder.change(
        "passwd", options.user, lambda: folder.people.logins.set_password(options.user, hashed)
    )
    print(f"{options.user} has another password; {ended} logins were ended. API tokens stay good.")


def _enabled(folder: _Folder, options: argparse.Namespace) -> None:
    from ingot.server.core.identity import system_caller
    from ingot.server.domain.users import UserChange

    disabled = options.action == "disable"
    change = UserChange(options.user, "", None, disabled, ("disabled",))
    folder.change(options.action, options.user, lambda: folder.people.users.update(system_caller(), change))
    print(f"{options.user} may {'no longer ' if disabled else ''}sign in.")


def _asked(options: argparse.Namespace, user: str) -> str:
    """Return the hash of a new password: from standard input, or typed twice unseen."""
    from ingot.server.domain.passwords import Passwords, check_new

    if options.password_stdin:
        password = sys.stdin.readline().rstrip("\n")
    elif not sys.stdin.isatty():
        raise UsersError("There is no terminal to ask for a password: add --password-stdin < FILE")
    else:
        password = getpass.getpass(f"Password for {user}: ")
        if getpass.getpass("The same again: ") != password:
            raise UsersError("The two passwords differ; nothing was changed.")
    check_new(password, user, "password")
    return Passwords().hashed(password)


_ACTIONS: dict[str, Callable[[_Folder, argparse.Namespace], None]] = {
    "add": _add,
    "passwd": _passwd,
    "disable": _enabled,
    "enable": _enabled,
}
