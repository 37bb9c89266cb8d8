"""Connections of tests whose end cannot hold up the run.

`Channel.close` of gRPC waits without a limit for the last event of every call that was made as a future. Of
very many calls that were cancelled in the middle one is lost now and then, and then it waits for ever
(grpc/grpc#20026, open since 2019). What is proven is what the calls did: a channel that does not come to its
end is left behind.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence

import grpc

PATIENCE = 60.0  # seconds


@contextlib.contextmanager
def connected(address: str, options: Sequence[tuple[str, str | int]] = ()) -> Iterator[grpc.Channel]:
    """Give a channel without TLS for the length of a with block."""
    channel = grpc.insecure_channel(address, options=options)
    try:
        yield channel
    finally:
        closing = threading.Thread(target=channel.close, name="close-channel", daemon=True)
        closing.start()
        closing.join(PATIENCE)
