"""Rows of credentials; their secrets are sealed before they become part of a row."""

from collections.abc import Sequence

from ingot.server.core.credentials import Credential
from ingot.server.core.errors import DataLoss, Reason
from ingot.server.core.sealed import SealBrokenError
from ingot.server.storage import tables
from ingot.server.storage.sealing import Sealer

_Row = tables.Credential


class CredentialsSql:
    """Implements CredentialStore."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def put(self, credential: Credential, secret: str) -> Credential:
        sealed = self._sealer.seal(secret, _owner(credential.user, credential.host))
        updated = (
            _Row.update(sealed=sealed, updated=credential.update_time)
            .where(_Row.user == credential.user, _Row.host == credential.host)
            .execute()
        )
        if not updated:
            _Row.insert(
                user=credential.user,
                host=credential.host,
                sealed=sealed,
                created=credential.create_time,
                updated=credential.update_time,
            ).execute()
        return _credential(_Row.get(_Row.user == credential.user, _Row.host == credential.host))

    def secret(self, user: str, host: str) -> str | None:
        row = _Row.get_or_none(_Row.user == user, _Row.host == host)
        if row is None:
            return None
        try:
            return self._sealer.open(bytes(row.sealed), _owner(user, host))
        except SealBrokenError:
            name = _credential(row).name
            raise DataLoss(
                Reason.DATA_LOSS,
                f"{name} cannot be opened: it was kept with another secret than this data folder has now.",
                next_step="Set the credential again.",
                facts={"name": name},
            ) from None

    def page(self, user: str, after: str, size: int) -> Sequence[Credential]:
        query = _Row.select().where(_Row.user == user, _Row.host > after)
        return [_credential(row) for row in query.order_by(_Row.host).limit(size)]

    def delete(self, user: str, host: str) -> bool:
        return bool(_Row.delete().where(_Row.user == user, _Row.host == host).execute())


def _owner(user: str, host: str) -> str:
    return f"{user}\n{host}"  # neither has a line break


def _credential(row: tables.Credential) -> Credential:
    user = row.__data__["user"]  # the id; `row.user` would ask for the whole row
    return Credential(user, row.host, row.created, row.updated)
