"""Packing: whole documents in blocks, apart from each other, prepared once, in a fixed order."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import training
from ingot.worker.problem import TrainingError

pytestmark = pytest.mark.slow


def no_one(done: int, total: int, unit: str) -> None:
    """Nobody wants to know."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return training.write_jsonl(tmp_path_factory.mktemp("dataset"), training.conversations(150))


@pytest.mark.parametrize("conversation", [True, False])
def test_only_a_model_that_learned_chats_has_a_chat_template(tmp_path: Path, conversation: bool) -> None:
    """Whoever writes with the model sees from the template whether a prompt is answered or gone on with."""
    from ingot.worker import packing
    from ingot.worker.tokens import Tokenizer

    rows = training.conversations(60) if conversation else [{"text": f"{n} sheep sleep."} for n in range(300)]
    folder = training.write_jsonl(tmp_path / "d", rows)
    prepared = packing.prepare(training.make_spec(folder, tmp_path, training.tiny()), 64, no_one)
    tokenizer = Tokenizer.from_pretrained(prepared.folder / "tokenizer")
    assert bool(tokenizer.chat_template) is conversation


def test_documents_are_apart_in_a_block_and_only_without_a_mask(dataset: Path, tmp_path: Path) -> None:
    """Position ids that start again keep documents apart; a mask of ones looks harmless and joins them."""
    import torch

    from ingot.worker import model, packing
    from ingot.worker.tokens import Tokenizer

    spec = training.make_spec(dataset, tmp_path, training.tiny())
    prepared = packing.prepare(spec, 64, no_one)
    tokenizer = Tokenizer.from_pretrained(prepared.folder / "tokenizer")
    for architecture in ("llama", "gpt2"):
        made = model.build(training.tiny(architecture=architecture), None, tokenizer, 64)
        assert isinstance(made, model.TokenLoss)
        inner = made.model.eval()
        ids, positions, labels = (
            torch.from_numpy(part) for part in packing.Blocks(prepared, "train").batch(np.arange(1))
        )
        starts = [*torch.nonzero(positions[0] == 0).flatten().tolist(), 64]
        assert len(starts) > 2, "several documents share the block"
        with torch.no_grad():
            packed = inner(input_ids=ids, position_ids=positions).logits
            masked = inner(input_ids=ids, position_ids=positions, attention_mask=torch.ones_like(ids)).logits
            worst_packed = worst_masked = 0.0
            for begin, end in itertools.pairwise(starts):
                alone = inner(input_ids=ids[:, begin:end]).logits
                worst_packed = max(worst_packed, float((packed[:, begin:end] - alone).abs().max()))
                worst_masked = max(worst_masked, float((masked[:, begin:end] - alone).abs().max()))
            full = inner(input_ids=ids, position_ids=positions, labels=labels, num_items_in_batch=1).loss
            places, targets = (torch.from_numpy(part) for part in packing.learned_places(labels.numpy()))
            assert float(made(ids, positions, places, targets, 1)) == pytest.approx(float(full), rel=1e-5)
        assert worst_packed < 1e-5
        assert worst_masked > 1e-3


def test_nothing_is_lost_and_starts_are_not_learned(dataset: Path, tmp_path: Path) -> None:
    from ingot.worker import data, packing
    from ingot.worker.tokens import Tokenizer

    spec = training.make_spec(dataset, tmp_path, training.tiny())
    prepared = packing.prepare(spec, 128, no_one)
    tokenizer = Tokenizer.from_pretrained(prepared.folder / "tokenizer")
    expected: dict[str, list[str]] = {split: [] for split in data.SPLITS}
    sizes = dict.fromkeys(data.SPLITS, 0)
    for record in data.Reader(dataset, spec.config).records():
        answers = [turn.content for turn in record.turns if turn.role == "assistant"]
        expected[data.split_of(record, spec.config)].append("<|end|>".join([*answers, ""]))
        sizes[data.split_of(record, spec.config)] += sum(len(text.encode()) for text in answers)
    for split in data.SPLITS:
        blocks = packing.Blocks(prepared, split)
        every = np.arange(len(blocks))
        ids, positions, labels = blocks.batch(every)
        found = []
        for row in range(len(blocks)):
            edges = [*np.flatnonzero(positions[row] == 0), 128]
            for begin, end in itertools.pairwise(edges):
                learned = labels[row, begin:end][labels[row, begin:end] != -100]
                found += [tokenizer.decode(learned)] if len(learned) else []
        assert sorted(found) == sorted(expected[split])
        assert (labels[positions == 0] == -100).all()
        assert (
            blocks.learned(every) == (labels != -100).sum() == blocks.frequencies(prepared.vocabulary).sum()
        )
        assert blocks.learned_bytes(every) == sizes[split]
        assert (labels[labels != -100] == ids[labels != -100]).all()
    used = packing.Blocks(prepared, "train").batch(np.arange(3))[0] != tokenizer.pad_token_id
    assert used.mean() > 0.9, "blocks are nearly full"


def test_records_longer_than_a_block_are_cut_with_a_warning(tmp_path: Path) -> None:
    from ingot.worker import packing

    text = " ".join(f"word{number}" for number in range(400))
    folder = training.write_jsonl(tmp_path / "d", [{"text": f"{text} {number}"} for number in range(8)])
    config = training.tiny(train_split=1.0, val_split=0.0, test_split=0.0)
    prepared = packing.prepare(training.make_spec(folder, tmp_path / "w", config), 32, no_one)
    assert prepared.warnings == ("8 of 8 records are longer than 32 tokens and were cut.",)
    blocks = packing.Blocks(prepared, "train")
    every = np.arange(len(blocks))
    total = sum(len(f"{text} {number}".encode()) for number in range(8))
    assert blocks.learned_bytes(every) == total
    assert blocks.learned(every) > 0.9 * len(blocks) * 32


def test_equal_preparations_are_made_once(dataset: Path, tmp_path: Path) -> None:
    from ingot.worker import packing

    first = packing.prepare(training.make_spec(dataset, tmp_path, training.tiny()), 32, no_one)
    stamp = (first.folder / "tokens.bin").stat().st_mtime_ns
    again = packing.prepare(
        training.make_spec(dataset, tmp_path, training.tiny(learning_rate=1.0)), 32, no_one
    )
    assert again == first
    assert (again.folder / "tokens.bin").stat().st_mtime_ns == stamp
    for changes, length in (({"seed": 5}, 32), ({"vocab_size": 400}, 32), ({}, 48)):
        spec = training.make_spec(dataset, tmp_path, training.tiny(**changes))
        assert packing.prepare(spec, length, no_one).digest != first.digest


def test_a_preparation_that_was_cut_is_made_again(dataset: Path, tmp_path: Path) -> None:
    from ingot.worker import packing

    spec = training.make_spec(dataset, tmp_path, training.tiny())

    def stop(done: int, total: int, unit: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        packing.prepare(spec, 32, stop)
    assert not list(tmp_path.glob("prep/*/prep.json")) or list(tmp_path.glob("prep/*.part"))
    prepared = packing.prepare(spec, 32, no_one)
    assert json.loads((prepared.folder / "prep.json").read_text())["records"] == 150
    assert not list(tmp_path.glob("prep/*.part"))


def test_no_record_left_to_train_on(tmp_path: Path) -> None:
    from ingot.worker import packing

    folder = training.write_jsonl(tmp_path / "d", [{"text": "one record"}])
    config = training.tiny(train_split=1e-6, val_split=0.5, test_split=0.499999)
    with pytest.raises(TrainingError, match="None of the 1 records is in the training split"):
        packing.prepare(training.make_spec(folder, tmp_path / "w", config), 32, no_one)


@given(st.integers(1, 40), st.integers(0, 5), st.integers(1, 100), st.integers(0, 300))
def test_the_order_is_a_function_of_position(blocks: int, seed: int, count: int, consumed: int) -> None:
    from ingot.worker.packing import Order

    order = Order(blocks, seed)
    whole = order.slice(0, consumed + count)
    assert (Order(blocks, seed).slice(consumed, count) == whole[consumed:]).all()
    for epoch in range(len(whole) // blocks):
        assert sorted(whole[epoch * blocks : (epoch + 1) * blocks]) == list(range(blocks))
