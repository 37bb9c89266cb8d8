"""CatalogService on a whole server: what goes over the wire comes back, and refusals carry their reasons."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf import field_mask_pb2, json_format, struct_pb2

from helpers.eventually import eventually
from helpers.servers import Server, running_server
from helpers.transfers import Pusher, refused
from ingot.v1 import catalog_pb2 as pb
from ingot.v1 import transfer_pb2

MODEL, DATASET = pb.ARTIFACT_KIND_MODEL, pb.ARTIFACT_KIND_DATASET
TINY = "namespaces/sara/models/tiny"
CHAT = "namespaces/sara/datasets/chat"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path) as running:
        yield running


def _struct(**values: object) -> struct_pb2.Struct:
    return json_format.ParseDict(values, struct_pb2.Struct())


def _create(
    server: Server,
    artifact_id: str,
    kind: pb.ArtifactKind.ValueType = MODEL,
    user: str = "sara",
    **fields: object,
) -> pb.Artifact:
    request = pb.CreateArtifactRequest(
        parent=f"namespaces/{user}",
        kind=kind,
        artifact_id=artifact_id,
        artifact=pb.Artifact(**fields),  # type: ignore[arg-type]  # by name
    )
    return server.member(user).catalog.CreateArtifact(request).artifact


def _push(server: Server, artifact: str, data: bytes = b"bytes", user: str = "sara", **target: object) -> str:
    """Push a version of one file; return its name."""
    pusher = Pusher(server.member(user).transfer, ())
    return pusher.push({"model.joblib": data}, artifact, **target)


def _get(server: Server, name: str, view: pb.ArtifactView.ValueType = pb.ARTIFACT_VIEW_BASIC) -> pb.Artifact:
    return server.member().catalog.GetArtifact(pb.GetArtifactRequest(name=name, view=view)).artifact


def _list(server: Server, user: str = "sara", **wanted: object) -> list[str]:
    """Walk all pages; return the ids."""
    request = pb.ListArtifactsRequest(**{"parent": "namespaces/-", **wanted})  # type: ignore[arg-type]  # by name
    seen: list[str] = []
    while True:
        reply = server.member(user).catalog.ListArtifacts(request)
        seen += [each.name.rpartition("/")[2] for each in reply.artifacts]
        if not reply.next_page_token:
            return seen
        request.page_token = reply.next_page_token


# --- artifacts ----------------------------------------------------------------------------------------


@pytest.mark.contract("S1-12", "S1-23", "S1-24", "S1-25", "S1-26", "S1-27", "S1-28", "S1-29", "S1-30")
@pytest.mark.contract("S1-33", "S1-34", "S1-46", "S1-47", "S0-26", "S0-32", "S2-35")
@pytest.mark.parametrize(
    ("framework", "task"),
    [
        ("scikit-learn", "classification"),
        ("tensorflow", "regression"),
        ("keras", "nlp"),
        ("pytorch", "text-generation"),
    ],
)
def test_a_model_comes_back_as_it_was_described(server: Server, framework: str, task: str) -> None:
    said = pb.Artifact(
        display_name="مدل کوچک",
        description="Binary classification with a random forest",
        card="# Card",
        tags=["Forest", "fa"],
        language="fa,en",
        license="Apache-2.0",
        framework=framework,
        task_type=task,
        model_type="classifier",
        source="manual",
        requirements=_struct(memory_gb=2),
        metadata=_struct(features=10, split={"train": 800, "test": 200}, names=["a", "b"]),
        visibility=pb.VISIBILITY_INTERNAL,
        lifecycle=pb.ARTIFACT_LIFECYCLE_ACTIVE,
    )
    request = pb.CreateArtifactRequest(
        parent="namespaces/sara", kind=MODEL, artifact_id="tiny", artifact=said
    )
    made = server.member().catalog.CreateArtifact(request).artifact
    found = _get(server, TINY)
    assert (found.name, found.owner, found.kind) == (TINY, "users/sara", MODEL)
    assert found.create_time.seconds > 1.7e9
    assert found.create_time == found.update_time
    said.tags[:] = ["forest", "fa"]
    for field in [field for field, _ in said.ListFields()]:
        assert getattr(found, field.name) == getattr(said, field.name), field.name
    found.usage.Clear()
    made.usage.Clear()
    assert found == made


@pytest.mark.contract("S0-114", "S1-5", "S4-47")
def test_ids_are_made_and_uids_are_uuids(server: Server) -> None:
    made = _create(server, "")
    assert made.name == "namespaces/sara/models/model_1"
    assert uuid.UUID(made.uid).version == 7
    assert _create(server, "", DATASET).name == "namespaces/sara/datasets/dataset_1"


def test_a_repeated_creation_is_the_same_one(server: Server) -> None:
    request = pb.CreateArtifactRequest(parent="namespaces/sara", kind=MODEL, request_id=str(uuid.uuid4()))
    first, second = (server.member().catalog.CreateArtifact(request).artifact for _ in range(2))
    assert first == second
    request.artifact_id = "another"
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "REQUEST_ID_REUSED"):
        server.member().catalog.CreateArtifact(request)


@pytest.mark.parametrize(
    ("changes", "code", "reason"),
    [
        ({"parent": "sara"}, grpc.StatusCode.INVALID_ARGUMENT, "NAME_INVALID"),
        ({"parent": "namespaces/nobody"}, grpc.StatusCode.NOT_FOUND, "NAMESPACE_NOT_FOUND"),
        ({"parent": "namespaces/admin"}, grpc.StatusCode.NOT_FOUND, "NAMESPACE_NOT_FOUND"),
        ({"kind": pb.ARTIFACT_KIND_UNSPECIFIED}, grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"),
        ({"artifact_id": "no spaces"}, grpc.StatusCode.INVALID_ARGUMENT, "NAME_INVALID"),
        ({"artifact_id": "TINY"}, grpc.StatusCode.ALREADY_EXISTS, "NAME_TAKEN"),
        ({"artifact": pb.Artifact(language="?")}, grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"),
        ({"request_id": "7"}, grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"),
    ],
)
def test_a_bad_creation_is_refused(
    server: Server, changes: dict[str, object], code: grpc.StatusCode, reason: str
) -> None:
    _create(server, "tiny")
    wanted: dict[str, object] = {"parent": "namespaces/sara", "kind": MODEL, "artifact_id": "new"}
    with refused(code, reason):
        server.member().catalog.CreateArtifact(pb.CreateArtifactRequest(**(wanted | changes)))  # type: ignore[arg-type]
    assert _list(server) == ["tiny"]


@pytest.mark.contract("S0-16", "S0-34", "S1-8", "S1-20", "S2-5", "S2-37", "S4-18")
def test_an_update_with_mask_and_etag(server: Server) -> None:
    made = _create(server, "tiny", license="MIT", tags=["old"])
    catalog = server.member().catalog

    def update(*paths: str, **fields: object) -> pb.Artifact:
        request = pb.UpdateArtifactRequest(
            artifact=pb.Artifact(name=TINY, **fields),  # type: ignore[arg-type]  # by name
            update_mask=field_mask_pb2.FieldMask(paths=paths),
        )
        return catalog.UpdateArtifact(request).artifact

    changed = update("lifecycle", lifecycle=pb.ARTIFACT_LIFECYCLE_DEPRECATED, license="GPL", etag=made.etag)
    assert (changed.lifecycle, changed.license) == (pb.ARTIFACT_LIFECYCLE_DEPRECATED, "MIT")
    with refused(grpc.StatusCode.ABORTED, "ETAG_MISMATCH"):
        update("license", license="GPL", etag=made.etag)
    assert update(license="GPL", uid="ignored").license == "GPL"  # no mask: what is populated
    assert list(update("tags").tags) == []
    for path in ("uid", "colour", "metadata.team"):
        with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID") as facts:
            update(path)
        assert facts["field"] == "update_mask"


@pytest.mark.contract("S3-34")
def test_a_validation_policy_is_kept_and_changed_as_a_whole(server: Server) -> None:
    rules = pb.ValidationRules(
        max_file_size=1_000_000_000, allowed_formats=["jsonl", "csv"], min_records=100, max_bad_ratio=0.0
    )
    policy = pb.ValidationPolicy(mode=pb.VALIDATION_MODE_REQUIRED, rules=rules)
    assert not _create(server, "plain").HasField("validation")
    assert _create(server, "tiny", validation=policy).validation == policy
    assert _get(server, TINY).validation == policy

    def update(*paths: str, **fields: object) -> pb.Artifact:
        request = pb.UpdateArtifactRequest(
            artifact=pb.Artifact(name=TINY, **fields),  # type: ignore[arg-type]  # by name
            update_mask=field_mask_pb2.FieldMask(paths=paths),
        )
        return server.member().catalog.UpdateArtifact(request).artifact

    looser = pb.ValidationPolicy(mode=pb.VALIDATION_MODE_NONE)
    assert update("license", validation=looser, license="MIT").validation == policy
    changed = update(validation=looser).validation
    assert (changed.mode, changed.rules) == (pb.VALIDATION_MODE_NONE, pb.ValidationRules())
    assert not update("validation").HasField("validation")


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        (pb.ValidationRules(max_file_size=-1), "max_file_size"),
        (pb.ValidationRules(max_bad_ratio=1.5), "max_bad_ratio"),
        (pb.ValidationRules(max_duplicate_ratio=float("nan")), "max_duplicate_ratio"),
        (pb.ValidationRules(min_records=5, max_records=4), "min_records"),
        (pb.ValidationRules(allowed_formats=[" "]), "allowed_formats"),
        (pb.ValidationRules(required_columns=["x" * 201]), "required_columns"),
    ],
)
def test_a_policy_that_means_nothing_is_refused(
    server: Server, rules: pb.ValidationRules, field: str
) -> None:
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID") as facts:
        _create(server, "tiny", validation=pb.ValidationPolicy(rules=rules))
    assert facts["field"] == f"artifact.validation.rules.{field}"


@pytest.mark.contract("S0-17", "S0-35", "S2-38")
def test_deleting_tells_what_goes_and_asks_for_force(server: Server) -> None:
    version = _push(server, TINY, b"x" * 100)
    delete = server.member().catalog.DeleteArtifact
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "IN_USE") as facts:
        delete(pb.DeleteArtifactRequest(name=TINY))
    assert (facts["versions"], facts["bytes"]) == ("1", "100")
    reply = delete(pb.DeleteArtifactRequest(name=TINY, force=True))
    assert (reply.artifact.name, reply.version_count, reply.size_bytes) == (TINY, 1, 100)
    assert reply.artifact.HasField("delete_time")
    for name in (TINY, version):
        with refused(grpc.StatusCode.NOT_FOUND, "ARTIFACT_NOT_FOUND"):
            server.member().catalog.GetVersion(pb.GetVersionRequest(name=name))
    with refused(grpc.StatusCode.NOT_FOUND, "ARTIFACT_NOT_FOUND"):
        delete(pb.DeleteArtifactRequest(name=TINY))
    assert not delete(pb.DeleteArtifactRequest(name=TINY, allow_missing=True)).HasField("artifact")


def test_a_name_from_the_trash_is_used_again_with_new_content(server: Server) -> None:
    old = _push(server, TINY, b"old")
    first = _get(server, TINY)
    server.member().catalog.DeleteArtifact(pb.DeleteArtifactRequest(name=TINY, force=True))
    assert _push(server, TINY, b"new") == old  # the first version of another artifact
    assert _get(server, TINY).uid != first.uid
    assert Pusher(server.member().transfer, ()).read(TINY, "model.joblib") == b"new"


# --- lists --------------------------------------------------------------------------------------------


@pytest.mark.contract("S0-13", "S0-31", "S0-10", "S0-104", "S2-33", "S4-39")
def test_lists_are_paged_filtered_and_searched(server: Server) -> None:
    _create(server, "persian", DATASET, tags=["chat"], language="fa", display_name="گفتگوي فارسی")
    _create(server, "english", DATASET, tags=["chat", "small"], language="en", description="Small talk")
    _create(server, "tiny", framework="pytorch")
    assert _list(server, page_size=1) == ["tiny", "english", "persian"]
    assert _list(server, kind=DATASET, order_by="name") == ["english", "persian"]
    assert _list(server, filter="tag:chat") == ["english", "persian"]
    assert _list(server, filter='language = "fa" AND tag:chat') == ["persian"]
    assert _list(server, filter="گفتگوی") == ["persian"]
    assert _list(server, filter="talk") == ["english"]
    assert _list(server, parent="namespaces/omid") == []
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FILTER_INVALID") as facts:
        _list(server, filter="tag:chat colour = red")
    assert facts["position"] == "10"
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID"):
        _list(server, page_token="nonsense")
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"):
        _list(server, page_size=-1)


@pytest.mark.contract("S1-17")
def test_models_are_listed_with_their_newest_versions(server: Server) -> None:
    for number in range(21):
        _push(server, TINY, f"{number}".encode())
    _create(server, "empty")
    request = pb.ListArtifactsRequest(parent="namespaces/-", view=pb.ARTIFACT_VIEW_WITH_VERSIONS)
    empty, tiny = server.member().catalog.ListArtifacts(request).artifacts
    assert (tiny.version_count, list(empty.versions)) == (21, [])
    assert [each.name.rpartition("/")[2] for each in tiny.versions] == [
        str(number) for number in range(21, 1, -1)
    ]
    assert tiny == _get(server, TINY, pb.ARTIFACT_VIEW_WITH_VERSIONS)
    assert not _get(server, TINY).versions


def test_long_texts_end_a_page_early_and_lose_nothing(server: Server) -> None:
    for number in range(12):
        _create(server, f"n-{number}", card="x" * 199_000)
    request = pb.ListArtifactsRequest(parent="namespaces/-", page_size=12)
    reply = server.member().catalog.ListArtifacts(request)
    assert 0 < len(reply.artifacts) < 12
    assert reply.ByteSize() < 2 * 1024 * 1024
    assert len(_list(server, page_size=12)) == 12


@pytest.mark.contract("S0-8", "S0-24", "S0-46")
def test_statistics_of_both_kinds(server: Server) -> None:
    _create(server, "chat", DATASET, tags=["chat", "fa"], language="fa")
    _push(server, CHAT, b"x" * 70, format="jsonl")
    _push(server, CHAT, b"y" * 30, format="jsonl")
    _create(server, "other", DATASET, tags=["chat"], language="fa,en")
    _create(server, "tiny", model_type="llm", framework="pytorch", language="en", tags=["small"])
    _create(server, "hidden", DATASET, user="omid", tags=["chat"])

    def stats(kind: pb.ArtifactKind.ValueType) -> dict[str, object]:
        reply = server.member().catalog.GetCatalogStats(pb.GetCatalogStatsRequest(kind=kind))
        found: dict[str, object] = json_format.MessageToDict(reply)
        return found

    assert stats(DATASET) == {
        "totalCount": "2",
        "totalDatasets": "2",
        "totalSizeBytes": "100",
        "totalSize": "100",
        "versionCount": "2",
        "languages": [{"value": "fa", "count": "2"}, {"value": "en", "count": "1"}],
        "formats": [{"value": "jsonl", "count": "1"}],
        "tags": [{"value": "chat", "count": "2"}, {"value": "fa", "count": "1"}],
    }
    assert stats(MODEL) == {
        "totalCount": "1",
        "totalModels": "1",
        "languages": [{"value": "en", "count": "1"}],
        "types": [{"value": "llm", "count": "1"}],
        "frameworks": [{"value": "pytorch", "count": "1"}],
        "tags": [{"value": "small", "count": "1"}],
    }


@pytest.mark.contract("S0-3")
def test_models_and_datasets_have_a_record_of_one_form(server: Server) -> None:
    for kind, word in ((MODEL, "models"), (pb.ARTIFACT_KIND_DATASET, "datasets")):
        said = pb.Artifact(description=f"one of the {word}", metadata=_struct(team="nlp", rows=12))
        request = pb.CreateArtifactRequest(
            parent="namespaces/sara", kind=kind, artifact_id="recorded", artifact=said
        )
        server.member().catalog.CreateArtifact(request)
        found = _get(server, f"namespaces/sara/{word}/recorded")
        assert (found.kind, found.description, found.uid != "") == (kind, said.description, True)
        assert dict(found.metadata) == {"team": "nlp", "rows": 12}


# --- versions and aliases -----------------------------------------------------------------------------


@pytest.mark.contract("S0-29", "S0-40", "S1-10", "S1-13", "S1-31", "S1-35", "S1-36", "S1-37", "S1-38")
@pytest.mark.contract("S1-39", "S1-40", "S1-41", "S1-42", "S1-43", "S1-44", "S1-48", "S1-49")
@pytest.mark.parametrize("format_name", ["joblib", "pkl", "h5", "pth"])
def test_a_version_keeps_what_is_said_about_it(server: Server, format_name: str) -> None:
    first = _push(server, TINY, b"old", version_id="v1.0.0")
    name = _push(
        server,
        TINY,
        b"x" * 786_432,
        version_id="v2.1.0",
        changelog="Ten features",
        metadata=_struct(features=10, train=800, test=200),
        performance_metrics=_struct(accuracy=97.5),
        format=format_name,
    )
    assert (first, name) == (f"{TINY}/versions/1.0.0", f"{TINY}/versions/2.1.0")
    found = server.member().catalog.GetVersion(pb.GetVersionRequest(name=name)).version
    assert (found.name, found.state, found.format) == (name, pb.VERSION_STATE_READY, format_name)
    assert (found.size_bytes, found.size_bytes / 2**20, found.file_count) == (786_432, 0.75, 1)
    assert (found.changelog, found.creator, list(found.aliases)) == ("Ten features", "users/sara", ["latest"])
    assert dict(found.metadata) == {"features": 10, "train": 800, "test": 200}
    assert dict(found.performance_metrics) == {"accuracy": 97.5}
    assert found.storage_uri == f"ingot://trees/{found.digest.removeprefix('blake3:')}"
    assert uuid.UUID(found.uid).version == 7
    assert found.create_time == found.ready_time
    assert found.origin.upload.startswith("uploads/file_")
    artifact = _get(server, TINY)
    assert (artifact.current_version, artifact.version_count, artifact.size_bytes) == (name, 2, 786_432)
    assert artifact.format == format_name


@pytest.mark.contract("S0-11", "S0-14", "S0-15", "S0-18", "S0-23")
def test_a_dataset_is_made_with_its_first_version_and_gets_another(server: Server) -> None:
    create = pb.Artifact(
        display_name="گفتگوها",
        description="Persian chats",
        language="fa",
        source="manual",
        tags=["chat,persian", "Small"],
    )
    pusher = Pusher(server.member().transfer, ())
    lines = '{"question": "سلام", "answer": "درود"}\n'.encode()
    first = pusher.push({"chat.jsonl": lines}, CHAT, create=create, version_id="v1.0.0", format="jsonl")
    second = pusher.push({"chat.jsonl": lines * 2}, CHAT, version_id="1.1.0", format="jsonl")
    found = _get(server, CHAT, pb.ARTIFACT_VIEW_WITH_VERSIONS)
    assert (found.kind, found.display_name, found.description) == (DATASET, "گفتگوها", "Persian chats")
    assert (found.language, found.source, found.format) == ("fa", "manual", "jsonl")
    assert list(found.tags) == ["chat", "persian", "small"]
    assert [each.name for each in found.versions] == [second, first]
    assert pusher.read(first, "chat.jsonl") == lines


@pytest.mark.contract("S0-33", "S0-45", "S1-45")
def test_a_model_is_made_with_its_first_version(server: Server) -> None:
    create = pb.Artifact(
        display_name="Forest",
        description="Random forest",
        model_type="llm",
        framework="huggingface",
        task_type="classification",
        language="fa",
        license="MIT",
        source="huggingface",
        tags=["forest"],
    )
    name = _push(
        server,
        TINY,
        create=create,
        version_id="v1.0.0",
        format="joblib",
        changelog="x",
        metadata=_struct(a=1),
    )
    found = _get(server, TINY)
    for field in [field for field, _ in create.ListFields()]:
        assert getattr(found, field.name) == getattr(create, field.name), field.name
    version = server.member().catalog.GetVersion(pb.GetVersionRequest(name=name)).version
    assert (version.changelog, version.format, dict(version.metadata)) == ("x", "joblib", {"a": 1})


def test_versions_are_paged_newest_first(server: Server) -> None:
    for number in range(5):
        _push(server, TINY, f"{number}".encode())
    request = pb.ListVersionsRequest(parent=TINY, page_size=2)
    seen: list[str] = []
    while True:
        reply = server.member().catalog.ListVersions(request)
        seen += [each.name.rpartition("/")[2] for each in reply.versions]
        if not reply.next_page_token:
            break
        request.page_token = reply.next_page_token
    assert seen == ["5", "4", "3", "2", "1"]


def test_references_answer_with_the_concrete_version(server: Server) -> None:
    _push(server, TINY, b"1", aliases=["prod"])
    _push(server, TINY, b"2")
    get = server.member().catalog.GetVersion
    expected = {"": "2", "/aliases/latest": "2", "/aliases/prod": "1", "/versions/v1": "1"}
    found = {text: get(pb.GetVersionRequest(name=TINY + text)).version.name for text in expected}
    assert found == {text: f"{TINY}/versions/{version}" for text, version in expected.items()}
    for text, reason in (("/aliases/no", "ALIAS_NOT_FOUND"), ("/versions/9", "VERSION_NOT_FOUND")):
        with refused(grpc.StatusCode.NOT_FOUND, reason):
            get(pb.GetVersionRequest(name=TINY + text))
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "NAME_INVALID"):
        get(pb.GetVersionRequest(name="tiny@prod"))


def test_two_writers_on_one_latest_cannot_both_win(server: Server) -> None:
    _push(server, TINY, b"1")
    pusher = Pusher(server.member().transfer, ())
    assert pusher.push({"a": b"2"}, TINY, expected_latest="1") == f"{TINY}/versions/2"
    with refused(grpc.StatusCode.ABORTED, "VERSION_CONFLICT"):
        pusher.push({"a": b"3"}, TINY, expected_latest="1")
    with refused(grpc.StatusCode.ALREADY_EXISTS, "NAME_TAKEN"):
        pusher.push({"a": b"3"}, TINY, version_id="2")


def test_aliases_move_under_a_guard(server: Server) -> None:
    for data in (b"1", b"2"):
        _push(server, TINY, data)
    catalog = server.member().catalog

    def move(version: str, etag: str = "", alias: str = "prod") -> pb.Alias:
        request = pb.SetAliasRequest(name=f"{TINY}/aliases/{alias}", version=version, etag=etag)
        return catalog.SetAlias(request).alias

    made = move(f"{TINY}/versions/1")
    moved = move(TINY, made.etag)
    assert (moved.version, moved.updated_by) == (f"{TINY}/versions/2", "users/sara")
    with refused(grpc.StatusCode.ABORTED, "ETAG_MISMATCH"):
        move(f"{TINY}/versions/1", made.etag)
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "NAME_INVALID"):
        move(TINY, alias="latest")
    listed = catalog.ListAliases(pb.ListAliasesRequest(parent=TINY)).aliases
    assert [each.name.rpartition("/")[2] for each in listed] == ["latest", "prod"]
    catalog.DeleteAlias(pb.DeleteAliasRequest(name=moved.name, etag=moved.etag))
    with refused(grpc.StatusCode.NOT_FOUND, "ALIAS_NOT_FOUND"):
        catalog.DeleteAlias(pb.DeleteAliasRequest(name=moved.name))
    catalog.DeleteAlias(pb.DeleteAliasRequest(name=moved.name, allow_missing=True))


# --- who ----------------------------------------------------------------------------------------------


@pytest.mark.contract("S1-14", "S1-51", "S1-52", "S1-53")
def test_owners_change_others_read_what_is_visible_administrators_do_all(server: Server) -> None:
    _create(server, "private")
    _create(server, "open", visibility=pb.VISIBILITY_PUBLIC)
    omid, admin, viewer = server.member("omid").catalog, server.admin.catalog, server.viewer().catalog
    for stubs in (omid, viewer):
        with refused(grpc.StatusCode.NOT_FOUND, "ARTIFACT_NOT_FOUND"):
            stubs.GetArtifact(pb.GetArtifactRequest(name="namespaces/sara/models/private"))
        assert stubs.GetArtifact(pb.GetArtifactRequest(name="namespaces/sara/models/open")).artifact.name
        with refused(grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING"):
            stubs.DeleteArtifact(pb.DeleteArtifactRequest(name="namespaces/sara/models/open"))
    with refused(grpc.StatusCode.NOT_FOUND, "ARTIFACT_NOT_FOUND"):
        omid.DeleteArtifact(pb.DeleteArtifactRequest(name="namespaces/sara/models/private"))
    assert _list(server, "omid") == ["open"]
    listed = admin.ListArtifacts(pb.ListArtifactsRequest(parent="namespaces/-")).artifacts
    assert len(listed) == 2
    assert admin.DeleteArtifact(pb.DeleteArtifactRequest(name="namespaces/sara/models/private")).HasField(
        "artifact"
    )


@pytest.mark.contract("S1-32", "S2-34")
def test_uses_are_counted(server: Server) -> None:
    version = _push(server, TINY)
    for _ in range(3):
        _get(server, TINY)
    pull = transfer_pb2.ReadManifestRequest(tree=version, download_id=str(uuid.uuid4()))
    reader = server.stubs(server.token("sara"), x_ingot_user="nima")
    for _ in range(2):  # a pull that resumes counts once
        list(reader.transfer.ReadManifest(pull))

    def counted() -> pb.Artifact | None:
        request = pb.ListArtifactsRequest(parent="namespaces/-")
        (found,) = server.member().catalog.ListArtifacts(request).artifacts
        return found if found.usage.total_requests >= 4 else None

    found = eventually(counted)
    assert found is not None
    assert (found.name, found.size_bytes) == (TINY, 5)
    assert (found.usage.download_count, found.usage.access_count) == (1, 3)
    assert (found.usage.total_requests, found.usage.unique_users) == (4, 2)
    assert (found.usage.first_downloaded_by, found.usage.first_downloaded_from) == ("nima", "local")
