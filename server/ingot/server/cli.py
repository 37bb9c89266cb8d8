"""`ingot-server`: serve, migrate, compact, backup, restore, doctor, users, certs, settings.

Whatever can go wrong at the start (port taken, folder not writable, second server, missing package) ends in
one sentence and a status, never in a traceback.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ingot.content import malloc, tuning
from ingot.server import open_files
from ingot.server.commands import backup, certs, users
from ingot.server.settings import loading, page
from ingot.server.settings.checks import is_loopback
from ingot.server.settings.fields import Settings, SettingsError
from ingot.server.settings.table import table

if TYPE_CHECKING:
    from ingot.server.app import App
    from ingot.server.storage.data_folder import DataFolder

FAILURE, USAGE = 1, 2
_INTERRUPTED = 130
_WORKER_END_SECONDS = 60.0  # a training job writes its checkpoint when its worker is told to end


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    tuning.begin()
    malloc.raise_thresholds()
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # the server never forks; before gRPC is loaded
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("ingot"):
            raise  # a fault of ours, not of the installation
        print(f"error: {_missing(error.name or str(error))}", file=sys.stderr)
        return FAILURE
    except _start_errors() as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILURE


def _missing(package: str) -> str:
    return (
        f"The server needs the Python package {package}, which is not installed. "
        "Install the server with its packages: pip install 'ingot[server]'"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ingot-server", description="The Ingot server.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="serve until told to stop",
        description="Serve until told to stop (Ctrl-C or SIGTERM); a second Ctrl-C leaves at once.",
        epilog="examples:\n  ingot-server serve\n  ingot-server serve --data .run --with-worker",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_settings(serve)
    serve.add_argument("--with-worker", action="store_true", help="also start a worker on this machine")
    serve.add_argument("--json", action="store_true", help="say that it is ready as one line of JSON")
    migrate = commands.add_parser("migrate", help="bring the database to the schema of this version")
    _add_settings(migrate)
    compact = commands.add_parser(
        "compact",
        help="write the database anew without unused space, while no server runs",
        description="Collecting gives space back by itself; a database that an earlier version made cannot "
        "do that until this was run once. It needs as much free space as the database has bytes.",
        epilog="examples:\n  ingot-server compact\n  ingot-server compact --data .run",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_settings(compact)
    backup.declare(commands, _add_settings)
    _add_doctor(commands)
    users.declare(commands, _add_settings)
    certs.declare(commands, _add_settings)
    shown = commands.add_parser("settings", help="print the settings in effect, as a TOML file")
    _add_settings(shown)
    shown.add_argument("--markdown", action="store_true", help="print the page docs/settings.md")
    return parser


def _add_doctor(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    doctor = commands.add_parser(
        "doctor",
        help="check packs and rows of a data folder that no server uses, and repair them",
        description="Check packs against rows and rows against packs. Exit status: 0 nothing is wrong, 1 "
        "something was found (repaired or not), 2 it could not be checked.",
        epilog="examples:\n  ingot-server doctor\n  ingot-server doctor --deep --json\n"
        "  ingot-server doctor --repair\n  ingot-server doctor --rebuild-index",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    doctor.add_argument("--repair", action="store_true", help="put right what can be")
    doctor.add_argument("--deep", action="store_true", help="read the bytes of every chunk, not only headers")
    doctor.add_argument(
        "--rebuild-index", action="store_true", help="the database is lost: make one from the packs alone"
    )
    doctor.add_argument("--json", action="store_true", help="print one JSON document")
    _add_settings(doctor)


def _doctor(settings: Settings, options: argparse.Namespace) -> int:
    """Check the data folder; whatever keeps that from happening is a status of its own."""
    from ingot.server.commands import doctor
    from ingot.server.storage.soundness import DamagedDatabaseError

    wanted = doctor.Wanted(options.repair, options.deep, options.rebuild_index, options.json)
    hindrances: tuple[type[Exception], ...] = (doctor.DoctorError, DamagedDatabaseError, *_start_errors())
    try:
        return doctor.run(settings, wanted)
    except hindrances as error:
        print(f"error: {error}", file=sys.stderr)
        return doctor.CANNOT


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with settings")
    group = parser.add_argument_group("settings", "also INGOT_<NAME> in the environment, or in the TOML file")
    for setting in table():
        if setting.secret:
            continue
        flag = "--" + setting.name.replace("_", "-")
        flags = ["--data", flag] if setting.name == "data_dir" else [flag]
        text = f"{setting.help} Default: {setting.default}".replace("%", "%%")
        if setting.is_list:
            group.add_argument(*flags, dest=setting.name, action="append", metavar="VALUE", help=text)
        elif setting.kind is bool:
            switch = argparse.BooleanOptionalAction
            group.add_argument(*flags, dest=setting.name, action=switch, default=None, help=text)
        else:
            group.add_argument(*flags, dest=setting.name, metavar="VALUE", help=text)


def _run(options: argparse.Namespace) -> int:
    if options.command == "settings" and options.markdown:
        print(page.markdown(), end="")
        return 0
    given = {
        setting.name: tuple(value) if isinstance(value, list) else value
        for setting in table()
        if (value := getattr(options, setting.name, None)) is not None
    }
    loaded = loading.load_with_origins(given, os.environ, options.config)
    settings = loaded.settings
    if options.command == "settings":
        return _print_settings(settings)
    if options.command == "migrate":
        return _migrate(settings)
    if options.command == "compact":
        return _compact(settings)
    if options.command == "backup":
        return backup.backup(settings)
    if options.command == "restore":
        return backup.restore(settings, options.folder, options.name, revoke_tokens=options.revoke_tokens)
    if options.command == "doctor":
        return _doctor(settings, options)
    if options.command == "users":
        return users.run(settings, options)
    if options.command == "certs":
        return certs.run(settings, options)
    return _serve(loaded, with_worker=options.with_worker, as_json=options.json)


def _print_settings(settings: Settings) -> int:
    """Print the settings in effect as a TOML file."""
    for setting in table():
        value = settings.database if setting.name == "database_url" else getattr(settings, setting.name)
        if setting.secret:
            print(f"# {setting.name} is a secret; it is {'set' if value else 'not set'}")
            continue
        print(f"{setting.name} = {json.dumps(str(value) if isinstance(value, Path) else value)}")
    return 0


def _migrate(settings: Settings) -> int:
    from ingot.server.storage.data_folder import DataFolder
    from ingot.server.storage.database import only_server, open_database
    from ingot.server.storage.migration_runner import migrate

    with (
        contextlib.closing(DataFolder.hold(settings.data_dir)),
        only_server(settings.database, settings.data_dir),
        contextlib.closing(open_database(settings.database)) as database,
    ):
        applied = migrate(database)
    print("\n".join(f"applied {name}" for name in applied) or "nothing to do: the database is current")
    return 0


def _compact(settings: Settings) -> int:
    from ingot.server.storage import compacting
    from ingot.server.storage.data_folder import DataFolder
    from ingot.server.storage.database import only_server, open_database

    with (
        contextlib.closing(DataFolder.hold(settings.data_dir)),
        only_server(settings.database, settings.data_dir),
        contextlib.closing(open_database(settings.database)) as database,
    ):
        before, after = compacting.compact(database)
    print(f"{settings.database.removeprefix('sqlite:///')}: {before} bytes before, {after} bytes now")
    return 0


def _serve(loaded: loading.Loaded, *, with_worker: bool, as_json: bool) -> int:
    from ingot.server import logs
    from ingot.server.storage.data_folder import DataFolder

    settings = loaded.settings
    open_files.raise_limit()
    _check_addresses(settings)
    with contextlib.closing(DataFolder.hold(settings.data_dir)) as folder:
        handlers = logs.start(folder.logs, settings.log_level)
        try:
            asyncio.run(_serve_until_told(loaded, folder, with_worker=with_worker, as_json=as_json))
        finally:
            logs.stop(handlers)
    return 0


def _check_addresses(settings: Settings) -> None:
    """Refuse to start on a taken port while nothing is made yet."""
    from ingot.server.rpc.server import AddressError, check_addresses
    from ingot.server.storage.data_folder import DataFolder

    try:
        check_addresses(settings.listen)
    except AddressError:
        # Perhaps this very folder is served there, which is the better thing to say.
        if os.path.exists(settings.data_dir.expanduser() / "lock"):
            DataFolder.hold(settings.data_dir).close()
        raise


async def _serve_until_told(
    loaded: loading.Loaded, folder: "DataFolder", *, with_worker: bool, as_json: bool
) -> None:
    from ingot.server import app

    told = _signals()
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(app.running(loaded.settings, folder, origins=loaded.origins))
        # What is here now stays: the collector would walk over it for tens of milliseconds, while calls wait.
        gc.collect()
        gc.freeze()
        if with_worker:
            worker = await server.start_worker()
            stack.push_async_callback(worker.stop, _WORKER_END_SECONDS)
        print(
            json.dumps(_facts(server)) if as_json else _welcome(server, with_worker=with_worker), flush=True
        )
        await told.wait()
        if not as_json:
            print("Stopping: running calls may finish. Ctrl-C again leaves at once.", flush=True)


def _signals() -> asyncio.Event:
    """Return an event that the first SIGTERM or SIGINT sets; the second ends the process."""
    told = asyncio.Event()

    def tell() -> None:
        if told.is_set():
            os._exit(_INTERRUPTED)  # what was acknowledged is durable; there is nothing to save
        told.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, tell)
    return told


def _facts(server: "App") -> dict[str, object]:
    return {
        "event": "ready",
        "listen": list(server.addresses),
        "socket": str(server.unix_socket),
        "data_dir": str(server.folder.path),
        "pid": os.getpid(),
        "version": server.facts.version,
    }


def _welcome(server: "App", *, with_worker: bool) -> str:
    """Return what a person sees when the server is ready."""
    data = server.folder.path
    lines = [
        f"Ingot {server.facts.version} is ready. Ctrl-C stops it.",
        "",
        f"  Address      {', '.join(server.addresses)}{_protection(server)}",
        f"  Data folder  {data}",
        f"  Log          {data / 'logs' / 'server.log'}",
    ]
    if with_worker:
        lines.append(f"  Worker       started; log {data / 'logs' / 'worker.log'}")
    first = server.addresses[0] if server.tls is None else f"unix:{server.unix_socket}"
    lines += [
        "",
        f"On this machine:   ingot ls --server {first}",
        f'With grpcurl:      grpcurl -plaintext -H "authorization: Bearer $(cat {data / "admin.token"})" \\',
        f"                       {first} ingot.v1.SystemService/GetHealth",
    ]
    return "\n".join(lines)


def _protection(server: "App") -> str:
    """Return what protects the addresses, in words after them."""
    if server.tls is not None:
        return " (TLS; clients need a certificate)" if server.tls.asks_clients else " (TLS)"
    if all(is_loopback(address) for address in server.addresses):
        return ""
    return "\n  Warning      no TLS: tokens and data can be read on the way (see ingot-server certs)"


def _start_errors() -> tuple[type[Exception], ...]:
    """Return the errors that say in one sentence why the server cannot start."""
    from ingot.server.certificates import CertificateError
    from ingot.server.core.errors import IngotError
    from ingot.server.rpc.server import AddressError
    from ingot.server.rpc.tls import TlsError
    from ingot.server.storage.backups import BackupError
    from ingot.server.storage.data_folder import DataFolderError
    from ingot.server.storage.database import DatabaseOpenError
    from ingot.server.storage.migration_runner import MigrationError
    from ingot.server.storage.pack_keys import KeyFileError
    from ingot.server.worker_process import WorkerMissingError

    return (
        AddressError,
        BackupError,
        CertificateError,
        DataFolderError,
        DatabaseOpenError,
        IngotError,
        KeyFileError,
        MigrationError,
        TlsError,
        WorkerMissingError,
        users.UsersError,
        # Something in the data folder belongs to somebody else, or is not what it should be; they name it.
        PermissionError,
        FileExistsError,
        NotADirectoryError,
        IsADirectoryError,
    )


if __name__ == "__main__":
    sys.exit(main())
