"""Credentials in rows: sealed, bound to user and host, and useless with another key."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.catalogs import add_user
from helpers.schema import migrated
from ingot.server.core import keys
from ingot.server.core.credentials import Credential
from ingot.server.core.errors import DataLoss, Reason
from ingot.server.core.sealed import SealBrokenError
from ingot.server.storage import tables
from ingot.server.storage.credentials_sql import CredentialsSql
from ingot.server.storage.database import Database, open_database
from ingot.server.storage.identity_sql import UsersSql
from ingot.server.storage.sealing import Sealer

HUB = "huggingface.co"
SECRET = "hf_VerySecretToken0123456789"
KEY = keys.derived(b"the secret of this folder", keys.CREDENTIALS)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = open_database(f"sqlite:///{tmp_path / 'ingot.db'}")
    migrated(found)
    for user in ("sara", "omid"):
        found.write(add_user, UsersSql(), user).result()
    yield found
    found.close()


def kept(user: str = "sara", host: str = HUB, time: float = 1.0) -> Credential:
    return Credential(user, host, time, time)


def put(
    database: Database, store: CredentialsSql, credential: Credential, secret: str = SECRET
) -> Credential:
    return database.write(store.put, credential, secret).result()


@pytest.mark.contract("S3-49")
def test_no_file_of_the_database_holds_the_secret(database: Database, tmp_path: Path) -> None:
    store = CredentialsSql(Sealer(KEY))
    put(database, store, kept())
    put(database, store, kept(), SECRET + "2")
    assert database.read(store.secret, "sara", HUB) == SECRET + "2"
    database.close()
    files = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())
    assert HUB.encode() in files, "the row is there"
    assert SECRET.encode() not in files
    assert SECRET.encode()[:8] not in files


def test_a_later_secret_replaces_the_one_before(database: Database) -> None:
    store = CredentialsSql(Sealer(KEY))
    assert put(database, store, kept(time=1.0)) == kept(time=1.0)
    assert put(database, store, kept(time=5.0), "new") == Credential("sara", HUB, 1.0, 5.0)
    assert database.read(store.secret, "sara", HUB) == "new"
    assert database.read(store.secret, "omid", HUB) is None
    assert database.read(store.secret, "sara", "example.com") is None


def test_another_key_opens_nothing(database: Database) -> None:
    put(database, CredentialsSql(Sealer(KEY)), kept())
    other = CredentialsSql(Sealer(keys.derived(b"another secret folder", keys.CREDENTIALS)))
    with pytest.raises(DataLoss, match="users/sara/credentials/huggingface") as caught:
        database.read(other.secret, "sara", HUB)
    assert caught.value.reason is Reason.DATA_LOSS
    assert SECRET not in str(caught.value.__dict__)


@pytest.mark.parametrize(("user", "host"), [("omid", HUB), ("sara", "evil.example")])
def test_a_row_that_is_copied_to_somebody_else_does_not_open(
    database: Database, user: str, host: str
) -> None:
    store = CredentialsSql(Sealer(KEY))
    put(database, store, kept())

    def steal() -> None:
        row = tables.Credential.get(tables.Credential.user == "sara")
        tables.Credential.insert(user=user, host=host, sealed=row.sealed, created=1.0, updated=1.0).execute()

    database.write(steal).result()
    with pytest.raises(DataLoss):
        database.read(store.secret, user, host)


def test_pages_and_deletion(database: Database) -> None:
    store = CredentialsSql(Sealer(KEY))
    for host in ("b.example", "a.example", "c.example"):
        put(database, store, kept(host=host))
    put(database, store, kept("omid"))
    assert [each.host for each in database.read(store.page, "sara", "", 2)] == ["a.example", "b.example"]
    assert [each.host for each in database.read(store.page, "sara", "b.example", 2)] == ["c.example"]
    assert database.write(store.delete, "sara", "a.example").result()
    assert not database.write(store.delete, "sara", "a.example").result()
    assert database.read(store.secret, "omid", HUB) == SECRET


def test_seals_differ_and_break_when_touched() -> None:
    sealer = Sealer(KEY)
    one, two = sealer.seal(SECRET, "x"), sealer.seal(SECRET, "x")
    assert one != two
    assert sealer.open(one, "x") == sealer.open(two, "x") == SECRET
    for at in range(len(one)):
        touched = bytearray(one)
        touched[at] ^= 1
        with pytest.raises(SealBrokenError):
            sealer.open(bytes(touched), "x")
    for short in (b"", one[:1], one[:10], one[:-1]):
        with pytest.raises(SealBrokenError):
            sealer.open(short, "x")


def test_keys_of_two_purposes_differ_and_short_secrets_are_refused() -> None:
    secret = b"the secret of this folder"
    assert keys.derived(secret, keys.CREDENTIALS) != keys.derived(secret, keys.OPERATION_TOKENS)
    assert len(keys.derived(secret, keys.CREDENTIALS)) == 32
    with pytest.raises(ValueError, match="16 bytes"):
        keys.derived(b"short", keys.CREDENTIALS)
