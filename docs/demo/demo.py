"""Show the whole way in a few minutes: push, train, pause, resume, pull, write a sentence, push again.

    make demo        or: python docs/demo/demo.py [--mib 48] [--steps 250] [--keep]

Server and worker run as processes of their own on free ports, in a temporary folder, and every step is a
command that can be typed. Each claim is checked; the first that does not hold ends the demo with an error.
All processes are ended by their ids, also after Ctrl-C.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

HERE = Path(__file__).resolve().parent
SAMPLES = HERE.parent / "samples"
BIN = Path(sys.executable).parent
STARTING, PAUSING, TRAINING = 60.0, 120.0, 900.0  # seconds that a step may take at most
WELL_BELOW = 0.5  # held-out loss over the entropy of single tokens
SMALL = 0.01  # of the dataset's bytes

CONFIG = HERE / "tiny.toml"
DEFAULT_STEPS = 250  # as the file says
QUESTIONS = ("What is the capital of Japan?", "پایتخت ایران کجاست؟")
EXTRA = {
    "messages": [{"role": "user", "content": "سلام!"}, {"role": "assistant", "content": "سلام، خوش آمدی!"}]
}


Process = subprocess.Popen[str] | subprocess.Popen[bytes]


class ClaimError(Exception):
    """Something the demo promises did not hold."""


def claim(holds: bool, text: str) -> None:
    """Print a claim that holds. Raises ClaimError for one that does not."""
    if not holds:
        raise ClaimError(f"this should have held: {text}")
    print(f"\033[1;32m✓\033[0m {text}" if sys.stdout.isatty() else f"✓ {text}", flush=True)


def main() -> int:
    """Run the demo in a temporary folder and return its exit code."""
    options = _parser().parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    folder = Path(tempfile.mkdtemp(prefix="ingot-demo-"))
    began = time.monotonic()
    try:
        with ExitStack() as stack:
            Demo(folder, options.mib, options.steps, stack).run()
        print(f"\nAll of that took {time.monotonic() - began:.0f} seconds. {NEXT}")
    except KeyboardInterrupt:
        _end_children()
        print("\nStopped; everything that was started is ended.", file=sys.stderr)
        return 130
    except (ClaimError, subprocess.SubprocessError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        _tell_logs(folder)
        return 1
    finally:
        if options.keep:
            print(f"Everything is in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


class Demo:
    """One run: its folder, its processes and its commands."""

    def __init__(self, folder: Path, mib: float, steps: int, stack: ExitStack) -> None:
        self.folder = folder
        self.mib, self.steps = mib, steps
        self.stack = stack
        self.dataset = folder / "chat"
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("INGOT_")},
            "INGOT_DATA_DIR": str(folder / "data"),
            "XDG_CONFIG_HOME": str(folder / "config"),  # the demo leaves no trace in yours
            "XDG_CACHE_HOME": str(folder / "cache"),
        }

    def run(self) -> None:
        """Do everything in its order."""
        self.start()
        self.push()
        job = self.train()
        self.write()
        self.push_again()
        self.ingot("jobs", "show", job)
        self.ingot("stats")

    # --- stages ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start server and worker, and sign in."""
        title("A server and a worker")
        command = [
            "ingot-server",
            "serve",
            "--data",
            self.folder / "data",
            "--listen",
            "127.0.0.1:0",
            "--json",
        ]
        server = self.process(command, "server.log", subprocess.PIPE)
        ready = json.loads(_first_line(server, STARTING) or "{}")
        claim(bool(ready), f"the server is ready at {', '.join(ready.get('listen', ()))}")
        self.ingot("login", "--server", ready["listen"][0], "--name", "demo")
        token = self.folder / "worker.token"
        made = ["tokens", "create", "--role", "worker", "--title", "demo worker", "-q"]
        secret = self.told(*made, shown=False)
        token.touch(mode=0o600)
        token.write_text(secret, encoding="utf-8")
        work = ["--token-file", token, "--dir", self.folder / "worker"]
        self.process(["ingot-worker", "run", "--server", ready["listen"][0], *work], "worker.log")
        online = wait_for(lambda: self.ingot_json("workers", "ls"), STARTING, "a worker that signs in")
        claim(bool(online), "a worker is there")
        self.ingot("workers", "ls")

    def push(self) -> None:
        """Make the dataset and push it."""
        title("A dataset goes in")
        self.dataset.mkdir()
        corpus = self.dataset / "corpus.jsonl"
        shown = [sys.executable, SAMPLES / "make_corpus.py", corpus, "--mib", self.mib]
        self.show(["python", SAMPLES / "make_corpus.py", corpus, "--mib", f"{self.mib:g}"])
        subprocess.run([str(word) for word in shown], check=True)
        for sample in SAMPLES.glob("*.jsonl"):
            shutil.copy(sample, self.dataset)
        fields = [
            "--language",
            "fa,en",
            "--tag",
            "chat",
            "-m",
            "generated chats and two hand-written samples",
        ]
        self.ingot("push", "datasets/chat", self.dataset, *fields)

    def train(self) -> str:
        """Train with a pause in the middle, and return the job's id."""
        title("DeepSpeed trains a model on it, and we follow")
        self.show(["cat", CONFIG])
        print(CONFIG.read_text(encoding="utf-8"))
        what = ["datasets/chat", "--output", "models/tiny", "--title", "demo", "--config", CONFIG]
        if self.steps != DEFAULT_STEPS:
            what += ["--set", f"maxSteps={self.steps}"]
        self.ingot("train", *what, "--plan")
        job = self.told("train", *what, "-q").removeprefix("trainingJobs/")
        eyes = Eyes(self.process(["ingot", "jobs", "watch", job, "--json"], "eyes.log", subprocess.PIPE))
        middle = self.steps // 4
        self.watch_until(job, lambda: eyes.step >= middle or eyes.ended)
        claim(not eyes.ended, f"the training has come to step {eyes.step} of {self.steps}")

        title("Pause: the checkpoint is saved and the process is gone")
        pids = trainers(self.folder)
        claim(bool(pids), f"the trainer is process {', '.join(map(str, pids))}")
        self.ingot("jobs", "pause", job)
        self.ingot("jobs", "wait", job, "--for", "paused", "--timeout", f"{PAUSING:g}")
        claim(not trainers(self.folder), "the trainer's process is gone")
        self.ingot("jobs", "checkpoints", job)

        title("Resume: it goes on where it was")
        self.ingot("jobs", "resume", job)
        self.ingot("jobs", "watch", job, "--after", eyes.seq, timeout=TRAINING)
        wait_for(lambda: eyes.ended, STARTING, "the end of the job in its log")
        self.judge(job, eyes)
        return job

    def judge(self, job: str, eyes: "Eyes") -> None:
        """Check what the training promised."""
        found = self.ingot_json("jobs", "show", job)
        claim(found["state"] == "TRAINING_JOB_STATE_SUCCEEDED", f"{job} succeeded")
        certificate = found.get("resume_certificate")
        claim(bool(certificate), "it was resumed from a checkpoint whose digest was verified")
        how = "exactly, bit by bit" if certificate["exact"] else f"not exactly: {certificate['reason']}"
        print(f"  resumed at step {certificate['step']}, {how}")
        entropy, loss = eyes.numbers["data_unigram_loss"], eyes.numbers["eval_loss"]
        claim(
            loss < WELL_BELOW * entropy,
            f"held-out loss {loss:.2f} is well below {entropy:.2f}, the entropy of its tokens one by one",
        )

    def write(self) -> None:
        """Pull the model, and let it write."""
        title("The model comes out, and writes a sentence")
        model = self.folder / "tiny"
        self.ingot("pull", "models/tiny", model)
        claim((model / "model.safetensors").is_file(), "it is a folder that transformers loads")
        words = set(re.findall(r"\w+", (self.dataset / "corpus.jsonl").read_text(encoding="utf-8")))
        texts = [self.told("generate", "models/tiny", each, "--temperature", "0") for each in QUESTIONS]
        claim(texts[0] != texts[1], "two questions get two different answers")
        for text in texts:
            told = re.findall(r"\w+", text)
            claim(len(told) >= 3 and set(told) <= words, f"an answer of known words: {text}")
        claim(
            text_is_persian(texts[1]) and not text_is_persian(texts[0]),
            "each in the language of its question",
        )

    def push_again(self) -> None:
        """Insert a line at the front and push again."""
        title("One line more at the front: only what is new travels")
        corpus = self.dataset / "corpus.jsonl"
        line = json.dumps(EXTRA, ensure_ascii=False)
        print(f"$ sed -i '1i {line}' {self.shown(corpus)}")
        before = corpus.read_bytes()
        corpus.write_bytes(line.encode() + b"\n" + before)
        self.ingot("push", "datasets/chat", self.dataset, "-m", "one line more")
        (upload, *_) = self.ingot_json("uploads", "ls")
        sent, size = upload["received_bytes"], upload["size_bytes"]
        claim(sent < SMALL * size, f"{sent:,} of {size:,} bytes reached the server: {sent / size:.2%}")

    # --- commands -------------------------------------------------------------------------------------------

    def ingot(self, *words: object, timeout: float = PAUSING) -> None:
        """Run a command as a person would. Raises ClaimError when it fails."""
        self.show(["ingot", *words])
        self.finish(subprocess.Popen(self.line(["ingot", *words]), env=self.environ), words, timeout)

    def told(self, *words: object, shown: bool = True) -> str:
        """Run a command and return what it printed; `shown` shows both."""
        if shown:
            self.show(["ingot", *words])
        command = self.line(["ingot", *words])
        running = subprocess.Popen(command, env=self.environ, stdout=subprocess.PIPE, text=True)
        printed: list[str] = []

        def read() -> None:
            for text in running.stdout or ():
                printed.append(text)
                if shown:
                    print(text, end="", flush=True)

        self.finish(running, words, PAUSING, read)
        return "".join(printed).strip()

    def finish(
        self,
        running: Process,
        words: Sequence[object],
        seconds: float,
        read: Callable[[], None] = lambda: None,
    ) -> None:
        """Wait for a command. Raises ClaimError when it fails, or takes longer than some seconds."""
        end = time.monotonic() + seconds
        with _ended(running, seconds):
            read()
        if running.returncode:
            late = running.returncode == -signal.SIGKILL and time.monotonic() >= end
            how = f"took longer than {seconds:g} s" if late else f"ended with {running.returncode}"
            raise ClaimError(f"`ingot {' '.join(map(str, words))}` {how}")

    def ingot_json(self, *words: str) -> Any:
        """Run a command without showing it and return the document it prints."""
        return json.loads(self.told(*words, "--json", shown=False))

    def watch_until(self, job: str, enough: Callable[[], bool]) -> None:
        """Follow a job in sight until it is enough, then leave with Ctrl-C."""
        command = ["ingot", "jobs", "watch", job]
        self.show(command)
        watch = subprocess.Popen(self.line(command), env=self.environ)
        with _ended(watch, TRAINING):
            wait_for(lambda: enough() or watch.poll() is not None, TRAINING, "progress of the training")
            if watch.poll() is None:
                watch.send_signal(signal.SIGINT)

    def process(
        self, command: Sequence[object], log: str, output: int | None = None
    ) -> "subprocess.Popen[str]":
        """Start a process that lives until the demo ends."""
        if list(command[:3]) != ["ingot", "jobs", "watch"]:
            self.show([*command, "&"])
        with (self.folder / log).open("wb") as errors:
            started = subprocess.Popen(
                self.line(command),
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=output or errors,
                stderr=errors,
                text=True,
                start_new_session=True,  # Ctrl-C reaches the demo alone, which ends the rest in order
            )
        self.stack.callback(_end, started)
        return started

    def line(self, command: Sequence[object]) -> list[str]:
        """Return a command as it is run: the programs beside this interpreter."""
        return [str(BIN / str(command[0])), *map(str, command[1:])]

    def show(self, command: Sequence[object]) -> None:
        """Print a command as a person would type it."""
        line = " ".join(self.shown(word) for word in command)
        print(f"\n\033[1m$ {line}\033[0m" if sys.stdout.isatty() else f"\n$ {line}", flush=True)

    def shown(self, word: object) -> str:
        """Return a word of a command, short and quoted where it must be."""
        text = str(word).replace(str(self.folder), "$DEMO").replace(f"{HERE.parent.parent}/", "")
        return f'"{text}"' if " " in text else text


class Eyes:
    """Follows a job's log beside what is shown, for the demo's own judgement."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.step = 0
        self.seq = 0
        self.ended = False
        self.numbers: dict[str, float] = {}
        self._process = process
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = json.loads(line).get("event")
            if event is None:
                continue
            self.seq = event["seq"]
            self.numbers.update(event.get("metrics", {}).get("values", {}))
            if event.get("progress", {}).get("unit") == "steps":
                self.step = event["progress"]["done"]
        self.ended = True


NEXT = """Try next:

  make run                                          the same on the standard port, with its data in .run/
  .venv/bin/ingot --help                            every command; each --help has two examples that work
  .venv/bin/ingot push datasets/mine FOLDER         your own chats, questions and answers, or plain text
  .venv/bin/ingot train datasets/mine -o models/mine --watch
  .venv/bin/ingot generate models/mine --chat
"""


def title(text: str) -> None:
    """Print the title of a stage."""
    line = f"── {text} " + "─" * max(0, 90 - len(text))
    print(f"\n\n\033[1;36m{line}\033[0m" if sys.stdout.isatty() else f"\n\n{line}", flush=True)


def trainers(folder: Path) -> list[int]:
    """Return the ids of the training processes that work in this folder."""
    listed = subprocess.run(
        ["ps", "-axww", "-o", "pid=,command="], capture_output=True, text=True, check=True
    )
    lines = [line.split(None, 1) for line in listed.stdout.splitlines()]
    return [
        int(pid) for pid, command in lines if "ingot.worker.attempt" in command and str(folder) in command
    ]


def text_is_persian(text: str) -> bool:
    """Return whether most letters are of the Arabic script."""
    letters = [letter for letter in text if letter.isalpha()]
    return sum("\u0600" <= letter <= "\u06ff" for letter in letters) * 2 > len(letters)


def wait_for(probe: Callable[[], object], seconds: float, what: str) -> object:
    """Return the first true answer. Raises ClaimError when there is none in time."""
    end = time.monotonic() + seconds
    while not (answer := probe()):
        if time.monotonic() > end:
            raise ClaimError(f"waited {seconds:g} s for {what}")
        time.sleep(0.2)
    return answer


@contextmanager
def _ended(process: Process, seconds: float) -> Iterator[None]:
    """Wait for a process after the block, at most so long from now, and end it when the block fails."""
    alarm = _alarm(process, seconds)
    try:
        yield
        process.wait()
    finally:
        alarm.cancel()
        if process.poll() is None:
            _end(process)


def _alarm(process: Process, seconds: float) -> threading.Timer:
    """Kill a process so long from now, unless it is cancelled."""
    alarm = threading.Timer(seconds, process.kill)
    alarm.daemon = True  # an interrupt while it starts leaves it behind, and the demo would wait for it
    alarm.start()
    return alarm


def _end_children() -> None:
    """End what was being started when the demo was interrupted, which nothing else knows of."""
    children = psutil.Process().children(recursive=True)
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.terminate()
    for child in psutil.wait_procs(children, 30)[1]:
        with suppress(psutil.NoSuchProcess):
            child.kill()


def _end(process: Process) -> None:
    """End one process: ask, wait, then insist."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _first_line(process: "subprocess.Popen[str]", seconds: float) -> str:
    """Return the first line of a process, or nothing when it ends or takes too long."""
    assert process.stdout is not None
    alarm = _alarm(process, seconds)
    try:
        return process.stdout.readline()
    finally:
        alarm.cancel()


def _tell_logs(folder: Path) -> None:
    """Print the last lines of every process that may know why."""
    logs = [folder / "server.log", folder / "worker.log", *folder.glob("worker/jobs/*/logs/*.log")]
    for log in logs:
        if log.exists() and (text := log.read_text(encoding="utf-8", errors="replace").strip()):
            print(f"--- {log.name} ---\n" + "\n".join(text.splitlines()[-20:]), file=sys.stderr)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Push, train, pause, resume, pull, write a sentence, push again."
    )
    # A chunk is at most 1 MiB and often half of that: in 48 MiB a changed one is less than a hundredth.
    parser.add_argument("--mib", type=float, default=48.0, help="size of the dataset (default 48)")
    parser.add_argument("--steps", type=int, default=DEFAULT_STEPS, help="steps to train (default 250)")
    parser.add_argument("--keep", action="store_true", help="keep the folder of the demo")
    return parser


if __name__ == "__main__":
    sys.exit(main())
