"""Stop texts end an answer exactly where they begin, however the text is cut into pieces."""

from hypothesis import given
from hypothesis import strategies as st

from ingot.worker.generation import StopTexts

LETTERS = st.text(alphabet="abX", max_size=30)


@given(pieces=st.lists(LETTERS, max_size=8), stops=st.lists(st.text(alphabet="abX", min_size=1, max_size=4)))
def test_what_goes_out_is_the_text_before_the_first_stop(pieces: list[str], stops: list[str]) -> None:
    filter_ = StopTexts(stops)
    out, stopped = "", False
    for piece in pieces:
        part, stopped = filter_.feed(piece)
        out += part
        if stopped:
            break
    out += filter_.rest()
    whole = "".join(pieces)
    # The end is where a stop first becomes whole; of those that end there the earliest beginning counts.
    ends = [at + len(stop) for stop in stops if (at := whole.find(stop)) >= 0]
    assert stopped == bool(ends)
    if not ends:
        assert out == whole
    else:
        assert whole.startswith(out)
        assert any(whole.startswith(stop, len(out)) for stop in stops)
        assert not any(stop in out for stop in stops)
