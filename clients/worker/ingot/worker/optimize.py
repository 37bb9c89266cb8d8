"""The engine that trains: optimiser, learning rate, and a DeepSpeedEngine set up for any of them.

Always ZeRO 1 or more: it drops a step whose gradient is not finite instead of poisoning the weights. The
optimisers are torch's own, so nothing is compiled at start, and DeepSpeed's shared-memory op, which would be
compiled for the CPU and serves inference only, is switched off first. Under ZeRO the optimiser sees flat
partitions of the weights: Adafactor then keeps a full second moment instead of a factored one, which costs
its memory saving and nothing else.
"""

import math
import os

import deepspeed
import torch
import torch.distributed
from torch import nn
from torch.distributed import HashStore  # type: ignore[attr-defined]

from ingot.worker import model
from ingot.worker.config import DeepSpeedOptions, TrainingConfig

LARGEST_BUCKET = 50_000_000  # elements; DeepSpeed's own default is a 2 GB buffer whatever the model
MOMENTUM = 0.9


def learning_rate(config: TrainingConfig, step: int, total: int, warmup: int) -> float:
    """Return the learning rate of a step (from 1).

    Linear warm-up, then the schedule's shape, 0 after the last.
    """
    if step <= warmup:
        return config.learning_rate * (step / warmup)
    peak = max(1, warmup)  # the step that has the full rate
    left = max(0.0, (total + 1 - step) / (total + 1 - peak)) if total >= peak else 1.0
    match config.scheduler:
        case "linear":
            share = left
        case "cosine":
            share = 0.5 * (1 - math.cos(math.pi * left))
        case "inverse_sqrt":
            share = math.sqrt(peak / step)
        case _:
            share = 1.0
    return config.learning_rate * share


def optimizer(config: TrainingConfig, module: nn.Module) -> torch.optim.Optimizer:
    """Make the optimiser; weight decay is for matrices, not for norms and biases."""
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    groups = [
        {
            "params": [weight for weight in weights if _dimensions(weight) > 1],
            "weight_decay": config.weight_decay,
        },
        {"params": [weight for weight in weights if _dimensions(weight) <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    rate = config.learning_rate
    match config.optimizer:
        case "adamw":
            return torch.optim.AdamW(groups, lr=rate, fused=True)
        case "adam":
            return torch.optim.Adam(groups, lr=rate, fused=True)
        case "sgd":
            return torch.optim.SGD(groups, lr=rate, momentum=MOMENTUM)
        case "adafactor":
            return torch.optim.Adafactor(groups, lr=rate)
        case other:
            raise ValueError(f"no optimiser {other}")


def engine(config: TrainingConfig, options: DeepSpeedOptions, module: nn.Module) -> deepspeed.DeepSpeedEngine:
    """Wrap a module in a DeepSpeedEngine for this process's rank. The process group must stand."""
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers() if buffer.is_floating_point()}
    found, *_ = deepspeed.initialize(
        model=module,
        optimizer=optimizer(config, module),
        model_parameters=[weight for weight in module.parameters() if weight.requires_grad],
        config=settings(config, options, model.parameters(module)),
    )
    assert isinstance(found, deepspeed.DeepSpeedEngine)
    # A bf16 engine rounds buffers too; rotary frequencies must stay fp32, as a loaded model has them.
    for name, buffer in found.module.named_buffers():
        if name in buffers:
            buffer.data = buffers[name].to(buffer.device)
    return found


def start_process_group(device: str) -> None:
    """Stand up the process group of one rank, in memory.

    No port to lose, nothing to wait for, nothing to compile.
    """
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    os.environ.setdefault("LOCAL_RANK", "0")  # the launcher sets it; DeepSpeed asks even a single process
    backend = "nccl" if device == "cuda" else "gloo"
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group(backend, store=HashStore(), rank=0, world_size=1)
    deepspeed.init_distributed(dist_backend=backend, verbose=False)


def settings(config: TrainingConfig, options: DeepSpeedOptions, parameters: int) -> dict[str, object]:
    """Return DeepSpeed's own configuration."""
    bucket = min(max(parameters, 1024), LARGEST_BUCKET)
    gpu = os.environ.get("DS_ACCELERATOR") == "cuda"
    zero: dict[str, object] = {
        "stage": options.zero_stage,
        "reduce_bucket_size": options.reduce_bucket_size or bucket,
        "allgather_bucket_size": bucket,
        "contiguous_gradients": gpu,  # on a CPU one more copy
        "overlap_comm": gpu,
    }
    if options.zero_stage == 3:
        zero["stage3_gather_16bit_weights_on_model_save"] = True
        del zero["allgather_bucket_size"]
        zero["stage3_prefetch_bucket_size"] = bucket
    if options.offload_optimizer:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    return {
        "train_micro_batch_size_per_gpu": config.batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation_steps,
        "gradient_clipping": config.max_grad_norm,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,  # DeepSpeed's own would be compiled
        "bf16": {"enabled": config.mixed_precision},
        "steps_per_print": 1_000_000_000,
        "wall_clock_breakdown": False,
    }


def _dimensions(weight: nn.Parameter) -> int:
    shape = getattr(weight, "ds_shape", weight.shape)
    return len(shape)
