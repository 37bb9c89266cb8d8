"""Files of torch.save: weights pass, code in any entry is named at its byte, odd zips do not pass."""

import io
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import payloads
from helpers.checks import checked, errors, reasons

STATE = {"a.weight": torch.ones(3, 4), "b": torch.nn.Parameter(torch.zeros(5, dtype=torch.float16))}


def saved(value: object = STATE, *, zipped: bool = True) -> bytes:
    out = io.BytesIO()
    torch.save(value, out, _use_new_zipfile_serialization=zipped)
    return out.getvalue()


def archive(entries: dict[str, bytes], packing: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packing) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return out.getvalue()


@pytest.mark.contract("S1-57")
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["model.pt", "model.pth", "pytorch_model.bin", "model.ckpt"])
def test_weights_pass(tmp_path: Path, name: str, zipped: bool) -> None:
    found = checked(name, saved(zipped=zipped), tmp_path)
    assert (found.findings.kept, found.report.format) == ([], "pytorch")
    assert found.report.statistics["tensors"] == 2


@pytest.mark.contract("S3-44", "S1-57")
@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_named_at_its_byte(tmp_path: Path, zipped: bool) -> None:
    content = saved({"w": STATE["b"], "x": payloads.EVIL}, zipped=zipped)
    (error,) = errors(checked("model.pt", content, tmp_path))
    assert (error.reason, error.byte_offset) == ("unsafe_opcode", content.index(b"cposix\nsystem\n"))


@pytest.mark.parametrize("name", ["m/data.pkl", "m/other.pkl", "m/data/0", "m/readme"])
@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_code_under_any_name_is_found(tmp_path: Path, name: str, packing: int) -> None:
    content = archive({"m/data.pkl": b"\x80\x02}.", name: payloads.evil(2)}, packing)
    assert [each.reason for each in errors(checked("a.pt", content, tmp_path))] == ["unsafe_opcode"]


def test_odd_zips_do_not_pass(tmp_path: Path) -> None:
    fine = archive({"m/data.pkl": b"\x80\x02}."})
    odd = {
        "path_unsafe": archive({"m/data.pkl": b"\x80\x02}.", "../x": b"1"}),
        "zip_bomb": archive({"m/data.pkl": b"\x80\x02}.", "m/data/0": bytes(65 << 20)}, zipfile.ZIP_DEFLATED),
    }
    for reason, content in odd.items():
        assert [each.reason for each in errors(checked("a.pt", content, tmp_path))] == [reason]
    at = fine.index(b"PK\x01\x02")
    encrypted = fine[: at + 8] + b"\x01" + fine[at + 9 :]
    for content in (encrypted, b"PK\x03\x04" + fine[4:20], fine.replace(b"m/data.pkl", b"m/date.pkl", 1)):
        assert [each.reason for each in errors(checked("a.pt", content, tmp_path))] == ["zip_damaged"]


def test_a_zip_with_two_directories_does_not_pass(tmp_path: Path) -> None:
    evil, fine = (archive({"m/data.pkl": each}) for each in (payloads.evil(2), b"\x80\x02}."))
    end = evil.index(b"PK\x05\x06")
    # `zipfile` takes the directory right before the end, PyTorch the one at the place that the end names
    twice = evil[:end] + fine[: fine.index(b"PK\x05\x06")] + evil[end:]
    assert [each.reason for each in errors(checked("a.pt", twice, tmp_path))] == ["zip_damaged"]
    between = archive({"m/data.pkl": b"\x80\x02}.", "m/version": b"3"})
    at = between.index(b"PK\x03\x04", 4)
    assert errors(checked("a.pt", between[:at] + bytes(100) + between[at:], tmp_path))
    assert reasons(checked("a.pt", b"#!" + fine, tmp_path)) == {"unknown_form"}


def test_large_archives_pass(tmp_path: Path) -> None:
    wide = io.BytesIO()
    with zipfile.ZipFile(wide, "w") as file, file.open("m/data.pkl", "w", force_zip64=True) as entry:
        entry.write(b"\x80\x02}.")
    assert not errors(checked("a.pt", wide.getvalue(), tmp_path))


def test_whole_modules_optimizers_and_types_of_numbers_pass(tmp_path: Path) -> None:
    layers = torch.nn.TransformerEncoderLayer(8, 2, 16, activation="gelu")
    values = {
        "module": torch.nn.Sequential(layers, torch.nn.utils.weight_norm(torch.nn.Linear(8, 2))),
        "optimizer": torch.optim.AdamW(layers.parameters()),
        "sparse": torch.eye(3).to_sparse(),
        "types": [torch.ones(2, dtype=each) for each in (torch.bfloat16, torch.complex64, torch.uint8)],
    }
    for zipped in (True, False):
        assert checked("m.pt", saved(values, zipped=zipped), tmp_path).findings.kept == []


NUMBERS = {  # raw numbers that begin like opcodes: no machine would get past them
    "a name of no module": b"c\x00\x01\xfe\nq\x00\n",
    "text": b"class Net(Module):\n  __parameters__ = []\n",
    "extension": b"\x82\x07",
    "names that are numbers": b"K\x01K\x02\x93",
    "call of a number": b"K\x01)R",
    "a name that is a list": b"]\x8c\x06system\x93",
}


@pytest.mark.parametrize("numbers", NUMBERS)
def test_numbers_that_look_like_opcodes_pass(tmp_path: Path, numbers: str) -> None:
    content = archive({"m/data.pkl": b"\x80\x02}.", "m/data/0": NUMBERS[numbers] + bytes(64)})
    assert checked("model.pt", content, tmp_path).findings.kept == []


def test_storages_of_many_random_weights_pass(tmp_path: Path) -> None:
    made = torch.Generator().manual_seed(7)
    values = {
        str(each): torch.randint(0, 256, (500,), dtype=torch.uint8, generator=made) for each in range(800)
    }
    assert checked("model.pt", saved(values), tmp_path).findings.kept == []


def test_a_tar_of_pytorch_is_not_passed_unchecked(tmp_path: Path) -> None:
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=form) as archive_:
            entry = tarfile.TarInfo("pickle")
            entry.size = len(payloads.evil(2))
            archive_.addfile(entry, io.BytesIO(payloads.evil(2)))
        old = bytearray(out.getvalue())
        for content in (bytes(old), bytes(_without_magic(old))):
            assert [each.reason for each in errors(checked("a.pth", content, tmp_path))] == ["rest_unchecked"]


def _without_magic(content: bytearray) -> bytearray:
    """Return a tar as before 1988: no magic number, and a checksum that says so."""
    content[257:265] = bytes(8)
    content[148:156] = b" " * 8
    content[148:156] = b"%06o\0 " % sum(content[:512])
    return content


def test_weights_of_others_named_bin_pass(tmp_path: Path) -> None:
    assert checked("weights.bin", bytes(range(256)) * 100, tmp_path).findings.kept == []


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_no_damage_breaks_the_scan(data: st.DataObject) -> None:
    base = saved({"x": payloads.EVIL}, zipped=data.draw(st.booleans()))
    at = data.draw(st.integers(0, len(base)))
    content = base[:at] + data.draw(st.binary(max_size=6)) + base[at + data.draw(st.integers(0, 6)) :]
    with tempfile.TemporaryDirectory() as folder:
        found = checked("a.pt", content, Path(folder))
    assert all(each.byte_offset is not None for each in errors(found))
