"""Rewrite the vector files from the implementation; see README.md in this folder before doing so."""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT / "clients/python"), str(ROOT / "tests")]

from helpers.patterns import vector_bytes  # noqa: E402
from ingot.content import chunking, digests  # noqa: E402

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


if __name__ == "__main__":
    for name, content in (("digests.json", make_digests()), ("cdc.json", make_cuts())):
        (HERE / name).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
