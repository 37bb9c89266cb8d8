"""Pages by key visit every row once, in order, whatever the ties and page sizes."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import notes
from helpers.notes import Note
from ingot.server.storage import keyset
from ingot.server.storage.database import Database, open_database


@pytest.fixture
def database() -> Iterator[Database]:
    opened = notes.prepare(open_database("sqlite:///:memory:"))
    yield opened
    opened.close()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.integers(0, 3), max_size=25), st.integers(1, 10), st.booleans())
def test_pages_cover_the_list(database: Database, numbers: list[int], size: int, descending: bool) -> None:
    def fill() -> None:
        Note.delete().execute()
        for index, number in enumerate(numbers):
            notes.add(f"n{index:02}", number)

    def walk() -> list[list[tuple[int, str]]]:
        pages: list[list[tuple[int, str]]] = []
        after: tuple[keyset.KeyValue, ...] | None = None
        while after is not None or not pages:
            rows, after = keyset.page(
                Note.select(), [Note.number, Note.name], after, size, descending=descending
            )
            pages.append([(row.number, row.name) for row in rows])
        return pages

    database.write(fill).result()
    pages = database.read(walk)
    expected = sorted([(number, f"n{index:02}") for index, number in enumerate(numbers)], reverse=descending)
    assert [row for rows in pages for row in rows] == expected
    assert all(len(rows) == size for rows in pages[:-1])


def test_a_page_is_one_index_search(database: Database) -> None:
    def plan() -> str:
        query = keyset.seek(Note.select(), [Note.name], ["m"]).limit(10)
        sql, parameters = query.sql()
        rows = Note._meta.database.execute_sql(f"EXPLAIN QUERY PLAN {sql}", parameters).fetchall()
        return " ".join(row[3] for row in rows)

    text = database.read(plan)
    assert "SEARCH" in text
    assert "TEMP B-TREE" not in text


def test_a_key_of_the_wrong_length_is_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="2 columns, got 1"):
        database.read(lambda: keyset.seek(Note.select(), [Note.number, Note.name], [1]))
