"""What to train: the trainer's spec file, its training config, and the rules a config must keep.

The agent builds a `TrainerSpec` and saves it as JSON; `python -m ingot.worker.attempt SPEC.json` loads it. A
key that is `None` was not given: shape keys then come from the base model or from `ModelShape` defaults,
device keys from the machine. `problems(config)` is pure: it lists every contradiction and every value no
trainer can act on. What depends on the base model or on the machine is refused later, by the trainer, with
the same kind of reason. No torch is imported here.
"""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ingot.worker.problem import TrainingError, failed

T = typing.TypeVar("T")

MODEL_TYPES = ("llm",)
ARCHITECTURES = ("transformer", "llama", "gpt2")
OPTIMIZERS = ("adamw", "adam", "sgd", "adafactor")
SCHEDULERS = ("linear", "cosine", "constant", "inverse_sqrt")
TEMPLATES = ("auto", "chat", "base", "plain")
SMALLEST_VOCABULARY = 320  # 256 bytes, five special tokens, a few merges; a multiple of 64


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """The 29 keys of the training API (S0-66 to S0-94) and the ones that came after them."""

    model_type: str = "llm"
    architecture: str | None = (
        None  # None: the base model's, else "transformer" (a Llama block); "gpt2" by name
    )
    hidden_size: int | None = None
    num_layers: int | None = None
    num_heads: int | None = None
    vocab_size: int | None = None  # an upper bound: a small corpus gives a smaller vocabulary
    epochs: int = 1
    batch_size: int = 8  # blocks per device and forward pass; a step sees batch_size * accumulation * ranks
    learning_rate: float = 1e-4
    weight_decay: float = 0.01  # on matrices only, never on norms and biases
    warmup_steps: int = 0
    gradient_accumulation_steps: int = 1
    max_grad_norm: float = 1.0  # 0 turns clipping off
    train_split: float = 0.8
    val_split: float = 0.1
    test_split: float = 0.1
    max_sequence_length: int | None = None  # tokens per packed block
    data_augmentation: bool = False
    optimizer: str = "adamw"
    scheduler: str = "linear"
    mixed_precision: bool = False  # bf16 weights and compute over fp32 master weights
    gradient_checkpointing: bool = False
    use_gpu: bool | None = None
    num_gpus: int | None = None
    cpu_only: bool | None = None
    save_steps: int = 1000
    eval_steps: int = 500
    logging_steps: int = 10
    save_total_limit: int = 3
    seed: int = 42
    template: str = "auto"  # auto: from the records; chat: ours; base: the base model's; plain: text only
    text_field: str = ""  # "" looks for the usual names
    prompt_field: str = ""
    answer_field: str = ""
    normalise_persian: bool = False  # Arabic yeh and kaf become Persian; stored in the tokenizer
    max_steps: int = 0  # 0: no limit beside the epochs
    max_time: float = 0.0  # seconds of training over all attempts; 0: no limit
    dropout: float = 0.0


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Sizes of a model from scratch where the config gives none."""

    hidden_size: int = 256
    num_layers: int = 4
    num_heads: int = 4
    vocab_size: int = 8192
    max_sequence_length: int = 256


@dataclass(frozen=True, slots=True)
class DeepSpeedOptions:
    """How the engine shards and stages; bucket sizes are elements and default to the model's own size."""

    zero_stage: int = 1
    offload_optimizer: bool = False  # GPU only: optimizer state lives in host memory
    reduce_bucket_size: int | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """A version this job reads: its API name and content digest, for the model card and lineage."""

    name: str
    digest: str = ""


@dataclass(frozen=True, slots=True)
class TrainerSpec:
    """Everything one attempt needs.

    Folders are absolute; `work` outlives attempts, so a retry resumes from it.
    """

    job: str  # trainingJobs/job_12
    dataset: Reference
    dataset_folder: Path
    work_folder: Path
    base: Reference | None = None
    base_folder: Path | None = None
    resume_folder: Path | None = (
        None  # a checkpoint pulled from the server; the newer of it and work/ckpt wins
    )
    attempt: int = 1
    ranks: int = 1
    config: TrainingConfig = field(default_factory=TrainingConfig)
    deepspeed: DeepSpeedOptions = field(default_factory=DeepSpeedOptions)

    def save(self, path: Path) -> None:
        """Write the spec as JSON."""
        path.write_text(json.dumps(to_json(self), indent=2, ensure_ascii=False), encoding="utf-8")

    @staticmethod
    def load(path: Path) -> "TrainerSpec":
        """Read a spec file.

        Raises TrainingError FIELD_INVALID naming an unknown key or a value of the wrong type.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise failed("FIELD_INVALID", f"The spec file {path} cannot be read: {error}.") from error
        return from_json(TrainerSpec, data, "")


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One broken rule.

    The key, an ErrorReason name, and a sentence that says what was expected and what came.
    """

    field: str
    reason: str
    message: str


def wants_gpu(config: TrainingConfig) -> bool | None:
    """Tell which device was asked for: True, False, or None for "a GPU if the machine has one"."""
    if config.use_gpu is not None:
        return config.use_gpu
    if config.cpu_only:
        return False
    if config.num_gpus is not None:
        return config.num_gpus > 0
    return None


def problems(config: TrainingConfig, deepspeed: DeepSpeedOptions | None = None) -> list[ConfigProblem]:
    """List every rule the config breaks; an empty list means a trainer can act on every key."""
    found = [*_choices(config), *_ranges(config), *_contradictions(config)]
    if deepspeed is not None:
        found += _deepspeed(config, deepspeed)
    return found


def _choices(config: TrainingConfig) -> list[ConfigProblem]:
    rows: tuple[tuple[str, str | None, tuple[str, ...]], ...] = (
        ("model_type", config.model_type, MODEL_TYPES),
        ("architecture", config.architecture, ARCHITECTURES),
        ("optimizer", config.optimizer, OPTIMIZERS),
        ("scheduler", config.scheduler, SCHEDULERS),
        ("template", config.template, TEMPLATES),
    )
    return [
        ConfigProblem(name, "FIELD_INVALID", f"{name} must be one of {', '.join(allowed)}; got {value!r}.")
        for name, value, allowed in rows
        if value is not None and value not in allowed
    ]


def _ranges(config: TrainingConfig) -> list[ConfigProblem]:
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
        ConfigProblem(name, "FIELD_INVALID", f"{name} must be between {low:g} and {high:g}; got {value:g}.")
        for name, value, low, high in rows
        if value is not None and not low <= value <= high  # a NaN is outside too
    ]


def _contradictions(config: TrainingConfig) -> list[ConfigProblem]:
    rows = [*_shape_rules(config), *_device_rules(config), *_data_rules(config)]
    return [ConfigProblem(name, "CONFIG_CONTRADICTION", message) for broken, name, message in rows if broken]


Rule = tuple[bool, str, str]  # broken?, key, sentence


def _shape_rules(config: TrainingConfig) -> list[Rule]:
    if not config.hidden_size or not config.num_heads:
        return []
    size, rest = divmod(config.hidden_size, config.num_heads)
    uneven = f"hidden_size {config.hidden_size} must be a multiple of num_heads {config.num_heads}."
    odd = f"hidden_size / num_heads must be even for rotary positions; it is {size}."
    return [(rest != 0, "num_heads", uneven), (rest == 0 and size % 2 == 1, "num_heads", odd)]


def _device_rules(config: TrainingConfig) -> list[Rule]:
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


def _data_rules(config: TrainingConfig) -> list[Rule]:
    splits = config.train_split + config.val_split + config.test_split
    conversation = bool(config.prompt_field or config.answer_field)
    wrong_splits = f"train_split + val_split + test_split must be 1; they are {splits:g}."
    fields = "template plain trains on one text; prompt_field and answer_field need template chat."
    text = f"template {config.template} trains on conversations; text_field needs template plain."
    pair = "prompt_field and answer_field go together: give both, or neither."
    two = "text_field and prompt_field name two ways to read a record: give one."
    return [
        (not abs(splits - 1.0) <= 1e-6, "train_split", wrong_splits),
        (config.template == "plain" and conversation, "template", fields),
        (config.template in ("chat", "base") and bool(config.text_field), "text_field", text),
        (bool(config.prompt_field) != bool(config.answer_field), "prompt_field", pair),
        (conversation and bool(config.text_field), "text_field", two),
    ]


def _deepspeed(config: TrainingConfig, options: DeepSpeedOptions) -> list[ConfigProblem]:
    found: list[ConfigProblem] = []
    if options.zero_stage not in (1, 2, 3):
        message = f"zero_stage must be 1, 2 or 3 (0 has no guard against a NaN); got {options.zero_stage}."
        found.append(ConfigProblem("deepspeed.zero_stage", "FIELD_INVALID", message))
    if options.offload_optimizer and wants_gpu(config) is False:
        message = "offload_optimizer moves state from a GPU to host memory, and this job runs on the CPU."
        found.append(ConfigProblem("deepspeed.offload_optimizer", "CONFIG_CONTRADICTION", message))
    size = options.reduce_bucket_size
    if size is not None and size < 1024:
        message = f"reduce_bucket_size must be at least 1024; got {size}."
        found.append(ConfigProblem("deepspeed.reduce_bucket_size", "FIELD_INVALID", message))
    return found


def to_json(value: object) -> object:
    """Turn a spec, or anything inside one, into plain JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {part.name: to_json(getattr(value, part.name)) for part in dataclasses.fields(value)}
    return str(value) if isinstance(value, Path) else value


def from_json(kind: type[T], data: object, where: str) -> T:
    """Build a dataclass from JSON values.

    Raises TrainingError FIELD_INVALID with the path of the wrong key.
    """
    if not isinstance(data, Mapping):
        raise _wrong(where.rstrip(".") or "the spec", "an object", data)
    hints = typing.get_type_hints(kind)
    for name in data:
        if name not in hints:
            raise failed("FIELD_INVALID", f"{where}{name} is no key of {kind.__name__}.", "Remove the key.")
    values = {name: _value(hints[name], value, f"{where}{name}") for name, value in data.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise failed("FIELD_INVALID", f"{kind.__name__} is not whole: {error}.") from error


def _value(hint: object, value: object, where: str) -> object:
    if isinstance(hint, types.UnionType):
        if value is None:
            return None
        hint = next(option for option in typing.get_args(hint) if option is not types.NoneType)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return from_json(hint, value, f"{where}.")
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    raise _wrong(where, getattr(hint, "__name__", str(hint)), value)


def _wrong(where: str, expected: str, value: object) -> TrainingError:
    return failed("FIELD_INVALID", f"{where} must be {expected}; got {type(value).__name__} {value!r:.80}.")
