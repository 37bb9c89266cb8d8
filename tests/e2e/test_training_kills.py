"""Server, worker and trainer as real processes, each killed in the middle: training goes on, nothing changes.

An undisturbed run gives the losses of every step as hexadecimal floats. Whatever is killed, the job must end
with the same ones, each step reported with one value only, in a gapless log. One job goes through it all;
what each kill does by itself, at any step, is left to the long tests.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.command_lines import CommandLine
from helpers.eventually import eventually
from helpers.processes import ServerProcess, server_process
from helpers.runners import alive
from helpers.workers import TINY, WorkerProcess, losses, worker_process, write_dataset
from ingot.client import Client
from ingot.v1 import training_pb2

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

LEASE = {
    "INGOT_WORKER_LEASE_SECONDS": "12",  # no pause of a busy machine is taken for a death
    "INGOT_WORKER_HEARTBEAT_SECONDS": "1",
    "INGOT_TRAINING_RETRY_SECONDS": "0",
}

SMALL = TINY | {"epochs": 6}  # enough steps for four accidents


class Stage:
    """A server, its administrator and a dataset."""

    def __init__(self, server: ServerProcess, scratch: Path) -> None:
        self.server = server
        self.scratch = scratch
        # The socket, which is the same after a restart; a port may have become somebody else's meanwhile.
        self.address = f"unix:{server.facts['socket']}"
        self.client = Client(self.address, server.admin_token)
        self.worker_token = self.client.auth.create_token(display_name="a worker", role="worker").secret
        self.client.push("datasets/chat", write_dataset(scratch / "chat.jsonl"))

    def job(self, output: str = "models/out", **config: object) -> str:
        """Create and start a small job; return its name."""
        job = self.client.training.create("datasets/chat", output=output, config=SMALL | config, start=True)
        return job.name

    def until_step(self, job: str, step: int) -> None:
        """Wait until a step was reported."""
        for message in self.client.training.watch(job):
            if message.HasField("event") and message.event.metrics.step >= step:
                return
        raise AssertionError(f"{job} ended before step {step}")

    def state(self, job: str) -> str:
        """Return the name of the job's state without its prefix."""
        name = training_pb2.TrainingJobState.Name(self.client.training.get(job).state)
        return name.removeprefix("TRAINING_JOB_STATE_")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Serve for all tests of this file."""
    scratch = tmp_path_factory.mktemp("stage")
    with server_process(scratch / "data", environment=LEASE) as server:
        yield Stage(server, scratch)


@pytest.fixture(scope="module")
def undisturbed(stage: Stage) -> dict[int, str]:
    """Train without any accident and return the loss of every step."""
    with worker_process(stage.address, stage.worker_token, stage.scratch / "calm") as _:
        job = stage.job()
        found = losses(stage.client, job)
        assert stage.state(job) == "SUCCEEDED"
    return found


@pytest.fixture(scope="module")
def model(stage: Stage, undisturbed: dict[int, str]) -> str:
    """Return the digest of what the training without any accident made."""
    return stage.client.catalog.version("models/out@1").digest


def trainer_of(worker: WorkerProcess) -> int:
    """Return the process id of the worker's only trainer once there is one."""
    return eventually(worker.trainers, timeout=100, what="the trainer starts")[0]


@pytest.mark.contract("S0-52", "S0-56", "S0-57", "S0-58")
def test_one_job_outlives_its_trainer_its_worker_a_pause_and_its_server(
    undisturbed: dict[int, str], model: str, tmp_path: Path
) -> None:
    with server_process(tmp_path / "data", environment=LEASE) as server:
        stage = Stage(server, tmp_path)
        address, token = stage.address, stage.worker_token
        job = stage.job()
        with worker_process(address, token, tmp_path / "w1") as worker:
            stage.until_step(job, 12)
            os.kill(trainer_of(worker), signal.SIGKILL)
            stage.until_step(job, 40)
            assert gone_with(worker, trainer_of(worker))
        # Another folder: what it goes on from must have come through the server.
        with worker_process(address, token, tmp_path / "w2", name="other") as worker:
            stage.until_step(job, 70)
            trainer = trainer_of(worker)
            stage.client.training.pause(job)
            eventually(lambda: stage.state(job) == "PAUSED", timeout=100, what="the job pauses")
            assert not alive(trainer)
            paused = stage.client.training.get(job)
            assert paused.latest_checkpoint
            stage.client.training.resume(job)
            stage.until_step(job, max(undisturbed) - 40)
            server.stop(signal.SIGKILL)
            with server_process(tmp_path / "data", environment=LEASE):
                assert losses(stage.client, job) == undisturbed
                done = stage.client.training.get(job)
                assert (stage.state(job), done.attempt) == ("SUCCEEDED", paused.attempt + 1)
                assert done.resume_certificate.exact
                assert stage.client.catalog.version("models/out@1").digest == model  # byte for byte


def gone_with(worker: WorkerProcess, trainer: int) -> bool:
    """Kill a worker; return whether its trainer has died with it."""
    worker.kill()
    return eventually(lambda: not alive(trainer), timeout=100, what="the trainer dies with its agent")


@pytest.mark.contract("S0-52")
@pytest.mark.long
def test_killed_trainer_goes_on_exactly(stage: Stage, undisturbed: dict[int, str]) -> None:
    last = max(undisturbed)
    with worker_process(stage.address, stage.worker_token, stage.scratch / "w1") as worker:
        for _ in range(5):  # a kill at one of the last steps may come too late
            job = stage.job()
            stage.until_step(job, random.Random(os.urandom(8)).randint(12, last - 8))
            for trainer in worker.trainers():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(trainer, signal.SIGKILL)
            assert losses(stage.client, job) == undisturbed
            assert stage.state(job) == "SUCCEEDED"
            done = stage.client.training.get(job)
            if done.attempt > 1:
                break
    assert done.attempt == 2
    assert done.resume_certificate.exact


@pytest.mark.long
def test_killed_worker_takes_its_trainer_along_and_the_next_goes_on(
    stage: Stage, undisturbed: dict[int, str]
) -> None:
    with worker_process(stage.address, stage.worker_token, stage.scratch / "w2") as worker:
        job = stage.job()
        stage.until_step(job, 14)
        assert gone_with(worker, trainer_of(worker))
    # Another folder: what it goes on from must have come through the server.
    with worker_process(stage.address, stage.worker_token, stage.scratch / "w3", name="other"):
        assert losses(stage.client, job) == undisturbed
    assert stage.state(job) == "SUCCEEDED"


@pytest.mark.long
def test_killed_server_is_waited_for_and_hears_every_step(
    undisturbed: dict[int, str], tmp_path: Path
) -> None:
    with server_process(tmp_path / "data", environment=LEASE) as server:
        stage = Stage(server, tmp_path)
        address, token = stage.address, stage.worker_token
        with worker_process(address, token, tmp_path / "w") as worker:
            job = stage.job()
            stage.until_step(job, 12)
            server.stop(signal.SIGKILL)
            with server_process(tmp_path / "data", environment=LEASE):
                assert losses(stage.client, job) == undisturbed
                assert stage.state(job) == "SUCCEEDED"
                assert stage.client.training.get(job).attempt == 1
                assert worker.stop() == 0


@pytest.mark.contract("S0-56", "S0-57", "S0-58")
@pytest.mark.long
def test_pause_frees_the_machine_and_resume_is_exact(stage: Stage, undisturbed: dict[int, str]) -> None:
    with worker_process(stage.address, stage.worker_token, stage.scratch / "w4") as worker:
        job = stage.job()
        stage.until_step(job, 12)
        trainer = trainer_of(worker)
        stage.client.training.pause(job)
        eventually(lambda: stage.state(job) == "PAUSED", timeout=100, what="the job pauses")
        assert not alive(trainer)
        paused_at = stage.client.training.get(job).latest_checkpoint
        assert paused_at
        stage.client.training.resume(job)
        assert losses(stage.client, job) == undisturbed


@pytest.mark.long
def test_reproduce_makes_the_same_model_byte_for_byte(
    stage: Stage, undisturbed: dict[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INGOT_TOKEN", stage.server.admin_token)
    original = stage.client.catalog.version("models/out@1")
    # Another worker in another folder: what decides the result is what the job pinned.
    with worker_process(stage.address, stage.worker_token, stage.scratch / "w7", name="other"):
        run = CommandLine(stage.address).run("reproduce", "models/out@1", "--output", "models/again")
    assert run.code == 0, run.err
    again = stage.client.catalog.version("models/again")
    assert again.digest == original.digest
    assert again.origin.training_job != original.origin.training_job
    assert losses(stage.client, again.origin.training_job) == undisturbed
    assert "models/admin/again@1 is models/admin/out@1, byte for byte" in run.out


@pytest.mark.contract("S0-59", "S0-60")
@pytest.mark.long
def test_cancel_ends_the_trainer_and_delete_forgets_the_job(stage: Stage) -> None:
    with worker_process(stage.address, stage.worker_token, stage.scratch / "w5") as worker:
        job = stage.job(epochs=1000)
        stage.until_step(job, 12)
        trainer = trainer_of(worker)
        stage.client.training.cancel(job)
        eventually(lambda: stage.state(job) == "CANCELLED", timeout=100, what="the job is cancelled")
        assert not alive(trainer)
        assert stage.client.training.delete(job).checkpoint_count >= 1


LOAD = """
import json, sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
assert "deepspeed" not in sys.modules
model = AutoModelForCausalLM.from_pretrained(sys.argv[1]).eval()
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
ids = tokenizer("پاسخ", return_tensors="pt").input_ids
with torch.inference_mode():
    print(json.dumps({"finite": bool(torch.isfinite(model(ids).logits).all()), "vocabulary": len(tokenizer)}))
"""


@pytest.mark.contract("S0-47", "S0-48", "S0-49", "S0-50", "S0-51", "S0-65")
def test_result_has_lineage_serves_as_base_and_loads_without_us(
    stage: Stage, undisturbed: dict[int, str]
) -> None:
    client = stage.client
    first = client.training.get(client.catalog.version("models/out@1").origin.training_job)
    with worker_process(stage.address, stage.worker_token, stage.scratch / "w6"):
        second = client.training.create(
            "datasets/chat",
            base="models/out@1",
            output="models/second",
            config={"max_steps": 5, "batch_size": 4, "cpu_only": True, "logging_steps": 1},
            start=True,
        )
        client.training.wait(second.name)
        version = client.catalog.version("models/second")
        assert version.origin.training_job == second.name
        assert version.origin.base_version == first.output_version
        assert version.origin.dataset_version == first.dataset_version
        assert {"loss", "eval_loss", "grad_norm", "learning_rate", "tokens_per_second"} <= {
            series.name for series in client.training.metrics(first.name)
        }
        assert [line.line.text for line in client.training.logs(first.name)] != []
        texts = "".join(
            message.text
            for seed in range(5)  # of a model that was trained this little, one draw may end at once
            for message in client.training.generate("models/second", "what is 3?", max_tokens=8, seed=seed)
        )
        assert texts
    pulled = client.pull("models/second", stage.scratch / "second")
    out = subprocess.run(
        [sys.executable, "-c", LOAD, str(pulled.folder)], capture_output=True, text=True, check=True
    )
    facts = json.loads(out.stdout.splitlines()[-1])
    assert facts["finite"]
    assert facts["vocabulary"] > 256
