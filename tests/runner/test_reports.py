"""What bodies say is cut, bounded and judged before anything of it is kept."""

import asyncio
import json
import time

from hypothesis import given
from hypothesis import strategies as some

from helpers import loops
from ingot.server.core.body_protocol import ReportedProblem
from ingot.server.core.errors import Reason
from ingot.server.core.events import LARGEST_LOG_LINE, LogLevel, LogLine, Progress
from ingot.server.runner.reports import LINES_A_SECOND, Lines, Telling, bounded, listen, reason_of
from ingot.server.runner.seams import Failed, Quit, Succeeded, Told


@given(some.lists(some.binary(max_size=30).filter(lambda line: b"\n" not in line)), some.data())
def test_lines_come_whole_however_they_are_cut(lines: list[bytes], data: some.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines) + b"rest"
    found, cutter = [], Lines(largest=20)
    while stream:
        size = data.draw(some.integers(1, len(stream)))
        found += list(cutter.feed(stream[:size]))
        stream = stream[size:]
    assert found == [line for line in lines if len(line) <= 20]
    assert cutter.dropped == len([line for line in lines if len(line) > 20])


def test_a_line_without_end_takes_no_memory_and_the_next_one_counts() -> None:
    cutter = Lines(largest=1000)
    for _ in range(1000):
        assert list(cutter.feed(b"x" * 1000)) == []
    assert len(cutter._rest) <= 1000
    assert list(cutter.feed(b"\nnext\n")) == [b"next"]
    assert cutter.dropped == 1


def told(*reports: object) -> Telling:
    telling = Telling()
    for each in reports:
        telling.hear(each if isinstance(each, bytes) else json.dumps(each).encode())
    return telling


def test_what_was_told_is_told_once() -> None:
    telling = told(
        {}, {"progress": {"done": 1}}, {"log": {"text": "a", "level": "error"}}, {"progress": {"done": 2}}
    )
    assert telling.signs == 4
    assert telling.take() == Told(Progress(done=2), (LogLine(LogLevel.ERROR, 0, "a"),))
    assert telling.take() == Told()


def test_the_last_word_is_the_ending() -> None:
    assert told({}).ending is None
    assert told({"result": {"a": [1, None]}}).ending == Succeeded({"a": [1, None]})
    assert told({"cancelled": True}).ending == Quit()
    problem = {"reason": "QUOTA", "message": "m", "retry_after": 5.0}
    assert told({"result": {}}, {"problem": problem}).ending == Failed(
        ReportedProblem(reason="QUOTA", message="m", retry_after=5.0)
    )


def test_nonsense_is_no_sign_of_life_and_told_once() -> None:
    telling = told(
        b"no json", b"[]", b'{"unknown": 1}', b"\xff", b"[" * 100_000, b"null", {"log": {"text": 5}}
    )
    assert (telling.signs, telling.ending) == (0, None)
    (line,) = telling.take().lines
    assert (line.level, line.text.startswith("The body said something that is no report")) == (
        LogLevel.WARNING,
        True,
    )


def test_numbers_and_texts_are_brought_within_bounds() -> None:
    wild = b'{"progress": {"done": %d, "total": -5, "percent": 1e9, "rate": NaN, "eta": Infinity}}' % 10**30
    assert told(wild).take().progress == Progress(done=2**63 - 1, percent=100.0)
    (line,) = told({"log": {"text": "پ" * LARGEST_LOG_LINE}}).take().lines
    assert len(line.text.encode()) <= LARGEST_LOG_LINE
    lines = told(*({"log": {"text": str(number)}} for number in range(1500))).take().lines
    assert len(lines) == 1000
    assert lines[-1].text == "501 more lines were left out"


def test_problems_are_bounded() -> None:
    huge = ReportedProblem(
        reason="NO_SUCH",
        message="m" * 10_000,
        facts={str(n): "f" * 10_000 for n in range(99)},
        retry_after=1e12,
    )
    found = bounded(huge)
    assert reason_of(huge) is Reason.INTERNAL
    assert (len(found.message), len(found.facts), found.retry_after) == (4000, 50, 86_400.0)


def test_a_flood_is_held_back_until_the_body_has_ended() -> None:
    async def flooded() -> tuple[int, int]:
        reader, telling, over = asyncio.StreamReader(limit=2**24), Telling(), asyncio.Event()
        reader.feed_data(b"{}\n" * 50 * LINES_A_SECOND)
        listening = asyncio.create_task(listen(reader, telling, over))
        for _ in range(2000):
            await asyncio.sleep(0)
        held = telling.signs
        over.set()
        reader.feed_eof()
        await listening
        return held, telling.signs

    begun = time.monotonic()
    held, all_of_them = loops.run(flooded())
    seconds = 1 + time.monotonic() - begun
    assert LINES_A_SECOND <= held < seconds * 20 * LINES_A_SECOND  # what is read at once is 64 KiB
    assert all_of_them == 50 * LINES_A_SECOND
