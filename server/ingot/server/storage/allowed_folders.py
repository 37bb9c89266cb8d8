"""The folders of the server that exports may write to or imports may read from, and nothing beside them.

Links are followed before it is decided: a path counts as what it leads to. Between this check and the work
somebody who may write to an allowed folder could still put a link there; the body looks again.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ingot.content.texts import shortened
from ingot.server.core.errors import FieldProblem, Invalid, Reason
from ingot.server.core.exports import Place
from ingot.server.storage.data_folder import DataFolderError

_LONGEST = 4000  # bytes; the system's limit is 4096
_LONGEST_PART = 255  # bytes; the limit of common file systems


class AllowedFoldersOnDisk:
    """Implements AllowedFolders; the folders need not exist yet."""

    def __init__(self, folders: Sequence[Path], setting: str) -> None:
        self._roots = tuple(dict.fromkeys(Path(os.path.realpath(each.expanduser())) for each in folders))
        self._setting = setting  # which one names them, for the refusal

    def find_file(self, path: str, field: str) -> Place:
        if not path:
            raise _refused(field, path, "the path of a file", self._setting)
        place = self.find(path, field)
        if path.endswith("/") or os.path.isdir(place.path):
            raise _refused(field, path, "the path of a file, not of a folder", self._setting)
        return place

    def find(self, path: str, field: str) -> Place:
        if "\0" in path or len(os.fsencode(path)) > _LONGEST:
            raise _refused(field, path, "a path of the server's file system", self._setting)
        if any(len(os.fsencode(part)) > _LONGEST_PART for part in path.split("/")):
            raise _refused(field, path, f"names of at most {_LONGEST_PART} bytes", self._setting)
        if not self._roots:
            raise _refused(field, path, "an allowed folder, but none is set", self._setting)
        meant = os.path.normpath(self._roots[0] / path)  # an absolute path replaces the root
        found = Path(os.path.realpath(meant))
        for root in self._roots:
            if found == root or root in found.parents:
                return Place(str(found), str(root))
        allowed = ", ".join(str(root) for root in self._roots)
        raise _refused(field, path, f"a path below {allowed}", self._setting)


def make_mount_point(folder: Path) -> None:
    """Make the mount point, unless it is there; it must be a folder that may be written to.

    Raises DataFolderError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DataFolderError(
            f"The mount point {folder} cannot be used: {error.strerror}. Let the user who runs the server "
            "write there, or choose another folder with --mount-point."
        ) from error


def _refused(field: str, path: str, expected: str, setting: str) -> Invalid:
    path = shortened(path)
    message = f"{field}: expected {expected}; got {path!r}."
    return Invalid(
        Reason.BAD_PATH,
        message,
        next_step=f"Choose a path below an allowed folder; the setting {setting} of the server names them.",
        facts={"field": field, "path": path},
        fields=(FieldProblem(field, message, Reason.BAD_PATH),),
    )
