"""The house keeps its plan: one namespace, words of the glossary, small files, light starts, layers."""

import ast
import functools
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
CODE_ROOTS = ("server", "clients/python", "clients/worker")
IMPORT_ROOTS = (*CODE_ROOTS, "generated/python")
PACKAGES = (
    "server/ingot/server",
    "clients/python/ingot/client",
    "clients/python/ingot/content",
    "clients/worker/ingot/worker",
)
FILES = sorted(file for root in CODE_ROOTS for file in (ROOT / root).rglob("*.py"))

# "Model" always means an ML model, and the others are not words of the glossary.
UNWANTED_NAMES = {"models", "util", "utils", "helper", "helpers", "manager", "managers", "misc", "common"}
FILE_LINES = 400
FUNCTION_LINES = 60
SERVICER_METHOD_LINES = 25
# A straight training loop may stay long (style page, 17), but not without end.
TRAINING_LOOP = "clients/worker/ingot/worker/train.py"
TRAINING_LOOP_LINES = 500

HEAVY = {"torch", "deepspeed", "transformers", "tokenizers", "safetensors"}


def _name(file: pathlib.Path) -> str:
    return file.relative_to(ROOT).as_posix()


def test_ingot_is_a_namespace_package() -> None:
    assert [root for root in IMPORT_ROOTS if (ROOT / root / "ingot" / "__init__.py").exists()] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_each_root_holds_one_real_typed_package(package: str) -> None:
    assert (ROOT / package / "__init__.py").is_file()
    assert (ROOT / package / "py.typed").is_file()


def test_every_folder_below_is_a_package() -> None:
    folders = {file.parent for file in FILES}
    assert sorted(_name(folder) for folder in folders if not (folder / "__init__.py").exists()) == []


def test_tests_are_no_package() -> None:
    assert sorted(_name(file) for file in (ROOT / "tests").rglob("__init__.py")) == []


def test_files_have_names_of_the_glossary() -> None:
    assert [_name(file) for file in FILES if file.stem in UNWANTED_NAMES] == []


def test_files_are_small() -> None:
    sizes = {_name(file): len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    assert sizes.pop(TRAINING_LOOP) <= TRAINING_LOOP_LINES
    assert {name: size for name, size in sizes.items() if size > FILE_LINES} == {}


@functools.cache
def _parsed(file: pathlib.Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _functions(file: pathlib.Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [
        node for node in ast.walk(_parsed(file)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def _lines(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_functions_are_short() -> None:
    long = {
        f"{_name(file)}::{function.name}": _lines(function)
        for file in FILES
        if _name(file) != TRAINING_LOOP
        for function in _functions(file)
        if _lines(function) > FUNCTION_LINES
    }
    assert long == {}


def test_servicer_methods_only_convert_and_call() -> None:
    methods = {
        f"{_name(file)}::{function.name}": _lines(function)
        for file in (ROOT / "server/ingot/server/rpc").rglob("*.py")
        for function in _functions(file)
        if re.fullmatch(r"([A-Z][a-z]+)+", function.name)
    }
    assert methods, "the servicers moved; this test looks in rpc/"
    assert {name: size for name, size in methods.items() if size > SERVICER_METHOD_LINES} == {}


def _called(call: ast.Call) -> str:
    """Return the name of what is called, with two dots at most."""
    match call.func:
        case ast.Name(name):
            return name
        case ast.Attribute(ast.Name(module), name):
            return f"{module}.{name}"
        case ast.Attribute(ast.Attribute(ast.Name(top), module), name):
            return f"{top}.{module}.{name}"
    return ""


def test_tests_wait_for_conditions_and_never_sleep() -> None:
    sleeping = [
        f"{_name(file)}:{node.lineno}"
        for file in (ROOT / "tests").rglob("*.py")
        if _name(file) != "tests/helpers/eventually.py"
        for node in ast.walk(_parsed(file))
        if isinstance(node, ast.Call) and _called(node) in {"time.sleep", "asyncio.sleep", "sleep"}
        if ast.unparse(node.args[0]) != "0"  # yielding to the loop is no waiting
    ]
    assert sleeping == []


def _names_of_ours(tree: ast.Module) -> set[str]:
    """Return the names under which a file imports our modules."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ingot"):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.asname or "ingot" for alias in node.names if alias.name.startswith("ingot.")}
    return names


def _patches_of_ours(tree: ast.Module) -> list[str]:
    """Return the calls that replace an attribute of one of our modules or classes."""
    ours = _names_of_ours(tree) | {"ingot"}
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return [
        ast.unparse(call)
        for call in calls
        if _called(call) in {"monkeypatch.setattr", "mock.patch", "mock.patch.object", "patch"}
        if ast.unparse(call.args[0]).strip("'").partition(".")[0] in ours
    ]


def test_tests_never_patch_our_own_modules() -> None:
    example = "from ingot.server.core import clock\nmonkeypatch.setattr(clock, 'now', 1)"
    assert _patches_of_ours(ast.parse(example)) == ["monkeypatch.setattr(clock, 'now', 1)"]
    patched = {
        _name(file): calls
        for file in (ROOT / "tests").rglob("*.py")
        if (calls := _patches_of_ours(_parsed(file)))
    }
    assert patched == {}


def _loaded_by(module: str) -> set[str]:
    """Return the top-level packages that importing `module` brings into a fresh interpreter."""
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}}, sep='\\n')"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / root) for root in IMPORT_ROOTS)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("ingot.client.cli.main", HEAVY | {"huggingface_hub", "rich", "numpy", "peewee", "asyncio"}),
        ("ingot.client", HEAVY | {"huggingface_hub", "rich", "numpy", "peewee"}),
        ("ingot.server.cli", HEAVY | {"huggingface_hub", "rich", "numpy"}),
        ("ingot.server.app", HEAVY | {"huggingface_hub", "rich", "numpy"}),
        ("ingot.server.bodies.__main__", HEAVY | {"huggingface_hub", "grpc", "numpy", "peewee"}),
        ("ingot.worker.cli", HEAVY | {"huggingface_hub", "rich", "numpy", "peewee"}),
        ("ingot.worker.agent", HEAVY | {"huggingface_hub", "rich", "peewee"}),
    ],
)
def test_start_is_light(module: str, forbidden: set[str]) -> None:
    assert _loaded_by(module) & forbidden == set()


@pytest.mark.slow
@pytest.mark.long  # `make layers` says the same of what is imported by name
def test_trainer_starts_without_protocol() -> None:
    assert _loaded_by("ingot.worker.train") & {"grpc"} == set()


def _lint(folder: pathlib.Path) -> subprocess.CompletedProcess[str]:
    program = pathlib.Path(sys.executable).with_name("lint-imports")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(folder / root) for root in IMPORT_ROOTS)}
    command = [str(program), "--no-logo", "--no-cache"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Copy the code with one forbidden import per contract."""
    folder = tmp_path_factory.mktemp("planted")
    for root in IMPORT_ROOTS:
        shutil.copytree(
            ROOT / root / "ingot", folder / root / "ingot", ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", folder)
    plants = {
        "server/ingot/server/core/planted.py": "import ingot.server.domain\n",  # server-layers
        "server/ingot/server/rpc/planted.py": "import ingot.server.storage\n",  # doors
        "server/ingot/server/domain/planted.py": "import grpc\nimport peewee\n",  # protocol, rows
        "server/ingot/server/planted.py": "import torch\nimport ingot.client\n",  # torch-free
        "server/ingot/server/bodies/planted.py": "import ingot.server.storage\n",  # bodies
        "server/ingot/server/more_planted.py": "import ingot.server.bodies\n",  # nobody-imports-bodies
        "clients/python/ingot/client/planted.py": "import ingot.server\nimport ingot.worker\n",
        "clients/python/ingot/content/planted.py": "import ingot.v1.catalog_pb2\n",  # content
    }
    for name, text in plants.items():
        (folder / name).write_text(text, encoding="utf-8")
    wrong_ways = {
        "clients/worker/ingot/worker/train.py": "import grpc\n",  # protocol-free
        "server/ingot/server/settings/serving.py": "import ingot.server.settings.page\n",  # settings-layers
    }
    for name, line in wrong_ways.items():
        text = (folder / name).read_text(encoding="utf-8")
        (folder / name).write_text(line + text, encoding="utf-8")
    return folder


@pytest.mark.slow
@pytest.mark.long  # `make check` says so too
def test_layers_hold() -> None:
    done = _lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_every_layer_contract_fails_when_it_is_broken(planted: pathlib.Path) -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    names = {contract["name"] for contract in settings["tool"]["importlinter"]["contracts"]}
    done = _lint(planted)
    broken = set(re.findall(r"^(.+) BROKEN\b", done.stdout, re.MULTILINE))
    assert broken == names, done.stdout + done.stderr
