"""What people say about a model or dataset: the flags of push, create and edit, and the fields they become.

Requirements and metadata are added to what is there, as tags are; the value null takes a key away. Such a
change is written only over what was read. Where somebody else was faster it is read and made again.
"""

import shlex
import time
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from ingot.client._errors import Conflict, Denied, NotFound
from ingot.client._references import Reference, parse_artifact
from ingot.client.cli import values
from ingot.client.cli.command import Command, Parser
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from google.protobuf import struct_pb2

    from ingot.v1 import catalog_pb2

T = TypeVar("T")
_TRIES = 20  # of a change that others are faster than: in each round somebody's is written
_PAUSE_SECONDS = 0.05  # at most, times the tries before

_TEXTS = {  # field: its shorter flag, if it has one, and what it is
    "display_name": ("--title", "title in any script"),
    "description": ("", "one paragraph"),
    "language": ("", "BCP 47 code, for example fa; several with commas"),
    "license": ("", "SPDX id or name"),
    "framework": ("", "for example pytorch"),
    "task_type": ("--task", "for example text-generation"),
    "model_type": ("--type", "llm, stt, tts, classifier"),
    "source": ("", "manual, huggingface, training, url"),
    "visibility": ("", "private, internal or public"),
}


@dataclass(frozen=True, slots=True)
class Words:
    """What the command line says about an artifact; only what was named is here."""

    texts: Mapping[str, str]  # by field
    tags: tuple[str, ...] = ()
    requirements: Mapping[str, object] = field(default_factory=dict)
    metadata: Mapping[str, object] = field(default_factory=dict)

    @property
    def paths(self) -> list[str]:
        """The fields that are named."""
        added = {"tags": self.tags, "requirements": self.requirements, "metadata": self.metadata}
        return [*self.texts, *(name for name, value in added.items() if value)]

    @property
    def adds(self) -> bool:
        """Whether something is added to what is there."""
        return len(self.paths) > len(self.texts)

    def over(self, before: "catalog_pb2.Artifact | None" = None) -> "catalog_pb2.Artifact":
        """Return the fields as they should be, over what is there. Raises Invalid."""
        from ingot.client._catalog import artifact_fields
        from ingot.v1 import catalog_pb2

        there = before or catalog_pb2.Artifact()
        return artifact_fields(
            tags=[*there.tags, *(tag for tag in self.tags if tag not in there.tags)],
            requirements=merged(there.requirements, self.requirements),
            metadata=merged(there.metadata, self.metadata),
            **self.texts,  # type: ignore[arg-type]  # all of these are texts
        )


def declare_texts(parser: Parser, *, without: Container[str] = ()) -> None:
    """Declare the flags of texts."""
    for name, (short, text) in _TEXTS.items():
        if name not in without:
            flags = [each for each in (short, f"--{name.replace('_', '-')}") if each]
            parser.add_argument(*flags, dest=name, metavar="TEXT", help=text)


def texts_of(command: Command) -> dict[str, str]:
    """Return the texts that were given, by field."""
    return {name: said for name in _TEXTS if isinstance(said := getattr(command, name, None), str)}


class Describing(Command):
    """A command with flags that say something about an artifact."""

    card: str | None
    requirement: list[str]

    @classmethod
    def declare_words(cls, parser: Parser) -> None:
        """Declare these flags."""
        declare_texts(parser)
        parser.add_argument("--card", metavar="FILE", help="Markdown file about it")
        parser.add_argument(
            "--requirement", action="append", default=[], metavar="K=V", help="what using it needs (repeat)"
        )

    def words(self, tags: list[str], metadata: Mapping[str, object]) -> Words:
        """Return what was said. Raises Invalid, and OSError for the card."""
        texts = texts_of(self)
        if self.card is not None:
            with open(self.card, encoding="utf-8") as file:
                texts["card"] = file.read().strip()
        requirements = values.pairs(self.requirement, "--requirement")
        return Words(texts, tuple(tags), requirements, metadata)


def warn_unsaid(shell: Shell, ref: str | Reference, words: Words, *, before: int | None = None) -> None:
    """Warn where words are for a new artifact and this one is there already and says something else.

    `before` is the time, in nanoseconds, before which it must have been made to count as there already.
    """
    from ingot.client.cli import named

    said = [path for path in words.paths if words.texts.get(path) != ""]
    if not said:
        return
    whole = parse_artifact(ref) if isinstance(ref, str) else ref
    try:
        there = shell.client.catalog.get(Reference(whole.kind, whole.artifact, whole.namespace))
    except (NotFound, Denied):  # it will be new; or who may write to it unseen is told nothing of it
        return
    wanted = words.over(there)
    other = [path for path in said if getattr(wanted, path) != getattr(there, path)]
    if not other or (before is not None and there.create_time.ToNanoseconds() >= before):
        return
    name = named.short(there.name)
    tags = [f"+{tag}" for tag in words.tags if tag not in there.tags]
    texts = [f"{_flag(path)} {shlex.quote(words.texts[path])}" for path in other if path in words.texts]
    commands = [f"ingot edit {name} {' '.join(texts)}"] if texts else []
    commands += [f"ingot tag {name} {' '.join(map(shlex.quote, tags))}"] if tags else []
    flags = [_flag(path) if path in words.texts else "--tag" for path in other]
    shell.out.warn(
        f"{name} was there already and stays as it is: {', '.join(flags)} "
        f"{'is' if len(flags) == 1 else 'are'} for a new one. To change it: {' and '.join(commands)}"
    )


def _flag(path: str) -> str:
    return _TEXTS[path][0] or f"--{path.replace('_', '-')}"


def merged(before: "struct_pb2.Struct", changes: Mapping[str, object]) -> dict[str, object]:
    """Return what a structure holds with changes; None removes a key."""
    from google.protobuf import json_format

    found: dict[str, object] = json_format.MessageToDict(before)
    removed = {key for key, value in changes.items() if value is None}
    return {key: value for key, value in {**found, **changes}.items() if key not in removed}


def retried(change: Callable[[], T]) -> T:
    """Return what a read and a guarded write give, made anew while others are faster. Raises Conflict."""
    for tries in range(1, _TRIES):
        try:
            return change()
        except Conflict as error:
            if error.reason != "ETAG_MISMATCH":
                raise
        import random

        time.sleep(random.uniform(0, _PAUSE_SECONDS * tries))  # so that they do not meet again
    return change()
