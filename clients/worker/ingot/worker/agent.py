"""The agent: registers this machine, claims work, keeps its leases, and hands each piece to a run.

    Agent(client, options).run()      until stop() is called, or once one piece of work is done

The main thread claims. A heartbeat thread extends the leases every few seconds, hears what the server asks of
each piece of work, and looks after the runs. A watch thread wakes the others the moment something changes;
losing it only costs a heartbeat. One training job and one text generation run at a time. No torch here.
"""

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ingot.client import Client, IngotError, NotFound, Precondition
from ingot.v1 import workers_pb2
from ingot.worker import assignments, check
from ingot.worker.generation_run import GenerationRun, WarmModel
from ingot.worker.training_run import TrainingRun
from ingot.worker.trees import Trees

log = logging.getLogger(__name__)

CLAIM_INTERVAL = 5.0  # seconds between claims when no hint comes
AWAY_PAUSE = 2.0  # seconds between tries while the server is away
KINDS = (workers_pb2.WORK_KIND_TRAINING, workers_pb2.WORK_KIND_GENERATION)


@dataclass(frozen=True, slots=True)
class Options:
    """How a worker runs; devices are cpu, cuda or auto."""

    name: str
    folder: Path
    devices: str = "auto"
    once: bool = False  # leave after one piece of work


class Run(Protocol):
    """One claimed piece of work."""

    name: str
    attempt: int

    def run(self) -> None:
        """Do it; returns when nothing of it runs any more."""
        ...

    def obey(self, order: workers_pb2.WorkOrder) -> None:
        """Do what the server asks."""
        ...

    def release(self) -> None:
        """Save and let go: this machine stops."""
        ...

    def watch(self) -> None:
        """Look after it; called about once a second."""
        ...


class Agent:
    """One worker on this machine."""

    def __init__(self, client: Client, options: Options) -> None:
        self._client = client
        self._options = options
        self._trees = Trees(options.folder / "trees", self._pull)
        gpu = {"cpu": False, "cuda": True}.get(options.devices)
        self._model = WarmModel(self._trees, options.folder / "logs", gpu)
        self._runs: dict[workers_pb2.WorkKind.ValueType, tuple[Run, threading.Thread]] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._wake_claim = threading.Event()
        self._wake_beat = threading.Event()
        self._worker = ""
        self._draining = False
        self._beat_seconds = 5.0
        self._done = 0

    def run(self) -> None:
        """Work until stopped. Raises IngotError when the server refuses this worker."""
        self._register()
        threads = [
            threading.Thread(target=self._beat, name="heartbeat", daemon=True),
            threading.Thread(target=self._watch, name="watch", daemon=True),
        ]
        for thread in threads:
            thread.start()
        while not self._stopping.is_set() and not (self._options.once and self._done):
            claimed = [self._claim(kind) for kind in KINDS if self._is_free(kind)]
            if not any(claimed):
                self._wake_claim.wait(CLAIM_INTERVAL)
                self._wake_claim.clear()
            self._model_upkeep()
        self._leave()
        self._stopping.set()
        self._wake_beat.set()
        threads[0].join()

    def stop(self) -> bool:
        """Take no more work, save and give back what runs; return whether that was asked before.

        Safe to call from a signal handler.
        """
        asked_before = self._stopping.is_set()
        self._stopping.set()
        self._wake_claim.set()
        return asked_before

    def _pull(self, tree: str, folder: Path, progress: Callable[[int, int], None]) -> None:
        # The folder is the worker's own: whatever else is in the way there is damage.
        self._client.pull(
            tree, folder, force=True, on_progress=lambda now: progress(now.bytes_done, now.bytes_total)
        )

    def _register(self) -> None:
        findings = check.software(self._options.folder)
        wanted = self._options.devices
        found = [check.processor()] if wanted == "cpu" else check.devices()  # the latter loads torch
        devices = [_device(device) for device in found if wanted in ("auto", device.kind)]
        reply = assignments.persist(
            lambda: self._client.workers.register(
                self._options.name,
                devices=devices,
                versions={finding.name: finding.found for finding in findings if finding.fine},
                missing_software=[f"{item.name}: {item.found}" for item in findings if not item.fine],
                free_disk_bytes=self._free_disk(),
            ),
            stop=self._stopping.is_set,
        )
        if reply is None:
            return
        self._worker = reply.worker.name
        self._beat_seconds = reply.heartbeat_interval.ToTimedelta().total_seconds() or self._beat_seconds
        log.info("worker.registered name=%s devices=%d", self._worker, len(devices))

    def _is_free(self, kind: workers_pb2.WorkKind.ValueType) -> bool:
        with self._lock:
            held = self._runs.get(kind)
            if held is not None and not held[1].is_alive():
                del self._runs[kind]
                self._done += 1
                held = None
        return held is None and not self._draining

    def _claim(self, kind: workers_pb2.WorkKind.ValueType) -> bool:
        try:
            assignment = self._client.workers.claim(self._worker, kind)
        except NotFound:
            self._register()
            return False
        except Precondition as error:
            log.info("worker.not_claiming reason=%s", error.reason)
            return False
        except IngotError as error:
            if not assignments.passes(error):
                raise
            assignments.tell_away(error)
            self._stopping.wait(AWAY_PAUSE)
            return False
        if assignment is None:
            return False
        self._begin(kind, assignment)
        return True

    def _begin(self, kind: workers_pb2.WorkKind.ValueType, assignment: workers_pb2.Assignment) -> None:
        log.info("work.claimed name=%s attempt=%d", assignment.name, assignment.attempt)
        run: Run
        if assignment.HasField("training"):
            run = TrainingRun(self._client, self._worker, assignment, self._options.folder, self._trees)
        else:
            run = GenerationRun(self._client, self._worker, assignment, self._model)

        def work() -> None:
            run.run()
            self._wake_claim.set()

        thread = threading.Thread(target=work, name=assignment.name)
        with self._lock:
            self._runs[kind] = (run, thread)
        thread.start()

    def _beat(self) -> None:
        next_beat = 0.0
        while not self._stopping.is_set() or self._current():
            try:
                for run in self._current():
                    run.watch()
                if time.monotonic() >= next_beat or self._wake_beat.is_set():
                    self._wake_beat.clear()
                    next_beat = time.monotonic() + self._beat_seconds
                    self._heartbeat()
            except Exception:  # without this thread every lease runs out: the next beat comes anyway
                log.exception("heartbeat.broken")
            self._wake_beat.wait(1.0)

    def _heartbeat(self) -> None:
        runs = self._current()
        try:
            reply = self._client.workers.heartbeat(
                self._worker,
                [(run.name, run.attempt) for run in runs],
                free_disk_bytes=self._free_disk(),
                timeout=self._beat_seconds,
            )
        except IngotError as error:
            log.warning("heartbeat.failed reason=%s", error.reason or type(error).__name__)
            return
        self._draining = reply.drain
        for order in reply.orders:
            self._pass_on(order)

    def _watch(self) -> None:
        while not self._stopping.is_set():
            try:
                for message in self._client.workers.watch(self._worker):
                    if message.HasField("order"):
                        self._pass_on(message.order)
                    else:
                        self._wake_claim.set()
                    if self._stopping.is_set():
                        return
            except IngotError as error:
                log.info("watch.lost reason=%s", error.reason or type(error).__name__)
            self._stopping.wait(AWAY_PAUSE)

    def _pass_on(self, order: workers_pb2.WorkOrder) -> None:
        for run in self._current():
            if run.name == order.name and run.attempt == order.attempt:
                run.obey(order)

    def _current(self) -> list[Run]:
        with self._lock:
            return [run for run, thread in self._runs.values() if thread.is_alive()]

    def _model_upkeep(self) -> None:
        if self._is_free(workers_pb2.WORK_KIND_GENERATION):
            self._model.close_when_idle()
        self._trees.prune()

    def _leave(self) -> None:
        for run in self._current():
            run.release()
        with self._lock:
            threads = [thread for _, thread in self._runs.values()]
        for thread in threads:
            thread.join()
        self._model.close()
        log.info("worker.stopped name=%s", self._worker)

    def _free_disk(self) -> int:
        return shutil.disk_usage(self._options.folder).free


def _device(device: check.Device) -> workers_pb2.Device:
    cores = os.cpu_count() or 1
    return workers_pb2.Device(
        kind=device.kind,
        name=device.name,
        memory_bytes=device.memory_bytes,
        count=cores if device.kind == "cpu" else 1,
    )
