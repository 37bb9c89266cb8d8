"""Arrays of numpy: numbers pass, an array of objects is scanned as the pickle it is."""

import io
from pathlib import Path

import numpy as np
import pytest

from helpers import payloads
from helpers.checks import checked, errors, reasons

NUMBERS = [
    np.arange(12, dtype=np.float32).reshape(3, 4),
    np.array(["ab", "c"]),
    np.zeros(0, dtype=np.int8),
    np.array(7),
    np.zeros(3, dtype=[("a", "<f4"), ("b", "<i8", (2,))]),
]


def npy(array: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]") -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def objects(value: object) -> bytes:
    array = np.empty(1, dtype=object)
    array[0] = value
    return npy(array)


@pytest.mark.parametrize("array", NUMBERS, ids=lambda array: str(array.dtype))
def test_numbers_pass(tmp_path: Path, array: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]") -> None:
    found = checked("a.npy", npy(array), tmp_path)
    assert (found.findings.kept, found.report.format) == ([], "npy")


@pytest.mark.contract("S1-57")
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_code_in_an_array_of_objects_is_found(tmp_path: Path, save: object) -> None:
    assert not checked("a.npy", objects({"a": 1}), tmp_path).findings.kept
    content = objects(payloads.EVIL)
    (error,) = errors(checked("a.npy", content, tmp_path))
    assert error.reason == "unsafe_opcode"
    assert callable(save)
    out = io.BytesIO()
    save(out, fine=NUMBERS[0], evil=np.array([payloads.EVIL], dtype=object))
    (error,) = errors(checked("a.npz", out.getvalue(), tmp_path))
    assert error.reason == "unsafe_opcode"
    assert "evil.npy" in error.message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"cos\nsystem\n(S'id'\ntR.", "invalid_header"),
        (npy(NUMBERS[0])[:-1], "wrong_size"),
        (npy(NUMBERS[0]) + payloads.evil(2), "wrong_size"),
        (npy(NUMBERS[0]).replace(b"(3, 4)", b"(9, 4)"), "wrong_size"),
        (npy(NUMBERS[0]).replace(b"descr", b"descl"), "invalid_header"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f", "invalid_header"),
        (b"\x93NUMPY\x01\x00\xff\x00{", "pickle_damaged"),
    ],
)
def test_what_is_no_array_does_not_pass(tmp_path: Path, content: bytes, reason: str) -> None:
    found = checked("a.npy", content, tmp_path)
    assert (reasons(found), found.report.passed) == ({reason}, False)
