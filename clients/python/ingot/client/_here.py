"""What is in a folder that is pulled into: files as they should be, others of ours, and somebody else's."""

import os
import stat
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from ingot.client import _places, _pulled
from ingot.client._errors import SourceChanged
from ingot.client._journal import FileState, Journal
from ingot.client._manifest import TreeFile
from ingot.client._pulled import Pulled
from ingot.client._seeds import Seeds, compared, state_of_content
from ingot.content.cuts import PROFILES

_NAMED = 5  # files that an error names


class Here:
    """Looks at each file once, offers its chunks to `seeds` and notes in what state it was good."""

    def __init__(self, folder: Path, journal: Journal, pulled: Pulled, *, reread: bool) -> None:
        """With `reread` no journal is believed: every file is read."""
        self._folder, self._journal, self._pulled, self._reread = folder, journal, pulled, reread
        self._folders = _places.Folders(folder)
        self._good: dict[str, tuple[TreeFile, FileState]] = {}  # files that have their content
        self._other: dict[str, FileState] = {}  # files that stand where others belong
        self.endangered: list[str] = []  # files that would be overwritten unasked
        self.seeds = Seeds(None if reread else journal)

    def has(self, file: TreeFile) -> bool:
        """Return whether a file is in its place already; note when another is that is not ours."""
        if not self._folders.may_have(file.path):
            return False
        place = self._folder / file.path
        try:
            seen = os.lstat(place)
        except OSError:
            return False
        state = self._state(place, file) if stat.S_ISREG(seen.st_mode) else None
        if state is not None:
            self._good[file.path] = (file, state)
            self.seeds.add_cut(place, file.cut)
            return True
        self._other[file.path] = FileState.of(seen)
        if self._is_endangered(place, file):
            self.endangered.append(file.path)
        return False

    def refuse(self) -> None:
        """Raise Conflict when a file would be overwritten unasked."""
        if self.endangered:
            raise _pulled.refusal(self._folder, self.endangered)

    def place(self, file: TreeFile) -> str:
        """Return where a file belongs, making its folders. Raises Invalid, LimitReached."""
        return self._folders.place(file.path)

    def folder(self, path: str) -> int:
        """Return a descriptor of a folder of the tree, behind no link. Raises Invalid, LimitReached."""
        return self._folders.open(path)

    def require_untouched(self, file: TreeFile, folder: int) -> None:
        """Raise Conflict when what stands in a file's place is not what was looked at, but newer.

        `folder` is a descriptor of the one that it belongs into.
        """
        try:
            state = FileState.of(os.lstat(os.path.basename(file.path), dir_fd=folder))
        except OSError:
            return
        seen = self._other.get(file.path)
        if seen is None or replace(state, ctime_ns=seen.ctime_ns) != seen:
            raise _pulled.refusal(self._folder, [file.path])

    def put(self, file: TreeFile, state: FileState) -> None:
        """Note that a file was put in its place."""
        self._good[file.path] = (file, state)

    def confirm(self) -> None:
        """Raise SourceChanged unless all files still are as they were found or put.

        One whose state is another is read once more: who changes only permissions changes no content.
        """
        changed: list[str] = []
        for path, (file, seen) in self._good.items():
            place = os.path.join(self._folder, path)
            try:
                state = FileState.of(os.lstat(place))
            except OSError:
                changed.append(path)
                continue
            if state != seen:
                if not compared(Path(place), file):
                    changed.append(path)
                self._good[path] = (file, state)
        if changed:
            raise _changed(self._folder, changed)

    def remember(self, without: Collection[str]) -> None:
        """Tell the journal what confirmed files are, so that the next push or pull need not read them."""
        self._journal.put_all(
            (os.path.join(self._folder, path), state, file.cut)
            for path, (file, state) in self._good.items()
            if path not in without
        )

    def _state(self, place: Path, file: TreeFile) -> FileState | None:
        if self._reread:
            return self.seeds.add_intact(place, file)
        return state_of_content(place, file, self._journal)

    def _is_endangered(self, place: Path, file: TreeFile) -> bool:
        """Return whether something is in the place that no pull put there; a file's chunks may serve."""
        if place.is_symlink():
            return True
        if not place.is_file():
            return not place.is_dir()  # a pipe, say; a folder is told of when something is put there
        if self._reread and self._is_untouched(place, file):
            return False
        # What a pull put there may have been cut by the other profile.
        profiles = sorted(PROFILES, key=lambda each: each != file.cut.profile)
        found = (self.seeds.add_file(place, each) for each in profiles)
        return not any(self._pulled.brought(file.path, cut) for cut in found)

    def _is_untouched(self, place: Path, file: TreeFile) -> bool:
        """Return whether nobody wrote to a file since a pull put it there, whatever its bytes are now."""
        known = self._journal.get(str(place), FileState.of(place.stat(follow_symlinks=False)))
        return self._pulled.brought(file.path, known)


def _changed(folder: Path, paths: list[str]) -> SourceChanged:
    names = ", ".join(paths[:_NAMED]) + (", …" if len(paths) > _NAMED else "")
    what = "1 file" if len(paths) == 1 else f"{len(paths)} files"
    return SourceChanged(
        f"{what} in {folder} changed while it was pulled into: {names}.",
        reason="SOURCE_CHANGED",
        facts={"path": paths[0], "count": str(len(paths))},
        next_step="See that nothing else writes there, then pull again: what is here already is kept.",
    )
