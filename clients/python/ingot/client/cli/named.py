"""References as commands take them: one argument, or the `-id` and `-name` of the systems before Ingot."""

from typing import TYPE_CHECKING

from ingot.client._errors import Invalid
from ingot.client._references import KINDS, MODELS, Reference, TreeReference, parse_reference
from ingot.client.cli.command import Parser

if TYPE_CHECKING:
    from ingot.v1 import catalog_pb2


def declare(parser: Parser, what: str, *flags: str, optional: bool = True) -> None:
    """Declare REF and its older spelling."""
    parser.add_argument("ref", nargs="?" if optional else None, metavar="REF", help=what)
    parser.add_argument(*flags, dest="id", metavar="ID", help="the same by its bare name: a model")


def chosen(ref: str | None, bare: str | None) -> str:
    """Return the reference that was meant; a bare name means a model. Raises Invalid when there is none."""
    if bare and not ref:
        return from_bare(bare)
    if not ref or bare:
        raise Invalid(
            f"Expected one reference, got {'two' if ref else 'none'}.",
            reason="USAGE",
            next_step="Write for example: models/tiny",
        )
    return ref


def from_bare(name: str) -> str:
    """Return the reference of a bare name: `google/flan-t5-small` is models/google_flan-t5-small here."""
    if is_long(name):
        return name
    return f"{MODELS}/{name.replace('/', '_')}"


def is_long(name: str) -> bool:
    """Return whether a name says that it is a model or a dataset; else it is bare, or something else."""
    return name.split("/", maxsplit=1)[0] in (*KINDS, "namespaces")


def hub_source(name: str) -> str | None:
    """Return where a bare name is on the Hub, None when it says more than the name of a model there."""
    return None if is_long(name) or "@" in name or ":" in name else f"hf://{name}"


def short(name: str) -> str:
    """Return a long name of the API as people write it; anything else as it is."""
    if not name.startswith("namespaces/") or name.count("/") < 3:
        return name.removeprefix("namespaces/")
    try:
        return str(parse_reference(name))
    except Invalid:  # a record of what somebody asked for holds whatever that was
        return name


def user(name: str) -> str:
    """Return `ada` for users/ada."""
    return name.removeprefix("users/")


def first_by(usage: "catalog_pb2.Usage") -> str:
    """Return who downloaded first: the name that a client declared, and in brackets who that was."""
    declared, principal = user(usage.first_downloaded_by), user(usage.first_principal)
    return (
        f"{declared} ({principal})" if declared and principal not in ("", declared) else declared or principal
    )


def is_file(found: Reference | TreeReference) -> bool:
    """Return whether a reference names one file."""
    return bool(found.path)
