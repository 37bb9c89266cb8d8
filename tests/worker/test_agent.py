"""The agent's loops go on whatever one turn of them meets."""

import threading
from collections.abc import Iterator
from pathlib import Path

from helpers.eventually import eventually
from ingot.client import Client
from ingot.client._workers import Workers
from ingot.v1 import workers_pb2
from ingot.worker.agent import Agent, Options


class NoWork(Workers):
    """A server that knows the worker and has nothing to do; the first heartbeat fails as nobody foresaw."""

    def __init__(self) -> None:
        self.beats = 0

    def register(self, *rest: object, **more: object) -> workers_pb2.RegisterWorkerResponse:
        reply = workers_pb2.RegisterWorkerResponse(worker=workers_pb2.Worker(name="workers/worker_1"))
        reply.heartbeat_interval.FromMilliseconds(1)
        return reply

    def claim(self, *rest: object, **more: object) -> None:
        return None

    def heartbeat(self, *rest: object, **more: object) -> workers_pb2.HeartbeatResponse:
        self.beats += 1
        if self.beats == 1:
            raise OSError(5, "Input/output error")
        return workers_pb2.HeartbeatResponse()

    def watch(self, *rest: object, **more: object) -> Iterator[workers_pb2.WatchWorkerResponse]:
        return iter(())


def test_a_heartbeat_that_fails_in_any_way_is_not_the_last(tmp_path: Path) -> None:
    workers = NoWork()
    with Client("127.0.0.1:1", "token", namespace="sara", user="") as client:
        vars(client)["workers"] = workers
        agent = Agent(client, Options("one", tmp_path, devices="cpu"))
        thread = threading.Thread(target=agent.run)
        thread.start()
        try:
            eventually(lambda: workers.beats > 1, what="another heartbeat")
        finally:
            agent.stop()
            thread.join()
