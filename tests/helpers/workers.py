"""The real `ingot-worker` as a process, and small jobs for it."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from ingot.client import Client

WORKER = Path(sys.executable).parent / "ingot-worker"
TINY = {  # trains in seconds; dropout and an epoch edge inside, so that a resume has something to get wrong
    "hidden_size": 32,
    "num_layers": 1,
    "num_heads": 2,
    "vocab_size": 320,
    "max_sequence_length": 32,
    "batch_size": 4,
    "learning_rate": 0.001,
    "dropout": 0.1,
    "epochs": 3,
    "train_split": 0.8,
    "val_split": 0.1,
    "test_split": 0.1,
    "logging_steps": 1,
    "eval_steps": 1000,
    "save_steps": 10,
    "save_total_limit": 2,
    "cpu_only": True,
}


class WorkerProcess:
    """A running worker."""

    def __init__(self, process: "subprocess.Popen[bytes]", folder: Path) -> None:
        self.process = process
        self.folder = folder

    def trainers(self) -> list[int]:
        """Return the process ids of the trainers it runs now."""
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.process.pid).children(recursive=True)
            return [child.pid for child in children if _is_trainer(child)]
        return []

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(100)

    def stop(self) -> int:
        """Ask it to leave and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(100)


def _is_trainer(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return any("ingot.worker.attempt" in part for part in process.cmdline())
    return False


@contextlib.contextmanager
def worker_process(address: str, token: str, folder: Path, name: str = "tester") -> Iterator[WorkerProcess]:
    """Run a worker for the length of a with block; its own log is FOLDER/worker.log."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "INGOT_TOKEN": token}
    command = [str(WORKER), "run", "--server", address, "--dir", str(folder)]
    command += ["--name", name, "--devices", "cpu"]
    with (folder / "worker.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield WorkerProcess(process, folder)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def write_dataset(path: Path, records: int = 120) -> Path:
    """Write chats in two scripts as JSON Lines."""
    lines = [
        f'{{"messages": [{{"role": "user", "content": "سؤال {n} چیست؟ what is {n}?"}}, '
        f'{{"role": "assistant", "content": "پاسخ {n * 7} است. it is {n * 7}."}}]}}\n'
        for n in range(records)
    ]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def losses(client: Client, job: str) -> dict[int, str]:
    """Return the loss of every step as hexadecimal floats; a step reported twice must have said the same."""
    found: dict[int, str] = {}
    for message in client.training.watch(job):
        if message.WhichOneof("message") != "event" or message.event.WhichOneof("body") != "metrics":
            continue
        metrics = message.event.metrics
        if "loss" in metrics.values:
            said = metrics.values["loss"].hex()
            assert found.setdefault(metrics.step, said) == said, f"step {metrics.step} said two losses"
    return found
