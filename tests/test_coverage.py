"""docs/coverage.md tells the truth: every item is listed, every marker exists, the page is current."""

import pathlib

import pytest

import contract_coverage
import pages


def test_contract_lists_every_item_once_and_in_order() -> None:
    assert [item.id for item in contract_coverage.load_items()] == contract_coverage.expected_ids()
    assert len(contract_coverage.expected_ids()) == 351


def test_every_marker_names_an_item() -> None:
    assert set(contract_coverage.collect()) <= set(contract_coverage.expected_ids())


@pytest.mark.parametrize("name", sorted(pages.PAGES))
def test_page_is_current(name: str) -> None:
    written = (pages.DOCS / name).read_text(encoding="utf-8")
    assert written == pages.PAGES[name](), f"docs/{name} is not current; run: make coverage"


def _collect(folder: pathlib.Path, **files: str) -> dict[str, list[str]]:
    tests = folder / "tests"
    tests.mkdir()
    for name, text in files.items():
        (tests / f"{name}.py").write_text("import pytest\n" + text, encoding="utf-8")
    return contract_coverage.collect(tests)


def test_collects_markers_of_function_parameter_class_and_module(tmp_path: pathlib.Path) -> None:
    found = _collect(
        tmp_path,
        test_a="""
pytestmark = [pytest.mark.slow, pytest.mark.contract("S0-1")]
@pytest.mark.contract("S0-2", "S0-3")
def test_one(): ...
@pytest.mark.parametrize("key", [pytest.param("a", marks=pytest.mark.contract("S0-4"))])
def test_two(key): ...
@pytest.mark.contract("S0-5")
class TestThree:
    @pytest.mark.contract("S0-6")
    async def test_four(self): ...
""",
    )
    one, two, four = (
        "tests/test_a.py::test_one",
        "tests/test_a.py::test_two",
        "tests/test_a.py::TestThree::test_four",
    )
    assert found == {
        "S0-1": [four, one, two],
        "S0-2": [one],
        "S0-3": [one],
        "S0-4": [two],
        "S0-5": [four],
        "S0-6": [four],
    }


def test_suite_counts_only_where_a_test_class_inherits_it(tmp_path: pathlib.Path) -> None:
    suite = """
class StoreContract:
    @pytest.mark.contract("S1-1")
    def test_put(self): ...
"""
    use = """
import stores
class TestMemory(stores.StoreContract): ...
"""
    found = _collect(tmp_path, stores=suite, test_memory=use, test_other="class Helper: ...")
    assert found == {"S1-1": ["tests/test_memory.py::TestMemory::test_put"]}


@pytest.mark.parametrize("mark", ["skip", "skipif(True, reason='')", "xfail", "gpu"])
def test_tests_that_may_not_run_prove_nothing(tmp_path: pathlib.Path, mark: str) -> None:
    text = f"""
@pytest.mark.{mark}
@pytest.mark.contract("S0-1")
def test_marked(): ...
@pytest.mark.contract("S0-2")
def test_body():
    if True:
        pytest.skip("no")
"""
    assert _collect(tmp_path, test_a=text) == {}


def test_refuses_ids_that_are_not_plain_strings(tmp_path: pathlib.Path) -> None:
    text = """
ID = "S0-1"
@pytest.mark.contract(ID)
def test_one(): ...
"""
    with pytest.raises(contract_coverage.MarkerError, match=r"tests/test_a\.py:4: write the ids"):
        _collect(tmp_path, test_a=text)
