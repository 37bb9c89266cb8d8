"""Writing to a repository of the Hugging Face Hub, or of a mirror: one commit that makes it hold a folder.

The library does it: small files travel in the commit, large ones to the Hub's large file storage before it,
and what the repository has already does not travel. Its refusals become our errors as in `hub.py`.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2

from ingot.server.core.errors import Denied, IngotError, Reason, Unavailable
from ingot.server.sources.hub import QUIET, RepositoryKind, source_of
from ingot.server.sources.hub_refusals import Asked

if TYPE_CHECKING:  # slow to load
    from huggingface_hub import HfApi

_SECONDS = 120.0  # for one answer, with the bytes of one request
_THEIRS = (".gitattributes", "README.md")  # not removed: the Hub made the one, people write the other there


@dataclass(frozen=True, slots=True)
class HubCommit:
    """What a repository holds now; `changed` is False when it held that before."""

    repository: str
    commit: str
    url: str
    changed: bool


@dataclass(frozen=True, slots=True)
class HubPlace:
    """Where to write; an empty branch is the main one."""

    repository: str
    kind: RepositoryKind
    branch: str = ""
    private: bool = False


class HubWriter:
    """The Hub as the owner of one token may change it."""

    def __init__(self, endpoint: str, token: str) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._token = token

    def hold(self, place: HubPlace, folder: Path, files: Sequence[str], message: str) -> HubCommit:
        """Let a repository, made when missing, hold these files of a folder and no others but `_THEIRS`.

        Raises Denied (SOURCE_DENIED), NotFound (SOURCE_NOT_FOUND), Invalid (NAME_INVALID), Unavailable and
        Precondition (SOURCE_UNREACHABLE).
        """
        asked = Asked(
            self._endpoint, source_of(place.repository, place.kind), place.branch, bool(self._token)
        )
        if not self._token:
            raise Denied(
                Reason.SOURCE_DENIED,
                f"Writing to {asked.host} needs a token, and there is none.",
                next_step=f"Keep one with `ingot credentials set {asked.host}`, then retry.",
                facts={"host": asked.host},
            )
        with _translated(asked):
            return self._hold(self._library(), place, folder, files, message)

    def _hold(
        self, api: "HfApi", place: HubPlace, folder: Path, files: Sequence[str], message: str
    ) -> HubCommit:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        made = api.create_repo(
            place.repository, repo_type=place.kind, private=place.private or None, exist_ok=True
        )
        if place.branch:
            api.create_branch(made.repo_id, branch=place.branch, repo_type=place.kind, exist_ok=True)
        branch = place.branch or "main"
        before = api.repo_info(made.repo_id, repo_type=place.kind, revision=branch).sha
        there = api.list_repo_files(made.repo_id, repo_type=place.kind, revision=before)
        steps: list[CommitOperationAdd | CommitOperationDelete] = [
            CommitOperationAdd(path, str(folder / path)) for path in files
        ]
        kept = {*files, *_THEIRS}
        steps += [CommitOperationDelete(path) for path in there if path not in kept]
        done = api.create_commit(
            made.repo_id,
            steps,
            commit_message=message,
            repo_type=place.kind,
            revision=branch,
            parent_commit=before,
        )
        return HubCommit(made.repo_id, done.oid, str(done.commit_url), done.oid != before)

    def _library(self) -> "HfApi":
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        import huggingface_hub

        huggingface_hub.close_session()
        huggingface_hub.set_client_factory(
            lambda: httpx2.Client(event_hooks={"request": [_hurry]}, follow_redirects=True)
        )
        return huggingface_hub.HfApi(self._endpoint, token=self._token, library_name="ingot-server")


def _hurry(request: httpx2.Request) -> None:
    # Some calls of the library wait for ever unless they are told not to.
    request.extensions["timeout"] = httpx2.Timeout(_SECONDS).as_dict()


@contextmanager
def _translated(asked: Asked) -> Iterator[None]:
    """Turn what the library raises into our errors."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except (HfHubHTTPError, httpx2.TransportError, KeyError, TypeError, ValueError, RuntimeError) as error:
        # What fails while large files are sent comes wrapped.
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        if isinstance(cause, httpx2.TransportError):
            raise asked.unreachable(cause) from error
        if isinstance(cause, HfHubHTTPError):
            raise _refused(asked, cause.response) from error
        if isinstance(cause, Exception) and not isinstance(cause, RuntimeError):
            raise asked.misunderstood(cause) from error
        raise


def _refused(asked: Asked, response: httpx2.Response) -> IngotError:
    """Return our error for an answer of the Hub that is none."""
    if response.status_code == 412:
        return Unavailable(
            Reason.SOURCE_CHANGED,
            f"Somebody else committed to {asked.source} meanwhile.",
            next_step="Nothing to do: it is tried again on top of that.",
            facts={"source": asked.source},
        )
    try:
        asked.judge(response)
    except IngotError as error:
        return error
    return asked.not_a_hub()
