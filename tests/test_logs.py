"""Logs: every event in the file, and no token, whoever logged it."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingot.server import logs

SECRET = "ingot_12_AbCdEfGhIjKlMnOpQrStUvWxYz-_0123456789"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    root = logging.getLogger()
    level = root.level
    handlers = logs.start(tmp_path, "info")
    yield tmp_path
    logs.stop(handlers)
    root.setLevel(level)


@pytest.mark.contract("S0-111")
@pytest.mark.contract("S4-46")
def test_events_reach_the_file_with_time_level_and_fields(folder: Path) -> None:
    logging.getLogger("ingot.server.test").info("upload.committed name=%s size=%d", "uploads/file_1", 12)
    logging.getLogger("ingot.server.test").debug("quiet")
    lines = (folder / "server.log").read_text().splitlines()  # threads of other tests may log, too
    (line,) = (each for each in lines if "ingot.server.test" in each)
    assert line.endswith("INFO    ingot.server.test upload.committed name=uploads/file_1 size=12")
    assert line.startswith("20")


@pytest.mark.parametrize(
    "text", [SECRET, f"Bearer {SECRET}", f"authorization: bearer {SECRET}", f"'{SECRET}',"]
)
def test_a_token_is_blanked_wherever_it_stands(folder: Path, text: str) -> None:
    log = logging.getLogger("somebody.else")
    log.error("sent %s", text)
    try:
        raise ValueError(text)
    except ValueError:
        log.exception("failed")
    written = (folder / "server.log").read_text()
    assert "AbCdEf" not in written
    assert written.count("[token]") >= 2


def test_names_of_tokens_stay_readable(folder: Path) -> None:
    logging.getLogger("x").info(
        "identity.token_revoked name=users/sara/tokens/tok_12 folder=ingot_data_folder"
    )
    assert "tok_12 folder=ingot_data_folder" in (folder / "server.log").read_text()


def test_a_disk_that_takes_neither_the_file_nor_stderr_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "server.log").symlink_to("/dev/full")
    full = open("/dev/full", "w", buffering=1)  # noqa: SIM115  # as stderr is, and closing it fails, too
    monkeypatch.setattr(sys, "stderr", full)
    handlers = logs.start(tmp_path, "info")
    try:
        logging.getLogger("ingot.server.test").error("database.transaction_failed")  # returns
    finally:
        logs.stop(handlers)
        with contextlib.suppress(OSError):
            full.close()
