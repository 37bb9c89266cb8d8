"""Summaries and previews on a whole server: what files say, read in ranges; broken ones break nothing."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from helpers.eventually import eventually
from helpers.model_files import Gguf, safetensors
from helpers.servers import Server, running_server
from helpers.transfers import Pusher, refused
from ingot.v1 import catalog_pb2 as pb

TINY = "namespaces/sara/models/tiny"
CHAT = "namespaces/sara/datasets/chat"
RANDOM = pb.PREVIEW_PART_RANDOM


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path) as running:
        yield running


def _push(server: Server, files: dict[str, bytes], artifact: str = TINY, **target: object) -> str:
    return Pusher(server.member().transfer, ()).push(files, artifact, **target)


def _summary(server: Server, name: str, tensors: int = 0) -> pb.VersionSummary:
    request = pb.GetVersionSummaryRequest(name=name, max_tensors=tensors)
    return server.member().catalog.GetVersionSummary(request).summary


def _preview(server: Server, name: str, **wanted: object) -> pb.PreviewVersionResponse:
    request = pb.PreviewVersionRequest(name=name, **wanted)  # type: ignore[arg-type]  # by name
    return server.member().catalog.PreviewVersion(request)


def _weights(*shapes: tuple[int, ...], dtype: str = "F32", size: int = 4) -> bytes:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for number, shape in enumerate(shapes):
        begin, count = end, size
        for each in shape:
            count *= each
        end += count
        header[f"layer.{number}.weight"] = {
            "dtype": dtype,
            "shape": list(shape),
            "data_offsets": [begin, end],
        }
    return safetensors(header, bytes(end))


# --- models -------------------------------------------------------------------------------------------


@pytest.mark.contract("S0-26", "S1-25")
def test_a_model_is_summarised_from_its_headers(server: Server) -> None:
    config = json.dumps({"architectures": ["LlamaForCausalLM"], "hidden_size": 8}).encode()
    name = _push(
        server,
        {
            "config.json": config,
            "model-00001-of-00002.safetensors": _weights((8, 4), (3,), dtype="BF16", size=2),
            "model-00002-of-00002.safetensors": _weights((5, 2)),
            "pytorch_model.bin": b"not looked at twice",
            "README.md": b"# Tiny",
        },
    )
    found = _summary(server, TINY, tensors=2)
    assert found.version == name
    assert found.digest.startswith("blake3:")
    assert found.model == pb.ModelFacts(
        parameter_count=8 * 4 + 3 + 10,
        architecture="LlamaForCausalLM",
        dtypes=["BF16", "F32"],
        tensor_count=3,
    )
    assert [(each.name, each.dtype, list(each.shape)) for each in found.tensors] == [
        ("layer.0.weight", "BF16", [8, 4]),
        ("layer.1.weight", "BF16", [3]),
    ]
    files = {each.path: each for each in found.files}
    assert files["model-00002-of-00002.safetensors"].parameter_count == 10
    assert files["pytorch_model.bin"].note
    assert not found.complete
    assert {each.format: each.file_count for each in found.formats}["safetensors"] == 2
    assert not found.HasField("dataset")


def test_facts_are_there_soon_after_the_push_and_follow_latest(server: Server) -> None:
    first = _push(server, {"model.safetensors": _weights((2, 2))})
    catalog = server.member().catalog

    def facts() -> pb.ModelFacts:
        return catalog.GetArtifact(pb.GetArtifactRequest(name=TINY)).artifact.model

    assert eventually(lambda: facts().parameter_count == 4)
    second = _push(server, {"model.safetensors": _weights((2, 3))})
    assert eventually(lambda: facts().parameter_count == 6)
    for name, count in ((first, 4), (second, 6)):
        version = catalog.GetVersion(pb.GetVersionRequest(name=name)).version
        assert version.model.parameter_count == count
    catalog.DeleteVersion(pb.DeleteVersionRequest(name=second))
    assert facts().parameter_count == 4
    listed = catalog.ListArtifacts(pb.ListArtifactsRequest(parent="namespaces/-")).artifacts
    assert listed[0].model == facts()


def test_a_version_that_waits_for_its_validation_has_facts_once_somebody_looks(server: Server) -> None:
    policy = pb.ValidationPolicy(mode=pb.VALIDATION_MODE_REQUIRED)
    create = pb.CreateArtifactRequest(
        parent="namespaces/sara",
        kind=pb.ARTIFACT_KIND_MODEL,
        artifact_id="tiny",
        artifact=pb.Artifact(validation=policy),
    )
    catalog = server.member().catalog
    catalog.CreateArtifact(create)
    name = _push(server, {"model.safetensors": _weights((2, 2))})
    assert _summary(server, name).model.parameter_count == 4
    assert catalog.GetVersion(pb.GetVersionRequest(name=name)).version.model.parameter_count == 4


def test_a_gguf_names_its_architecture_and_other_variants_do_not_count(server: Server) -> None:
    def file(width: int) -> bytes:
        made = Gguf()
        made.key("general.architecture", 8, made.text("llama"))
        return made.tensor("token_embd.weight", (width, 2), 0, 0).file(bytes(4 * 2 * width))

    _push(server, {"tiny-Q4.gguf": file(4), "tiny-Q8.gguf": file(8)})
    found = _summary(server, TINY)
    assert (found.model.parameter_count, found.model.architecture) == (16, "llama")
    assert found.complete


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x10",
        (2**62).to_bytes(8, "little") + b"{",
        safetensors('{"a":' * 2000),
        safetensors('{"a": {"dtype": "F32", "shape": [99999999999], "data_offsets": [0, 4]}}', b"1234"),
        b"GGUF" + b"\xff" * 60,
    ],
)
def test_hostile_files_give_findings(server: Server, content: bytes) -> None:
    _push(server, {"model.safetensors": content})
    found = _summary(server, TINY)
    assert found.findings
    assert found.findings[0].path == "model.safetensors"
    assert found.findings[0].reason


def test_a_name_that_no_answer_can_hold_is_mended(server: Server) -> None:
    header = {"a\ud800": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    _push(server, {"model.safetensors": safetensors(header, b"1234")})
    assert _summary(server, TINY).tensors[0].name == "a?"


def test_a_header_that_is_too_large_is_left_to_a_validation(server: Server) -> None:
    _push(server, {"model.safetensors": safetensors({}, pad=5 * 1024 * 1024)})
    (file,) = _summary(server, TINY).files
    assert "validation" in file.note


# --- datasets -----------------------------------------------------------------------------------------


def _records(count: int, width: int = 0) -> bytes:
    return b"".join(
        json.dumps({"id": number, "text": f"سلام {number}" + "x" * width}, ensure_ascii=False).encode()
        + b"\n"
        for number in range(1, count + 1)
    )


@pytest.mark.contract("S0-8", "S0-14")
def test_a_dataset_tells_records_and_columns(server: Server) -> None:
    _push(
        server,
        {
            "train.jsonl": _records(30),
            "test.csv": b'id;label\n1;"two\nlines"\n2;b\n',
            "more.json": b'[{"id": 1, "extra": [1, {"a": 2}]}, {"id": 2}]',
            "LICENSE.txt": b"free\n",
        },
        CHAT,
    )
    found = _summary(server, CHAT)
    assert found.dataset == pb.DatasetFacts(record_count=34, columns=["id", "extra", "label", "text"])
    assert found.complete
    assert eventually(
        lambda: (
            server.member()
            .catalog.GetArtifact(pb.GetArtifactRequest(name=CHAT))
            .artifact.dataset.record_count
            == 34
        )
    )


def test_records_of_a_large_file_are_estimated(server: Server) -> None:
    _push(server, {"train.jsonl": _records(50_000, 80)}, CHAT)
    facts = _summary(server, CHAT).dataset
    assert facts.estimated
    assert 45_000 < facts.record_count < 55_000


def _numbers(reply: pb.PreviewVersionResponse) -> list[int]:
    return [int(row.value.struct_value.fields["id"].number_value) for row in reply.rows]


def test_first_last_and_random_rows(server: Server) -> None:
    name = _push(server, {"notes.md": b"#", "train.jsonl": _records(100)}, CHAT)
    first = _preview(server, CHAT, rows=3)
    assert (first.version, first.path, first.format) == (name, "train.jsonl", "jsonl")
    assert (list(first.columns), first.data_file_count) == (["id", "text"], 1)
    assert _numbers(first) == [1, 2, 3]
    assert first.rows[1].value.struct_value["text"] == "سلام 2"
    assert first.rows[1].byte_offset == len(_records(1))
    assert _numbers(_preview(server, CHAT, part=pb.PREVIEW_PART_LAST, rows=2)) == [99, 100]
    drawn = _preview(server, CHAT, part=RANDOM, rows=10, seed=7)
    assert drawn.sampling == pb.PREVIEW_SAMPLING_UNIFORM
    assert len(set(_numbers(drawn))) == 10
    assert _numbers(drawn) == sorted(_numbers(drawn)) == [row.number for row in drawn.rows]
    assert _numbers(_preview(server, CHAT, part=RANDOM, rows=10, seed=7)) == _numbers(drawn)
    assert _numbers(_preview(server, CHAT, part=RANDOM, rows=10, seed=8)) != _numbers(drawn)
    assert len(_preview(server, CHAT, rows=1000).rows) == 100


def test_a_large_file_is_read_at_places(server: Server) -> None:
    _push(server, {"train.jsonl": _records(90_000, 60)}, CHAT)
    assert _numbers(_preview(server, CHAT, part=pb.PREVIEW_PART_LAST, rows=3)) == [89_998, 89_999, 90_000]
    drawn = _preview(server, CHAT, part=RANDOM, rows=20, seed=3)
    assert drawn.sampling == pb.PREVIEW_SAMPLING_BY_OFFSET
    numbers = _numbers(drawn)
    assert len(set(numbers)) == 20
    assert max(numbers) - min(numbers) > 20_000


def test_packed_files_and_broken_rows(server: Server) -> None:
    packed = gzip.compress(_records(5) + b'{"id": broken\n' + b'"text"\n')
    _push(server, {"train.jsonl.gz": packed}, CHAT)
    rows = _preview(server, CHAT).rows
    assert [row.HasField("value") for row in rows] == [True] * 5 + [False] * 2
    assert rows[5].text == '{"id": broken'
    assert rows[5].problem


def test_what_has_no_rows_is_refused(server: Server) -> None:
    _push(server, {"a.json": b'{"a": 1}', "b.bin": b"\0\1", "c.txt": "متن".encode("utf-16")}, CHAT)
    for path in ("a.json", "b.bin", "c.txt"):
        with refused(grpc.StatusCode.INVALID_ARGUMENT, "FORMAT_NOT_ALLOWED") as facts:
            _preview(server, CHAT, path=path)
        assert facts["path"] == path
    with refused(grpc.StatusCode.NOT_FOUND, "FILE_NOT_FOUND"):
        _preview(server, CHAT, path="d.txt")
    _push(server, {"b.bin": b"\0\1"}, "namespaces/sara/datasets/other")
    with refused(grpc.StatusCode.NOT_FOUND, "FILE_NOT_FOUND"):
        _preview(server, "namespaces/sara/datasets/other")
    for wrong in ({"rows": -1}, {"part": 9}):
        with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"):
            _preview(server, CHAT, **wrong)
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"):
        _summary(server, CHAT, -1)


def test_damaged_bytes_are_data_loss(server: Server) -> None:
    name = _push(server, {"train.jsonl": _records(60_000, 80)}, CHAT)
    (pack,) = server.folder.glob("packs/*/*.pack")
    content = bytearray(pack.read_bytes())
    for place in range(len(content) * 3 // 4, len(content) - 5000, 1000):
        content[place] ^= 1
    pack.chmod(0o600)
    with pack.open("r+b") as file:  # in place: the server has it open
        file.write(content)
    with refused(grpc.StatusCode.DATA_LOSS, "DATA_LOSS"):
        _preview(server, name, part=pb.PREVIEW_PART_LAST)
    assert _numbers(_preview(server, name, rows=1)) == [1]


def test_strangers_are_told_nothing(server: Server) -> None:
    name = _push(server, {"train.jsonl": _records(1)}, CHAT)
    catalog = server.member("omid").catalog
    with refused(grpc.StatusCode.NOT_FOUND, "ARTIFACT_NOT_FOUND"):
        catalog.PreviewVersion(pb.PreviewVersionRequest(name=name))
    with refused(grpc.StatusCode.NOT_FOUND, "ARTIFACT_NOT_FOUND"):
        catalog.GetVersionSummary(pb.GetVersionSummaryRequest(name=name))


def test_no_number_pretends_that_all_files_were_read(server: Server) -> None:
    files = {f"{number:04}.jsonl": _records(1) for number in range(1001)}
    name = _push(server, files, CHAT)
    catalog = server.member().catalog
    asked = pb.GetVersionRequest(name=name)
    assert eventually(lambda: list(catalog.GetVersion(asked).version.dataset.columns) == ["id", "text"])
    assert catalog.GetVersion(asked).version.dataset.record_count == 0  # nobody waits for a thousand files
    found = _summary(server, CHAT)
    assert not found.complete
    assert (found.dataset.record_count, list(found.dataset.columns)) == (0, ["id", "text"])
    assert len(found.files) == 200


@pytest.fixture(name="lenient")
def _lenient(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path, approval_evidence=("license",)) as running:
        yield running


def test_strangers_are_told_of_what_was_approved_only(lenient: Server) -> None:
    server = lenient
    fields = pb.Artifact(visibility=pb.VISIBILITY_PUBLIC, license="MIT")
    create = pb.CreateArtifactRequest(
        parent="namespaces/sara", kind=pb.ARTIFACT_KIND_MODEL, artifact_id="tiny", artifact=fields
    )
    server.member().catalog.CreateArtifact(create)
    first, second = (_push(server, {"model.safetensors": _weights((rows, 2))}) for rows in (2, 3))
    approval = server.member().catalog.RequestApproval(pb.RequestApprovalRequest(version=first)).approval
    decision = pb.DecideApprovalRequest(
        name=approval.name, decision=pb.APPROVAL_DECISION_APPROVE, comment="good"
    )
    server.admin.catalog.DecideApproval(decision)
    for version in (second, first):
        alias = pb.SetAliasRequest(name=f"{TINY}/aliases/prod", version=version)
        server.member().catalog.SetAlias(alias)
    catalog = server.member("omid").catalog
    get = pb.GetArtifactRequest(name=TINY)
    assert eventually(lambda: catalog.GetArtifact(get).artifact.model.parameter_count == 4)
    moves = catalog.ListAliasMoves(pb.ListAliasMovesRequest(parent=f"{TINY}/aliases/prod")).moves
    assert [(each.version, each.previous) for each in moves] == [(first, "")]
    with refused(grpc.StatusCode.NOT_FOUND, "VERSION_NOT_FOUND"):
        catalog.CompareVersions(pb.CompareVersionsRequest(base=first, other=second))
    with refused(grpc.StatusCode.NOT_FOUND, "VERSION_NOT_FOUND"):
        catalog.GetVersionSummary(pb.GetVersionSummaryRequest(name=second))
    bare = catalog.GetVersionSummary(pb.GetVersionSummaryRequest(name=TINY)).summary
    assert bare.version == first
