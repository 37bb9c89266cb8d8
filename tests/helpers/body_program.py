"""A program of bodies for tests of what surrounds bodies: `python -m helpers.body_program`.

Its kind is `clean`; the parameter `path` says which body it is.
"""

import errno
import os
import resource
import sys

from pydantic import ConfigDict

from ingot.server.bodies import harness
from ingot.server.bodies.failures import BodyFailure
from ingot.server.bodies.harness import Body
from ingot.server.bodies.work import Work
from ingot.server.core.errors import Reason, Unavailable
from ingot.server.core.events import FileProgress
from ingot.server.core.params import BundleExport, ExportParams, Params


class Result(Params):
    """What a body of this program tells."""

    model_config = ConfigDict(frozen=True, extra="allow")


def count(work: Work[Params]) -> Params:
    for done in range(1001):
        work.progress(done, 1000, phase="counting", unit="things", message="one by one")
    work.log("counted")
    work.warning(f"the token is {work.spec.token}")
    return Result.model_validate({"counted": 1000})


def leave_and_find(work: Work[Params]) -> Params:
    note = work.folder / "note"
    found = note.read_text() if note.exists() else ""
    note.write_text("left by an earlier attempt")
    return Result.model_validate({"found": found, "cache": os.environ["INGOT_CACHE_DIR"]})


def wait(work: Work[Params]) -> Params:
    work.log("waiting")
    work.wait(600)
    return Result()


def spin(work: Work[Params]) -> Params:
    work.log("spinning")
    while True:
        work.progress(0, phase="spinning")


def refuse(work: Work[Params]) -> Params:
    raise BodyFailure(
        Reason.SOURCE_DENIED, "No.", next_step="Ask nicely.", facts={"name": "x"}, retry=True, retry_after=7.5
    )


def core_error(work: Work[Params]) -> Params:
    raise Unavailable(Reason.SOURCE_UNREACHABLE, "Not now.", retry_after=3.0)


def disk(work: Work[Params]) -> Params:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(work.folder / "big"))


def client_error(work: Work[Params]) -> Params:
    work.client.system.info()
    return Result()


def leak(work: Work[Params]) -> Params:
    raise RuntimeError(f"{work.spec.token} and {work.secrets['example.org']}")


def odd_texts(work: Work[Params]) -> Params:
    work.progress(1, phase="\udcff", files=[FileProgress("\udcfe", 1, 2)])
    work.log("a \udcfd")
    raise BodyFailure(Reason.BAD_PATH, "It holds \udcff.", facts={"path": "\udcff\udcfeq"})


def greedy(work: Work[Params]) -> Params:
    resource.setrlimit(resource.RLIMIT_DATA, (512 << 20, 512 << 20))
    return Result.model_validate({"taken": len([bytearray(64 << 20) for _ in range(32)])})


def find_body(wanted: Params, kind: str) -> Body:
    assert isinstance(wanted, ExportParams)
    assert isinstance(wanted.destination, BundleExport)
    bodies = (
        count,
        leave_and_find,
        wait,
        spin,
        refuse,
        core_error,
        disk,
        client_error,
        leak,
        odd_texts,
        greedy,
    )
    return {body.__name__: body for body in bodies}[wanted.destination.path]


if __name__ == "__main__":
    sys.exit(harness.main(find_body))
