"""Page tokens cannot be forged or moved to another list; pages end before a message grows too large."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.refusals import refusal_of
from ingot.server.core import pages
from ingot.server.core.errors import Invalid, Reason
from ingot.server.core.pages import PageTokens

TOKENS = PageTokens(b"secret of this server")


@given(st.text(), st.lists(st.text() | st.integers() | st.floats(allow_nan=False), min_size=1, max_size=4))
def test_a_token_gives_its_key_back(query: str, key: list[str | int | float]) -> None:
    assert TOKENS.decode(query, TOKENS.encode(query, key)) == tuple(key)


def test_no_token_means_the_first_page() -> None:
    assert TOKENS.decode("list", "") is None


@pytest.mark.parametrize(
    "token",
    ["x", "!!!", "AAAA" * 10, PageTokens(b"another").encode("list", (1,)), TOKENS.encode("other", (1,))],
)
def test_a_foreign_token_is_refused(token: str) -> None:
    with pytest.raises(Invalid) as caught:
        TOKENS.decode("list", token)
    assert caught.value.reason is Reason.PAGE_TOKEN_INVALID


@given(st.text(max_size=60))
def test_no_text_breaks_the_decoder(token: str) -> None:
    refused = refusal_of(TOKENS.decode, "list", token)
    assert (refused.reason if refused else None) == (Reason.PAGE_TOKEN_INVALID if token else None)


def test_page_sizes() -> None:
    assert [pages.page_size(asked) for asked in (0, 1, 1000, 1001)] == [50, 1, 1000, 1000]
    with pytest.raises(Invalid, match="page_size"):
        pages.page_size(-1)


@given(st.lists(st.integers(1, 50), max_size=30), st.integers(1, 10))
def test_pages_cover_a_list_once_and_stay_light(weights: list[int], size: int) -> None:
    rows = list(enumerate(weights))
    seen: list[int] = []
    after: int | None = -1
    while after is not None:
        rest = [row for row in rows if row[0] > after][: size + 1]
        items, after = pages.fit(rest, size, lambda weight: weight, 60)
        assert len(items) <= size
        assert sum(items) <= 60 or len(items) == 1
        assert items or not rest
        seen += items
    assert seen == weights
