"""docs/errors.md: every status and every reason, from the server's one table and the comments of the protos.

A reason's status is what the RPCs say in their *Errors:* lines; the meaning is its comment in errors.proto.
"""

import pathlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf import descriptor_pb2

from ingot.server.rpc import errors

ROOT = pathlib.Path(__file__).resolve().parents[2]
DESCRIPTORS = ROOT / "generated" / "descriptors" / "ingot.binpb"
PREFIX = "ERROR_REASON_"
EVERYWHERE = {  # what the pipeline answers, whatever the method
    "UNAUTHENTICATED": ("TOKEN_MISSING", "TOKEN_INVALID", "TOKEN_EXPIRED"),
    "PERMISSION_DENIED": ("SCOPE_MISSING",),
    "FAILED_PRECONDITION": ("CLIENT_TOO_OLD",),
    "UNAVAILABLE": ("DRAINING", "BUSY"),
    "INTERNAL": ("INTERNAL",),
}
_STATUS = re.compile(r"([A-Z_]{5,}) \(((?:[^()]|\([^()]*\))*)\)")
_REASON = re.compile(r"[A-Z]{2,}(?:_[A-Z]+)*\b")

_HEAD = """\
# Errors

Made from `server/ingot/server/rpc/errors.py` and the comments in `protos/` by `make coverage`.

Every refusal is a gRPC status whose first detail is a `google.rpc.ErrorInfo` with domain `ingot`: `reason` is
a word from the second table, `metadata` holds the facts (names, what was expected, what was found) and, under
`next_step`, what to do. `BadRequest` follows when fields of the request are to blame, `RetryInfo` when
waiting helps. What failed in the background is stored as a `Problem` with the same reason. Only
`UNAVAILABLE` may be tried again without thinking. A fault of the server (`INTERNAL`) says nothing but an
incident id, under which the log of the server has the story. A reason without a status stands in stored
problems, or is reserved for RPCs to come.
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """An RPC may answer this reason with this status."""

    rpc: str
    status: str
    reason: str


def page() -> str:
    """Return the page."""
    meanings, answers = reasons(), list(_answers())
    lines = [_HEAD, "| status | when |", "|---|---|"]
    for kind, code in errors.STATUS_OF.items():
        when = (kind.__doc__ or "").split("\n")[0]
        lines.append(f"| {code.name} | {when} |")
    lines += ["| INTERNAL | A fault of the server. |", ""]
    lines += ["| reason | meaning | status | answered by |", "|---|---|---|---|"]
    for reason, meaning in meanings.items():
        mine = [answer for answer in answers if answer.reason == reason]
        statuses = dict.fromkeys(answer.status for answer in mine)
        rpcs = dict.fromkeys(answer.rpc for answer in mine)
        lines.append(f"| {reason} | {meaning} | {', '.join(statuses)} | {_shown(list(rpcs))} |")
    return "\n".join(lines) + "\n"


def reasons() -> dict[str, str]:
    """Return what each reason means."""
    for file in _files():
        for at, enum in enumerate(file.enum_type):
            if enum.name == "ErrorReason":
                return {
                    value.name.removeprefix(PREFIX): _comment(file, (5, at, 2, index))
                    for index, value in enumerate(enum.value)
                    if value.number
                }
    raise LookupError("there is no ErrorReason in the descriptors")


def told() -> Iterator[Answer]:
    """Yield what each RPC says in its comment."""
    for file in _files():
        for at, service in enumerate(file.service):
            for index, method in enumerate(service.method):
                comment = _comment(file, (6, at, 2, index)).partition("Errors:")[2]
                for status, inside in _STATUS.findall(comment):
                    for part in re.split(r"[,;] ", inside):
                        if match := _REASON.match(part):
                            yield Answer(method.name, status, match[0])


def _answers() -> Iterator[Answer]:
    for status, found in EVERYWHERE.items():
        for reason in found:
            yield Answer("every RPC", status, reason)
    yield from told()


def _shown(rpcs: list[str]) -> str:
    return "every RPC" if "every RPC" in rpcs else ", ".join(rpcs)


def _files() -> list[descriptor_pb2.FileDescriptorProto]:
    files = descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS.read_bytes())
    return [file for file in files.file if file.package == "ingot.v1"]


def _comment(file: descriptor_pb2.FileDescriptorProto, path: tuple[int, ...]) -> str:
    """Return the comment of one thing in one line; a group's heading above it is left out."""
    for place in file.source_code_info.location:
        if tuple(place.path) == path:
            lines = place.leading_comments.strip().splitlines()
            if path[0] == 5:  # a value of the enum: the last line is its own
                lines = lines[-1:]
            return " ".join(line.strip() for line in lines)
    return ""
