"""Checkpoints on their way to the server: pushed one after the other while training goes on.

A checkpoint is held from the trainer's retention from the moment it is heard of until it is pushed. When the
network is slower than the trainer, periodic ones that were overtaken are left out: the newest is what a
resume needs, and best, pause and final ones always go.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from ingot.client import Client, IngotError
from ingot.v1 import transfer_pb2
from ingot.worker import assignments, folders, progress

log = logging.getLogger(__name__)

_KINDS = {
    "periodic": transfer_pb2.CHECKPOINT_KIND_PERIODIC,
    "pause": transfer_pb2.CHECKPOINT_KIND_PAUSE,
    "best": transfer_pb2.CHECKPOINT_KIND_BEST,
    "final": transfer_pb2.CHECKPOINT_KIND_FINAL,
}


class CheckpointPushes:
    """Pushes the checkpoints of one attempt from a thread of its own."""

    def __init__(
        self,
        client: Client,
        job: str,
        attempt: int,
        warn: Callable[[str], None],
        hopeless: Callable[[], bool],
    ) -> None:
        self._client = client
        self._job = job
        self._attempt = attempt
        self._warn = warn
        self._hopeless = hopeless
        self._waiting: deque[tuple[progress.Checkpoint, ExitStack]] = deque()
        self._busy = False
        self._closing = False
        self._abandoned = False
        self._failure: Exception | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="checkpoints", daemon=True)
        self._thread.start()

    def add(self, event: progress.Checkpoint) -> None:
        """Queue a checkpoint that is whole on disk."""
        held = ExitStack()
        held.enter_context(folders.hold(Path(event.folder)))
        with self._changed:
            overtaken = [item for item in self._waiting if item[0].checkpoint_kind == "periodic"]
            for item in overtaken:
                self._waiting.remove(item)
                item[1].close()
            self._waiting.append((event, held))
            self._changed.notify_all()

    def drain(self) -> None:
        """Wait until every queued checkpoint is committed. Raises what stopped one."""
        with self._changed:
            self._changed.wait_for(lambda: self._abandoned or not (self._waiting or self._busy))
            if self._failure is not None:
                raise self._failure

    def abandon(self) -> None:
        """Push nothing more: the attempt is somebody else's."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    def close(self) -> None:
        """Let go of what is held and stop the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        for _, held in self._waiting:
            held.close()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing or self._abandoned)
                if self._abandoned or not self._waiting:
                    return
                event, held = self._waiting.popleft()
                self._busy = True
            try:
                with held:
                    self._push(event)
            except Exception as error:  # noqa: BLE001  # this machine's disk, say: who drains is told of it
                self._failed(event, error)
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _push(self, event: progress.Checkpoint) -> None:
        """Push one, however long the server is away. Raises IngotError, and what this machine fails with."""
        pushed = assignments.persist(
            lambda: self._client.push_checkpoint(
                self._job,
                event.step,
                self._attempt,
                Path(event.folder),
                epoch=event.epoch,
                kind=_KINDS[event.checkpoint_kind],
                metrics=dict(event.metrics),
                world_size=1,
            ),
            stop=lambda: self._abandoned or self._hopeless(),
        )
        if pushed is not None:
            self._failure = None
            log.info("checkpoint.pushed job=%s step=%d kind=%s", self._job, event.step, event.checkpoint_kind)

    def _failed(self, event: progress.Checkpoint, error: Exception) -> None:
        """Take note of one that did not go; a periodic one may, without harm: the next is on its way."""
        why = error.message if isinstance(error, IngotError) else f"{type(error).__name__}: {error}"
        self._warn(f"The checkpoint of step {event.step} could not be pushed: {why}")
        if event.checkpoint_kind != "periodic":
            self._failure = error
