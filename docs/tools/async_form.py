"""Makes the async form of the SDK from the SDK itself, so that there is one source of truth.

    python docs/tools/async_form.py          # writes clients/python/ingot/client/aio; make async

Each public method of Client and of its parts becomes an awaited one with the same arguments, documentation
and result; one that returns an iterator becomes an async iterator. A test fails when what is written is not
what this makes.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CLIENT = Path(__file__).parents[2] / "clients" / "python" / "ingot" / "client"
OUTPUT = CLIENT / "aio"
PACKAGE = "ingot.client"
FOLLOWING = re.compile(r"Iterator\[\w+\.(Watch\w+|ReadTrainingLogs)Response\]")  # results of watches


@dataclass(frozen=True)
class Source:
    """A class of the SDK with the modules its methods come from."""

    name: str
    modules: tuple[str, ...]  # its own first, then those of its bases

    @property
    def title(self) -> str:
        """Name of the class that is made."""
        return f"Async{self.name}"


def tree_of(module: str) -> ast.Module:
    """Return the syntax of a module of the SDK."""
    return ast.parse((CLIENT / f"{module}.py").read_text(encoding="utf-8"))


def class_in(tree: ast.Module, name: str) -> ast.ClassDef:
    """Return a class of a module."""
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)


def imports_of(tree: ast.AST) -> dict[str, str]:
    """Return where names of the SDK come from that a module imports, at any depth."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(f"{PACKAGE}._"):
            found.update({each.name: node.module.removeprefix(f"{PACKAGE}.") for each in node.names})
    return found


def sources() -> Iterator[Source]:
    """Yield the client and the classes of its parts."""
    client = tree_of("_client")
    for name, module in (("Client", "_client"), *parts(client).values()):
        tree, modules = tree_of(module), [module]
        known = imports_of(tree)
        bases = [base.id for base in class_in(tree, name).bases if isinstance(base, ast.Name)]
        modules += [known[base] for base in bases if base in known]
        yield Source(name, tuple(modules))


def parts(client: ast.Module) -> dict[str, tuple[str, str]]:
    """Return the parts of the client: property, class, module."""
    known = imports_of(client)
    found = {}
    for node in class_in(client, "Client").body:
        if isinstance(node, ast.FunctionDef) and _decorators(node) == ["cached_property"]:
            assert isinstance(node.returns, ast.Constant), node.name
            name = str(node.returns.value)
            found[node.name] = (name, known[name])
    return found


def methods(source: Source) -> Iterator[ast.FunctionDef]:
    """Yield the public methods of a class and its bases, without properties, each name once."""
    seen: set[str] = set()
    for module in source.modules:
        tree = tree_of(module)
        for found in (node for node in tree.body if isinstance(node, ast.ClassDef)):
            if module == source.modules[0] and found.name != source.name:
                continue
            for node in found.body:
                if isinstance(node, ast.FunctionDef) and node.name[0] != "_" and node.name not in seen:
                    seen.add(node.name)
                    if not _decorators(node):
                        yield node


def _decorators(node: ast.FunctionDef) -> list[str]:
    return [ast.unparse(each) for each in node.decorator_list]


def returned(node: ast.FunctionDef) -> str:
    """Return the annotation of what a method returns."""
    if node.returns is None:
        raise ValueError(f"{node.name} has no annotation")
    if isinstance(node.returns, ast.Constant) and isinstance(node.returns.value, str):
        return node.returns.value
    return ast.unparse(node.returns)


def call_of(node: ast.FunctionDef) -> str:
    """Return a call with the method's own parameters; callbacks that are no progress go over the loop."""
    arguments = node.args
    plain = [each.arg for each in (*arguments.posonlyargs, *arguments.args)][1:]
    given = [_given(each) for each in plain]
    if arguments.vararg:
        given.append(f"*{arguments.vararg.arg}")
    given += [f"{each.arg}={_given(each.arg)}" for each in arguments.kwonlyargs]
    return f"sdk.{node.name}({', '.join(given)})"


def _given(name: str) -> str:
    if name == "on_progress":
        return "told"
    return f"self._on_loop({name})" if name.startswith("on_") else name


def waits(node: ast.FunctionDef) -> bool:
    """Tell methods that may wait for hours until something happens: they get threads of their own."""
    return node.name == "wait" or FOLLOWING.search(returned(node)) is not None


def method_of(node: ast.FunctionDef) -> str:
    """Return the awaited form of a method."""
    result, call = returned(node), call_of(node)
    apart = ", apart=True" if waits(node) else ""
    names = {each.arg for each in (*node.args.args, *node.args.kwonlyargs)}
    head, kind = f"({ast.unparse(node.args)})", "async def"
    if result.startswith("Iterator["):
        result, kind = f"Async{result}", "def"
        body = f"return self._each(lambda sdk: {call}{apart})"
    elif result == "OpenUpload":
        result, kind = "AsyncOpenUpload", "def"
        call = call.replace("=told", "=self._on_loop(on_progress)").replace("sdk.", "of(client).")
        body = f"of = self._part\n        return AsyncOpenUpload(self._running, lambda client: {call})"
    elif "on_progress" in names:
        body = f"return await self._call_told(lambda sdk, told: {call}, on_progress{apart})"
    else:
        body = f"return await self._call(lambda sdk: {call}{apart})"
    text = ast.get_docstring(node, clean=False)
    return f'    {kind} {node.name}{head} -> "{result}":\n        """{text}"""\n        {body}\n'


def imported(source: Source, text: str) -> str:
    """Return the imports that a made module may need: those of its sources, and what they define."""
    wanted = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    wanted |= {
        each.id
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _is_annotation(node.value)
        for each in ast.walk(ast.parse(node.value))
        if isinstance(each, ast.Name)
    }
    lines = ["from collections.abc import AsyncIterator"]
    for module in source.modules:
        tree = tree_of(module)
        guarded = [each for node in tree.body if isinstance(node, ast.If) for each in node.body]
        lines += [
            ast.unparse(node)
            for node in (*tree.body, *guarded)
            if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        defined = {each.name for each in tree.body if isinstance(each, ast.ClassDef | ast.FunctionDef)}
        defined |= {ast.unparse(each.targets[0]) for each in tree.body if isinstance(each, ast.Assign)}
        if needed := sorted(wanted & defined):
            lines.append(f"from {PACKAGE}.{module} import {', '.join(needed)}")
    return "\n".join(lines)


def _is_annotation(text: str) -> bool:
    try:
        return isinstance(ast.parse(text, mode="eval").body, ast.expr) and "\n" not in text
    except SyntaxError:
        return False


def module_of(source: Source) -> str:
    """Return the module with the async form of a class."""
    own = class_in(tree_of(source.modules[0]), source.name)
    skipped = ("close", "with_timeout", "within") if source.name == "Client" else ()
    made = [method_of(node) for node in methods(source) if node.name not in skipped]
    about = ast.get_docstring(own) or source.name
    title = "AsyncMethods" if source.name == "Client" else source.title
    body = f'class {title}(AsyncPart[{source.name}]):\n    """{about}"""\n\n' + "\n".join(made)
    extra = [
        f"from {PACKAGE}.aio._running import AsyncPart",
        f"from {PACKAGE}.{source.modules[0]} import {source.name}",
    ]
    if "AsyncOpenUpload" in body:
        extra.append(f"from {PACKAGE}.aio._open_upload import AsyncOpenUpload")
    header = (
        f'"""{source.name}, to be awaited. Made from {source.modules[0]}.py by docs/tools/async_form.py."""\n'
    )
    return "\n".join((header, imported(source, body), *extra, "", "", body))


def parts_module() -> str:
    """Return the module with the properties of the async client."""
    client = tree_of("_client")
    found = parts(client)
    docs = {
        node.name: ast.get_docstring(node)
        for node in class_in(client, "Client").body
        if isinstance(node, ast.FunctionDef)
    }
    lines = [
        '"""The parts of the async client. Made from _client.py by docs/tools/async_form.py."""\n',
        "from functools import cached_property",
        "from typing import TYPE_CHECKING",
        f"from {PACKAGE}.aio._client import AsyncMethods\n",
        "if TYPE_CHECKING:",
        *(f"    from {PACKAGE}.aio.{module} import Async{name}" for name, module in found.values()),
        "\n\nclass AsyncParts(AsyncMethods):",
        '    """What one may do, by kind; each part is imported when it is first used."""\n',
    ]
    for part, (name, module) in found.items():
        lines += [
            "    @cached_property",
            f'    def {part}(self) -> "Async{name}":',
            f'        """{docs[part]}"""',
            f"        from {PACKAGE}.aio.{module} import Async{name}\n",
            f"        return Async{name}(self._running, lambda client: client.{part})\n",
        ]
    return "\n".join(lines)


def write(folder: Path) -> None:
    """Write all modules that are made into a folder."""
    folder.mkdir(exist_ok=True)
    made = [folder / "_parts.py"]
    made[0].write_text(parts_module(), encoding="utf-8")
    for source in sources():
        made.append(folder / f"{source.modules[0]}.py")
        made[-1].write_text(module_of(source), encoding="utf-8")
    paths = [str(each) for each in made]
    ruff = str(Path(sys.executable).with_name("ruff"))
    config = ("--config", str(Path(__file__).parents[2] / "pyproject.toml"))
    fix = ("check", "--quiet", *config, "--select", "F401,I,F811,UP037", "--fix", "--unsafe-fixes", *paths)
    for command in (("format", "--quiet", *config, *paths), fix, ("format", "--quiet", *config, *paths)):
        subprocess.run((ruff, *command), check=False)


if __name__ == "__main__":
    write(OUTPUT)
