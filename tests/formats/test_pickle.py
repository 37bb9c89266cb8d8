"""Pickles and joblib files: what runs code is named at its byte, and what models hold passes."""

import bz2
import gzip
import lzma
import pickle
import tempfile
import zlib
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import payloads
from helpers.checks import checked, errors, reasons
from ingot.server.core.params import Rules
from ingot.server.formats.pickle_imports import Verdict, judge

ARRAYS = [np.arange(100, dtype=np.float64).reshape(20, 5), np.array([True, False]), np.array(["ab", "c"])]


@pytest.mark.contract("S3-44", "S1-57")
@pytest.mark.parametrize("trick", payloads.HIDDEN)
def test_what_runs_code_is_named_at_its_byte(tmp_path: Path, trick: str) -> None:
    content, offset = payloads.HIDDEN[trick]
    found = checked("model.pkl", content, tmp_path)
    first = errors(found)[0]
    assert (first.reason, first.byte_offset) == ("unsafe_opcode", offset)
    assert not found.report.passed


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_is_followed(tmp_path: Path, protocol: int) -> None:
    content = payloads.evil(protocol)
    (error,) = errors(checked("model.pickle", content, tmp_path))
    assert error.byte_offset is not None
    assert content[error.byte_offset : error.byte_offset + 1] in (b"c", b"\x93")
    assert "posix.system" in error.message
    found = checked("model.pkl", content, tmp_path, Rules(allow_unsafe=True))
    assert found.report.passed
    assert "unsafe_opcode" in reasons(found)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", payloads.SAFE_VALUES)
def test_what_models_hold_passes(tmp_path: Path, name: str, protocol: int) -> None:
    content = pickle.dumps(payloads.SAFE_VALUES[name], protocol)
    found = checked("model.pkl", content, tmp_path)
    assert (found.findings.kept, found.report.format) == ([], "pickle")


def test_a_class_of_ones_own_is_a_remark(tmp_path: Path) -> None:
    found = checked("model.pkl", b"\x80\x02cmyproject.nets\nNet\n)\x81}b.", tmp_path)
    assert (reasons(found), found.report.passed) == ({"unknown_import"}, True)
    assert found.report.statistics["imports"] == ["myproject.nets.Net"]


@pytest.mark.parametrize("name", ["sympy\nsympify", "mpmath\nmpf", "nobodys.module\nbuild"])
def test_a_function_of_a_library_that_may_be_installed_is_no_remark(tmp_path: Path, name: str) -> None:
    found = checked("model.pkl", f"c{name}\n(S'1'\ntR.".encode(), tmp_path)
    assert (reasons(found), found.report.passed) == ({"unsafe_opcode"}, False)


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"\x80\x04K\x01", b"\x80\x04.", b"\x80\x04h\x00R."])
def test_damage_is_named(tmp_path: Path, content: bytes) -> None:
    assert reasons(checked("model.pkl", content, tmp_path)) <= {"pickle_damaged", "empty_file"}


@pytest.mark.parametrize("aligned", [True, False])
def test_arrays_of_joblib_are_gone_past(tmp_path: Path, aligned: bool) -> None:
    content = payloads.joblib_file(ARRAYS, aligned=aligned)
    found = checked("model.joblib", content, tmp_path)
    assert (found.findings.kept, found.report.format) == ([], "joblib")
    planted = content[:-1] + b"cos\nsystem\n."
    assert [each.byte_offset for each in errors(checked("a.joblib", planted, tmp_path))] == [len(content) - 1]


def test_code_in_the_raw_bytes_of_an_array_is_found(tmp_path: Path) -> None:
    code = b"0" * 8 + b"cos\nsystem\n(S'id'\ntR."  # what pickle.load would see there
    values = [np.zeros(len(code), dtype=np.uint8)]
    content = payloads.joblib_file(values, [code], aligned=False).replace(b"0" * 8, b"K\x01" * 4)
    (error,) = errors(checked("a.pkl", content, tmp_path))
    assert (error.reason, error.byte_offset) == ("unsafe_opcode", content.index(b"cos\n"))


def test_arrays_of_objects_are_pickles_in_joblib(tmp_path: Path) -> None:
    content = payloads.joblib_file([np.array([1, payloads.EVIL], dtype=object), ARRAYS[0]])
    assert [each.reason for each in errors(checked("a.joblib", content, tmp_path))] == ["unsafe_opcode"]
    fine = payloads.joblib_file([np.array([1, "a"], dtype=object), ARRAYS[0]])
    assert checked("a.joblib", fine, tmp_path).findings.kept == []


@pytest.mark.parametrize("protocol", range(2, 6))
def test_what_a_plain_reader_would_make_of_arrays_of_objects_passes(tmp_path: Path, protocol: int) -> None:
    """It stops at the array's own STOP, and mixes up what both pickles have remembered."""
    objects = np.array([{"a": Decimal(1)}, np.arange(3), Decimal(2), np.arange(2)], dtype=object)
    model = b"csklearn.tree._tree\nTree\n\x94)\x81\x94}\x94" + b"\x8c\x01a\x94000"
    content = payloads.joblib_file([objects, ARRAYS[0], objects], protocol=protocol, before=model)
    assert checked("a.joblib", content, tmp_path).findings.kept == []


def test_names_that_only_a_plain_reader_sees_are_found(tmp_path: Path) -> None:
    """The array's own pickle remembers harmless names; read as one with the outer one they are os.system."""
    fill = b"N\x940" * 50
    names = fill + payloads.text("os") + b"\x940" + payloads.text("system") + b"\x940" + fill
    own = fill + payloads.text("collections") + b"\x940" + payloads.text("OrderedDict") + b"\x940"
    inner = b"\x80\x04" + own + b"h\x32h\x33\x93)R."
    content = payloads.joblib_file([np.array([1], dtype=object)], [inner], before=names)
    (error,) = errors(checked("a.joblib", content, tmp_path))
    assert (error.reason, error.byte_offset) == ("unsafe_opcode", content.index(inner) + len(inner) - 4)
    assert "os.system" in error.message


@pytest.mark.parametrize(
    "trick",
    {
        "name made while loading": b"c_codecs\nencode\n"
        + payloads.text("bf")
        + payloads.text("rot13")
        + b"\x86R"
        b"\x94" + payloads.text("system") + b"\x93.",
        "call of what a call returned": b"c_codecs\nencode\n" + payloads.text("x") + b"\x85R)R.",
        "a class of an array changed": b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81N}\x86b)R.",
    }.values(),
)
def test_tricks_in_the_raw_bytes_of_an_array_are_found(tmp_path: Path, trick: bytes) -> None:
    content = payloads.joblib_file([np.zeros(len(trick), dtype=np.uint8)], [trick], aligned=False)
    assert "unsafe_opcode" in reasons(checked("a.joblib", content, tmp_path))


def test_names_are_known_behind_a_large_vocabulary(tmp_path: Path) -> None:
    """Names that are put aside behind, and before, more values than are kept."""
    first = [Decimal(1), {str(each): each for each in range(60_000)}]
    content = pickle.dumps([first, np.arange(3), np.float64(1.5), Decimal(2), np.arange(4)], 4)
    assert checked("model.pkl", content, tmp_path).findings.kept == []


def test_a_name_that_was_forgotten_counts_as_unsafe(tmp_path: Path) -> None:
    many = b"".join(payloads.text(str(each)) + b"\x940" for each in range(30_000))
    content = (
        b"\x80\x04" + payloads.text("os") + b"\x940" + many + b"h\x00" + payloads.text("system") + b"\x93."
    )
    (error,) = errors(checked("model.pkl", content, tmp_path))
    assert (error.reason, error.byte_offset) == ("unsafe_opcode", len(content) - 2)


def test_an_array_of_unknown_size_ends_the_check(tmp_path: Path) -> None:
    content = payloads.joblib_file(ARRAYS).replace(b"\x8c\x05shape", b"\x8c\x05sharp")
    assert [each.reason for each in errors(checked("a.joblib", content, tmp_path))] == ["rest_unchecked"]


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "zlib": zlib.compress,
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
}


@pytest.mark.parametrize("kind", PACKERS)
def test_packed_joblib_is_looked_through(tmp_path: Path, kind: str) -> None:
    content = payloads.joblib_file(ARRAYS)
    assert errors(checked("a.joblib", PACKERS[kind](content), tmp_path)) == []
    planted = PACKERS[kind](content[:-1] + b"cos\nsystem\n.")
    assert [each.byte_offset for each in errors(checked("a.joblib", planted, tmp_path))] == [len(content) - 1]
    cut = checked("a.joblib", planted[: len(planted) // 2], tmp_path)
    assert not cut.report.passed


def test_a_bomb_and_lz4_do_not_pass(tmp_path: Path) -> None:
    bomb = bz2.compress(b"\x80\x04B" + (300 << 20).to_bytes(4, "little") + bytes(100 << 20))
    assert "pack_bomb" in reasons(checked("a.joblib", bomb, tmp_path))
    assert "rest_unchecked" in reasons(checked("a.joblib", b"\x04\x22\x4d\x18" + bytes(10), tmp_path))


@pytest.mark.parametrize(
    ("module", "name", "verdict"),
    [
        ("torch", "FloatStorage", Verdict.SAFE),
        ("torch._utils", "_rebuild_tensor_v2", Verdict.SAFE),
        ("sklearn.ensemble._forest", "RandomForestClassifier", Verdict.SAFE),
        ("sklearn.tree._tree", "Tree", Verdict.SAFE),
        ("numpy.testing._private.utils", "runstring", Verdict.UNSAFE),
        ("sklearn.metrics._classification", "accuracy_score", Verdict.SAFE),
        ("sklearn.feature_selection._univariate_selection", "f_classif", Verdict.SAFE),
        ("sklearn._loss._loss", "__pyx_unpickle_CyHalfBinomialLoss", Verdict.SAFE),
        ("sklearn.model_selection", "cross_val_score", Verdict.UNSAFE),
        ("scipy.sparse._csr", "csr_matrix", Verdict.SAFE),
        ("scipy.interpolate._bsplines", "BSpline", Verdict.SAFE),
        ("scipy.stats._distn_infrastructure", "rv_continuous", Verdict.UNSAFE),
        ("numpy", "int8", Verdict.SAFE),
        ("numpy", "log1p", Verdict.SAFE),
        ("numpy", "vectorize", Verdict.UNSAFE),
        ("numpy", "frompyfunc", Verdict.UNSAFE),
        ("numpy", "fromfile", Verdict.UNSAFE),
        ("numpy._core._multiarray_umath", "_ufunc_reconstruct", Verdict.UNSAFE),
        ("pandas", "DataFrame", Verdict.SAFE),
        ("pandas.core.indexes.base", "_new_Index", Verdict.SAFE),
        ("pandas._libs.internals", "_unpickle_block", Verdict.SAFE),
        ("pandas", "read_pickle", Verdict.UNSAFE),
        ("pandas.core.computation.eval", "Expr", Verdict.UNSAFE),
        ("torch._C._nn", "gelu", Verdict.SAFE),
        ("torch.optim.adamw", "AdamW", Verdict.SAFE),
        ("torch.storage", "_load_from_bytes", Verdict.UNSAFE),
        ("torch.nn.modules.module", "warnings.sys.modules", Verdict.UNSAFE),
        ("_pyrepl.pager", "pipe_pager", Verdict.UNSAFE),
        ("telnetlib", "Telnet", Verdict.UNSAFE),
        ("builtins", "eval", Verdict.UNSAFE),
        ("builtins", "getattr", Verdict.UNSAFE),
        ("torch.hub", "load", Verdict.UNSAFE),
        ("torch", "load", Verdict.UNSAFE),
        ("functools", "partial", Verdict.UNSAFE),
        ("idlelib.pyshell", "ModifiedInterpreter", Verdict.UNSAFE),
        ("sklearn.datasets._base", "Popen", Verdict.UNSAFE),
        ("mine", "os.system", Verdict.UNSAFE),
        ("mine", "Net", Verdict.UNKNOWN),
        ("__main__", "Net", Verdict.UNKNOWN),
        ("", "x", Verdict.UNSAFE),
    ],
)
def test_what_a_name_means(module: str, name: str, verdict: Verdict) -> None:
    assert judge(module, name) is verdict


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_no_damage_breaks_the_scan(data: st.DataObject) -> None:
    base = data.draw(st.sampled_from([payloads.evil(0), payloads.evil(4), payloads.joblib_file(ARRAYS[:1])]))
    at = data.draw(st.integers(0, len(base)))
    gone = data.draw(st.integers(0, 6))
    content = base[:at] + data.draw(st.binary(max_size=8)) + base[at + gone :]
    with tempfile.TemporaryDirectory() as folder:
        found = checked("a.pkl", content, Path(folder))
    assert all(each.byte_offset is not None for each in errors(found))


@given(st.integers(0, 5), st.integers(0, 400))
@settings(max_examples=40, deadline=None)
def test_code_is_found_behind_any_values(protocol: int, count: int) -> None:
    content = pickle.dumps([*map(str, range(count)), {"deep": [payloads.EVIL]}], protocol)
    with tempfile.TemporaryDirectory() as folder:
        (error,) = errors(checked("a.pkl", content, Path(folder)))
    assert "posix.system" in error.message
