"""`ingot-server users`: users of a data folder that no server uses, for whoever may read that folder.

    ls · show USER · create USER · edit USER · role USER ROLE · passwd USER · rm USER

This is how a first administrator gets a password, and how somebody gets back in who forgot it, or whom nobody
is left to give a role. While a server runs, an administrator does the same through it: `ingot users …`.
"""

import argparse
import contextlib
import getpass
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ingot.server.settings.fields import Settings

if TYPE_CHECKING:
    from ingot.server.commands.offline import Offline
    from ingot.server.core.identity import User
    from ingot.server.domain.users import ChangedUser, UserChange

_ROLES = ("member", "viewer", "admin")
_SHOWN = 20  # names of tokens
# The same through a server that runs; some have two names here.
_ONLINE = {
    "ls": "ls",
    "show": "show",
    "create": "create",
    "add": "create",
    "edit": "edit",
    "role": "edit",
    "enable": "edit",
    "disable": "edit",
    "passwd": "passwd",
    "rm": "rm",
}


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
        "  ingot-server users create sara --title Sara --password-stdin --data .run < password.txt\n"
        "  ingot-server users role sara admin --data .run",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    users.add_argument("action", choices=tuple(_ONLINE), help="what to do")
    users.add_argument("user", nargs="?", default="", metavar="USER", help="whom (all but ls need one)")
    users.add_argument("new_role", nargs="?", default="", metavar="ROLE", help="for role: which from now on")
    users.add_argument("--role", choices=_ROLES, help="of a new user (member), or from now on")
    users.add_argument("--title", metavar="TEXT", help="their name in any script")
    either = users.add_mutually_exclusive_group()
    either.add_argument("--disable", action="store_true", help="with edit: refuse all their credentials")
    either.add_argument("--enable", action="store_true", help="with edit: let them sign in again")
    users.add_argument(
        "--password-stdin", action="store_true", help="read the password from standard input, its first line"
    )
    users.add_argument("--yes", action="store_true", help="with rm: do not ask")
    add_settings(users)


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Do it and return the exit status. Raises UsersError, IngotError and what opening a folder raises."""
    if options.action != "ls" and not options.user:
        raise UsersError(f"users {options.action}: expected a user, such as: users {options.action} sara")
    if options.new_role and options.action != "role":
        raise UsersError(f"users {options.action}: expected nothing after the user, got {options.new_role!r}")
    if settings.data_dir == Settings().data_dir and not settings.data_dir.exists():
        # It would be made, and what is done to a folder that no server uses would pass for done.
        words = (
            f"There is no data folder {settings.data_dir}, and none was named: name the server's with --data."
        )
        raise UsersError(words)
    with _opened(settings, options) as folder:
        _ACTIONS[options.action](folder, options)
    print(f"In the data folder {settings.data_dir.absolute()}.", file=sys.stderr)
    return 0


@contextlib.contextmanager
def _opened(settings: Settings, options: argparse.Namespace) -> "Iterator[Offline]":
    from ingot.server.commands import offline
    from ingot.server.storage.data_folder import DataFolder, DataFolderError, read_announcement

    try:
        held = DataFolder.hold(settings.data_dir)
    except DataFolderError as error:
        if not read_announcement(settings.data_dir.expanduser()):
            raise
        words = f"ingot users {_ONLINE[options.action]} {options.user}".rstrip()
        raise UsersError(f"{error} Through that server, as an administrator: {words}") from error
    with contextlib.closing(held) as folder, offline.opened(settings, folder) as found:
        found.database.write(found.people.identity.ensure_administrator, folder.token("admin")).result()
        yield found


def _list(folder: "Offline", options: argparse.Namespace) -> None:
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


def _show(folder: "Offline", options: argparse.Namespace) -> None:
    from ingot.server.core.identity import system_caller

    found = folder.database.read(folder.people.users.get, system_caller(), options.user)
    print(f"{_words(found.user)}\npassword: {'set' if found.has_password else 'none'}")
    print(f"logins:   {found.logins} that have not ended\ntokens:   {found.tokens} that are good")


def _create(folder: "Offline", options: argparse.Namespace) -> None:
    from ingot.server.core.identity import Role, system_caller
    from ingot.server.domain.identity import NewUser
    from ingot.server.domain.requests import RequestKey

    role = options.role or "member"
    wanted = NewUser(options.user, options.title or "", Role(role.upper()))
    hashed = _asked(options, options.user)

    def create() -> None:
        folder.people.identity.create_user(system_caller(), wanted, RequestKey())
        folder.people.logins.set_password(options.user, hashed)

    folder.change("users create", f"users/{options.user}", create)
    print(f"{options.user} was added ({role}).")


def _passwd(folder: "Offline", options: argparse.Namespace) -> None:
    folder.database.read(folder.people.identity.find, options.user)
    hashed = _asked(options, options.user)
    ended = folder.change(
        "users passwd",
        f"users/{options.user}",
        lambda: folder.people.logins.set_password(options.user, hashed),
    )
    print(f"{options.user} has another password; {ended} logins were ended. API tokens stay good.")


def _edit(folder: "Offline", options: argparse.Namespace) -> None:
    """Change role, name, or whether they may sign in: also as role, disable and enable."""
    from ingot.server.core.identity import Role
    from ingot.server.domain.users import UserChange

    role = options.new_role or options.role
    if options.action == "role" and role not in _ROLES:
        raise UsersError(f"users role: expected a role, one of {', '.join(_ROLES)}, after the user")
    disable = options.disable or options.action == "disable"
    given = {
        "display_name": options.title is not None,
        "role": bool(role),
        "disabled": disable or options.enable or options.action == "enable",
    }
    if not any(given.values()):
        raise UsersError("users edit: expected --role, --title, --disable or --enable")
    change = UserChange(
        options.user,
        options.title or "",
        Role(role.upper()) if role else None,
        disable,
        tuple(path for path, there in given.items() if there),
    )
    changed = _changed(folder, options.action, change)
    if options.action in ("disable", "enable"):
        print(f"{options.user} may {'no longer ' if disable else ''}sign in.")
    else:
        print(_words(changed.user))
    if changed.ended_tokens:
        print(f"Tokens that they made for others were ended: {_some(changed.ended_tokens)}.")
    for namespace in changed.ownerless:
        print(f"{namespace} has no owner now who can act: ingot members set names one.")


def _changed(folder: "Offline", action: str, change: "UserChange") -> "ChangedUser":
    from ingot.server.core.identity import system_caller

    return folder.change(
        f"users {action}",
        f"users/{change.user}",
        lambda: folder.people.users.update(system_caller(), change),
    )


def _remove(folder: "Offline", options: argparse.Namespace) -> None:
    from ingot.server.core.identity import system_caller

    delete, caller = folder.people.users.delete, system_caller()
    folder.database.read(delete, caller, options.user, "", allow_missing=False, validate_only=True)
    if not options.yes:
        if not sys.stdin.isatty():
            raise UsersError("There is no terminal to ask on: add --yes")
        told = f"{options.user} goes for good; the name stays taken. Go on? [y/N] "
        if input(told).strip().lower() not in ("y", "yes"):
            raise UsersError("Nothing was changed.")
    folder.change(
        "users rm",
        f"users/{options.user}",
        lambda: delete(caller, options.user, "", allow_missing=False),
    )
    print(f"{options.user} was removed; the name stays taken.")


def _words(user: "User") -> str:
    state = ", disabled" if user.disabled else ""
    title = f" ({user.display_name})" if user.display_name else ""
    return f"{user.id}{title}: {user.role.value.lower()}{state}"


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _asked(options: argparse.Namespace, user: str) -> str:
    """Return the hash of a new password: from standard input, or typed twice unseen."""
    from ingot.server.domain.passwords import Passwords, check_new

    if options.password_stdin:
        password = sys.stdin.readline().rstrip("\n")
    elif not sys.stdin.isatty():
        raise UsersError("There is no terminal to ask for a password: add --password-stdin < FILE")
    else:
        try:
            password = getpass.getpass(f"Password for {user}: ")
            again = getpass.getpass("The same again: ")
        except EOFError:  # Ctrl-D
            raise UsersError("No password was typed; nothing was changed.") from None
        if again != password:
            raise UsersError("The two passwords differ; nothing was changed.")
    check_new(password, user, "password")
    return Passwords().hashed(password)


_ACTIONS: "dict[str, Callable[[Offline, argparse.Namespace], None]]" = {
    "ls": _list,
    "show": _show,
    "create": _create,
    "add": _create,
    "edit": _edit,
    "role": _edit,
    "enable": _edit,
    "disable": _edit,
    "passwd": _passwd,
    "rm": _remove,
}
