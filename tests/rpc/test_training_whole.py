"""Training through a whole server: what people push is trained on, what workers push becomes the model."""

import pathlib
from collections.abc import Callable

import grpc
import pytest

from helpers.pipelines import bearer
from helpers.servers import running_server
from helpers.trainers import BASE, DATASET, OUTPUT, Trainer, folder, start_job
from helpers.transfers import Pusher, cut
from helpers.transfers import refused as transfer_refused
from ingot.client import NotFound as ClientNotFound
from ingot.client import Precondition as ClientPrecondition
from ingot.v1 import catalog_pb2, operations_pb2, training_pb2, transfer_pb2, workers_pb2


@pytest.mark.contract("S0-48", "S0-49", "S0-52")
def test_from_pushed_data_to_a_model_with_its_lineage(tmp_path: pathlib.Path) -> None:
    with running_server(tmp_path / "server") as server:
        job = start_job(server, tmp_path)
        trainer = Trainer(server)
        with pytest.raises(ClientNotFound):
            trainer.client.pull(DATASET, tmp_path / "too early")
        work = trainer.claim()
        trainer.client.pull(work.training.training_job.dataset_version, tmp_path / "pulled")
        assert (tmp_path / "pulled" / "train.jsonl").read_text(encoding="utf-8") == '{"text": "سلام"}\n'
        trainer.client.pull(work.training.training_job.base_version, tmp_path / "pulled base")
        for step in (10, 20):
            trainer.save(work, step, folder(tmp_path / f"step {step}", **{"state.pt": f"step {step}"}))
        trainer.client.pull(f"{job.name}/checkpoints/20", tmp_path / "kept")
        assert (tmp_path / "kept" / "state.pt").read_text(encoding="utf-8") == "step 20"
        with pytest.raises(ClientNotFound):  # save_total_limit is 1
            trainer.client.pull(f"{job.name}/checkpoints/10", tmp_path / "gone")
        made = folder(tmp_path / "result", **{"model.safetensors": "trained", "config.json": "{}"})
        trainer.client.push_result(OUTPUT, made, training_job=work.name, attempt=work.attempt)
        done = trainer.finish(work, workers_pb2.WORK_OUTCOME_SUCCEEDED)
        assert (done.state, done.output_version) == (
            training_pb2.TRAINING_JOB_STATE_SUCCEEDED,
            f"{OUTPUT}/versions/1",
        )
        version = server.member().catalog.GetVersion(catalog_pb2.GetVersionRequest(name=OUTPUT)).version
        assert version.origin.training_job == job.name
        assert version.origin.dataset_version == f"{DATASET}/versions/1"
        assert version.origin.base_version == f"{BASE}/versions/1"
        with pytest.raises(ClientNotFound):  # the claim is over, and with it what it allowed
            trainer.client.pull(work.training.training_job.dataset_version, tmp_path / "too late")
        trainer.client.close()


def test_an_attempt_that_is_over_can_commit_nothing(tmp_path: pathlib.Path) -> None:
    with running_server(tmp_path / "server") as server:
        start_job(server, tmp_path)
        trainer = Trainer(server)
        old = trainer.claim()
        trainer.finish(old, workers_pb2.WORK_OUTCOME_RELEASED)
        new = trainer.claim()
        assert new.attempt == 2
        made = folder(tmp_path / "step", **{"state.pt": "late"})
        with pytest.raises(ClientPrecondition) as refused:
            trainer.save(old, 10, made)
        assert refused.value.reason == "ATTEMPT_OUTDATED"
        trainer.save(new, 10, made)
        with pytest.raises(ClientPrecondition) as refused:
            trainer.client.push_result(OUTPUT, made, training_job=old.name, attempt=old.attempt)
        assert refused.value.reason == "ATTEMPT_OUTDATED"
        trainer.client.close()


def test_an_upload_is_out_of_reach_once_the_claim_is_over(tmp_path: pathlib.Path) -> None:
    with running_server(tmp_path / "server") as server:
        job = start_job(server, tmp_path)
        trainer = Trainer(server)
        work = trainer.claim()
        pusher = Pusher(server.stubs(trainer.token).transfer, ())
        target = transfer_pb2.NewCheckpoint(
            training_job=work.name, step=10, attempt=work.attempt, kind=transfer_pb2.CHECKPOINT_KIND_PERIODIC
        )
        request = transfer_pb2.BeginUploadRequest(target=transfer_pb2.UploadTarget(checkpoint=target))
        upload = pusher.stub.BeginUpload(request).upload.name
        cuts = {"state.pt": cut(b"weights")}
        pusher.put_missing(upload, cuts)
        pusher.manifest(upload, cuts)
        assert pusher.read(upload, "state.pt") == b"weights"
        trainer.finish(work, workers_pb2.WORK_OUTCOME_RELEASED)
        again = trainer.claim()  # the same worker has the same job again: still, that attempt is over
        assert (again.name, again.attempt) == (job.name, work.attempt + 1)
        calls: tuple[Callable[[], object], ...] = (
            lambda: pusher.upload(upload),
            lambda: pusher.files(upload),
            lambda: pusher.read(upload, "state.pt"),
            lambda: pusher.chunks(upload, ("state.pt", 0, 1)),
            lambda: pusher.missing(upload, [cuts["state.pt"].chunks[0][0]]),
            lambda: pusher.put_missing(upload, {"more": cut(b"more")}),
            lambda: pusher.manifest(upload, cuts),
            lambda: pusher.commit(upload, cuts),
        )
        for call in calls:
            with transfer_refused(grpc.StatusCode.FAILED_PRECONDITION, "ATTEMPT_OUTDATED"):
                call()
        trainer.client.close()


def test_a_dataset_in_use_is_told_before_it_is_deleted(tmp_path: pathlib.Path) -> None:
    with running_server(tmp_path / "server") as server:
        job = start_job(server, tmp_path)
        request = catalog_pb2.DeleteArtifactRequest(name=DATASET, force=True, validate_only=True)
        assert list(server.member().catalog.DeleteArtifact(request).dependants) == [job.name]


def test_a_restarted_server_goes_on_with_the_same_claim(tmp_path: pathlib.Path) -> None:
    data = tmp_path / "server"
    with running_server(data) as server:
        start_job(server, tmp_path)
        trainer = Trainer(server)
        work = trainer.claim()
        trainer.client.close()
    with running_server(data) as server:
        stub = server.stubs(trainer.token).workers
        held = workers_pb2.HeldWork(name=work.name, attempt=work.attempt)
        reply = stub.Heartbeat(workers_pb2.HeartbeatRequest(worker=trainer.name, work=[held]))
        assert not reply.orders[0].lost
        root = server.stubs("", **dict(bearer(server.admin_token))).operations
        found = root.ListOperations(operations_pb2.ListOperationsRequest(kind="recover")).operations
        assert [each.state for each in found] == [operations_pb2.OPERATION_STATE_SUCCEEDED] * 2
        assert [each.result["leases"] for each in found] == [1, 0]
