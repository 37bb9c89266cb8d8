"""Write the finished model as anyone can load it: Hugging Face layout, safetensors, tokenizer, and a card
with lineage.

`transformers.AutoModelForCausalLM.from_pretrained(folder)` needs neither DeepSpeed nor this package and gives
the logits the engine gave: weights keep the precision they were trained and evaluated in. Tied weights are
stored once.
"""

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path

import deepspeed
import torch
import transformers

from ingot.worker import config as configs
from ingot.worker import folders
from ingot.worker.config import TrainerSpec
from ingot.worker.model import TokenLoss
from ingot.worker.tokens import Tokenizer


def export(
    engine: deepspeed.DeepSpeedEngine,
    tokenizer: Tokenizer,
    spec: TrainerSpec,
    step: int,
    metrics: Mapping[str, float],
    facts: Mapping[str, str],
) -> Path:
    """Write the model folder of a step, whole or not at all, and return it."""
    final = spec.work_folder / "export" / folders.step_name(step)
    aside = final.with_suffix(".part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    loss = engine.module
    assert isinstance(loss, TokenLoss)
    model = loss.model
    sharded = [weight for weight in model.parameters() if hasattr(weight, "ds_id")]
    gathered = deepspeed.zero.GatheredParameters(sharded) if sharded else contextlib.nullcontext()
    with gathered, torch.no_grad():
        state = {name: weight.detach().cpu() for name, weight in model.state_dict().items()}
        model.config.use_cache = True
        model.generation_config = _generation(model, tokenizer)
        model.save_pretrained(aside, state_dict=state)
        model.config.use_cache = False
    tokenizer.save_pretrained(aside)
    (aside / "README.md").write_text(card(spec, model.config, step, metrics, facts), encoding="utf-8")
    for path in sorted(aside.rglob("*")):
        folders.fsync(path)
    shutil.rmtree(final, ignore_errors=True)
    aside.rename(final)
    folders.fsync(final.parent)
    return final


def _generation(model: transformers.PreTrainedModel, tokenizer: Tokenizer) -> transformers.GenerationConfig:
    """Keep a base model's settings; the stop and padding tokens are those it was trained with."""
    found = model.generation_config
    found.eos_token_id = tokenizer.eos_token_id
    found.pad_token_id = tokenizer.pad_token_id
    return found


def card(
    spec: TrainerSpec,
    shape: transformers.PreTrainedConfig,
    step: int,
    metrics: Mapping[str, float],
    facts: Mapping[str, str],
) -> str:
    """Return the model card: where it comes from, how it was trained, how good it is, how to use it.

    No job and no time is in it: the same training gives the same bytes; the version's origin tells them.
    """
    base = (
        f"`{spec.base.name}` ({spec.base.digest or 'no digest'})"
        if spec.base
        else "none, trained from scratch"
    )
    figures = "\n".join(f"| {name} | {value:.4f} |" for name, value in sorted(metrics.items()))
    settings = configs.to_json(spec.config)
    assert isinstance(settings, dict)
    keys = "\n".join(f"| {name} | {value} |" for name, value in settings.items() if value not in (None, ""))
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    return f"""---
library_name: transformers
pipeline_tag: text-generation
tags: [ingot, deepspeed, {shape.model_type}]
---
# Model trained on {spec.dataset.name}

| | |
|---|---|
| dataset | `{spec.dataset.name}` ({spec.dataset.digest or "no digest"}) |
| base model | {base} |
| trained for | {step} steps |
{rows}

## Metrics

| metric | value |
|---|---|
{figures}

Loss is in nats per learned token; bits per byte compares models with different tokenizers.

## Training configuration

| key | value |
|---|---|
{keys}

## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("FOLDER")
model = AutoModelForCausalLM.from_pretrained("FOLDER")
```

Texts it writes reflect its data, and may be wrong.
"""
