"""create: a model or dataset that has no version yet."""

from ingot.client._errors import Invalid
from ingot.client._references import parse_artifact
from ingot.client.cli import describing, named, values
from ingot.client.cli.command import Parser
from ingot.client.cli.shell import Shell


class Create(describing.Describing):
    """Create a model or dataset without any version, so that it is described and shared before its files are
    there. A push creates what is missing by itself.
    """

    examples = (
        "ingot create models/planned --title 'For small talk' --license MIT --requirement memory=2GB",
        "ingot create datasets/interviews --tag draft --meta team=nlp --dry-run",
    )
    ref: str
    tag: list[str]
    meta: list[str]
    dry_run: bool

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("ref", metavar="REF", help="datasets/NAME or models/NAME")
        cls.declare_words(parser)
        parser.add_argument("--tag", action="append", default=[], metavar="T", help="tag it (repeat)")
        parser.add_argument(
            "--meta", action="append", default=[], metavar="K=V", help="keep with it (repeat)"
        )
        parser.add_argument("--dry-run", action="store_true", help="only check that it could be created")

    def run(self, shell: Shell) -> int:
        found = parse_artifact(self.ref)
        if found.version or found.alias or found.path:
            raise Invalid(
                f"Expected a model or dataset, got {self.ref!r}.",
                reason="USAGE",
                next_step=f"Write for example: ingot create {found.kind}/{found.artifact}",
            )
        words = self.words(self.tag, values.pairs(self.meta, "--meta"))
        made = shell.client.catalog.create(found, words.over(), validate_only=self.dry_run)
        name = named.short(made.name)
        shell.out.document(made, name, lambda: shell.out.line(name))
        if not shell.out.quiet and not shell.out.json:
            shell.out.note(
                "It could be created." if self.dry_run else f"No version yet: ingot push {name} PATH"
            )
        return 0
