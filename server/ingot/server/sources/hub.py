"""Repositories of the Hugging Face Hub, or of a mirror of it: what is there, at which commit, and where.

    look_up → one commit, its files with sizes and digests, what its card says → wanted_file → urls.py fetches

Nothing that the Hub answers is believed before it is looked at: it may be a mirror, or somebody between. Its
redirects go through the same wall as those of files; only the Hub's own host may have any address.

The library asks the Hub; files are fetched by our own fetcher, which the library's does not replace: it goes
on after a kill, checks digests and not only sizes, and stops when it is told to. The token is the one that is
given, never one that lies on this machine. The Hub answers alike for names that nobody has and for those that
are not the asker's to see; our errors say so.
"""

import dataclasses
import hashlib
import os
import re
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import httpx2

from ingot.server.core.errors import Denied
from ingot.server.core.hosts import host_of
from ingot.server.sources.addresses import Addresses
from ingot.server.sources.budgets import WantedFile
from ingot.server.sources.checked_transport import CheckedTransport
from ingot.server.sources.hub_cards import HubCard, read_card
from ingot.server.sources.hub_refusals import Asked, no_endpoint

if TYPE_CHECKING:  # the library is slow to load, and reads its settings when it is
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import DatasetInfo, ModelInfo

RepositoryKind = Literal["model", "dataset"]

PIECE = 8 * 1024**3  # bytes; the Hub's content network answers with at most 50 GB at once
_SECONDS = 30.0  # for one answer about a repository
_PUBLIC = Addresses()
_ID = re.compile(r"[0-9a-f]{40,64}")  # of commits and blobs, as git makes them
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LARGEST = 2**63  # bytes of a file
_MOST_SIBLINGS = 50_000  # above, only the listing of the tree is complete
QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "HF_HUB_DISABLE_XET": "1",  # it took 15 GB of memory where we take a few MB
}


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a commit; large files have a SHA-256, all others the id that git gives them."""

    path: str
    size: int
    sha256: str
    blob_id: str


@dataclass(frozen=True, slots=True)
class HubRepository:
    """A repository at one commit."""

    name: str
    kind: RepositoryKind
    commit: str
    private: bool
    gated: bool
    files: tuple[HubFile, ...]
    card: HubCard

    @property
    def source(self) -> str:
        """The repository as people write it."""
        return source_of(self.name, self.kind)


def source_of(name: str, kind: RepositoryKind) -> str:
    """Return a repository as people write it: `hf://google/flan-t5-small`, `hf://datasets/org/name`."""
    return f"hf://{'datasets/' if kind == 'dataset' else ''}{name}"


class Hub:
    """The Hub as one token sees it; without a token as everybody does."""

    def __init__(
        self,
        endpoint: str,
        token: str = "",
        seconds: float = _SECONDS,
        addresses: Addresses = _PUBLIC,
    ) -> None:
        """Prepare to ask; `addresses` is where redirects may lead, beside the endpoint's own host."""
        self.endpoint = endpoint.rstrip("/")
        self.host = host_of(self.endpoint)
        if not self.host:
            raise no_endpoint(endpoint)
        self.token = token
        self._seconds = seconds
        own = (urllib.parse.urlsplit(self.endpoint).hostname or "").lower()
        self.addresses = dataclasses.replace(addresses, hosts=frozenset({own}))

    def look_up(self, name: str, kind: RepositoryKind, revision: str = "") -> HubRepository:
        """Return a repository at a branch, tag or commit, the main branch when empty.

        Raises Invalid (NAME_INVALID, FIELD_INVALID), NotFound (SOURCE_NOT_FOUND), Denied (SOURCE_DENIED),
        Unavailable and Precondition (SOURCE_UNREACHABLE).
        """
        asked = self._asked(source_of(name, kind), revision)
        try:
            with self._library(asked) as api:
                return self._told(api, asked, name, kind)
        except httpx2.TransportError as error:
            raise asked.unreachable(error) from error
        except httpx2.RequestError as error:  # redirects without end, a body that cannot be decoded
            raise asked.misunderstood(error) from error
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise asked.misunderstood(error) from error

    def wanted_file(self, repository: HubRepository, file: HubFile) -> WantedFile:
        """Return where a file is and what its bytes must be, for the fetcher."""
        from huggingface_hub import hf_hub_url

        url = hf_hub_url(
            repository.name,
            file.path,
            repo_type=repository.kind,
            revision=repository.commit,
            endpoint=self.endpoint,
        )
        return WantedFile((url,), f"sha256:{file.sha256}" if file.sha256 else "", file.size, piece=PIECE)

    def not_given(self, repository: HubRepository) -> Denied:
        """Return the error for a file that the Hub does not give although it tells of the repository."""
        return self._asked(repository.source, repository.commit).gated()

    def _asked(self, source: str, revision: str) -> Asked:
        return Asked(self.endpoint, source, revision, bool(self.token))

    def _told(self, api: "HfApi", asked: Asked, name: str, kind: RepositoryKind) -> HubRepository:
        from huggingface_hub.hf_api import DatasetInfo, ModelInfo

        revision = asked.revision or None
        info = api.repo_info(
            name, repo_type=kind, revision=revision, files_metadata=True, timeout=self._seconds
        )
        # The commit names a folder here, and a place in addresses.
        commit = info.sha or ""
        if not isinstance(info, ModelInfo | DatasetInfo) or not _ID.fullmatch(commit):
            raise asked.not_a_hub()
        gated, files = bool(getattr(info, "gated", False)), tuple(_files(api, info, kind))
        for file in files:
            _check(file)
        return HubRepository(name, kind, commit, bool(info.private), gated, files, read_card(info))

    @contextmanager
    def _library(self, asked: Asked) -> Iterator["HfApi"]:
        """Give the library's client, made so that every refusal of the Hub is one of our errors."""
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        try:
            import huggingface_hub
        except ImportError as error:
            raise asked.no_library() from error

        def prepare(request: httpx2.Request) -> None:
            if self.endpoint.startswith("https:") and request.url.scheme != "https":
                raise asked.unprotected(request.url)
            # Some calls of the library wait for ever unless they are told not to.
            request.extensions["timeout"] = httpx2.Timeout(self._seconds).as_dict()

        def session() -> httpx2.Client:
            return httpx2.Client(
                transport=CheckedTransport(self.addresses),
                event_hooks={"request": [prepare], "response": [asked.judge]},
                follow_redirects=True,
            )

        huggingface_hub.close_session()  # one of an earlier use
        huggingface_hub.set_client_factory(session)
        try:
            yield huggingface_hub.HfApi(self.endpoint, token=self.token or False, library_name="ingot-server")
        finally:
            huggingface_hub.close_session()


def _check(file: HubFile) -> None:
    """Refuse a file that cannot be: the library hands on whatever came. Raises ValueError, AttributeError."""
    if type(file.size) is not int or not 0 <= file.size < _LARGEST:
        raise ValueError(f"a size of {file.size!r} bytes")
    if not _ID.fullmatch(file.blob_id) or (file.sha256 and not _SHA256.fullmatch(file.sha256)):
        raise ValueError("an id that git does not make")
    file.path.encode("utf-8")  # raises for what is no text


def check_blob(path: Path, file: HubFile) -> bool:
    """Return whether a local file is the one that git knows by the id of `file`."""
    hasher = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
    with path.open("rb") as content:
        while piece := content.read(1024 * 1024):
            hasher.update(piece)
    return hasher.hexdigest() == file.blob_id


def _files(api: "HfApi", info: "ModelInfo | DatasetInfo", kind: str) -> Iterator[HubFile]:
    from huggingface_hub.hf_api import RepoFile

    siblings = info.siblings
    told = siblings is not None and all(each.size is not None and each.blob_id for each in siblings)
    if siblings is not None and told and len(siblings) < _MOST_SIBLINGS:
        for each in siblings:
            yield HubFile(
                each.rfilename, each.size or 0, each.lfs.sha256 if each.lfs else "", each.blob_id or ""
            )
        return
    for entry in api.list_repo_tree(info.id, recursive=True, revision=info.sha, repo_type=kind):
        if isinstance(entry, RepoFile):
            yield HubFile(entry.path, entry.size, entry.lfs.sha256 if entry.lfs else "", entry.blob_id)
