"""What surrounds every body, as a real process with a pipe."""

import pathlib
import signal

import pytest

from helpers.bodies import EndedBody, body_spec, run_body, running_body
from ingot.server.core.body_protocol import BodySpec, Report, ReportedProblem
from ingot.server.core.json_values import JsonObject

PROGRAM = ("-m", "helpers.body_program")
EMPTY = Report()


def spec(folder: pathlib.Path, body: str) -> BodySpec:
    params: JsonObject = {"versions": ["-"], "destination": {"kind": "bundle", "path": body, "root": "/"}}
    return body_spec(folder, "export", params, secrets={"example.org": "hf_abcdefghijkl"})


def run(folder: pathlib.Path, body: str) -> EndedBody:
    return run_body(spec(folder, body), PROGRAM)


def problem(folder: pathlib.Path, body: str) -> ReportedProblem:
    ended = run(folder, body)
    assert ended.status == 0
    assert ended.last.problem is not None
    assert "Traceback" not in ended.log
    return ended.last.problem


def test_progress_log_and_result_arrive_and_secrets_do_not(tmp_path: pathlib.Path) -> None:
    ended = run(tmp_path, "count")
    assert ended.status == 0
    assert ended.reports[0] == EMPTY  # it is there
    assert ended.last == Report(result={"counted": 1000})
    logs = [each.log for each in ended.reports if each.log]
    assert [(each.level, each.text) for each in logs] == [
        ("info", "counted"),
        ("warning", "the token is [secret]"),
    ]
    progress = [each.progress for each in ended.reports if each.progress]
    assert 1 <= len(progress) <= 50  # of a thousand; each half second one
    assert (progress[-1].done, progress[-1].percent, progress[-1].unit) == (1000, 100.0, "things")


def test_the_folder_survives_attempts_and_holds_what_the_client_remembers(tmp_path: pathlib.Path) -> None:
    assert run(tmp_path, "leave_and_find").last.result == {"found": "", "cache": f"{tmp_path}/op_1/cache"}
    again = run(tmp_path, "leave_and_find").last.result
    assert again is not None
    assert again["found"] == "left by an earlier attempt"


@pytest.mark.parametrize("body", ["wait", "spin"])
def test_it_beats_until_it_is_asked_to_stop(tmp_path: pathlib.Path, body: str) -> None:
    with running_body(spec(tmp_path, body), PROGRAM) as running:
        running.wait_for(lambda report: report.log)
        running.wait_for(lambda report: report in running.reports[2:])  # a beat, or the latest progress
        running.process.send_signal(signal.SIGINT)  # Ctrl-C is not for it
        running.process.send_signal(signal.SIGTERM)
        ended = running.end()
    assert (ended.status, ended.last) == (0, Report(cancelled=True))


def test_it_ends_quietly_when_the_server_is_gone(tmp_path: pathlib.Path) -> None:
    with running_body(spec(tmp_path, "wait"), PROGRAM) as running:
        running.wait_for(lambda report: report.log)
        running.leave()
        ended = running.end()
    assert (ended.status, ended.log) == (3, "")


def test_failures_are_reported_as_they_are(tmp_path: pathlib.Path) -> None:
    assert problem(tmp_path, "refuse") == ReportedProblem(
        reason="SOURCE_DENIED",
        message="No.",
        next_step="Ask nicely.",
        facts={"name": "x"},
        retry=True,
        retry_after=7.5,
    )
    later = problem(tmp_path, "core_error")
    assert (later.reason, later.retry, later.retry_after) == ("SOURCE_UNREACHABLE", True, 3.0)


def test_a_full_disk_and_a_server_that_is_away_are_named(tmp_path: pathlib.Path) -> None:
    full = problem(tmp_path, "disk")
    assert (full.reason, full.retry, full.facts) == ("DISK_LOW", True, {"path": f"{tmp_path}/op_1/big"})
    away = run(tmp_path, "client_error").last.problem
    assert away is not None
    assert (away.retry, "/nowhere" in away.message) == (True, True)


def test_the_unexpected_is_told_by_its_type_and_log_without_secrets(tmp_path: pathlib.Path) -> None:
    ended = run(tmp_path, "leak")
    assert ended.last.problem is not None
    assert ended.last.problem.reason == "INTERNAL"
    assert ended.last.problem.message == (
        f"It failed unexpectedly with RuntimeError; its log {tmp_path}/op_1.log tells more."
    )
    assert "RuntimeError: [secret] and [secret]" in ended.log
    assert "hf_abcdefghijkl" not in ended.log


def test_a_body_that_gets_no_memory_says_which_setting_it_is(tmp_path: pathlib.Path) -> None:
    ended = problem(tmp_path, "greedy")
    assert (ended.reason, ended.retry) == ("OUT_OF_MEMORY", False)
    assert ended.facts == {"limit": str(512 << 20), "setting": "body_memory_bytes"}
    assert "body_memory_bytes" in ended.next_step


def test_texts_that_are_no_unicode_arrive_all_the_same(tmp_path: pathlib.Path) -> None:
    ended = run(tmp_path, "odd_texts")
    assert ended.last == Report(
        problem=ReportedProblem(
            reason="BAD_PATH", message="It holds \\udcff.", facts={"path": "\\udcff\\udcfeq"}
        )
    )
    assert [each.log.text for each in ended.reports if each.log] == ["a \\udcfd"]
    progress = next(each.progress for each in ended.reports if each.progress)
    assert (progress.phase, progress.files[0].path) == ("\\udcff", "\\udcfe")


def test_the_real_program_refuses_parameters_it_does_not_know(tmp_path: pathlib.Path) -> None:
    ended = run_body(body_spec(tmp_path, "import", {"source": {"kind": "tape"}}))
    assert ended.last.problem is not None
    assert (ended.last.problem.reason, ended.last.problem.retry) == ("FIELD_INVALID", False)
