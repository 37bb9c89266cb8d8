"""`.keras` files as Keras 3 writes them: honest ones pass, what is imported or called on loading does not."""

import io
import json
import zipfile
from pathlib import Path

import h5py
import pytest

from helpers import payloads
from helpers.checks import checked, errors, reasons
from ingot.server.core.params import Rules

Config = dict[str, object]


def layer(name: str, module: str = "keras.layers", **config: object) -> Config:
    return {"module": module, "class_name": name, "config": config, "registered_name": None}


DENSE = layer(
    "Dense",
    units=4,
    activation="relu",
    dtype={"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}},
    kernel_initializer={
        "module": "keras.initializers",
        "class_name": "GlorotUniform",
        "config": {"seed": None},
    },
)


def model(*layers: Config) -> Config:
    return {
        **layer("Functional", "keras.src.models.functional", layers=[layer("InputLayer"), DENSE, *layers]),
        "compile_config": {
            "optimizer": layer("Adam", "keras.optimizers", learning_rate=0.001),
            "loss": "mse",
        },
    }


def weights(*, outside: bool = False) -> bytes:
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        file.create_group("layers/dense/vars")["0"] = [1.0, 2.0]
        if outside:
            file["out"] = h5py.ExternalLink("/etc/passwd", "/a")
    return memory.getvalue()


def keras(
    config: object = None, packing: int = zipfile.ZIP_STORED, weights_: bytes = b"", **more: bytes
) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packing) as file:
        file.writestr("metadata.json", json.dumps({"keras_version": "3.11.0"}))
        file.writestr("config.json", json.dumps(config or model()))
        file.writestr("model.weights.h5", weights_ or weights())
        for name, content in more.items():
            file.writestr(f"assets/{name}", content)
    return out.getvalue()


@pytest.mark.contract("S1-57")
@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("name", ["m.keras", "m.zip"])
def test_a_right_file_passes_and_is_counted(tmp_path: Path, name: str, packing: int) -> None:
    found = checked(name, keras(packing=packing, words=b"one\ntwo\n"), tmp_path)
    assert (found.findings.kept, found.report.format, found.report.passed) == ([], "keras", True)
    counted = found.report.statistics["model.weights.h5"]
    assert isinstance(counted, dict)
    assert (counted["datasets"], counted["parameters"]) == (1, 2)
    assert list(tmp_path.iterdir()) == []


RUNS: dict[str, Config] = {
    "Lambda": layer("Lambda", function={"class_name": "__lambda__", "config": {"code": "4wAAAA"}}),
    "registered": layer("Custom>Lambda", ""),
    "deep": layer("TimeDistributed", layer=layer("Lambda")),
    "module": {"module": "os", "class_name": "function", "config": "system"},
    "built in": {"module": "builtins", "class_name": "function", "config": "exec"},
    "of a library": layer("Popen", "torch.utils.data"),
    "of Keras, no layer": {"module": "keras.utils", "class_name": "function", "config": "get_file"},
    "looks like Keras": layer("x", "sys.keras"),
    "a pickle": layer("TorchModuleWrapper", module_="gASV"),
    "a path": layer("StringLookup", vocabulary="/etc/passwd"),
    "a saved model": layer("TFSMLayer", filepath="/srv/model"),
}


@pytest.mark.contract("S3-44", "S1-57")
@pytest.mark.parametrize("trick", RUNS)
@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_what_runs_or_reads_on_loading_does_not_pass(tmp_path: Path, trick: str, packing: int) -> None:
    content = keras(model(RUNS[trick]), packing)
    found = checked("m.keras", content, tmp_path)
    assert {each.reason for each in errors(found)} == {"unsafe_content"}
    if packing == zipfile.ZIP_STORED:
        assert errors(found)[0].byte_offset == content.index(b'{"module": "keras.src.models')
    allowed = checked("m.keras", content, tmp_path, Rules(allow_unsafe=True))
    assert allowed.report.passed


@pytest.mark.parametrize(
    "part", [layer("Mine", "mine.layers"), layer("Mine", "__main__"), layer("function", "builtins")]
)
def test_code_of_the_writer_is_a_remark(tmp_path: Path, part: Config) -> None:
    found = checked("m.keras", keras(model(part)), tmp_path)
    assert (reasons(found), found.report.passed) == ({"unknown_import"}, True)


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_weights_and_assets_are_looked_through(tmp_path: Path, packing: int) -> None:
    outside = checked("m.keras", keras(None, packing, weights(outside=True)), tmp_path)
    assert [each.reason for each in errors(outside)] == ["unsafe_content"]
    assert "/etc/passwd" in errors(outside)[0].message
    evil = checked("m.keras", keras(None, packing, state=payloads.evil(2)), tmp_path)
    assert [each.reason for each in errors(evil)] == ["unsafe_opcode"]
    broken = checked("m.keras", keras(None, packing, weights()[:300]), tmp_path)
    assert not broken.report.passed


def test_damage_is_named(tmp_path: Path) -> None:
    fine = keras()
    assert reasons(checked("m.keras", fine[:-30], tmp_path)) == {"zip_damaged"}
    assert reasons(checked("m.keras", b"text", tmp_path)) == {"zip_damaged"}
    renamed = fine.replace(b"config.json", b"confug.json")
    assert reasons(checked("m.keras", renamed, tmp_path)) == {"invalid_config"}
    changed = fine.replace(b'{"module": "keras.src', b'["module": "keras.src')
    assert not checked("m.keras", changed, tmp_path).report.passed
    twice = io.BytesIO(fine)
    with zipfile.ZipFile(twice, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("config.json", json.dumps(model(RUNS["Lambda"])))
    assert "zip_damaged" in reasons(checked("m.keras", twice.getvalue(), tmp_path))
