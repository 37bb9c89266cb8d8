"""Which pages of a file hold rows is found in the file itself; whatever stands there, nothing goes wrong."""

import fcntl
import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.server.storage.file_pages import FilePages

ROWS = 6000
KEYS = [7, 8, 1234, 4000, 4001, 5999]


def mark(key: int) -> str:
    """Return what a row begins with, and no other."""
    return f"<row {key}>"


@pytest.fixture(scope="module", params=[512, 4096, 65536])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a table of rows and an index that begins with their keys, at one size of page."""
    path = tmp_path_factory.mktemp("pages") / "rows.db"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA page_size = {request.param}")
    connection.execute("CREATE TABLE note(id INTEGER PRIMARY KEY, number INTEGER, text TEXT)")
    connection.execute("CREATE INDEX numbered ON note(number, text)")
    connection.execute("CREATE INDEX told ON note(text)")
    connection.executemany(
        "INSERT INTO note VALUES (?, ?, ?)",
        [(key * 1000, key - ROWS // 2, mark(key) + "." * (key % 400)) for key in range(ROWS)],
    )
    connection.commit()
    connection.close()
    return path


def root_of(database: Path, name: str) -> int:
    """Return the first page of a table or index."""
    connection = sqlite3.connect(database)
    found = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)).fetchone()
    connection.close()
    return int(found[0])


def brought(database: Path, name: str, keys: Sequence[int | bytes]) -> bytes:
    """Return what stands in the pages that were brought for these keys."""
    pages = FilePages(str(database))
    numbers = pages.bring(root_of(database, name), keys)
    pages.close()
    content = database.read_bytes()
    size = int.from_bytes(content[16:18], "big")
    size = 65536 if size == 1 else size
    assert len(numbers) * size < len(content) or size == 65536
    return b"".join(content[(number - 1) * size : number * size] for number in sorted(numbers))


def test_the_pages_of_rows_are_found(database: Path) -> None:
    found = brought(database, "note", [key * 1000 for key in KEYS])
    assert all(mark(key).encode() in found for key in KEYS)


def test_the_pages_of_an_index_are_found(database: Path) -> None:
    found = brought(database, "numbered", [key - ROWS // 2 for key in KEYS])
    assert all(mark(key).encode() in found for key in KEYS)


def test_the_pages_of_texts_are_found(database: Path) -> None:
    found = brought(database, "told", [mark(key).encode() for key in KEYS])
    assert all(mark(key).encode() in found for key in KEYS)


def test_keys_without_rows_lead_to_the_pages_where_they_would_be(database: Path) -> None:
    found = brought(database, "note", [-(2**62), 4000 * 1000 + 1, 2**62])
    assert mark(0).encode() in found
    assert mark(ROWS - 1).encode() in found


@settings(max_examples=40)
@given(content=st.binary(max_size=4000), root=st.integers(1, 9), kind=st.sampled_from((2, 5)))
def test_pages_that_say_anything_at_all_do_no_harm(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, root: int, kind: int
) -> None:
    path = tmp_path_factory.mktemp("torn") / "torn.db"
    body = bytearray((content * 9)[:4608].ljust(4608, b"\x05"))
    body[16:18] = (512).to_bytes(2, "big")
    for place in range(512, len(body), 512):
        body[place] = kind
    path.write_bytes(body)
    pages = FilePages(str(path))
    assert root in pages.bring(root, range(50))
    pages.close()


def test_an_empty_file_has_no_pages(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    pages = FilePages(str(tmp_path / "empty.db"))
    assert pages.bring(1, [1, 2, 3]) == {1}
    pages.close()


@pytest.mark.slow
def test_closing_leaves_the_locks_of_others_alone(tmp_path: Path) -> None:
    path = tmp_path / "shared.db"
    path.write_bytes(b"x" * 100)
    holder = os.open(path, os.O_RDWR)
    fcntl.lockf(holder, fcntl.LOCK_EX)
    first, second = FilePages(str(path)), FilePages(str(path))
    first.close()
    look = (
        "import fcntl, struct, sys\n"
        "asked = struct.pack('hhqqi', fcntl.F_WRLCK, 0, 0, 0, 0)\n"
        "told = fcntl.fcntl(open(sys.argv[1], 'rb+'), fcntl.F_GETLK, asked)\n"
        "print(struct.unpack('hhqqi', told)[0])"
    )
    said = subprocess.run([sys.executable, "-c", look, str(path)], capture_output=True, check=True, text=True)
    assert int(said.stdout) == fcntl.F_WRLCK
    assert second.bring(1, [1]) == {1}
    second.close()
    os.close(holder)
