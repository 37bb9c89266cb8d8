"""Bodies of operations in the test's own process: quicker than a process, and the same function.

    done = export(tmp_path, export_folder.run, asked, server.address, token)

The token is that of a person; what only the body of an operation may do needs a whole server.
"""

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from helpers.bodies import body_spec
from ingot.server.bodies.reports import Reports
from ingot.server.bodies.work import Work
from ingot.server.core.params import Params

P = TypeVar("P", bound=Params)
R = TypeVar("R", bound=Params)


def run_here(
    run: Callable[[Work[P]], R],
    asked: P,
    folder: Path,
    *,
    server: str = "unix:/nowhere",
    token: str = "ingot_1_none",
    settings: Mapping[str, str | int | float | bool | tuple[str, ...]] | None = None,
    secrets: Mapping[str, str] | None = None,
    stopping: threading.Event | None = None,
) -> R:
    """Run the body of an export or import; `folder` is its own, as from attempt to attempt."""
    kind = "export" if "destination" in asked.document() else "import"
    spec = body_spec(
        folder, kind, asked.document(), server=server, token=token, settings=settings, secrets=secrets
    )
    Path(spec.folder).mkdir(parents=True, exist_ok=True)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    work = Work(spec, asked, Reports(nowhere), stopping or threading.Event())
    try:
        return run(work)
    finally:
        work.close()
        os.close(nowhere)
