"""Make the model to train: a Llama block or GPT-2 from scratch, or a base model from its folder.

`TokenLoss` wraps it so that a forward pass gives the loss over learned tokens only, divided by a number the
caller gives: the learned tokens of the whole step. So accumulation, batch size and ranks never change the
gradient. Documents of a block are kept apart by their position ids; there is no attention mask, and there
must be none (see `packing`).
"""

import os
from pathlib import Path

import psutil
import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional

from ingot.worker.config import ModelShape, TrainingConfig
from ingot.worker.problem import failed
from ingot.worker.tokens import Tokenizer

LONGEST_DEFAULT = 1024  # tokens per block with a base model that could take more
BYTES_FP32, BYTES_BF16 = 20, 16  # per parameter: weight, gradient, master weight, two moments
DROPOUT_KEYS = ("attention_dropout", "attn_pdrop", "resid_pdrop", "embd_pdrop", "hidden_dropout")
# Their logits are a projection of the last hidden state and nothing else, so rows without loss are left out.
PLAIN_HEADS = ("llama", "gpt2")


class TokenLoss(nn.Module):
    """Sum of cross entropy over learned tokens, divided by `total`."""

    def __init__(self, model: transformers.PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        self._plain_head = model.config.model_type in PLAIN_HEADS

    def forward(self, ids: Tensor, positions: Tensor, places: Tensor, targets: Tensor, total: int) -> Tensor:
        """Return the loss in fp32: a scalar.

        `ids` and `positions` are (batch, length); `places` are flat indices into them, and `targets` the
        tokens that should follow there, -100 where none is asked (see `packing.learned_places`).
        """
        if self._plain_head:
            inner = self.model.base_model(input_ids=ids, position_ids=positions, use_cache=False)
            logits = self.model.get_output_embeddings()(inner.last_hidden_state.flatten(0, 1)[places])
        else:
            whole = self.model(input_ids=ids, position_ids=positions, use_cache=False)
            logits = whole.logits.flatten(0, 1)[places]
        return functional.cross_entropy(logits.float(), targets, ignore_index=-100, reduction="sum") / total


def base_config(folder: Path, config: TrainingConfig) -> transformers.PreTrainedConfig:
    """Read a base model's config and compare the shape keys. Raises TrainingError CONFIG_CONTRADICTION."""
    try:
        base = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        message = f"The base model has no config.json that can be loaded: {error}"
        raise failed("CONFIG_CONTRADICTION", message, "Choose a base in Hugging Face layout.") from error
    kind = base.model_type
    if config.architecture not in (None, "transformer", kind):
        message = f"architecture is {config.architecture}, but the base model is a {kind}."
        raise failed("CONFIG_CONTRADICTION", message, "Remove architecture, or choose another base.")
    for key, own in (
        ("hidden_size", "hidden_size"),
        ("num_layers", "num_hidden_layers"),
        ("num_heads", "num_attention_heads"),
    ):
        asked, has = getattr(config, key), getattr(base, own, None)
        if asked is not None and asked != has:
            message = f"{key} is {asked}, but the base model has {has}: a base keeps its shape."
            raise failed("CONFIG_CONTRADICTION", message, f"Remove {key}, or choose another base.")
    longest = getattr(base, "max_position_embeddings", None)
    if longest and config.max_sequence_length and config.max_sequence_length > longest:
        message = (
            f"max_sequence_length is {config.max_sequence_length}, but the base model ends at {longest}."
        )
        raise failed("CONFIG_CONTRADICTION", message, f"Use at most {longest}.")
    assert isinstance(base, transformers.PreTrainedConfig)
    return base


def block_length(config: TrainingConfig, base: transformers.PreTrainedConfig | None) -> int:
    """Return the tokens per block: what was asked for, else what fits the base, else the default."""
    if config.max_sequence_length:
        return config.max_sequence_length
    if base is None:
        return ModelShape().max_sequence_length
    return min(LONGEST_DEFAULT, getattr(base, "max_position_embeddings", None) or LONGEST_DEFAULT)


def build(config: TrainingConfig, base_folder: Path | None, tokenizer: Tokenizer, length: int) -> nn.Module:
    """Make the model in fp32 on the CPU, with fresh weights or the base model's.

    Return it in its `TokenLoss`.
    """
    rows = len(tokenizer) + -len(tokenizer) % 64
    if base_folder is None:
        made = _gpt2 if config.architecture == "gpt2" else _llama
        model: transformers.PreTrainedModel = made(config, tokenizer, rows, length)
    else:
        model = _base(config, base_folder, tokenizer, rows)
    model.config.use_cache = False
    if config.gradient_checkpointing:
        if not model.supports_gradient_checkpointing:
            message = f"gradient_checkpointing is not possible with a {model.config.model_type} model."
            raise failed("CONFIG_CONTRADICTION", message, "Set it to false.")
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return TokenLoss(model)


def _llama(
    config: TrainingConfig, tokenizer: Tokenizer, rows: int, length: int
) -> transformers.PreTrainedModel:
    shape = ModelShape()
    hidden = config.hidden_size or shape.hidden_size
    heads = config.num_heads or shape.num_heads
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=rows,
            hidden_size=hidden,
            intermediate_size=-(-hidden * 8 // 3 // 64) * 64,
            num_hidden_layers=config.num_layers or shape.num_layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            max_position_embeddings=length,
            attention_dropout=config.dropout,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def _gpt2(
    config: TrainingConfig, tokenizer: Tokenizer, rows: int, length: int
) -> transformers.PreTrainedModel:
    shape = ModelShape()
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=rows,
            n_positions=length,
            n_embd=config.hidden_size or shape.hidden_size,
            n_layer=config.num_layers or shape.num_layers,
            n_head=config.num_heads or shape.num_heads,
            attn_pdrop=config.dropout,
            resid_pdrop=config.dropout,
            embd_pdrop=config.dropout,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def _base(
    config: TrainingConfig, folder: Path, tokenizer: Tokenizer, rows: int
) -> transformers.PreTrainedModel:
    own = base_config(folder, config)
    found = [key for key in DROPOUT_KEYS if hasattr(own, key)]
    if config.dropout and not found:
        raise failed("CONFIG_CONTRADICTION", f"A {own.model_type} model has no dropout.", "Set dropout to 0.")
    for key in found:
        setattr(own, key, config.dropout)
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, config=own, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        message = f"The base model cannot be loaded as a causal language model from safetensors: {error}"
        raise failed("CONFIG_CONTRADICTION", message, "Choose a base in Hugging Face layout.") from error
    assert isinstance(model, transformers.PreTrainedModel)
    table = model.get_input_embeddings()
    assert isinstance(table, nn.Embedding)
    if table.num_embeddings < len(tokenizer):
        model.resize_token_embeddings(rows)
    model.config.eos_token_id = tokenizer.eos_token_id
    model.config.pad_token_id = tokenizer.pad_token_id
    return model


def require_memory(
    config: TrainingConfig, base_folder: Path | None, tokenizer: Tokenizer, length: int
) -> None:
    """Count the model's parameters without making it; compare what training them takes with what is free.

    Raises TrainingError OUT_OF_MEMORY: better a sentence now than the kernel's killer later. What the batch
    needs on top is not known before the first step.
    """
    with torch.device("meta"):
        if base_folder is None:
            count = parameters(build(config, None, tokenizer, length))
        else:
            shape = base_config(base_folder, config)
            count = parameters(transformers.AutoModelForCausalLM.from_config(shape))
    needed = count * (BYTES_BF16 if config.mixed_precision else BYTES_FP32)
    gpu = os.environ.get("DS_ACCELERATOR") == "cuda"
    free = torch.cuda.mem_get_info()[0] if gpu else psutil.virtual_memory().available
    if needed > free:
        size = f"{needed / 1e9:.1f} GB to train; {free / 1e9:.1f} GB are free."
        next_step = "Use a smaller model or a larger machine."
        raise failed(
            "OUT_OF_MEMORY", f"A model of {count:,} parameters needs {size}", next_step, parameters=count
        )


def parameters(module: nn.Module) -> int:
    """Count the parameters, tied ones once, also while they are sharded."""
    return sum(getattr(weight, "ds_numel", weight.numel()) for weight in module.parameters())
