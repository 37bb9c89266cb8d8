"""Models and datasets as a file system of fsspec: pandas, pyarrow, `datasets` and others read them directly.

    pandas.read_json("ingot://datasets/chat@3/train.jsonl", lines=True)
    fsspec.open("ingot://models/team-nlp/tiny@prod/config.json")
    datasets.load_dataset("json", data_files="ingot://datasets/chat@3/*.jsonl")

    ingot://KIND/[NAMESPACE/]NAME[@VERSION-OR-ALIAS]/PATH       KIND is models or datasets

Without `@` the newest version of something in the default namespace is meant: a name in another namespace,
and a path with an `@` behind a name without one, need `@latest`. What an alias points at is looked up once
for each file system (`invalidate_cache` forgets it), so that all files come from one version. Only what is
read travels.

Which server: `storage_options={"server": …, "token": …}`, else as for the command line. Versions never
change, so nothing can be written; push makes a new one.
"""

import datetime
import os
import threading
from collections.abc import Iterable
from typing import Any, NoReturn

from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from ingot.client import Client, FileReader, Invalid, NotAllowed, NotFound
from ingot.client._references import DATASETS, KINDS, parse_artifact
from ingot.content import paths

_BLOCK = 4 * 1024 * 1024
Info = dict[str, Any]  # as fsspec has them: name, size, type, and what else there is to tell


class IngotFileSystem(AbstractFileSystem):
    """The files of versions, to be read. Arguments are those of Client; connects when it is first needed."""

    protocol = "ingot"
    root_marker = ""

    def __init__(
        self, server: str | None = None, token: str | None = None, namespace: str = "", **options: Any
    ) -> None:
        """See Client for `server`, `token` and `namespace`; other options are those of every file system."""
        super().__init__(**options)
        self._settings = (server, token, namespace)
        self._clients: dict[int, Client] = {}  # by process: a connection does not survive a fork
        self._lock = threading.Lock()
        self._pinned: dict[str, str] = {}  # reference → long name of the version it is read from
        self._trees: dict[str, dict[str, list[Info]]] = {}  # that name → its folders

    # --- what there is ----------------------------------------------------------------------------------

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        """Return what is in a folder: the kinds, the models or datasets of one's own, or files of a version.

        Raises FileNotFoundError, PermissionError, IngotError.
        """
        path = self._strip_protocol(path)
        if not path:
            found = [_folder(kind) for kind in KINDS]
        elif path in KINDS:
            artifacts = self.client.catalog.list(path)
            found = [_folder(f"{path}/{each.name.rpartition('/')[2]}") for each in artifacts]
        else:
            found = self._in_version(path)
        return found if detail else [each["name"] for each in found]

    def info(self, path: str, **options: Any) -> Info:
        """Return name, type and size of a file or folder, and of a file its format and digest."""
        path = self._strip_protocol(path)
        if not path or path in KINDS:
            return _folder(path)
        reference, inside = split(path)
        if not inside:
            self._folders(reference)
            return _folder(path)
        found = [each for each in self._in_version(path) if each["name"] == path]
        return found[0] if found else _folder(path)

    def invalidate_cache(self, path: str | None = None) -> None:
        """Look up anew what references point at."""
        with self._lock:
            self._pinned.clear()
            self._trees.clear()
        super().invalidate_cache(path)

    def ukey(self, path: str) -> str:
        """Return what changes when the content does: of a file its digest."""
        info = self.info(path)
        return str(info.get("root") or info["name"])

    def created(self, path: str) -> datetime.datetime:
        """Return when the version was committed, in UTC."""
        version = self.client.catalog.version(self.version_of(path))
        return version.create_time.ToDatetime(datetime.UTC)

    modified = created

    def version_of(self, path: str) -> str:
        """Return the long name of the version that a path is read from."""
        reference, _ = split(self._strip_protocol(path))
        return self._pin(reference)

    # --- bytes ------------------------------------------------------------------------------------------

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        """Return a file, or a range of it; negative numbers count from its end."""
        info = self.info(path)
        if info["type"] != "file":
            raise IsADirectoryError(path)
        first, last, _ = slice(start, end).indices(info["size"])
        if last <= first:
            return b""
        return b"".join(self.reader(path).read(first, last - first))

    def reader(self, path: str) -> FileReader:
        """Return what reads ranges of a file: it asks for the digests once, and is one download."""
        reference, inside = split(self._strip_protocol(path))
        return self.client.reader(f"{self._pin(reference)}:{inside}")

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> "IngotFile":
        if mode != "rb":
            _read_only(path)
        info = self.info(path)
        if info["type"] != "file":
            raise IsADirectoryError(path)
        options.pop("size", None)  # an open file that was sent tells what it had
        return IngotFile(
            self, path, mode, block_size or _BLOCK, size=info["size"], cache_options=cache_options, **options
        )

    # --- what cannot be done ----------------------------------------------------------------------------

    def mkdir(self, path: str, create_parents: bool = True, **options: Any) -> None:
        """Raise OSError: versions do not change."""
        _read_only(path)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Raise OSError: versions do not change."""
        _read_only(path)

    def rmdir(self, path: str) -> None:
        """Raise OSError: versions do not change."""
        _read_only(path)

    def _rm(self, path: str) -> None:
        _read_only(path)

    def cp_file(self, path1: str, path2: str, **options: Any) -> None:
        """Raise OSError: versions do not change."""
        _read_only(path2)

    # --- inside -----------------------------------------------------------------------------------------

    @property
    def client(self) -> Client:
        """The connection of this process."""
        with self._lock:
            pid = os.getpid()
            if pid not in self._clients:
                server, token, namespace = self._settings
                self._clients[pid] = Client(server, token, namespace=namespace)
            return self._clients[pid]

    def __reduce__(self) -> tuple[Any, ...]:
        with self._lock:
            return *super().__reduce__(), dict(self._pinned)

    def __setstate__(self, pinned: dict[str, str]) -> None:
        """Read what the sender reads: a file system in another process looks nothing up again."""
        with self._lock:
            self._pinned.update(pinned)

    def _pin(self, reference: str) -> str:
        with self._lock:
            known = self._pinned.get(reference)
        if known:
            return known
        with _as_files(reference):
            name = self.client.catalog.version(reference).name
        with self._lock:
            return self._pinned.setdefault(reference, name)

    def _in_version(self, path: str) -> list[Info]:
        """Return what is in a folder of a version, or the one file that the path names."""
        reference, inside = split(path)
        folders = self._folders(reference)
        if inside in folders:
            return [{**each, "name": f"{reference}/{each['name']}"} for each in folders[inside]]
        parent = inside.rpartition("/")[0]
        found = [each for each in folders.get(parent, ()) if each["name"] == inside]
        if not found:
            raise FileNotFoundError(f"{self._pin(reference)} has no file {inside!r}")
        return [{**each, "name": path} for each in found]

    def _folders(self, reference: str) -> dict[str, list[Info]]:
        """Return what each folder of a version holds; asked once."""
        version = self._pin(reference)
        with self._lock:
            known = self._trees.get(version)
        if known is None:
            with _as_files(reference):
                known = folders_of(self.client.uploads.files(version))
            with self._lock:
                self._trees[version] = known
        return known

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        return str(path).removeprefix("ingot://").strip("/")


class IngotFile(AbstractBufferedFile):
    """A file of a version that is open for reading."""

    def __init__(self, fs: IngotFileSystem, path: str, *options: Any, **more: Any) -> None:
        """Take what every buffered file takes."""
        super().__init__(fs, path, *options, **more)
        self._reader = fs.reader(path)

    def _fetch_range(self, start: int, end: int) -> bytes:
        return b"".join(self._reader.read(start, end - start))


def split(path: str) -> tuple[str, str]:
    """Return the reference in a path and the path behind it, which is "" for the version itself.

    Raises FileNotFoundError when it names no model or dataset.
    """
    kind, *parts = path.split("/")
    count = 2 if len(parts) > 1 and "@" not in parts[0] and "@" in parts[1] else 1
    if kind not in KINDS or not parts:
        raise FileNotFoundError(_expected(path))
    try:
        return str(parse_artifact("/".join((kind, *parts[:count])))), "/".join(parts[count:])
    except Invalid as error:
        raise FileNotFoundError(_expected(path)) from error


def folders_of(files: Iterable[Any]) -> dict[str, list[Info]]:
    """Return what each folder holds, by its path. Raises Invalid for a path that leads elsewhere."""
    folders: dict[str, dict[str, Info]] = {"": {}}
    for each in files:
        _check(each.path)
        info: Info = {
            "name": each.path,
            "size": each.size_bytes,
            "type": "file",
            "format": each.format,
            "root": each.root,
            "blake3": each.blake3,
        }
        parent = each.path.rpartition("/")[0]
        folders.setdefault(parent, {})[each.path] = info
        while parent:
            above = parent.rpartition("/")[0]
            folders.setdefault(above, {})[parent] = _folder(parent)
            parent = above
    return {folder: list(found.values()) for folder, found in folders.items()}


def _check(path: str) -> None:
    """Refuse what a server must not name: `get` would write it outside of its folder. Raises Invalid."""
    try:
        paths.check_path(path)
    except paths.PathError as failure:
        raise Invalid(
            f"The server names a file that cannot be written safely: {failure.rule}.",
            reason="BAD_PATH",
            facts={"path": failure.path},
            next_step="Do not read it; tell whoever runs the server.",
        ) from failure


def _folder(name: str) -> Info:
    return {"name": name, "size": 0, "type": "directory"}


class _as_files:  # noqa: N801  # reads as a verb where it is used
    """Turn what is not there, or not allowed, into the errors of file systems; other IngotErrors stay."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, NotFound):
            raise FileNotFoundError(str(error)) from error
        if isinstance(error, NotAllowed):
            raise PermissionError(str(error)) from error


def _expected(path: str) -> str:
    return (
        f"expected ingot://models/NAME[@VERSION]/PATH or ingot://{DATASETS}/…, got ingot://{path}; "
        "a name in another namespace needs its version or @latest"
    )


def _read_only(path: str) -> NoReturn:
    raise OSError(f"ingot://{path} cannot be written: versions never change. `ingot push` makes a new one.")
