"""Events on the pipe: what is written is read, and a cut or a vanished reader harms nobody."""

import io
import os
from pathlib import Path

import pytest

from ingot.worker import progress
from ingot.worker.problem import Problem
from ingot.worker.progress import (
    Checkpoint,
    Event,
    EventWriter,
    Log,
    Metrics,
    Outcome,
    Preparation,
    Progress,
    Result,
    State,
)

EVENTS: list[Event] = [
    State("training"),
    Preparation(3, 10, "records"),
    Progress(1, 10, 0.1, 0.1 + 0.2, 2.5, 1.0, 1e-4, 512, 1000.0, 0.5, 4.5, 1 << 30),
    Metrics(1, {"val/loss": 1.25}),
    Log("info", "سلام، می‌روم"),
    Checkpoint(5, "/x", "periodic", 0.5, 100, {"val/loss": 1.0}),
    Result("/y", 10, 1000, {}),
    Outcome("failed", 10, Problem("DIVERGED", "no", {"step": "10"}, "lower it")),
]


@pytest.mark.contract("S0-50", "S0-51")
def test_every_event_comes_back_as_it_was_sent() -> None:
    read_end, write_end = os.pipe()
    writer = EventWriter(write_end)
    for event in EVENTS:
        writer.send(event)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as stream:
        reports = list(progress.read_events(stream))
    assert [report.event for report in reports] == EVENTS
    assert [report.seq for report in reports] == list(range(1, len(EVENTS) + 1))
    assert isinstance(reports[2].event, Progress)
    assert reports[2].event.loss.hex() == (0.1 + 0.2).hex()


def test_a_frame_cut_by_a_kill_ends_the_stream() -> None:
    whole = progress.encode_frame(
        {"seq": 1, "time": 0.0, "kind": "state", "phase": "training", "message": ""}
    )
    for cut in range(1, len(whole)):
        reports = list(progress.read_events(io.BytesIO(whole + whole[:cut])))
        assert len(reports) == 1


def test_a_reader_that_left_does_not_stop_the_writer() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    writer = EventWriter(write_end)
    writer.send(State("training"))
    writer.send(State("saving"))
    os.close(write_end)


def test_a_huge_log_line_is_cut_at_a_character(tmp_path: Path) -> None:
    path = tmp_path / "events"
    with path.open("wb") as file:
        EventWriter(file.fileno()).log("ی" * progress.LARGEST_LOG, "warning")
    with path.open("rb") as stream:
        (report,) = progress.read_events(stream)
    assert isinstance(report.event, Log)
    assert report.event.text == "ی" * (progress.LARGEST_LOG // 2)


def test_a_frame_beyond_the_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="over the limit"):
        list(progress.read_frames(io.BytesIO(b"\xff\xff\xff\xff")))
