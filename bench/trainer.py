"""Tokens per second of our DeepSpeed step beside a plain PyTorch loop: same model, same batches, one process.

    python bench/trainer.py [--mixed-precision] [--hidden 256 --layers 4 --heads 4 --length 256 --batch 8]

The two take turns, step by step, so a busy neighbour slows both. Printed are the medians, and the ratio of
the fastest steps too, which no neighbour slowed. The plain loop is what one would write without us: autocast
for bf16, fused AdamW, gradient clipping, loss.item().
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # before torch: what `launch` sets for every trainer

import numpy as np
import torch
import transformers
from torch import nn

from ingot.worker import model, optimize, train
from ingot.worker.config import DeepSpeedOptions, TrainingConfig
from ingot.worker.train import Batch

Step = Callable[[list[Batch], int], float]
WARM_UP = 4  # steps


def main() -> None:
    """Measure and print."""
    options = arguments()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    os.environ["DS_ACCELERATOR"] = device.type
    optimize.start_process_group(device.type)
    config = TrainingConfig(
        hidden_size=options.hidden,
        num_layers=options.layers,
        num_heads=options.heads,
        batch_size=options.batch,
        mixed_precision=options.mixed_precision,
        gradient_accumulation_steps=1,
    )
    train.seed(1)
    plain_module = make_model(options).to(device)
    train.seed(1)
    engine = optimize.engine(config, DeepSpeedOptions(zero_stage=options.zero_stage), make_model(options))
    batches = [make_batch(options, number, device) for number in range(8)]
    learned = options.batch * (options.length - 1)

    def ours(made: list[Batch], count: int) -> float:
        return train.one_step(engine, made, count, config.learning_rate)[0]

    plain = plain_step(config, plain_module, device)
    mine: list[float] = []
    theirs: list[float] = []
    for number in range(options.steps + WARM_UP):
        sides = [(mine, ours), (theirs, plain)]
        for times, step in sides if number % 2 else reversed(sides):
            times.append(measure(step, batches[number % len(batches)], learned))
    tokens = options.batch * options.length
    own, other = (statistics.median(times[WARM_UP:]) for times in (mine, theirs))
    precision = "bf16" if options.mixed_precision else "fp32"
    print(
        f"{model.parameters(plain_module):,} parameters, {precision}, ZeRO-{options.zero_stage}, {device}, "
        f"{torch.get_num_threads()} threads, batch {options.batch} x {options.length}, {options.steps} steps"
    )
    print(f"ours   {tokens / own:10,.0f} tokens/s")
    print(f"plain  {tokens / other:10,.0f} tokens/s")
    fastest = min(theirs[WARM_UP:]) / min(mine[WARM_UP:])
    print(f"ratio  {other / own:10.3f}   ({fastest:.3f} of the fastest steps)")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    sizes = (("hidden", 256), ("layers", 4), ("heads", 4), ("vocab", 4096), ("length", 256), ("batch", 8))
    for name, value in (*sizes, ("steps", 40), ("zero-stage", 1)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--mixed-precision", action="store_true")
    return parser.parse_args()


def make_model(options: argparse.Namespace) -> model.TokenLoss:
    """Make a Llama block of the asked size."""
    shape = transformers.LlamaConfig(
        vocab_size=options.vocab,
        hidden_size=options.hidden,
        intermediate_size=-(-options.hidden * 8 // 3 // 64) * 64,
        num_hidden_layers=options.layers,
        num_attention_heads=options.heads,
        max_position_embeddings=options.length,
        tie_word_embeddings=True,
        use_cache=False,
    )
    return model.TokenLoss(transformers.LlamaForCausalLM(shape))


def make_batch(options: argparse.Namespace, number: int, device: torch.device) -> Batch:
    """Make one batch of whole documents in which every token is learned."""
    draw = torch.Generator().manual_seed(number)
    ids = torch.randint(options.vocab, (options.batch, options.length), generator=draw).numpy()
    positions = np.broadcast_to(np.arange(options.length), ids.shape).copy()
    return train.to_device((ids, positions, ids), device)


def plain_step(config: TrainingConfig, module: nn.Module, device: torch.device) -> Step:
    """Return one step of a loop without DeepSpeed."""
    weights = list(module.parameters())
    optimizer = torch.optim.AdamW(
        weights, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )

    def step(batches: list[Batch], learned: int) -> float:
        total = torch.zeros((), device=device)
        for batch in batches:
            with torch.autocast(device.type, torch.bfloat16, enabled=config.mixed_precision):
                loss = module(*batch, learned)
            loss.backward()
            total += loss.detach()
        nn.utils.clip_grad_norm_(weights, config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return total.item()

    return step


def measure(step: Step, batch: Batch, learned: int) -> float:
    """Return the seconds of one step."""
    began = time.perf_counter()
    step([batch], learned)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
