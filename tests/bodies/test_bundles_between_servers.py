"""Bundles as whole operations: from one server, without any network, into another."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from google.protobuf import json_format

from helpers.bundle_files import TREE, bundle_of, bundled_artifact, bundled_version, key_in
from helpers.patterns import pattern
from helpers.sdk import tree_of, write_tree
from helpers.servers import Server, running_server
from ingot.client import Client, IngotError
from ingot.server.sources import bundles
from ingot.server.sources.bundle_manifest import BundledJob, BundledOrigin, BundleManifest
from ingot.v1 import catalog_pb2
from ingot.v1 import operations_pb2 as pb

pytestmark = pytest.mark.slow

FIRST = {"config.json": b"{}", "model.safetensors": pattern("weights", 2_500_000), "empty": b""}
SECOND = {**FIRST, "config.json": b'{"b": 2}', "more/notes.txt": "سلام".encode()}
NAMESPACE = "namespaces/member"


@contextmanager
def site(folder: Path, trusted: str = "", reads: Path | None = None) -> Iterator[tuple[Server, Client]]:
    """Run a server of its own, with `folder` as the only place of its exports and imports."""
    folder.mkdir(exist_ok=True)
    with (
        running_server(
            folder,
            export_roots=(str(folder / "out"),),
            import_roots=(str(reads),) if reads else (),
            trusted_bundle_keys=(trusted,) if trusted else (),
        ) as server,
        Client(server.address, server.token("member"), user="ada") as client,
    ):
        yield server, client


def export(client: Client, path: str, *, since: datetime | None = None) -> pb.Operation:
    started = client.operations.start_export("models/tiny", path, since=since)
    assert started is not None
    return client.operations.wait(started.name)


def load(client: Client, path: Path, signer: str = "") -> pb.Operation:
    return client.operations.wait(client.operations.start_import(str(path), "models/any", signer=signer).name)


def refusal(client: Client, path: Path) -> IngotError:
    """Return why a bundle is not taken, and check that it was tried once only."""
    started = client.operations.start_import(str(path), "models/any")
    with pytest.raises(IngotError) as caught:
        client.operations.wait(started.name)
    assert client.operations.get(started.name).attempt == 1
    return caught.value


@pytest.mark.contract("S0-12", "S0-20", "S0-30", "S0-42")
def test_a_bundle_carries_versions_and_what_is_said_of_them_to_another_server(tmp_path: Path) -> None:
    with site(tmp_path / "a") as (_, client):
        client.push(
            "models/tiny",
            write_tree(tmp_path / "1", FIRST),
            changelog="the first",
            aliases=("prod",),
            metadata={"note": "سلام"},
            metrics={"loss": 0.25},
        )
        client.push("models/tiny", write_tree(tmp_path / "2", SECOND))
        done = export(client, "all.ingot")
        told = {each.name: each for each in client.catalog.versions("models/tiny")}
        again = export(client, "again.ingot")
        assert client.system.info().bundle_key == done.result["signer"]
    assert done.result["digest"] == again.result["digest"]
    bundle = tmp_path / "a" / "out" / "all.ingot"
    assert sorted(os.listdir(bundle.parent)) == ["again.ingot", "all.ingot"]
    signer = str(done.result["signer"])
    with site(tmp_path / "b", signer, bundle.parent) as (
        _,
        client,
    ):
        made = load(client, bundle)
        found = {each.name: each for each in client.catalog.versions("models/tiny")}
        assert {name: each.digest for name, each in found.items()} == {
            name: each.digest for name, each in told.items()
        }
        first = found[f"{NAMESPACE}/models/tiny/versions/1"]
        assert (first.changelog, dict(first.metadata), dict(first.performance_metrics)) == (
            "the first",
            {"note": "سلام"},
            {"loss": 0.25},
        )
        assert first.aliases == ["prod"]
        assert first.origin.source == first.name
        assert first.origin.operation == made.name
        client.pull("models/tiny", tmp_path / "pulled")
        assert tree_of(tmp_path / "pulled") == SECOND
        twice = load(client, bundle)
        assert (twice.result["existed"], twice.result["fetched_bytes"]) == (True, 0)
        assert client.catalog.get("models/tiny").version_count == 2


def test_a_bundle_since_a_time_goes_on_top_of_the_one_before(tmp_path: Path) -> None:
    with site(tmp_path / "a") as (_, client):
        first = client.push("models/tiny", write_tree(tmp_path / "1", FIRST))
        whole = export(client, "whole.ingot")
        client.push("models/tiny", write_tree(tmp_path / "2", SECOND))
        assert first.version is not None
        told = first.version.create_time.ToDatetime(tzinfo=UTC)
        rest = export(client, "rest.ingot", since=told)
        assert dict(rest.result)["versions"] == [f"{NAMESPACE}/models/tiny/versions/2"]
    out = tmp_path / "a" / "out"
    signer = str(whole.result["signer"])
    with site(tmp_path / "b", signer, out) as (_, client):
        load(client, out / "whole.ingot")
        load(client, out / "rest.ingot")
        client.pull("models/tiny", tmp_path / "pulled")
        assert tree_of(tmp_path / "pulled") == SECOND


def test_what_is_wrong_with_a_bundle_is_refused_with_nothing_made(tmp_path: Path) -> None:
    key = key_in(tmp_path / "maker")
    with site(tmp_path / "b", key.name) as (_, client):
        out = tmp_path / "b" / "out"
        out.mkdir()
        good, stranger = bundle_of(key=key), bundle_of(key=key_in(tmp_path / "stranger"))
        flipped = bytearray(good)
        flipped[-3000] ^= 1
        for name, data, expected in (
            ("cut", good[: len(good) // 2], "SOURCE_MISMATCH"),
            ("flipped", bytes(flipped), "SOURCE_MISMATCH"),
            ("stranger", stranger, "SOURCE_DENIED"),
            ("none", b"", "SOURCE_MISMATCH"),
        ):
            (out / name).write_bytes(data)
            assert (name, refusal(client, out / name).reason) == (name, expected)
        assert list(client.catalog.list()) == []
        load(client, out / "stranger", signer=bundles.signed_by(out / "stranger"))
        assert [each.name for each in client.catalog.list()] == [f"{NAMESPACE}/models/tiny"]


def test_another_content_under_the_same_version_is_a_conflict_before_anything_is_made(tmp_path: Path) -> None:
    key = key_in(tmp_path / "maker")
    with site(tmp_path / "b", key.name) as (_, client):
        out = tmp_path / "b" / "out"
        out.mkdir()
        client.push("models/tiny", write_tree(tmp_path / "1", FIRST))
        (out / "good").write_bytes(bundle_of(key=key))
        failed = refusal(client, out / "good")
        assert failed.reason == "NAME_TAKEN"
        assert "nothing was imported" in failed.message.lower()
        assert client.catalog.get("models/tiny").version_count == 1


def test_lineage_comes_along_and_a_look_makes_nothing(tmp_path: Path) -> None:
    key = key_in(tmp_path / "maker")
    segments: dict[str, bytes] = {}
    origin = BundledOrigin(training_job="trainingJobs/job_7", hub_commit="0" * 40, base_version="models/base")
    version = bundled_version(TREE, segments).model_copy(update={"origin": origin})
    job = BundledJob(
        name="trainingJobs/job_7",
        dataset_version="namespaces/sara/datasets/chat/versions/2",
        dataset_digest="blake3:" + "1" * 64,
        base_version="",
        base_digest="",
        attempt=2,
        training_seconds=12.5,
        config={"epochs": 3},
        metrics={"loss": 0.5},
    )
    manifest = BundleManifest(artifacts=[bundled_artifact([version])], jobs=[job])
    with site(tmp_path / "b", key.name) as (_, client):
        place = tmp_path / "b" / "out" / "good"
        write_tree(place.parent, {"good": bundle_of(key=key, manifest=manifest)})
        look = client.operations.start_import(str(place), "models/any", validate_only=True)
        looked = client.operations.wait(look.name)
        assert (looked.result["existed"], looked.result["needed_bytes"]) == (False, version.size)
        assert list(client.catalog.list()) == []
        load(client, place)
        made = client.catalog.version("models/tiny@prod")
        lineage = json_format.MessageToDict(made.metadata)["lineage"]
        assert lineage["base_version"] == "models/base"
        assert (lineage["job"]["dataset_version"], lineage["job"]["config"]) == (
            job.dataset_version,
            {"epochs": 3},
        )
        assert (made.origin.hub_commit, made.digest) == ("0" * 40, version.digest)
        artifact = client.catalog.get("models/tiny")
        assert (artifact.display_name, artifact.language) == ("Tiny", "fa")
        assert artifact.visibility == catalog_pb2.VISIBILITY_PRIVATE


def test_nobody_replaces_a_bundle_with_things_of_others(tmp_path: Path) -> None:
    with (
        site(tmp_path / "a") as (server, owner),
        Client(server.address, server.token("stranger")) as stranger,
    ):
        bundle = tmp_path / "a" / "out" / "week.ingot"
        owner.push("models/tiny", write_tree(tmp_path / "1", FIRST))
        export(owner, str(bundle))
        before = bundle.read_bytes()
        stranger.push("models/tiny", write_tree(tmp_path / "2", SECOND))
        with pytest.raises(IngotError) as refused:
            export(stranger, str(bundle))
        assert refused.value.reason == "IN_USE"
        assert bundle.read_bytes() == before
        owner.push("models/tiny", write_tree(tmp_path / "3", SECOND))
        export(owner, str(bundle))  # its own may change
        assert bundle.read_bytes() != before


def test_a_bundle_of_this_server_gives_nobody_what_is_not_theirs_to_see(tmp_path: Path) -> None:
    with (
        site(tmp_path / "a") as (server, owner),
        Client(server.address, server.token("stranger")) as stranger,
        Client(server.address, server.admin_token) as admin,
    ):
        bundle = tmp_path / "a" / "out" / "week.ingot"
        owner.push("models/tiny", write_tree(tmp_path / "1", FIRST))
        export(owner, str(bundle))
        failed = refusal(stranger, bundle)
        assert failed.reason == "SOURCE_DENIED"
        assert "tiny" not in failed.message
        assert list(stranger.catalog.list(namespace="stranger")) == []
        load(admin, bundle)
        shared = catalog_pb2.Artifact(visibility=catalog_pb2.VISIBILITY_INTERNAL)
        owner.catalog.update("models/tiny", shared, ["visibility"])
        load(stranger, bundle)
        assert stranger.catalog.get("models/tiny").version_count == 1
