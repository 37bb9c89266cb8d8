"""What a command works with: the client, the output, and a person to ask if there is a terminal."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from ingot.client._errors import Invalid
from ingot.client.cli import formats
from ingot.client.cli.output import Output

if TYPE_CHECKING:
    from ingot.client._client import Client


@dataclass(slots=True)
class Shell:
    """The surroundings of one run."""

    out: Output
    environ: Mapping[str, str]
    server: str | None = None
    namespace: str = ""
    stdin: TextIO = field(default_factory=lambda: sys.stdin)
    _client: "Client | None" = None

    @property
    def client(self) -> "Client":
        """The client, connected at its first use. Raises IngotError when no server is known."""
        if self._client is None:
            from ingot.client._client import Client
            from ingot.content import malloc

            malloc.raise_thresholds()
            self._client = Client(self.server, namespace=self.namespace)
        return self._client

    def close(self) -> None:
        """Close the connection if there is one."""
        if self._client is not None:
            self._client.close()

    def abandon(self) -> None:
        """Leave the connection to the end of the process: gRPC may never close interrupted calls."""
        self._client = None

    def confirm(self, loss: str, yes: bool) -> bool:
        """Return whether to go on with something that cannot be undone; `yes` answers beforehand.

        Raises Invalid when there is nobody to ask.
        """
        if yes:
            return True
        if not self.stdin.isatty() or not self.out.notes.isatty():
            raise Invalid(
                f"{loss} There is no terminal to ask.",
                reason="CONFIRMATION_NEEDED",
                next_step="Say --yes if that is wanted.",
            )
        self.out.notes.write(f"{formats.visible(loss)}\nGo on? [y/N] ")
        self.out.notes.flush()
        if self.stdin.readline().strip().lower() in ("y", "yes"):
            return True
        self.out.note("Nothing was changed.")
        return False
