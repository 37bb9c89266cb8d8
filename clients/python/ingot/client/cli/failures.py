"""How a failure is told: what happened, which field, what to do next, and the id of the call.

With --json all of that is one JSON object on a line of its own, as progress is: {"error": {…}}.
"""

import errno

from ingot.client._errors import IngotError, Invalid
from ingot.client.cli.output import Output

_INDENT = "  "
_NEXT_STEPS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "Make room on the disk, then run it again."),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS), "Check who may read and write it, then run it again."
    ),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR), "Check that it is there, and that nothing removes it."),
}


def tell(error: IngotError, out: Output) -> None:
    """Print an error on standard error."""
    if out.json:
        _tell_programs(out, error)
        return
    out.error(error.message)
    for problem in error.fields:
        if problem.message and problem.message not in error.message:
            out.note(f"{_INDENT}{problem.field}: {problem.message}")
    if error.next_step:
        out.note(f"{_INDENT}next: {error.next_step}")
    if error.request_id:
        out.note(f"{_INDENT}request id: {error.request_id}")


def tell_system(error: OSError, out: Output) -> None:
    """Print what the operating system refused."""
    place = f": {error.filename}" if error.filename else ""
    message = f"{error.strerror or error}{place}."
    next_step = _NEXT_STEPS.get(error.errno or 0, "Check the disk and the network, then run it again.")
    tell(IngotError(message, reason=errno.errorcode.get(error.errno or 0, ""), next_step=next_step), out)


def tell_unreadable(error: UnicodeError, out: Output) -> None:
    """Print that a file, the input or an argument is no text."""
    found = ""
    if isinstance(error, UnicodeDecodeError):
        found = f", got the byte 0x{error.object[error.start]:02x} at position {error.start}"
    elif isinstance(error, UnicodeEncodeError):
        found = f", got {error.object[error.start : error.end]!r} at position {error.start}"
    message = f"Expected text in UTF-8{found}."
    next_step = "Give a text file, or write it in UTF-8."
    tell(Invalid(message, reason="USAGE", next_step=next_step), out)


def tell_fault(error: Exception, out: Output) -> None:
    """Print a fault of this program."""
    message = f"A fault in this program: {type(error).__name__}: {error}."
    next_step = "run it again with --debug and report what it prints, with `ingot env`"
    tell(IngotError(message, reason="INTERNAL", next_step=next_step), out)


def _tell_programs(out: Output, error: IngotError) -> None:
    from ingot.client.cli import plain

    told: plain.Plain = {
        "message": error.message,
        "reason": error.reason,
        "facts": dict(error.facts),
        "fields": [{"field": each.field, "message": each.message} for each in error.fields],
        "next_step": error.next_step,
        "request_id": error.request_id,
        "exit_code": error.exit_code,
    }
    out.note(plain.dumps({"error": told}))
