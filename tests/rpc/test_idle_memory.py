"""Memory that transfers needed goes back to the system once none runs."""

import asyncio
import os
from pathlib import Path

import psutil
import pytest

from helpers import loops
from helpers.eventually import eventually
from helpers.processes import server_process
from helpers.sdk import write_tree
from ingot.client import Client
from ingot.server.core.clock import SystemClock
from ingot.server.rpc import methods
from ingot.server.rpc.calls import Call
from ingot.server.rpc.idle_memory import IdleMemory

MIB = 1024 * 1024


def call_of(method: str) -> Call:
    return Call.begin(methods.all_methods()[f"/ingot.v1.{method}"], "unix:", {}, SystemClock())


def test_it_waits_until_the_last_transfer_has_ended() -> None:
    async def transfers() -> list[str]:
        said: list[str] = []
        trimmed = asyncio.Event()
        loop = asyncio.get_running_loop()

        def trim() -> None:
            said.append("trimmed")
            loop.call_soon_threadsafe(trimmed.set)

        memory = IdleMemory(trim, quiet_seconds=0.0)
        push, pull = call_of("TransferService/PutChunks"), call_of("TransferService/ReadChunks")
        memory.began(call_of("TransferService/WatchUpload"), {})  # moves nothing
        memory.began(push, {})
        memory.ended(push, 1.0)
        memory.began(pull, {})  # in time
        for _ in range(100):  # turns of the loop, in which it would be due
            await asyncio.sleep(0)
        said.append("the last one ends")
        memory.ended(pull, 1.0)
        await asyncio.wait_for(trimmed.wait(), 90)
        return said

    assert loops.run(transfers()) == ["the last one ends", "trimmed"]


@pytest.mark.long
@pytest.mark.parametrize("beside", [(), ("--data-listen", "127.0.0.1:0")], ids=["main", "data"])
def test_a_server_is_not_larger_for_ever_because_of_a_push(tmp_path: Path, beside: tuple[str, ...]) -> None:
    with server_process(tmp_path / "data", *beside) as server:
        moving = psutil.Process(server.process.pid)
        if beside:
            (moving,) = moving.children()

        def resident() -> float:
            return moving.memory_info().rss / MIB

        with Client(f"unix:{server.facts['socket']}", server.admin_token, user="ada") as client:
            client.push("datasets/small", write_tree(tmp_path / "one", {"a.bin": os.urandom(MIB)}))
            before = resident()
            client.push("datasets/large", write_tree(tmp_path / "two", {"a.bin": os.urandom(256 * MIB)}))
            # A data process has loaded little before its first push, and more lanes take and leave more.
            kept = max(35.0, (resident() - before) / 2)
            eventually(lambda: resident() < before + kept, what="the memory of the push given back")
