"""Which contract items are proven, and by which tests.

`docs/contract.toml` lists every item with its home. A test proves items by a `contract` marker with their
ids on itself, on one of its parameters, on its class or in the module's `pytestmark`. Tests are read as
syntax trees and never imported, so the page is made in a second and needs nothing installed. Methods of a
contract suite (a class that pytest does not collect by itself) count where a `Test…` class inherits them.
A test that may skip or fail by design proves nothing and is left out.
"""

import ast
import dataclasses
import pathlib
import re
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONTRACT = ROOT / "docs" / "contract.toml"
TESTS = ROOT / "tests"
SYSTEMS = {"S0": 114, "S1": 72, "S2": 54, "S3": 63, "S4": 48}
_UNPROVING_MARKS = {"skip", "skipif", "xfail", "gpu"}
_SKIP_CALLS = {"skip", "importorskip", "xfail"}


@dataclasses.dataclass(frozen=True, slots=True)
class Item:
    """One row of the contract."""

    id: str
    what: str
    home: str


@dataclasses.dataclass(frozen=True, slots=True)
class Proof:
    """A test function and the items its markers name."""

    name: str
    ids: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Suite:
    """A class with tests, before inheritance is resolved."""

    file: pathlib.Path
    name: str
    bases: tuple[str, ...]
    ids: tuple[str, ...]
    proofs: tuple[Proof, ...]


class MarkerError(ValueError):
    """A marker that cannot be read from the source."""


def expected_ids() -> list[str]:
    """Return all ids the contract must have, in order."""
    return [f"{system}-{number}" for system, count in SYSTEMS.items() for number in range(1, count + 1)]


def load_items(path: pathlib.Path = CONTRACT) -> list[Item]:
    """Read the contract; a row without text or home is an error."""
    rows = tomllib.loads(path.read_text(encoding="utf-8"))
    items = [Item(key, row["what"], row["home"]) for key, row in rows.items()]
    for item in items:
        if not item.what or not item.home:
            raise ValueError(f"{path.name}: {item.id} needs both `what` and `home`")
    return items


def collect(tests: pathlib.Path = TESTS) -> dict[str, list[str]]:
    """Return the tests that prove each id, as sorted pytest node names relative to the repository."""
    suites: dict[str, list[Suite]] = {}
    proven: dict[str, set[str]] = {}
    for file in sorted(tests.rglob("*.py")):
        module = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
        where = f"{tests.name}/{file.relative_to(tests).as_posix()}"
        module_ids = _module_ids(module, where)
        for proof in _proofs(module.body, where) if file.name.startswith("test_") else ():
            for key in (*module_ids, *proof.ids):
                proven.setdefault(key, set()).add(f"{where}::{proof.name}")
        for suite in _suites(module, file, where, module_ids):
            suites.setdefault(suite.name, []).append(suite)
    for suite in (suite for group in suites.values() for suite in group):
        if suite.name.startswith("Test") and suite.file.name.startswith("test_"):
            where = f"{tests.name}/{suite.file.relative_to(tests).as_posix()}::{suite.name}"
            for proof in _inherited(suite, suites, set()):
                for key in proof.ids:
                    proven.setdefault(key, set()).add(f"{where}::{proof.name}")
    return {key: sorted(names) for key, names in proven.items()}


def render(items: list[Item], proven: dict[str, list[str]]) -> str:
    """Write the page: counts first, then one row per item."""
    lines = [
        "# Contract coverage",
        "",
        "Made by `make coverage` from [contract.toml](contract.toml) and the tests' `contract` markers.",
        "An item counts when a test that never skips proves it.",
        "",
        "| source system | proven | items |",
        "|---|---:|---:|",
    ]
    for system in SYSTEMS:
        own = [item for item in items if item.id.startswith(f"{system}-")]
        lines.append(f"| {system} | {sum(item.id in proven for item in own)} | {len(own)} |")
    lines.append(f"| **all** | **{sum(item.id in proven for item in items)}** | **{len(items)}** |")
    lines += ["", "| id | what | where it lives | proven by |", "|---|---|---|---|"]
    for item in items:
        tests = ", ".join(f"`{name}`" for name in proven.get(item.id, ())) or "not yet"
        lines.append(f"| {item.id} | {_cell(item.what)} | {_cell(item.home)} | {tests} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """Return docs/coverage.md as it should be now; a marker of an unknown item is an error."""
    items = load_items()
    proven = collect()
    unknown = sorted(set(proven) - {item.id for item in items})
    if unknown:
        raise MarkerError(f"markers name items that the contract does not have: {', '.join(unknown)}")
    return render(items, proven)


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


def _suites(module: ast.Module, file: pathlib.Path, where: str, outer: tuple[str, ...]) -> list[Suite]:
    found = []
    for node in module.body:
        if isinstance(node, ast.ClassDef) and not _unproving(node.decorator_list):
            bases = tuple(_last_name(base) for base in node.bases)
            ids = (*outer, *_ids(node.decorator_list, where), *_module_ids(node, where))
            found.append(Suite(file, node.name, bases, ids, tuple(_proofs(node.body, where))))
    return found


def _inherited(suite: Suite, suites: dict[str, list[Suite]], seen: set[str]) -> list[Proof]:
    """Return the suite's tests with all ids that apply, its own first, then its bases'."""
    proofs = {proof.name: proof for proof in suite.proofs}
    for base in suite.bases:
        for parent in () if base in seen else suites.get(base, ()):
            for proof in _inherited(parent, suites, seen | {base}):
                proofs.setdefault(proof.name, proof)
    return [Proof(proof.name, (*suite.ids, *proof.ids)) for proof in proofs.values()]


def _proofs(body: list[ast.stmt], where: str) -> list[Proof]:
    return [
        Proof(node.name, _ids(node.decorator_list, where))
        for node in body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not _unproving(node.decorator_list)
        and not _may_skip(node)
    ]


def _module_ids(scope: ast.Module | ast.ClassDef, where: str) -> tuple[str, ...]:
    marks = [
        node.value
        for node in scope.body
        if isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == "pytestmark" for target in node.targets)
    ]
    return _ids(marks, where)


def _ids(nodes: list[ast.expr], where: str) -> tuple[str, ...]:
    ids = []
    for call in (part for node in nodes for part in ast.walk(node) if isinstance(part, ast.Call)):
        if not _is_mark(call.func, {"contract"}):
            continue
        for argument in call.args:
            if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
                raise MarkerError(
                    f"{where}:{call.lineno}: write the ids of a contract marker as plain strings"
                )
            ids.append(argument.value)
    return tuple(ids)


def _unproving(nodes: list[ast.expr]) -> bool:
    return any(
        _is_mark(node.func if isinstance(node, ast.Call) else node, _UNPROVING_MARKS) for node in nodes
    )


def _may_skip(test: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    calls = (node.func for node in ast.walk(test) if isinstance(node, ast.Call))
    return any(
        isinstance(call, ast.Attribute) and call.attr in _SKIP_CALLS and _last_name(call.value) == "pytest"
        for call in calls
    )


def _is_mark(node: ast.expr, names: set[str]) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in names and _last_name(node.value) == "mark"


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
