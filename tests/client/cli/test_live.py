"""The line that tells how far something is: on a terminal, without one, and after Ctrl-C."""

import io
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from helpers import canned_answers
from helpers.canned_answers import JOB
from helpers.canned_server import CannedServer, failure
from helpers.patterns import pattern
from ingot.client._progress import Stage, TransferProgress
from ingot.client.cli.bars import TransferBar
from ingot.client.cli.job_view import JobView
from ingot.client.cli.live import LiveBlock, LiveLine
from ingot.client.cli.operation_view import OperationView, bars
from ingot.client.cli.output import Output
from ingot.v1 import common_pb2, operations_pb2
from ingot.v1 import training_pb2 as pb

ROOT = pathlib.Path(__file__).parents[3]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_terminal_sees_one_line_rewritten_ten_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "20")
    notes, clock = Terminal(), Clock()
    line = LiveLine(Output(io.StringIO(), notes), clock)
    line.show("first")
    line.show("too soon")
    clock.now = 0.2
    line.show("دوم: a text that is too long for it")
    line.clear()
    assert notes.getvalue() == "\r\x1b[Kfirst\r\x1b[Kدوم: a text that i…\r\x1b[K"


@pytest.mark.parametrize("dumb", [True, False])
def test_without_a_terminal_there_is_a_plain_line_every_five_seconds(
    monkeypatch: pytest.MonkeyPatch, dumb: bool
) -> None:
    monkeypatch.setenv("TERM", "dumb" if dumb else "xterm")
    notes, clock = Terminal() if dumb else io.StringIO(), Clock()
    line = LiveLine(Output(io.StringIO(), notes), clock)
    for clock.now in (0.0, 1.0, 5.0, 6.0, 10.0):
        line.show(f"at {clock.now:g}")
    line.clear()
    assert notes.getvalue() == "at 5\nat 10\n"


@pytest.mark.parametrize("form", ["json", "quiet"])
def test_json_and_quiet_have_no_live_line(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.setenv("TERM", "xterm")
    notes = Terminal()
    LiveLine(Output(io.StringIO(), notes, json=form == "json", quiet=form == "quiet"), Clock()).show("text")
    assert notes.getvalue() == ""


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_can_be_refused(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv("TERM", "xterm")
    notes = Terminal()
    out = Output(io.StringIO(), notes)
    out.error("odd")
    out.warn("odd")
    monkeypatch.setenv(variable, value)
    out.error("odd")
    coloured = "\x1b[1;31merror:\x1b[0m odd\n\x1b[33mwarning:\x1b[0m odd\n"
    assert notes.getvalue() == f"{coloured}error: odd\n"


def test_a_bar_tells_stage_share_speed_time_left_and_what_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    notes = Terminal()
    bar = TransferBar(Output(io.StringIO(), notes))
    mib = 1 << 20
    for second, moved in ((1.0, 0), (3.0, 20 * mib)):
        bar.show(
            TransferProgress(
                Stage.SENDING,
                files_total=4,
                files_done=1,
                bytes_total=100 * mib,
                bytes_moved=moved,
                bytes_reused=30 * mib,
                seconds=second,
            )
        )
    first = notes.getvalue()
    assert (
        "Sending     ██████░░░░░░░░░░░░░░   30%  30.00 MB of 100.00 MB  1/4 files  30.00 MB was there"
        in first
    )
    bar.show(TransferProgress(Stage.VERIFYING, files_total=4, files_done=4, bytes_total=mib, seconds=4.0))
    assert "Verifying" in notes.getvalue()


def test_with_json_programs_read_one_object_a_line() -> None:
    notes = io.StringIO()
    bar = TransferBar(Output(io.StringIO(), notes, json=True))
    for stage, second, moved in (
        (Stage.HASHING, 0.0, 0),
        (Stage.SENDING, 0.1, 10),
        (Stage.SENDING, 0.9, 50),  # too soon
        (Stage.SENDING, 1.2, 70),
        (Stage.DONE, 1.3, 100),
    ):
        bar.show(TransferProgress(stage, bytes_total=120, bytes_moved=moved, bytes_reused=20, seconds=second))
    bar.end()
    told = [json.loads(line) for line in notes.getvalue().splitlines()]
    assert [(each["stage"], each["bytes_moved"], each["seconds"]) for each in told] == [
        ("HASHING", 0, 0.0),
        ("SENDING", 10, 0.1),
        ("SENDING", 70, 1.2),
        ("DONE", 100, 1.3),
    ]
    assert told[2]["bytes_per_second"] == 50  # as it was measured last
    assert (told[2]["bytes_done"], told[2]["bytes_total"], told[2]["bytes_reused"]) == (90, 120, 20)


def test_speed_and_time_left_are_of_this_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    notes, mib = Terminal(), 1 << 20
    bar = TransferBar(Output(io.StringIO(), notes))
    bar.show(TransferProgress(Stage.HASHING, files_total=1, bytes_total=100 * mib, bytes_hashed=90 * mib))
    for stage, second, moved in ((Stage.SENDING, 1.0, 0), (Stage.COMMITTING, 3.0, 100 * mib)):
        bar.show(
            TransferProgress(stage, files_total=1, bytes_total=100 * mib, bytes_moved=moved, seconds=second)
        )
    assert "/s" not in notes.getvalue()  # no stage has lasted long enough to be measured


def test_the_line_of_the_moment_has_every_number_that_helps() -> None:
    view = JobView()
    assert list(view.lines(pb.WatchTrainingJobResponse(snapshot=canned_answers.job()))) == [
        f"{JOB} is running"
    ]
    assert view.now() == (
        "training  step 30/120  25 %  loss 2.25  smoothed 2.5  lr 1.80e-03  12,345 tokens/s  1m 00s left"
    )


def test_an_import_shows_the_whole_and_each_file_in_flight() -> None:
    view = OperationView(drawn=True, every_line=False)
    snapshot = operations_pb2.WatchOperationResponse(snapshot=canned_answers.operation("RUNNING"))
    assert list(view.lines(snapshot)) == ["operations/op_12 is running: import models/ada/tiny"]
    assert view.now() == [
        "fetching    █████░░░░░░░░░░░░░░░   25%  32.00 MB of 128.00 MB  4.00 MB/s  24 s left",
        "  model.safetensors  █████░░░░░░░░░░░░░░░  24.00 MB of 96.00 MB",
        "  tokenizer.json     █████░░░░░░░░░░░░░░░  8.00 MB of 32.00 MB",
    ]

    def after(state: str) -> list[str]:
        event = common_pb2.Event(seq=1, state=common_pb2.StateChange(to=state))
        assert list(view.lines(operations_pb2.WatchOperationResponse(event=event)))
        return view.now()

    assert after("RETRYING") == ["retrying    waits for the next try"]
    assert after("QUEUED") == ["queued      waits for its turn"]
    assert after("SUCCEEDED") == []


def test_progress_without_a_total_and_with_a_long_path() -> None:
    progress = common_pb2.Progress(phase="reading", done=1200, unit="records", rate=300, message="a.jsonl")
    assert bars(progress, drawn=True) == ["reading     1,200 records  300/s  a.jsonl"]
    path = "very/" * 20 + "end.bin"
    progress.files.add(path=path, done=5)
    (_, file) = bars(progress, drawn=True)
    assert file == f"  …{path[-39:]}  5 B"


def test_several_lines_are_redrawn_in_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "10")
    monkeypatch.setenv("LINES", "4")
    notes, clock = Terminal(), Clock()
    block = LiveBlock(Output(io.StringIO(), notes), clock)
    block.show(["whole", "one", "two"])
    block.show(["too soon"])
    clock.now = 0.2
    block.show(["whole", "a line that is too long", "three", "does not fit"])
    block.clear()
    block.clear()
    assert notes.getvalue() == (
        "\r\x1b[Jwhole\none\ntwo\r\x1b[2A\x1b[Jwhole\na line t…\nthree\r\x1b[2A\x1b[J"
    )


def test_without_a_terminal_only_the_whole_is_told_now_and_then() -> None:
    notes, clock = io.StringIO(), Clock()
    block = LiveBlock(Output(io.StringIO(), notes), clock)
    for clock.now in (0.0, 5.0, 6.0, 10.0, 15.0):
        block.show([f"whole {clock.now:g}", "file"], plain=1)
    clock.now = 20.0
    block.show(["whole 15", "another"], plain=2)
    block.clear()
    assert notes.getvalue() == "whole 5\nwhole 10\nwhole 15\nanother\n"


def _waiting(release: threading.Event) -> Iterator[pb.WatchTrainingJobResponse]:
    yield pb.WatchTrainingJobResponse(snapshot=canned_answers.job())
    release.wait(100)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_leaves_the_job_alone_and_says_how_to_come_back(
    canned: CannedServer, number: signal.Signals
) -> None:
    release = threading.Event()
    canned.answer("TrainingService/WatchTrainingJob", lambda _: _waiting(release))
    path = os.pathsep.join(str(ROOT / each) for each in ("clients/python", "generated/python"))
    watch = subprocess.Popen(
        [sys.executable, "-m", "ingot.client.cli.main", "jobs", "watch", "1", "--server", canned.address],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert watch.stdout is not None
        assert watch.stdout.readline() == f"{JOB} is running\n"
        watch.send_signal(number)
        _, errors = watch.communicate(timeout=100)
    finally:
        release.set()
        watch.kill()
        watch.wait()
    assert watch.returncode == 8
    come_back = f"ingot -s {canned.address} jobs watch job_1"
    assert errors.endswith(f"Stopped. The job goes on. Come back: {come_back}\n")
    assert "Traceback" not in errors
    assert canned.requests("TrainingService/CancelTrainingJob") == []


def _fetching(release: threading.Event) -> Iterator[operations_pb2.WatchOperationResponse]:
    yield operations_pb2.WatchOperationResponse(snapshot=canned_answers.operation("RUNNING"))
    yield operations_pb2.WatchOperationResponse(synced=common_pb2.Synced())
    for seq in (6, 7):
        line = common_pb2.LogLine(level=common_pb2.LOG_LEVEL_WARNING, text="slow")
        yield operations_pb2.WatchOperationResponse(event=common_pb2.Event(seq=seq, log=line))
    release.wait(100)


@pytest.mark.slow
def test_ctrl_c_leaves_an_import_to_the_server_and_says_how_to_come_back(canned: CannedServer) -> None:
    release = threading.Event()
    running = canned_answers.operation("RUNNING")
    canned.answer("OperationsService/StartImport", operations_pb2.StartImportResponse(operation=running))
    canned.answer("OperationsService/WatchOperation", lambda _: _fetching(release))
    path = os.pathsep.join(str(ROOT / each) for each in ("clients/python", "generated/python"))
    words = ["import", "hf://google/tiny", "--server", canned.address]
    watch = subprocess.Popen(
        [sys.executable, "-m", "ingot.client.cli.main", *words],
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert watch.stderr is not None
        lines = [watch.stderr.readline() for _ in range(3)]
        assert lines[0] == "operations/op_12 does that already; following it.\n"
        assert [line.endswith("  warning: slow\n") for line in lines[1:]] == [True, True]
        watch.send_signal(signal.SIGINT)
        _, errors = watch.communicate(timeout=100)
    finally:
        release.set()
        watch.kill()
        watch.wait()
    assert watch.returncode == 8
    assert re.search(  # a line is printed just before it counts as seen
        r"^Stopped\. The server goes on with it\. Come back: ingot -s \S+ operations watch op_12 --after [67]"
        r"    Stop it: ingot -s \S+ operations cancel op_12$",
        errors,
        re.MULTILINE,
    )
    assert canned.requests("OperationsService/CancelOperation") == []


@pytest.mark.slow
@pytest.mark.parametrize("command", [["pull", "datasets/ada/chat"], ["cat", "datasets/ada/chat:a.txt"]])
def test_ctrl_c_while_a_registered_source_is_fetched_names_the_import(
    canned: CannedServer, tmp_path: pathlib.Path, command: list[str]
) -> None:
    release = threading.Event()
    refused = failure("FAILED_PRECONDITION", "It is not here.", "NOT_FETCHED", operation="operations/op_12")
    for method in ("ReadManifest", "ReadFile"):
        canned.answer(f"TransferService/{method}", refused)

    def told(_: object) -> Iterator[operations_pb2.WatchOperationResponse]:
        watched.set()
        return _fetching(release)

    watched = threading.Event()
    canned.answer("OperationsService/WatchOperation", told)
    path = os.pathsep.join(str(ROOT / each) for each in ("clients/python", "generated/python"))
    words = [*command, "--server", canned.address]
    reader = subprocess.Popen(
        [sys.executable, "-m", "ingot.client.cli.main", *words],
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    try:
        assert watched.wait(100)
        reader.send_signal(signal.SIGINT)
        _, errors = reader.communicate(timeout=100)
    finally:
        release.set()
        reader.kill()
        reader.wait()
    assert reader.returncode == 8
    ingot = f"ingot -s {canned.address} operations"
    assert errors.endswith(
        "Stopped. The server goes on with it. "
        f"Come back: {ingot} watch op_12    Stop it: {ingot} cancel op_12\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("module", ["difflib", "grpc"])
def test_ctrl_c_while_modules_are_loaded_leaves_no_traceback(
    tmp_path: pathlib.Path, module: str, number: signal.Signals
) -> None:
    text = "import os, sys\nos.write(1, b'loading\\n')\nsys.stdin.read()\n"  # blocks until the signal
    (tmp_path / f"{module}.py").write_text(text)
    path = os.pathsep.join(
        str(each) for each in (tmp_path, ROOT / "clients/python", ROOT / "generated/python")
    )
    started = subprocess.Popen(
        [sys.executable, "-m", "ingot.client.cli.main", "ls", "--server", "127.0.0.1:1"],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert started.stdout is not None
        assert started.stdout.readline() == "loading\n"
        started.send_signal(number)
        _, errors = started.communicate(timeout=100)
    finally:
        started.kill()
        started.wait()
    assert (started.returncode, errors) == (8, "\nStopped.\n")


@pytest.mark.slow
def test_ctrl_c_stops_a_push_and_the_same_command_goes_on(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from helpers.command_lines import CommandLine
    from helpers.servers import running_server

    (tmp_path / "data.bin").write_bytes(pattern("push", 8 << 20))
    with running_server(tmp_path / "server") as server:
        monkeypatch.setenv("INGOT_TOKEN", server.token("sara"))
        monkeypatch.setenv("INGOT_CACHE_DIR", str(tmp_path / "cache"))
        path = os.pathsep.join(str(ROOT / each) for each in ("clients/python", "generated/python"))
        words = ["push", "datasets/slow", str(tmp_path / "data.bin"), "--server", server.address]
        push = subprocess.Popen(
            [sys.executable, "-m", "ingot.client.cli.main", *words, "--limit-rate", "100K"],
            env={**os.environ, "PYTHONPATH": path},
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert push.stderr is not None
            assert any("Sending" in line for line in push.stderr)
            push.send_signal(signal.SIGINT)
            _, errors = push.communicate(timeout=100)
        finally:
            push.kill()
            push.wait()
        assert push.returncode == 8
        assert "the same command goes on from there" in errors
        assert "Traceback" not in errors
        again = CommandLine(server.address).run(*words[:-2])
        assert (again.code, again.out.startswith("datasets/sara/slow@1  blake3:")) == (0, True), again.err


def test_a_live_line_cannot_steer_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    notes = Terminal()
    LiveLine(Output(io.StringIO(), notes), Clock()).show("phase\x1b[2J\nforged")
    assert notes.getvalue() == "\r\x1b[Kphase\\x1b[2J\\nforged"
