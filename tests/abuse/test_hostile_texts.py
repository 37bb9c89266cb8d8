"""What people write is kept to the letter and runs nothing: not in SQL, in the search, or on a terminal.

And what is too much of it is refused by the limit that it breaks.
"""

import json
import re
import unicodedata
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf import field_mask_pb2, struct_pb2

from helpers.background import waiting_server
from helpers.command_lines import CommandLine
from helpers.refusals import reason_of
from helpers.servers import Server
from helpers.transfers import Pusher, refused
from ingot.v1 import auth_pb2, operations_pb2, training_pb2, transfer_pb2, workers_pb2
from ingot.v1 import catalog_pb2 as pb

TINY, DATA = "namespaces/sara/models/tiny", "namespaces/sara/datasets/data"
KIB = 1024
TEXTS = (
    "'; DROP TABLE artifact; --",
    "' OR '1'='1' /*",
    'x" OR NEAR(a b, 2) AND *:* ^ {words} : x',
    "%_%\\%s{0}${HOME}`id`$(id)%n",
    "<script>alert(1)</script> [x](javascript:1) {{7*7}}",
    "../../../etc/passwd\\..\\..%2e%2e%2f",
    "=cmd|' /C calc'!A0",
    "م\u200cی \u202eتسا\u202c \u200f\u2066x\u2069 \ufeff\u00ad",
    "e\u0303 \u1e9e ﬃ \U0001f468\u200d\U0001f469 \U000e0041 \ufffd \uffff",
    "NULL",
)
_RAW = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("texts")
    with waiting_server(folder, calls_per_second=0.0, approval_evidence=()) as server:
        for name in (TINY, DATA):
            Pusher(server.member().transfer, ()).push({"a.jsonl": b'{"text": "x"}\n'}, name)
        yield server


def kept(text: str) -> str:
    """Return a text in the form in which it is kept."""
    return unicodedata.normalize("NFC", text).strip()


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_said_is_kept_to_the_letter(server: Server, text: str) -> None:
    catalog, auth = server.member().catalog, server.admin.auth
    structure = struct_pb2.Struct()
    structure.update({text: [text, {text: "\x1b[2J\0\x9b\r\n"}]})
    wanted = pb.Artifact(name=TINY, display_name=text, description=text, card=text, license=text)
    wanted.metadata.CopyFrom(structure)
    wanted.requirements.CopyFrom(structure)
    catalog.UpdateArtifact(pb.UpdateArtifactRequest(artifact=wanted))
    got = catalog.GetArtifact(pb.GetArtifactRequest(name=TINY)).artifact
    assert {got.display_name, got.description, got.card, got.license} == {kept(text)}
    assert (got.metadata, got.requirements) == (structure, structure)

    version = pb.Version(name=f"{TINY}/versions/1", changelog=text, metadata=structure)
    catalog.UpdateVersion(pb.UpdateVersionRequest(version=version))
    told = catalog.GetVersion(pb.GetVersionRequest(name=version.name)).version
    assert (told.changelog, told.metadata) == (kept(text), structure)

    user = auth_pb2.User(name="users/sara", display_name=text)
    assert auth.UpdateUser(auth_pb2.UpdateUserRequest(user=user)).user.display_name == kept(text)
    assert auth.GetUser(auth_pb2.GetUserRequest(name="users/sara")).user.display_name == kept(text)
    token = auth.CreateToken(auth_pb2.CreateTokenRequest(display_name=text)).token
    assert token.display_name == kept(text)


@pytest.mark.parametrize("text", TEXTS)
def test_work_keeps_what_is_said_of_it(server: Server, text: str) -> None:
    sara = server.member()
    job = training_pb2.CreateTrainingJobRequest(
        display_name=text, dataset=DATA, output_artifact="namespaces/sara/models/out"
    )
    name = sara.training.CreateTrainingJob(job).training_job.name
    again = sara.training.GetTrainingJob(training_pb2.GetTrainingJobRequest(name=name)).training_job
    assert again.display_name == kept(text)
    worker = workers_pb2.RegisterWorkerRequest(display_name=text)
    assert server.worker().workers.RegisterWorker(worker).worker.display_name == kept(text)
    asked = pb.RequestApprovalRequest(version=f"{TINY}/versions/1", comment=text)
    approval = sara.catalog.RequestApproval(asked).approval
    assert approval.comment == kept(text)
    sara.catalog.WithdrawApproval(pb.WithdrawApprovalRequest(name=approval.name))
    listed = sara.operations.ListOperations(operations_pb2.ListOperationsRequest(target=text))
    assert not listed.operations


@pytest.mark.parametrize("text", TEXTS)
def test_a_search_for_it_finds_what_says_it(server: Server, text: str) -> None:
    catalog = server.member().catalog
    artifact = pb.Artifact(name=TINY, description=text, license=text, tags=["t"])
    catalog.UpdateArtifact(
        pb.UpdateArtifactRequest(
            artifact=artifact,
            update_mask=field_mask_pb2.FieldMask(paths=["description", "license", "tags"]),
        )
    )
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    for wanted in (quoted, f"license:{quoted}"):
        found = catalog.ListArtifacts(pb.ListArtifactsRequest(parent="namespaces/-", filter=wanted))
        assert [each.name for each in found.artifacts] == [TINY], wanted
        other = catalog.ListArtifacts(
            pb.ListArtifactsRequest(parent="namespaces/-", filter=f"NOT ({wanted}) data")
        )
        assert [each.name for each in other.artifacts] == [DATA], wanted


@pytest.mark.parametrize("text", TEXTS)
def test_the_command_line_prints_it_harmlessly(
    server: Server, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INGOT_TOKEN", server.token("sara"))
    cli = CommandLine(server.address)
    artifact = pb.Artifact(name=TINY, display_name=text, description=text, card=text, license=text)
    artifact.metadata.update({text: "\x1b[2J\0\x9b\r"})
    server.member().catalog.UpdateArtifact(pb.UpdateArtifactRequest(artifact=artifact))
    for words in (
        ["ls", "models"],
        ["show", "models/sara/tiny"],
        ["search", text],
        ["cat", text],
        ["pull", text],
    ):
        for form in ([], ["--json"]):
            run = cli.run(*words, *form)
            assert not _RAW.search(run.out + run.err), words
            assert "Traceback" not in run.err, words
    shown = json.loads(cli.run("show", "models/sara/tiny", "--json").out)
    assert (shown["description"], shown["metadata"]) == (kept(text), {text: "\x1b[2J\0\x9b\r"})


@pytest.mark.parametrize(
    "path", ["../a", "/etc/passwd", "a/../../b", "a\0b", "a\\..\\b", "", ".", "a//b", "C:\\x"]
)
def test_a_path_out_of_its_folder_is_refused(server: Server, path: str) -> None:
    new = transfer_pb2.NewVersion(artifact="namespaces/sara/models/paths", create=pb.Artifact())
    messages = [
        transfer_pb2.UploadFileRequest(header=transfer_pb2.UploadFileHeader(path=path, version=new)),
        transfer_pb2.UploadFileRequest(data=b"x"),
        transfer_pb2.UploadFileRequest(finish=transfer_pb2.UploadFileFinish()),
    ]
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "BAD_PATH"):
        server.member().transfer.UploadFile(iter(messages))
    read = transfer_pb2.StatFileRequest(tree=TINY, path=path)
    with pytest.raises(grpc.RpcError) as caught:
        server.member().transfer.StatFile(read)
    assert (caught.value.code(), reason_of(caught.value)) in (
        (grpc.StatusCode.INVALID_ARGUMENT, "BAD_PATH"),
        (grpc.StatusCode.NOT_FOUND, "FILE_NOT_FOUND"),
    )


# --- too much -------------------------------------------------------------------------------------------


def structure_of(size: int) -> struct_pb2.Struct:
    """Return a structure that takes this many bytes as JSON."""
    made = struct_pb2.Struct()
    made.update({"k": "x" * (size - len('{"k": ""}'))})
    return made


def test_metadata_may_have_64_kib_and_no_more(server: Server) -> None:
    catalog = server.member().catalog
    whole = structure_of(64 * KIB)
    artifact = pb.Artifact(name=TINY, metadata=whole, requirements=whole)
    assert catalog.UpdateArtifact(pb.UpdateArtifactRequest(artifact=artifact)).artifact.metadata == whole
    for field in ("metadata", "requirements"):
        with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID") as facts:
            large = pb.Artifact(name=TINY, **{field: structure_of(64 * KIB + 1)})  # type: ignore[arg-type]
            catalog.UpdateArtifact(pb.UpdateArtifactRequest(artifact=large))
        assert facts["field"] == f"artifact.{field}"
    many = struct_pb2.Struct()
    many.update({f"k{number}": None for number in range(50_000)})
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"):
        version = pb.Version(name=f"{TINY}/versions/1", metadata=many)
        catalog.UpdateVersion(pb.UpdateVersionRequest(version=version))
    assert catalog.GetArtifact(pb.GetArtifactRequest(name=TINY)).artifact.metadata == whole


@pytest.mark.parametrize(
    "fields",
    [
        {"tags": [f"t{number}" for number in range(1000)]},
        {"tags": [",".join(f"t{number}" for number in range(1000))]},
        {"tags": ["x" * 65]},
        {"tags": ["a" * 3_000_000]},
        {"display_name": "x" * 201},
        {"description": "ی" * 10_001},
        {"card": "x" * 200_001},
        {"license": "x" * 101},
        {"framework": "x" * 65},
        {"language": ",".join(f"{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(33))},
    ],
    ids=" ".join,
)
def test_too_much_is_refused_by_its_limit(server: Server, fields: dict[str, object]) -> None:
    artifact = pb.Artifact(name=TINY, **fields)  # type: ignore[arg-type]  # by name
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID") as facts:
        server.member().catalog.UpdateArtifact(pb.UpdateArtifactRequest(artifact=artifact))
    assert facts["field"] == f"artifact.{next(iter(fields))}"


def test_too_many_readers_aliases_and_masks_are_refused(server: Server) -> None:
    catalog = server.member().catalog
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"):
        readers = [f"users/u{number}" for number in range(1001)]
        catalog.SetAccess(pb.SetAccessRequest(name=TINY, add_readers=readers))
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"):
        mask = field_mask_pb2.FieldMask(paths=["x" * 1000] * 1000)
        catalog.UpdateArtifact(pb.UpdateArtifactRequest(artifact=pb.Artifact(name=TINY), update_mask=mask))
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"):
        catalog.GetFacets(pb.GetFacetsRequest(parent="namespaces/-", fields=["x"] * 10_000))
