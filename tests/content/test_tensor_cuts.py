"""Cuts of profile tensor: vectors, a second implementation, streams, odd headers, other orders and shards."""

import functools
import itertools
import json
import random
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import model_files
from helpers.patterns import pattern, vector_bytes
from ingot.content import chunking, cuts, digests, feeding, safetensors_layout
from ingot.content.cuts import Cuts

VECTORS = json.loads((Path(__file__).parent.parent / "vectors/tensor.json").read_text(encoding="utf-8"))
KIB, MIB = 1024, 1024 * 1024
SIZES = {
    "wte": 9 * MIB + 12,
    "b0": 3000,
    "w0": 70_000,
    "n0": 1,
    "n1": 200,
    "w1": 4 * MIB,
    "w2": 16_384,
    "n2": 16_383,
}


@functools.lru_cache
def tensor(name: str, version: int = 1) -> bytes:
    return pattern(f"{name} {version}", SIZES[name])


def safetensors(names: Sequence[str], new: Iterable[str] = (), **metadata: str) -> bytes:
    """Return a file of these tensors in this order; those in `new` have other values than before."""
    data = [tensor(name, 2 if name in new else 1) for name in names]
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    place = 0
    for name, raw in zip(names, data, strict=True):
        header[name] = {"dtype": "U8", "shape": [len(raw)], "data_offsets": [place, place + len(raw)]}
        place += len(raw)
    return model_files.safetensors(dict(sorted(header.items())), b"".join(data))


def gguf(names: Sequence[str], new: Iterable[str] = (), words: int = 20_000, order: str = "<") -> bytes:
    """Return a file with a vocabulary; each tensor is padded to 32 bytes."""
    made, data = model_files.Gguf(order), b""
    texts = b"".join(made.text(f"word {each}") for each in range(words))
    made.key("tokenizer.ggml.tokens", 9, made.number("I", 8) + made.number("Q", words) + texts)
    made.key("scores", 9, made.number("I", 6) + made.number("Q", words) + bytes(4 * words))
    made.key("general.architecture", 8, made.text("llama"))
    for name in names:
        raw = tensor(name, 2 if name in new else 1)
        made.tensor(name, (len(raw),), 24, len(data))
        data += raw + bytes(-len(raw) % 32)
    return made.file(data)


def cut(data: bytes) -> tuple[list[chunking.Chunk], str]:
    found = Cuts()
    return list(chunking.cut_bytes(data, found)), found.profile


def lengths(data: bytes) -> list[int]:
    return [each.length for each in cut(data)[0]]


def fed(data: bytes, sizes: Iterable[int]) -> tuple[list[int], str]:
    feeder, found, position = feeding.Feeder(cuts.TENSOR), list[feeding.Piece](), 0
    for size in sizes:
        found += feeder.feed([data[position : position + size]])
        position += size
    found += feeder.feed([data[position:]], last=True)
    assert b"".join(bytes(piece) for _, piece in found) == data
    return [len(piece) for _, piece in found], feeder.profile


def new_bytes(before: bytes, *after: bytes) -> int:
    """Return the bytes of chunks that are not in the file before."""
    known = {each.digest for each in cut(before)[0]}
    fresh = {each.digest: each.length for data in after for each in cut(data)[0] if each.digest not in known}
    return sum(fresh.values())


# --- the rule -----------------------------------------------------------------------------------------------


def plainly(data: bytes, header_end: int, tensors: Sequence[tuple[int, int]]) -> list[int]:
    """Cut by the rule, in the simplest way: regions one after the other."""
    found: list[int] = []
    marks = [0, header_end]
    alone = {start: end for start, end in tensors if end - start >= 16 * KIB}
    for start, end in alone.items():
        marks += [start, end]
    marks = sorted({*marks, len(data)})
    for start, end in itertools.pairwise(marks):
        if start in alone:
            found += [min(4 * MIB, end - at) for at in range(start, end, 4 * MIB)]
        else:
            plain = chunking.cut_bytes(data[start:end], Cuts(cuts.CDC))
            found += [each.length for each in plain]
    return found


def places(data: bytes) -> tuple[int, list[tuple[int, int]]]:
    """Read the header of a safetensors file with json, whole."""
    end = 8 + struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8:end])
    spans = [each["data_offsets"] for name, each in header.items() if name != "__metadata__"]
    return end, sorted((end + start, end + stop) for start, stop in spans)


def test_each_tensor_is_cut_by_itself_and_small_ones_are_glued() -> None:
    data = safetensors(list(SIZES))
    header_end = places(data)[0]
    assert lengths(data) == [
        header_end,
        *(4 * MIB, 4 * MIB, MIB + 12),  # wte
        3000,  # b0
        70_000,  # w0
        1 + 200,  # n0 and n1
        4 * MIB,  # w1
        16_384,  # w2
        16_383,  # n2
    ]
    assert cut(data)[1] == "tensor"


@settings(max_examples=15, deadline=None)
@given(st.permutations(list(SIZES)), st.integers(1, len(SIZES)), st.text(max_size=40), st.integers(0, 2**32))
def test_streams_and_a_second_implementation_agree(
    order: list[str], count: int, note: str, seed: int
) -> None:
    note = note.encode("utf-8", "replace").decode()
    data = safetensors(order[:count], note=note)
    expected = plainly(data, *places(data))
    assert lengths(data) == expected
    sizes = random.Random(seed)
    largest = sizes.choice([500_000, 3_000_000, 9_000_000])
    stream = [3, 5, 1, 100, *(sizes.randint(0, largest) for _ in range(2 * len(data) // largest))]
    assert fed(data, stream) == (expected, "tensor")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("step", [11, 4_099, 4 * MIB])
def test_gguf_is_cut_behind_its_header_and_at_every_start(order: str, step: int) -> None:
    names = ["w0", "n0", "n1", "w1", "w2"]
    data = gguf(names, words=500 if step == 11 else 90_000, order=order)
    sizes = [SIZES[name] + -SIZES[name] % 32 for name in names]
    header_end = len(data) - sum(sizes)
    expected = [*lengths(data[:header_end] + bytes(1))]
    assert sum(expected) == header_end + 1
    found = lengths(data)
    tail = [sizes[0], sizes[1] + sizes[2], sizes[3], sizes[4]]
    assert found[-4:] == tail
    plain = list(chunking.cut_bytes(data[:header_end], Cuts(cuts.CDC)))
    assert found[:-4] == [each.length for each in plain]
    head = header_end + 100_000
    assert fed(data, [step] * (head // step)) == (found, "tensor")


def test_a_file_is_cut_like_its_bytes_and_hardly_read_twice(tmp_path: Path) -> None:
    data = safetensors(["w0", "wte", "n2", "w1", "b0"])
    (tmp_path / "m").write_bytes(data)
    found = Cuts()
    with (tmp_path / "m").open("rb") as file:
        windows = list(chunking.cut_windows(file.fileno(), len(data), found))
    assert [each for window in windows for each in window.chunks] == cut(data)[0]
    assert found.profile == "tensor"
    assert sum(len(window.data) for window in windows) < len(data) + 4 * MIB  # only the first is a guess
    for window in windows:
        for each in window.chunks:
            at = each.offset - window.start
            assert digests.chunk_digest(window.data[at : at + each.length]) == each.digest


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda v: str(v["about"]))
def test_vectors(vector: Mapping[str, object]) -> None:
    source = vector["input"]
    assert isinstance(source, dict)
    data = vector_bytes(source)
    chunks, profile = cut(data)
    assert (profile, [each.length for each in chunks]) == (vector["profile"], vector["lengths"])
    segments = digests.split_segments([(each.digest, each.length) for each in chunks])
    assert (
        digests.file_root(profile, len(data), map(digests.segment_digest, segments)).hex() == vector["root"]
    )
    if "header_end" in vector:
        assert plainly(data, vector["header_end"], vector["tensors"]) == vector["lengths"]  # type: ignore[arg-type]


# --- what it is for -----------------------------------------------------------------------------------------


def test_a_changed_tensor_and_a_longer_header_cost_what_they_have() -> None:
    names = list(SIZES)
    before, after = safetensors(names), safetensors(names, ["w1"], note="fine-tuned " * 50)
    assert new_bytes(before, after) == SIZES["w1"] + places(after)[0]


def test_another_order_and_shards_cost_their_headers_and_small_tensors() -> None:
    names = list(SIZES)
    before = safetensors(names)
    other = safetensors(list(reversed(names)))
    shards = [safetensors(names[:1]), safetensors(names[1:4]), safetensors(names[4:])]
    small = sum(size for size in SIZES.values() if size < 16 * KIB)
    for after in ([other], shards):
        assert new_bytes(before, *after) <= small + sum(places(each)[0] for each in after)


def test_requantised_tensors_of_gguf_cost_themselves_and_the_end_of_the_header() -> None:
    names = ["w0", "n0", "wte", "n1", "w1", "w2"]
    before, after = gguf(names, words=90_000), gguf(names, ["w1"], words=90_000)
    assert new_bytes(before, after) == SIZES["w1"]
    moved = gguf(["wte", "w0", "n0", "n1", "w2", "w1"], words=90_000)
    assert new_bytes(before, moved) < 2 * MIB  # what of the header stands at its end, and small tensors


def test_a_run_of_small_tensors_is_cut_where_its_content_says() -> None:
    run = {f"t{each}": pattern(f"t{each}", 10_000) for each in range(200)}

    def file(names: Sequence[str]) -> bytes:
        spans = [(at * 10_000, (at + 1) * 10_000) for at in range(len(names))]
        header = {
            name: {"dtype": "U8", "shape": [10_000], "data_offsets": span}
            for name, span in zip(names, spans, strict=True)
        }
        return model_files.safetensors(header, b"".join(run[name] for name in names))

    before, after = list(run), [name for name in run if name != "t7"]
    assert new_bytes(file(before), file(after)) < 1.5 * MIB  # and not everything behind it


# --- what is odd --------------------------------------------------------------------------------------------

ENTRY = {"dtype": "U8", "shape": [9], "data_offsets": [0, 100_000]}


def one(made: model_files.Gguf, place: int = 0) -> bytes:
    """Return a file with one tensor, and whatever was added before."""
    return made.tensor("a", (9,), 24, place).file(b"")


def keyed(name: str, kind: int, value: bytes) -> bytes:
    return one(model_files.Gguf().key(name, kind, value))


def number(value: int, size: int = 4) -> bytes:
    return value.to_bytes(size, "little")


ODD: dict[str, bytes] = {
    "a hole": model_files.safetensors({"a": ENTRY, "b": {**ENTRY, "data_offsets": [100_001, 200_000]}}),
    "an overlap": model_files.safetensors({"a": ENTRY, "b": {**ENTRY, "data_offsets": [99_999, 200_000]}}),
    "the same place": model_files.safetensors({"a": ENTRY, "b": ENTRY}),
    "not from the start": model_files.safetensors({"a": {**ENTRY, "data_offsets": [8, 100_000]}}),
    "backwards": model_files.safetensors({"a": {**ENTRY, "data_offsets": [100_000, 0]}}),
    "negative": model_files.safetensors({"a": {**ENTRY, "data_offsets": [-1, 100_000]}}),
    "huge": model_files.safetensors({"a": {**ENTRY, "data_offsets": [0, 2**60]}}),
    "no integer": model_files.safetensors({"a": {**ENTRY, "data_offsets": [0, 1e5]}}),
    "true": model_files.safetensors({"a": {**ENTRY, "data_offsets": [False, True]}}),
    "three": model_files.safetensors({"a": {**ENTRY, "data_offsets": [0, 1, 2]}}),
    "no offsets": model_files.safetensors({"a": {}}),
    "a list": model_files.safetensors('{"a": []}'),
    "no tensors": model_files.safetensors({}),
    "only metadata": model_files.safetensors({"__metadata__": {}}) + b"x",
    "no JSON": model_files.safetensors('{"a": nope}'),
    "no name": model_files.safetensors("{1: 2}"),
    "no comma": model_files.safetensors('{"a": {} "b": {}}'),
    "deep": model_files.safetensors('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"),
    "a long number": model_files.safetensors('{"a": ' + "1" * 10_000 + "}"),
    "something behind": model_files.safetensors(json.dumps({"a": ENTRY}) + "x"),
    "no UTF-8": model_files.safetensors(json.dumps({"a": ENTRY})).replace(b'"a"', b'"\xff"'),
    "a long text": model_files.safetensors({"__metadata__": {"a": "x" * 2**20}, "a": ENTRY}),
    "half a sign": model_files.safetensors(json.dumps({"a": ENTRY}) + " ").replace(b"}} ", b"}}\xd8"),
    "a header too large": (safetensors_layout.MOST_HEADER + 1).to_bytes(8, "little") + b'{"a"',
    "GGUF 1": one(model_files.Gguf(version=1)),
    "no tensors of GGUF": model_files.Gguf().file(b""),
    "many tensors": model_files.Gguf().head(tensors=2**40),
    "many keys": model_files.Gguf().tensor("a", (9,), 24, 0).head(keys=2**40),
    "a wrong start": one(model_files.Gguf(), 7),
    "one start twice": one(model_files.Gguf().tensor("b", (9,), 24, 0)),
    "a far start": one(model_files.Gguf(), 2**61),
    "dimensions": model_files.Gguf().tensor("a", (1, 1, 1, 1, 1), 24, 0).file(b""),
    "alignment 0": keyed("general.alignment", 4, number(0)),
    "alignment 24": keyed("general.alignment", 4, number(24)),
    "a type": keyed("k", 77, bytes(8)),
    "a long array": keyed("k", 9, number(0) + b"\xff" * 8),
    "many texts": keyed("k", 9, number(8) + b"\xff" * 8),
    "a longer text": keyed("k", 9, number(8) + number(1, 8) + b"\xff" * 8),
    "arrays in arrays": keyed("k", 9, (number(9) + number(1, 8)) * 20),
}


@pytest.mark.parametrize("head", ODD.values(), ids=ODD.keys())
def test_whatever_is_odd_is_cut_as_cdc(head: bytes) -> None:
    data = head + pattern("odd", 700_000)
    plain = list(chunking.cut_bytes(data, Cuts(cuts.CDC)))
    assert cut(data) == (plain, "cdc")
    assert fed(data, [5, 300, 100_000, 1]) == ([each.length for each in plain], "cdc")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 400), st.binary(min_size=1, max_size=9), st.integers(0, 2**16))
def test_damaged_headers_still_cover_the_file(place: int, damage: bytes, seed: int) -> None:
    base = safetensors(["w0", "n0", "w2"]) if seed % 2 else gguf(["w0", "n0", "w2"], words=9)
    data = base[:place] + damage + base[place + len(damage) :]
    chunks, profile = cut(data)
    assert sum(each.length for each in chunks) == len(data)
    assert max(each.length for each in chunks) <= 4 * MIB
    assert fed(data, [place, 1, 50_000]) == ([each.length for each in chunks], profile)


def test_a_cut_off_file_has_the_chunks_that_it_shares_with_the_whole() -> None:
    data = safetensors(["w0", "wte", "w1"])
    whole, part = cut(data)[0], cut(data[: len(data) - 3 * MIB])
    assert part[1] == "tensor"
    assert part[0][:-1] == whole[: len(part[0]) - 1]
    appended = cut(data + b"more")[0]
    assert appended[:-1] == whole
    assert appended[-1].length == 4


def test_a_header_of_many_tensors_takes_little_time_and_memory() -> None:
    """As many as may be, and one more."""
    count = safetensors_layout.MOST_TENSORS
    entries = ",".join(f'"{at}":{{"data_offsets":[{at},{at + 1}]}}' for at in range(count))
    assert cut(model_files.safetensors(f"{{{entries}}}", bytes(count)))[1] == "tensor"
    entries += f',"x":{{"data_offsets":[{count},{count + 1}]}}'
    assert cut(model_files.safetensors(f"{{{entries}}}", bytes(count + 1)))[1] == "cdc"
