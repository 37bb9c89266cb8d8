"""Lineage through a whole server: dataset → job → checkpoint → model → who pulled it, up and down."""

import pathlib
from collections.abc import Iterator

import grpc
import pytest

from helpers.eventually import eventually
from helpers.servers import Server, Stubs, running_server
from helpers.trainers import BASE, DATASET, OUTPUT, Trainer, folder, start_job
from helpers.transfers import refused
from ingot.client import Client
from ingot.client.cli.main import main
from ingot.server.storage import sql
from ingot.v1 import catalog_pb2 as pb
from ingot.v1 import workers_pb2

JOB = "trainingJobs/job_1"
UP, DOWN = pb.LINEAGE_DIRECTION_UP, pb.LINEAGE_DIRECTION_DOWN
TRAINING = {
    (f"{DATASET}/versions/1", JOB, "DATASET"),
    (f"{BASE}/versions/1", JOB, "BASE"),
    (JOB, f"{JOB}/checkpoints/20", "CHECKPOINT"),
    (JOB, f"{OUTPUT}/versions/1", "RESULT"),
}


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder_of = tmp_path_factory.mktemp("lineage")
    with running_server(folder_of / "server") as server:
        trained(server, folder_of)
        yield server


def trained(server: Server, path: pathlib.Path) -> None:
    """Train once, as sara; then omid may see the model and pulls it."""
    start_job(server, path)
    trainer = Trainer(server)
    work = trainer.claim()
    trainer.save(work, 20, folder(path / "step", **{"state.pt": "step 20"}))
    made = folder(path / "result", **{"model.safetensors": "trained", "config.json": "{}"})
    trainer.client.push_result(OUTPUT, made, training_job=work.name, attempt=work.attempt)
    trainer.finish(work, workers_pb2.WORK_OUTCOME_SUCCEEDED)
    with Client(server.address, server.token("sara")) as sara:
        sara.catalog.update("models/tiny", pb.Artifact(visibility=pb.VISIBILITY_INTERNAL), ["visibility"])
    with Client(server.address, server.token("omid")) as omid:
        for turn in ("one", "two"):
            omid.pull("models/sara/tiny@latest", path / turn)


def lineage(
    stubs: Stubs,
    name: str,
    direction: pb.LineageDirection.ValueType = pb.LINEAGE_DIRECTION_UNSPECIFIED,
    depth: int = 0,
) -> pb.GetLineageResponse:
    return stubs.catalog.GetLineage(pb.GetLineageRequest(name=name, direction=direction, depth=depth))


def steps(found: pb.GetLineageResponse) -> set[tuple[str, str, str]]:
    """Return the steps by names; a hidden place is `?`."""
    names = {node.id: node.name or "?" for node in found.nodes}
    return {
        (
            names[edge.source],
            names[edge.target],
            pb.LineageRelation.Name(edge.relation).removeprefix("LINEAGE_RELATION_"),
        )
        for edge in found.edges
    }


def named(found: pb.GetLineageResponse, name: str) -> pb.LineageNode:
    (node,) = (node for node in found.nodes if node.name == name)
    return node


def test_a_model_tells_what_it_comes_from(server: Server) -> None:
    found = lineage(server.member("sara"), OUTPUT, UP)
    assert found.nodes[0].id == found.root
    assert found.nodes[0].name == f"{OUTPUT}/versions/1"
    assert steps(found) == {step for step in TRAINING if "CHECKPOINT" not in step}
    job = named(found, JOB)
    assert (job.kind, job.state, job.creator) == (pb.LINEAGE_KIND_TRAINING_JOB, "SUCCEEDED", "users/sara")
    assert named(found, f"{DATASET}/versions/1").digest.startswith("blake3:")
    assert not found.truncated


def test_a_dataset_tells_what_came_of_it_and_who_has_it(server: Server) -> None:
    pulled = (f"{OUTPUT}/versions/1", "users/omid", "PULL")

    def told() -> pb.GetLineageResponse:  # calls are written down within a second
        found = lineage(server.member("sara"), f"{DATASET}/versions/1", DOWN)
        assert steps(found) == {step for step in TRAINING if "BASE" not in step} | {pulled}
        return found

    found = eventually(told)
    omid = named(found, "users/omid")
    assert (omid.kind, omid.count) == (pb.LINEAGE_KIND_PRINCIPAL, 2)
    assert omid.HasField("create_time")


def test_a_job_tells_both_and_the_depth_ends_it(server: Server) -> None:
    sara = server.member("sara")
    whole = lineage(sara, JOB)
    assert steps(whole) >= TRAINING
    near = lineage(sara, f"{DATASET}/versions/1", DOWN, 1)
    assert (steps(near), near.truncated) == ({(f"{DATASET}/versions/1", JOB, "DATASET")}, True)


def test_what_is_not_yours_has_no_name_and_nothing_behind_it(server: Server) -> None:
    omid = server.member("omid")

    def told() -> pb.GetLineageResponse:  # calls are written down within a second
        found = lineage(omid, f"{OUTPUT}/versions/1")
        assert steps(found) == {
            ("?", f"{OUTPUT}/versions/1", "RESULT"),
            (f"{OUTPUT}/versions/1", "users/omid", "PULL"),
        }
        return found

    found = eventually(told)
    (hidden,) = (node for node in found.nodes if not node.name)
    assert (hidden.digest, hidden.creator, hidden.state) == ("", "", "")
    for name, reason in (
        (f"{DATASET}/versions/1", "ARTIFACT_NOT_FOUND"),
        (JOB, "TRAINING_JOB_NOT_FOUND"),
        ("trainingJobs/job_99", "TRAINING_JOB_NOT_FOUND"),
    ):
        with refused(grpc.StatusCode.NOT_FOUND, reason):
            lineage(omid, name)
    assert ("users/omid" in {node.name for node in lineage(server.member("nima"), OUTPUT).nodes}) is False


@pytest.mark.parametrize("depth", [-1, 51])
def test_a_depth_that_is_none(server: Server, depth: int) -> None:
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"):
        lineage(server.member("sara"), OUTPUT, depth=depth)


def test_what_is_deleted_is_there_and_gone(tmp_path: pathlib.Path) -> None:
    with running_server(tmp_path / "server") as server:
        trained(server, tmp_path)
        sara = server.member("sara")
        sara.catalog.DeleteArtifact(pb.DeleteArtifactRequest(name=DATASET, force=True))
        assert named(lineage(sara, OUTPUT, UP), f"{DATASET}/versions/1").gone
        assert not any(node.name for node in lineage(server.member("omid"), OUTPUT, UP).nodes[1:])
        with Client(server.address, server.token("sara")) as client:
            client.training.delete("job_1")
            client.push(DATASET, folder(tmp_path / "other", **{"train.jsonl": '{"text": "other"}\n'}))
        found = lineage(sara, OUTPUT, UP)
        assert named(found, JOB).gone
        assert not any(node.name for node in lineage(server.member("omid"), OUTPUT, UP).nodes[1:])
        assert (f"{DATASET}/versions/1", f"{OUTPUT}/versions/1", "DATASET") in steps(found)
        assert (f"{BASE}/versions/1", f"{OUTPUT}/versions/1", "BASE") in steps(lineage(sara, BASE, DOWN))


def test_another_version_under_the_name_of_one_is_no_part_of_it(tmp_path: pathlib.Path) -> None:
    first = f"{DATASET}/versions/1"
    with running_server(tmp_path / "server") as server:
        trained(server, tmp_path)
        sara = server.member("sara")
        learned = named(lineage(sara, OUTPUT, UP), first).digest
        with Client(server.address, server.token("sara")) as client:
            sara.catalog.DeleteArtifact(pb.DeleteArtifactRequest(name=DATASET, force=True))
            sara.catalog.PurgeArtifact(pb.PurgeArtifactRequest(name=DATASET))
            other = client.push(DATASET, folder(tmp_path / "other", **{"train.jsonl": '{"text": "other"}\n'}))
            assert other.name == first
            found = named(lineage(sara, OUTPUT, UP), first)
            assert (found.gone, found.digest, found.creator) == (True, learned, "")
            assert steps(lineage(sara, first)) == set()
            client.training.delete("job_1")
        found = named(lineage(sara, OUTPUT, UP), first)
        assert (found.gone, found.digest) == (True, "")
        assert steps(lineage(sara, first)) == set()
        request = pb.DeleteVersionRequest(name=first, validate_only=True)
        assert not sara.catalog.DeleteVersion(request).dependants
        whole = pb.DeleteArtifactRequest(name=DATASET, validate_only=True)
        assert not sara.catalog.DeleteArtifact(whole).dependants


def test_strangers_are_not_told_where_something_was_imported_from(tmp_path: pathlib.Path) -> None:
    source = "https://files.example.internal/tiny.tar"
    with running_server(tmp_path / "server") as server:
        trained(server, tmp_path)
        # No import of the tests has a network; what one writes down is this.
        server.app.database.write(lambda: sql.run("UPDATE version SET source = ?", source)).result(100)
        told = steps(lineage(server.member("sara"), OUTPUT, UP, 1))
        assert told == {(JOB, f"{OUTPUT}/versions/1", "RESULT")}  # of what was trained, the job is the source
        assert (source, f"{BASE}/versions/1", "IMPORT") in steps(lineage(server.member("sara"), BASE, UP))
        with Client(server.address, server.token("sara")) as sara:
            sara.catalog.update("models/base", pb.Artifact(visibility=pb.VISIBILITY_INTERNAL), ["visibility"])
        assert steps(lineage(server.member("omid"), BASE, UP)) == {("?", f"{BASE}/versions/1", "IMPORT")}


def test_people_read_it(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INGOT_SERVER", server.address)
    monkeypatch.setenv("INGOT_TOKEN", server.token("sara"))

    def why(*words: str) -> list[str]:
        assert main(["why", *words]) == 0
        return capsys.readouterr().out.splitlines()

    lines = why("models/tiny@1")
    assert lines[0].startswith("models/sara/tiny@1  ")
    assert [line.split()[:2] for line in lines[1:4]] == [
        ["made", "by"],
        ["learned", "from"],
        ["started", "from"],
    ]
    assert why("job_1", "--down")[1].strip().startswith("saved job_1/checkpoints/20")
    assert main(["why", "job_1", "--up", "--down"]) == 2
    assert "got both" in capsys.readouterr().err
