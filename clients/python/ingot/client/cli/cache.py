"""cache: the files that pulls keep on this machine for the next pull. None of this asks a server."""

import re
from typing import TYPE_CHECKING

from ingot.client._errors import Conflict, Integrity, Invalid, LimitReached, NotFound
from ingot.client.cli import formats
from ingot.client.cli.command import Command, Parser, declare_limit
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.client._file_cache import FileCache, KeptFile
    from ingot.client.cli import plain

_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT]?)B?", re.IGNORECASE)
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_SHOWN = 12  # digits of a root


class Ls(Command):
    """List the files that are kept, the one that was used last first.

    Files are kept by `ingot pull --cache`, and by every pull where INGOT_FILE_CACHE names the folder.
    """

    examples = ("ingot cache ls", "ingot cache ls --json")
    limit: int

    @classmethod
    def declare(cls, parser: Parser) -> None:
        declare_limit(parser)

    def run(self, shell: Shell) -> int:
        cache = _cache()
        files = cache.files()
        shown = files[: self.limit] if self.limit else files
        if shell.out.json:
            from ingot.client.cli import plain

            shell.out.line(plain.dumps([_plain(each) for each in shown], indent=2))
        elif shell.out.quiet:
            for each in shown:
                shell.out.line(each.root)
        else:
            heading = ("ROOT", "SIZE", "USED", "WHAT")
            shell.out.table([heading, *(_row(each) for each in shown)] if shown else [])
            size = formats.size(sum(each.size for each in files))
            limit = formats.size(cache.limit)
            shell.out.note(f"{formats.plural(len(files), 'file')}, {size} of {limit}, in {cache.folder}.")
        return 0


class Rm(Command):
    """Remove files by the beginning of their root, or all."""

    examples = ("ingot cache rm 4f6c12ab", "ingot cache rm --all")
    root: list[str]
    all: bool

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("root", nargs="*", metavar="ROOT", help="as `ingot cache ls` shows it")
        parser.add_argument("--all", action="store_true", help="all files")

    def run(self, shell: Shell) -> int:
        if bool(self.root) == self.all:
            raise Invalid(
                "Expected either roots of files, or --all.",
                reason="USAGE",
                next_step="See what is there with: ingot cache ls",
            )
        cache = _cache()
        files = cache.files()
        wanted = files if self.all else [_found(files, root) for root in self.root]
        busy = [each for each in wanted if not _removed(cache, each)]
        removed = [each for each in wanted if each not in busy]
        _tell(shell, len(removed), sum(each.size for each in removed))
        if busy:
            raise Conflict(
                f"{formats.plural(len(busy), 'file')} cannot be removed while a pull reads them.",
                reason="IN_USE",
                facts={"count": str(len(busy))},
                next_step="Try again when it is done.",
            )
        return 0


class Prune(Command):
    """Remove the files that were used least lately until the rest fits into a size.

    Pulls do that too, with the size in INGOT_FILE_CACHE_BYTES (100 GB by default). What a pull reads stays.
    """

    examples = ("ingot cache prune", "ingot cache prune --to 20G")
    to: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("--to", default="", metavar="SIZE", help="bytes that may stay: 500M, 20G")

    def run(self, shell: Shell) -> int:
        cache = _cache()
        try:
            done = cache.prune(_bytes(self.to) if self.to else cache.limit)
        except OSError as failure:
            raise _unwritable(cache, failure) from failure
        _tell(shell, done.files, done.size_bytes)
        if done.in_use:
            shell.out.warn(f"{formats.plural(done.in_use, 'file')} stay: a pull reads them.")
        return 0


class Verify(Command):
    """Read every file that is kept and remove those that are damaged. Ends with 6 when one cannot be removed.

    A damaged file is never served: a pull checks what it takes, and fetches what is wrong.
    """

    examples = ("ingot cache verify", "ingot cache verify --quiet")

    def run(self, shell: Shell) -> int:
        cache = _cache()
        damaged = cache.damaged()
        stay: list[str] = []
        for each in damaged:
            try:
                cache.drop(each.root)
            except OSError:
                stay.append(each.root)
        if shell.out.json:
            from ingot.client.cli import plain

            shell.out.line(plain.dumps({"damaged": [_plain(each) for each in damaged]}, indent=2))
        elif shell.out.quiet:
            for each in damaged:
                shell.out.line(each.root)
        else:
            kept = formats.plural(len(cache.files()), "file")
            found = f"{formats.plural(len(damaged), 'damaged file')} removed" if damaged else "all good"
            shell.out.line(f"{kept}: {found}")
        if stay:
            raise Integrity(
                f"{formats.plural(len(stay), 'damaged file')} in {cache.folder} cannot be removed:"
                f" {', '.join(root[:_SHOWN] for root in stay[:10])}.",
                reason="DATA_LOSS",
                next_step="Ask whom the folder belongs to. They are never served.",
            )
        return 0


def _cache() -> "FileCache":
    from ingot.client import _file_cache

    return _file_cache.configured()


def _row(file: "KeptFile") -> tuple[str, ...]:
    return (file.root[:_SHOWN], formats.size(file.size), formats.moment_of(file.used), file.about)


def _plain(file: "KeptFile") -> "plain.Plain":
    return {"root": file.root, "size_bytes": file.size, "used": _moment(file.used), "about": file.about}


def _moment(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _found(files: "list[KeptFile]", root: str) -> "KeptFile":
    fits = [each for each in files if root and each.root.startswith(root.lower())]
    if len(fits) == 1:
        return fits[0]
    what = "several files" if fits else "no file"
    raise NotFound(
        f"The root {root!r} means {what} of the cache.",
        reason="FILE_NOT_FOUND",
        next_step="See what is there with: ingot cache ls",
    )


def _removed(cache: "FileCache", file: "KeptFile") -> bool:
    try:
        return cache.remove(file.root)
    except OSError as failure:
        raise _unwritable(cache, failure) from failure


def _bytes(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if not match:
        raise Invalid(
            f"--to: expected a number with K, M, G or T, got {text!r}.",
            reason="FIELD_INVALID",
            next_step="Write for example: --to 20G",
        )
    return round(float(match[1]) * _UNITS[match[2].upper()])


def _tell(shell: Shell, count: int, size: int) -> None:
    if shell.out.json:
        from ingot.client.cli import plain

        shell.out.line(plain.dumps({"removed_files": count, "removed_bytes": size}, indent=2))
    elif not shell.out.quiet:
        shell.out.line(f"Removed {formats.plural(count, 'file')}, {formats.size(size)}.")


def _unwritable(cache: "FileCache", failure: OSError) -> LimitReached:
    return LimitReached(
        f"Cannot remove files from {cache.folder}: {failure.strerror}.",
        reason="DISK_LOW",
        facts={"path": str(cache.folder)},
        next_step="Ask whom the folder belongs to.",
    )
