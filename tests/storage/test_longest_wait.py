"""The longest wait of the write queue is about the last minute or two, not about yesterday."""

from ingot.server.storage.write_queue import _Longest


def test_a_long_wait_is_shown_for_a_minute_or_two_and_then_no_more() -> None:
    longest = _Longest()
    longest.add(1000 * 60 + 59, 5.0)
    longest.add(1000 * 60 + 59.5, 1.0)
    assert longest.seen(1001 * 60 + 1) == 5.0
    longest.add(1001 * 60 + 30, 2.0)
    assert longest.seen(1001 * 60 + 59) == 5.0
    assert longest.seen(1002 * 60) == 2.0
    assert longest.seen(1003 * 60) == 0.0


def test_an_idle_hour_forgets_everything() -> None:
    longest = _Longest()
    longest.add(60.0, 3.0)
    assert longest.seen(3660.0) == 0.0
