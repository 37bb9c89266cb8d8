"""TrainingService and WorkersService over the wire, with a worker that speaks the real stubs."""

import itertools
import threading
import uuid
from collections.abc import Iterator

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from helpers.eventually import eventually
from helpers.jobs import BASE, DATASET, OUTPUT
from helpers.training_rigs import FakeWorker, Rig, training_rig
from ingot.server.settings.fields import Settings
from ingot.v1 import common_pb2, errors_pb2, training_pb2, workers_pb2

pb = training_pb2


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with training_rig() as made:
        yield made


@pytest.fixture
def fresh() -> Iterator[Rig]:
    """A server of its own, for tests in which other jobs would be in the way; it gives up on workers soon."""
    with training_rig(Settings(generation_wait_seconds=0.2)) as made:
        yield made


def refused(error: pytest.ExceptionInfo[grpc.RpcError]) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """Return status, reason and the bad fields of a refusal."""
    call = error.value
    trailing = {item.key: item.value for item in call.trailing_metadata()}
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    info, fields = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    status.details[0].Unpack(info)
    for each in status.details:
        each.Unpack(fields)
    return call.code(), info.reason, {each.field: each.reason for each in fields.field_violations}


GPU_EXAMPLE = {
    "model_type": "llm",
    "architecture": "transformer",
    "hidden_size": 768,
    "num_layers": 12,
    "num_heads": 12,
    "vocab_size": 50000,
    "epochs": 10,
    "batch_size": 32,
    "learning_rate": 0.0001,
    "weight_decay": 0.01,
    "warmup_steps": 1000,
    "gradient_accumulation_steps": 1,
    "max_grad_norm": 1.0,
    "train_split": 0.8,
    "val_split": 0.1,
    "test_split": 0.1,
    "max_sequence_length": 512,
    "data_augmentation": True,
    "optimizer": "adamw",
    "scheduler": "linear",
    "mixed_precision": True,
    "gradient_checkpointing": False,
    "use_gpu": True,
    "num_gpus": 1,
    "cpu_only": False,
    "save_steps": 1000,
    "eval_steps": 500,
    "logging_steps": 100,
    "save_total_limit": 3,
}


# --- jobs ---------------------------------------------------------------------------------------------


@pytest.mark.contract("S0-54", "S0-55", "S0-65")
def test_create_and_get_with_every_key_of_the_first_system(rig: Rig) -> None:
    request = pb.CreateTrainingJobRequest(
        display_name="گفت‌وگو",
        dataset=str(DATASET),
        base_model=str(BASE),
        output_artifact=str(OUTPUT),
        config=pb.TrainingConfig(**GPU_EXAMPLE),  # type: ignore[arg-type]
        request_id=str(uuid.uuid4()),
    )
    job = rig.sara.training.CreateTrainingJob(request).training_job
    assert job.state == pb.TRAINING_JOB_STATE_DRAFT
    assert (job.display_name, job.creator, job.namespace) == ("گفت‌وگو", "users/sara", "namespaces/sara")
    assert job.dataset_version == f"{DATASET}/versions/3"
    assert job.base_version == f"{BASE}/versions/1"
    assert job.dataset_digest.startswith("blake3:")
    assert {name: getattr(job.config, name) for name in GPU_EXAMPLE} == GPU_EXAMPLE
    assert (job.config.seed, job.config.template, job.deepspeed.zero_stage) == (42, "auto", 1)
    assert job.plan.warnings
    assert rig.sara.training.GetTrainingJob(pb.GetTrainingJobRequest(name=job.name)).training_job == job
    assert rig.sara.training.CreateTrainingJob(request).training_job.name == job.name


def test_validate_only_gives_the_plan_of_a_job_without_a_name(rig: Rig) -> None:
    request = pb.CreateTrainingJobRequest(dataset=str(DATASET), validate_only=True)
    job = rig.sara.training.CreateTrainingJob(request).training_job
    assert (job.name, job.uid) == ("", "")
    assert job.plan.parameters > 0
    assert job.plan.steps > 0


@pytest.mark.contract("S0-65")
def test_every_bad_key_is_told_by_its_name(rig: Rig) -> None:
    config = pb.TrainingConfig(model_type="vision", epochs=0, use_gpu=True, cpu_only=True, num_gpus=2)
    with pytest.raises(grpc.RpcError) as error:
        rig.sara.training.CreateTrainingJob(pb.CreateTrainingJobRequest(dataset=str(DATASET), config=config))
    code, reason, fields = refused(error)
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CONFIG_CONTRADICTION")
    assert fields == {
        "config.model_type": "FIELD_INVALID",
        "config.epochs": "FIELD_INVALID",
        "config.cpu_only": "CONFIG_CONTRADICTION",
        "config.num_gpus": "CONFIG_CONTRADICTION",
    }


@pytest.mark.contract("S0-53", "S0-56", "S0-57", "S0-58", "S0-59", "S0-60", "S0-63")
def test_the_verbs_list_stats_and_delete(fresh: Rig) -> None:
    stub = fresh.sara.training
    job = stub.CreateTrainingJob(pb.CreateTrainingJobRequest(dataset=str(DATASET))).training_job
    job = stub.StartTrainingJob(pb.StartTrainingJobRequest(name=job.name, etag=job.etag)).training_job
    assert job.state == pb.TRAINING_JOB_STATE_QUEUED
    assert "No worker is online" in job.pending_reason
    job = stub.PauseTrainingJob(pb.PauseTrainingJobRequest(name=job.name)).training_job
    assert (job.state, job.desired_state) == (pb.TRAINING_JOB_STATE_PAUSED, pb.DESIRED_STATE_PAUSE)
    stats = stub.GetTrainingStats(pb.GetTrainingStatsRequest())
    assert (stats.total_jobs, stats.paused_jobs, stats.running_jobs) == (1, 1, 0)
    job = stub.ResumeTrainingJob(pb.ResumeTrainingJobRequest(name=job.name)).training_job
    assert job.state == pb.TRAINING_JOB_STATE_QUEUED
    listed = stub.ListTrainingJobs(
        pb.ListTrainingJobsRequest(parent="namespaces/-", state=pb.TRAINING_JOB_STATE_QUEUED)
    )
    assert [each.name for each in listed.training_jobs] == [job.name]
    with pytest.raises(grpc.RpcError) as error:
        stub.DeleteTrainingJob(pb.DeleteTrainingJobRequest(name=job.name))
    assert refused(error)[:2] == (grpc.StatusCode.FAILED_PRECONDITION, "STATE_INVALID")
    job = stub.CancelTrainingJob(pb.CancelTrainingJobRequest(name=job.name)).training_job
    assert job.state == pb.TRAINING_JOB_STATE_CANCELLED
    with pytest.raises(grpc.RpcError) as error:
        stub.DeleteTrainingJob(pb.DeleteTrainingJobRequest(name=job.name, etag="stale"))
    assert refused(error)[:2] == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    stub.DeleteTrainingJob(pb.DeleteTrainingJobRequest(name=job.name))
    with pytest.raises(grpc.RpcError) as error:
        stub.GetTrainingJob(pb.GetTrainingJobRequest(name=job.name))
    assert refused(error)[:2] == (grpc.StatusCode.NOT_FOUND, "TRAINING_JOB_NOT_FOUND")


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (pb.CreateTrainingJobRequest(), "FIELD_INVALID"),
        (pb.CreateTrainingJobRequest(dataset="chat"), "NAME_INVALID"),
        (pb.CreateTrainingJobRequest(dataset=f"{DATASET}/versions/77"), "VERSION_NOT_FOUND"),
        (
            pb.CreateTrainingJobRequest(dataset=str(DATASET), namespace="namespaces/omid"),
            "NAMESPACE_NOT_FOUND",
        ),
        *(
            (pb.CreateTrainingJobRequest(dataset=str(DATASET), config=config), "FIELD_INVALID")
            for config in (
                pb.TrainingConfig(text_field="x" * 201),
                pb.TrainingConfig(prompt_field="x" * 201, answer_field="y"),
                pb.TrainingConfig(prompt_field="x", answer_field="y" * 201),
            )
        ),
    ],
)
def test_create_refuses(rig: Rig, request_: pb.CreateTrainingJobRequest, reason: str) -> None:
    with pytest.raises(grpc.RpcError) as error:
        rig.sara.training.CreateTrainingJob(request_)
    assert refused(error)[1] == reason


# --- watching -----------------------------------------------------------------------------------------


def collect(rig: Rig, job: str, after: int, most: int) -> list[common_pb2.Event]:
    """Watch and hang up after so many events, or at the end of the stream."""
    call = rig.sara.training.WatchTrainingJob(pb.WatchTrainingJobRequest(name=job, after=after))
    events = (message.event for message in call if message.HasField("event"))
    found = list(itertools.islice(events, most))
    call.cancel()
    return found


@pytest.mark.contract("S0-50")
def test_a_watch_that_breaks_again_and_again_loses_and_doubles_nothing(fresh: Rig) -> None:
    job = fresh.job()
    worker = fresh.worker()
    work = worker.claim()

    def produce() -> None:
        worker.run(work)
        for number in range(300):
            worker.log(work, f"a{number}", f"b{number}")
        worker.succeed(work)

    producer = threading.Thread(target=produce)
    producer.start()
    events: list[common_pb2.Event] = []
    while not events or events[-1].state.to != "SUCCEEDED":
        events += collect(fresh, job.name, events[-1].seq if events else 0, 37)
    producer.join()
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    lines = [event.log.text for event in events if event.HasField("log")]
    assert lines[:-1] == [f"{letter}{number}" for number in range(300) for letter in "ab"]
    states = [event.state.to for event in events if event.HasField("state")]
    assert states == ["DRAFT", "QUEUED", "PREPARING", "RUNNING", "SUCCEEDED"]


def test_a_watch_says_when_it_has_caught_up_and_ends_with_the_job(fresh: Rig) -> None:
    job = fresh.job()
    call = fresh.sara.training.WatchTrainingJob(pb.WatchTrainingJobRequest(name=job.name))
    kinds = [next(call).WhichOneof("message") for _ in range(4)]
    assert kinds == ["snapshot", "event", "event", "synced"]
    worker = fresh.worker()
    work = worker.claim()
    assert next(call).event.state.to == "PREPARING"
    worker.log(work, "hello")
    assert next(call).event.log.text == "hello"
    worker.succeed(work)
    rest = [message.event.state.to for message in call if message.event.HasField("state")]
    assert rest == ["SUCCEEDED"]
    whole = list(fresh.sara.training.WatchTrainingJob(pb.WatchTrainingJobRequest(name=job.name)))
    assert whole[0].snapshot.state == pb.TRAINING_JOB_STATE_SUCCEEDED
    assert whole[-1].HasField("synced")


def test_a_failed_job_that_is_resumed_is_watched_beyond_its_failure(fresh: Rig) -> None:
    job = fresh.job()
    worker = fresh.worker()
    problem = common_pb2.Problem(reason=errors_pb2.ERROR_REASON_DATA_INVALID, message="Bad line.")
    failed = worker.finish(worker.claim(), workers_pb2.WORK_OUTCOME_FAILED, problem=problem).training_job
    assert failed.problem.reason == errors_pb2.ERROR_REASON_DATA_INVALID
    fresh.sara.training.ResumeTrainingJob(pb.ResumeTrainingJobRequest(name=job.name))
    worker.succeed(worker.claim())
    states = [event.state.to for event in collect(fresh, job.name, 0, 1000) if event.HasField("state")]
    assert states[-4:] == ["FAILED", "QUEUED", "PREPARING", "SUCCEEDED"]


def test_a_watch_cannot_go_on_after_a_number_that_is_not_there(rig: Rig) -> None:
    job = rig.job()
    with pytest.raises(grpc.RpcError) as error:
        list(rig.sara.training.WatchTrainingJob(pb.WatchTrainingJobRequest(name=job.name, after=99)))
    assert refused(error)[:2] == (grpc.StatusCode.OUT_OF_RANGE, "RESUME_TOKEN_EXPIRED")
    with pytest.raises(grpc.RpcError) as error:
        list(rig.stubs("omid").training.WatchTrainingJob(pb.WatchTrainingJobRequest(name=job.name)))
    assert refused(error)[1] == "TRAINING_JOB_NOT_FOUND"


def test_a_watch_takes_no_negative_numbers(rig: Rig) -> None:
    name = rig.job().name
    with pytest.raises(grpc.RpcError) as error:
        list(rig.sara.training.WatchTrainingJob(pb.WatchTrainingJobRequest(name=name, after=-1), timeout=100))
    assert refused(error)[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    for request in (
        pb.ReadTrainingLogsRequest(name=name, after=-1),
        pb.ReadTrainingLogsRequest(name=name, tail=-1),
    ):
        with pytest.raises(grpc.RpcError) as error:
            list(rig.sara.training.ReadTrainingLogs(request, timeout=100))
        assert refused(error)[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")


def test_a_trimmed_log_says_where_it_begins() -> None:
    with training_rig(Settings(events_kept=100)) as small:
        job = small.job()
        worker = small.worker()
        work = worker.claim()
        for start in range(0, 4200, 600):
            worker.log(work, *(f"line {number}" for number in range(start, start + 600)))
        with pytest.raises(grpc.RpcError) as error:
            collect(small, job.name, 1, 10)
        assert refused(error)[:2] == (grpc.StatusCode.OUT_OF_RANGE, "RESUME_TOKEN_EXPIRED")
        kept = collect(small, job.name, 0, 50)  # 0 is everything that is kept
        assert kept[0].seq > 1
        assert [event.seq for event in kept] == list(range(kept[0].seq, kept[0].seq + 50))


def test_a_deleted_job_ends_its_watch(fresh: Rig) -> None:
    job = fresh.sara.training.CreateTrainingJob(
        pb.CreateTrainingJobRequest(dataset=str(DATASET))
    ).training_job
    call = fresh.sara.training.WatchTrainingJob(pb.WatchTrainingJobRequest(name=job.name))
    while not next(call).HasField("synced"):
        pass
    fresh.sara.training.DeleteTrainingJob(pb.DeleteTrainingJobRequest(name=job.name))
    with pytest.raises(grpc.RpcError) as error:
        list(call)
    assert refused(error)[1] == "TRAINING_JOB_NOT_FOUND"


@pytest.mark.contract("S0-51", "S0-61")
def test_logs_by_level_rank_tail_and_follow(fresh: Rig) -> None:
    job = fresh.job()
    worker = fresh.worker()
    work = worker.claim()
    levels = [common_pb2.LOG_LEVEL_INFO, common_pb2.LOG_LEVEL_WARNING, common_pb2.LOG_LEVEL_ERROR]
    for number in range(6):
        line = common_pb2.LogLine(level=levels[number % 3], rank=number % 2 - 1, text=f"line {number}")
        worker.report(work, worker.event(log=line))

    def read(**fields: object) -> list[str]:
        request = pb.ReadTrainingLogsRequest(name=job.name, **fields)  # type: ignore[arg-type]
        return [reply.line.text for reply in fresh.sara.training.ReadTrainingLogs(request)]

    assert read() == [f"line {number}" for number in range(6)]
    assert read(min_level=common_pb2.LOG_LEVEL_WARNING) == ["line 1", "line 2", "line 4", "line 5"]
    assert read(rank=0) == ["line 1", "line 3", "line 5"]
    assert read(rank=-1, min_level=common_pb2.LOG_LEVEL_ERROR) == ["line 2"]
    assert read(tail=2) == ["line 4", "line 5"]
    assert read(tail=1, min_level=common_pb2.LOG_LEVEL_ERROR, rank=-1) == ["line 2"]
    assert read(tail=100) == [f"line {number}" for number in range(6)]
    followed = fresh.sara.training.ReadTrainingLogs(
        pb.ReadTrainingLogsRequest(name=job.name, follow=True, tail=1)
    )
    assert next(followed).line.text == "line 5"
    worker.log(work, "late")
    assert next(followed).line.text == "late"
    worker.succeed(work)
    assert [reply.line.text for reply in followed] == [f"The result is {OUTPUT}/versions/1."]


@pytest.mark.contract("S0-62")
def test_metrics_and_checkpoints(fresh: Rig) -> None:
    job = fresh.job()
    worker = fresh.worker()
    work = worker.claim()
    worker.report(work, worker.event(metrics=common_pb2.Metrics(step=0, values={"entropy": 4.5})))
    for step in range(1, 21):
        metrics = common_pb2.Metrics(step=step, epoch=step / 20, values={"loss": 1 / step})
        worker.report(work, worker.event(metrics=metrics))
    reply = fresh.sara.training.ListTrainingMetrics(
        pb.ListTrainingMetricsRequest(name=job.name, max_points=5)
    )
    entropy, loss = reply.series
    assert [(point.step, point.value) for point in entropy.points] == [(0, 4.5)]
    assert (loss.name, [point.step for point in loss.points]) == ("loss", [1, 6, 11, 15, 20])
    bench = fresh.bench
    bench.save(bench.read(bench.shelves.jobs.find, job.name.split("/")[1]), 20, eval_loss=0.5)  # type: ignore[arg-type]
    (checkpoint,) = fresh.sara.training.ListCheckpoints(
        pb.ListCheckpointsRequest(parent=job.name)
    ).checkpoints
    assert (checkpoint.name, dict(checkpoint.metrics)) == (f"{job.name}/checkpoints/20", {"eval_loss": 0.5})
    now = fresh.sara.training.GetTrainingJob(pb.GetTrainingJobRequest(name=job.name)).training_job
    assert now.best_checkpoint == now.latest_checkpoint == checkpoint.name
    assert now.latest_metrics.values["loss"] == 1 / 20
    assert now.worker == worker.name


# --- workers ------------------------------------------------------------------------------------------


@pytest.mark.contract("S0-57", "S0-58")
def test_pause_and_resume_through_a_worker(fresh: Rig) -> None:
    job = fresh.job()
    worker = fresh.worker()
    assert worker.registered.lease.seconds == 20
    assert worker.registered.heartbeat_interval.seconds == 5
    work = worker.claim()
    assert work.training.training_job.config.batch_size == 8
    worker.run(work)
    fresh.sara.training.PauseTrainingJob(pb.PauseTrainingJobRequest(name=job.name))
    assert worker.beat(work).desired_state == pb.DESIRED_STATE_PAUSE
    held = fresh.bench.read(fresh.bench.shelves.jobs.find, job.name.split("/")[1])
    assert held is not None
    fresh.bench.save(held, 30)
    paused = worker.finish(work, workers_pb2.WORK_OUTCOME_PAUSED).training_job
    assert (paused.state, paused.worker) == (pb.TRAINING_JOB_STATE_PAUSED, "")
    assert not worker.claim().name
    fresh.sara.training.ResumeTrainingJob(pb.ResumeTrainingJobRequest(name=job.name))
    again = worker.claim()
    assert again.attempt == 2
    assert again.training.resume_checkpoint == f"{job.name}/checkpoints/30"
    assert again.training.resume_digest.startswith("blake3:")
    with pytest.raises(grpc.RpcError) as error:
        worker.log(work, "from the past")
    assert refused(error)[:2] == (grpc.StatusCode.FAILED_PRECONDITION, "ATTEMPT_OUTDATED")
    assert worker.beat(work).lost


def test_a_worker_hears_of_work_and_orders_through_its_watch(fresh: Rig) -> None:
    worker = fresh.worker()
    hints = worker.stub.WatchWorker(workers_pb2.WatchWorkerRequest(worker=worker.name))
    heard: list[workers_pb2.WatchWorkerResponse] = []
    listener = threading.Thread(target=lambda: _listen(hints, heard))
    listener.start()
    job = fresh.job()
    eventually(lambda: any(each.work_waits == workers_pb2.WORK_KIND_TRAINING for each in heard))
    work = worker.claim()
    fresh.sara.training.CancelTrainingJob(pb.CancelTrainingJobRequest(name=job.name))
    eventually(lambda: any(each.HasField("order") for each in heard))
    order = next(each.order for each in heard if each.HasField("order"))
    assert (order.name, order.attempt, order.desired_state) == (job.name, 1, pb.DESIRED_STATE_CANCEL)
    ended = worker.finish(work, workers_pb2.WORK_OUTCOME_CANCELLED).training_job
    assert ended.state == pb.TRAINING_JOB_STATE_CANCELLED
    hints.cancel()
    listener.join()


def _listen(
    stream: Iterator[workers_pb2.WatchWorkerResponse], heard: list[workers_pb2.WatchWorkerResponse]
) -> None:
    try:
        heard.extend(stream)  # one by one, as they come
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.CANCELLED  # noqa: PT017


def test_only_administrators_list_workers(fresh: Rig) -> None:
    worker = fresh.worker()
    with pytest.raises(grpc.RpcError) as error:
        fresh.sara.workers.ListWorkers(workers_pb2.ListWorkersRequest())
    assert refused(error)[1] == "SCOPE_MISSING"
    (listed,) = fresh.stubs("root").workers.ListWorkers(workers_pb2.ListWorkersRequest()).workers
    assert (listed.name, listed.state) == (worker.name, workers_pb2.WORKER_STATE_ONLINE)
    assert listed.address == "local"
    with pytest.raises(grpc.RpcError) as error:
        fresh.sara.workers.ClaimWork(workers_pb2.ClaimWorkRequest(worker=worker.name))
    assert refused(error)[1] == "SCOPE_MISSING"


# --- generating text ----------------------------------------------------------------------------------


def ask(rig: Rig, **fields: object) -> "grpc._CallIterator[pb.GenerateTextResponse]":
    request = pb.GenerateTextRequest(model=str(BASE), **{"prompt": "سلام", **fields})  # type: ignore[arg-type]
    return rig.sara.training.GenerateText(request)


def taken(worker: FakeWorker) -> workers_pb2.Assignment:
    """Claim the generation that is offered now or in a moment."""

    def claim() -> workers_pb2.Assignment | None:
        found = worker.claim(workers_pb2.WORK_KIND_GENERATION)
        return found if found.name else None

    found = eventually(claim)
    assert found is not None
    return found


def test_a_worker_writes_a_text_piece_by_piece(rig: Rig) -> None:
    worker = rig.worker("writer")
    call = ask(rig, max_tokens=5, seed=7, stop=["."])
    assert "Waits for a worker" in next(call).waiting.message
    work = taken(worker)
    assert work.generation.model_version == f"{BASE}/versions/1"
    asked = work.generation.request
    assert (asked.prompt, asked.max_tokens, asked.seed, list(asked.stop)) == ("سلام", 5, 7, ["."])
    assert asked.temperature == pytest.approx(0.7)
    assert next(call).waiting.worker == worker.name
    (grant,) = rig.bench.shelves.generations.held_by("users/admin/tokens/tok_9")
    assert [str(name) for name in grant.versions] == [f"{BASE}/versions/1"]
    pieces = [worker.event(text="درود"), worker.event(text=" بر شما")]
    worker.report(work, *pieces)
    worker.report(work, *pieces)  # repeated: shown once
    assert [next(call).text, next(call).text] == ["درود", " بر شما"]
    done = pb.GenerationDone(finish_reason="stop", prompt_tokens=1, completion_tokens=2)
    worker.finish(work, workers_pb2.WORK_OUTCOME_SUCCEEDED, generation=done)
    worker.finish(work, workers_pb2.WORK_OUTCOME_SUCCEEDED, generation=done)
    last = next(call).done
    assert (last.finish_reason, last.completion_tokens) == ("stop", 2)
    assert last.model_version == f"{BASE}/versions/1"
    assert list(call) == []
    assert rig.bench.shelves.generations.held_by("users/admin/tokens/tok_9") == []


def test_no_worker_in_time(fresh: Rig) -> None:
    with pytest.raises(grpc.RpcError) as error:
        list(ask(fresh))
    assert refused(error)[:2] == (grpc.StatusCode.RESOURCE_EXHAUSTED, "NO_WORKER")


def test_a_client_that_leaves_stops_its_worker(rig: Rig) -> None:
    worker = rig.worker("leaver")
    call = ask(rig)
    next(call)
    work = taken(worker)
    worker.report(work, worker.event(text="one"))
    call.cancel()
    eventually(lambda: worker.beat(work).desired_state == pb.DESIRED_STATE_CANCEL)
    worker.finish(work, workers_pb2.WORK_OUTCOME_CANCELLED)
    assert worker.beat(work).lost


def test_a_worker_that_fails_tells_the_client_why(rig: Rig) -> None:
    worker = rig.worker("failing")
    call = ask(rig)
    next(call)
    work = taken(worker)
    problem = common_pb2.Problem(
        reason=errors_pb2.ERROR_REASON_ENVIRONMENT_MISSING, message="There is no torch."
    )
    worker.finish(work, workers_pb2.WORK_OUTCOME_FAILED, problem=problem)
    with pytest.raises(grpc.RpcError) as error:
        list(call)
    assert refused(error)[:2] == (grpc.StatusCode.FAILED_PRECONDITION, "ENVIRONMENT_MISSING")


def test_a_text_given_back_before_its_first_word_goes_to_another_worker(rig: Rig) -> None:
    one, two = rig.worker("first"), rig.worker("second")
    call = ask(rig)
    next(call)
    work = taken(one)
    one.finish(work, workers_pb2.WORK_OUTCOME_RELEASED)
    again = taken(two)
    assert (again.name, again.attempt) == (work.name, 2)
    two.report(again, two.event(text="hi"))
    with pytest.raises(grpc.RpcError) as error:
        one.report(work, one.event(text="ho"))
    assert refused(error)[1] == "ATTEMPT_OUTDATED"
    two.finish(again, workers_pb2.WORK_OUTCOME_RELEASED)  # after a word was shown it cannot start anew
    with pytest.raises(grpc.RpcError) as error:
        list(call)
    assert refused(error)[:2] == (grpc.StatusCode.UNAVAILABLE, "PEER_LOST")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"prompt": ""}, "prompt"),
        ({"messages": [common_pb2.ChatMessage(role="user", content="x")]}, "prompt"),
        ({"prompt": "", "messages": [common_pb2.ChatMessage(role="robot", content="x")]}, "messages[0].role"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": -1.0}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"prompt": "س" * 262_145}, "prompt"),
        (
            {
                "prompt": "",
                "messages": [common_pb2.ChatMessage(role="user", content="x" * 262_145) for _ in range(2)],
            },
            "messages",
        ),
        (
            {"prompt": "", "messages": [common_pb2.ChatMessage(role="user", content="x")] * 1001},
            "messages",
        ),
        ({"stop": ["x"] * 17}, "stop"),
        ({"stop": ["ok", "x" * 201]}, "stop[1]"),
        ({"stop": [""]}, "stop[0]"),
        ({"model": str(DATASET)}, "model"),
    ],
)
def test_texts_that_cannot_be_written(rig: Rig, fields: dict[str, object], field: str) -> None:
    request = pb.GenerateTextRequest(**{"model": str(BASE), "prompt": "x", **fields})  # type: ignore[arg-type]
    with pytest.raises(grpc.RpcError) as error:
        list(rig.sara.training.GenerateText(request))
    code, _, bad = refused(error)
    assert (code, list(bad)) == (grpc.StatusCode.INVALID_ARGUMENT, [field])
