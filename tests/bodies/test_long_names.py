"""Names that the disk cannot hold: told once, and never tried again."""

from pathlib import Path

import pytest

from ingot.server.bodies import folders
from ingot.server.bodies.failures import translated
from ingot.server.core.errors import Reason


@pytest.mark.parametrize("name", ["x" * 250, "y" * 300])
def test_a_target_with_a_name_that_is_too_long_ends_the_operation(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError, match="too long") as caught, folders.held(tmp_path / name):
        pytest.fail("it was held")
    failure = translated(caught.value, "")
    assert (failure.reason, failure.retry) == (Reason.BAD_PATH, False)
    assert failure.message.endswith("it is too long.")
    assert len(failure.message) < 400
