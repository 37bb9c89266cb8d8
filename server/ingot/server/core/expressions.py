"""What a filter of the catalog asks for, as a tree: values, words and numbers, joined by AND, OR and NOT.

domain/filters.py reads it from text, storage/artifact_finding.py finds what it holds for.
"""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Term:
    """One searchable value of an artifact, such as (tag, chat); both lower case."""

    field: str
    value: str


@dataclass(frozen=True, slots=True)
class Word:
    """A word as it is indexed (core/texts.py); a trailing * stands for any ending."""

    text: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """A number of an artifact compared with another: bytes, a count, or epoch seconds."""

    field: str
    operator: str  # one of < <= > >= =
    value: float

    def holds(self, number: float) -> bool:
        """Return whether it holds for this number."""
        match self.operator:
            case "<":
                return number < self.value
            case "<=":
                return number <= self.value
            case ">":
                return number > self.value
            case ">=":
                return number >= self.value
            case _:
                return number == self.value


@dataclass(frozen=True, slots=True)
class AllOf:
    """All of the parts; without any it holds for everything."""

    parts: "tuple[Expression, ...]" = ()


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of the parts."""

    parts: "tuple[Expression, ...]"


@dataclass(frozen=True, slots=True)
class NotOf:
    """Whatever the part does not hold for."""

    part: "Expression"


Expression: TypeAlias = Term | Word | Comparison | AllOf | AnyOf | NotOf
EVERYTHING = AllOf()


def all_of(*parts: Expression) -> Expression:
    """Return the expression for all of the parts, in its shortest form."""
    return parts[0] if len(parts) == 1 else AllOf(parts)
