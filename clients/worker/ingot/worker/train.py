"""Train: from a spec to a model folder, read from top to bottom. Arguments → set-up → loop → result.

One `step` is one optimiser step over batch_size * gradient_accumulation_steps blocks. Things happen at its
edge only, in this order: report, evaluate, save, obey (pause, cancel, save now). Everything that decides the
next step is in the checkpoint or is a function of (config, data, position), so an attempt that was killed
anywhere goes on bit by bit. The process around this (signals, outcome, failures) is `attempt`.
"""

import math
import os
import random
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import deepspeed
import numpy as np
import psutil
import torch
from torch import Tensor

from ingot.worker import checkpoint, folders, model, optimize, packing, progress
from ingot.worker import export as exporting
from ingot.worker.checkpoint import Position
from ingot.worker.config import TrainerSpec, TrainingConfig, problems, wants_gpu
from ingot.worker.launch import Control
from ingot.worker.packing import Blocks, Order
from ingot.worker.problem import failed
from ingot.worker.progress import EventWriter, Metrics, Outcome, State
from ingot.worker.tokens import Tokenizer

SMOOTHING = 0.9
SKIPS_UNTIL_DIVERGED = 5
PROGRESS_SECONDS = 0.25  # between progress events that no logging step asks for
EVAL_TOKENS = 1 << 16  # of the validation split at each eval_steps
FINAL_EVAL_TOKENS = 1 << 17  # of the validation and the test split at the end
WINDOW = 50  # steps behind the median step time

Batch = tuple[Tensor, Tensor, Tensor, Tensor]  # ids and positions (batch, length), places and targets (n)


class Stopped(Exception):
    """Pause or cancel arrived before the first step, or a cancel inside an evaluation."""


def train(spec: TrainerSpec, events: EventWriter, control: Control) -> Outcome:
    """Run one attempt to its end. Raises TrainingError for every failure that has a name."""
    # --- arguments: every key acts or is refused here, before anything is read
    config = spec.config
    refuse(spec)
    device = choose_device(config)
    optimize.start_process_group(device)
    seed(config.seed)

    # --- data: from the dataset folder to blocks of tokens
    events.send(State("preparing"))
    base = model.base_config(spec.base_folder, config) if spec.base_folder else None
    length = model.block_length(config, base)

    def tell(done: int, total: int, unit: str) -> None:
        events.send(progress.Preparation(done, total, unit))
        if control.cancel or control.pause:
            raise Stopped

    prepared = packing.prepare(spec, length, tell)
    for warning in prepared.warnings:
        events.log(warning, "warning")
    train_blocks, val_blocks, test_blocks = (Blocks(prepared, split) for split in ("train", "val", "test"))
    order = Order(len(train_blocks), config.seed)

    # --- plan: how many steps, from what learning rate
    per_step = config.batch_size * config.gradient_accumulation_steps
    total = plan_steps(config, len(train_blocks), per_step)
    warmup = clamp_warmup(config, total, events)

    # --- model and engine
    events.send(State("loading"))
    tokenizer = Tokenizer.from_pretrained(prepared.folder / "tokenizer")
    model.require_memory(config, spec.base_folder, tokenizer, length)
    seed(config.seed)  # so that initial weights depend on the seed only, not on what came before
    loss_module = model.build(config, spec.base_folder, tokenizer, length)
    parameters = model.parameters(loss_module)
    engine = optimize.engine(config, spec.deepspeed, loss_module)
    facts = checkpoint.facts(spec, prepared.digest, length)
    position = Position()
    checkpoints = spec.work_folder / "ckpt"
    if found := checkpoint.find(spec):
        position, reasons = checkpoint.load(engine, found, facts)
        claim = "bitwise" if not reasons else "same order, rounding may differ: " + "; ".join(reasons)
        events.log(f"Resumed from {found.name} ({claim}).")
        events.send(progress.Resumed(position.step, not reasons, "; ".join(reasons)))
    else:
        checkpoints.mkdir(parents=True, exist_ok=True)
        folders.require_space(checkpoints, checkpoint.needed_bytes(parameters))
    start_line(events, spec, parameters, len(train_blocks), total, per_step * length, device)
    if position.step == 0:
        unigram = unigram_loss(train_blocks, val_blocks, prepared.vocabulary)
        events.send(Metrics(0, {"data/unigram_loss": unigram} if unigram else {}))

    def save(kind: str, metrics: Mapping[str, float]) -> None:
        """Save unless this very step is saved already, report it, and let old ones go."""
        events.send(State("saving"))
        newest = folders.latest(checkpoints)
        if newest is None or folders.step_of(newest) != position.step:
            loss = metrics.get("val/loss")
            if loss is not None and (position.best is None or loss < position.best):
                position.best, position.best_step = loss, position.step
                kind = "best" if kind == "periodic" else kind
            newest = checkpoint.save(engine, checkpoints, position, facts, parameters)
        epoch = position.consumed / len(train_blocks)
        size = folders.size_of(newest)
        events.send(progress.Checkpoint(position.step, str(newest), kind, epoch, size, metrics))
        best = {folders.step_name(position.best_step)} if position.best_step else set()
        folders.retain(checkpoints, config.save_total_limit, best)

    # --- loop
    meter = Meter(total, config.logging_steps)
    batches = Prefetch(order, train_blocks, config, engine.device)
    began = time.monotonic() - position.seconds
    finished_early = False
    events.send(State("training"))
    while position.step < total and not finished_early:
        step_began = time.monotonic()
        micro_batches, learned = batches.take(position.consumed)
        waited = time.monotonic() - step_began
        rate = optimize.learning_rate(config, position.step + 1 - position.skipped, total, warmup)
        loss_value, grad_norm = one_step(engine, micro_batches, learned, rate)
        position.step += 1
        position.consumed += per_step
        position.tokens += per_step * length
        position.seconds = time.monotonic() - began
        note_skip(position, engine.skipped_steps, loss_value)
        meter.step(
            events,
            position,
            loss_value,
            grad_norm,
            rate,
            time.monotonic() - step_began,
            waited,
            len(train_blocks),
        )
        if position.skipped_in_a_row >= SKIPS_UNTIL_DIVERGED:
            newest = folders.latest(checkpoints)
            message = f"{SKIPS_UNTIL_DIVERGED} steps in a row gave no finite gradient; training has diverged."
            raise failed(
                "DIVERGED",
                message,
                "Lower learning_rate or max_grad_norm, then start again or from the last checkpoint.",
                step=position.step,
                loss=loss_value,
                last_checkpoint=newest.name if newest else "none",
            )
        finished_early = bool(config.max_time) and position.seconds >= config.max_time
        last = position.step == total or finished_early

        metrics: dict[str, float] = {}
        if not last and position.step % config.eval_steps == 0 and len(val_blocks):
            events.send(State("evaluating"))
            with meter.aside():
                metrics = evaluate(engine, val_blocks, config, EVAL_TOKENS, control, "val")
            events.send(Metrics(position.step, metrics))
        if not last and (position.step % config.save_steps == 0 or control.save):
            control.save = False
            with meter.aside():
                save("periodic", metrics)
        if control.cancel:
            raise Stopped
        if control.pause and not last:
            save("pause", metrics)
            return Outcome("paused", position.step)
        if meter.left_phase:
            meter.left_phase = False
            events.send(State("training"))
    batches.close()
    if finished_early:
        events.log(
            f"max_time of {config.max_time:g} s is used up; training ends at step {position.step} of {total}."
        )

    # --- result: figures of the held-out splits, the last checkpoint, the model folder
    figures: dict[str, float] = {}
    for split, blocks in (("val", val_blocks), ("test", test_blocks)):
        if len(blocks):
            events.send(State("evaluating", split))
            figures |= evaluate(engine, blocks, config, FINAL_EVAL_TOKENS, control, split)
    if meter.last_loss is not None:
        figures["train/loss"] = meter.last_loss
    events.send(Metrics(position.step, figures))
    save("final", figures)
    events.send(State("exporting"))
    card = {"parameters": f"{parameters:,}", "tokens": f"{position.tokens:,}", "device": device}
    folder = exporting.export(engine, tokenizer, spec, position.step, figures, card)
    events.send(progress.Result(str(folder), position.step, parameters, figures))
    engine.destroy()
    return Outcome("succeeded", position.step)


def one_step(
    engine: deepspeed.DeepSpeedEngine, batches: Sequence[Batch], learned: int, rate: float
) -> tuple[float, float]:
    """Take one optimiser step over micro-batches of `learned` tokens; return loss and gradient norm."""
    for group in engine.optimizer.param_groups:
        group["lr"] = rate
    total = torch.zeros((), device=engine.device)
    for batch in batches:
        loss = engine(*batch, learned)
        engine.backward(loss, scale_wrt_gas=False)  # it is divided by the whole step's tokens already
        engine.step()
        total += loss.detach()
    return total.item(), float(engine.get_global_grad_norm())


def refuse(spec: TrainerSpec) -> None:
    """Raise TrainingError for the first broken rule of the config, naming all of them."""
    broken = problems(spec.config, spec.deepspeed)
    if spec.ranks != 1:
        raise failed("FIELD_INVALID", f"ranks is {spec.ranks}; this trainer runs as one process.", "Use 1.")
    if broken:
        message = " ".join(problem.message for problem in broken)
        raise failed(broken[0].reason, message, "Correct the config.", field=broken[0].field)


def choose_device(config: TrainingConfig) -> str:
    """Return cpu or cuda and tell DeepSpeed.

    Raises TrainingError ENVIRONMENT_MISSING when the GPU asked for is not here.
    """
    wanted, present = wants_gpu(config), torch.cuda.is_available()
    if wanted and not present:
        message = "The job asks for a GPU, and this worker sees none that torch can use."
        next_step = "Run it on a worker with a GPU, or set use_gpu to false."
        raise failed("ENVIRONMENT_MISSING", message, next_step, torch=torch.__version__)
    device = "cuda" if present and wanted is not False else "cpu"
    os.environ["DS_ACCELERATOR"] = device
    return device


def seed(number: int) -> None:
    """Seed every generator."""
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def plan_steps(config: TrainingConfig, blocks: int, per_step: int) -> int:
    """Return the steps of the run.

    The last batch of the last epoch is filled up from the order that would follow.
    """
    total = math.ceil(config.epochs * blocks / per_step)
    return min(total, config.max_steps) if config.max_steps else total


def clamp_warmup(config: TrainingConfig, total: int, events: EventWriter) -> int:
    """Return the warm-up steps, shortened with a warning when they would not end within the run."""
    if config.warmup_steps < total:
        return config.warmup_steps
    shorter = total // 10
    if config.warmup_steps:
        text = f"warmup_steps {config.warmup_steps} is not below the run's {total} steps; {shorter} are used."
        events.log(text, "warning")
    return shorter


def start_line(
    events: EventWriter, spec: TrainerSpec, parameters: int, blocks: int, total: int, tokens: int, device: str
) -> None:
    """Log in one line what is about to run."""
    precision = "bf16" if spec.config.mixed_precision else "fp32"
    events.log(
        f"{parameters:,} parameters, {precision}, ZeRO-{spec.deepspeed.zero_stage} on {device}; "
        f"{blocks} blocks to train on, {tokens:,} tokens per step, {total} steps."
    )


def note_skip(position: Position, skipped: int, loss: float) -> None:
    """Count a step the engine dropped, or that gave no finite loss."""
    if skipped > position.skipped or not math.isfinite(loss):
        position.skipped_in_a_row += 1
    else:
        position.skipped_in_a_row = 0
        position.smoothed = (
            loss if position.smoothed is None else SMOOTHING * position.smoothed + (1 - SMOOTHING) * loss
        )
    position.skipped = skipped


def evaluate(
    engine: deepspeed.DeepSpeedEngine,
    blocks: Blocks,
    config: TrainingConfig,
    limit: int,
    control: Control,
    split: str,
) -> dict[str, float]:
    """Return loss, perplexity and bits per byte over the first blocks of a split, at most `limit` tokens."""
    engine.eval()
    nats = 0.0
    learned = size = 0
    with torch.no_grad():
        for which in eval_batches(blocks, config.batch_size, limit):
            batch = to_device(blocks.batch(which), engine.device)
            nats += float(engine(*batch, 1).item())
            learned += blocks.learned(which)
            size += blocks.learned_bytes(which)
            if control.cancel:
                raise Stopped
    engine.train()
    loss = nats / max(1, learned)
    figures = {f"{split}/loss": loss, f"{split}/perplexity": math.exp(min(loss, 700.0))}
    if size:
        figures[f"{split}/bits_per_byte"] = nats / math.log(2) / size
    return figures


def eval_batches(blocks: Blocks, batch: int, limit: int) -> Iterator[packing.Ints]:
    """Yield the blocks an evaluation reads: always the same ones for the same split and limit."""
    length = blocks.batch(np.zeros(1, dtype=np.int64))[0].shape[1]
    count = min(len(blocks), max(1, limit // length))
    for begin in range(0, count, batch):
        yield np.arange(begin, min(count, begin + batch))


def unigram_loss(train_blocks: Blocks, val_blocks: Blocks, vocabulary: int) -> float:
    """Return the held-out loss of a model that knows token frequencies and nothing else.

    0 without a held-out split.
    """
    if not len(val_blocks):
        return 0.0
    seen, held = train_blocks.frequencies(vocabulary), val_blocks.frequencies(vocabulary)
    share = (seen + 1) / (seen.sum() + vocabulary)
    return float(-(held * np.log(share)).sum() / max(1, held.sum()))


def to_device(arrays: tuple[packing.Ints, packing.Ints, packing.Ints], device: torch.device) -> Batch:
    """Make the tensors of one batch from its ids, positions and labels, where the model is."""
    ids, positions, labels = arrays
    tensors = [torch.from_numpy(array) for array in (ids, positions, *packing.learned_places(labels))]
    if device.type == "cuda":
        tensors = [tensor.pin_memory().to(device, non_blocking=True) for tensor in tensors]
    return tensors[0], tensors[1], tensors[2], tensors[3]


class Prefetch:
    """Builds the batches of the next step on a thread while this one computes."""

    def __init__(self, order: Order, blocks: Blocks, config: TrainingConfig, device: torch.device) -> None:
        self._order, self._blocks, self._device = order, blocks, device
        self._batch = config.batch_size
        self._count = config.batch_size * config.gradient_accumulation_steps
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
        self._at = -1

    def take(self, consumed: int) -> tuple[list[Batch], int]:
        """Return the micro-batches of the step at a position, and its learned tokens; start on the next."""
        if consumed != self._at:
            self._next = self._thread.submit(self._make, consumed)
        made = self._next.result()
        self._at = consumed + self._count
        self._next = self._thread.submit(self._make, self._at)
        return made

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    def _make(self, consumed: int) -> tuple[list[Batch], int]:
        which = self._order.slice(consumed, self._count)
        batches = [
            to_device(self._blocks.batch(which[at : at + self._batch]), self._device)
            for at in range(0, self._count, self._batch)
        ]
        return batches, self._blocks.learned(which)


class Meter:
    """Turns steps into progress events: rates, medians, and the time that is left."""

    def __init__(self, total: int, logging_steps: int) -> None:
        self._total, self._logging_steps = total, logging_steps
        self._steps: deque[float] = deque(maxlen=WINDOW)
        self._sent = self._window = time.monotonic()
        self._tokens: int | None = None
        self._elsewhere = 0.0  # seconds of evaluations and saves in this window
        self._process = psutil.Process()
        self.last_loss: float | None = None
        self.left_phase = False

    def step(
        self,
        events: EventWriter,
        position: Position,
        loss: float,
        grad_norm: float,
        rate: float,
        seconds: float,
        waited: float,
        blocks: int,
    ) -> None:
        """Take in one step; send its progress when a logging step or the clock says so."""
        self._steps.append(seconds)
        self.last_loss = loss
        now = time.monotonic()
        logging = position.step % self._logging_steps == 0 or position.step == self._total
        if logging:
            values = {"train/loss": loss, "train/learning_rate": rate, "train/grad_norm": grad_norm}
            events.send(Metrics(position.step, values))
        if not logging and now - self._sent < PROGRESS_SECONDS:
            return
        median = statistics.median(self._steps)
        before = self._tokens if self._tokens is not None else position.tokens
        span = now - self._window - self._elsewhere
        events.send(
            progress.Progress(
                step=position.step,
                total=self._total,
                epoch=position.consumed / blocks,
                loss=loss,
                smoothed_loss=position.smoothed if position.smoothed is not None else loss,
                grad_norm=grad_norm,
                learning_rate=rate,
                tokens=position.tokens,
                tokens_per_second=(position.tokens - before) / span if before < position.tokens else 0.0,
                step_seconds=median,
                eta_seconds=median * (self._total - position.step),
                memory_bytes=self._process.memory_info().rss,
                device_memory_bytes=torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0,
                skipped_steps=position.skipped,
                data_wait=waited / seconds if seconds else 0.0,
            )
        )
        self._sent = self._window = now
        self._tokens, self._elsewhere = position.tokens, 0.0

    def aside(self) -> "Aside":
        """Keep the time of an evaluation or a save out of the tokens per second."""
        return Aside(self.add_elsewhere)

    def add_elsewhere(self, seconds: float) -> None:
        """Count seconds that were no training."""
        self._elsewhere += seconds
        self.left_phase = True


class Aside:
    """Times a block of code."""

    def __init__(self, done: Callable[[float], None]) -> None:
        self._done = done

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *error: object) -> None:
        self._done(time.monotonic() - self._began)
