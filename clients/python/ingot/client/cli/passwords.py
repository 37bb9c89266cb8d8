"""Asking a person for a user and passwords: unseen, or from standard input; never on the command line."""

import sys

from ingot.client._errors import Invalid
from ingot.client.cli.shell import Shell


def asked_user(shell: Shell) -> str:
    """Return who wants to sign in with a password; "" for who gives a token, or where nobody can be asked."""
    if not shell.stdin.isatty() or not shell.out.notes.isatty():
        return ""
    shell.out.notes.write("User (nothing, to give a token): ")
    shell.out.notes.flush()
    return shell.stdin.readline().strip()


def typed(prompt: str) -> str:
    """Return what a person types unseen; "" when the input ends, as with Ctrl-D."""
    import getpass

    try:
        return getpass.getpass(prompt, stream=sys.stderr)
    except EOFError:
        return ""


def asked(shell: Shell, prompt: str, *, from_stdin: bool) -> str:
    """Return a password. Raises Invalid where there is none to be had."""
    if from_stdin:
        password = shell.stdin.readline().rstrip("\r\n")
    elif shell.stdin.isatty():
        password = typed(f"{prompt}: ")
    else:
        raise Invalid(
            "There is no terminal to ask for a password.",
            reason="USAGE",
            next_step="Give it on standard input: --password-stdin < FILE",
        )
    if not password:
        raise Invalid(f"{prompt}: nothing was given.", reason="USAGE", next_step="Type it when asked.")
    return password


def asked_change(shell: Shell, user: str, *, own: bool, from_stdin: bool) -> tuple[str, str]:
    """Return the old password, "" without one, and the new one, which a person types twice.

    Standard input has the new one, after a line with the old one if `own`. Raises Invalid if the two differ.
    """
    if from_stdin:
        first = asked(shell, f"New password of {user}", from_stdin=True)
        second = shell.stdin.readline().rstrip("\r\n") if own else ""
        return (first, second) if second else ("", first)
    old = _asked_old(shell) if own else ""
    new = asked(shell, f"New password of {user}", from_stdin=False)
    if asked(shell, "The same again", from_stdin=False) != new:
        raise Invalid(
            "The two passwords differ; nothing was changed.", reason="USAGE", next_step="Try again."
        )
    return old, new


def _asked_old(shell: Shell) -> str:
    if not shell.stdin.isatty():
        return ""
    return typed("Old password (nothing, if there is none): ")
