"""Reads files of versions to show what is in them: summaries and previews, on I/O threads, within bounds.

What strangers send is parsed here only as far as headers and beginnings go; no more than two versions are
read at a time, and a summary is kept for who asks again, since content never changes. `Reader.turn` reads the
versions that wait for their facts.
"""

import asyncio
import contextlib
import dataclasses
import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import TypeVar

from ingot.server.core.clock import Clock
from ingot.server.core.contents import (
    Allowance,
    Preview,
    TooCostly,
    VersionSummary,
    WantedRows,
)
from ingot.server.core.errors import Exhausted, Invalid, NotFound, Reason
from ingot.server.core.facts import VersionFacts
from ingot.server.core.identity import Caller
from ingot.server.core.manifests import FileFacts
from ingot.server.core.names import VersionReference
from ingot.server.core.stores import PackStore
from ingot.server.domain.contents import Contents, Look
from ingot.server.domain.downloads import Downloads
from ingot.server.formats import facts, previews, summaries
from ingot.server.formats.data_files import NoRows
from ingot.server.rpc.hops import Hops
from ingot.server.rpc.range_source import ChunkLost, RangeSource

log = logging.getLogger(__name__)

T = TypeVar("T")

MOST_TENSORS = 5000
MOST_FILES = 1000  # that are read for one summary
SAMPLED_FILES = 50  # read before anybody asks, where there are more: their numbers are told to nobody
SHOWN_FILES = 200
MOST_FINDINGS = 100
COUNTED_DATA_FILES = 1000
_SUMMARY_BYTES = 64 * 1024 * 1024
_PREVIEW_BYTES = 48 * 1024 * 1024
_SECONDS = 3.0  # somebody waits
_PATIENT_SECONDS = 30.0  # nobody does
_AT_ONCE = 2
_KEPT = 32  # summaries in memory


@dataclasses.dataclass(frozen=True, slots=True)
class Shown:
    """Rows of a file of a version."""

    look: Look
    path: str
    preview: Preview
    data_files: int


class Reader:
    """Answers what is in a version; one object serves all calls."""

    def __init__(
        self, hops: Hops, contents: Contents, downloads: Downloads, packs: PackStore, clock: Clock
    ) -> None:
        self._hops = hops
        self._contents = contents
        self._downloads = downloads
        self._packs = packs
        self._clock = clock
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._kept: OrderedDict[str, VersionSummary] = OrderedDict()

    async def summary(self, caller: Caller, reference: VersionReference, tensors: int) -> VersionSummary:
        """Return what the files of a version say, with at most so many tensors.

        Raises as Contents.look, and DataLoss.
        """
        look = await self._hops.read(self._contents.look, caller, reference)
        found = await self._summary(look, _SECONDS)
        self._contents.accessed(caller, look)
        if look.facts is None and look.version_uid in self._kept:  # nothing had read it yet
            with contextlib.suppress(Exhausted):  # a full disk keeps nobody from reading
                await self._hops.prepare(self._contents.keep, look.version_uid, found.facts)
        told = look.facts if look.facts is not None and look.facts.validated else found.facts
        return dataclasses.replace(
            found,
            version=look.name,
            facts=told,
            tensors=found.tensors[:tensors],
            complete=found.complete or told.validated,
        )

    async def preview(
        self, caller: Caller, reference: VersionReference, path: str, wanted: WantedRows
    ) -> Shown:
        """Return rows of a file of a version, of its first data file without a path.

        Raises as Contents.look, NotFound (FILE_NOT_FOUND), Invalid (FORMAT_NOT_ALLOWED), DataLoss.
        """
        look = await self._hops.read(self._contents.look, caller, reference)
        data = [each for each in look.files if summaries.may_tell(each.path, model=False)]
        if path:
            file = await self._hops.read(self._contents.file, look, path)
        elif data:
            file = data[0]
        else:
            raise _no_data(look)
        async with self._turns:
            allowance = Allowance(self._clock, _PREVIEW_BYTES, _SECONDS)
            try:
                preview = await self._hops.io(self._rows, look, file, wanted, allowance)
            except ChunkLost as lost:
                await self._hops.prepare(self._downloads.lost, lost.place)
                raise lost.error from None
        self._contents.accessed(caller, look)
        return Shown(look, file.path, preview, min(len(data), COUNTED_DATA_FILES))

    async def turn(self) -> int:
        """Read the versions that wait for it, one after the other; return how many were."""
        count = 0
        while (waiting := await self._hops.read(self._contents.waiting)) is not None:
            uid, look = waiting
            if look is None:
                await self._hops.write(self._contents.skip, uid)
                continue
            try:
                found = await self._summary(look, _PATIENT_SECONDS, of_many=SAMPLED_FILES)
                await self._hops.write(self._contents.keep, uid, found.facts)
            except Exception as error:  # noqa: BLE001 (the next version is not to wait for this one)
                log.warning("facts.not_read version=%s error=%s", look.name, error)
                await self._hops.write(self._contents.skip, uid)
            count += 1
        return count

    # --- inside -----------------------------------------------------------------------------------------

    async def _summary(self, look: Look, seconds: float, of_many: int = MOST_FILES) -> VersionSummary:
        """Read a version, or return what was read of it before. Raises DataLoss.

        Where there are too many files to read all of them, so many are.
        """
        kept = self._kept.get(look.version_uid)
        if kept is not None:
            self._kept.move_to_end(look.version_uid)
            return kept
        async with self._turns:
            try:
                found, cut = await self._hops.io(self._read, look, seconds, of_many)
            except ChunkLost as lost:
                await self._hops.prepare(self._downloads.lost, lost.place)
                raise lost.error from None
        if not cut:  # else another time may be quieter, or somebody asks
            self._kept[look.version_uid] = found
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found

    def _read(self, look: Look, seconds: float, of_many: int) -> tuple[VersionSummary, bool]:
        """Read the files that may tell something; return also whether more could be told; on a thread."""
        allowance = Allowance(self._clock, _SUMMARY_BYTES, seconds)
        telling = [each for each in look.files if summaries.may_tell(each.path, model=look.of_model)]
        found: list[summaries.Summary] = []
        left = MOST_TENSORS
        whole = look.listed_all and len(telling) <= MOST_FILES
        for file in telling if whole else telling[:of_many]:
            source = self._source(look, file, allowance)
            if look.of_model:
                told = summaries.of_model_file(file.path, source, left, allowance.pause)
            else:
                told = summaries.of_data_file(file.path, source, allowance.pause)
            left -= len(told.tensors)
            found.append(told)
        cut = any(each.cut for each in found)
        summary = VersionSummary(
            version=look.name,
            digest=look.digest,
            facts=self._facts(look, [each.facts for each in found], allowance, known=whole and not cut),
            formats=look.formats,
            files=[each.file for each in found[:SHOWN_FILES]],
            tensors=[tensor for each in found for tensor in each.tensors],
            findings=[finding for each in found for finding in each.findings][:MOST_FINDINGS],
            complete=whole and not any(each.file.note for each in found),
        )
        return summary, cut or not (whole or of_many == MOST_FILES)

    def _facts(
        self, look: Look, files: Sequence[facts.FileFacts], allowance: Allowance, *, known: bool
    ) -> VersionFacts:
        """Return the facts; without `known` not all files were read, and no number may pretend they were."""
        if not look.of_model:
            told = facts.of_dataset(files)
            return told if known else told.model_copy(update={"records": None, "estimated": False})
        config = next((each for each in look.files if each.path == facts.CONFIG), None)
        architecture = ""
        if config is not None and config.size_bytes <= facts.MOST_CONFIG:
            try:
                architecture = facts.architecture_of(self._source(look, config, allowance).read())
            except TooCostly:
                log.info("facts.config_not_read version=%s", look.name)
        told = facts.of_model(files, architecture)
        return told if known else told.model_copy(update={"parameters": 0, "tensors": 0})

    def _rows(self, look: Look, file: FileFacts, wanted: WantedRows, allowance: Allowance) -> Preview:
        try:
            source = self._source(look, file, allowance)
            return previews.preview(file.path, source, wanted, allowance.pause)
        except NoRows as none:
            raise _no_rows(file.path, str(none)) from None
        except TooCostly:
            why = "To reach these rows more would have to be read than one question may."
            raise _no_rows(file.path, why) from None

    def _source(self, look: Look, file: FileFacts, allowance: Allowance) -> RangeSource:
        return RangeSource(self._hops, self._downloads, self._packs, look.opened, file, allowance)


def _no_data(look: Look) -> NotFound:
    return NotFound(
        Reason.FILE_NOT_FOUND,
        f"{look.name} has no file of data among its first {len(look.files)} files.",
        next_step="Name a file; JSON Lines, JSON, CSV and plain text can be shown.",
        facts={"name": str(look.name)},
    )


def _no_rows(path: str, why: str) -> Invalid:
    return Invalid(
        Reason.FORMAT_NOT_ALLOWED,
        f"No rows of {path!r} can be shown: {why}",
        next_step="Show another file, or read this one with `ingot cat`.",
        facts={"path": path},
    )
