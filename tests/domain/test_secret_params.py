"""What of parameters is secret stays with the operation, sealed, as long as it may run again."""

import dataclasses
from collections.abc import Iterator

import pytest

from helpers.catalogs import CatalogRig
from ingot.server.core import params
from ingot.server.core.errors import DataLoss, Problem, Reason
from ingot.server.core.identity import Caller
from ingot.server.core.json_values import JsonObject
from ingot.server.core.operations import NewOperation, Operation, OperationState, QueueLimits
from ingot.server.domain.secret_params import SecretParams
from ingot.server.storage.sealing import Sealer

ANY = QueueLimits({"download": 100})
SIGNED = "https://e.example/a.csv?token=s3cret#f"
PLAIN = "https://e.example/b.csv"


@pytest.fixture
def rig() -> Iterator[CatalogRig]:
    found = CatalogRig()
    yield found
    found.database.close()


@pytest.fixture
def sara(rig: CatalogRig) -> Caller:
    return rig.user("sara")


def wanted(*urls: str) -> JsonObject:
    source = params.UrlImport(files=(params.UrlFile(path="a", urls=urls),))
    target = params.Target(artifact="namespaces/sara/models/tiny")
    return params.ImportParams(source=source, target=target).document()


def queued(rig: CatalogRig, sara: Caller, asked: JsonObject) -> Operation:
    return rig.write(rig.operations.operations.enqueue, sara, NewOperation("import", asked, namespace="sara"))


def test_urls_are_whole_for_the_body_alone(rig: CatalogRig, sara: Caller) -> None:
    made = queued(rig, sara, wanted(SIGNED, PLAIN))
    found = rig.read(rig.operations.operations.get, sara, made.id)
    assert found.params == wanted("https://e.example/a.csv", PLAIN)
    assert "s3cret" not in repr(dataclasses.asdict(found))
    assert rig.operations.secrets.whole(found) == wanted(SIGNED, PLAIN)


def test_nothing_is_sealed_where_nothing_is_secret(rig: CatalogRig, sara: Caller) -> None:
    made = queued(rig, sara, wanted(PLAIN))
    assert (made.sealed, made.params) == ("", wanted(PLAIN))
    assert rig.operations.secrets.whole(made) == wanted(PLAIN)


def test_secrets_outlive_failures_and_go_with_success(rig: CatalogRig, sara: Caller) -> None:
    made = queued(rig, sara, wanted(SIGNED))
    claims = rig.operations.claims
    rig.write(claims.claim, "one", made.id, ANY)
    problem = Problem(Reason.SOURCE_UNREACHABLE, "It is away.", {}, "Wait.", 1.0)
    failed = rig.write(claims.fail, made.id, 1, problem, retry=False)
    assert failed.state is OperationState.FAILED
    again = rig.write(rig.operations.operations.retry, sara, made.id)
    assert rig.operations.secrets.whole(again) == wanted(SIGNED)
    rig.write(claims.claim, "one", made.id, ANY)
    done = rig.write(claims.succeed, made.id, 2, {})
    assert (done.sealed, done.params) == ("", wanted("https://e.example/a.csv"))


def test_secrets_open_only_here_and_for_their_namespace(rig: CatalogRig, sara: Caller) -> None:
    made = queued(rig, sara, wanted(SIGNED))
    for other, operation in (
        (SecretParams(Sealer(b"another key of thirty-two bytes!")), made),
        (rig.operations.secrets, dataclasses.replace(made, namespace="omid")),
    ):
        with pytest.raises(DataLoss, match="cannot be opened"):
            other.whole(operation)
