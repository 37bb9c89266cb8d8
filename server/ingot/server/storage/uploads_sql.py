"""Uploads in SQLite: the UploadStore of core/transfer_stores.py.

`find` and `save` run several times for each stream, so their statements are made once: to make one of so many
columns anew costs Peewee a hundred times what SQLite needs to run it.
"""

from collections.abc import Collection, Sequence

from ingot.server.core.artifacts import VersionState
from ingot.server.core.names import UploadName
from ingot.server.core.transfer_stores import KeyedUpload
from ingot.server.core.uploads import Upload, UploadStage, UploadState
from ingot.server.storage import sql, tables, upload_targets

_FIELDS: tuple[str, ...] = tables.Upload._meta.sorted_field_names  # noqa: SLF001  # that is its name
_FIND = f"SELECT {', '.join(_FIELDS)} FROM upload WHERE id = ?"
_SAVE = "UPDATE upload SET {} WHERE id = ? AND state = ?"
_SURPLUS = (
    "SELECT id FROM upload WHERE creator = ? AND stage = ? AND state != ? ORDER BY id DESC LIMIT ? OFFSET ?"
)
_LIVE = (UploadState.OPEN, UploadState.SEALING)


class UploadsSql:
    """Uploads; its methods run inside a unit of work. The number in the name is the key of the row."""

    def add(self, upload: Upload) -> None:
        tables.Upload.insert(
            id=number_of(upload.name), created=upload.create_time, **_columns(upload)
        ).execute()

    def find(self, name: UploadName) -> Upload | None:
        found = sql.rows(_FIND, number_of(name))
        upload = _upload(tables.Upload(**dict(zip(_FIELDS, found[0], strict=True)))) if found else None
        return upload if upload is not None and upload.name == name else None  # there is no file_01

    def save(self, upload: Upload, expected: UploadState) -> bool:
        columns = _columns(upload)
        statement = _SAVE.format(", ".join(f"{name} = ?" for name in columns))
        return sql.run(statement, *columns.values(), number_of(upload.name), expected) == 1

    def count_received(self, name: UploadName, size: int) -> None:
        total = tables.Upload.received_bytes + size
        tables.Upload.update(received_bytes=total).where(tables.Upload.id == number_of(name)).execute()

    def count_open(self, creator: str) -> int:
        query = tables.Upload.select().where(tables.Upload.creator == creator, tables.Upload.state.in_(_LIVE))
        count: int = query.count()
        return count

    def page(
        self,
        namespaces: Collection[str] | None,
        creator: str | None,
        stage: UploadStage | None,
        after: int | None,
        size: int,
    ) -> Sequence[KeyedUpload]:
        query = tables.Upload.select()
        if stage is not None:
            query = query.where(tables.Upload.stage == stage)
        if namespaces is not None:
            query = query.where(tables.Upload.namespace.in_(list(namespaces)))
        if creator is not None:
            query = query.where(tables.Upload.creator == creator)
        if after is not None:
            query = query.where(tables.Upload.id < after)
        return [(row.id, _upload(row)) for row in query.order_by(tables.Upload.id.desc()).limit(size)]

    def due(self, now: float, size: int) -> Sequence[Upload]:
        query = tables.Upload.select().where(
            tables.Upload.state.in_((UploadState.OPEN, UploadState.ABORTED, UploadState.FAILED)),
            tables.Upload.tree != 0,
            tables.Upload.expires <= now,
        )
        return [_upload(row) for row in query.order_by(tables.Upload.id).limit(size)]

    def in_state(self, state: UploadState) -> Sequence[Upload]:
        return [_upload(row) for row in tables.Upload.select().where(tables.Upload.state == state)]

    def failed(self, before: float, creator: str | None, size: int) -> Sequence[Upload]:
        query = tables.Upload.select().where(
            tables.Upload.stage == UploadStage.FAILED, tables.Upload.updated < before
        )
        if creator is not None:
            query = query.where(tables.Upload.creator == creator)
        return [_upload(row) for row in query.order_by(tables.Upload.updated).limit(size)]

    def surplus(self, creator: str, keep: int, size: int) -> Sequence[Upload]:
        # By the index of creator and stage, which ends with the key: few rows are read but the index.
        found = sql.rows(_SURPLUS, creator, UploadStage.FAILED, UploadState.COMMITTED, size, keep)
        uploads = [self.find(UploadName(f"file_{key}")) for (key,) in found]
        return [upload for upload in uploads if upload is not None]

    def remove(self, name: UploadName) -> None:
        tables.Upload.delete().where(tables.Upload.id == number_of(name)).execute()

    def forget(self, before: float, size: int) -> Sequence[Upload]:
        query = tables.Upload.select().where(
            tables.Upload.stage == UploadStage.FRESH, tables.Upload.updated < before
        )
        found = [_upload(row) for row in query.limit(size)]
        keys = [number_of(upload.name) for upload in found]
        tables.Upload.delete().where(tables.Upload.id.in_(keys)).execute()
        return found


def number_of(name: UploadName) -> int:
    """Return the number in the name of an upload."""
    return int(name.upload.rpartition("_")[2])


def _columns(upload: Upload) -> dict[str, sql.Value]:
    return {
        "state": upload.state,
        "namespace": upload.namespace,
        "target": upload_targets.encode(upload.target),
        "tree": upload.tree,
        "creator": upload.creator,
        "size_bytes": upload.size_bytes,
        "original_name": upload.original_name,
        "description": upload.description,
        "updated": upload.update_time,
        "expires": upload.expire_time,
        "stored_bytes": upload.stored_bytes,
        "stored_chunks": upload.stored_chunks,
        "received_bytes": upload.received_bytes,
        "new_bytes": upload.new_bytes,
        "file_count": upload.file_count,
        "manifest_bytes": upload.manifest_bytes,
        "chunk_count": upload.chunk_count,
        "revision": upload.revision,
        "missing_chunks": upload.missing_chunks,
        "result": upload.result,
        "result_digest": upload.result_digest,
        "problem": upload_targets.encode_problem(upload.problem),
        "version_state": upload.version_state or "",
        "stage": upload.stage,
        "opened": upload.open_time,
    }


def _upload(row: tables.Upload) -> Upload:
    return Upload(
        name=UploadName(f"file_{row.id}"),
        namespace=row.namespace,
        target=upload_targets.decode(row.target),
        tree=row.tree,
        state=UploadState(row.state),
        creator=row.creator,
        size_bytes=row.size_bytes,
        original_name=row.original_name,
        description=row.description,
        create_time=row.created,
        update_time=row.updated,
        expire_time=row.expires,
        stored_bytes=row.stored_bytes,
        stored_chunks=row.stored_chunks,
        received_bytes=row.received_bytes,
        new_bytes=row.new_bytes,
        file_count=row.file_count,
        manifest_bytes=row.manifest_bytes,
        chunk_count=row.chunk_count,
        revision=row.revision,
        missing_chunks=row.missing_chunks,
        result=row.result,
        result_digest=row.result_digest,
        problem=upload_targets.decode_problem(row.problem),
        version_state=VersionState(row.version_state) if row.version_state else None,
        open_time=row.opened,
    )
