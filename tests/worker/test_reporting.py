"""What the trainer says keeps its meaning in the API's words."""

from ingot.v1 import common_pb2, training_pb2
from ingot.worker import progress, reporting


def of(event: progress.Event) -> list[reporting.Event]:
    """Translate one event said at second 1.5."""
    return reporting.events_of(progress.Report(7, 1.5, event), "trainingJobs/job_1", "blake3:00")


def test_a_step_becomes_progress_and_numbers() -> None:
    step = progress.Progress(
        step=10,
        total=40,
        epoch=0.25,
        loss=2.0,
        smoothed_loss=2.5,
        grad_norm=1.0,
        learning_rate=0.001,
        tokens=4096,
        tokens_per_second=1000.0,
        step_seconds=0.5,
        eta_seconds=15.0,
        memory_bytes=10**9,
    )
    told, numbers = of(step)
    assert (told.progress.done, told.progress.total, told.progress.percent) == (10, 40, 25.0)
    assert (told.progress.rate, told.progress.eta.seconds) == (2.0, 15)
    assert numbers.metrics.step == 10
    wanted = {"loss", "smoothed_loss", "grad_norm", "learning_rate", "tokens_per_second", "step_seconds"}
    assert wanted | {"eta_seconds", "memory_bytes"} <= set(numbers.metrics.values)
    assert told.time.ToMilliseconds() == 1500


def test_phases_become_states() -> None:
    preparing, _ = of(progress.State("loading"))
    running, phase = of(progress.State("training"))
    assert preparing.state == training_pb2.TRAINING_JOB_STATE_PREPARING
    assert running.state == training_pb2.TRAINING_JOB_STATE_RUNNING
    assert phase.progress.phase == "training"


def test_series_get_the_names_of_the_api() -> None:
    (event,) = of(progress.Metrics(5, {"val/loss": 1.0, "val/perplexity": 2.7, "test/bits_per_byte": 0.5}))
    assert dict(event.metrics.values) == {"eval_loss": 1.0, "perplexity": 2.7, "test_bits_per_byte": 0.5}


def test_lines_keep_level_and_rank() -> None:
    (event,) = of(progress.Log("warning", "odd", rank=3))
    assert (event.log.level, event.log.rank, event.log.text) == (common_pb2.LOG_LEVEL_WARNING, 3, "odd")


def test_checkpoints_results_and_outcomes_go_other_ways() -> None:
    assert of(progress.Outcome("paused", 3)) == []
    assert of(progress.Result("/model", 3, 10)) == []
    assert of(progress.Checkpoint(3, "/ckpt", "periodic", 0.5, 100)) == []


def test_a_resume_is_certified() -> None:
    (event,) = of(progress.Resumed(1500, exact=False, reason="threads was 2 and is 4"))
    certificate = event.resume_certificate
    assert (certificate.step, certificate.exact) == (1500, False)
    assert certificate.checkpoint == "trainingJobs/job_1/checkpoints/1500"
    assert certificate.reason == "threads was 2 and is 4"


def test_no_more_than_all_of_it_is_done() -> None:
    assert reporting.fetching("data", 30, 20).progress.percent == 100.0
    assert reporting.fetching("data", 5, 20).progress.percent == 25.0
    assert reporting.fetching("data", 5, 0).progress.percent == 0.0
