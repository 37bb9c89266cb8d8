"""The flight plan of a training: what it will need, worked out from its config and the sizes of its inputs.

Everything here is an estimate and says so by being round; its use is to refuse or to warn before hours are
spent. Sources of the numbers, measured on two CPU cores with the engine and optimiser the trainer uses, or
read in the model code of transformers:

- parameters of a Llama block: 4 h² for attention (as many key heads as query heads), 3 h i for the gated
  MLP with i = 8 h / 3 rounded up to 64, 2 h for its two norms; plus one tied embedding V h and a last norm
  h.
- parameters of a GPT-2 block: 12 h² + 13 h; plus embeddings V h (tied) and positions S h, and a last norm 2
  h.
- memory per parameter under ZeRO 1: fp32 4 weights + 4 gradients + 4 master + 8 moments = 20 bytes; bf16 2
  + 2 + 12 = 16.
- a checkpoint: 16 bytes per parameter in fp32, 14 in bf16; the exported model 4.
- activations: 34 values per token, hidden unit and layer (Korthikanti et al. 2022, without the attention
  matrix, which fused attention does not keep), 2 with gradient checkpointing; logits and their gradient in
  fp32.
- floating point operations per token: 6 N + 12 · layers · hidden · sequence.
- speed of a CPU core: 75 GFLOP/s in fp32, 140 in bf16. GPUs were not measured, so no duration is told for
  them.
- text to tokens: 4 bytes a token, between English prose (4.5) and Persian or code under a small vocabulary
  (3).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ingot.server.core.errors import Problem, Reason
from ingot.server.core.training import TrainingPlan
from ingot.server.core.training_config import SHAPE_KEYS, DeepSpeedConfig, TrainingConfig, wants_gpu
from ingot.server.core.workers import Worker

BYTES_PER_TOKEN = 4.0
BASE_MEMORY = 400 * 1024 * 1024  # a process with the engine loaded, before any model
_CPU_FLOPS = {False: 75e9, True: 140e9}  # per core; by mixed precision
_ACTIVATIONS, _RECOMPUTED = 34, 2


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a plan is made from: a filled config, sizes in bytes (base 0 from scratch), and workers."""

    config: TrainingConfig
    deepspeed: DeepSpeedConfig
    dataset_bytes: int
    base_bytes: int
    workers: Sequence[Worker]  # online now


@dataclass(frozen=True, slots=True)
class _Shape:
    hidden: int
    layers: int
    vocabulary: int
    sequence: int
    parameters: int


def make(inputs: Inputs, now: float) -> TrainingPlan:
    """Work out the plan; `now` in epoch seconds dates its problems."""
    config = inputs.config
    shape = _shape(inputs)
    batch = (config.batch_size or 1) * (config.gradient_accumulation_steps or 1)
    steps, tokens = _steps(config, inputs.dataset_bytes, batch * shape.sequence)
    memory = _memory(config, inputs.deepspeed, shape)
    disk = _disk(config, shape, inputs)
    able = _able(config, inputs.workers)
    return TrainingPlan(
        steps=steps,
        tokens=tokens,
        parameters=shape.parameters,
        memory_bytes=memory,
        disk_bytes=disk,
        duration=_duration(config, shape, tokens, able),
        global_batch_size=batch,
        warnings=tuple(_warnings(inputs, steps)),
        problems=tuple(_problems(config, able, memory, disk, now)),
        missing_software=_missing(inputs.workers),
    )


def parameters(config: TrainingConfig) -> int:
    """Return about how many numbers a model from scratch has, by the formulas above, its embedding tied."""
    hidden, layers = config.hidden_size or 0, config.num_layers or 0
    vocabulary = config.vocab_size or 0
    if config.architecture == "gpt2":
        positions = config.max_sequence_length or 0
        return layers * (12 * hidden**2 + 13 * hidden) + (vocabulary + positions) * hidden + 2 * hidden
    inner = math.ceil(hidden * 8 / 3 / 64) * 64
    return layers * (4 * hidden**2 + 3 * hidden * inner + 2 * hidden) + vocabulary * hidden + hidden


def _shape(inputs: Inputs) -> _Shape:
    """Return the shape that will be trained; that of a base model is guessed from its size in fp32."""
    config = inputs.config
    sequence = config.max_sequence_length or 1024
    if not inputs.base_bytes:
        hidden, layers = config.hidden_size or 0, config.num_layers or 0
        return _Shape(hidden, layers, config.vocab_size or 0, sequence, parameters(config))
    count = inputs.base_bytes // 4
    # Common shapes have hidden = 64 · layers; then N numbers are about 12 · layers · hidden².
    layers = max(1, round((count / (12 * 64**2)) ** (1 / 3)))
    return _Shape(64 * layers, layers, config.vocab_size or 32_000, sequence, count)


def _steps(config: TrainingConfig, dataset_bytes: int, tokens_per_step: int) -> tuple[int, int]:
    """Return about how many optimiser steps and tokens it will be."""
    per_epoch = dataset_bytes / BYTES_PER_TOKEN * (config.train_split or 0.0)
    steps = math.ceil((config.epochs or 1) * max(1.0, per_epoch / tokens_per_step))
    if config.max_steps:
        steps = min(steps, config.max_steps)
    return steps, steps * tokens_per_step


def _memory(config: TrainingConfig, deepspeed: DeepSpeedConfig, shape: _Shape) -> int:
    """Return bytes on the device; with offload master weights and moments lie in host memory."""
    per_number = (16 if config.mixed_precision else 20) - (12 if deepspeed.offload == "optimizer" else 0)
    width = 2 if config.mixed_precision else 4
    kept = _RECOMPUTED if config.gradient_checkpointing else _ACTIVATIONS
    tokens = (config.batch_size or 1) * shape.sequence
    activations = tokens * shape.hidden * shape.layers * kept * width
    logits = tokens * shape.vocabulary * 4 * 2
    return BASE_MEMORY + shape.parameters * per_number + activations + logits


def _disk(config: TrainingConfig, shape: _Shape, inputs: Inputs) -> int:
    checkpoint = shape.parameters * (14 if config.mixed_precision else 16)
    copies = (config.save_total_limit or 1) + 3  # the best, the pause, and the one that is being written
    prepared = int(inputs.dataset_bytes * (1 + 2 / BYTES_PER_TOKEN))  # as it came, and two bytes a token
    return checkpoint * copies + shape.parameters * 4 + prepared + inputs.base_bytes


def _able(config: TrainingConfig, workers: Sequence[Worker]) -> list[Worker]:
    """Return the workers whose hardware and software can take the job."""
    return [each for each in workers if not each.facts.missing_software and suits(config, each)]


def suits(config: TrainingConfig, worker: Worker) -> bool:
    """Return whether a worker has the device that a config asks for; every worker has a CPU."""
    return worker.has_gpu or wants_gpu(config) is not True


def _duration(config: TrainingConfig, shape: _Shape, tokens: int, able: Sequence[Worker]) -> float | None:
    """Return seconds on the best of the workers that would use its CPU; None when a GPU would do it."""
    on_cpu = [each for each in able if wants_gpu(config) is False or not each.has_gpu]
    cores = max(
        (sum(device.count for device in each.facts.devices if device.kind == "cpu") for each in on_cpu),
        default=0,
    )
    if not cores or len(on_cpu) < len(able):
        return None
    per_token = 6 * shape.parameters + 12 * shape.layers * shape.hidden * shape.sequence
    seconds = tokens * per_token / (cores * _CPU_FLOPS[bool(config.mixed_precision)])
    return min(seconds, config.max_time) if config.max_time else seconds


def _warnings(inputs: Inputs, steps: int) -> list[str]:
    config = inputs.config
    above = f"is above the about {steps} steps of this training"
    warmup = f"warmup_steps {config.warmup_steps} {above}: it is clamped to them."
    save = f"save_steps {config.save_steps} {above}: a checkpoint is saved at the end all the same."
    evaluation = f"eval_steps {config.eval_steps} {above}: it is evaluated at the end only."
    shape = "The shape is that of the base model: the worker refuses a shape key with another value."
    shaped = any(getattr(config, key) is not None for key in SHAPE_KEYS)
    rows = (
        ((config.warmup_steps or 0) > steps, warmup),
        ((config.save_steps or 0) > steps, save),
        ((config.eval_steps or 0) > steps and bool(config.val_split), evaluation),
        (bool(inputs.base_bytes) and shaped, shape),
        (not inputs.workers, "No worker is online: the job waits until one is."),
    )
    return [text for applies, text in rows if applies]


def _problems(
    config: TrainingConfig, able: Sequence[Worker], memory: int, disk: int, now: float
) -> list[Problem]:
    """Return why none of the able workers could do it; nothing is known while none is online."""
    if not able:
        return []
    found: list[Problem] = []
    on_gpu = wants_gpu(config) is True
    largest = max(_memory_of(each, on_gpu=on_gpu or each.has_gpu) for each in able)
    if largest and memory > largest:
        found.append(_too_large("memory", memory, largest, Reason.OUT_OF_MEMORY, now))
    free = max(each.facts.free_disk_bytes for each in able)
    if free and disk > free:
        found.append(_too_large("disk", disk, free, Reason.DISK_LOW, now))
    return found


def _memory_of(worker: Worker, *, on_gpu: bool) -> int:
    kind = "cuda" if on_gpu and worker.has_gpu else "cpu"
    return max((each.memory_bytes for each in worker.facts.devices if each.kind == kind), default=0)


def _too_large(what: str, needed: int, largest: int, reason: Reason, now: float) -> Problem:
    gib = 1024**3
    has = f"the largest online worker has {largest / gib:.1f} GiB"
    return Problem(
        reason,
        f"It needs about {needed / gib:.1f} GiB of {what}; {has}.",
        {"needed_bytes": str(needed), "largest_bytes": str(largest)},
        "Make batch_size or the model smaller, or keep fewer checkpoints (save_total_limit).",
        now,
    )


def _missing(workers: Sequence[Worker]) -> tuple[str, ...]:
    """Return what every online worker lacks; nothing when one of them is complete."""
    if not workers:
        return ()
    lacking = [set(each.facts.missing_software) for each in workers]
    return tuple(sorted(set.intersection(*lacking)))
