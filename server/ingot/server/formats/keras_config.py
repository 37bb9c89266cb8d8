"""What runs code, or reaches outside the file, in the configuration of a Keras model: for `.keras` and HDF5.

Keras makes what the configuration names: `module` and `class_name` are imported and called, so a name
decides, as it does in a pickle. Layers of Keras itself are data, but for those that hold Python code, load a
pickle of PyTorch or read a path. Everything else of Python and of well-known libraries is refused; a module
that nobody else has is a remark.
"""

import builtins
import json
import re
import sys

from ingot.server.formats import pickle_names

MOST_BYTES = 16 * 1024 * 1024
_CODE = {"Lambda": "Python code", "__lambda__": "Python code", "TorchModuleWrapper": "a pickle of PyTorch"}
_PATHS = {"TFSMLayer": "filepath", "StringLookup": "vocabulary", "IntegerLookup": "vocabulary"}
_OWN = re.compile(r"(keras|tf_keras|tensorflow\.keras|keras_hub|keras_nlp|keras_cv)(\.|$)")
_NOT_DATA = frozenset({"utils", "saving", "export", "api_export", "testing", "datasets"})


class ConfigError(ValueError):
    """The configuration cannot be read."""


def findings(text: str | bytes) -> tuple[list[str], list[str]]:
    """Return what is unsafe in a configuration, and what only needs code of others; each once.

    Raises ConfigError when it is no JSON.
    """
    if len(text) > MOST_BYTES:
        raise ConfigError(f"it has {len(text)} bytes; expected at most {MOST_BYTES}")
    try:
        todo: list[object] = [json.loads(text)]
    except (ValueError, RecursionError) as failure:
        raise ConfigError(f"it is no JSON: {failure}") from None
    unsafe: dict[str, None] = {}
    unknown: dict[str, None] = {}
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            _look_at(item, unsafe, unknown)
            todo += item.values()
        elif isinstance(item, list):
            todo += item
    return sorted(unsafe), sorted(unknown)


def _look_at(item: dict[str, object], unsafe: dict[str, None], unknown: dict[str, None]) -> None:
    name, module, config = item.get("class_name"), item.get("module"), item.get("config")
    if not isinstance(name, str):
        return
    last = name.rpartition(">")[2].rpartition(".")[2]  # `Custom>Lambda` is registered under its last part
    if last in _CODE:
        unsafe[f"The model has {last}, which is {_CODE[last]} that is run on loading."] = None
    path = config.get(_PATHS[last]) if last in _PATHS and isinstance(config, dict) else None
    if isinstance(path, str):
        unsafe[f"{last} reads {path[:200]!r} on loading."] = None
    if isinstance(module, str) and module:
        called = config if name == "function" and isinstance(config, str) else name
        _judge(module, called, unsafe, unknown)


def _judge(module: str, name: str, unsafe: dict[str, None], unknown: dict[str, None]) -> None:
    parts = module.split(".")
    shown = f"{module}.{name}"[:200]
    if _OWN.match(module):
        if _NOT_DATA & set(parts):
            unsafe[f"The model calls {shown!r} on loading, which is no layer."] = None
    elif _is_known(parts[0]) and not _is_of_the_writer(module, name):
        unsafe[f"The model calls {shown!r} on loading."] = None
    else:
        unknown[f"The model needs {shown!r}; whoever loads it must have and trust that code."] = None


def _is_known(top: str) -> bool:
    """Return whether a module is Python's own or of a library that nearly every place has."""
    return top in sys.stdlib_module_names or top in pickle_names.COMMON or top in pickle_names.OTHER_STANDARD


def _is_of_the_writer(module: str, name: str) -> bool:
    """Return whether it is a function or class of the program that wrote the file, as Keras notes them."""
    return module == "__main__" or (module == "builtins" and not hasattr(builtins, name))
