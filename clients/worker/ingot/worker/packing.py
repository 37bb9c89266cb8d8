"""Prepare a dataset for training: encode, pack whole documents into blocks, keep the result on disk by
digest.

    WORK/prep/<digest>/ tokens.bin  blocks × length, uint16 (uint32 from a vocabulary of 65,536)
                        flags.bin   one byte per token: 1 = learned, 2 = first token of a document
                        index.npy   one row per block: split, learned tokens, bytes of learned text
                        prep.json   shape, counts, warnings          tokenizer/  the tokenizer's files

Documents go whole into the fullest open block they fit (best fit); longer ones are cut. The model sees
position ids that start again at 0 for each document and no attention mask: that, and only that, keeps
documents of a block apart. The digest covers the data, the tokenizer's inputs and every key that matters, so
an equal preparation is read, not made.
"""

import bisect
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from ingot.worker import data, folders, tokens
from ingot.worker.config import ModelShape, TrainerSpec, TrainingConfig
from ingot.worker.problem import failed

FORMAT = 1
LEARNED, START = 1, 2
OPEN_BLOCKS = 64
ROUND = 256  # places with loss per batch, see learned_places
BATCH = 4096  # records encoded at once
TOKENIZER_BYTES = 32 * 1024 * 1024  # of training text; more changes a vocabulary little and costs time
KEPT_IN_MEMORY = 256 * 1024 * 1024  # datasets up to here are read once, larger ones twice
KEYS = [
    "template",
    "text_field",
    "prompt_field",
    "answer_field",
    "normalise_persian",
    "train_split",
    "val_split",
    "test_split",
    "vocab_size",
    "max_sequence_length",
    "data_augmentation",
    "seed",
]

Ints = npt.NDArray[np.int64]
Tell = Callable[[int, int, str], None]  # done, total, unit


@dataclass(frozen=True, slots=True)
class Prepared:
    """A finished preparation."""

    folder: Path
    digest: str
    length: int
    vocabulary: int
    records: int
    warnings: tuple[str, ...]


def prepare(spec: TrainerSpec, length: int, tell: Tell) -> Prepared:
    """Make or find the preparation of a spec's dataset. Raises TrainingError naming the first bad row."""
    reader = data.Reader(spec.dataset_folder, spec.config)
    digest = _digest(spec, reader.files, length)
    root = spec.work_folder / "prep"
    final = root / digest
    if not (final / "prep.json").is_file():
        aside = root / f"{digest}.part"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        _make(spec, reader, aside, length, tell)
        for path in aside.rglob("*"):
            folders.fsync(path)
        aside.rename(final)
        folders.fsync(root)
    facts = json.loads((final / "prep.json").read_text(encoding="utf-8"))
    return Prepared(final, digest, length, facts["vocabulary"], facts["records"], tuple(facts["warnings"]))


def _digest(spec: TrainerSpec, files: Sequence[Path], length: int) -> str:
    hasher = blake3(f"ingot prep {FORMAT} {length} tokenizers {version('tokenizers')}\n".encode())
    for key in KEYS:
        hasher.update(f"{key}={getattr(spec.config, key)!r}\n".encode())
    inputs = [(path, path.relative_to(spec.dataset_folder).as_posix()) for path in files]
    if spec.base_folder:
        inputs += [
            (path, f"base/{path.name}") for path in sorted(spec.base_folder.glob("*token*")) if path.is_file()
        ]
        inputs += [(path, f"base/{path.name}") for path in sorted(spec.base_folder.glob("*.jinja"))]
    for path, name in inputs:
        hasher.update(f"{name}\0{path.stat().st_size}\n".encode())
        if path.stat().st_size:
            hasher.update_mmap(path)
    return hasher.hexdigest()[:32]


def _make(spec: TrainerSpec, reader: data.Reader, folder: Path, length: int, tell: Tell) -> None:
    config = spec.config
    source: Iterable[data.Record] = _told(reader, tell)
    if reader.total_bytes <= KEPT_IN_MEMORY:
        source = list(source)
    first = islice(source if isinstance(source, list) else reader.records(), 1000)
    conversation = any(record.turns for record in first)
    if spec.base_folder is None:
        limit = config.vocab_size or ModelShape().vocab_size
        tokenizer = tokens.train(_texts(source, config), limit, config.normalise_persian)
        base_template = False
    else:
        tokenizer = tokens.from_base(spec.base_folder, config)
        base_template = bool(tokenizer.chat_template) and config.template != "chat"
        base_template = base_template and tokenizer.chat_template != tokens.CHAT_TEMPLATE
        if conversation and not base_template:
            tokens.use_our_template(tokenizer)
    tokens.check_template(tokenizer)
    encoder = tokens.Encoder(tokenizer, base_template)
    again: Iterable[data.Record] = source if isinstance(source, list) else reader.records()
    with Packer(folder, length, len(tokenizer), tokenizer.pad_token_id) as packer:
        _encode_all(again, encoder, packer, config, tell)
    warnings = packer.finish(config)
    if spec.base_folder is None and not conversation:
        tokenizer.chat_template = None  # whoever has it answers a prompt; this model will go on with it
    tokenizer.save_pretrained(folder / "tokenizer")
    facts = {
        "format": FORMAT,
        "length": length,
        "vocabulary": len(tokenizer),
        "width": packer.width.itemsize,
        "records": packer.records,
        "warnings": warnings,
    }
    (folder / "prep.json").write_text(json.dumps(facts, ensure_ascii=False, indent=1), encoding="utf-8")


def _told(reader: data.Reader, tell: Tell) -> Iterator[data.Record]:
    for count, record in enumerate(reader.records(), 1):
        if count % 10_000 == 0:
            tell(reader.bytes_read, reader.total_bytes, "bytes read")
        yield record


def _texts(records: Iterable[data.Record], config: TrainingConfig) -> Iterator[str]:
    """Yield the texts a tokenizer learns from: the training split only, so held-out figures stay honest."""
    size = 0
    for record in records:
        if data.split_of(record, config) != "train":
            continue
        for text in [turn.content for turn in record.turns] or [record.text]:
            size += len(text)
            yield text
        if size > TOKENIZER_BYTES:
            return


def _encode_all(
    records: Iterable[data.Record],
    encoder: tokens.Encoder,
    packer: "Packer",
    config: TrainingConfig,
    tell: Tell,
) -> None:
    waiting = iter(records)
    while batch := list(islice(waiting, BATCH)):
        splits = [data.split_of(record, config) for record in batch]
        packer.records += len(batch)
        for record, split in list(zip(batch, splits, strict=True)):
            if split == "train" and config.data_augmentation:
                extra = data.variants(record, config)
                batch += extra
                splits += ["train"] * len(extra)
                packer.variants += len(extra)
        for split, encoded in zip(splits, encoder.encode(batch), strict=True):
            packer.add(data.SPLITS.index(split), *encoded)
        tell(packer.records, 0, "records tokenised")


class Packer:
    """Packs documents into blocks and writes each block once it is full."""

    def __init__(self, folder: Path, length: int, vocabulary: int, pad: int) -> None:
        self._folder = folder
        self._length = length
        self._pad = pad
        self.width = np.dtype(np.uint16 if vocabulary < 65_536 else np.uint32)
        self._open: dict[int, list[tuple[int, int]]] = {split: [] for split in range(len(data.SPLITS))}
        self._blocks: dict[int, tuple[list[int], bytearray, int]] = {}
        self._next = 0
        self._index: list[tuple[int, int, int]] = []
        self.records = self.variants = self._cut = 0
        self._tokens: BinaryIO | None = None
        self._flags: BinaryIO | None = None

    def __enter__(self) -> "Packer":
        self._tokens = (self._folder / "tokens.bin").open("wb")
        self._flags = (self._folder / "flags.bin").open("wb")
        return self

    def __exit__(self, *error: object) -> None:
        for split, blocks in self._open.items():
            for _, block in sorted(blocks, key=lambda entry: entry[1]):
                self._write(split, block)
        assert self._tokens is not None
        assert self._flags is not None
        self._tokens.close()
        self._flags.close()
        np.save(self._folder / "index.npy", np.array(self._index, dtype=np.int64).reshape(-1, 3))

    def add(self, split: int, ids: list[int], marks: bytearray, size: int) -> None:
        """Add one document: its ids, 1 where learned, and the bytes of its learned text."""
        if len(ids) <= self._length:
            marks[0] = START
            self._place(split, ids, marks, size)
            return
        self._cut += 1
        total = marks.count(LEARNED)
        taken = given = 0
        for begin in range(0, len(ids), self._length):
            piece = marks[begin : begin + self._length]
            taken += piece.count(LEARNED)
            share = size * taken // max(1, total)
            piece[0] = START
            if LEARNED in piece:
                self._place(split, ids[begin : begin + self._length], piece, share - given)
            given = share

    def finish(self, config: TrainingConfig) -> list[str]:
        """Return warnings. Raises TrainingError when there is nothing to train on."""
        counts = [sum(row[0] == split for row in self._index) for split in range(len(data.SPLITS))]
        if not counts[0]:
            message = f"None of the {self.records} records is in the training split with something to learn."
            raise failed(
                "VALIDATION_FAILED", message, "Add records, or raise train_split.", records=self.records
            )
        warnings = []
        for split, share in ((1, config.val_split), (2, config.test_split)):
            if share and not counts[split]:
                warnings.append(
                    f"No record fell into the {data.SPLITS[split]} split: its figures will be missing."
                )
        if self._cut:
            warnings.append(
                f"{self._cut} of {self.records} records are longer than {self._length} tokens and were cut."
            )
        if config.data_augmentation:
            warnings.append(f"data_augmentation added {self.variants} variants to {self.records} records.")
        return warnings

    def _place(self, split: int, ids: list[int], marks: bytearray, size: int) -> None:
        blocks = self._open[split]  # sorted by free room
        at = bisect.bisect_left(blocks, (len(ids), -1))
        if at == len(blocks):
            if len(blocks) >= OPEN_BLOCKS:
                self._write(split, blocks.pop(0)[1])
            self._blocks[self._next] = ([], bytearray(), 0)
            room, block = self._length, self._next
            self._next += 1
        else:
            room, block = blocks.pop(at)
        old, flags, total = self._blocks[block]
        old += ids
        flags += marks
        self._blocks[block] = (old, flags, total + size)
        room -= len(ids)
        if room:
            bisect.insort(blocks, (room, block))
        else:
            self._write(split, block)

    def _write(self, split: int, block: int) -> None:
        ids, flags, size = self._blocks.pop(block)
        if room := self._length - len(ids):
            ids += [self._pad] * room
            flags += bytes([START]) + bytes(room - 1)
        assert self._tokens is not None
        assert self._flags is not None
        self._tokens.write(np.array(ids, dtype=self.width).tobytes())
        self._flags.write(flags)
        self._index.append((split, flags.count(LEARNED), size))


class Blocks:
    """Read access to the blocks of one split; everything is a numpy array."""

    def __init__(self, prepared: Prepared, split: str) -> None:
        index = np.load(prepared.folder / "index.npy")
        self._rows = np.flatnonzero(index[:, 0] == data.SPLITS.index(split))
        self._index = index[self._rows]
        width = np.uint16 if prepared.vocabulary < 65_536 else np.uint32
        shape = (len(index), prepared.length)
        self._tokens = np.memmap(prepared.folder / "tokens.bin", dtype=width, mode="r", shape=shape)
        self._flags = np.memmap(prepared.folder / "flags.bin", dtype=np.uint8, mode="r", shape=shape)

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, which: Ints) -> tuple[Ints, Ints, Ints]:
        """Return input ids, position ids and labels, each (len(which), length).

        -100 where nothing is learned.
        """
        rows = self._rows[which]
        ids = self._tokens[rows].astype(np.int64)
        flags = self._flags[rows]
        places = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
        starts = np.maximum.accumulate(np.where(flags & START, places, 0), axis=1)
        return ids, places - starts, np.where(flags & LEARNED, ids, -100)

    def frequencies(self, vocabulary: int) -> Ints:
        """Count how often each token is learned in this split."""
        counts = np.zeros(vocabulary, dtype=np.int64)
        for begin in range(0, len(self._rows), 1024):
            rows = self._rows[begin : begin + 1024]
            counts += np.bincount(self._tokens[rows][self._flags[rows] & LEARNED > 0], minlength=vocabulary)
        return counts

    def learned(self, which: Ints) -> int:
        """Return how many tokens of these blocks carry loss."""
        return int(self._index[which, 1].sum())

    def learned_bytes(self, which: Ints) -> int:
        """Return the UTF-8 bytes of the text those tokens spell."""
        return int(self._index[which, 2].sum())


def learned_places(labels: Ints) -> tuple[Ints, Ints]:
    """Return where in a batch (flat) a next token is asked for, and which; labels are (batch, length).

    The count is rounded up with places whose target is -100: a few shapes instead of one per step, because
    the kernels of a new shape are prepared, and kept in memory, each time.
    """
    shifted = np.full_like(labels, -100)
    shifted[:, :-1] = labels[:, 1:]
    flat = shifted.ravel()
    learned = np.flatnonzero(flat != -100)
    filling = np.flatnonzero(flat == -100)[: -len(learned) % ROUND]
    places = np.concatenate([learned, filling])
    return places, flat[places]


class Order:
    """The order of training.

    A function of seed and position, the same for any number of ranks and attempts.
    """

    def __init__(self, blocks: int, seed: int) -> None:
        self._blocks = blocks
        self._seed = seed
        self._epoch = -1
        self._permutation: Ints = np.empty(0, dtype=np.int64)

    def slice(self, consumed: int, count: int) -> Ints:
        """Return the blocks at positions `consumed` to `consumed + count`, over epoch edges."""
        parts: list[Ints] = []
        while count:
            epoch, at = divmod(consumed, self._blocks)
            if epoch != self._epoch:
                self._epoch = epoch
                self._permutation = np.random.default_rng([self._seed, epoch]).permutation(self._blocks)
            part = self._permutation[at : at + count]
            parts.append(part)
            consumed += len(part)
            count -= len(part)
        return np.concatenate(parts)
