"""Import a repository of the Hub: pinned to a commit, checked against what the Hub tells, made by one commit.

    look up → here already? → room on the disk? → open an upload ─┬→ fetch a few files at once ─┐
                                                                  └── add each to the upload ←──┘→ commit

A file leaves the local disk as soon as the server has it, so a few of them are all the extra space it takes.
An attempt that is killed goes on: the commit and the upload are kept in notes, files that are in the upload
are not fetched again, and one that was half fetched is continued.
"""

from collections.abc import Sequence
from pathlib import Path

from ingot.client import NotFound, OpenUpload
from ingot.content import globs, paths
from ingot.server.bodies.failures import BodyFailure
from ingot.server.bodies.fetching import AT_ONCE
from ingot.server.bodies.hub_files import FetchedFile, HubFetching
from ingot.server.bodies.kept_uploads import kept_upload
from ingot.server.bodies.targets import Described, new_version
from ingot.server.bodies.web import addresses_of, may_send_token
from ingot.server.bodies.work import Work
from ingot.server.core import params
from ingot.server.core.errors import NotFound as SourceNotFound
from ingot.server.core.errors import Reason
from ingot.server.core.hosts import host_of
from ingot.server.sources.budgets import Budget, Limits, free_bytes
from ingot.server.sources.hub import Hub, HubFile, HubRepository
from ingot.v1 import catalog_pb2

_CARD = "README.md"
_MOST_CARD_BYTES = 200_000


def run(work: Work[params.ImportParams]) -> params.ImportResult:
    """Make a version of a repository, or find that it is here already."""
    source = work.params.source
    assert isinstance(source, params.HubImport)
    return _Import(work, source).run()


class _Import:
    """One repository on its way in."""

    def __init__(self, work: Work[params.ImportParams], source: params.HubImport) -> None:
        self._work = work
        self._source = source
        self._target = work.params.target
        self._commit_note = work.folder / "commit"  # what later attempts go on with
        self._upload_note = work.folder / "upload"
        self._card_note = work.folder / "card"
        self._hub = Hub(
            work.settings.text("hub_endpoint"), _token(work), addresses=addresses_of(work.settings)
        )

    def run(self) -> params.ImportResult:
        """Do all of it."""
        self._work.progress(0, phase="looking up", message=self._source.repository)
        repository = self._look_up()
        files = self._wanted(repository)
        size = sum(each.size for each in files)
        look = params.ImportResult(
            source=f"{repository.source}@{repository.commit}",
            commit=repository.commit,
            file_count=len(files),
            size_bytes=size,
            free_bytes=free_bytes(self._work.folder),
        )
        present = self._present(repository, files)
        if present is not None and not self._work.params.force:
            if missing := set(self._target.aliases) - set(present.aliases):
                self._work.warning(f"{present.name} was here already, without {', '.join(sorted(missing))}.")
            ours = present.origin.operation == self._work.spec.operation  # an attempt that was not heard of
            told = {"version": present.name, "digest": present.digest, "existed": not ours}
            return look.model_copy(update=told)
        if self._work.params.check_only:
            needed = self._check_room(files)
            return look.model_copy(update={"needed_bytes": needed, "existed": present is not None})
        return self._fetch(repository, files, look)

    # --- looking ----------------------------------------------------------------------------------------

    def _look_up(self) -> HubRepository:
        """Return the repository at the commit that the first attempt found."""
        name, kind = self._source.repository, self._source.repository_kind
        pinned = self._commit_note.read_text(encoding="utf-8") if self._commit_note.exists() else ""
        try:
            return self._hub.look_up(name, kind, pinned or self._source.revision)
        except SourceNotFound:
            if not pinned:
                raise
            self._work.warning(f"Commit {pinned} is gone; looking for another one.")
            self._commit_note.unlink()
            self._card_note.unlink(missing_ok=True)
            return self._hub.look_up(name, kind, self._source.revision)

    def _wanted(self, repository: HubRepository) -> list[HubFile]:
        """Return the files that are meant, in order. Raises BodyFailure."""
        include, exclude = self._source.include, self._source.exclude
        files = [each for each in repository.files if globs.wanted(each.path, include, exclude)]
        if not files:
            raise BodyFailure(
                Reason.SOURCE_NOT_FOUND,
                f"{repository.source} has {len(repository.files)} files, none of which is meant.",
                next_step="Check include and exclude; *.safetensors matches in every folder.",
                facts={"source": repository.source, "cause": "globs"},
            )
        try:
            paths.check_tree(each.path for each in files)
        except paths.PathError as error:
            raise BodyFailure(
                Reason.BAD_PATH,
                f"{repository.source} has a file {error.path!r}, which cannot be kept: {error.rule}.",
                next_step="Leave it out with exclude.",
                facts={"path": error.path},
            ) from error
        self._check_size(sum(each.size for each in files), repository.source, "import_max_bytes")
        for each in files:
            self._check_size(each.size, f"{each.path} of {repository.source}", "import_max_file_bytes")
        return sorted(files, key=lambda each: each.path)

    def _check_size(self, size: int, what: str, setting: str) -> None:
        most = self._work.settings.whole(setting)
        if most and size > most:
            raise BodyFailure(
                Reason.TOO_LARGE,
                f"{what} has {size} bytes; this server imports at most {most}.",
                next_step=f"Import less with include and exclude, or raise the server's setting {setting}.",
                facts={"size": str(size), "limit": str(most), "setting": setting},
            )

    def _present(self, repository: HubRepository, files: Sequence[HubFile]) -> catalog_pb2.Version | None:
        """Return a version of the target that has these files of this commit.

        One that is READY if there is one; else the newest that is validated, or was rejected.
        """
        sizes = {each.path: each.size for each in files}
        client, waiting = self._work.client, None
        try:
            for version in client.catalog.versions(self._target.artifact):
                origin = version.origin
                if origin.hub_commit != repository.commit or not _same(origin.source, repository.source):
                    continue
                if version.file_count != len(files):
                    continue
                if self._target.version_id and version.name.rpartition("/")[2] != self._target.version_id:
                    continue
                if version.state != catalog_pb2.VERSION_STATE_READY:  # its files are not ours to list
                    waiting = waiting or (version if version.size_bytes == sum(sizes.values()) else None)
                elif {each.path: each.size_bytes for each in client.uploads.files(version.name)} == sizes:
                    return version
        except NotFound:  # neither it nor its artifact is there
            return None
        return waiting

    def _check_room(self, files: Sequence[HubFile]) -> int:
        """Return what files need on the disk: the server's copy, and those on their way beside it."""
        sizes = sorted(each.size for each in files)
        needed = sum(sizes) + sum(sizes[-AT_ONCE:])
        Budget(Limits()).check_disk(self._work.folder, needed)
        return needed

    # --- fetching ---------------------------------------------------------------------------------------

    def _fetch(
        self, repository: HubRepository, files: list[HubFile], look: params.ImportResult
    ) -> params.ImportResult:
        if not self._upload_note.exists():  # else part of it is on the disk already: told once it is known
            self._check_room(files)
        self._commit_note.write_text(repository.commit, encoding="utf-8")
        work = self._work
        with HubFetching(work, self._hub, repository, len(files)) as fetching:
            target = new_version(
                self._target,
                source=repository.source,
                commit=repository.commit,
                described=self._described(repository, fetching),
            )
            with kept_upload(
                work.client,
                self._upload_note,
                target,
                size=look.size_bytes,
                original_name=self._source.repository,
            ) as upload:
                missing = [each for each in files if upload.files().get(each.path) != each.size]
                if upload.is_committed:
                    missing = []
                needed = self._check_room(missing)
                there = look.size_bytes - sum(each.size for each in missing)
                for fetched in fetching.fetch(missing, there, look.size_bytes):
                    _add(upload, fetched)
                work.progress(look.size_bytes, look.size_bytes, phase="committing", message=upload.name)
                done = upload.commit()
            told = {"version": done.name, "digest": done.digest, "needed_bytes": needed}
            return look.model_copy(update={**told, "fetched_bytes": fetching.fetched_bytes})

    def _described(self, repository: HubRepository, fetching: HubFetching) -> Described:
        """Return what the repository says of itself."""
        card = repository.card
        return Described(
            display_name=repository.name,
            card=self._card_text(repository, fetching),
            tags=card.tags,
            language=card.language,
            license=card.license,
            framework=card.framework,
            task_type=card.task_type,
            model_type=card.model_type,
            source="huggingface",
        )

    def _card_text(self, repository: HubRepository, fetching: HubFetching) -> str:
        """Return the text of the card, which only a new artifact gets; the same in every attempt."""
        kept = self._card_note
        if not kept.exists():
            file = next((each for each in repository.files if each.path == _CARD), None)
            wanted = file is not None and file.size <= _MOST_CARD_BYTES and not self._is_known()
            text = fetching.text(file) if file is not None and wanted else ""
            clean = "".join(each for each in text if each in "\n\t" or each.isprintable())
            kept.write_text(clean, encoding="utf-8")
        return kept.read_text(encoding="utf-8")

    def _is_known(self) -> bool:
        try:
            self._work.client.catalog.get(self._target.artifact)
        except NotFound:
            return False
        return True


def _add(upload: OpenUpload, fetched: Sequence[FetchedFile]) -> None:
    """Bring fetched files to the server and remove them here."""
    upload.add({each.file.path: each.place for each in fetched})
    for each in fetched:
        Path(each.place).unlink()


def _token(work: Work[params.ImportParams]) -> str:
    """Return the token for the Hub, "" without one. Raises BodyFailure when it would travel in the clear."""
    endpoint = work.settings.text("hub_endpoint")
    token = work.secrets.get(host_of(endpoint), "")
    if token and not may_send_token(work.settings, endpoint):
        raise BodyFailure(
            Reason.SOURCE_DENIED,
            f"The token for {host_of(endpoint)} is not sent: {endpoint} would show it to everybody between.",
            next_step="Set hub_endpoint of the server to an address with https://.",
            facts={"endpoint": endpoint, "cause": "clear"},
        )
    return token


def _same(told: str, source: str) -> bool:
    """Return whether the source that a version tells is this repository, at whatever commit."""
    return told.partition("@")[0].casefold() == source.casefold()
