"""The command `ingot-worker`: run a worker on this machine, or check what the machine lacks.

ingot-worker run --server 127.0.0.1:7070 --devices auto
ingot-worker check
"""

import argparse
import fcntl
import json
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from ingot.content import malloc
from ingot.worker import check

LOCK_SECONDS = 45.0  # a worker whose server was killed saves and leaves within this
LOCK_PAUSE = 0.25


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    return run(options) if options.command == "run" else report(options)


def run(options: argparse.Namespace) -> int:
    """Work for a server until told to stop."""
    malloc.raise_thresholds()
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # a server that stops is no news
    # gRPC is loaded here, so that `check` works on a machine that lacks it.
    from ingot.client import Client, IngotError, TlsFiles
    from ingot.worker.agent import Agent, Options

    logging.basicConfig(level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(message)s")
    folder = Path(options.dir).expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(
            f"error: the work folder {folder} cannot be made: {error}. Choose another with --dir.",
            file=sys.stderr,
        )
        return 1
    lock = hold(folder)
    if lock is None:
        words = f"error: another worker works in {folder}. Stop it, or choose another folder with --dir."
        print(words, file=sys.stderr)
        return 1
    try:
        token = Path(options.token_file).read_text(encoding="utf-8").strip() if options.token_file else None
    except (OSError, ValueError) as error:  # ValueError: it is no text
        print(f"error: the token file cannot be read: {error}. Check --token-file.", file=sys.stderr)
        return 1
    try:
        with Client(options.server, token, tls=TlsFiles(options.ca, options.cert, options.key)) as client:
            agent = Agent(client, Options(options.name, folder, options.devices, options.once))

            def leave(_signal: int, _frame: FrameType | None) -> None:
                if agent.stop():
                    os._exit(130)

            signal.signal(signal.SIGTERM, leave)
            signal.signal(signal.SIGINT, leave)
            print(f"worker {options.name} works for {client.endpoint.shown} in {folder}", flush=True)
            agent.run()
    except IngotError as error:
        print(
            f"error: {error.message}" + (f"\n       {error.next_step}" if error.next_step else ""),
            file=sys.stderr,
        )
        return error.exit_code
    return 0


def hold(folder: Path) -> BinaryIO | None:
    """Lock a work folder for this process; None when another worker does not leave it in time."""
    file = (folder / "lock").open("ab")
    for _ in range(int(LOCK_SECONDS / LOCK_PAUSE)):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_PAUSE)
        else:
            return file
    file.close()
    return None


def report(options: argparse.Namespace) -> int:
    """Say what this machine can do and what it lacks; with --train prove it by training for two steps."""
    folder = Path(options.dir).expanduser().absolute()
    findings = check.software(folder)
    problem = check.missing(findings)
    devices = check.devices() if problem is None else []
    rehearsal = None
    if options.train and problem is None:
        scratch = Path(tempfile.mkdtemp(prefix="ingot-check-"))
        try:
            rehearsal = check.rehearse(scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    fine = problem is None and (rehearsal is None or rehearsal.outcome == "succeeded")
    if options.json:
        document = {
            "can_train": fine,
            "findings": [
                {"name": item.name, "found": item.found, "fine": item.fine, "next_step": item.next_step}
                for item in findings
            ],
            "devices": [
                {"kind": item.kind, "name": item.name, "memory_bytes": item.memory_bytes} for item in devices
            ],
            "rehearsal": None if rehearsal is None else rehearsal.outcome,
        }
        print(json.dumps(document, indent=2))
        return 0 if fine else 1
    for item in findings:
        print(f"{'ok     ' if item.fine else 'MISSING'} {item.name:14} {item.found}")
        if not item.fine:
            print(f"        {item.next_step}")
    for device in devices:
        print(f"ok      {device.kind:14} {device.name}, {device.memory_bytes / 1e9:.1f} GB")
    if rehearsal is not None:
        words = "trained two steps" if fine else f"failed: {rehearsal.problem}"
        print(f"{'ok     ' if fine else 'FAILED '} rehearsal      {words}")
    print("This machine can train." if fine else "This machine cannot train yet.")
    return 0 if fine else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ingot-worker", description="Train models for an Ingot server.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    examples = (
        "examples:\n  ingot-worker run\n"
        "  ingot-worker run --server 127.0.0.1:7070 --name a100 --devices cuda\n"
        "  ingot-worker run --server https://ingot.example:7070 --token-file worker.token --ca ca.pem"
    )
    running = commands.add_parser(
        "run", help="work for a server", epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    running.add_argument("-s", "--server", help="address; else INGOT_SERVER, the context, or a server here")
    running.add_argument("--token-file", help="file with a worker's token; else INGOT_TOKEN or the context")
    running.add_argument("--ca", default="", metavar="FILE", help="authorities to trust, for TLS")
    running.add_argument("--cert", default="", metavar="FILE", help="certificate of this worker, for TLS")
    running.add_argument("--key", default="", metavar="FILE", help="and its key")
    running.add_argument("--name", default=socket.gethostname(), help="name of this worker (the host's)")
    running.add_argument(
        "--devices", choices=("auto", "cpu", "cuda"), default="auto", help="what to train on"
    )
    running.add_argument("--dir", default=_standard_folder(), help="folder for inputs and checkpoints")
    running.add_argument("--once", action="store_true", help="leave after one piece of work")
    running.add_argument("--log-level", choices=("debug", "info", "warning"), default="info")
    checking = commands.add_parser(
        "check",
        help="say what this machine lacks for training",
        epilog="examples:\n  ingot-worker check\n  ingot-worker check --train --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    checking.add_argument("--train", action="store_true", help="also train a tiny model for two steps")
    checking.add_argument("--json", action="store_true", help="print one JSON document")
    checking.add_argument("--dir", default=_standard_folder(), help="folder whose disk is looked at")
    return parser


def _standard_folder() -> str:
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return os.environ.get("INGOT_WORKER_DIR") or f"{cache}/ingot/worker"


if __name__ == "__main__":
    sys.exit(main())
