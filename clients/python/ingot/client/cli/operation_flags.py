"""Flags of commands that start an import, an export or a validation: how that one runs."""

import re
from datetime import timedelta
from typing import TYPE_CHECKING

from ingot.client._errors import Invalid
from ingot.client.cli import following
from ingot.client.cli.command import Parser

if TYPE_CHECKING:
    from ingot.v1 import operations_pb2

_SPANS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Tuned(following.Starting):
    """A command that starts an operation whose priority, attempts and timeout may be told."""

    priority: int
    attempts: int
    timeout: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        group = parser.add_argument_group("how it runs")
        group.add_argument(
            "--priority",
            type=int,
            default=0,
            metavar="N",
            help="higher runs first; above 0 for administrators",
        )
        group.add_argument(
            "--attempts", type=int, default=0, metavar="N", help="how often it is tried at most"
        )
        group.add_argument("--timeout", default="", metavar="T", help="longest time of a try: 90s, 10m, 2h")
        super().declare(parser)

    def options(self) -> "operations_pb2.OperationOptions | None":
        """Return what was told, None when nothing was. Raises Invalid."""
        from ingot.client._operations import operation_options

        if self.attempts < 0:
            raise Invalid(f"--attempts: expected 1 or more, got {self.attempts}.", reason="FIELD_INVALID")
        timeout = span(self.timeout) if self.timeout else None
        if not self.priority and not self.attempts and timeout is None:
            return None
        return operation_options(priority=self.priority, max_attempts=self.attempts, timeout=timeout)


def span(text: str, option: str = "--timeout") -> timedelta:
    """Return a span such as 90s, 10m, 2h or 1d. Raises Invalid."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if found is None or not int(found[1]):
        raise Invalid(
            f"{option}: expected a number and s, m, h or d, got {text!r}.",
            reason="FIELD_INVALID",
            next_step=f"Write for example: {option} 10m",
        )
    return timedelta(seconds=int(found[1]) * _SPANS[found[2]])
