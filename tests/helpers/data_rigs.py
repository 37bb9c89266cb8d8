"""What a data process serves, inside the test process: beside a running server, over the same private socket.

with running_server(tmp_path) as server, beside(server) as data:
    data.pusher(server.token("sara")).put(…)      # PutChunks and ReadChunks go there, the rest to the server
    data.lose()                                   # as if it had been killed
"""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import grpc

from helpers import channels, loops
from helpers.pipelines import bearer
from helpers.servers import Server
from helpers.transfers import Pusher
from ingot.server.data_process import Threads
from ingot.server.rpc.data_streams import DataStreams
from ingot.server.rpc.idle_memory import Trimming
from ingot.server.rpc.server import INNER_OPTIONS, OPTIONS
from ingot.server.storage.pack_keys import keyring
from ingot.server.storage.packs_data import DataPacks
from ingot.v1 import transfer_pb2_grpc


class _Beside:
    """A stub whose bulk methods are those of another one."""

    def __init__(self, main: grpc.Channel, data: grpc.Channel) -> None:
        self._main = transfer_pb2_grpc.TransferServiceStub(main)
        self._data = transfer_pb2_grpc.TransferServiceStub(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._data if name in ("PutChunks", "ReadChunks") else self._main, name)


class DataRig:
    """The data side and its connection to the server."""

    def __init__(self, server: Server, key_file: Path, name: str) -> None:
        self._server = server
        self.trimmed = threading.Event()  # set each time memory is given back
        folder = server.app.unix_socket.parent  # short enough for a socket
        self._main, self._socket = folder / f"{name}.sock", folder / f"{name}-1.sock"
        self._stack = contextlib.ExitStack()
        self.packs = DataPacks(server.folder, keyring(key_file, server.folder))
        self._channel, self._grpc, self._doors = loops.run(self._start())

    async def _start(self) -> tuple[grpc.aio.Channel, grpc.aio.Server, grpc.aio.Server]:
        app = self._server.app
        doors = app.transfer.doors(app.hops, app._packs)
        asked = await doors.serve(app.pipeline, self._main)
        channel = grpc.aio.insecure_channel(f"unix:{self._main}", options=INNER_OPTIONS)
        serving = grpc.aio.server(options=OPTIONS)
        memory = Trimming(self.trimmed.set, quiet_seconds=0.0)
        streams = DataStreams(channel, Threads(4), self.packs, self.packs, app.transfer.limits, memory)
        streams.add_to(serving)
        serving.add_insecure_port(f"unix:{self._socket}")
        await serving.start()
        return channel, serving, asked

    def pusher(self, token: str) -> Pusher:
        """Return a client that signs in with this token."""
        main = self._stack.enter_context(channels.connected(self._server.address, OPTIONS))
        data = self._stack.enter_context(channels.connected(f"unix:{self._socket}", OPTIONS))
        stub = cast(transfer_pb2_grpc.TransferServiceStub, _Beside(main, data))
        return Pusher(stub, bearer(token))

    def lose(self) -> None:
        """Cut the connection to the server, as the death of a data process does."""
        loops.run(self._channel.close())

    def close(self) -> None:
        """Stop everything."""
        self._stack.close()
        loops.run(self._grpc.stop(0))
        loops.run(self._channel.close())
        loops.run(self._doors.stop(0))


@contextlib.contextmanager
def beside(server: Server, key_file: Path = Path(), name: str = "data") -> Iterator[DataRig]:
    """Serve data beside a server for the length of a with block; `name` is that of the sockets."""
    rig = DataRig(server, key_file, name)
    try:
        yield rig
    finally:
        rig.close()
