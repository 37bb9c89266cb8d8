"""How a failure is told: what happened, which field, what to do next, and the id of the call."""

from ingot.client._errors import IngotError
from ingot.client.cli.output import Output

_INDENT = "  "


def tell(error: IngotError, out: Output) -> None:
    """Print an error on standard error."""
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
    out.error(f"{error.strerror or error}{place}.")


def tell_fault(error: Exception, out: Output) -> None:
    """Print a fault of this program."""
    out.error(f"A fault in this program: {type(error).__name__}: {error}.")
    out.note(f"{_INDENT}next: run it again with --debug and report what it prints, with `ingot env`")
