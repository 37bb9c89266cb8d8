"""What bodies write to stdout and stderr: kept in part when it is much, without what is secret."""

import os
from pathlib import Path

import pytest
from pydantic import JsonValue

from helpers.bodies import body_spec
from helpers.runners import runner_rig
from ingot.server.core.operations import OperationState, RetryPolicy
from ingot.server.runner import bodies


def test_the_middle_of_a_large_log_is_left_out_and_writing_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "op_1.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"begin\n")
        for turn in range(3):
            os.truncate(log, bodies.MOST_OUTPUT)
            writer.write(b"turn %d\n" % turn)
            bodies.bound_output(log)
        writer.write(b"end\n")
    written = log.read_bytes()
    assert len(written) < bodies.KEPT_OUTPUT + 100_000
    assert written.startswith(b"begin\n")
    assert written.endswith(b"turn 2\nend\n")
    assert written.count(b"output was left out") == 1


@pytest.mark.slow
def test_a_body_that_writes_without_end_fills_no_disk_and_its_last_words_are_told(tmp_path: Path) -> None:
    with runner_rig(tmp_path) as rig:
        operation = rig.enqueue("chatty", policy=RetryPolicy(2, 0.0))
        ended = rig.until(operation, OperationState.FAILED)
    assert ended.problem is not None
    assert ended.problem.facts["output"].endswith("last words")
    log = tmp_path / "logs" / "operations" / f"{operation.id}.log"
    assert log.stat().st_size <= bodies.MOST_OUTPUT


def test_what_nobody_is_to_read_is_known_to_whoever_writes_logs(tmp_path: Path) -> None:
    urls: JsonValue = [
        "https://e.example/a?X-Amz-Signature=s3cret",
        "https://e.example/b?v=1",
        "https://e.example/c",
    ]
    source: JsonValue = {"kind": "urls", "files": [{"urls": urls}]}
    spec = body_spec(tmp_path, "import", {"source": source}, token="of-the-attempt", secrets={"h": "word"})
    assert spec.hidden == ("of-the-attempt", "word", "X-Amz-Signature=s3cret")
