"""From samples to what is printed: medians, how Ingot compares with each row, and the project's goals."""

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from peers.limits import RawStream
from peers.peer import COPIES, OURS, VERIFIED, Case, Peer
from processes import MIB, Sample

_HEADS = (
    "",
    "s",
    "GB/s",
    "best",
    "files/s",
    "sent %",
    "Ingot ×",
    "client CPU",
    "server CPU",
    "client MiB",
    "server MiB over idle",
)
_MEMORY_MIB = 64
_STREAM_MIB = 16


@dataclass(frozen=True, slots=True)
class Row:
    """The medians of one contender in one case. CPU is seconds per GB of content, memory the peak."""

    row: str
    runs: int
    seconds: float
    gb_per_second: float
    best_gb_per_second: float
    files: int
    files_per_second: float | None
    sent_percent: float
    client_cpu_per_gb: float
    server_cpu_per_gb: float | None  # none: it has no server
    client_mib: float
    server_mib: float | None
    server_mib_over_idle: float | None
    ingot_is: float | None = None  # Ingot's rate divided by this one's, of the medians


Table = dict[Case, list[Row]]


@dataclass(frozen=True, slots=True)
class Goal:
    """What is wanted, and what was found."""

    goal: str
    found: float
    wanted: str
    reached: bool


def table(samples: Mapping[Case, Sequence[Sample]], peers: Iterable[Peer]) -> Table:
    """Return the rows of each case, Ingot's first."""
    found: Table = {}
    for case, those in samples.items():
        rows = [
            _row([each for each in those if each.row == peer.name], peer)
            for peer in peers
            if any(each.row == peer.name for each in those)
        ]
        ours = next((each.gb_per_second for each in rows if each.row == OURS), None)
        found[case] = [_compared(each, ours) for each in rows]
    return found


def markdown(rows: Table) -> str:
    """Return one table a case."""
    lines: list[str] = []
    for case, those in rows.items():
        lines += ["", f"**{case}**", "", _line(_HEADS), "|---|" + "---:|" * (len(_HEADS) - 1)]
        lines += [_line(_cells(row)) for row in those]
    return "\n".join(lines)


def goals(rows: Table, peers: Sequence[Peer], streams: int, new_share: float) -> list[Goal]:
    """Return the goals that these rows can tell of."""
    groups = {peer.name: peer.group for peer in peers}
    ours = {case: each for case, those in rows.items() for each in those if each.row == OURS}
    return [*_rates(rows, groups), *_shares(ours, new_share), *_memory(ours, streams)]


def markdown_of_goals(found: Sequence[Goal]) -> str:
    """Return their table."""
    lines = ["| goal | found | wanted | reached |", "|---|---:|---:|---|"]
    lines += [
        _line([each.goal, f"{each.found:g}", each.wanted, "yes" if each.reached else "no"]) for each in found
    ]
    return "\n".join(lines)


def _rates(rows: Table, groups: Mapping[str, str]) -> Iterator[Goal]:
    """Yield by how much Ingot is to be faster."""
    bounds = {VERIFIED: 5.0, COPIES: 1.0}
    for case in (Case.PUSH, Case.PULL, Case.SMALL_PUSH, Case.SMALL_PULL):
        small = case in (Case.SMALL_PUSH, Case.SMALL_PULL)
        for row in rows.get(case, ()):
            bound = 0.85 if row.row == RawStream.name else bounds.get(groups[row.row])
            if row.ingot_is and bound and (not small or groups[row.row] == COPIES):
                reached = row.ingot_is >= bound
                yield Goal(f"{case}: rate beside {row.row}", row.ingot_is, f"≥ {bound:g}", reached)


def _shares(ours: Mapping[Case, Row], new_share: float) -> Iterator[Goal]:
    """Yield how much may be sent."""
    for case, bound in ((Case.AGAIN, 0.0), (Case.FRONT, 0.1), (Case.TENTH, 10.2), (Case.SHARDS, 0.1)):
        if case in ours:
            new = f", of which {100 * new_share:.2f} are new" if case is Case.TENTH else ""
            sent = ours[case].sent_percent
            yield Goal(f"{case}: % of the bytes sent{new}", sent, f"≤ {bound:g}", sent <= bound)


def _memory(ours: Mapping[Case, Row], streams: int) -> Iterator[Goal]:
    """Yield how much memory the server may take."""
    bound = _MEMORY_MIB + _STREAM_MIB * streams
    for case in (Case.PUSH, Case.PULL, Case.SMALL_PUSH, Case.SMALL_PULL):
        over = ours[case].server_mib_over_idle if case in ours else None
        if over is not None:
            text = f"{case}: MiB of the server over idle, {streams} streams"
            yield Goal(text, over, f"≤ {bound}", over <= bound)


def _row(samples: Sequence[Sample], peer: Peer) -> Row:
    """Return the medians of the runs of one contender."""

    def middle(figure: Callable[[Sample], float], digits: int = 3) -> float:
        return round(statistics.median(map(figure, samples)), digits)

    files, server = samples[0].files, peer.server
    memory = middle(lambda each: each.server_mib, 0) if server else None
    return Row(
        row=peer.name,
        runs=len(samples),
        seconds=middle(lambda each: each.seconds, 4),
        gb_per_second=middle(lambda each: each.bytes / each.seconds / 1e9, 4),
        best_gb_per_second=round(max(each.bytes / each.seconds for each in samples) / 1e9, 4),
        files=files,
        files_per_second=middle(lambda each: files / each.seconds, 0) if files > 1 else None,
        sent_percent=middle(lambda each: 100 * each.moved / each.bytes, 4),
        client_cpu_per_gb=middle(lambda each: each.client_cpu / each.bytes * 1e9),
        server_cpu_per_gb=middle(lambda each: each.server_cpu / each.bytes * 1e9) if server else None,
        client_mib=middle(lambda each: each.client_mib, 0),
        server_mib=memory,
        server_mib_over_idle=max(0.0, round(memory - server.idle_mib)) if server and memory else None,
    )


def _compared(row: Row, ours: float | None) -> Row:
    same = row.row == OURS or not ours
    ratio = None if same or not ours else round(ours / row.gb_per_second, 3)
    return Row(**{**asdict(row), "ingot_is": ratio})


def _cells(row: Row) -> list[str]:
    whole = row.files > 1 or row.gb_per_second * row.seconds * 1e9 > 2 * MIB
    return [
        row.row + (f" ({row.files:,} files)" if row.files > 1 else ""),
        f"{row.seconds:.2f}" if row.seconds >= 1 else f"{row.seconds:.3f}",
        f"{row.gb_per_second:.2f}" if row.gb_per_second >= 0.1 else f"{row.gb_per_second:.3f}",
        f"{row.best_gb_per_second:.2f}" if row.best_gb_per_second >= 0.1 else f"{row.best_gb_per_second:.3f}",
        "" if row.files_per_second is None else f"{row.files_per_second:,.0f}",
        f"{row.sent_percent:.3f}" if row.sent_percent < 99 else f"{row.sent_percent:.0f}",
        "" if row.ingot_is is None else f"{row.ingot_is:.2f}",
        f"{row.client_cpu_per_gb:.2f}" if whole else "",  # of a short read it is the start of a process
        "" if row.server_cpu_per_gb is None or not whole else f"{row.server_cpu_per_gb:.2f}",
        f"{row.client_mib:.0f}",
        "" if row.server_mib_over_idle is None else f"{row.server_mib_over_idle:.0f}",
    ]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
