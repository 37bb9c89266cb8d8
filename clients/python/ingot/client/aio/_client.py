"""Client, to be awaited. Made from _client.py by docs/tools/async_form.py."""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from ingot.client._client import Client
from ingot.client._file_reader import FileReader
from ingot.client._names import AnyName
from ingot.client._progress import OnProgress
from ingot.client._pull import PullResult
from ingot.client._push import PushResult
from ingot.client._reading import VerifyResult
from ingot.client._references import Reference
from ingot.client._transfers import Source
from ingot.client.aio._running import AsyncPart
from ingot.v1 import catalog_pb2
from ingot.v1 import transfer_pb2 as pb


class AsyncMethods(AsyncPart[Client]):
    """A connection to one Ingot server; safe to use from several threads, closed once.

    Replies are the API's own messages (`ingot.v1`), taken out of their response. Failures are IngotError."""

    async def push(
        self,
        ref: str | Reference,
        *sources: Source,
        changelog: str = "",
        version: str = "",
        aliases: Sequence[str] = (),
        metadata: Mapping[str, object] | None = None,
        metrics: Mapping[str, object] | None = None,
        fields: "catalog_pb2.Artifact | None" = None,
        format: str = "",
        expected_latest: str | None = None,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        hidden: bool = False,
        limit_rate: float = 0.0,
        streams: int | None = None,
        dry_run: bool = False,
        wait: bool = True,
        on_progress: "OnProgress | None" = None,
    ) -> "PushResult":
        """Push files and folders as a new version of a model or dataset, which is created when missing.

        `ref` may name the new version (`models/tiny@3`) or an alias to set (`models/tiny@prod`). `fields`
        describe an artifact that is created now (`artifact_fields`); one that is there keeps its own, which
        `client.catalog.update` changes. With `expected_latest` the push fails unless that version is the
        latest when it commits. Running the same push again sends what is missing.

        Where the artifact requires a validation this waits for it and raises what it found, unless `wait` is
        false: then the version may not be READY yet (`client.uploads.wait`).
        """
        return await self._call_told(
            lambda sdk, told: sdk.push(
                ref,
                *sources,
                changelog=changelog,
                version=version,
                aliases=aliases,
                metadata=metadata,
                metrics=metrics,
                fields=fields,
                format=format,
                expected_latest=expected_latest,
                include=include,
                exclude=exclude,
                hidden=hidden,
                limit_rate=limit_rate,
                streams=streams,
                dry_run=dry_run,
                wait=wait,
                on_progress=told,
            ),
            on_progress,
        )

    async def push_checkpoint(
        self,
        training_job: str,
        step: int,
        attempt: int,
        folder: Source,
        *,
        epoch: float = 0.0,
        kind: "pb.CheckpointKind.ValueType | None" = None,
        metrics: Mapping[str, float] | None = None,
        world_size: int = 1,
        on_progress: "OnProgress | None" = None,
    ) -> "PushResult":
        """Push a folder as a checkpoint of claimed work; hidden files go too."""
        return await self._call_told(
            lambda sdk, told: sdk.push_checkpoint(
                training_job,
                step,
                attempt,
                folder,
                epoch=epoch,
                kind=kind,
                metrics=metrics,
                world_size=world_size,
                on_progress=told,
            ),
            on_progress,
        )

    async def push_result(
        self,
        artifact: str,
        folder: Source,
        *,
        training_job: str,
        attempt: int,
        changelog: str = "",
        metadata: Mapping[str, object] | None = None,
        performance_metrics: Mapping[str, object] | None = None,
        on_progress: "OnProgress | None" = None,
    ) -> "PushResult":
        """Push a folder as the model version that claimed work made; the server writes its lineage."""
        return await self._call_told(
            lambda sdk, told: sdk.push_result(
                artifact,
                folder,
                training_job=training_job,
                attempt=attempt,
                changelog=changelog,
                metadata=metadata,
                performance_metrics=performance_metrics,
                on_progress=told,
            ),
            on_progress,
        )

    async def pull(
        self,
        ref: AnyName,
        folder: Source,
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        limit_rate: float = 0.0,
        streams: int | None = None,
        dry_run: bool = False,
        force: bool = False,
        cache: bool | None = None,
        on_progress: "OnProgress | None" = None,
    ) -> "PullResult":
        """Bring a version, checkpoint or a part of one into a folder; what is there already stays.

        A reference with a path (`models/tiny@3:tokenizer`) brings that file or folder alone. Running the same
        pull again brings what is missing. Raises Conflict (LOCAL_CHANGES), before any file is touched, when
        one would be overwritten that no pull brought or that was edited since; `force` overwrites it.

        With `cache` whole files come from the file cache of this machine as far as it has them, and are kept
        there; None uses it when INGOT_FILE_CACHE names its folder.

        What is registered but not fetched yet is fetched by the server first, which this waits for (a dry run
        does not); the progress of that has the stage FETCHING.
        """
        return await self._call_told(
            lambda sdk, told: sdk.pull(
                ref,
                folder,
                include=include,
                exclude=exclude,
                limit_rate=limit_rate,
                streams=streams,
                dry_run=dry_run,
                force=force,
                cache=cache,
                on_progress=told,
            ),
            on_progress,
        )

    def read(self, ref: AnyName, *, offset: int = 0, length: int | None = None) -> "AsyncIterator[bytes]":
        """Yield the bytes of one file, or of a range of it, in pieces of up to 2 MiB.

        Each chunk that the range touches is compared with its digest before a byte of it is given out. Who
        reads several ranges of a file uses a `reader`.
        """
        return self._each(lambda sdk: sdk.read(ref, offset=offset, length=length))

    async def reader(self, ref: AnyName) -> "FileReader":
        """Return one file for reading ranges of it: it asks for the digests once, with the first range.

        Name a version or a checkpoint: `latest` and other aliases are looked up once, too.
        """
        return await self._call(lambda sdk: sdk.reader(ref))

    async def verify(self, ref: AnyName, *, on_progress: "OnProgress | None" = None) -> "VerifyResult":
        """Read every chunk of a tree from the server and check it, keeping nothing."""
        return await self._call_told(lambda sdk, told: sdk.verify(ref, on_progress=told), on_progress)

    async def verify_folder(
        self, folder: Source, ref: AnyName | None = None, *, on_progress: "OnProgress | None" = None
    ) -> "VerifyResult":
        """Read every file of a folder and compare it with a tree: `ref`, else what was last pulled there."""
        return await self._call_told(
            lambda sdk, told: sdk.verify_folder(folder, ref, on_progress=told), on_progress
        )

    async def repair_folder(
        self,
        folder: Source,
        ref: AnyName | None = None,
        *,
        force: bool = False,
        on_progress: "OnProgress | None" = None,
    ) -> "VerifyResult":
        """Read every file of a folder and fetch the chunks that are damaged or missing, and only those.

        What it put in place is read once more. A file that somebody edited is only replaced with `force`;
        without it that is named in `edited` of the result, and the others are repaired. Files that the tree
        does not have stay.
        """
        return await self._call_told(
            lambda sdk, told: sdk.repair_folder(folder, ref, force=force, on_progress=told), on_progress
        )

    async def upload_large_file(
        self, path: Source, *, name: str = "", description: str = "", on_progress: "OnProgress | None" = None
    ) -> "str":
        """Push one file as a new version of a dataset and return the id of its upload, `file_12`.

        The dataset is called `name`, else after the file. A validation that it requires goes on meanwhile:
        `get_upload_progress` tells its stage, which ends at fresh or failed.
        """
        return await self._call_told(
            lambda sdk, told: sdk.upload_large_file(
                path, name=name, description=description, on_progress=told
            ),
            on_progress,
        )

    async def get_upload_progress(self, file_id: str) -> "pb.Upload":
        """Return state, percent, sizes and problem of an upload."""
        return await self._call(lambda sdk: sdk.get_upload_progress(file_id))

    async def get_staged_files(self, status: str = "") -> "Sequence[pb.Upload]":
        """Return the newest 200 of one's uploads: all, or those in a stage such as fresh or failed."""
        return await self._call(lambda sdk: sdk.get_staged_files(status))

    async def process_file(self, file_id: str, rules: "Mapping[str, object] | None" = None) -> "str":
        """Validate what an upload became; return the name of the operation, whose result is the report.

        Rules are such as {"min_records": 100}; others come from the policy of its dataset. One that did not
        pass before becomes ready when it passes now.
        """
        return await self._call(lambda sdk: sdk.process_file(file_id, rules))

    async def retry_failed_file(self, file_id: str) -> "pb.Upload":
        """Try a failed upload again and return it as it is then."""
        return await self._call(lambda sdk: sdk.retry_failed_file(file_id))

    async def cleanup_failed_uploads(self, hours_old: float = 24) -> "int":
        """Forget one's uploads that failed longer ago than so many hours; return how many."""
        return await self._call(lambda sdk: sdk.cleanup_failed_uploads(hours_old))

    async def get_file_info(self, ref: AnyName) -> "pb.FileEntry":
        """Return size, digests and format of one file."""
        return await self._call(lambda sdk: sdk.get_file_info(ref))

    async def download_file(
        self, ref: AnyName, target: Source, *, force: bool = False, on_progress: "OnProgress | None" = None
    ) -> "Path":
        """Bring one file of a tree into the folder `target` and return where it is now."""
        return await self._call_told(
            lambda sdk, told: sdk.download_file(ref, target, force=force, on_progress=told), on_progress
        )
