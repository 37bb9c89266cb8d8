"""stats, health and storage: the server as a whole."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ingot.client.cli import formats
from ingot.client.cli.command import Command
from ingot.client.cli.output import Output
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.v1 import catalog_pb2, system_pb2, training_pb2


class Stats(Command):
    """Show totals over all models, datasets and training jobs that one may see."""

    examples = ("ingot stats", "ingot stats --json")

    def run(self, shell: Shell) -> int:
        client = shell.client
        models, datasets = client.catalog.stats("models"), client.catalog.stats("datasets")
        training = client.training.stats()
        if shell.out.json:
            from ingot.client.cli import plain

            parts = {"models": models, "datasets": datasets, "training": training}
            shell.out.line(plain.dumps({name: plain.message(part) for name, part in parts.items()}, indent=2))
            return 0
        shell.out.table(
            [
                ("", "COUNT", "VERSIONS", "SIZE", "LANGUAGES", "FORMATS"),
                ("models", *_catalog_row(models)),
                ("datasets", *_catalog_row(datasets)),
            ]
        )
        shell.out.line()
        shell.out.facts(_catalog_facts(models, datasets) | _training_facts(training))
        return 0


class Health(Command):
    """Show whether the server is well; with a token also its parts. Ends with 1 when it is not."""

    examples = ("ingot health", "ingot health --json")

    def run(self, shell: Shell) -> int:
        from ingot.v1 import system_pb2 as pb

        health = shell.client.system.health()
        status = formats.word(pb.HealthStatus.Name(health.status), "HEALTH_STATUS")
        shell.out.document(health, status, lambda: _show_health(shell.out, health, status))
        return 1 if health.status == pb.HEALTH_STATUS_UNHEALTHY else 0


class Storage(Command):
    """Show bytes per area; to administrators also what deduplication saves, and the disk."""

    examples = ("ingot storage", "ingot storage --json")

    def run(self, shell: Shell) -> int:
        storage = shell.client.system.storage()

        def text() -> None:
            rows = [
                (area.name, formats.count(area.item_count), formats.size(area.logical_bytes))
                for area in storage.areas
            ]
            shell.out.table([("AREA", "ITEMS", "SIZE"), *rows])
            shell.out.line()
            shell.out.facts(_storage_facts(storage))

        shell.out.document(storage, formats.size(storage.pack_bytes or storage.logical_bytes), text)
        return 0


def _catalog_row(stats: "catalog_pb2.GetCatalogStatsResponse") -> tuple[str, ...]:
    return (
        formats.count(stats.total_count),
        formats.count(stats.version_count),
        formats.size(stats.total_size_bytes),
        _values(stats.languages),
        _values(stats.formats),
    )


def _values(counts: Sequence["catalog_pb2.ValueCount"]) -> str:
    return ", ".join(f"{each.value} {formats.count(each.count)}" for each in counts if each.value) or "-"


def _catalog_facts(
    models: "catalog_pb2.GetCatalogStatsResponse", datasets: "catalog_pb2.GetCatalogStatsResponse"
) -> dict[str, str]:
    facts = {
        "model types": _values(models.types),
        "frameworks": _values(models.frameworks),
        "model tags": _values(models.tags),
        "dataset tags": _values(datasets.tags),
    }
    return {name: value for name, value in facts.items() if value != "-"}


def _training_facts(stats: "training_pb2.GetTrainingStatsResponse") -> dict[str, str]:
    states = (
        (stats.running_jobs, "running"),
        (stats.queued_jobs, "queued"),
        (stats.paused_jobs, "paused"),
        (stats.completed_jobs, "succeeded"),
        (stats.failed_jobs, "failed"),
    )
    parts = ", ".join(f"{formats.count(number)} {state}" for number, state in states if number)
    total = formats.plural(stats.total_jobs, "job")
    spent = formats.seconds(stats.total_training_time_ms / 1000)
    return {"training": f"{total}{': ' + parts if parts else ''}, {spent} trained"}


def _show_health(out: Output, health: "system_pb2.GetHealthResponse", status: str) -> None:
    from ingot.v1 import system_pb2 as pb

    queue = health.write_queue
    waiting = formats.plural(queue.length, "write")
    longest = formats.duration(queue.longest_wait)
    out.facts(
        {
            "status": status,
            "data folder": health.mount_point,
            "database": health.database_version,
            "write queue": f"{waiting} waiting, longest {longest}" if health.HasField("write_queue") else "",
            "uploads": f"{health.active_uploads} open, {health.failed_uploads} failed"
            if health.parts
            else "",
            "files": formats.count(health.total_files) if health.parts else "",
            "since": formats.moment(health.start_time) if health.start_time.seconds else "",
        }
    )
    if health.parts:
        out.line()
        rows = [
            (part.name, formats.word(pb.HealthStatus.Name(part.status), "HEALTH_STATUS"), part.message or "-")
            for part in health.parts
        ]
        out.table([("PART", "STATUS", "MESSAGE"), *rows])


def _storage_facts(storage: "system_pb2.GetStorageResponse") -> dict[str, str]:
    saved = ""
    if storage.chunk_bytes and storage.logical_bytes > storage.chunk_bytes:
        saved = f"{storage.logical_bytes / storage.chunk_bytes:.2f} times less than all files together"
    facts = {"all files": formats.size(storage.logical_bytes)}
    if not storage.disk_total_bytes:  # told to administrators only
        return facts
    return facts | {
        "chunks": f"{formats.size(storage.chunk_bytes)} in {formats.plural(storage.chunk_count, 'chunk')}",
        "saved": saved,
        "packs": f"{formats.size(storage.pack_bytes)} in {formats.plural(storage.pack_count, 'pack')}",
        "database": formats.size(storage.database_bytes),
        "disk": f"{formats.size(storage.disk_free_bytes)} free of {formats.size(storage.disk_total_bytes)}",
    }
