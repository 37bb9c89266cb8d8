"""What is pushed under a required policy, done by the server itself: published, rejected, tried again."""

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf import json_format

from helpers.sdk import write_tree
from helpers.servers import Server, running_server
from ingot.client import Client, IngotError, Integrity, NotFound, artifact_fields
from ingot.v1 import catalog_pb2
from ingot.v1 import transfer_pb2 as pb

pytestmark = pytest.mark.slow

GOOD = b"".join(b'{"text": "sentence number %d"}\n' % number for number in range(100))
BAD = GOOD + b'{"text": nul}\n'
INTERNAL = artifact_fields(visibility="internal")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("server"), validation="required") as server:
        yield server


@pytest.fixture
def sara(server: Server) -> Iterator[Client]:
    with Client(server.address, server.token("sara"), user="sara") as client:
        yield client


@pytest.fixture
def omid(server: Server) -> Iterator[Client]:
    with Client(server.address, server.token("omid"), namespace="sara", user="omid") as client:
        yield client


@pytest.mark.contract("S1-63", "S4-37", "S3-6", "S0-19", "S0-9")
def test_good_data_is_published_and_bad_data_is_not(sara: Client, omid: Client, tmp_path: Path) -> None:
    good = sara.push("datasets/chat@prod", write_tree(tmp_path / "good", {"a.jsonl": GOOD}), fields=INTERNAL)
    assert good.version is not None
    assert good.version.state == catalog_pb2.VERSION_STATE_READY
    assert omid.catalog.version("datasets/chat@prod").name == good.name
    with pytest.raises(Integrity) as caught:
        sara.push("datasets/chat@prod", write_tree(tmp_path / "bad", {"a.jsonl": BAD}))
    assert caught.value.reason == "VALIDATION_FAILED"
    assert str(caught.value).count("First: a.jsonl, row 101, column ") == 1
    rejected = caught.value.facts["version"]
    assert rejected.endswith("/versions/2")
    assert omid.catalog.version("datasets/chat").name == good.name
    assert [each.name for each in omid.catalog.versions("datasets/chat")] == [good.name]
    with pytest.raises(NotFound):
        omid.catalog.version(rejected)
    assert b"".join(sara.read(f"{rejected}:a.jsonl")) == BAD
    for use in (lambda: sara.training.create(rejected), lambda: sara.catalog.set_alias(rejected, "best")):
        with pytest.raises(IngotError) as refused:
            use()
        assert refused.value.reason == "STATE_INVALID"


@pytest.mark.contract("S3-23", "S3-56", "S3-8")
def test_a_rejected_version_passes_with_other_rules(sara: Client, tmp_path: Path) -> None:
    with pytest.raises(Integrity) as caught:
        sara.push("datasets/again", write_tree(tmp_path / "bad", {"a.jsonl": BAD}))
    upload = caught.value.facts["upload"]
    policy = catalog_pb2.ValidationPolicy(rules=catalog_pb2.ValidationRules(max_bad_ratio=0.5))
    sara.catalog.update("datasets/again", catalog_pb2.Artifact(validation=policy), ["validation"])
    assert sara.retry_failed_file(upload).stage in (
        *(pb.UPLOAD_STAGE_STAGED, pb.UPLOAD_STAGE_VALIDATING, pb.UPLOAD_STAGE_FRESH),
    )
    fresh = sara.uploads.wait(upload)
    assert fresh.result == caught.value.facts["version"]
    assert sara.catalog.version("datasets/again").name == fresh.result


class Opens:
    """Runs a program when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("true",)


@pytest.mark.contract("S0-28", "S3-44", "S1-57")
def test_a_model_that_runs_code_when_it_is_loaded_is_not_published(
    sara: Client, omid: Client, tmp_path: Path
) -> None:
    good = write_tree(tmp_path / "good", {"weights.pkl": pickle.dumps({"weights": [0.5, 0.25]})})
    assert sara.push("models/tiny", good, fields=INTERNAL).version is not None
    bad = pickle.dumps({"weights": Opens()})
    with pytest.raises(Integrity) as caught:
        sara.push("models/tiny", write_tree(tmp_path / "bad", {"weights.pkl": bad}))
    assert caught.value.reason == "VALIDATION_FAILED"
    assert "weights.pkl" in str(caught.value)
    assert "system" in str(caught.value)
    assert [each.name for each in omid.catalog.versions("models/tiny")] == [
        "namespaces/sara/models/tiny/versions/1"
    ]


@pytest.mark.contract("S0-41", "S3-8", "S0-19")
def test_a_version_that_is_published_is_checked_when_somebody_asks(sara: Client, tmp_path: Path) -> None:
    on_request = catalog_pb2.ValidationPolicy(mode=catalog_pb2.VALIDATION_MODE_NONE)
    free = artifact_fields(validation=on_request)
    made = sara.push(
        "models/asked", write_tree(tmp_path / "m", {"w.pkl": pickle.dumps(Opens())}), fields=free
    )
    started = sara.operations.start_validation("models/asked")
    assert (started.kind, started.target) == ("validate", made.name)
    report = json_format.MessageToDict(sara.operations.wait(started.name).result)
    assert report["passed"] is False
    (finding,) = report["findings"]
    assert (finding["path"], finding["reason"]) == ("w.pkl", "unsafe_opcode")
    assert finding["byte_offset"] == pickle.dumps(Opens()).index(b"\x93")
    assert sara.catalog.version("models/asked").state == catalog_pb2.VERSION_STATE_READY
    trusting = sara.operations.start_validation(made.name, {"allow_unsafe": True})
    again = sara.operations.wait(trusting.name)
    assert json_format.MessageToDict(again.result)["passed"] is True
