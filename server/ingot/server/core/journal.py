"""What a rule tells the audit log about the write, or read, that it runs in.

    journal.detail(version=str(version.name))    # a fact of the entry that this write makes
    journal.each("granted", users)              # all of them, in as many facts as they need
    journal.about(str(user.name))                # what it is about, where the request cannot name it
    journal.result(str(version.name))            # what is made of it: an upload becomes a version
    journal.used(str(artifact.name))             # an administrator uses another's private thing
    journal.no_act()                             # a repetition, or a sign of life: no entry tells of it
    journal.act("purge", str(artifact.name))     # the server does this by itself, unless a call is behind it

Whoever runs the rule listens (`taking`), and makes the entry inside the same write. Where nobody listens (in
tests of rules) these calls do nothing. Work of the server itself has no entry for each of its writes: it says
with `act` what is one.
"""

import contextlib
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field

FACT_LIMIT = 300  # characters of one value
MOST_FACTS = 80  # two policies that are as long as they may be take 75


@dataclass(frozen=True, slots=True)
class Act:
    """Something that the server did by itself."""

    action: str
    target: str
    facts: dict[str, str]


@dataclass(slots=True)
class Note:
    """What was told so far."""

    target: str = ""
    result: str = ""  # what the call makes of its target
    facts: dict[str, str] = field(default_factory=dict)
    used: str = ""  # another's private thing that an administrator used
    no_act: bool = False
    acts: list[Act] = field(default_factory=list)


_note: ContextVar[Note | None] = ContextVar("ingot_note", default=None)


@contextlib.contextmanager
def taking() -> Iterator[Note]:
    """Take notes of what runs inside the with block, on this thread."""
    note = Note()
    before = _note.set(note)
    try:
        yield note
    finally:
        _note.reset(before)


def detail(**facts: object) -> None:
    """Add facts to the entry, as text; a value that is None or empty is left out."""
    note = _note.get()
    if note is None:
        return
    for name, value in facts.items():
        text = "" if value is None else str(value)
        if text and (name in note.facts or len(note.facts) < MOST_FACTS):
            note.facts[name] = clean(text)


def each(name: str, values: Iterable[str]) -> None:
    """Add facts that tell all of some words: `name`, `name_2` and so on, none of them cut."""
    parts = [""]
    for value in values:
        longer = f"{parts[-1]}, {value}" if parts[-1] else value
        if len(longer) > FACT_LIMIT:
            parts.append(value)
        else:
            parts[-1] = longer
    detail(**{f"{name}_{number}" if number > 1 else name: part for number, part in enumerate(parts, 1)})


def about(target: str) -> None:
    """Name what the entry is about."""
    if (note := _note.get()) is not None:
        note.target = target


def result(name: str) -> None:
    """Name what the call makes of what it is about: the entry is found under this name."""
    if (note := _note.get()) is not None:
        note.result = name


def used(name: str) -> None:
    """Note that an administrator uses a private thing of others, of this name."""
    if (note := _note.get()) is not None and not note.used:
        note.used = name


def no_act() -> None:
    """Note that what changes is nobody's act: the request was carried out before, or says "I am here"."""
    if (note := _note.get()) is not None:
        note.no_act = True


def act(action: str, target: str, **facts: object) -> None:
    """Tell of something that the server does by itself: an entry of its own, where no call is behind it."""
    if (note := _note.get()) is not None:
        told = {name: clean(str(value)) for name, value in facts.items() if value not in (None, "")}
        note.acts.append(Act(action, target, told))


def clean(text: str) -> str:
    """Return a text that is safe in logs and tables, cut to what a fact may have; … tells that it was."""
    safe = "".join(letter if letter.isprintable() else " " for letter in text[: FACT_LIMIT + 1])
    return safe if len(safe) <= FACT_LIMIT else safe[: FACT_LIMIT - 1] + "…"
