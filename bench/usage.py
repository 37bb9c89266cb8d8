"""What it costs to record calls and to ask about them, with few and with a million of them.

    .venv/bin/python bench/usage.py --activities 1000000

It fills a database through the real stores, over a year of days, then times every question of GetUsage,
ListActivity and GetDashboard, and the write of a second's worth of calls. Figures are milliseconds.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ingot.server.core.call_figures import CallCount, CallKey, CallTotals, Failure
from ingot.server.core.usage import SERVER, Activity, ActivityFilter, Use, namespace_subject
from ingot.server.storage.call_figures_sql import CallFiguresSql
from ingot.server.storage.dashboard_sql import DashboardSql
from ingot.server.storage.database import Database, open_database
from ingot.server.storage.migration_runner import migrate
from ingot.server.storage.usage_sql import UsageSql

DAYS = 365
TODAY = 20_000
USERS, ARTIFACTS, NAMESPACES = 200, 5_000, 50
ACTIONS = ("get", "list", "download", "update", "upload")
BATCH = 5_000
RUNS = 200

STORE, FIGURES, DASHBOARD = UsageSql(), CallFiguresSql(), DashboardSql()


def artifact(number: int) -> str:
    """Return the name of an artifact."""
    return f"namespaces/n{number % NAMESPACES}/models/m{number}"


def calls(numbers: random.Random, count: int, day: int) -> list[Activity]:
    """Return calls of one day; five in a million are of a user, and on an artifact, of their own."""
    found = []
    for _ in range(count):
        rare = numbers.random() < 5e-6
        number = int(numbers.paretovariate(0.6)) % ARTIFACTS
        failed = numbers.random() < 0.02
        found.append(
            Activity(
                time=day * 86400.0 + numbers.random() * 86400,
                action="purge" if rare else numbers.choice(ACTIONS),
                method="CatalogService/GetArtifact",
                target="namespaces/n0/models/rare" if rare else artifact(number),
                principal="users/rare" if rare else f"users/u{numbers.randrange(USERS)}",
                declared_user="",
                address="10.0.0.1",
                code="NOT_FOUND" if failed else "OK",
                seconds=0.001,
                call_id=f"{numbers.getrandbits(128):032x}",
                reason="ARTIFACT_NOT_FOUND" if failed else "",
            )
        )
    return found


def uses(numbers: random.Random, activities: list[Activity]) -> list[Use]:
    """Return the uses that go with calls."""
    return [
        Use(
            f"uid-{each.target.rpartition('/')[2]}",
            each.principal,
            "",
            each.address,
            each.time,
            each.call_id if each.action == "download" else "",
            "1",
        )
        for each in activities
        if each.action in ("get", "download")
    ]


def figures(numbers: random.Random, day: int, count: int) -> CallTotals:
    """Return figures of one day: forty methods, three codes."""
    totals = CallTotals()
    for method in range(40):
        for code in ("OK", "NOT_FOUND", "CANCELLED"):
            entry = totals.calls.setdefault(CallKey(day, f"Service/Method{method}", code), CallCount())
            entry.count = count
            for _ in range(100):
                entry.times.add(numbers.lognormvariate(-6, 1.5))
    for reason in ("ARTIFACT_NOT_FOUND", "TOKEN_INVALID", "BUSY"):
        totals.failures[day, reason] += count
        totals.last[reason] = Failure(reason, day * 86400.0, "NOT_FOUND", "a", "b", "c", "d", "e")
    return totals


def fill(database: Database, count: int) -> None:
    """Write so many calls with their uses, over a year."""
    numbers = random.Random(1)
    with database.direct() as connection:
        for number in range(ARTIFACTS):
            connection.execute_sql(
                "INSERT INTO usage_counter(subject, is_artifact, download_count, access_count, unique_users, "
                "first_downloaded_by, first_downloaded_from) VALUES (?, 1, 0, 0, 0, '', '')",
                (f"uid-m{number}",),
            )
    for start in range(0, count, BATCH):
        day = TODAY - DAYS + 1 + start * DAYS // count
        batch = calls(numbers, min(BATCH, count - start), day)
        database.write(STORE.add_activities, batch)
        database.write(STORE.count, uses(numbers, batch)).result()
    for day in range(TODAY - DAYS + 1, TODAY + 1):
        database.write(FIGURES.add, figures(numbers, day, 10)).result()


def timed(work: Callable[[], object], runs: int = RUNS) -> tuple[float, float]:
    """Return the median and the 99th percentile of many runs, in milliseconds."""
    spans = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        spans.append((time.perf_counter() - start) * 1e3)
    return statistics.median(spans), statistics.quantiles(spans, n=100)[98]


def walk(database: Database, wanted: ActivityFilter) -> int:
    """Return how many calls a filter has, page after page."""
    found, before = 0, None
    while True:
        page, before = database.read(STORE.activities, wanted, before, 50)
        found += len(page)
        if before is None:
            return found


def questions(database: Database) -> dict[str, Callable[[], object]]:
    """Return what is timed, by name."""

    def page(wanted: ActivityFilter) -> Callable[[], object]:
        return lambda: database.read(STORE.activities, wanted, None, 50)

    user, name = "users/u7", artifact(3)
    return {
        "calls, newest 50": page(ActivityFilter()),
        "calls of a user": page(ActivityFilter(principal=user)),
        "calls on an artifact": page(ActivityFilter(artifact=name)),
        "calls in a namespace": page(ActivityFilter(namespace="n3")),
        "downloads of a user": page(ActivityFilter(principal=user, action="download")),
        "a user's on an artifact": page(ActivityFilter(principal=user, artifact=name)),
        "rare user, rare action": page(ActivityFilter(principal="users/rare", action="purge")),
        "failed calls": page(ActivityFilter(failed=True)),
        "days of an artifact": lambda: database.read(STORE.days, "uid-m3", TODAY - 29, TODAY),
        "users of an artifact": lambda: database.read(STORE.users, "uid-m3", "", 10),
        "days of a namespace": lambda: database.read(STORE.days, namespace_subject("n3"), TODAY - 29, TODAY),
        "totals of everything": lambda: database.read(STORE.of, [SERVER]),
        "methods of 7 days": lambda: database.read(FIGURES.methods, TODAY - 6, TODAY),
        "problems of 7 days": lambda: database.read(FIGURES.problems, TODAY - 6, TODAY),
        "queues, jobs, uploads": lambda: database.read(_work),
    }


def _work() -> object:
    return (
        DASHBOARD.operations(),
        DASHBOARD.training_jobs(),
        DASHBOARD.uploads(),
        DASHBOARD.users(),
        DASHBOARD.logical_bytes(),
        DASHBOARD.pack_bytes(),
    )


def flush(database: Database) -> Callable[[], object]:
    """Return what writes a thousand calls with their uses, as a busy second does."""
    numbers = random.Random(2)

    def write() -> None:
        second = calls(numbers, 1000, TODAY)
        database.write(STORE.add_activities, second)
        database.write(STORE.count, uses(numbers, second)).result()

    return write


def rare(database: Database) -> Callable[[], object]:
    """Return what finds the few calls of two conditions that no index has together."""
    wanted = ActivityFilter(principal="users/rare", target="namespaces/n0/models/rare")
    return lambda: walk(database, wanted)


def main() -> None:
    """Fill two databases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--activities", type=int, default=1_000_000)
    options = parser.parse_args()
    results: dict[str, list[tuple[float, float]]] = {}
    counts = (min(10_000, options.activities), options.activities)
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="ingot-bench-") as folder:
            database = open_database(f"sqlite:///{Path(folder) / 'ingot.db'}")
            migrate(database)
            start = time.perf_counter()
            fill(database, count)
            spent = time.perf_counter() - start
            print(f"{count:,} calls with their uses and a year of figures written in {spent:.1f} s")
            for name, question in questions(database).items():
                results.setdefault(name, []).append(timed(question))
            results.setdefault("write of 1,000 calls", []).append(timed(flush(database), 20))
            results.setdefault("all pages of a rare pair", []).append(timed(rare(database), 20))
            database.close()
    width = max(map(len, results))
    print(f"\n{'ms':{width}}" + "".join(f"  {count:>12,} p50      p99" for count in counts))
    for name, found in results.items():
        print(f"{name:{width}}" + "".join(f"  {median:>16.2f} {worst:>8.2f}" for median, worst in found))


if __name__ == "__main__":
    main()
