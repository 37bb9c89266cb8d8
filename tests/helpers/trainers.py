"""A worker's token at work: what a training needs of the server, without a trainer."""

import pathlib

from helpers.servers import Server
from ingot.client import Client
from ingot.v1 import training_pb2, transfer_pb2, workers_pb2

DATASET = "namespaces/sara/datasets/chat"
BASE = "namespaces/sara/models/base"
OUTPUT = "namespaces/sara/models/tiny"


def folder(path: pathlib.Path, **files: str) -> pathlib.Path:
    path.mkdir(parents=True)
    for name, text in files.items():
        (path / name).write_text(text, encoding="utf-8")
    return path


class Trainer:
    """A worker's token: the client that pushes and pulls with it, and the name it registered under."""

    def __init__(self, server: Server) -> None:
        self.token = server.worker_token()
        self.client = Client(server.address, self.token)
        self.stub = server.stubs(self.token).workers
        request = workers_pb2.RegisterWorkerRequest(display_name="one")
        self.name = self.stub.RegisterWorker(request).worker.name

    def claim(self) -> workers_pb2.Assignment:
        return self.stub.ClaimWork(workers_pb2.ClaimWorkRequest(worker=self.name)).assignment

    def finish(
        self, work: workers_pb2.Assignment, outcome: workers_pb2.WorkOutcome.ValueType
    ) -> training_pb2.TrainingJob:
        request = workers_pb2.FinishWorkRequest(
            worker=self.name, name=work.name, attempt=work.attempt, outcome=outcome
        )
        return self.stub.FinishWork(request).training_job

    def save(self, work: workers_pb2.Assignment, step: int, made: pathlib.Path) -> None:
        kind = transfer_pb2.CHECKPOINT_KIND_PERIODIC
        self.client.push_checkpoint(
            work.name, step, work.attempt, made, kind=kind, metrics={"eval_loss": 1 / step}
        )


def start_job(server: Server, tmp_path: pathlib.Path) -> training_pb2.TrainingJob:
    with Client(server.address, server.token("sara")) as sara:
        sara.push(DATASET, folder(tmp_path / "data", **{"train.jsonl": '{"text": "سلام"}\n'}))
        sara.push(BASE, folder(tmp_path / "base", **{"model.safetensors": "weights", "config.json": "{}"}))
    request = training_pb2.CreateTrainingJobRequest(
        dataset=DATASET,
        base_model=BASE,
        output_artifact=OUTPUT,
        config=training_pb2.TrainingConfig(save_total_limit=1),
        start=True,
    )
    return server.member().training.CreateTrainingJob(request).training_job
