"""PyTorch's zips are cut at their tensors, never worse than by cdc; other and odd zips are cut as cdc."""

import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.patterns import pattern
from ingot.content import chunking, cuts
from ingot.content.cuts import Cuts

KIB, MIB = 1024, 1024 * 1024
TENSORS = {
    f"w{at}": pattern(f"w{at}", size)
    for at, size in enumerate([MIB, 5 * MIB, 3000, 700_000, 20_000, 300_000])
}


def saved(tensors: Mapping[str, bytes], *, root: str = "archive", packed: bool = False) -> bytes:
    """Return what torch.save writes: sizes behind the members, tensors aligned to 64 bytes."""
    made = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(made, "w", kind) as archive:
        archive.writestr(f"{root}/data.pkl", repr(list(tensors)))
        archive.writestr(f"{root}/byteorder", "little")
        for index, data in enumerate(tensors.values()):
            member = zipfile.ZipInfo(f"{root}/data/{index}")
            member.compress_type = kind
            room = -(made.tell() + 30 + len(member.filename) + 4) % 64
            member.extra = struct.pack("<2sH", b"FB", room) + b"Z" * room
            archive.writestr(member, data)
        archive.writestr(f"{root}/version", "3\n")
    return made.getvalue()


def cut(folder: Path, data: bytes, profile: str = cuts.TENSOR) -> tuple[list[chunking.Chunk], str]:
    place = folder / "file"
    place.write_bytes(data)
    found = Cuts(profile)
    return list(chunking.cut_file(place, found)), found.profile


def new_bytes(folder: Path, before: bytes, after: bytes, profile: str) -> int:
    known = {each.digest for each in cut(folder, before, profile)[0]}
    fresh = {each.digest: each.length for each in cut(folder, after, profile)[0] if each.digest not in known}
    return sum(fresh.values())


def test_every_tensor_has_its_own_chunks(tmp_path: Path) -> None:
    data = saved(TENSORS)
    chunks, profile = cut(tmp_path, data)
    assert profile == "tensor"
    assert b"".join(data[each.offset : each.offset + each.length] for each in chunks) == data
    found = {data[each.offset : each.offset + each.length] for each in chunks}
    for data in TENSORS.values():
        if len(data) > 16 * KIB:
            pieces = [data[each.offset : each.offset + each.length] for each in chunking.cut_bytes(data)]
            assert found.issuperset(pieces)


CHANGES: dict[str, Mapping[str, bytes]] = {
    "nothing": TENSORS,
    "another order": dict(reversed(TENSORS.items())),
    "one in front": {"new": pattern("new", 40), **TENSORS},
    "one changed": {**TENSORS, "w3": pattern("other", 700_000)},
    "some alone": {name: TENSORS[name] for name in ("w1", "w3", "w5")},
    "longer names": {f"module.{name}": data for name, data in TENSORS.items()},
}


@pytest.mark.parametrize("after", CHANGES.values(), ids=CHANGES.keys())
def test_no_change_costs_more_than_by_cdc(tmp_path: Path, after: Mapping[str, bytes]) -> None:
    old, new = saved(TENSORS), saved(after)
    ours = new_bytes(tmp_path, old, new, cuts.TENSOR)
    assert ours <= new_bytes(tmp_path, old, new, cuts.CDC)
    values = set(TENSORS.values())
    true = sum(len(data) for data in after.values() if data not in values)
    assert ours <= true + 8 * KIB


def test_a_storage_of_many_tensors_costs_what_changed_in_it(tmp_path: Path) -> None:
    """As DeepSpeed keeps them: one flat storage."""
    old = [pattern(f"flat {at}", 150_000) for at in range(60)]
    new = [pattern(f"other {at}", 150_000) if at % 20 == 7 else data for at, data in enumerate(old)]
    files = [saved({"flat": b"".join(parts)}) for parts in (old, new)]
    ours = new_bytes(tmp_path, files[0], files[1], cuts.TENSOR)
    assert ours <= new_bytes(tmp_path, files[0], files[1], cuts.CDC) + 8 * KIB
    assert ours < 3 * 1.2 * MIB


def stored(members: Mapping[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return made.getvalue()


BIG = pattern("big", 900_000)
WHOLE = saved(TENSORS)
ODD = {
    "another zip": stored({"corpus.jsonl": BIG}),
    "no pickle": stored({"archive/data/0": BIG}),
    "a pickle elsewhere": stored({"other/data.pkl": b"", "archive/data/0": BIG}),
    "packed": saved({"w": BIG}, packed=True),
    "small tensors": saved({f"b{at}": pattern(f"b{at}", 9000) for at in range(30)}),
    "cut off": WHOLE[: len(WHOLE) // 2],
    "no end": WHOLE[:-22],
    "the directory elsewhere": WHOLE[:-6] + b"\xff\xff\x00\x00" + WHOLE[-2:],
    "a directory too large": WHOLE[:-10] + b"\xff\xff\xff\x7f" + WHOLE[-6:],
    "an end alone": b"PK\x03\x04" + BIG + b"PK\x05\x06" + bytes(18),
    "no zip": b"PK\x03\x04" + BIG,
}


@pytest.mark.parametrize("data", ODD.values(), ids=ODD.keys())
def test_what_has_no_tensors_is_cut_as_cdc(tmp_path: Path, data: bytes) -> None:
    assert cut(tmp_path, data) == (list(chunking.cut_bytes(data, Cuts(cuts.CDC))), "cdc")


def test_members_that_overlap_are_odd(tmp_path: Path) -> None:
    data = bytearray(saved({"a": BIG, "b": BIG[::-1]}))
    second = data.rfind(b"PK\x01\x02", 0, data.rfind(b"PK\x01\x02", 0, data.rfind(b"PK\x01\x02")))
    first = data.rfind(b"PK\x01\x02", 0, data.rfind(b"PK\x01\x02"))
    data[first + 42 : first + 46] = data[second + 42 : second + 46]  # where its local header stands
    assert cut(tmp_path, bytes(data))[1] == "cdc"


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 900), st.binary(min_size=1, max_size=6))
def test_damaged_directories_still_cover_the_file(
    tmp_path_factory: pytest.TempPathFactory, back: int, damage: bytes
) -> None:
    data = saved({"a": BIG, "b": pattern("b", 20_000)})
    place = len(data) - back
    broken = (data[:place] + damage + data[place + len(damage) :])[: len(data)]
    chunks, profile = cut(tmp_path_factory.mktemp("zip"), broken)
    assert sum(each.length for each in chunks) == len(broken)
    assert profile in cuts.PROFILES


def test_the_file_that_torch_writes_is_known(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    tensors = {name: torch.frombuffer(bytearray(data), dtype=torch.uint8) for name, data in TENSORS.items()}
    torch.save({"model": tensors, "step": 7}, tmp_path / "m.pt")
    chunks, profile = cut(tmp_path, (tmp_path / "m.pt").read_bytes())
    assert profile == "tensor"
    known = {each.digest for each in chunks}
    chunks = cut(tmp_path, saved(TENSORS))[0]
    large = [each for each in chunks if each.length > 16 * KIB]
    assert {each.digest for each in large} <= known
