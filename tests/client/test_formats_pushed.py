"""What people upload is taken as it is, byte for byte, and its format is known by its name."""

import json
import pathlib

import pytest

from helpers.patterns import pattern
from helpers.sdk import member_client, tree_of, write_tree
from ingot.client import artifact_fields

ROWS = [{"text": "سلام دنیا"}, {"text": "hello"}]
DATASETS = {
    "chat.json": json.dumps(ROWS, ensure_ascii=False).encode(),
    "chat.jsonl": "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS).encode(),
    "chat.csv": "text\nسلام دنیا\nhello\n".encode(),
    "chat.txt": "سلام دنیا\nhello\n".encode(),
}
MODELS = {
    ("pytorch", "pth"): {"model.pth": pattern("pth", 300_000)},
    ("pytorch", "pt"): {"model.pt": pattern("pt", 300_000)},
    ("tensorflow", "h5"): {"model.h5": pattern("h5", 300_000)},
    ("tensorflow", "keras"): {"model.keras": pattern("keras", 300_000)},
    ("tensorflow", ""): {
        "saved_model.pb": pattern("pb", 50_000),
        "variables/variables.index": pattern("index", 500),
        "variables/variables.data-00000-of-00001": pattern("variables", 300_000),
    },
    ("onnx", "onnx"): {"model.onnx": pattern("onnx", 300_000)},
    ("scikit-learn", "joblib"): {"forest.joblib": pattern("joblib", 300_000)},
    ("scikit-learn", "pkl"): {"forest.pkl": pattern("pkl", 300_000)},
    ("transformers", "safetensors"): {
        "config.json": b"{}",
        "model.safetensors": pattern("safetensors", 300_000),
    },
    ("llama.cpp", "gguf"): {"model.gguf": pattern("gguf", 300_000)},
}


@pytest.mark.contract("S0-7")
def test_datasets_in_json_jsonl_csv_and_txt(tmp_path: pathlib.Path) -> None:
    with member_client() as (client, _):
        for name, content in DATASETS.items():
            format_ = name.rpartition(".")[2]
            source = write_tree(tmp_path / format_, {name: content})
            version = client.push(f"datasets/{format_}", source / name).version
            assert version is not None
            assert version.format == format_
            client.pull(f"datasets/{format_}", tmp_path / "out" / format_)
            assert tree_of(tmp_path / "out" / format_) == {name: content}


@pytest.mark.contract("S0-25")
def test_models_of_pytorch_tensorflow_onnx_and_others(tmp_path: pathlib.Path) -> None:
    with member_client() as (client, _):
        for (framework, format_), files in MODELS.items():
            name = f"{framework}-{format_}".rstrip("-").replace(".", "-")
            source = write_tree(tmp_path / "in" / name, files)
            fields = artifact_fields(framework=framework)
            version = client.push(f"models/{name}", source, fields=fields).version
            assert version is not None
            assert version.format == format_
            assert client.catalog.get(f"models/{name}").framework == framework
            client.pull(f"models/{name}", tmp_path / "out" / name)
            assert tree_of(tmp_path / "out" / name) == files
