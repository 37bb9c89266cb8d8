"""Rewrite the vector files from the implementation; see README.md in this folder before doing so."""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT / "clients/python"), str(ROOT / "tests")]

from helpers import model_files  # noqa: E402
from helpers.patterns import vector_bytes  # noqa: E402
from ingot.content import chunking, digests, layouts  # noqa: E402
from ingot.content.cuts import Cuts  # noqa: E402
from ingot.content.flow import Reader  # noqa: E402

Json = dict[str, object]

CHUNKS: list[Json] = [
    {"hex": ""},
    {"hex": "00"},
    {"hex": b"ingot".hex()},
    {"zeros": 65536},
    {"pattern": {"seed": "chunk", "size": 1025}},
    {"pattern": {"seed": "chunk", "size": 262144}},
]
FILES = ["سلام.jsonl", "a/b.txt", "a.txt", "Z", "model.safetensors"]
CUTS: list[Json] = [
    {"hex": ""},
    {"hex": "41"},
    {"zeros": 3_000_000},
    {"pattern": {"seed": "cdc", "size": 196_608}},
    {"pattern": {"seed": "cdc", "size": 196_609}},
    {"pattern": {"seed": "cdc", "size": 1_048_577}},
    {"pattern": {"seed": "cdc", "size": 9_000_001}},
    {"pattern": {"seed": "another", "size": 2_500_000}},
]


def make_digests() -> Json:
    """Return the content of digests.json."""
    chunks = [{"input": c, "digest": digests.chunk_digest(vector_bytes(c)).hex()} for c in CHUNKS]
    pairs = [(digests.chunk_digest(vector_bytes(c)), len(vector_bytes(c))) for c in CHUNKS if vector_bytes(c)]
    segments: list[Json] = []
    for entries in (pairs[:1], pairs):
        data = digests.segment_bytes(entries)
        segments.append(
            {
                "entries": [{"digest": d.hex(), "length": n} for d, n in entries],
                "bytes": data.hex(),
                "digest": digests.segment_digest(data).hex(),
            }
        )
    segment_digests = [bytes.fromhex(str(s["digest"])) for s in segments]
    roots: list[Json] = []
    for profile, size, used in (
        ("cdc", 0, []),
        ("cdc", 1, segment_digests[:1]),
        ("tensor", 1, segment_digests[:1]),
        ("cdc", 2**40 + 1, segment_digests),
    ):
        roots.append(
            {
                "profile": profile,
                "size": size,
                "segments": [d.hex() for d in used],
                "root": digests.file_root(profile, size, used).hex(),
            }
        )
    files = [
        (path, index * 1000, bytes.fromhex(str(roots[index % len(roots)]["root"])))
        for index, path in enumerate(FILES)
    ]
    trees = [
        {
            "files": [{"path": p, "size": s, "root": r.hex()} for p, s, r in chosen],
            "digest": digests.tree_digest(chosen).hex(),
        }
        for chosen in ([], files[:1], files)
    ]
    good = digests.format_digest(segment_digests[0])
    return {
        "chunks": chunks,
        "segments": segments,
        "roots": roots,
        "trees": trees,
        "text": {"bytes": segment_digests[0].hex(), "text": good},
        "refused_text": ["", good[7:], good[:-1], good.upper(), "sha256:" + good[7:], good + " ", "blake3:"],
    }


def make_cuts() -> Json:
    """Return the content of cdc.json."""
    vectors = []
    for source in CUTS:
        data = vector_bytes(source)
        chunks = list(chunking.cut_bytes(data))
        segments = digests.split_segments([(c.digest, c.length) for c in chunks])
        root = digests.file_root("cdc", len(data), map(digests.segment_digest, segments))
        vectors.append({"input": source, "lengths": [c.length for c in chunks], "root": root.hex()})
    return {
        "profile": {"name": "cdc", "minimum": 196608, "average": 262144, "maximum": 1048576, "seed": 0},
        "vectors": vectors,
    }


def part(seed: str, size: int) -> Json:
    """Return a part of an input: bytes of a pattern."""
    return {"pattern": {"seed": seed, "size": size}}


def safetensors_input(sizes: list[int], metadata: str = "") -> Json:
    """Return a safetensors file of tensors with these sizes as an input."""
    header: Json = {"__metadata__": {"about": metadata}} if metadata else {}
    place = 0
    for index, size in enumerate(sizes):
        header[f"t{index}"] = {"dtype": "U8", "shape": [size], "data_offsets": [place, place + size]}
        place += size
    raw = model_files.safetensors(header)
    tensors = [part(f"t{index}", size) for index, size in enumerate(sizes)]
    return {"parts": [{"hex": raw.hex()}, *tensors]}


def gguf_input(sizes: list[int], order: str = "<") -> Json:
    """Return a GGUF file of tensors with these sizes, all multiples of 32, as an input."""
    made = model_files.Gguf(order)
    made.key("general.architecture", 8, made.text("llama"))
    made.key("tokens", 9, made.number("I", 8) + made.number("Q", 2) + made.text("a") + made.text("سلام"))
    for index, size in enumerate(sizes):
        made.tensor(f"t{index}", (size,), 24, sum(sizes[:index]))
    tensors = [part(f"t{index}", size) for index, size in enumerate(sizes)]
    return {"parts": [{"hex": made.file(b"").hex()}, *tensors]}


def make_tensor_cuts() -> Json:
    """Return the content of tensor.json."""
    sizes = [3000, 9 * 1024 * 1024 + 5, 40, 16_384, 16_383, 4_194_304, 1, 2]
    sources: dict[str, Json] = {
        "safetensors": safetensors_input(sizes, "سلام"),
        "safetensors, other order": safetensors_input(list(reversed(sizes))),
        "safetensors, many small tensors": safetensors_input([9_011] * 260),
        "safetensors, one small tensor": safetensors_input([5]),
        "safetensors, bytes behind": {"parts": [safetensors_input([100_000]), part("behind", 700_000)]},
        "safetensors, a hole": {
            "parts": [
                {"hex": model_files.safetensors({"a": {"data_offsets": [8, 300_000]}}).hex()},
                part("a", 300_000),
            ]
        },
        "GGUF": gguf_input([64, 5_000_000, 32, 96, 16_384, 4_194_304, 320]),
        "GGUF, big-endian": gguf_input([100_000, 64, 131_072], ">"),
        "neither": {"parts": [part("neither", 600_000)]},
    }
    vectors: list[Json] = []
    for about, source in sources.items():
        data, found = vector_bytes(source), Cuts()
        chunks = list(chunking.cut_bytes(data, found))
        segments = digests.split_segments([(c.digest, c.length) for c in chunks])
        root = digests.file_root(found.profile, len(data), map(digests.segment_digest, segments))
        read: Reader[layouts.Layout] = Reader(layouts.read)
        read.feed(memoryview(data))
        where: Json = {}
        if read.found:
            ends = [min(end, len(data)) for end in read.found.ends]
            where = {
                "header_end": read.found.header_end,
                "tensors": list(zip(read.found.starts, ends, strict=True)),
            }
        told = {"profile": found.profile, **where, "lengths": [c.length for c in chunks], "root": root.hex()}
        vectors.append({"about": about, "input": source, **told})
    profile = {"name": "tensor", "alone": 16384, "piece": 4194304, "else": "cdc"}
    return {"profile": profile, "vectors": vectors}


if __name__ == "__main__":
    made = {"digests.json": make_digests(), "cdc.json": make_cuts(), "tensor.json": make_tensor_cuts()}
    for name, content in made.items():
        (HERE / name).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
