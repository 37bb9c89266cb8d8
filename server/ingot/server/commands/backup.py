"""`ingot-server backup` and `restore`: copies of a data folder that no server uses."""

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ingot.server.settings.fields import Settings, SettingsError


def declare(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    add_settings: Callable[[argparse.ArgumentParser], None],
) -> None:
    """Add the commands to the parser of `ingot-server`."""
    backup = commands.add_parser(
        "backup",
        help="copy rows and packs while no server runs (a running one: ingot upkeep backup)",
        epilog="examples:\n  ingot-server backup\n  ingot-server backup --data .run --backup-dir /mnt/ingot",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_settings(backup)
    restore = commands.add_parser(
        "restore",
        help="put a backup into an empty data folder",
        epilog="examples:\n  ingot-server restore /mnt/ingot --data .run\n"
        "  ingot-server restore /mnt/ingot --name 20261121T040000Z --data .run",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    restore.add_argument("folder", type=Path, metavar="FOLDER", help="the backup folder")
    restore.add_argument("--name", default="", help="which backup; the newest one when left out")
    restore.add_argument(
        "--revoke-tokens",
        action="store_true",
        help="end all API tokens; without it those of the backup are good again, also if revoked since",
    )
    add_settings(restore)


def backup(settings: Settings) -> int:
    """Copy the data folder of a server that does not run."""
    from ingot.server.storage.backups import BackupError, FolderBackups
    from ingot.server.storage.data_folder import DataFolder
    from ingot.server.storage.database import only_server, open_database, path_of
    from ingot.server.storage.migration_runner import migrate

    rows, packs = Path(path_of(settings.database)), settings.data_dir / "packs"
    if not rows.exists() and not packs.is_dir():  # both would be made, and a copy of nothing be a backup
        place = settings.data_dir.absolute()
        raise BackupError(
            f"There is nothing to back up in {place}: name the server's data folder with --data."
        )
    with (
        contextlib.closing(DataFolder.hold(settings.data_dir)) as folder,
        only_server(settings.database, folder.path),
    ):
        with contextlib.closing(open_database(settings.database)) as database:
            migrate(database)
        store = FolderBackups(folder.path, database.path, settings.backup_folder)
        try:
            needed = store.begin(time.time())
            for done, pack in enumerate(needed, start=1):
                store.copy(pack)
                _told("packs copied", done, len(needed))
            made = store.finish()
        finally:
            store.abandon()
        store.prune(settings.backup_keep)
    if made.lost_chunks:
        print(
            f"warning: {made.lost_chunks} chunks that versions need are lost and not in the backup: "
            "run ingot-server doctor",
            file=sys.stderr,
        )
    print(settings.backup_folder / made.name)
    return 0


def restore(settings: Settings, folder: Path, name: str, *, revoke_tokens: bool) -> int:
    """Put a backup into the data folder, which must be empty, and end the logins of that time."""
    from ingot.server.commands import offline
    from ingot.server.storage import backups
    from ingot.server.storage.data_folder import DataFolder

    if settings.database_url:
        raise SettingsError("database_url: a backup is restored into a data folder; leave this setting out.")
    with contextlib.closing(DataFolder.hold(settings.data_dir)) as held:
        restored = backups.restore(
            folder,
            held.path,
            name,
            lambda done, all_: _told("packs restored", done, all_),
            revoke_tokens=revoke_tokens,
        )
    # Held anew: it is another server now, with the secret and the identity of the backup.
    with (
        contextlib.closing(DataFolder.hold(settings.data_dir)) as held,
        offline.opened(settings, held) as found,
    ):
        settled = found.settled
    print(
        f"restored {restored.name} into {settings.data_dir}; start it with: ingot-server serve --data "
        f"{settings.data_dir}"
    )
    print(_settled(settled))
    return 0


def _settled(facts: Mapping[str, str]) -> str:
    """Return what came back of logins and tokens, and what people should look at."""
    ended, revoked, good = (int(facts[key]) for key in ("ended_logins", "revoked_tokens", "good_tokens"))
    lines = [f"Logins of that time were ended: {ended}. Passwords, roles and members are those of that time."]
    if revoked:
        lines.append(f"API tokens were revoked: {revoked}. The server makes admin.token anew at its start.")
    if good:
        names = ", ".join(value for key, value in facts.items() if key.partition("_")[0] == "tokens")
        lines.append(f"API tokens that are good again, also if they were revoked since: {names}.")
        lines.append("Revoke what should not be: ingot tokens revoke NAME; or restore with --revoke-tokens.")
    return "\n".join(lines)


def _told(what: str, done: int, total: int) -> None:
    """Show progress: on a terminal each step, else the last one."""
    if sys.stderr.isatty() or done == total:
        end = "\n" if done == total else "\r"
        print(f"{done} of {total} {what}", end=end, file=sys.stderr, flush=True)
