"""Fixtures and rules for every test: no settings of the machine leak in, and nothing talks to the network."""

import gc
import itertools
import os
import shutil
import signal
from collections.abc import Generator, Iterator

import hypothesis
import pytest

# Shared machines are slow in bursts: a property is judged by its answer, not by its time.
_PATIENT = [hypothesis.HealthCheck.too_slow]  # a second for ten examples
hypothesis.settings.register_profile(
    "ingot", deadline=None, derandomize=True, database=None, suppress_health_check=_PATIENT
)
hypothesis.settings.load_profile("ingot")

# A shell's `&` and nohup hand signals down ignored, and what the tests start would be deaf to them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)  # the tests themselves go on

_homes = itertools.count()

# Before any test module imports a library that reads these.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep what stays to the end, thousands of tests and their modules, out of every garbage collection."""
    gc.disable()
    result = yield
    gc.collect()
    gc.freeze()
    gc.enable()
    return result


@pytest.fixture(autouse=True)
def _own_environment(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """Hide the developer's own server, token and configuration from the test."""
    for name in list(os.environ):
        if name.startswith("INGOT_"):
            monkeypatch.delenv(name)
    # Two of three tests ask for no folder. None is made for them: that takes as long as many of them.
    asked = "tmp_path" in request.fixturenames
    folder = (
        request.getfixturevalue("tmp_path") if asked else tmp_path_factory.getbasetemp() / str(next(_homes))
    )
    for kind in ("cache", "config", "data"):
        monkeypatch.setenv(f"XDG_{kind.upper()}_HOME", str(folder / "xdg" / kind))
    yield
    if not asked and folder.exists():
        shutil.rmtree(folder)
