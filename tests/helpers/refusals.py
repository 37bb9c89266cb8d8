"""For properties of the form "whatever comes in is taken or refused like this"."""

from collections.abc import Callable
from typing import ParamSpec

import grpc
from google.rpc import error_details_pb2, status_pb2

from ingot.server.core.errors import IngotError

P = ParamSpec("P")


def refusal_of(fn: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> IngotError | None:
    """Call `fn` and return the error with which it refused, None when it took its arguments."""
    try:
        fn(*args, **kwargs)
    except IngotError as error:
        return error
    return None


def reason_of(error: grpc.RpcError) -> str:
    """Return the reason that a refused call gives, "" when it gives none."""
    trailing = {each.key: each.value for each in error.trailing_metadata() or ()}
    status = status_pb2.Status.FromString(trailing.get("grpc-status-details-bin", b""))
    info = error_details_pb2.ErrorInfo()
    return str(info.reason) if status.details and status.details[0].Unpack(info) else ""
