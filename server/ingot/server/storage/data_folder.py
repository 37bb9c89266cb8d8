"""The data folder of a server: who holds it, its secrets, and how programs on this machine find the server.

    lock            held by the running server (flock; released even by kill -9)
    server.json     while it runs: pid, addresses, version
    server.sock     unix socket, unless the folder's path is too long for one
    secret          random bytes that sign page tokens
    server_id       identity of this folder
    admin.token     the administrator's token, for whoever may read this folder
    logs/           what happened

The folder is for its owner only (mode 0700).
"""

import errno
import fcntl
import hashlib
import json
import os
import secrets
import tempfile
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from ingot.content import durable
from ingot.server.storage import write_out

_SECRET_BYTES = 32
_SOCKET_PATH_LIMIT = 100  # bytes; the system's limit is 104 to 108


class DataFolderError(Exception):
    """The folder cannot be used; the message says why and what to do."""


class DataFolder:
    """A data folder that this process holds; make it with `DataFolder.hold(path)`."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock
        self.secret = self._once("secret", lambda: secrets.token_bytes(_SECRET_BYTES))
        self.server_id = self._once("server_id", lambda: str(uuid.uuid4()).encode()).decode()

    @classmethod
    def hold(cls, path: Path) -> "DataFolder":
        """Make the folder if it is missing and take its lock. Raises DataFolderError."""
        path = path.expanduser().absolute()
        try:
            write_out.make_folder(path, 0o700)
            path.chmod(0o700)
            lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DataFolderError(_unusable(path, error)) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise DataFolderError(_held(path)) from None
        try:
            (path / "logs").mkdir(mode=0o700, exist_ok=True)
            return cls(path, lock)
        except OSError as error:
            os.close(lock)
            raise DataFolderError(_unusable(path, error)) from error

    @property
    def logs(self) -> Path:
        """Folder of the log files."""
        return self.path / "logs"

    def socket_path(self) -> Path:
        """Return where the unix socket belongs: in the folder, or in a private short place for long paths."""
        inside = self.path / "server.sock"
        if len(os.fsencode(inside)) <= _SOCKET_PATH_LIMIT:
            return inside
        name = hashlib.blake2b(os.fsencode(self.path), digest_size=8).hexdigest()
        short = Path(tempfile.gettempdir()) / f"ingot-{os.getuid()}-{name}"
        short.mkdir(mode=0o700, exist_ok=True)
        if short.stat().st_uid != os.getuid() or short.is_symlink():
            raise DataFolderError(
                f"{short} belongs to somebody else: remove it, or choose a shorter --data path."
            )
        short.chmod(0o700)
        return short / "server.sock"

    def token(self, name: str) -> str:
        """Return a token that is kept in the folder, empty when there is none."""
        try:
            return (self.path / f"{name}.token").read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return ""

    def keep_token(self, name: str, secret: str) -> Path:
        """Keep a token in a file that only the owner of the folder can read; return its path."""
        return self._write(f"{name}.token", secret.encode("ascii") + b"\n")

    def announce(self, facts: Mapping[str, object]) -> None:
        """Tell programs on this machine how to reach the server that holds this folder."""
        self._write("server.json", json.dumps(dict(facts), indent=1).encode() + b"\n")

    def close(self) -> None:
        """Withdraw the announcement and let another process hold the folder; may be called twice."""
        if self._lock < 0:
            return
        socket = self.socket_path()
        for path in (self.path / "server.json", socket, *socket.parent.glob("data*.sock")):
            path.unlink(missing_ok=True)
        if socket.parent != self.path:
            socket.parent.rmdir()
        os.close(self._lock)
        self._lock = -1

    def _once(self, name: str, make: Callable[[], bytes]) -> bytes:
        path = self.path / name
        if not path.exists():
            self._write(name, make())
        return path.read_bytes()

    def _write(self, name: str, content: bytes) -> Path:
        """Write a private file so that readers see all of it or nothing, also after a power cut."""
        path = self.path / name
        handle, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=self.path)  # mode 0600
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        durable.sync_folder(self.path)
        return path


def read_announcement(path: Path) -> dict[str, object]:
    """Return what the server that holds this folder announced, empty when none does."""
    try:
        found = json.loads((path / "server.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _held(path: Path) -> str:
    running = read_announcement(path)
    who = f"process {running['pid']} at {_first(running.get('listen'))}" if "pid" in running else "a process"
    return (
        f"The data folder {path} is in use: {who} serves it already. Use that server, stop it first, or give "
        "this one another folder with --data."
    )


def _first(addresses: object) -> str:
    return str(addresses[0]) if isinstance(addresses, list) and addresses else "its unix socket"


def _unusable(path: Path, error: OSError) -> str:
    advice = {
        errno.EACCES: "Give the user who runs the server write permission",
        errno.EPERM: "Give the folder to the user who runs the server",
        errno.EROFS: "The file system is read-only: make it writable",
        errno.ENOSPC: "The disk is full: make room",
    }
    hint = advice.get(error.errno or 0, "Put it right")
    return (
        f"The data folder {path} cannot be used: {error.strerror} ({error.filename}). {hint}, or choose "
        "another folder with --data."
    )
