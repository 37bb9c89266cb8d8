"""Commits an upload: seal, check, finish, each in a hop of its own (domain/commits.py)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from ingot.server.core import failpoints
from ingot.server.core.identity import Caller
from ingot.server.core.names import UploadName
from ingot.server.core.uploads import Upload, UploadState
from ingot.server.domain.commits import Commits, Committed
from ingot.server.domain.manifest_check import CheckedManifest
from ingot.server.rpc.hops import Hops


class Committer:
    """Commits uploads; one object serves them all."""

    def __init__(self, hops: Hops, commits: Commits) -> None:
        self._hops = hops
        self._commits = commits
        self._turns = _Turns()

    async def commit(
        self, caller: Caller, name: UploadName, expected_digest: str, file_count: int
    ) -> Committed:
        """Turn an upload into its target, or return what it became before. Raises as the rules do.

        It runs to its end even if the caller goes away: a sealed upload must not stay sealed.
        """
        work = self._commit(caller, name, expected_digest, file_count)
        return await asyncio.shield(asyncio.create_task(work))

    async def _commit(
        self, caller: Caller, name: UploadName, expected_digest: str, file_count: int
    ) -> Committed:
        sealed = await self._hops.prepare(self._commits.seal, caller, name, expected_digest, file_count)
        if sealed.state is UploadState.COMMITTED:
            return await self._hops.read(self._commits.committed, caller, sealed)
        try:
            failpoints.hit("commit.sealed")
            checked = await self._check(caller, sealed, expected_digest, file_count)
            done = await self._hops.write(self._commits.finish, caller, sealed, checked)
            failpoints.hit("commit.durable")
            return done
        except Exception as error:  # whatever it is: nobody else may touch a sealed upload
            await self._hops.keep(self._commits.reopen, sealed, error)
            raise

    async def _check(
        self, caller: Caller, sealed: Upload, expected_digest: str, file_count: int
    ) -> CheckedManifest:
        check = self._commits.check
        if not self._commits.is_long(sealed):
            return await self._hops.read(check, sealed, expected_digest, file_count)
        async with self._turns.of(caller.principal):
            return await self._hops.read_long(check, sealed, expected_digest, file_count)


class _Turns:
    """Lets what one principal does go one after the other."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[asyncio.Lock, int]] = {}  # and how many have or want it

    @contextlib.asynccontextmanager
    async def of(self, principal: str) -> AsyncIterator[None]:
        """Wait for the turn of a principal; it lasts for the with block."""
        lock, wanted = self._waiting.get(principal, (asyncio.Lock(), 0))
        self._waiting[principal] = (lock, wanted + 1)
        try:
            async with lock:
                yield
        finally:
            lock, wanted = self._waiting.pop(principal)
            if wanted > 1:
                self._waiting[principal] = (lock, wanted - 1)
