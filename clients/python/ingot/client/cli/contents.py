"""diff and preview: how two versions differ, and rows of the data in one."""

from typing import TYPE_CHECKING

from ingot.client._errors import Invalid
from ingot.client.cli import formats, named
from ingot.client.cli.command import Command, Parser, declare_limit
from ingot.client.cli.output import Output
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from google.protobuf import struct_pb2

    from ingot.v1 import catalog_pb2

_SIGNS = {"added": "+", "removed": "-", "changed": "~", "same": "="}


class Diff(Command):
    """Show what differs between two versions: metadata, metrics and files.

    Files are compared by their digests, so nothing is fetched. A plus is only in the second version, a minus
    only in the first.
    """

    examples = (
        "ingot diff datasets/chat@1 datasets/chat@2",
        "ingot diff datasets/chat@1 datasets/chat --json",
    )
    base: str
    other: str
    all: bool
    limit: int

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument(
            "base", metavar="REF", help="the version to compare with, for example models/tiny@1"
        )
        parser.add_argument("other", metavar="REF", help="the version to look at")
        parser.add_argument("--all", action="store_true", help="list files that are the same, too")
        declare_limit(parser, " files")

    def run(self, shell: Shell) -> int:
        found = shell.client.versions.compare(
            self.base, self.other, include_same=self.all, limit=self.limit or None
        )
        name = f"{named.short(found.base.name)} {named.short(found.other.name)}"
        shell.out.document(found, name, lambda: _show_difference(shell.out, found))
        return 0


class Preview(Command):
    """Show rows of a data file: the first ones, the last ones, or random ones.

    Rows of JSON and CSV are printed as JSON, one a line; lines of plain text as they are. Only some of a
    large file is read.
    """

    examples = ("ingot preview datasets/chat -n 5", "ingot preview datasets/chat --random --seed 7")
    ref: str
    count: int
    last: bool
    random: bool
    seed: int

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("ref", metavar="REF", help="datasets/NAME[@VERSION][:PATH]")
        parser.add_argument(
            "-n", dest="count", type=int, default=20, metavar="N", help="rows (20, at most 200)"
        )
        parser.add_argument("--last", action="store_true", help="the last ones")
        parser.add_argument("--random", action="store_true", help="random ones")
        parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the random ones (0)")

    def run(self, shell: Shell) -> int:
        if self.last and self.random:
            raise Invalid(
                "Rows are either the last ones or random.", reason="USAGE", next_step="Leave one of them out."
            )
        part = "last" if self.last else "random" if self.random else "first"
        found = shell.client.versions.preview(self.ref, rows=self.count, part=part, seed=self.seed)
        name = f"{named.short(found.version)}:{found.path}"
        shell.out.document(found, name, lambda: _show_rows(shell.out, found, name))
        return 0


def _show_difference(out: Output, found: "catalog_pb2.CompareVersionsResponse") -> None:
    from ingot.v1 import catalog_pb2 as pb

    totals = found.totals
    out.line(f"{named.short(found.base.name)} -> {named.short(found.other.name)}")
    for title, changes in (("metrics", found.performance_metrics), ("metadata", found.metadata)):
        if changes:
            out.line()
            out.table([(title.upper(), "BEFORE", "AFTER", "BY"), *map(_value_row, changes)])
    out.line()
    if found.files:
        rows = [
            (
                _SIGNS[formats.word(pb.ChangeKind.Name(each.change), "CHANGE_KIND")],
                each.path,
                formats.size(each.size_before) if each.root_before else "-",
                formats.size(each.size_after) if each.root_after else "-",
            )
            for each in found.files
        ]
        out.table([("", "FILE", "BEFORE", "AFTER"), *rows])
        out.line()
    grown = totals.changed_bytes_after - totals.changed_bytes_before
    out.line(
        f"{formats.plural(totals.added, 'file')} added ({formats.size(totals.added_bytes)}), "
        f"{formats.count(totals.removed)} removed ({formats.size(totals.removed_bytes)}), "
        f"{formats.count(totals.changed)} changed ({'-' if grown < 0 else '+'}{formats.size(abs(grown))}), "
        f"{formats.count(totals.same)} the same ({formats.size(totals.same_bytes)})"
    )
    differing = totals.added + totals.removed + totals.changed
    if len(found.files) < differing:
        out.note(f"These are the first {len(found.files)} files of {differing}; --limit 0 shows all.")


def _value_row(change: "catalog_pb2.ValueChange") -> tuple[str, ...]:
    by = ""
    if change.HasField("difference"):
        by = f"{change.difference:+.6g}"
    return (
        ".".join(change.path),
        _value(change.before) if change.HasField("before") else "-",
        _value(change.after) if change.HasField("after") else "-",
        by or "-",
    )


def _value(value: "struct_pb2.Value") -> str:
    from ingot.client.cli import plain

    found = plain.message(value)
    return found if isinstance(found, str) else plain.dumps(plain.whole(found))


def _show_rows(out: Output, found: "catalog_pb2.PreviewVersionResponse", name: str) -> None:
    from ingot.client.cli import plain
    from ingot.v1 import catalog_pb2 as pb

    for row in found.rows:
        if not row.HasField("value"):
            out.warn(f"{_place(row)}: {row.problem}")
            out.line(row.text)
        elif row.value.HasField("string_value"):
            out.line(row.value.string_value)
        else:
            values = plain.whole(plain.message(row.value))
            if isinstance(values, dict):
                values = {name: values[name] for name in found.columns if name in values}
            out.line(plain.dumps(values))
    how = {
        pb.PREVIEW_SAMPLING_BY_OFFSET: " The file is large: rows were taken at random places.",
        pb.PREVIEW_SAMPLING_FROM_BEGINNING: " The file is packed: only its beginning was read.",
    }.get(found.sampling, "")
    others = (
        f", one of {formats.count(found.data_file_count)} data files" if found.data_file_count > 1 else ""
    )
    out.note(f"{formats.plural(len(found.rows), 'row')} of {name} ({found.format}{others}).{how}")


def _place(row: "catalog_pb2.PreviewRow") -> str:
    return f"row {row.number}" if row.number else f"byte {row.byte_offset}"
