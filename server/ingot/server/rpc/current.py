"""Which call the running task works for: known to whatever the call starts, on the event loop."""

from contextvars import ContextVar

from ingot.server.rpc.calls import Call

_call: ContextVar[Call | None] = ContextVar("ingot_call", default=None)


def enter(call: Call) -> None:
    """Let the running task, and those it starts, work for this call."""
    _call.set(call)


def call() -> Call:
    """Return the call that runs now. Raises LookupError outside of one."""
    found = _call.get()
    if found is None:
        raise LookupError("no call runs here")
    return found


def optional_call() -> Call | None:
    """Return the call that runs now; None in work of the server itself."""
    return _call.get()
