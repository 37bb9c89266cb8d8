"""The async form of the SDK: made from it, runs beside other tasks, and ends what is cancelled."""

import asyncio
import importlib.util
import inspect
import pathlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import TypeVar

import pytest

from helpers.eventually import eventually_async
from helpers.patterns import pattern
from helpers.sdk import member_client, tree_of, write_tree
from helpers.servers import Server
from ingot.client import Cancelled, Client, LimitReached, NotFound, TransferProgress
from ingot.client._open_upload import OpenUpload
from ingot.client._scopes import Scope
from ingot.client.aio import AsyncClient
from ingot.client.aio._open_upload import AsyncOpenUpload
from ingot.client.aio._running import Apart, Running
from ingot.v1 import catalog_pb2
from ingot.v1 import transfer_pb2 as pb

T = TypeVar("T")
ROOT = pathlib.Path(__file__).parents[2]
FILES = {"a.bin": pattern("a", 3_000_000), "b.txt": b"small"}


@pytest.fixture(name="server", scope="module")
def _server() -> Iterator[Server]:
    with member_client() as (_, server):
        yield server


def run(server: Server, work: Callable[[AsyncClient], Awaitable[T]]) -> T:
    async def main() -> T:
        async with AsyncClient(server.address, server.token("member"), user="ada") as client:
            return await work(client)

    return asyncio.run(asyncio.wait_for(main(), 250))


def _tool() -> ModuleType:
    path = ROOT / "docs" / "tools" / "async_form.py"
    spec = importlib.util.spec_from_file_location("async_form", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- one source of truth --------------------------------------------------------------------------------


def test_what_is_written_is_what_the_tool_makes(tmp_path: pathlib.Path) -> None:
    tool = _tool()
    tool.write(tmp_path)
    made = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert len(made) > 10
    written = {name: (tool.OUTPUT / name).read_text(encoding="utf-8") for name in made}
    assert written == made, "run: make async"


def test_every_method_of_the_sdk_is_there_with_its_parameters(server: Server) -> None:
    async def compare(client: AsyncClient) -> int:
        with Client(server.address, server.token("member")) as plain:
            count = 0
            parts = [name for name in dir(type(plain)) if not name.startswith("_")]
            named = [
                part for part in parts if not callable(getattr(type(plain), part)) and part != "endpoint"
            ]
            pairs = [(plain, client), *((getattr(plain, part), getattr(client, part)) for part in named)]
            for one, other in pairs:
                for name, method in inspect.getmembers(one, inspect.ismethod):
                    if name.startswith("_") or name == "within":
                        continue
                    signature = inspect.signature(method).parameters
                    assert list(inspect.signature(getattr(other, name)).parameters) == list(signature), name
                    count += 1
            return count

    assert run(server, compare) > 100


def test_an_open_upload_has_every_method_too() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert public(AsyncOpenUpload) == public(OpenUpload)


# --- how it runs ----------------------------------------------------------------------------------------


def test_files_go_and_come_and_calls_run_side_by_side(server: Server, tmp_path: pathlib.Path) -> None:
    source = write_tree(tmp_path / "in", FILES)

    async def work(client: AsyncClient) -> None:
        told: list[tuple[TransferProgress, int]] = []
        done = await client.push(
            "models/tiny",
            source,
            on_progress=lambda progress: told.append((progress, threading.get_ident())),
        )
        assert done.size_bytes == sum(map(len, FILES.values()))
        await asyncio.sleep(0)  # what was told last is on the loop
        assert {thread for _, thread in told} == {threading.get_ident()}
        found, versions, pulled = await asyncio.gather(
            client.catalog.get("models/tiny"),
            _all(client.catalog.versions("models/tiny")),
            client.pull("models/tiny", tmp_path / "out"),
        )
        assert found.current_version == versions[0].name == done.name
        assert (pulled.size_bytes, tree_of(tmp_path / "out")) == (done.size_bytes, FILES)
        assert b"".join(await _all(client.read("models/tiny:a.bin", offset=5))) == FILES["a.bin"][5:]
        assert (await client.with_timeout(50).system.health()).status

    run(server, work)


def test_errors_are_those_of_the_sdk(server: Server) -> None:
    async def work(client: AsyncClient) -> None:
        with pytest.raises(NotFound, match="models/nothing"):
            await client.catalog.get("models/nothing")
        with pytest.raises(NotFound):
            await _all(client.catalog.versions("models/nothing"))

    run(server, work)


def test_an_upload_is_kept_open(server: Server, tmp_path: pathlib.Path) -> None:
    source = write_tree(tmp_path / "in", FILES)

    async def work(client: AsyncClient) -> None:
        async with client.uploads.open(_target("opened")) as upload:
            await upload.add({name: source / name for name in FILES})
            assert upload.files() == {name: len(content) for name, content in FILES.items()}
            done = await upload.commit()
        assert done.upload == upload.name
        assert (await client.catalog.get("models/opened")).current_version == done.name

    run(server, work)


def test_a_watch_that_is_left_ends_its_stream(server: Server) -> None:
    async def work(client: AsyncClient) -> None:
        upload = await _begun(client)
        watch = client.uploads.watch(upload)
        async for message in watch:
            assert message.WhichOneof("message")
            break
        await watch.aclose()  # type: ignore[attr-defined]  # it is a generator
        await eventually_async(_idle)

    run(server, work)


def test_a_task_that_is_cancelled_ends_its_call(server: Server) -> None:
    async def work(client: AsyncClient) -> None:
        upload = await _begun(client)

        async def follow() -> None:
            async for _ in client.uploads.watch(upload):
                pass

        task = asyncio.create_task(follow())
        await eventually_async(_waits)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await eventually_async(_idle)
        assert (await client.uploads.abort(upload)).state == pb.UPLOAD_STATE_ABORTED

    run(server, work)


def test_no_call_waits_for_watches_that_are_idle(server: Server) -> None:
    async def work() -> None:
        synced = [asyncio.Event() for _ in range(4)]
        async with AsyncClient(server.address, server.token("member"), threads=1, watches=4) as client:
            upload = await _begun(client)

            async def follow(mine: asyncio.Event) -> None:
                async for message in client.uploads.watch(upload):
                    if message.HasField("synced"):
                        mine.set()

            async def follow_once() -> None:
                async for _ in client.uploads.watch(upload):
                    break

            watching = [asyncio.create_task(follow(each)) for each in synced]
            await asyncio.gather(*(each.wait() for each in synced))
            assert (await client.uploads.get(upload)).name == upload
            for waiting in (client.uploads.wait(upload), follow_once(), client.training.wait("job_1")):
                with pytest.raises(LimitReached, match="follows 4 things already"):
                    await waiting
            watching[0].cancel()
            await asyncio.wait(watching[:1])
            await follow_once()  # in its place
            assert (await client.uploads.abort(upload)).state == pb.UPLOAD_STATE_ABORTED
            await asyncio.gather(*watching[1:])
        await eventually_async(_none_apart)

    asyncio.run(asyncio.wait_for(work(), 250))


def test_a_client_that_is_closed_ends_what_it_follows(server: Server) -> None:
    async def work() -> None:
        client = AsyncClient(server.address, server.token("member"))
        upload = await _begun(client)

        async def follow() -> None:
            async for _ in client.uploads.watch(upload):
                pass

        watching = asyncio.create_task(follow())
        await eventually_async(_waits)
        await client.close()
        with pytest.raises(Cancelled):
            await watching
        await eventually_async(_none_apart)

    asyncio.run(asyncio.wait_for(work(), 250))


def test_a_connection_that_is_closed_behind_a_stopped_scope_is_cancelled(server: Server) -> None:
    scope = Scope()
    client = Client(server.address, server.token("member"))
    with client.uploads.open(_target("watched")) as begun:
        upload = begun.name
    part = client.within(scope).uploads
    watch = part.watch(upload)
    next(watch)
    client.close()  # the wrong way round, so that the stream surely hears of it first
    scope.stop()
    with pytest.raises(Cancelled):
        list(watch)
    for call in (lambda: part.get(upload), lambda: next(part.watch(upload))):
        with pytest.raises(Cancelled):
            call()


def test_what_waits_for_a_thread_is_given_up_at_once() -> None:
    async def main() -> None:
        done = threading.Event()
        with Client("unix:nowhere", "token") as client:
            running = Running(client, ThreadPoolExecutor(1), Apart(1))
            busy = asyncio.create_task(running.on_thread(done.wait, Scope()))
            waiting = asyncio.create_task(running.on_thread(done.set, Scope()))
            await asyncio.sleep(0)  # both begin
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert not busy.done()
            done.set()
            assert await busy
            await running.close()

    asyncio.run(asyncio.wait_for(main(), 250))


def test_a_push_that_is_cancelled_stops_and_goes_on_when_it_is_repeated(
    server: Server, tmp_path: pathlib.Path
) -> None:
    source = write_tree(tmp_path / "in", {"slow.bin": pattern("slow", 6_000_000)})

    async def work(client: AsyncClient) -> None:
        moving = asyncio.Event()
        task = asyncio.create_task(
            client.push(
                "models/slow",
                source,
                limit_rate=500_000,
                on_progress=lambda progress: moving.set() if progress.bytes_moved else None,
            )
        )
        await moving.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        done = await client.push("models/slow", source)
        assert done.size_bytes == 6_000_000

    run(server, work)


async def _begun(client: AsyncClient) -> str:
    async with client.uploads.open(_target("watched")) as upload:
        return upload.name


async def _all(items: AsyncIterator[T]) -> list[T]:
    return [each async for each in items]


def _target(name: str) -> pb.NewVersion:
    return pb.NewVersion(artifact=f"namespaces/member/models/{name}", create=catalog_pb2.Artifact())


async def _waits() -> bool:
    return _waiting()


async def _idle() -> bool:
    return not _waiting()


async def _none_apart() -> bool:
    return not any(thread.name.startswith("ingot-aio-apart") for thread in threading.enumerate())


def _waiting() -> bool:
    """Tell whether a thread of the client waits for a message of a stream."""
    return any(thread.name == "ingot-idle" for thread in threading.enumerate())
