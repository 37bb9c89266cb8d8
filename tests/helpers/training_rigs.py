"""A server of training, workers and operations, and a worker that speaks the real stubs without training.

    with training_rig() as rig:
        job = rig.sara.training.CreateTrainingJob(…)
        worker = rig.worker()
        held = worker.claim()
        worker.report(held, {"state": …})

Rules, rows, pipeline and gRPC are the server's own, over a file; the catalog and the trees are those of
jobs.py.
"""

import contextlib
import dataclasses
import itertools
import pathlib
import tempfile
from collections.abc import Iterator

import grpc

from helpers import channels, loops
from helpers.jobs import DATASET, OUTPUT, Bench, machine, person
from helpers.pipelines import FixedIdentity, bearer
from helpers.servers import _Credentials as Credentialed
from ingot.server.core.artifacts import NewVersion
from ingot.server.core.clock import SystemClock
from ingot.server.core.identity import Role
from ingot.server.rpc.credentials import Credentials
from ingot.server.rpc.hops import Hops
from ingot.server.rpc.pipeline import Pipeline
from ingot.server.rpc.server import GrpcServer
from ingot.server.settings.fields import Settings
from ingot.v1 import (
    common_pb2,
    operations_pb2_grpc,
    training_pb2,
    training_pb2_grpc,
    workers_pb2,
    workers_pb2_grpc,
)


class Stubs:
    """The three services, called with one token."""

    def __init__(self, channel: grpc.Channel, token: str) -> None:
        called = grpc.intercept_channel(channel, Credentialed(bearer(token)))
        self.training = training_pb2_grpc.TrainingServiceStub(called)
        self.workers = workers_pb2_grpc.WorkersServiceStub(called)
        self.operations = operations_pb2_grpc.OperationsServiceStub(called)


class FakeWorker:
    """A worker as the server sees one: it claims, beats, reports and finishes as it is told by the test."""

    def __init__(self, rig: "Rig", name: str, **facts: object) -> None:
        self._rig = rig
        self.stub = rig.stubs("machine").workers
        device = workers_pb2.Device(kind="cpu", name="EPYC", memory_bytes=24 << 30, count=2)
        request = workers_pb2.RegisterWorkerRequest(display_name=name, devices=[device], **facts)  # type: ignore[arg-type]
        self.registered: workers_pb2.RegisterWorkerResponse = self.stub.RegisterWorker(request)
        self.name = self.registered.worker.name
        self._seq = itertools.count(1)

    def claim(
        self, kind: workers_pb2.WorkKind.ValueType = workers_pb2.WORK_KIND_UNSPECIFIED
    ) -> workers_pb2.Assignment:
        """Claim work; the assignment is empty when there is none."""
        reply = self.stub.ClaimWork(workers_pb2.ClaimWorkRequest(worker=self.name, kind=kind))
        return reply.assignment

    def event(self, **body: object) -> workers_pb2.ReportedEvent:
        """Make an event with the next producer number."""
        event = workers_pb2.ReportedEvent(producer_seq=next(self._seq), **body)  # type: ignore[arg-type]
        event.time.GetCurrentTime()
        return event

    def report(
        self, work: workers_pb2.Assignment, *events: workers_pb2.ReportedEvent
    ) -> workers_pb2.ReportEventsResponse:
        """Report events of claimed work."""
        return self.stub.ReportEvents(
            workers_pb2.ReportEventsRequest(
                worker=self.name, name=work.name, attempt=work.attempt, events=events
            )
        )

    def log(self, work: workers_pb2.Assignment, *lines: str) -> None:
        """Report log lines of rank 0."""
        level = common_pb2.LOG_LEVEL_INFO
        self.report(
            work, *(self.event(log=common_pb2.LogLine(level=level, rank=0, text=line)) for line in lines)
        )

    def run(self, work: workers_pb2.Assignment) -> None:
        """Report that training has begun."""
        self.report(work, self.event(state=training_pb2.TRAINING_JOB_STATE_RUNNING))

    def beat(self, work: workers_pb2.Assignment) -> workers_pb2.WorkOrder:
        """Send a heartbeat for claimed work."""
        held = workers_pb2.HeldWork(name=work.name, attempt=work.attempt)
        reply = self.stub.Heartbeat(workers_pb2.HeartbeatRequest(worker=self.name, work=[held]))
        return reply.orders[0]

    def finish(
        self, work: workers_pb2.Assignment, outcome: workers_pb2.WorkOutcome.ValueType, **more: object
    ) -> workers_pb2.FinishWorkResponse:
        """End claimed work."""
        return self.stub.FinishWork(
            workers_pb2.FinishWorkRequest(
                worker=self.name,
                name=work.name,
                attempt=work.attempt,
                outcome=outcome,
                **more,  # type: ignore[arg-type]
            )
        )

    def succeed(self, work: workers_pb2.Assignment) -> training_pb2.TrainingJob:
        """Commit a result and end well."""
        target = NewVersion(artifact=OUTPUT, training_job=work.name, attempt=work.attempt)
        bench = self._rig.bench
        bench.write(bench.rules.checkpoints.commit_result, machine(), target, OUTPUT.version("1"))
        return self.finish(work, workers_pb2.WORK_OUTCOME_SUCCEEDED).training_job


@dataclasses.dataclass(slots=True)
class Rig:
    """A running server."""

    bench: Bench
    address: str
    _channels: contextlib.ExitStack

    def stubs(self, token: str) -> Stubs:
        """Return stubs over a connection of their own; tokens are sara, omid, root and machine."""
        return Stubs(self._channels.enter_context(channels.connected(self.address)), token)

    @property
    def sara(self) -> Stubs:
        """Stubs of the member whose namespace has the dataset."""
        return self.stubs("sara")

    def worker(self, name: str = "one", **facts: object) -> FakeWorker:
        """Register a worker."""
        return FakeWorker(self, name, **facts)

    def job(self, **fields: object) -> training_pb2.TrainingJob:
        """Create and start a job of sara."""
        request = training_pb2.CreateTrainingJobRequest(
            dataset=str(DATASET),
            output_artifact=str(OUTPUT),
            start=True,
            **fields,  # type: ignore[arg-type]
        )
        return self.sara.training.CreateTrainingJob(request).training_job


@contextlib.contextmanager
def training_rig(settings: Settings | None = None) -> Iterator[Rig]:
    """Serve for the length of a with block."""
    with tempfile.TemporaryDirectory(prefix="ingot-test-") as folder, contextlib.ExitStack() as stack:
        path = pathlib.Path(folder)
        clock = SystemClock()
        bench = Bench(settings, f"sqlite:///{path / 'ingot.db'}", clock)
        stack.callback(bench.database.close)
        hops = stack.enter_context(contextlib.closing(Hops(bench.database)))
        identity = FixedIdentity()
        identity.callers |= {
            "sara": person(),
            "omid": person("omid"),
            "root": person("root", Role.ADMIN),
            "machine": machine(),
        }

        async def start() -> GrpcServer:
            pipeline = Pipeline(
                Credentials(hops, identity, clock), lambda activity: None, clock, unary_seconds=300.0
            )
            server = GrpcServer(pipeline, health=False, reflection=False)
            bench.rules.serve(hops, server.server)
            await server.start([], path / "s")
            return server

        server = loops.run(start())
        stack.callback(lambda: loops.run(server.drain(0)))
        yield Rig(bench, f"unix:{path / 's'}", stack.enter_context(contextlib.ExitStack()))
