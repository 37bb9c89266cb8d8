"""Lists, filters, searches, facets and statistics of a million versions: how long a page takes.

    python bench/catalog.py [--artifacts 200000] [--versions 5] [--rounds 100] [--cold 20] [--folder DIR]

Makes a data folder with such a catalog (kept and used again with --folder), serves it from a process of its
own, and asks it over gRPC, one question after the other. Warm are `--rounds` calls of each question with
changing values. Cold are `--cold` more: for each round the server is started anew, and before each question
the pages of its database are dropped from the memory of the machine. The server's own time is what it notes
for each call; beside it are the time of its processor, which a busy machine changes least, what the client
waits, and as limits a call that does next to nothing and a read of one row by its key from plain SQLite.
Writes a table and everything as JSON to bench/results/.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import math
import os
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import catalog_data
import grpc
from processes import Server

from ingot.server import app as composition
from ingot.server.settings.fields import Settings
from ingot.server.storage.data_folder import DataFolder
from ingot.v1 import auth_pb2, auth_pb2_grpc, catalog_pb2, catalog_pb2_grpc

RESULTS = Path(__file__).parent / "results"
GOAL_MS = 10.0
MODEL = catalog_pb2.ARTIFACT_KIND_MODEL
_NOTED_SECONDS = 1.5  # the server writes down each second what it was asked
_WARMING = 3  # calls before those that count
_DEEP = 100  # pages of 1000 that are walked to be in the middle of the catalog

Ask = Callable[[random.Random], object]


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of one question, in milliseconds."""

    question: str
    who: str
    calls: int
    p50: float
    p99: float
    worst: float
    cpu: float
    cold_p50: float  # with nothing of the database in memory
    cold_p99: float
    waited_p50: float
    waited_p99: float


def main() -> int:
    """Make the catalog, measure and print; or serve it."""
    options = arguments()
    if options.serve:
        asyncio.run(serve(Path(options.serve)))
        return 0
    with contextlib.ExitStack() as stack:
        folder = options.folder or stack.enter_context(tempfile.TemporaryDirectory(prefix="ingot-bench-"))
        return measure(options, Path(folder) / "data")


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--artifacts", type=int, default=200_000)
    parser.add_argument("--versions", type=int, default=5, help="of each artifact")
    parser.add_argument("--rounds", type=int, default=100, help="warm calls of each question")
    parser.add_argument(
        "--cold", type=int, default=20, help="cold calls of each question, after as many starts"
    )
    parser.add_argument("--folder", default="", help="keep the catalog there, and use the one that is")
    parser.add_argument("--only", default="", help="questions whose names hold this text")
    parser.add_argument("--serve", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


# --- the server -----------------------------------------------------------------------------------------


def settings_of(data: Path) -> Settings:
    """Return settings under which nothing but the questions keeps the server busy."""
    return Settings(data_dir=data, listen=("127.0.0.1:0",), operation_queues=("maintenance=1",))


async def serve(data: Path) -> None:
    """Serve until told to end."""
    async with composition.running(settings_of(data), DataFolder.hold(data)) as server:
        gc.collect()
        gc.freeze()  # as `ingot-server` does
        facts = {"address": server.addresses[0], "token": server.folder.token("admin")}
        print(json.dumps(facts), flush=True)
        await asyncio.Event().wait()


def made(data: Path, options: argparse.Namespace) -> float:
    """Make the catalog unless it is there; return the seconds that took."""
    if (data / "ingot.db").exists():
        return 0.0

    async def make() -> float:
        async with composition.running(settings_of(data), DataFolder.hold(data)) as server:
            build = catalog_data.build
            return await asyncio.to_thread(build, server, options.artifacts, options.versions)

    return asyncio.run(make())


class Client:
    """A running server, asked as its administrator and as a member."""

    def __init__(self, data: Path) -> None:
        self.server = Server([sys.executable, __file__, "--serve", str(data)])
        facts = json.loads(self.server.first_line)
        self._channel = grpc.insecure_channel(facts["address"])
        self._catalog = catalog_pb2_grpc.CatalogServiceStub(self._channel)
        self._auth = auth_pb2_grpc.AuthServiceStub(self._channel)
        self._tokens = {"admin": facts["token"]}
        try:
            self._tokens["member"] = self._member(facts["token"])
        except grpc.RpcError:
            self.close()
            raise

    def _member(self, token: str) -> str:
        parent = f"users/{catalog_data.MINE}"
        request = auth_pb2.CreateTokenRequest(parent=parent, display_name="bench")
        return self._auth.CreateToken(request, metadata=_bearer(token)).secret

    def ask(self, who: str, request: object) -> object:
        """Send a request of the catalog."""
        method = type(request).__name__.removesuffix("Request")
        call = getattr(self._catalog, method)
        return call(request, metadata=_bearer(self._tokens[who]))

    def nothing(self) -> None:
        """Ask for what costs next to nothing."""
        self._auth.GetMe(auth_pb2.GetMeRequest(), metadata=_bearer(self._tokens["admin"]))

    def close(self) -> None:
        """Stop the server."""
        self._channel.close()
        self.server.stop()


def _bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


# --- the questions --------------------------------------------------------------------------------------


def questions(deep: str) -> Iterator[tuple[str, str, Ask]]:
    """Yield what is asked: its name, who asks, and requests with changing values."""

    def page(
        filter: str = "", order: str = "", parent: str = "-", token: str = "", *, versions: bool = False
    ) -> Callable[[random.Random], catalog_pb2.ListArtifactsRequest]:
        def ask(pick: random.Random) -> catalog_pb2.ListArtifactsRequest:
            text = filter.format(
                tag=f"tag-{pick.randrange(40)}",
                rare=f"tag-{pick.randrange(500, 3000)}",
                framework=pick.choice(catalog_data.FRAMEWORKS[:4]),
                word=pick.choice(catalog_data.COMMON_WORDS),
                size=int(10 ** pick.uniform(3, 10)),
                year=pick.choice((2024, 2025)),
                month=pick.randrange(1, 13),
            )
            return catalog_pb2.ListArtifactsRequest(
                parent=f"namespaces/{parent}",
                filter=text,
                order_by=order,
                page_token=token,
                view=catalog_pb2.ARTIFACT_VIEW_WITH_VERSIONS if versions else catalog_pb2.ARTIFACT_VIEW_BASIC,
            )

        return ask

    def facets(filter: str = "") -> Ask:
        def ask(pick: random.Random) -> object:
            listed = page(filter)(pick)
            return catalog_pb2.GetFacetsRequest(parent="namespaces/-", filter=listed.filter)

        return ask

    for who in ("member", "admin"):
        yield "list, newest", who, page()
        yield "list by name", who, page(order="name")
        yield "list by size", who, page(order="size_bytes desc")
        yield "one value", who, page("framework:{framework}")
        yield "one value, by update", who, page("framework:{framework}", "update_time desc")
        yield "rare value, by name", who, page("tag:{rare}", "name")
        yield "two common values", who, page("framework:{framework} license:mit")
        yield "values that never meet", who, page("framework:pytorch framework:onnx", "update_time")
        yield "OR and NOT", who, page("(tag:{tag} OR tag:{rare}) AND NOT license:mit")
        yield "common word", who, page("{word}")
        yield "common word, by update", who, page("{word}", "update_time desc")
        yield "common word, rare value", who, page("{word} tag:" + catalog_data.RARE_TAG, "name")
        yield "two common words", who, page("model مدل", "size_bytes")
        yield "beginning of words", who, page("mod* tag:{tag}")
        yield "size compared", who, page("size_bytes > {size}")
        yield "size compared, by name", who, page("size_bytes < {size} framework:{framework}", "name desc")
        yield "time compared, by size", who, page("update_time > {year}-{month:02}-01 {word}", "size_bytes")
        yield "facets", who, facets()
        yield "facets of a value", who, facets("framework:{framework}")
        yield "facets of a common word", who, facets("{word}")
        yield "facets of a rare value", who, facets("tag:{rare}")
        yield "statistics", who, lambda pick: catalog_pb2.GetCatalogStatsRequest(kind=MODEL)
    yield "deep page", "admin", page(token=deep)
    yield "own namespace, by update", "member", page("", "update_time desc", catalog_data.MINE)
    yield "with versions", "member", page("tag:{tag}", versions=True)


def deep_token(client: Client) -> str:
    """Return the token of a page far down the list."""
    token = ""
    for _ in range(_DEEP):
        request = catalog_pb2.ListArtifactsRequest(parent="namespaces/-", page_size=1000, page_token=token)
        reply = client.ask("admin", request)
        assert isinstance(reply, catalog_pb2.ListArtifactsResponse)
        if not reply.next_page_token:
            break
        token = reply.next_page_token
    return token


# --- measuring ------------------------------------------------------------------------------------------


def measure(options: argparse.Namespace, data: Path) -> int:
    """Ask everything, print the table; return 1 when the goal was missed."""
    built = made(data, options)
    client = Client(data)
    try:
        deep = deep_token(client)
        asked = [each for each in questions(deep) if options.only in each[0]]
        warm = warmed(client, data, asked, options.rounds)
        limits = {
            "a call that only looks who calls": quantiles(timed(client.nothing) for _ in range(500)),
            "one row by its key, plain SQLite": point(data),
        }
        memory = client.server.peak_mib()
    finally:
        client.close()
    colds = [started_cold(data, asked, seed) for seed in range(options.cold)]
    rows = [
        row_of(name, who, warm[name, who], [each[place] for each in colds])
        for place, (name, who, _) in enumerate(asked)
    ]
    artifacts, versions = counted(data)
    facts: dict[str, object] = {
        "artifacts": artifacts,
        "versions": versions,
        "database_mb": round((data / "ingot.db").stat().st_size / 1e6),
        "built_in_seconds": round(built),
        "server_peak_mib": round(memory),
        "load": round(os.getloadavg()[0], 1),
        "cores": os.cpu_count(),
    }
    text = table(rows, limits, facts)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    name = f"catalog-{artifacts}x{versions // max(1, artifacts)}"
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
    found = {"facts": facts, "limits": limits, "rows": [asdict(row) for row in rows]}
    (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    return int(any(max(row.p99, row.cold_p99) > GOAL_MS for row in rows))


@dataclass(frozen=True, slots=True)
class Warm:
    """The warm calls of one question, in milliseconds; `cpu` is the time of the processor for one call."""

    server: list[float]
    waited: list[float]
    cpu: float


def warmed(
    client: Client, data: Path, asked: Sequence[tuple[str, str, Ask]], rounds: int
) -> dict[tuple[str, str], Warm]:
    """Ask each question many times."""
    waited: list[list[float]] = []
    cpu: list[float] = []
    time.sleep(_NOTED_SECONDS)
    last = last_noted(data)
    for _, who, ask in asked:
        pick = random.Random(5)
        for _ in range(_WARMING):
            client.ask(who, ask(pick))
        requests = [ask(pick) for _ in range(rounds)]
        before = client.server.cpu()
        waited.append([timed(partial(client.ask, who, request)) for request in requests])
        cpu.append((client.server.cpu() - before) / rounds * 1000)
    each = _WARMING + rounds
    server = noted(data, last, each * len(asked))
    return {
        (name, who): Warm(server[place * each + _WARMING : (place + 1) * each], waited[place], cpu[place])
        for place, (name, who, _) in enumerate(asked)
    }


def started_cold(data: Path, asked: Sequence[tuple[str, str, Ask]], seed: int) -> list[float]:
    """Ask each question once, in an order of this seed; return what the server noted, in milliseconds."""
    pick = random.Random(seed)
    order = list(range(len(asked)))
    pick.shuffle(order)
    client = Client(data)
    try:
        time.sleep(_NOTED_SECONDS)
        last = last_noted(data)
        for place in order:
            _, who, ask = asked[place]
            request = ask(pick)
            forget(data)
            client.ask(who, request)
        took = noted(data, last, len(asked))
    finally:
        client.close()
    return [took[order.index(place)] for place in range(len(asked))]


def forget(data: Path) -> None:
    """Drop the pages of the database from the memory of the machine."""
    for name in ("ingot.db", "ingot.db-wal"):
        with contextlib.suppress(FileNotFoundError):
            file = os.open(data / name, os.O_RDONLY)
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def last_noted(data: Path) -> int:
    """Return the number of the last call that the server noted."""
    return int(_activity(data, "SELECT coalesce(max(id), 0) FROM activity")[0][0])


def noted(data: Path, after: int, count: int) -> list[float]:
    """Return what the server noted for the next calls of the catalog, in milliseconds."""
    statement = "SELECT seconds FROM activity WHERE id > ? AND method LIKE '%CatalogService%' ORDER BY id"
    until = time.monotonic() + 30
    while time.monotonic() < until:
        found = _activity(data, statement, after)
        if len(found) >= count:
            return [row[0] * 1000 for row in found[:count]]
        time.sleep(0.2)
    raise SystemExit(f"the server noted {len(found)} of {count} calls")


def _activity(data: Path, statement: str, *values: int) -> list[tuple[float, ...]]:
    with contextlib.closing(sqlite3.connect(f"file:{data / 'ingot.db'}?mode=ro", uri=True)) as connection:
        return connection.execute(statement, values).fetchall()


def counted(data: Path) -> tuple[int, int]:
    """Return how many artifacts and versions there are."""
    found = _activity(data, "SELECT (SELECT count(*) FROM artifact), (SELECT count(*) FROM version)")
    return int(found[0][0]), int(found[0][1])


def point(data: Path) -> tuple[float, float]:
    """Return p50 and p99 of reading one artifact by its id from plain SQLite, in milliseconds."""
    pick = random.Random(3)
    with contextlib.closing(sqlite3.connect(f"file:{data / 'ingot.db'}?mode=ro", uri=True)) as connection:
        (largest,) = connection.execute("SELECT max(id) FROM artifact").fetchone()

        def read() -> None:
            connection.execute("SELECT * FROM artifact WHERE id = ?", (pick.randint(1, largest),)).fetchone()

        return quantiles(timed(read) for _ in range(2000))


def timed(work: Callable[[], object]) -> float:
    """Return how long something takes, in milliseconds."""
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1000


def quantiles(values: Iterable[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile: of fewer than a hundred the largest."""
    ordered = sorted(values)
    half, most = (round(ordered[math.ceil(len(ordered) * share) - 1], 3) for share in (0.5, 0.99))
    return half, most


def row_of(name: str, who: str, warm: Warm, cold: list[float]) -> Row:
    """Return the row of one question."""
    half, most = quantiles(warm.server)
    worst, cpu = round(max(warm.server), 2), round(warm.cpu, 2)
    first = quantiles(cold or [0.0])
    return Row(name, who, len(warm.server), half, most, worst, cpu, *first, *quantiles(warm.waited))


def table(rows: Sequence[Row], limits: dict[str, tuple[float, float]], facts: dict[str, object]) -> str:
    """Return everything as Markdown."""
    lines = [
        f"# Catalog: {facts['artifacts']:,} artifacts, {facts['versions']:,} versions",
        "",
        ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items()),
        "",
        f"Milliseconds; the goal is {GOAL_MS:g} of the server's own time at p99, warm and cold.",
        "",
        "| question | who | p50 | p99 | worst | CPU | cold p50 | cold p99 | client p50 | client p99 | goal |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        reached = "reached" if max(row.p99, row.cold_p99) <= GOAL_MS else "missed"
        lines.append(
            f"| {row.question} | {row.who} | {row.p50:.2f} | {row.p99:.2f} | {row.worst:.2f} | {row.cpu:.1f} "
            f"| {row.cold_p50:.2f} | {row.cold_p99:.2f} | {row.waited_p50:.2f} | {row.waited_p99:.2f} "
            f"| {reached} |"
        )
    for name, (half, most) in limits.items():
        lines.append(f"| limit: {name} | | | | | | | | {half:.3f} | {most:.3f} | |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
