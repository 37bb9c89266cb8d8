"""Findings of one file: every one is counted, the first are kept."""

from collections import Counter
from typing import Literal

from ingot.server.core.params import Finding

KEPT = 1000
_SHOWN = 500  # characters of a message: it may quote names of any length

Severity = Literal["error", "warning"]


class FindingSink:
    """Takes findings of one file in the order of their places."""

    def __init__(self, path: str, kept: int = KEPT) -> None:
        self.path = path
        self.kept: list[Finding] = []
        self.count = 0
        self.errors = 0
        self.failed = False  # by something that is not the fault of single records
        self.reasons: Counter[str] = Counter()
        self._most = kept

    def error(
        self,
        reason: str,
        message: str,
        *,
        row: int | None = None,
        byte_offset: int | None = None,
        column: int | None = None,
    ) -> None:
        """Note what makes the file fail."""
        self.failed = True
        self.bad_record(reason, message, row=row, byte_offset=byte_offset, column=column)

    def bad_record(
        self,
        reason: str,
        message: str,
        *,
        row: int | None = None,
        byte_offset: int | None = None,
        column: int | None = None,
    ) -> None:
        """Note what makes one record bad; whether the file fails by it is for the rules to say."""
        self.errors += 1
        self._add("error", reason, message, row, byte_offset, column)

    def warning(
        self,
        reason: str,
        message: str,
        *,
        row: int | None = None,
        byte_offset: int | None = None,
        column: int | None = None,
    ) -> None:
        """Note what somebody should look at, and nothing fails by."""
        self._add("warning", reason, message, row, byte_offset, column)

    def _add(
        self,
        severity: Severity,
        reason: str,
        message: str,
        row: int | None,
        byte_offset: int | None,
        column: int | None,
    ) -> None:
        self.count += 1
        self.reasons[reason] += 1
        if len(self.kept) < self._most:
            self.kept.append(
                Finding(
                    path=self.path,
                    severity=severity,
                    reason=reason,
                    message=message if len(message) <= _SHOWN else f"{message[:_SHOWN]}…",
                    row=row,
                    byte_offset=byte_offset,
                    column=column,
                )
            )
