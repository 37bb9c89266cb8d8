"""Both dispatchers keep the same promises."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.dispatcher_contract import DispatcherContract
from helpers.runners import RunnerRig, runner_rig

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["rows", "memory"])
def dispatcher(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def rig(dispatcher: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerRig]:
    with runner_rig(tmp_path_factory.mktemp("home"), dispatcher) as made:
        yield made


@pytest.fixture
def fresh(dispatcher: str, tmp_path: Path) -> Iterator[RunnerRig]:
    with runner_rig(tmp_path, dispatcher, slots=2) as made:
        yield made


class TestDispatchers(DispatcherContract):
    pass
