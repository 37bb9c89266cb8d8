"""The program of a body: `python -m ingot.server.bodies`, started by the server with a spec on stdin.

Which module does what is said here. A module is imported when its work is wanted: the others, and the
libraries they need, cost nothing.
"""

import os
import sys
from importlib import import_module

from ingot.content import malloc, tuning
from ingot.server.bodies import harness
from ingot.server.bodies.harness import Body
from ingot.server.core import params
from ingot.server.core.params import Params

_MODULES = {
    ("import", "hub"): "import_hub",
    ("import", "urls"): "import_urls",
    ("import", "bundle"): "import_bundle",
    ("export", "folder"): "export_folder",
    ("export", "hub"): "export_hub",
    ("export", "bundle"): "export_bundle",
    ("validate", ""): "validate",
}


def find_body(wanted: Params, kind: str) -> Body:
    """Return the function that does this work."""
    other_side = ""
    if isinstance(wanted, params.ImportParams):
        other_side = wanted.source.kind
    elif isinstance(wanted, params.ExportParams):
        other_side = wanted.destination.kind
    body: Body = import_module(f"ingot.server.bodies.{_MODULES[kind, other_side]}").run
    if kind == "import":
        body = import_module("ingot.server.bodies.verdicts").judged(body)
    return body


if __name__ == "__main__":
    tuning.begin()
    malloc.raise_thresholds()
    status = harness.main(find_body)
    sys.stderr.flush()
    os._exit(status)  # all is told: no thread that waits for a silent server holds it up
