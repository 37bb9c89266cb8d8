"""The same training done again, as another job, gives the same files; a result tells no job and no time."""

import dataclasses
from pathlib import Path

import pytest

from helpers import training
from ingot.worker.progress import Result

pytestmark = pytest.mark.slow


def _result(dataset: Path, work: Path, job: str, attempt: int) -> dict[str, bytes]:
    config = training.tiny(max_steps=4, dropout=0.1)
    spec = dataclasses.replace(training.make_spec(dataset, work, config), job=job, attempt=attempt)
    _, events = training.run(spec)
    (result,) = training.of(Result, events)
    folder = Path(result.folder)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_another_job_makes_the_same_files(tmp_path: Path) -> None:
    dataset = training.write_jsonl(tmp_path / "d", training.conversations(60))
    first = _result(dataset, tmp_path / "1", "trainingJobs/job_1", 1)
    second = _result(dataset, tmp_path / "elsewhere" / "2", "trainingJobs/job_22", 3)
    assert "model.safetensors" in first
    assert {path for path in first.keys() | second.keys() if first.get(path) != second.get(path)} == set()
