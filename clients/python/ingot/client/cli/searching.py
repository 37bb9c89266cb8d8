"""search, facets and watch: finding models and datasets, and following what becomes of them."""

import argparse
from typing import TYPE_CHECKING

from ingot.client._errors import IngotError
from ingot.client._references import KINDS
from ingot.client.cli import artifacts, formats, named
from ingot.client.cli.command import Command, Parser, declare_limit
from ingot.client.cli.output import Listing
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.v1 import catalog_pb2

_SHOWN = 8  # values of a field on one line


class Search(Command):
    """Find models and datasets whose name, description, tags or card hold all of the words, newest first.

    A word ending in * finds all that begin with it. Letters that Arabic and Persian keyboards write
    differently, their points, digits of all scripts and half-spaces make no difference. Filters as in
    `ingot ls` may stand among the words, in quotes where the shell would read them.
    """

    examples = ("ingot search chat", "ingot search gpt* 'size_bytes<4GB' --kind models")
    words: list[str]
    kind: str
    sort: str
    facets: bool
    limit: int

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("words", nargs="+", metavar="WORD", help="what to look for, or parts of a filter")
        _declare_kind(parser)
        parser.add_argument("--sort", default="", metavar="F", help="as ingot ls")
        parser.add_argument("--facets", action="store_true", help="also count what was found by its values")
        declare_limit(parser)

    def run(self, shell: Shell) -> int:
        asked = " ".join(self.words)
        listing = Listing(shell.out, self.limit)
        found = shell.client.catalog.list(
            self.kind,
            namespace=self.namespace or None,
            filter=asked,
            order_by=self.sort,
            limit=listing.wanted,
        )
        if not self.facets:
            artifacts.show_artifacts(listing, found)
            return 0
        counted = shell.client.catalog.facets(self.kind, namespace=self.namespace or None, filter=asked)
        if shell.out.json:
            _dump(shell, list(found)[: self.limit or None], counted)
            return 0
        artifacts.show_artifacts(listing, found)
        if not shell.out.quiet:
            shell.out.line()
            _show(shell, counted)
        return 0


class Facets(Command):
    """Count models and datasets by their values: what else a filter could name."""

    examples = ("ingot facets datasets", "ingot facets --filter 'framework:pytorch' --field tag --values 50")
    kind: str
    filter: str
    field: list[str]
    values: int

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument(
            "kind", nargs="?", default="", choices=("", *KINDS), metavar="KIND", help="models or datasets"
        )
        parser.add_argument("--filter", default="", metavar="F", help="only those that match, as ingot ls")
        parser.add_argument(
            "--field",
            action="append",
            default=[],
            metavar="F",
            help="tag, language, …; may be repeated",
        )
        parser.add_argument("--values", type=int, default=0, metavar="N", help="at most N of each field")

    def run(self, shell: Shell) -> int:
        counted = shell.client.catalog.facets(
            self.kind,
            namespace=self.namespace or None,
            filter=self.filter,
            fields=self.field,
            max_values=self.values,
        )
        count = formats.count(counted.total_count)
        shell.out.document(counted, count, lambda: _show(shell, counted, self.values or _SHOWN))
        return 0


class Watch(Command):
    """Follow what changes among models and datasets: one line for each that is new, changed or gone.

    Broken connections are resumed and miss nothing but states in between. With --json each line holds the
    token to go on with later (--resume).
    """

    examples = ("ingot watch models", "ingot watch --filter 'tag:chat' --all --json")
    kind: str
    filter: str
    all: bool
    resume: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument(
            "kind", nargs="?", default="", choices=("", *KINDS), metavar="KIND", help="models or datasets"
        )
        parser.add_argument("--filter", default="", metavar="F", help="only those that match, as ingot ls")
        parser.add_argument("--all", action="store_true", help="begin with what is there already")
        parser.add_argument("--resume", default="", metavar="TOKEN", help="go on where a watch has ended")

    def run(self, shell: Shell) -> int:
        names: dict[str, str] = {}
        for message in shell.client.catalog.watch(
            self.kind,
            namespace=self.namespace or None,
            filter=self.filter,
            changes_only=not self.all,
            resume_token=self.resume,
            on_break=lambda error: self._broken(shell, error),
        ):
            self.resume = message.resume_token
            if shell.out.json:
                shell.out.plain(message, indent=None)
            elif message.HasField("artifact"):
                names[message.artifact.uid] = named.short(message.artifact.name)
                shell.out.line(names[message.artifact.uid] if shell.out.quiet else _changed(message.artifact))
            elif message.HasField("gone") and message.gone in names:
                shell.out.line(f"{names.pop(message.gone)}  gone")
        return 0

    def how_to_go_on(self) -> str:
        """Say how to come back, to where one was."""
        return f"Come back: {self.ingot} watch {self.kind} --resume {self.resume}".replace("  ", " ")

    def _broken(self, shell: Shell, error: IngotError) -> None:
        shell.out.note(f"The connection broke ({error.reason or 'unreachable'}); it is tried again.")


def _declare_kind(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kind", default="", choices=KINDS, metavar="KIND", help="only models, or datasets")


def _changed(artifact: "catalog_pb2.Artifact") -> str:
    version = artifact.current_version.rpartition("/")[2]
    shown = f"@{version}  {formats.size(artifact.size_bytes)}" if version else "  no version"
    return f"{named.short(artifact.name)}{shown}  {formats.moment(artifact.update_time)}"


def _show(shell: Shell, counted: "catalog_pb2.GetFacetsResponse", most: int = _SHOWN) -> None:
    facts = {"found": formats.count(counted.total_count)}
    for facet in counted.facets:
        values = [f"{each.value} {formats.count(each.count)}" for each in facet.values[:most]]
        more = facet.more or len(facet.values) > most
        facts[facet.field] = ", ".join([*values, *(["…"] if more else [])])
    shell.out.facts({name: value for name, value in facts.items() if value})


def _dump(
    shell: Shell, found: "list[catalog_pb2.Artifact]", counted: "catalog_pb2.GetFacetsResponse"
) -> None:
    from ingot.client.cli import plain

    parts = {"artifacts": [plain.message(each) for each in found], "facets": plain.message(counted)}
    shell.out.line(plain.dumps(parts, indent=2))
