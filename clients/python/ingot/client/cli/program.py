"""What `ingot` does: find the command, run it, and turn what went wrong into a message and an exit code.

Exit codes: 0 ok · 1 failure · 2 usage · 3 not found · 4 not signed in or not allowed · 5 conflict ·
6 integrity · 7 quota, disk, limit · 8 cancelled or timed out · 9 server not reachable.
"""

import contextlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from ingot.client._errors import Cancelled, IngotError, StoppedWaiting, Unreachable
from ingot.client.cli import command, commands, failures
from ingot.client.cli.command import Command
from ingot.client.cli.output import Output
from ingot.client.cli.shell import Shell

OK, FAILURE, USAGE, STOPPED = 0, 1, 2, 8
_LEAVING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name and return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    _open_closed_streams()
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # a server that stops is told in our words
    _take_any_letter()
    out = Output(sys.stdout, sys.stderr, json="--json" in words)
    try:
        call = commands.find(words)
        if call.entry is None:
            return _list(call, out)
        kind = call.entry.load()
        chosen = command.parse(kind, call.typed, call.words)
    except IngotError as error:
        failures.tell(error, out)
        return error.exit_code
    except SystemExit as leaving:  # argparse, after --help
        return leaving.code if isinstance(leaving.code, int) else OK
    return _run(chosen, out)


def _list(call: commands.Call, out: Output) -> int:
    if "--version" in call.words:
        from ingot.client._identity import version

        out.line(f"ingot {version()}")
        return OK
    asked = not call.words or {"-h", "--help"} & set(call.words)
    if not asked:
        out.error("Name a command.")
        return USAGE
    out.line(commands.overview(call.typed))
    return OK


def _run(chosen: Command, streams: Output) -> int:
    out = Output(streams.data, streams.notes, json=chosen.json, quiet=chosen.quiet)
    shell = Shell(out, os.environ, chosen.server, chosen.namespace)
    before = {number: signal.getsignal(number) for number in _LEAVING}
    try:
        for number, action in before.items():
            if action != signal.SIG_IGN:  # nohup, or a shell's `&`: that is wanted
                _set_signal(number, _interrupt)
        return _outcome(chosen, shell, out)
    except KeyboardInterrupt as stop:
        _set_signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C leaves at once
        with contextlib.suppress(OSError):  # the terminal may be gone
            _tell_stopped(out, _how_to_go_on(chosen, stop))
        shell.abandon()
        return STOPPED
    finally:
        shell.close()
        for number, action in before.items():
            _set_signal(number, action)


def _outcome(chosen: Command, shell: Shell, out: Output) -> int:
    try:
        return chosen.run(shell)
    except IngotError as error:
        if chosen.debug:
            raise
        failures.tell(error, out)
        lost = isinstance(error, Unreachable) and not error.reason.startswith("SOURCE_")
        if lost and not out.json and (told := chosen.how_to_go_on()):
            out.note(told)
        return error.exit_code
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    except OSError as error:
        if chosen.debug:
            raise
        failures.tell_system(error, out)
        return FAILURE
    except UnicodeError as error:
        if chosen.debug:
            raise
        failures.tell_unreadable(error, out)
        return USAGE
    except Exception as error:  # the last door: nobody should meet a traceback unasked
        if chosen.debug:
            raise
        failures.tell_fault(error, out)
        return FAILURE


def _tell_stopped(out: Output, how_to_go_on: str) -> None:
    if out.json:
        failures.tell(Cancelled("Stopped.", reason="STOPPED", next_step=how_to_go_on), out)
    else:
        out.note(f"\nStopped. {how_to_go_on}".rstrip())


def _how_to_go_on(chosen: Command, stop: KeyboardInterrupt) -> str:
    """Return what to say after Ctrl-C: of the work of the server that was waited for, else the command's."""
    if not isinstance(stop, StoppedWaiting):
        return chosen.how_to_go_on()
    from ingot.client.cli import following

    return following.detached(stop.operation, ingot=chosen.ingot)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _set_signal(number: int, action: object) -> None:
    try:
        signal.signal(number, action)  # type: ignore[arg-type]  # what getsignal gave, or one of ours
    except ValueError:  # only the main thread may; tests run us in others
        return


def _open_closed_streams() -> None:
    """Put nothing in the place of streams that the caller closed (`>&-`), which Python leaves as None."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115  # stays open
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # stays open
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # stays open


def _take_any_letter() -> None:
    """Let names in any script through, whatever the terminal's encoding."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
