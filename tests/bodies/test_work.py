"""What a body tells while it works: rate, time that is left, files; and how it hears that it should stop."""

import json
import os
import pathlib
import threading

import pytest

from helpers.bodies import body_spec
from ingot.server.bodies import __main__ as program
from ingot.server.bodies.failures import Cancelled
from ingot.server.bodies.reports import Reports
from ingot.server.bodies.work import Settings, Work
from ingot.server.core import params, upkeep_params
from ingot.server.core.body_protocol import Report
from ingot.server.core.events import FileProgress


class Rig:
    """A body's work with a clock that a test turns, and a pipe that it reads."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.now = 100.0
        self.stopping = threading.Event()
        self._read, write = os.pipe()
        spec = body_spec(folder, "clean", {})
        self.work = Work(spec, upkeep_params.UpkeepParams(), Reports(write), self.stopping, lambda: self.now)

    def told(self) -> Report:
        assert self.work.flush()
        return Report.model_validate(json.loads(os.read(self._read, 65536)))


def test_the_rate_is_that_of_the_last_seconds_and_tells_what_is_left(tmp_path: pathlib.Path) -> None:
    rig = Rig(tmp_path)
    rig.work.progress(0, 1000, phase="fetching")
    first = rig.told().progress
    assert first is not None
    assert (first.rate, first.eta) == (0.0, None)
    for second in range(1, 31):
        rig.now += 1.0
        rig.work.progress(10 * second if second <= 20 else 200 + 40 * (second - 20), 1000, phase="fetching")
    latest = rig.told().progress
    assert latest is not None
    assert (latest.done, latest.percent, latest.rate, latest.eta) == (600, 60.0, 40.0, 10.0)
    assert not rig.work.flush()  # told already


def test_a_new_phase_begins_anew_and_few_files_are_told(tmp_path: pathlib.Path) -> None:
    rig = Rig(tmp_path)
    rig.work.progress(500, 1000, phase="fetching")
    rig.now += 1
    files = [FileProgress(f"{index}", index, 10) for index in range(20)]
    rig.work.progress(3, 4, phase="checking", unit="files", message="third", files=files)
    progress = rig.told().progress
    assert progress is not None
    assert (progress.phase, progress.unit, progress.rate, progress.percent) == (
        "checking",
        "files",
        0.0,
        75.0,
    )
    assert progress.files == tuple(files[:8])


def test_whoever_is_asked_to_stop_hears_it_everywhere(tmp_path: pathlib.Path) -> None:
    rig = Rig(tmp_path)
    rig.work.check()
    rig.stopping.set()
    assert rig.work.cancelled()
    for call in (rig.work.check, lambda: rig.work.wait(60), lambda: rig.work.progress(1, phase="x")):
        with pytest.raises(Cancelled):
            call()


def test_settings_that_are_not_told_are_empty() -> None:
    settings = Settings({"a": "text", "b": 3, "c": 0.5, "d": True, "e": ("x", "y")})
    assert (settings.text("a"), settings.whole("b"), settings.number("c")) == ("text", 3, 0.5)
    assert (settings.flag("d"), settings.texts("e")) == (True, ("x", "y"))
    assert (settings.text("z"), settings.whole("z"), settings.flag("z"), settings.texts("z")) == (
        "",
        0,
        False,
        (),
    )


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("import", {"source": {"kind": "hub", "repository": "gpt2"}}),
        ("import", {"source": {"kind": "urls", "files": [{"urls": ["https://example.org/a"]}]}}),
        ("import", {"source": {"kind": "bundle", "path": "b.ingot"}}),
    ],
)
def test_every_import_has_a_body(kind: str, wanted: dict[str, object]) -> None:
    parsed = params.ImportParams.model_validate({**wanted, "target": {"artifact": "namespaces/a/models/b"}})
    assert callable(program.find_body(parsed, kind))
