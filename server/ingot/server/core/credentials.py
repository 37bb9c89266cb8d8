"""Secrets of people for outside hosts, such as a token of the Hub."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Credential:
    """A kept secret, without it; times in epoch seconds."""

    user: str  # id
    host: str  # in its one form, see core/hosts.py
    create_time: float
    update_time: float

    @property
    def name(self) -> str:
        """Return the resource name."""
        return f"users/{self.user}/credentials/{self.host}"


class CredentialStore(Protocol):
    """Credentials; what they hold is encrypted wherever it is written down."""

    def put(self, credential: Credential, secret: str) -> Credential:
        """Keep a secret instead of an earlier one of the same user and host, whose create time stays."""
        ...

    def secret(self, user: str, host: str) -> str | None:
        """Return the secret of a user for a host, None without one.

        Raises DataLoss (DATA_LOSS) when it was kept with another key than that of this data folder.
        """
        ...

    def page(self, user: str, after: str, size: int) -> Sequence[Credential]:
        """Return up to `size` of a user whose hosts sort after `after`, in order."""
        ...

    def delete(self, user: str, host: str) -> bool:
        """Forget a credential; return whether there was one."""
        ...
