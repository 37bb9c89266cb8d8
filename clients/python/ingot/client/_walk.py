"""Find the files of a push and the paths they get in the tree.

A folder gives its content, a file itself under its name; several paths stand under their own names.
Hidden entries (a name that begins with a dot) are left out unless asked for, and what a pull keeps of its own
always. A link is followed only to a
file inside the pushed folder; one that leads out, or to a folder, is refused, like sockets and devices:
whoever pulls the tree should find what the pusher meant, or the pusher should hear about it.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ingot.client import _part_folder
from ingot.client._errors import Invalid
from ingot.content import globs, paths


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to push: its path in the tree, where it lies, its size when it was found."""

    path: str
    source: str
    size: int


def find_files(
    sources: Sequence[str | os.PathLike[str]],
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    hidden: bool = False,
) -> list[SourceFile]:
    """Return the files in byte order of their tree paths. Raises Invalid for what cannot be pushed."""
    roots = [Path(each) for each in sources]
    found: list[SourceFile] = []
    for root in roots:
        if root.is_dir():
            prefix = "" if len(roots) == 1 else f"{root.resolve().name}/"
            found += _folder(root.resolve(), prefix, include, exclude, hidden)
        elif globs.wanted(root.name, include, exclude):
            found.append(_file(root, root.name))
    try:
        paths.check_tree(each.path for each in found)
    except paths.PathError as failure:
        raise Invalid(
            f"Cannot push {failure.path!r}: {failure.rule}.",
            reason="BAD_PATH",
            facts={"path": failure.path},
            next_step="Rename it, or leave it out with --exclude.",
        ) from failure
    if not found:
        raise Invalid(
            f"There is nothing to push in {', '.join(map(str, roots)) or 'no paths at all'}.",
            reason="FIELD_INVALID",
            next_step="Check the path, --include and --exclude; hidden files are left out by default.",
        )
    return sorted(found, key=lambda each: each.path.encode())


def _file(source: Path, path: str) -> SourceFile:
    try:
        found = source.stat()
    except OSError as failure:
        raise Invalid(
            f"Cannot read {source}: {failure.strerror}.",
            reason="FIELD_INVALID",
            next_step="Check the path and its permissions.",
        ) from failure
    if not stat.S_ISREG(found.st_mode):
        raise _refused(str(source), "it is neither a file nor a folder")
    return SourceFile(path, str(source), found.st_size)


def _folder(
    root: Path, prefix: str, include: Sequence[str], exclude: Sequence[str], hidden: bool
) -> Iterator[SourceFile]:
    waiting = [("", str(root))]
    while waiting:
        inner, folder = waiting.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") and (not hidden or entry.name.casefold() == _part_folder.NAME):
                    continue
                path = inner + entry.name
                if exclude and not globs.wanted(path, (), exclude):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((f"{path}/", entry.path))
                elif globs.wanted(path, include, ()):
                    yield SourceFile(prefix + path, entry.path, _size(root, entry))


def _size(root: Path, entry: "os.DirEntry[str]") -> int:
    if entry.is_symlink():
        target = Path(os.path.realpath(entry.path))  # `resolve` raises for links that lead round
        if not target.is_relative_to(root):
            raise _refused(entry.path, f"it is a link that leads out of the folder, to {target}")
        if not target.is_file():
            raise _refused(entry.path, f"it is a link to {target}, which is no file")
        return target.stat().st_size
    found = entry.stat(follow_symlinks=False)
    if not stat.S_ISREG(found.st_mode):
        raise _refused(entry.path, "it is a pipe, socket or device")
    return found.st_size


def _refused(path: str, why: str) -> Invalid:
    return Invalid(
        f"Cannot push {path}: {why}.",
        reason="BAD_PATH",
        facts={"path": path},
        next_step="Leave it out with --exclude, or push a copy with links resolved (cp -rL).",
    )
