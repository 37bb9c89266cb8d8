"""pull: the files of a version, a checkpoint or an upload come into a folder."""

import re
from pathlib import Path

from ingot.client._errors import Invalid, NotFound
from ingot.client._references import Reference, parse_tree
from ingot.client.cli import following, formats, named, values
from ingot.client.cli.command import Command, Parser
from ingot.client.cli.shell import Shell


class Pull(Command):
    """Fetch the files of a version, a checkpoint or an upload; REF:PATH fetches one file or folder of it.

    Only what is not there already travels. A file that no pull brought, or that was edited since, is only
    overwritten with --force. Stopped or killed, the same command goes on where it was. The last line is the
    path.

    What is registered but not here yet is fetched by the server first. So is a model of the Hub that is named
    with -n, as google/flan-t5-small, when it is not here.
    """

    examples = ("ingot pull datasets/chat", "ingot pull datasets/chat@1 copy --include '*.jsonl'")
    ref: str | None
    folder: str | None
    id: str | None
    include: list[str]
    exclude: list[str]
    limit_rate: str
    dry_run: bool
    force: bool
    cache: bool
    _fetching = ""
    _seen = 0

    @classmethod
    def declare(cls, parser: Parser) -> None:
        named.declare(parser, "datasets/NAME, models/NAME@VERSION, REF:PATH", "-n", "-name", "--name")
        parser.add_argument("folder", nargs="?", metavar="DIR", help="where to (its name by default)")
        parser.add_argument("--include", action="append", default=[], metavar="G", help="only these (repeat)")
        parser.add_argument("--exclude", action="append", default=[], metavar="G", help="not these (repeat)")
        parser.add_argument(
            "--limit-rate", default="", metavar="R", help="at most so fast: 500K, 10M a second"
        )
        parser.add_argument("--dry-run", action="store_true", help="only tell what would travel")
        parser.add_argument("--force", action="store_true", help="overwrite files that are not from a pull")
        parser.add_argument("--cache", action="store_true", help="keep the files for the next pull, too")

    def run(self, shell: Shell) -> int:
        from ingot.client.cli.bars import TransferBar

        if self.id and self.ref and self.folder is None and not named.is_long(self.ref):
            self.ref, self.folder = None, self.ref  # beside -n the first word is the folder
        text = named.chosen(self.ref, self.id)
        found = parse_tree(text)
        name = found.artifact if isinstance(found, Reference) else found.name
        folder = self._chosen_folder() or (Path() if found.path else _default_folder(name))
        if self.id and not self.dry_run and isinstance(found, Reference):
            self._bring_here(shell, found)
        bar = TransferBar(shell.out)
        try:
            done = shell.client.pull(
                text,
                folder,
                include=self.include,
                exclude=self.exclude,
                limit_rate=values.rate(self.limit_rate),
                dry_run=self.dry_run,
                force=self.force,
                cache=True if self.cache else None,
                on_progress=bar.show,
            )
        finally:
            bar.end()
        path = str(folder / found.path)
        if shell.out.json:
            from ingot.client.cli import plain

            shell.out.line(
                plain.dumps(
                    {
                        "name": done.name,
                        "digest": done.digest,
                        "path": path,
                        "file_count": done.file_count,
                        "size_bytes": done.size_bytes,
                        "received_bytes": done.received_bytes,
                        "reused_bytes": done.reused_bytes,
                        "unchanged_files": done.unchanged_files,
                    },
                    indent=2,
                )
            )
            return 0
        if not shell.out.quiet:
            verb = "Would fetch" if self.dry_run else "Fetched"
            there = f", {formats.size(done.reused_bytes)} was here" if done.reused_bytes else ""
            shell.out.note(
                f"{verb} {formats.size(done.received_bytes)} of {formats.size(done.size_bytes)}"
                f" in {formats.plural(done.file_count, 'file')} of {named.short(done.name)}{there};"
                f" {formats.seconds(done.seconds)}."
            )
        shell.out.line(path)
        return 0

    def _bring_here(self, shell: Shell, found: Reference) -> None:
        """Let the server fetch a bare name from the Hub when there is no such model here."""
        source = named.hub_source(self.id or "")
        if source is None:
            return
        try:
            shell.client.catalog.version(found)
            return
        except NotFound as error:
            if error.reason != "ARTIFACT_NOT_FOUND":
                raise
        if not shell.out.quiet:
            shell.out.note(f"{found} is not here yet: the server fetches {source}.")
        self._fetching = shell.client.operations.start_import(source).name
        ended = following.follow(shell, self._fetching, seen=self._remember, events=False)
        following.check(shell, ended)
        self._fetching = ""

    def _remember(self, number: int) -> None:
        self._seen = number

    def _chosen_folder(self) -> Path | None:
        """Return the folder that was named. Raises Invalid for an empty name, which a script let slip in."""
        if self.folder == "":
            raise Invalid(
                "The folder to pull into is named by an empty text.",
                reason="USAGE",
                next_step="Name it, leave it out for the artifact's name, or write . for this folder.",
            )
        return None if self.folder is None else Path(self.folder)

    def how_to_go_on(self) -> str:
        """Say that nothing is lost."""
        if self._fetching:
            return following.detached(self._fetching, self._seen, ingot=self.ingot)
        return "What came is kept: the same command goes on from there."


def _default_folder(name: str) -> Path:
    """Return where a tree is pulled to when nothing is said: its own name."""
    return Path(re.sub(r"[^\w.-]+", "-", name).strip("-") or "pulled")
