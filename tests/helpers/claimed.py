"""Operations that a test has claimed in the place of the runner, so that it runs their bodies itself.

attempt = claimed(server, "import", {...}, target="namespaces/member/models/tiny")
spec = attempt.spec(tmp_path, settings={...}, secrets={...})     # for a body in a process of its own
done = run_here(spec, import_hub.run)                            # or in this one, which is quick
"""

import contextlib
import dataclasses
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from helpers.bodies import body_spec
from helpers.servers import Server
from ingot.server.bodies.failures import translated
from ingot.server.bodies.reports import Reports
from ingot.server.bodies.work import SettingValue, Work
from ingot.server.core.artifacts import JsonObject
from ingot.server.core.body_protocol import BodySpec, Report
from ingot.server.core.identity import system_caller
from ingot.server.core.kinds import KINDS
from ingot.server.core.operations import NewOperation, Operation, QueueLimits
from ingot.server.core.params import Params

_MANY = QueueLimits({"download": 1000, "validate": 1000, "export": 1000, "maintenance": 1000})


@dataclasses.dataclass(frozen=True, slots=True)
class Attempt:
    """A claimed operation."""

    server: Server
    operation: Operation

    @property
    def token(self) -> str:
        """The token of its body."""
        return self.server.app.people.operation_tokens.make(self.operation)

    def spec(
        self,
        folder: Path,
        *,
        secrets: Mapping[str, str] | None = None,
        settings: Mapping[str, SettingValue] | None = None,
    ) -> BodySpec:
        """Return the spec of its body, whose own folder lies in `folder`."""
        return body_spec(
            folder,
            self.operation.kind,
            self.operation.params,
            server=self.server.address,
            token=self.token,
            secrets=secrets,
            settings=settings,
        )


def claimed(
    server: Server, kind: str, params: JsonObject, *, target: str = "", user: str = "member"
) -> Attempt:
    """Queue an operation of a member and claim it in the same write, before the runner could."""
    server.token(user)
    caller = dataclasses.replace(system_caller(), principal=f"users/{user}", user=user)
    parts = server.app.operations

    def claim() -> Operation:
        queued = parts.operations.enqueue(caller, NewOperation(kind, params, target=target, namespace=user))
        found = parts.claims.claim("a test", queued.id, _MANY)
        assert found is not None
        return found

    return Attempt(server, server.app.database.write(claim).result(100))


def run_here(spec: BodySpec, body: Callable[[Work[Any]], Params]) -> Report:
    """Run a body in this process and return its last report."""
    work = Work(
        spec,
        KINDS[spec.kind].params_type.model_validate(spec.params),
        Reports(os.open(os.devnull, os.O_WRONLY)),
        threading.Event(),
    )
    work.folder.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(work):
        try:
            return Report(result=body(work).model_dump(mode="json", exclude_none=True))
        except Exception as error:  # noqa: BLE001  # as the harness does
            return Report(problem=translated(error, spec.log).reported())
