"""Where versions come from and what comes of them: places, steps between them, and who knows them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from ingot.server.core.names import VersionName


class NodeKind(StrEnum):
    """What a place is."""

    VERSION = "VERSION"
    TRAINING_JOB = "TRAINING_JOB"
    CHECKPOINT = "CHECKPOINT"
    SOURCE = "SOURCE"
    PRINCIPAL = "PRINCIPAL"


class Relation(StrEnum):
    """How a place leads to the next."""

    DATASET = "DATASET"
    BASE = "BASE"
    CHECKPOINT = "CHECKPOINT"
    RESULT = "RESULT"
    IMPORT = "IMPORT"
    PULL = "PULL"


@dataclass(frozen=True, slots=True)
class Node:
    """A place; `id` is unique in one lineage, `name` empty where the caller may not see it."""

    id: str
    kind: NodeKind
    name: str = ""
    digest: bytes = b""
    creator: str = ""
    create_time: float | None = None  # epoch seconds
    state: str = ""
    gone: bool = False
    count: int = 0


@dataclass(frozen=True, slots=True)
class Edge:
    """A step from what was there before to what came of it, by the ids of both."""

    source: str
    target: str
    relation: Relation


@dataclass(frozen=True, slots=True)
class Lineage:
    """All that is told about one place, itself first."""

    nodes: Sequence[Node]
    edges: Sequence[Edge]
    truncated: bool = False


class LineageStore(Protocol):
    """The rows that tell of lineage; inside a read."""

    def jobs_reading(self, name: VersionName, limit: int) -> Sequence[str]:
        """Return the ids of up to `limit` jobs that learn or start from a version, the newest first."""
        ...
