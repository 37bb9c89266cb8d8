"""Settings of the running server as an administrator may see them: without any secret."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ShownSetting:
    """One setting; `value` is in the form that the environment takes, empty for a secret."""

    name: str
    value: str
    origin: str  # default, or the flag, the variable or the file that it came from
    help: str
    default: str
    kind: str
    secret: bool
    populated: bool  # whether it has a value
