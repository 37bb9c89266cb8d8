"""Bodies for tests of the runner: a program that behaves as the target of its operation says.

    succeed   reports progress and a line, then a result     fail, refuse   a problem, to be retried or not
    poison    kills itself                                   freeze         stops itself (SIGSTOP)
    wait      works until it is asked to stop                stubborn       never stops, asked or not
    late      works for ever                                 exit           ends with status 7 and words
    flood     reports without end                            garbage        no reports, then a result
    liar      a result of another kind                       orphan         leaves a child behind
    greedy    takes memory until it gets none    aborted   ends as C libraries do without memory
    steps     ten steps, each remembered in its folder       chatty         70 MiB of output, then its end

`poison*2` misbehaves in its first two attempts and succeeds in the third. Each attempt adds its number and
process id to a file beside its folder; 0 is the number of a child that was left behind.
"""

import fcntl
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

asked = threading.Event()
pipe = os.fdopen(int(os.environ["INGOT_REPORTS"]), "wb", 0)


def say(**report: object) -> None:
    pipe.write(json.dumps(report).encode() + b"\n")


def succeed(folder: Path) -> None:
    say(progress={"phase": "working", "done": 1, "total": 2, "unit": "files"})
    say(log={"level": "info", "text": "half of it is done"})
    say(progress={"phase": "working", "done": 2, "total": 2, "unit": "files", "percent": 100.0})
    say(result={"version": "namespaces/sara/models/tiny/versions/1", "fetched_bytes": 5})


def fail(folder: Path, retry: bool = True) -> None:
    say(problem={"reason": "SOURCE_UNREACHABLE", "message": "The source is away.", "retry": retry})


def refuse(folder: Path) -> None:
    fail(folder, retry=False)


def poison(folder: Path) -> None:
    sys.stderr.write("I take poison\n")
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def freeze(folder: Path) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
    succeed(folder)  # woken by somebody: nobody may listen


def wait(folder: Path) -> None:
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    for number in itertools.count():
        say(progress={"phase": "waiting", "done": number})
        if asked.wait(0.05):
            say(cancelled=True)
            return


def stubborn(folder: Path) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    late(folder)


def late(folder: Path) -> None:
    while not asked.wait(0.05):
        say()


def exit_early(folder: Path) -> None:
    sys.stderr.write(f"the token is {json.loads(spec)['token']}\n")
    sys.exit(7)


def chatty(folder: Path) -> None:
    for _ in range(70):
        os.write(2, b"again and again\n" * 65536)
    os.write(2, b"last words\n")
    os._exit(7)


def flood(folder: Path) -> None:
    line = b'{"progress": {"done": 1}, "log": {"text": "again"}}\n' * 100
    while True:
        pipe.write(line)


def garbage(folder: Path) -> None:
    pipe.write(b'no json\n[1, 2]\n\xff\xfe\n{"unknown": 1}\n\n')
    pipe.write(b"x" * (17 * 1024 * 1024) + b"\n")
    say(progress={"done": 2**70, "total": -1, "rate": float("inf"), "percent": 1e9, "message": "m" * 10_000})
    say(log={"text": "l" * 100_000})
    say(result={"version": "namespaces/sara/models/tiny/versions/1"})


def liar(folder: Path) -> None:
    say(result={"unknown": 1})


def steps(folder: Path) -> None:
    done, lock = folder / "done", (folder / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        (folder.parent / f"{folder.name}.overlap").touch()
    for step in range(int(done.read_text()) if done.exists() else 0, 10):
        say(progress={"done": step, "total": 10})
        asked.wait(0.1)
        (folder / "new").write_text(str(step + 1))
        (folder / "new").replace(done)
    succeed(folder)


def orphan(folder: Path) -> None:
    command = [sys.executable, "-I", "-S", "-c", "import signal; signal.pause()"]
    note(folder, 0, subprocess.Popen(command, close_fds=False).pid)  # it holds the pipe open, too
    succeed(folder)


def greedy(folder: Path) -> None:
    say(log={"text": Path("/proc/self/oom_score_adj").read_text().strip()})
    taken = [bytearray(64 << 20) for _ in range(4)]
    say(log={"text": f"it got {len(taken)} pieces"})
    taken += [bytearray(64 << 20) for _ in range(32)]
    say(result={})


def aborted(folder: Path) -> None:
    sys.stderr.write("memory allocation of 67108864 bytes failed\n")
    sys.stderr.flush()
    os.abort()


def note(folder: Path, attempt: int, process: int) -> None:
    with (folder.parent / f"{folder.name}.attempts").open("a") as file:
        file.write(f"{attempt} {process}\n")


MODES = {each.__name__: each for each in (succeed, fail, refuse, poison, freeze, wait, stubborn, late)}
MODES |= {each.__name__: each for each in (flood, garbage, liar, orphan, steps, chatty, greedy, aborted)} | {
    "exit": exit_early
}

if __name__ == "__main__":
    spec = sys.stdin.buffer.read()
    parsed = json.loads(spec)
    mode, _, times = parsed["target"].partition("*")
    home = Path(parsed["folder"])
    note(home, parsed["attempt"], os.getpid())
    say()
    MODES[mode if not times or parsed["attempt"] <= int(times) else "succeed"](home)
