"""Training jobs as people steer them: creating, the verbs in every state, etags, repeated requests, views."""

import dataclasses
import uuid
from collections.abc import Iterator

import pytest

from helpers.jobs import BASE, CPU, DATASET, GPU, MIB, OUTPUT, Bench, bench, digest_of, machine, person
from ingot.server.core.errors import Conflict, Denied, Invalid, NotFound, Precondition, Problem, Reason
from ingot.server.core.events import Progress, StateChange
from ingot.server.core.identity import Role
from ingot.server.core.names import ArtifactName, Kind, version_reference
from ingot.server.core.training import Desired, JobState, TrainingJob
from ingot.server.core.training_config import TrainingConfig, filled
from ingot.server.core.workers import ReportedEvent, WorkOutcome
from ingot.server.domain import plans
from ingot.server.domain.training import JobDraft, Request
from ingot.server.domain.work_reports import Ending


@pytest.fixture
def b() -> Iterator[Bench]:
    with bench() as made:
        yield made


def test_create_pins_dataset_and_base_and_fills_in_defaults(b: Bench) -> None:
    draft = JobDraft(dataset=DATASET.alias("prod"), base=BASE, output=OUTPUT, display_name="First")
    job = b.write(b.rules.training.create, person(), draft, Request()).job
    assert job.state is JobState.DRAFT
    assert (job.dataset.name, job.dataset.digest) == (DATASET.version("3"), digest_of(DATASET.version("3")))
    assert job.base is not None
    assert job.base.name == BASE.version("1")
    assert (job.config.epochs, job.config.optimizer, job.config.hidden_size) == (1, "adamw", None)
    assert job.deepspeed.zero_stage == 1
    b.versions.latest[DATASET] = "4"  # a version that comes later changes nothing
    assert b.job(job).dataset.name == DATASET.version("3")
    assert b.job(job) == job


def test_the_output_is_named_after_the_job_when_none_is_given(b: Bench) -> None:
    job = b.write(b.rules.training.create, person(), JobDraft(DATASET), Request()).job
    assert job.output_artifact == ArtifactName("sara", Kind.MODEL, job.id)


def test_plan_alone_changes_nothing(b: Bench) -> None:
    view = b.read(b.rules.training.plan, person(), JobDraft(DATASET))
    assert view.job.number == 0
    assert view.job.plan.steps > 0
    assert b.read(b.rules.views.page, person(), "-", None, 0, "").items == ()


@pytest.mark.parametrize(
    ("draft", "reason", "field"),
    [
        (JobDraft(BASE), Reason.FIELD_INVALID, "dataset"),
        (JobDraft(DATASET, base=DATASET), Reason.FIELD_INVALID, "base_model"),
        (JobDraft(DATASET, output=DATASET), Reason.FIELD_INVALID, "output_artifact"),
        (JobDraft(DATASET, namespace="sara", output=ArtifactName("omid", Kind.MODEL, "x")), None, None),
        (JobDraft(DATASET, display_name="x" * 201), Reason.FIELD_INVALID, "display_name"),
        (JobDraft(DATASET, display_name="red \x1b[31m"), Reason.FIELD_INVALID, "display_name"),
        (JobDraft(DATASET, display_name="two\nlines"), Reason.FIELD_INVALID, "display_name"),
        (
            JobDraft(DATASET, config=TrainingConfig(num_gpus=8)),
            Reason.CONFIG_CONTRADICTION,
            "config.num_gpus",
        ),
    ],
)
def test_create_refuses_what_cannot_stand(
    b: Bench, draft: JobDraft, reason: Reason | None, field: str | None
) -> None:
    with pytest.raises(Invalid) as refused:
        b.write(b.rules.training.create, person(), draft, Request())
    assert refused.value.reason is (reason or Reason.FIELD_INVALID)
    assert refused.value.fields[0].field == (field or "output_artifact")


def test_create_refuses_absent_versions_empty_ones_and_foreign_namespaces(b: Bench) -> None:
    with pytest.raises(NotFound):
        b.write(b.rules.training.create, person(), JobDraft(DATASET.version("9")), Request())
    with pytest.raises(NotFound) as foreign:
        b.write(b.rules.training.create, person("omid"), JobDraft(DATASET, namespace="sara"), Request())
    assert foreign.value.reason is Reason.NAMESPACE_NOT_FOUND
    b.versions.sizes[DATASET.version("3")] = 0
    with pytest.raises(Invalid, match="0 bytes"):
        b.create()


def test_the_same_request_id_creates_one_job(b: Bench) -> None:
    request = Request(str(uuid.uuid4()), b"one")
    draft = JobDraft(DATASET, start=True)
    first = b.write(b.rules.training.create, person(), draft, request)
    again = b.write(b.rules.training.create, person(), draft, request)
    assert again.job.id == first.job.id
    assert len(b.read(b.rules.views.page, person(), "-", None, 0, "").items) == 1
    with pytest.raises(Precondition) as other:
        b.write(b.rules.training.create, person(), draft, dataclasses.replace(request, payload=b"two"))
    assert other.value.reason is Reason.REQUEST_ID_REUSED


def in_state(b: Bench, state: JobState) -> tuple[str, TrainingJob]:
    """Bring a new job into a state."""
    job = b.create(start=state is not JobState.DRAFT)
    worker = b.register()
    if state is JobState.PAUSED:
        b.steer("pause", job)
    elif state is JobState.CANCELLED:
        b.steer("cancel", job)
    elif state not in (JobState.DRAFT, JobState.QUEUED):
        job = b.claimed(worker)
        if state is JobState.RUNNING:
            b.write(b.rules.reports.report, machine(), worker.name, job.name, 1, [running(1)])
        elif state is JobState.PAUSING:
            b.steer("pause", job)
        elif state is JobState.CANCELLING:
            b.steer("cancel", job)
        elif state is JobState.FAILED:
            b.finish(worker, job, Ending(WorkOutcome.FAILED, problem()))
        elif state is JobState.SUCCEEDED:
            held = b.job(job)
            b.write(lambda: b.rules.training._jobs.update(held, output_version=str(OUTPUT.version("1"))))
            b.finish(worker, job, Ending(WorkOutcome.SUCCEEDED))
    assert b.job(job).state is state
    return job.id, job


def running(seq: int) -> ReportedEvent:
    return ReportedEvent(seq, 0.0, JobState.RUNNING)


def problem() -> Problem:
    return Problem(Reason.DATA_INVALID, "Line 3 is no JSON.", {"line": "3"}, "", 0.0)


VERBS: dict[str, dict[JobState, JobState | None]] = {
    "start": {JobState.DRAFT: JobState.QUEUED},
    "pause": {
        JobState.QUEUED: JobState.PAUSED,
        JobState.PREPARING: JobState.PAUSING,
        JobState.RUNNING: JobState.PAUSING,
        JobState.PAUSING: JobState.PAUSING,
        JobState.PAUSED: JobState.PAUSED,
    },
    "resume": {
        JobState.PAUSED: JobState.QUEUED,
        JobState.FAILED: JobState.QUEUED,
        JobState.PAUSING: JobState.PAUSING,
    },
    "cancel": {
        JobState.DRAFT: JobState.CANCELLED,
        JobState.QUEUED: JobState.CANCELLED,
        JobState.PREPARING: JobState.CANCELLING,
        JobState.RUNNING: JobState.CANCELLING,
        JobState.PAUSING: JobState.CANCELLING,
        JobState.PAUSED: JobState.CANCELLED,
        JobState.CANCELLING: JobState.CANCELLING,
        JobState.CANCELLED: JobState.CANCELLED,
    },
}


@pytest.mark.contract("S0-47")
@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_in_every_state(b: Bench, verb: str, state: JobState) -> None:
    _, job = in_state(b, state)
    wanted = VERBS[verb].get(state)
    if wanted is None:
        with pytest.raises(Precondition) as refused:
            b.steer(verb, job)
        assert refused.value.reason is Reason.STATE_INVALID
        assert b.job(job).state is state
        return
    assert b.steer(verb, job).state is wanted
    desired = {"start": Desired.RUN, "resume": Desired.RUN, "pause": Desired.PAUSE, "cancel": Desired.CANCEL}
    assert b.job(job).desired is desired[verb]


@pytest.mark.parametrize("state", JobState)
def test_delete_in_every_state(b: Bench, state: JobState) -> None:
    job_id, job = in_state(b, state)
    live = {
        JobState.QUEUED,
        JobState.PREPARING,
        JobState.RUNNING,
        JobState.PAUSING,
        JobState.CANCELLING,
    }
    if state in live:
        with pytest.raises(Precondition, match="no worker has or waits for"):
            b.write(b.rules.training.delete, person(), job_id, Request(), allow_missing=False)
        return
    b.write(b.rules.training.delete, person(), job_id, Request(), allow_missing=False)
    with pytest.raises(NotFound):
        b.job(job)
    gone = b.write(b.rules.training.delete, person(), job_id, Request(), allow_missing=True)
    assert (gone.checkpoints, gone.size_bytes) == (0, 0)
    with pytest.raises(NotFound):
        b.write(b.rules.training.delete, person(), job_id, Request(), allow_missing=False)


def test_delete_lets_checkpoints_and_log_go(b: Bench) -> None:
    job = b.create(start=True)
    worker = b.register()
    held = b.claimed(worker)
    b.save(held, 10)
    b.save(held, 20)
    b.finish(worker, held, Ending(WorkOutcome.FAILED, problem()))
    gone = b.write(b.rules.training.delete, person(), job.id, Request(), allow_missing=False)
    assert (gone.checkpoints, gone.size_bytes) == (2, 2000)
    assert b.trees.released == [10, 20]
    assert b.read(b.shelves.log.bounds, job.name).latest == 0


def test_a_stale_etag_is_refused_and_progress_leaves_it_alone(b: Bench) -> None:
    job = b.create()
    with pytest.raises(Conflict) as stale:
        b.steer("start", job, etag="old")
    assert stale.value.reason is Reason.ETAG_MISMATCH
    started = b.steer("start", job, etag=job.etag)
    assert started.etag != job.etag
    held = b.claimed(b.register())
    etag = b.job(held).etag
    told = ReportedEvent(1, 0.0, Progress(phase="training", done=1, total=2))
    b.write(b.rules.reports.report, machine(), f"workers/{held.worker}", held.name, 1, [told])
    assert b.job(held).progress == told.body
    assert b.job(held).etag == etag


def test_a_repeated_verb_with_its_request_id_acts_once(b: Bench) -> None:
    job = b.create()
    request = Request(str(uuid.uuid4()), b"start", job.etag)
    b.write(b.rules.training.start, person(), job.id, request)
    again = b.write(b.rules.training.start, person(), job.id, request)  # its etag is old by now
    assert again.job.state is JobState.QUEUED
    assert [e.body.after for e in b.events(job) if isinstance(e.body, StateChange)] == ["DRAFT", "QUEUED"]


def test_jobs_of_others_do_not_exist(b: Bench) -> None:
    job = b.create()
    for rule in (b.rules.training.start, b.rules.training.cancel):
        with pytest.raises(NotFound) as hidden:
            b.write(rule, person("omid"), job.id, Request())
        assert hidden.value.reason is Reason.TRAINING_JOB_NOT_FOUND
    with pytest.raises(NotFound):
        b.read(b.rules.views.get, person("omid"), job.id)
    assert b.read(b.rules.views.page, person("omid"), "-", None, 0, "").items == ()
    assert b.read(b.rules.views.page, person("omid"), "sara", None, 0, "").items == ()
    assert len(b.read(b.rules.views.page, person("root", Role.ADMIN), "-", None, 0, "").items) == 1


def test_a_worker_may_not_steer_the_job_it_holds(b: Bench) -> None:
    b.create(start=True)
    held = b.claimed(b.register())
    with pytest.raises(Denied):
        b.write(b.rules.training.cancel, machine(), held.id, Request())
    assert b.read(b.rules.views.get, machine(), held.id).job.id == held.id


def test_pages_are_newest_first_and_filtered_by_state(b: Bench) -> None:
    jobs = [b.create(start=number % 2 == 0) for number in range(5)]
    first = b.read(b.rules.views.page, person(), "sara", None, 2, "")
    second = b.read(b.rules.views.page, person(), "sara", None, 2, first.next_token)
    third = b.read(b.rules.views.page, person(), "sara", None, 2, second.next_token)
    listed = [view.job.id for page in (first, second, third) for view in page.items]
    assert listed == [job.id for job in reversed(jobs)]
    assert third.next_token == ""
    queued = b.read(b.rules.views.page, person(), "-", JobState.QUEUED, 0, "")
    assert len(queued.items) == 3
    with pytest.raises(Invalid) as other:
        b.read(b.rules.views.page, person(), "-", JobState.QUEUED, 2, first.next_token)
    assert other.value.reason is Reason.PAGE_TOKEN_INVALID


@pytest.mark.contract("S0-105")
def test_pending_reason_says_what_is_missing(b: Bench) -> None:
    job = b.create(start=True, use_gpu=True)
    assert "No worker is online" in b.view(job).pending_reason
    b.register("bare", missing=("deepspeed", "torch"))
    assert b.view(job).pending_reason == (
        "The only online worker is not complete; it lacks deepspeed, torch."
    )
    b.register("barer", missing=("deepspeed",))
    assert "None of the 2 online workers is complete" in b.view(job).pending_reason
    small = b.register("small", devices=(CPU,))
    assert "has a GPU" in b.view(job).pending_reason
    assert b.claim(small) is None
    big = b.register("big", devices=(CPU, GPU))
    assert b.view(job).pending_reason == "Waits for a GPU worker to claim it."
    b.create(start=True)
    b.claimed(big)  # the first one
    other = b.create(start=True, use_gpu=True)
    assert b.view(other).pending_reason == "The only online worker that could take it is busy."
    b.clock.advance(21)
    assert "No worker is online" in b.view(other).pending_reason


@pytest.mark.contract("S0-105")
def test_the_plan_names_the_software_that_every_online_worker_lacks(b: Bench) -> None:
    b.register("one", missing=("deepspeed", "torch"))
    b.register("two", missing=("torch",))
    assert b.create().plan.missing_software == ("torch",)
    b.register("three")
    assert b.create().plan.missing_software == ()


def test_plan_warns_and_knows_what_will_not_fit(b: Bench) -> None:
    b.register("tiny", devices=(dataclasses.replace(CPU, memory_bytes=200 * MIB),))
    plan = b.create(warmup_steps=10**6, save_steps=10**6, eval_steps=10**6).plan
    assert [text.split()[0] for text in plan.warnings] == ["warmup_steps", "save_steps", "eval_steps"]
    assert [each.reason for each in plan.problems] == [Reason.OUT_OF_MEMORY]
    assert plan.duration is not None
    assert plan.global_batch_size == 8


def test_plan_counts_parameters_as_the_model_has_them() -> None:
    shape = {
        "hidden_size": 256,
        "num_layers": 4,
        "num_heads": 4,
        "vocab_size": 4096,
        "max_sequence_length": 256,
    }
    llama = filled(TrainingConfig(**shape), from_base=False)  # type: ignore[arg-type]
    # As transformers counts LlamaForCausalLM with i = 704 and tied embeddings.
    assert plans.parameters(llama) == 4 * (4 * 256**2 + 3 * 256 * 704 + 2 * 256) + 4096 * 256 + 256
    gpt2 = dataclasses.replace(llama, architecture="gpt2", hidden_size=768, num_layers=12, vocab_size=50257)
    assert plans.parameters(dataclasses.replace(gpt2, max_sequence_length=1024)) == 124_439_808


@pytest.mark.contract("S0-95")
def test_stats_count_states_and_time_spent_running(b: Bench) -> None:
    worker = b.register()
    b.create(start=True)
    held = b.claimed(worker)
    b.clock.advance(5)  # preparing does not count
    b.write(b.rules.reports.report, machine(), worker.name, held.name, 1, [running(1)])
    b.clock.advance(10)
    b.finish(worker, held, Ending(WorkOutcome.FAILED, problem()))
    b.create(start=True)
    held = b.claimed(worker)
    b.write(b.rules.reports.report, machine(), worker.name, held.name, 1, [running(1)])
    b.clock.advance(2.5)
    b.create()
    stats = b.read(b.rules.views.stats, person())
    assert stats.by_state == {JobState.FAILED: 1, JobState.RUNNING: 1, JobState.DRAFT: 1}
    assert stats.training_seconds == pytest.approx(12.5)
    assert b.view(held).training_seconds == pytest.approx(2.5)
    assert b.read(b.rules.views.stats, person("omid")).by_state == {}


def test_dependants_are_jobs_that_are_not_over(b: Bench) -> None:
    one = b.create()
    other = b.create()
    b.steer("cancel", other)
    rows = b.shelves.jobs
    assert b.read(rows.dependants, DATASET) == [one.name]
    assert b.read(rows.dependants, ArtifactName("sara", Kind.MODEL, "TINY")) == [one.name]
    assert b.read(rows.dependants, BASE) == []


def test_references_by_version_name_are_taken_as_they_are(b: Bench) -> None:
    reference = version_reference(f"{DATASET}/versions/v3")
    job = b.write(b.rules.training.create, person(), JobDraft(reference), Request()).job
    assert str(job.dataset.name) == f"{DATASET}/versions/3"
