"""An upload that outlives the attempts of an import: each goes on with the one that the first opened.

Its request id is kept in the operation's folder. When the server no longer has that upload, or it was made
for something else, a new one is opened.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ingot.client import Client, IngotError, OpenUpload
from ingot.v1 import transfer_pb2

_CLOSED = ("UPLOAD_CLOSED", "REQUEST_ID_REUSED")


@contextmanager
def kept_upload(
    client: Client, place: Path, target: transfer_pb2.NewVersion, *, size: int, original_name: str
) -> Iterator[OpenUpload]:
    """Give the upload of an earlier attempt, or a new one; `place` is the file that keeps its request id."""
    try:
        upload = _open(client, place, target, size, original_name)
    except IngotError as error:
        if error.reason not in _CLOSED:
            raise
        place.unlink()
        upload = _open(client, place, target, size, original_name)
    with upload:
        yield upload


def _open(
    client: Client, place: Path, target: transfer_pb2.NewVersion, size: int, original_name: str
) -> OpenUpload:
    if not place.exists():
        fresh = place.with_suffix(".new")
        fresh.write_text(str(uuid.uuid4()), encoding="utf-8")
        fresh.replace(place)
    return client.uploads.open(
        target, size_bytes=size, original_name=original_name, request_id=place.read_text(encoding="utf-8")
    )
