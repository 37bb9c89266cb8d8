"""The configuration of a training: its keys, their defaults, and the rules it must keep.

A key that is None was not given. `filled` puts the defaults in; what then stays None is decided later on
purpose: the shape by the base model, the device by the machine. `problems` is pure and lists every broken
rule, one per field, so that each of the keys either acts in the trainer or is refused with a reason. The
trainer holds the same rules (a test compares both), because it also runs without a server.
"""

import math
from dataclasses import dataclass, replace

from ingot.server.core.errors import FieldProblem, Invalid, Reason

MODEL_TYPES = ("llm",)
ARCHITECTURES = ("transformer", "llama", "gpt2")
OPTIMIZERS = ("adamw", "adam", "sgd", "adafactor")
SCHEDULERS = ("linear", "cosine", "constant", "inverse_sqrt")
TEMPLATES = ("auto", "chat", "base", "plain")
OFFLOADS = ("none", "optimizer")
SMALLEST_VOCABULARY = 320  # 256 bytes, five special tokens and a few merges


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """The keys of a training; None is "not given". Spans in seconds, splits as shares of 1."""

    model_type: str | None = None
    architecture: str | None = None
    hidden_size: int | None = None
    num_layers: int | None = None
    num_heads: int | None = None
    vocab_size: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    warmup_steps: int | None = None
    gradient_accumulation_steps: int | None = None
    max_grad_norm: float | None = None
    train_split: float | None = None
    val_split: float | None = None
    test_split: float | None = None
    max_sequence_length: int | None = None
    data_augmentation: bool | None = None
    optimizer: str | None = None
    scheduler: str | None = None
    mixed_precision: bool | None = None
    gradient_checkpointing: bool | None = None
    use_gpu: bool | None = None
    num_gpus: int | None = None
    cpu_only: bool | None = None
    save_steps: int | None = None
    eval_steps: int | None = None
    logging_steps: int | None = None
    save_total_limit: int | None = None
    seed: int | None = None
    template: str | None = None
    text_field: str | None = None
    prompt_field: str | None = None
    answer_field: str | None = None
    normalise_persian: bool | None = None
    max_steps: int | None = None
    max_time: float | None = None
    dropout: float | None = None


@dataclass(frozen=True, slots=True)
class DeepSpeedConfig:
    """Settings of the engine; None is "not given". The bucket counts elements and is fitted when unset."""

    zero_stage: int | None = None
    offload: str | None = None
    reduce_bucket_size: int | None = None


_DEFAULTS = TrainingConfig(
    model_type="llm",
    epochs=1,
    batch_size=8,
    learning_rate=1e-4,
    weight_decay=0.01,
    warmup_steps=0,
    gradient_accumulation_steps=1,
    max_grad_norm=1.0,
    train_split=0.8,
    val_split=0.1,
    test_split=0.1,
    data_augmentation=False,
    optimizer="adamw",
    scheduler="linear",
    mixed_precision=False,
    gradient_checkpointing=False,
    save_steps=1000,
    eval_steps=500,
    logging_steps=10,
    save_total_limit=3,
    seed=42,
    template="auto",
    text_field="",
    prompt_field="",
    answer_field="",
    normalise_persian=False,
    max_steps=0,
    max_time=0.0,
    dropout=0.0,
)
_SHAPE_DEFAULTS = TrainingConfig(
    architecture="transformer",
    hidden_size=256,
    num_layers=4,
    num_heads=4,
    vocab_size=8192,
    max_sequence_length=256,
)
SHAPE_KEYS = (
    "architecture",
    "hidden_size",
    "num_layers",
    "num_heads",
    "vocab_size",
    "max_sequence_length",
)


def filled(config: TrainingConfig, *, from_base: bool) -> TrainingConfig:
    """Return the config with its defaults; from a base model the shape stays as that model has it."""
    whole = _merged(config, _DEFAULTS)
    return whole if from_base else _merged(whole, _SHAPE_DEFAULTS)


def filled_engine(deepspeed: DeepSpeedConfig) -> DeepSpeedConfig:
    """Return the engine settings with their defaults filled in."""
    return DeepSpeedConfig(
        zero_stage=1 if deepspeed.zero_stage is None else deepspeed.zero_stage,
        offload=deepspeed.offload or "none",
        reduce_bucket_size=deepspeed.reduce_bucket_size,
    )


def _merged(config: TrainingConfig, defaults: TrainingConfig) -> TrainingConfig:
    names = TrainingConfig.__slots__
    missing = {
        name: getattr(defaults, name)
        for name in names
        if getattr(config, name) is None and getattr(defaults, name) is not None
    }
    return replace(config, **missing)


def wants_gpu(config: TrainingConfig) -> bool | None:
    """Return True for a GPU, False for the CPU, None for a GPU if the machine has one."""
    if config.use_gpu is not None:
        return config.use_gpu
    if config.cpu_only:
        return False
    if config.num_gpus is not None:
        return config.num_gpus > 0
    return None


def check(config: TrainingConfig, deepspeed: DeepSpeedConfig) -> None:
    """Raise Invalid with every broken rule of a filled config, one field problem a field."""
    found = problems(config, deepspeed)
    if not found:
        return
    contradiction = any(each.reason is Reason.CONFIG_CONTRADICTION for each in found)
    raise Invalid(
        Reason.CONFIG_CONTRADICTION if contradiction else Reason.FIELD_INVALID,
        "The training configuration cannot stand: " + " ".join(each.message for each in found),
        next_step="Change the named fields; leave a field out to get its default.",
        facts={each.field: each.message for each in found},
        fields=found,
    )


def problems(config: TrainingConfig, deepspeed: DeepSpeedConfig) -> list[FieldProblem]:
    """List every rule that a filled config breaks, the first one of each field."""
    found = [*_choices(config), *_ranges(config), *_contradictions(config), *_engine(config, deepspeed)]
    first: dict[str, FieldProblem] = {}
    for each in found:
        first.setdefault(each.field, each)
    return list(first.values())


def _choices(config: TrainingConfig) -> list[FieldProblem]:
    rows: tuple[tuple[str, str | None, tuple[str, ...]], ...] = (
        ("model_type", config.model_type, MODEL_TYPES),
        ("architecture", config.architecture, ARCHITECTURES),
        ("optimizer", config.optimizer, OPTIMIZERS),
        ("scheduler", config.scheduler, SCHEDULERS),
        ("template", config.template, TEMPLATES),
    )
    return [
        FieldProblem(f"config.{name}", f"{name} must be one of {', '.join(allowed)}; got {value!r}.")
        for name, value, allowed in rows
        if value is not None and value not in allowed
    ]


def _ranges(config: TrainingConfig) -> list[FieldProblem]:
    rows: tuple[tuple[str, float | None, float, float], ...] = (
        ("hidden_size", config.hidden_size, 8, 65536),
        ("num_layers", config.num_layers, 1, 1024),
        ("num_heads", config.num_heads, 1, 1024),
        ("vocab_size", config.vocab_size, SMALLEST_VOCABULARY, 2**24),
        ("epochs", config.epochs, 1, 1_000_000),
        ("batch_size", config.batch_size, 1, 1_000_000),
        ("learning_rate", config.learning_rate, 1e-12, 100.0),
        ("weight_decay", config.weight_decay, 0.0, 10.0),
        ("warmup_steps", config.warmup_steps, 0, 10**9),
        ("gradient_accumulation_steps", config.gradient_accumulation_steps, 1, 100_000),
        ("max_grad_norm", config.max_grad_norm, 0.0, 1e9),
        ("train_split", config.train_split, 1e-6, 1.0),
        ("val_split", config.val_split, 0.0, 1.0),
        ("test_split", config.test_split, 0.0, 1.0),
        ("max_sequence_length", config.max_sequence_length, 8, 1_048_576),
        ("num_gpus", config.num_gpus, 0, 1024),
        ("save_steps", config.save_steps, 1, 10**9),
        ("eval_steps", config.eval_steps, 1, 10**9),
        ("logging_steps", config.logging_steps, 1, 10**9),
        ("save_total_limit", config.save_total_limit, 1, 10_000),
        ("seed", config.seed, 0, 2**32 - 1),
        ("max_steps", config.max_steps, 0, 10**9),
        ("max_time", config.max_time, 0.0, 10**9),
        ("dropout", config.dropout, 0.0, 0.95),
    )
    return [
        FieldProblem(f"config.{name}", f"{name} must be between {low:g} and {high:g}; got {value:g}.")
        for name, value, low, high in rows
        if value is not None and not low <= value <= high  # a NaN is outside too
    ]


_Rule = tuple[bool, str, str]  # broken?, key, sentence


def _contradictions(config: TrainingConfig) -> list[FieldProblem]:
    rows = [*_shape_rules(config), *_device_rules(config), *_data_rules(config)]
    return [
        FieldProblem(f"config.{name}", message, Reason.CONFIG_CONTRADICTION)
        for broken, name, message in rows
        if broken
    ]


def _shape_rules(config: TrainingConfig) -> list[_Rule]:
    if not config.hidden_size or not config.num_heads or config.hidden_size < 0 or config.num_heads < 0:
        return []
    size, rest = divmod(config.hidden_size, config.num_heads)
    uneven = f"hidden_size {config.hidden_size} must be a multiple of num_heads {config.num_heads}."
    odd = f"hidden_size / num_heads must be even for rotary positions; it is {size}."
    return [(rest != 0, "num_heads", uneven), (rest == 0 and size % 2 == 1, "num_heads", odd)]


def _device_rules(config: TrainingConfig) -> list[_Rule]:
    gpus, gpu, cpu = config.num_gpus, config.use_gpu, config.cpu_only
    both = "use_gpu and cpu_only cannot both be true: choose one device."
    neither = "use_gpu false and cpu_only false leave no device: choose one, or give neither."
    none_asked = "use_gpu is true but num_gpus is 0: ask for one GPU, or set use_gpu to false."
    on_cpu = f"num_gpus is {gpus} but the job asks for the CPU: set num_gpus to 0, or use_gpu to true."
    many = f"num_gpus is {gpus}; a worker drives one GPU per job now. Set num_gpus to 1."
    return [
        (gpu is True and cpu is True, "cpu_only", both),
        (gpu is False and cpu is False, "cpu_only", neither),
        (gpu is True and gpus == 0, "num_gpus", none_asked),
        (bool(gpus) and (gpu is False or cpu is True), "num_gpus", on_cpu),
        (gpus is not None and gpus > 1, "num_gpus", many),
    ]


def _data_rules(config: TrainingConfig) -> list[_Rule]:
    splits = sum(each or 0.0 for each in (config.train_split, config.val_split, config.test_split))
    conversation = bool(config.prompt_field or config.answer_field)
    wrong_splits = f"train_split + val_split + test_split must be 1; they are {splits:g}."
    fields = "template plain trains on one text; prompt_field and answer_field need template chat."
    text = f"template {config.template} trains on conversations; text_field needs template plain."
    pair = "prompt_field and answer_field go together: give both, or neither."
    two = "text_field and prompt_field name two ways to read a record: give one."
    return [
        (math.isnan(splits) or abs(splits - 1.0) > 1e-6, "train_split", wrong_splits),
        (config.template == "plain" and conversation, "template", fields),
        (config.template in ("chat", "base") and bool(config.text_field), "text_field", text),
        (bool(config.prompt_field) != bool(config.answer_field), "prompt_field", pair),
        (conversation and bool(config.text_field), "text_field", two),
    ]


def _engine(config: TrainingConfig, deepspeed: DeepSpeedConfig) -> list[FieldProblem]:
    found: list[FieldProblem] = []
    if deepspeed.zero_stage not in (1, 2, 3):
        message = f"zero_stage must be 1, 2 or 3 (0 has no guard against a NaN); got {deepspeed.zero_stage}."
        found.append(FieldProblem("deepspeed.zero_stage", message))
    if deepspeed.offload not in OFFLOADS:
        message = f"offload must be one of {', '.join(OFFLOADS)}; got {deepspeed.offload!r}."
        found.append(FieldProblem("deepspeed.offload", message))
    if deepspeed.offload == "optimizer" and wants_gpu(config) is False:
        message = "offload moves state from a GPU to host memory, and this job runs on the CPU."
        found.append(FieldProblem("deepspeed.offload", message, Reason.CONFIG_CONTRADICTION))
    if deepspeed.reduce_bucket_size is not None and deepspeed.reduce_bucket_size < 1024:
        message = f"reduce_bucket_size must be at least 1024; got {deepspeed.reduce_bucket_size}."
        found.append(FieldProblem("deepspeed.reduce_bucket_size", message))
    return found
