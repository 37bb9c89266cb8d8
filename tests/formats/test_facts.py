"""Facts of versions from facts of files: shards, variants, formats; and tensors of PyTorch files."""

import io
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.checks import checked
from helpers.model_files import Gguf, safetensors
from ingot.server.core.contents import TooCostly
from ingot.server.core.facts import VersionFacts
from ingot.server.formats import facts, summaries, torch_tensors
from ingot.server.formats.facts import FileFacts


class Source(io.BytesIO):
    """Bytes in memory."""

    @property
    def size(self) -> int:
        return len(self.getbuffer())


def _never() -> None:
    pass


def weights(path: str, parameters: int, format: str = "safetensors", **more: object) -> FileFacts:
    return FileFacts(path, format, parameters, 1, {"F32": 1}, **more)  # type: ignore[arg-type]  # by name


@pytest.mark.parametrize(
    ("files", "parameters"),
    [
        (
            [weights("model-00001-of-00002.safetensors", 5), weights("model-00002-of-00002.safetensors", 7)],
            12,
        ),
        ([weights("model.safetensors", 12), weights("pytorch_model.bin", 12, "pytorch")], 12),
        ([weights("model.safetensors", 12), weights("model.fp16.safetensors", 12)], 12),
        ([weights("q4.gguf", 10, "gguf"), weights("q8.gguf", 11, "gguf")], 11),
        (
            [
                weights("consolidated.safetensors", 12),
                weights("model-00001-of-00002.safetensors", 6),
                weights("model-00002-of-00002.safetensors", 7),
            ],
            13,
        ),
        ([weights("unet/model.safetensors", 8), weights("vae/model.safetensors", 3)], 11),
        ([weights("a.onnx", 4, "onnx"), weights("b.pt", 9, "pytorch")], 9),
        ([weights("notes.odd", 3, "odd")], 3),
        ([], 0),
    ],
)
def test_a_model_that_lies_there_several_times_counts_once(files: list[FileFacts], parameters: int) -> None:
    assert facts.of_model(files).parameters == parameters


def test_architecture_comes_from_the_configuration_first() -> None:
    files = [weights("a.gguf", 1, "gguf", architecture="llama")]
    assert facts.of_model(files, "LlamaForCausalLM").architecture == "LlamaForCausalLM"
    assert facts.of_model(files).architecture == "llama"


@pytest.mark.parametrize(
    ("config", "architecture"),
    [
        (b'{"architectures": ["BertModel"], "model_type": "bert"}', "BertModel"),
        (b'{"architectures": [], "model_type": "bert"}', "bert"),
        (b'{"architectures": [7]}', ""),
        (b'["BertModel"]', ""),
        (b"[" * 100_000, ""),
        (b"\xff", ""),
    ],
)
def test_a_configuration_may_be_anything(config: bytes, architecture: str) -> None:
    assert facts.architecture_of(config) == architecture


def test_a_dataset_counts_records_of_data_and_not_of_notes() -> None:
    files = [
        FileFacts("LICENSE.txt", "txt", records=200),
        FileFacts("a.jsonl", "jsonl", records=3, columns=("id", "text")),
        FileFacts("b.csv", "csv", records=4, estimated=True, columns=("text", "label")),
        FileFacts("config.json", "json"),
    ]
    assert facts.of_dataset(files) == VersionFacts(records=7, estimated=True, columns=("id", "text", "label"))
    assert facts.of_dataset(files[:1]).records == 200
    unknown = FileFacts("c.jsonl.gz", "jsonl", columns=("id",))
    assert facts.of_dataset([*files, unknown]).records is None


STATE = {
    "model": {"w": torch.ones(3, 4), "b": torch.nn.Parameter(torch.zeros(5, dtype=torch.float16))},
    "optimizer": {"exp_avg": torch.ones(100)},
    "epoch": 3,
}


def saved(value: object, protocol: int = 2) -> bytes:
    out = io.BytesIO()
    torch.save(value, out, pickle_protocol=protocol)
    return out.getvalue()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_tensors_of_a_checkpoint_are_told_without_its_optimizer(protocol: int) -> None:
    found = torch_tensors.read(Source(saved(STATE, protocol)))
    assert {name: (each.dtype, each.shape) for name, each in found.items()} == {
        "model.w": ("F32", (3, 4)),
        "model.b": ("F16", (5,)),
    }


def test_whole_modules_and_tied_weights() -> None:
    layer = torch.nn.Linear(2, 3, bias=False)
    net = torch.nn.Sequential(layer, torch.nn.BatchNorm1d(3), layer)
    found = torch_tensors.read(Source(saved(net)))
    assert "2.weight" not in found  # it is the same module
    tied = torch.ones(2, 2)
    assert torch_tensors.statistics(torch_tensors.read(Source(saved({"a": tied, "b": tied}))))["tensors"] == 1
    counts = torch_tensors.statistics(found)
    assert counts["parameters"] == 6 + 4 * 3 + 1
    assert counts["dtypes"] == {"F32": 5, "I64": 1}


def test_a_check_counts_them_too(tmp_path: Path) -> None:
    report = checked("model.pt", saved(STATE), tmp_path).report
    told = facts.of_model([facts.of_file(report)], validated=True)
    assert told == VersionFacts(parameters=17, tensors=2, dtypes=("F32", "F16"), validated=True)


class _Attack:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (str(self.path), "w"))


def _zip(entry: str, data: bytes, packing: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packing) as file:
        file.writestr(entry, data)
    return out.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        _zip("a/data.pkl", b"\x80\x02" + b"(" * 1000),
        _zip("a/data.pkl", b"\x80\x02t."),
        _zip("a/data.pkl", b"\x80\x02r\xff\xff\xff\x7f."),
        _zip("a/data.pkl", b"\x80\x02" + b"}q\x00" + b"X\x01\x00\x00\x00ah\x00s" * 1000 + b"."),
        _zip("a/data.pkl", bytes(9 * 1024 * 1024), zipfile.ZIP_DEFLATED),
        _zip("other", b""),
        saved(STATE)[:-10],
    ],
)
def test_odd_pickles_tell_nothing(content: bytes) -> None:
    told = summaries.of_model_file("model.pt", Source(content), 10, _never)
    assert told.tensors == []
    assert told.file.parameters == 0


# A pair of itself, again and again: written out it would take more bytes than there are.
_DOUBLED = b")q\x00" + b"h\x00h\x00\x86q\x00" * 100


@pytest.mark.parametrize(
    "pickled",
    [
        b"\x80\x04" + _DOUBLED + b"X\x01\x00\x00\x00a\x93.",
        b"\x80\x04X\x01\x00\x00\x00a" + _DOUBLED + b"\x93.",
        b"\x80\x02" + _DOUBLED + b"0(X\x07\x00\x00\x00storagectorch\nFloatStorage\nh\x00tQ.",
    ],
)
def test_a_value_that_holds_itself_doubled_is_not_written_out(pickled: bytes) -> None:
    told = summaries.of_model_file("model.pt", Source(_zip("a/data.pkl", pickled)), 10, _never)
    assert told.tensors == []


def test_no_pickle_does_anything_here(tmp_path: Path) -> None:
    content = _zip("a/data.pkl", pickle.dumps({"a": _Attack(tmp_path / "written")}, 2))
    assert summaries.of_model_file("model.pt", Source(content), 10, _never).tensors == []
    assert list(tmp_path.iterdir()) == []


GOOD = {
    "a.safetensors": safetensors({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
    "a.gguf": Gguf().tensor("a", (4,), 0, 0).file(bytes(16)),
    "a.pt": saved({"a": torch.ones(2)}),
}


@given(st.sampled_from(sorted(GOOD)), st.data())
@settings(deadline=None, max_examples=300)
def test_no_mutant_breaks_a_summary(path: str, data: st.DataObject) -> None:
    content = bytearray(GOOD[path])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    told = summaries.of_model_file(path, Source(bytes(content)), 5, _never)
    assert told.file.path == path
    for tensor in told.tensors:
        tensor.name.encode()
        assert all(0 <= each < 2**63 for each in tensor.shape)


def test_what_takes_too_long_is_left_to_a_validation() -> None:
    def impatient() -> None:
        raise TooCostly("too long")

    told = summaries.of_model_file("a.pt", Source(GOOD["a.pt"]), 5, impatient)
    assert "validation" in told.file.note
