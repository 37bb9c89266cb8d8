"""The finished model: anyone can load it without DeepSpeed, and it computes what the engine computed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from helpers import training
from ingot.content import chunking
from ingot.content.cuts import Cuts
from ingot.worker.config import DeepSpeedOptions, TrainerSpec
from ingot.worker.progress import Result

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine

    from ingot.worker.tokens import Tokenizer

pytestmark = pytest.mark.slow

READ = """
import json, sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
folder = sys.argv[1]
model = AutoModelForCausalLM.from_pretrained(folder)
tokenizer = AutoTokenizer.from_pretrained(folder)
text = tokenizer.apply_chat_template(
    [{"role": "user", "content": "من در شیراز زندگی می‌کنم."}], tokenize=False, add_generation_prompt=True)
ids = tokenizer(text, return_tensors="pt").input_ids
with torch.no_grad():
    logits = model(ids).logits[0, -1].float()
assert not [name for name in sys.modules if name.split(".")[0] in ("deepspeed", "ingot")]
print(json.dumps({"ids": ids[0].tolist(), "logits": [value.hex() for value in logits.tolist()]}))
"""


@pytest.mark.parametrize(
    ("architecture", "mixed_precision", "stage"),
    [
        ("llama", True, 1),
        pytest.param("gpt2", False, 2, marks=pytest.mark.long),
        pytest.param("llama", False, 1, marks=pytest.mark.long),
        pytest.param("llama", False, 3, marks=pytest.mark.long),
    ],
)
@pytest.mark.contract("S0-66", "S0-67", "S0-86")
def test_a_fresh_process_computes_the_same_logits(
    tmp_path: Path, architecture: str, mixed_precision: bool, stage: int
) -> None:
    import torch

    from ingot.worker import export

    dataset = training.write_jsonl(tmp_path / "d", training.conversations(60))
    config = training.tiny(architecture=architecture, mixed_precision=mixed_precision, max_steps=3)
    spec = training.make_spec(dataset, tmp_path / "w", config, deepspeed=DeepSpeedOptions(zero_stage=stage))
    outcome, events = training.run(spec)
    assert outcome.outcome == "succeeded", outcome.problem
    (result,) = training.of(Result, events)
    folder = Path(result.folder)
    environment = {**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", READ, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=100, text=True)
    assert done.returncode == 0, done.stderr
    fresh = json.loads(done.stdout.splitlines()[-1])

    engine, tokenizer = restored(spec)
    ids = torch.tensor([fresh["ids"]])
    engine.eval()
    with torch.no_grad():
        if stage == 3:
            places = torch.arange(ids.shape[1])
            engine(ids, places[None], places, ids[0], 1)
        ours = engine.module.model(ids).logits[0, -1].float()
    assert [value.hex() for value in ours.tolist()] == fresh["logits"]
    again = export.export(engine, tokenizer, spec, 99, {}, {})
    assert (again / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    engine.destroy()


def restored(spec: TrainerSpec) -> "tuple[DeepSpeedEngine, Tokenizer]":
    """Load the final checkpoint back into an engine."""
    from ingot.worker import checkpoint, model, optimize, packing
    from ingot.worker.tokens import Tokenizer

    prepared = packing.prepare(spec, 32, lambda done, total, unit: None)
    tokenizer = Tokenizer.from_pretrained(prepared.folder / "tokenizer")
    engine = optimize.engine(spec.config, spec.deepspeed, model.build(spec.config, None, tokenizer, 32))
    found = checkpoint.find(spec)
    assert found is not None
    checkpoint.load(engine, found, checkpoint.facts(spec, prepared.digest, 32))
    return engine, tokenizer


def _profile(place: Path) -> str:
    """Return how a push cuts a file: at its tensors, or like any other."""
    found = Cuts()
    for _ in chunking.cut_file(place, found):
        pass
    return found.profile


def test_tied_weights_are_stored_once_and_the_card_tells_where_it_comes_from(tmp_path: Path) -> None:
    from safetensors import safe_open

    dataset = training.write_jsonl(tmp_path / "d", training.conversations(60))
    spec = training.make_spec(dataset, tmp_path / "w", training.tiny(max_steps=2))
    _, events = training.run(spec)
    (result,) = training.of(Result, events)
    folder = Path(result.folder)
    with safe_open(folder / "model.safetensors", "pt") as file:
        names = set(file.keys())
        size = sum(file.get_tensor(name).nbytes for name in names)
    assert "model.embed_tokens.weight" in names
    assert "lm_head.weight" not in names
    assert size == 4 * result.parameters
    assert (folder / "model.safetensors").stat().st_size < size + 10_000
    states = sorted((spec.work_folder / "ckpt").glob("step-*/ds/*.pt"))
    assert {_profile(place) for place in (folder / "model.safetensors", *states)} == {"tensor"}
    found = {path.name for path in folder.iterdir()}
    assert {
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "README.md",
    } <= found
    assert not [name for name in found if name.endswith((".bin", ".pt", ".pkl"))]
    assert json.loads((folder / "config.json").read_text())["use_cache"] is True
    stop = json.loads((folder / "generation_config.json").read_text())
    assert stop["eos_token_id"] != stop["pad_token_id"]
    card = (folder / "README.md").read_text()
    assert "namespaces/sara/datasets/chat/versions/1" in card
    assert "b3:data" in card
    assert "none, trained from scratch" in card
    assert "| learning_rate | 0.003 |" in card
    assert "| val/bits_per_byte |" in card
