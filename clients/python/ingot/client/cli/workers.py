"""workers: machines that train (administrators)."""

from typing import TYPE_CHECKING

from ingot.client.cli import formats
from ingot.client.cli.command import Command
from ingot.client.cli.output import Listing
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.v1 import workers_pb2


class Ls(Command):
    """List the machines that train: what they have, what they lack, and what they do now."""

    examples = ("ingot workers ls", "ingot workers ls --json")

    def run(self, shell: Shell) -> int:
        heading = ("NAME", "CALLED", "STATE", "DEVICES", "WORKS ON", "LACKS", "LAST HEARD")
        workers = shell.client.workers.list()
        Listing(shell.out, limit=0).show(workers, heading, _row, lambda worker: worker.name)
        return 0


def _row(worker: "workers_pb2.Worker") -> tuple[str, ...]:
    from ingot.v1 import workers_pb2 as pb

    return (
        worker.name.removeprefix("workers/"),
        worker.display_name,
        formats.word(pb.WorkerState.Name(worker.state), "WORKER_STATE"),
        ", ".join(map(_device, worker.devices)) or "-",
        ", ".join(worker.assignments) or "-",
        ", ".join(worker.missing_software) or "-",
        formats.moment(worker.last_heartbeat_time),
    )


def _device(device: "workers_pb2.Device") -> str:
    memory = f" {formats.size(device.memory_bytes)}" if device.memory_bytes else ""
    cores = f"{device.count} × " if device.count > 1 else ""
    return f"{cores}{device.name or device.kind}{memory}"
