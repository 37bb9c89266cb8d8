"""The public names of the SDK, listed once, and what importing it costs."""

import importlib
import inspect
import pathlib
import subprocess
import sys

import ingot.client

FOLDER = pathlib.Path(ingot.client.__file__).parent


def test_every_listed_name_is_there_and_no_other() -> None:
    assert dir(ingot.client) == sorted(ingot.client.__all__)
    assert len(set(ingot.client.__all__)) == len(ingot.client.__all__)
    for name in ingot.client.__all__:
        assert not name.startswith("_")
        getattr(ingot.client, name)


def test_every_error_is_exported() -> None:
    errors = importlib.import_module("ingot.client._errors")
    names = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.IngotError)
    }
    assert names <= set(ingot.client.__all__)
    drawn = errors.__doc__ or ""
    assert [name for name in names if name not in drawn] == []


def test_type_checkers_see_the_same_names() -> None:
    text = (FOLDER / "__init__.py").read_text(encoding="utf-8")
    assert [name for name in ingot.client.__all__ if f"{name} as {name}" not in text] == []


def test_modules_are_private() -> None:
    assert [file.name for file in FOLDER.glob("*.py") if not file.name.startswith("_")] == []


def test_importing_brings_neither_grpc_nor_protobuf() -> None:
    code = (
        "import sys, ingot.client; print(sorted({'grpc', 'google.protobuf', 'asyncio'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
