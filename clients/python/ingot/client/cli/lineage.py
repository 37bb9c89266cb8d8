"""why: where a version or training job comes from, and what came of it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ingot.client._errors import Invalid
from ingot.client.cli import formats, named
from ingot.client.cli.command import Command, Parser
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.v1 import catalog_pb2

_UP = {
    "DATASET": "learned from",
    "BASE": "started from",
    "CHECKPOINT": "saved by",
    "RESULT": "made by",
    "IMPORT": "imported from",
}
_DOWN = {
    "DATASET": "taught",
    "BASE": "was the base of",
    "CHECKPOINT": "saved",
    "RESULT": "made",
    "PULL": "pulled by",
}


class Why(Command):
    """Show where a version or training job comes from, and what came of it.

    Datasets, base models, training jobs with their checkpoints, results, imports, and who pulled it.
    """

    examples = ("ingot why models/tiny", "ingot why datasets/chat@1 --down --json")
    ref: str
    up: bool
    down: bool
    depth: int

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument(
            "ref", metavar="REF", help="a version, a model or dataset for its latest, or job_12"
        )
        parser.add_argument("--up", action="store_true", help="only where it comes from")
        parser.add_argument("--down", action="store_true", help="only what came of it")
        parser.add_argument("--depth", type=int, default=0, metavar="N", help="steps from there; usually 10")

    def run(self, shell: Shell) -> int:
        if self.up and self.down:
            raise Invalid(
                "Expected --up or --down, got both.", reason="USAGE", next_step="Leave both out to see both."
            )
        found = shell.client.versions.lineage(self.ref, up=not self.down, down=not self.up, depth=self.depth)
        shell.out.document(found, found.nodes[0].name, lambda: shell.out.text("".join(_told(found))))
        if found.truncated and not shell.out.quiet:
            shell.out.note("There is more: --depth shows more steps, and each place can be asked about.")
        return 0


def _told(found: "catalog_pb2.GetLineageResponse") -> Iterator[str]:
    """Yield the lines: the place itself, then above it, then below."""
    nodes = {node.id: node for node in found.nodes}
    yield f"{_line(nodes[found.root])}\n"
    yield from _steps(found, nodes, found.root, True, 1, {found.root})
    yield from _steps(found, nodes, found.root, False, 1, {found.root})


def _steps(
    found: "catalog_pb2.GetLineageResponse",
    nodes: "dict[str, catalog_pb2.LineageNode]",
    place: str,
    upward: bool,
    depth: int,
    told: set[str],
) -> Iterator[str]:
    for edge in found.edges:
        near, far = (edge.target, edge.source) if upward else (edge.source, edge.target)
        if near != place:
            continue
        word = (_UP if upward else _DOWN)[_word(edge)]
        again = far in told
        yield f"{'  ' * depth}{word} {_line(nodes[far])}{' (above)' if again else ''}\n"
        if not again:
            told.add(far)
            yield from _steps(found, nodes, far, upward, depth + 1, told)


def _word(edge: "catalog_pb2.LineageEdge") -> str:
    from ingot.v1 import catalog_pb2

    return catalog_pb2.LineageRelation.Name(edge.relation).removeprefix("LINEAGE_RELATION_")


def _line(node: "catalog_pb2.LineageNode") -> str:
    if not node.name:
        return "something that is not yours to see"
    facts = [formats.visible(named.short(named.user(node.name))).removeprefix("trainingJobs/")]
    if node.count:
        facts.append(f"{formats.plural(node.count, 'time')}, first {formats.moment(node.create_time)}")
    elif node.HasField("create_time"):
        maker = f" by {formats.visible(named.user(node.creator))}" if node.creator else ""
        facts.append(f"{formats.moment(node.create_time)}{maker}")
    if node.state and node.state != "READY":
        facts.append(node.state.lower())
    if node.digest:
        facts.append(node.digest[:19])
    if node.gone:
        facts.append("gone")
    return "  ".join(facts)
