"""Whatever people write about their things, a page of a list fits into a message, and misses none of them."""

from collections.abc import Callable, Iterator

import pytest
from google.protobuf import field_mask_pb2, struct_pb2

from helpers.servers import Server, Stubs, running_server
from helpers.transfers import Pusher
from ingot.v1 import catalog_pb2 as pb
from ingot.v1 import system_pb2, transfer_pb2

LETTER = "\U0001f600"  # four bytes
WORDS = [LETTER * 195 + str(number) for number in range(1000)]
PARENT = "namespaces/sara"
VERSIONS = 21


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("pages"), calls_per_second=0.0) as server:
        yield server


def _struct(letters: int) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update({"text": LETTER * letters})
    return struct


def _make(sara: Stubs, name: str, **fields: object) -> None:
    artifact = pb.Artifact(visibility=pb.VISIBILITY_INTERNAL, **fields)  # type: ignore[arg-type]
    request = pb.CreateArtifactRequest(parent=PARENT, kind=pb.ARTIFACT_KIND_DATASET, artifact_id=name)
    request.artifact.CopyFrom(artifact)
    sara.catalog.CreateArtifact(request)


def _walk(page: Callable[[str], tuple[list[str], str]]) -> tuple[list[str], int]:
    """Return what all pages hold together, and how many pages there were."""
    found: list[str] = []
    token, pages = "", 0
    while True:
        items, token = page(token)
        found, pages = found + items, pages + 1
        if not token:
            return found, pages


def _listed(server: Server, size: int, **narrow: object) -> tuple[list[str], int]:
    mina = server.member("mina").catalog

    def page(token: str) -> tuple[list[str], str]:
        request = pb.ListArtifactsRequest(parent="namespaces/-", page_size=size, page_token=token, **narrow)  # type: ignore[arg-type]
        reply = mina.ListArtifacts(request)
        return [each.name.rpartition("/")[2] for each in reply.artifacts], reply.next_page_token

    return _walk(page)


def test_long_rules_and_tags_of_somebody_break_nobodys_list(server: Server) -> None:
    rules = pb.ValidationRules(allowed_formats=WORDS, required_columns=WORDS, allowed_languages=WORDS)
    sara = server.member("sara")
    for number in range(3):
        _make(sara, f"r{number}", validation=pb.ValidationPolicy(rules=rules))
    listed, pages = _listed(server, 0, filter="NOT tag:tagged")
    assert (listed, pages) == (["r2", "r1", "r0"], 3)
    tags = ["tagged", *(LETTER * 60 + str(number) for number in range(63))]
    for number in range(300):
        _make(sara, f"t{number}", tags=tags)
    listed, pages = _listed(server, 1000, filter="tag:tagged")
    assert listed == [f"t{number}" for number in reversed(range(300))]
    assert pages > 1


def test_long_versions_are_told_as_far_as_they_fit(server: Server) -> None:
    pusher = Pusher(server.member("sara").transfer, ())
    name = f"{PARENT}/models/long"
    said = {"changelog": LETTER * 20_000, "metadata": _struct(16_000), "performance_metrics": _struct(16_000)}
    for number in range(VERSIONS):
        pusher.push({"a": str(number).encode()}, name, **said)
    sara = server.member("sara").catalog
    request = pb.GetArtifactRequest(name=name, view=pb.ARTIFACT_VIEW_WITH_VERSIONS)
    shown = [each.name.rpartition("/")[2] for each in sara.GetArtifact(request).artifact.versions]
    assert shown == [str(number) for number in range(VERSIONS, VERSIONS - len(shown), -1)]
    assert 0 < len(shown) < 20
    listing = pb.ListArtifactsRequest(parent=PARENT, view=pb.ARTIFACT_VIEW_WITH_VERSIONS, filter="long")
    assert len(sara.ListArtifacts(listing).artifacts[0].versions) == len(shown)


def test_long_facts_do_not_hide_the_audit_log(server: Server) -> None:
    sara, admin = server.member("sara"), server.admin
    _make(sara, "policies")
    limits = [pb.MetricThreshold(metric=f"{LETTER * 95}{number}", minimum=1e-300) for number in range(32)]
    artifact = pb.Artifact(name=f"{PARENT}/datasets/policies")
    changes = 45
    for number in range(changes):
        artifact.approval.CopyFrom(pb.ApprovalPolicy(thresholds=limits[number % 2 :]))
        mask = field_mask_pb2.FieldMask(paths=["approval"])
        request = pb.UpdateArtifactRequest(artifact=artifact, update_mask=mask)
        sara.catalog.UpdateArtifact(request)

    def page(token: str) -> tuple[list[str], str]:
        asked = system_pb2.ListAuditEntriesRequest(target=artifact.name, page_size=1000, page_token=token)
        reply = admin.system.ListAuditEntries(asked)
        return [str(each.number) for each in reply.entries], reply.next_page_token

    entries, _ = _walk(page)
    assert len(entries) == len(set(entries)) == changes + 1


def test_uploads_that_say_much_are_listed(server: Server) -> None:
    sara = server.member("sara").transfer
    pusher = Pusher(sara, ())
    begun = [
        pusher.begin(f"{PARENT}/models/up{number}", changelog=LETTER * 20_000, metadata=_struct(16_000))
        for number in range(40)
    ]

    def page(token: str) -> tuple[list[str], str]:
        asked = transfer_pb2.ListUploadsRequest(
            parent=PARENT, page_token=token, stage=transfer_pb2.UPLOAD_STAGE_UPLOADING
        )
        reply = sara.ListUploads(asked)
        return [each.name for each in reply.uploads], reply.next_page_token

    listed, _ = _walk(page)
    assert sorted(listed) == sorted(begun)
