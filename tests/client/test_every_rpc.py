"""Every RPC of the protos has a method of the SDK and a command, or a reason why not: see every_rpc.txt."""

import dataclasses
import importlib
import inspect
import pathlib
import re

import pytest

from ingot.client import Client, cli
from ingot.client.cli import commands
from ingot.server.rpc import methods

RPCS = {method.name for service in methods.services() for method in service.methods}
PACKAGE = pathlib.Path(inspect.getfile(Client)).parent
TRANSFERS = {"push", "pull", "read", "uploads.open"}  # whole transfers, in many modules
SOURCES = "".join(file.read_text(encoding="utf-8") for file in PACKAGE.glob("_*.py"))


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; "" for what there is not."""

    rpc: str
    method: str
    command: str
    reason: str


def _rows() -> list[Row]:
    table = pathlib.Path(__file__).with_name("every_rpc.txt").read_text(encoding="utf-8")
    found = []
    for line in table.splitlines():
        if line and line[0] != "#":
            told, _, reason = line.partition(" -- ")
            rpc, method, command = told.split(maxsplit=2)
            found.append(Row(rpc, method.strip("-"), command.strip(" -"), reason))
    return found


ROWS = _rows()


def test_the_table_has_every_rpc_once() -> None:
    assert sorted(row.rpc for row in ROWS) == sorted(RPCS)


def test_what_is_left_out_has_a_reason() -> None:
    assert [row.rpc for row in ROWS if not (row.method and row.command) and not row.reason] == []
    assert [row.rpc for row in ROWS if row.method and row.command and row.reason] == []


@pytest.mark.parametrize("row", [row for row in ROWS if row.method], ids=lambda row: row.rpc)
def test_the_method_calls_it(row: Row) -> None:
    part, _, name = row.method.rpartition(".")
    with Client("localhost:1", "none") as client:
        method = getattr(getattr(client, part) if part else client, name)
    source = SOURCES if row.method in TRANSFERS else inspect.getsource(method)
    assert re.search(rf"\b{row.rpc}\b", source), f"{row.method} does not call {row.rpc}"


@pytest.mark.parametrize("row", [row for row in ROWS if row.command], ids=lambda row: row.rpc)
def test_the_command_calls_the_method(row: Row) -> None:
    module = importlib.import_module(f"{cli.__name__}.{commands.ENTRIES[row.command].home.partition(':')[0]}")
    used = [
        each for each in vars(module).values() if inspect.ismodule(each) and cli.__name__ in each.__name__
    ]
    source = "".join(map(inspect.getsource, [module, *used]))
    assert re.search(rf"\.{row.method.rpartition('.')[2]}\(", source), f"{row.command}: no {row.method}"
