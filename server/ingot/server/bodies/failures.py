"""Failures of a body as its operation keeps them: why, what to do, and whether to try again.

A body raises BodyFailure where it knows best. Everything else is translated here, once:

    errors of the server's core    as they are; Unavailable, Exhausted and TooSlow are tried again
    errors of the client           with the reason the server gave; outages and limits are tried again
    a full disk                    DISK_LOW
    a name that is too long        BAD_PATH; another attempt would not help
    no more memory                 OUT_OF_MEMORY; neither would it there
    anything unexpected            INTERNAL, with the name of the log file and nothing that might be secret
"""

import errno
import resource
from collections.abc import Mapping

from ingot.content.texts import shortened
from ingot.server.core import errors
from ingot.server.core.body_protocol import ReportedProblem, out_of_memory
from ingot.server.core.errors import Reason

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_NOW = (errors.Unavailable, errors.Exhausted, errors.TooSlow, errors.Conflict)


class Cancelled(BaseException):
    """Raised inside a body that was asked to stop; no `except Exception` holds it up."""


class BodyFailure(Exception):
    """Why a body cannot do its work; `retry` says whether another attempt may help, `retry_after` when."""

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        next_step: str = "",
        facts: Mapping[str, str] | None = None,
        retry: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.next_step = next_step
        self.facts = dict(facts or {})
        self.retry = retry
        self.retry_after = retry_after

    def reported(self) -> ReportedProblem:
        """Return it as it is reported."""
        return ReportedProblem(
            reason=self.reason.value,
            message=self.message,
            facts=self.facts,
            next_step=self.next_step,
            retry=self.retry,
            retry_after=self.retry_after,
        )


def translated(error: Exception, log: str) -> BodyFailure:
    """Return any exception as a BodyFailure; `log` names the file where its traceback is."""
    if isinstance(error, BodyFailure):
        return error
    if isinstance(error, errors.IngotError):
        return BodyFailure(
            error.reason,
            error.message,
            next_step=error.next_step,
            facts=error.facts,
            retry=isinstance(error, _NOT_NOW),
            retry_after=error.retry_after,
        )
    if isinstance(error, OSError) and error.errno in _FULL:
        return disk_full(error)
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return _too_long(error)
    if isinstance(error, MemoryError):
        told = out_of_memory(resource.getrlimit(resource.RLIMIT_DATA)[0])
        return BodyFailure(Reason(told.reason), told.message, next_step=told.next_step, facts=told.facts)
    return _of_client(error) or unexpected(error, log)


def disk_full(error: OSError) -> BodyFailure:
    """Return the failure for a disk that filled up while a file was written."""
    return BodyFailure(
        Reason.DISK_LOW,
        f"The server's disk is full: {error.strerror}.",
        next_step="Free or add disk space on the server, then retry the operation; what is there is kept.",
        facts={"path": str(error.filename)} if error.filename else {},
        retry=True,
    )


def _too_long(error: OSError) -> BodyFailure:
    path = shortened(str(error.filename or "a path"))
    return BodyFailure(
        Reason.BAD_PATH,
        f"The server's file system cannot store the name {path}: it is too long.",
        next_step="Choose shorter names: a part of a path has 255 bytes, and what is unfinished needs 40.",
        facts={"path": path},
    )


def unexpected(error: BaseException, log: str) -> BodyFailure:
    """Return the failure for what nobody foresaw; its text may hold anything, so only its type is told."""
    where = f"; its log {log} tells more" if log else ""
    return BodyFailure(
        Reason.INTERNAL,
        f"It failed unexpectedly with {type(error).__name__}{where}.",
        next_step="Retry the operation. If it fails again, report it with the end of that log.",
        facts={"log": log} if log else {},
        retry=True,
    )


def _of_client(error: Exception) -> BodyFailure | None:
    # Only a body that used the client can have raised its errors, and then it is loaded already.
    from ingot import client

    if not isinstance(error, client.IngotError):
        return None
    again = (client.Unreachable, client.LimitReached, client.Stopped, client.Unauthenticated)
    outdated = isinstance(error, client.Conflict) and not isinstance(error, client.AlreadyExists)
    return BodyFailure(
        Reason(error.reason) if error.reason in Reason.__members__ else Reason.INTERNAL,
        error.message,
        next_step=error.next_step,
        facts=error.facts,
        retry=isinstance(error, (*again, client.Integrity, client.ServerFault)) or outdated,
        retry_after=error.retry_after,
    )
