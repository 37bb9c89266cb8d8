"""The servers that crash tests kill."""

import contextlib
from collections.abc import Iterator

import pytest

from helpers.forked_servers import ForkedServers


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkedServers]:
    """Load the server once for all these tests."""
    with contextlib.closing(ForkedServers(tmp_path_factory.mktemp("servers") / "errors")) as forked:
        yield forked
