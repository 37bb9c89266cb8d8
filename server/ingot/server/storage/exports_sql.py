"""Rows of kept exports."""

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from ingot.server.core.exports import KeptExport, Layout
from ingot.server.storage import sql, tables

_Row = tables.KeptExport


class KeptExportsSql:
    """Implements KeptExportStore."""

    def add(self, kept: KeptExport) -> bool:
        if self.at(kept.folder) is not None:
            return False
        _Row.insert(
            folder_key=_key(kept.folder),
            artifact_uid=kept.artifact_uid,
            folder=kept.folder,
            root=kept.root,
            path=kept.path,
            name=kept.name,
            layout=kept.layout.value,
            requester=kept.requester,
            created=kept.create_time,
        ).execute()
        return True

    def at(self, folder: str) -> KeptExport | None:
        row = _Row.get_or_none(_Row.folder_key == _key(folder))
        return None if row is None else _kept(row)

    def around(self, folder: str) -> KeptExport | None:
        key = _key(folder)
        parents = [str(each) for each in PurePosixPath(key).parents]
        below = (_Row.folder_key > f"{key}/") & (_Row.folder_key < f"{key}0")  # 0 follows /
        row = _Row.select().where(below | _Row.folder_key.in_(parents)).order_by(_Row.id).first()
        return None if row is None else _kept(row)

    def of(self, artifact_uid: str) -> Sequence[KeptExport]:
        query = _Row.select().where(_Row.artifact_uid == artifact_uid)
        return [_kept(row) for row in query.order_by(_Row.id)]

    def folders(self, artifact_uids: Sequence[str]) -> Mapping[str, str]:
        rows = sql.rows(
            "SELECT artifact_uid, folder FROM kept_export "
            "WHERE artifact_uid IN (SELECT value FROM json_each(?)) AND version != '' ORDER BY id DESC",
            sql.text_list(artifact_uids),
        )
        return dict(rows)

    def by_requester(self, requester: str) -> Sequence[KeptExport]:
        query = _Row.select().where(_Row.requester == requester)
        return [_kept(row) for row in query.order_by(_Row.id)]

    def exported(self, folder: str, version: str) -> None:
        _Row.update(version=version).where(_Row.folder_key == _key(folder)).execute()

    def remove(self, folder: str) -> bool:
        return bool(_Row.delete().where(_Row.folder_key == _key(folder)).execute())


def _key(folder: str) -> str:
    """Return what is equal for folders that a file system which ignores case would hold as one."""
    return unicodedata.normalize("NFC", folder).casefold()


def _kept(row: tables.KeptExport) -> KeptExport:
    return KeptExport(
        artifact_uid=row.artifact_uid,
        folder=row.folder,
        root=row.root,
        path=row.path,
        name=row.name,
        layout=Layout(row.layout),
        requester=row.requester,
        create_time=row.created,
        version=row.version,
    )
