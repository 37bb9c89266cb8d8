"""What a client can do with files: push, pull, read, verify. The base of `Client`.

The second half are the functions that a system before Ingot offered, under their old names.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ingot.client import _names
from ingot.client._calls import Calls
from ingot.client._channels import Link
from ingot.client._errors import Invalid, Precondition
from ingot.client._names import AnyName, Names
from ingot.client._references import DATASETS, Reference

if TYPE_CHECKING:  # what moves bytes is imported when bytes move: most commands move none
    from ingot.client._file_reader import FileReader
    from ingot.client._operations import Operations
    from ingot.client._progress import OnProgress
    from ingot.client._pull import PullResult
    from ingot.client._push import PushResult
    from ingot.client._reading import VerifyResult
    from ingot.client._uploads import Uploads
    from ingot.v1 import catalog_pb2
    from ingot.v1 import transfer_pb2 as pb

Source = str | os.PathLike[str]


class Transfers:
    """Moves files; safe to use from several threads."""

    _link: Link
    _calls: Calls
    names: Names

    @property
    def uploads(self) -> "Uploads":
        """Uploads, and the files of any tree."""
        raise NotImplementedError

    @property
    def operations(self) -> "Operations":
        """Background work of the server."""
        raise NotImplementedError

    def push(
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
        from ingot.client import _push, _structs
        from ingot.v1 import catalog_pb2
        from ingot.v1 import transfer_pb2 as pb

        named = self.names.reference(ref)
        new = pb.NewVersion(
            artifact=named.artifact_name,
            version_id=version or named.version,
            create=fields or catalog_pb2.Artifact(),
            expected_latest=expected_latest,
            changelog=changelog,
            metadata=_structs.struct_of(metadata, "metadata"),
            performance_metrics=_structs.struct_of(metrics, "metrics"),
            aliases=[*([named.alias] if named.alias else []), *aliases],
            format=format,
        )
        options = _push.PushOptions(
            include,
            exclude,
            hidden,
            limit_rate,
            streams,
            dry_run=dry_run,
            wait=wait,
            on_progress=on_progress,
        )
        return _push.push(self._link, self._calls, pb.UploadTarget(version=new), sources, options)

    def push_checkpoint(
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
        from ingot.client import _push
        from ingot.v1 import transfer_pb2 as pb

        new = pb.NewCheckpoint(
            training_job=_names.job_name(training_job),
            step=step,
            attempt=attempt,
            epoch=epoch,
            kind=pb.CHECKPOINT_KIND_PERIODIC if kind is None else kind,
            metrics=metrics or {},
            world_size=world_size,
        )
        options = _push.PushOptions(hidden=True, on_progress=on_progress)
        return _push.push(self._link, self._calls, pb.UploadTarget(checkpoint=new), [folder], options)

    def push_result(
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
        from ingot.client import _push, _structs
        from ingot.v1 import catalog_pb2
        from ingot.v1 import transfer_pb2 as pb

        new = pb.NewVersion(
            artifact=self.names.artifact(artifact),
            create=catalog_pb2.Artifact(source="training"),
            changelog=changelog,
            metadata=_structs.struct_of(metadata, "metadata"),
            performance_metrics=_structs.struct_of(performance_metrics, "performance_metrics"),
            training_job=_names.job_name(training_job),
            attempt=attempt,
        )
        options = _push.PushOptions(hidden=True, on_progress=on_progress)
        return _push.push(self._link, self._calls, pb.UploadTarget(version=new), [folder], options)

    def pull(
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
        from ingot.client import _fetching, _pull

        tree, path = self.names.file_or_tree(ref)
        options = _pull.PullOptions(
            include, exclude, path, limit_rate, streams, dry_run, force, on_progress, cache=cache
        )

        def once() -> "PullResult":
            return _pull.pull(self._link, self._calls, tree, Path(folder), options)

        return once() if dry_run else _fetching.once_fetched(once, lambda: self.operations, on_progress)

    def read(self, ref: AnyName, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield the bytes of one file, or of a range of it, in pieces of up to 2 MiB.

        Each chunk that the range touches is compared with its digest before a byte of it is given out. Who
        reads several ranges of a file uses a `reader`.
        """
        return self.reader(ref).read(offset, length)

    def reader(self, ref: AnyName) -> "FileReader":
        """Return one file for reading ranges of it: it asks for the digests once, with the first range.

        Name a version or a checkpoint: `latest` and other aliases are looked up once, too.
        """
        from ingot.client._file_reader import FileReader

        tree, path = self.names.file(ref)
        return FileReader(self._link, self._calls, tree, path, lambda: self.operations)

    def verify(self, ref: AnyName, *, on_progress: "OnProgress | None" = None) -> "VerifyResult":
        """Read every chunk of a tree from the server and check it, keeping nothing."""
        from ingot.client import _fetching, _reading

        tree = self.names.tree(ref)

        def once() -> "VerifyResult":
            return _reading.verify_tree(self._link, self._calls, tree, on_progress=on_progress)

        return _fetching.once_fetched(once, lambda: self.operations, on_progress)

    def verify_folder(
        self, folder: Source, ref: AnyName | None = None, *, on_progress: "OnProgress | None" = None
    ) -> "VerifyResult":
        """Read every file of a folder and compare it with a tree: `ref`, else what was last pulled there."""
        from ingot.client import _reading

        tree = self._tree_of(folder, ref)
        return _reading.verify_folder(self._link, self._calls, tree, Path(folder), on_progress=on_progress)

    def repair_folder(
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
        from ingot.client import _fetching, _repair

        tree = self._tree_of(folder, ref)

        def once() -> "VerifyResult":
            return _repair.repair_folder(
                self._link, self._calls, tree, Path(folder), force=force, on_progress=on_progress
            )

        return _fetching.once_fetched(once, lambda: self.operations, on_progress)

    def _tree_of(self, folder: Source, ref: AnyName | None) -> str:
        """Return the long name of what a folder should hold: `ref`, else what was last pulled there."""
        from ingot.client import _pull

        tree = self.names.tree(ref) if ref else _pull.pulled_tree(Path(folder)).read()
        if not tree:
            if not os.path.isdir(folder):
                raise Invalid(
                    f"There is no folder {folder}.",
                    reason="FIELD_INVALID",
                    next_step="Name the folder of a pull; files on the server are verified by a name such as"
                    " models/tiny@1.",
                )
            raise Invalid(
                f"It is not known what {folder} should hold: nothing was pulled into it from this machine.",
                reason="FIELD_INVALID",
                next_step="Name the version to compare it with.",
            )
        return tree

    # --- under the names of before ----------------------------------------------------------------------

    def upload_large_file(
        self,
        path: Source,
        *,
        name: str = "",
        description: str = "",
        on_progress: "OnProgress | None" = None,
    ) -> str:
        """Push one file as a new version of a dataset and return the id of its upload, `file_12`.

        The dataset is called `name`, else after the file. A validation that it requires goes on meanwhile:
        `get_upload_progress` tells its stage, which ends at fresh or failed.
        """
        from ingot.v1 import catalog_pb2

        dataset = Reference(DATASETS, name or Path(path).stem)
        fields = catalog_pb2.Artifact(description=description or f"Uploaded {Path(path).name}")
        done = self.push(dataset, path, fields=fields, wait=False, on_progress=on_progress)
        return done.upload.removeprefix("uploads/")

    def get_upload_progress(self, file_id: str) -> "pb.Upload":
        """Return state, percent, sizes and problem of an upload."""
        return self.uploads.get(file_id)

    def get_staged_files(self, status: str = "") -> "Sequence[pb.Upload]":
        """Return the newest 200 of one's uploads: all, or those in a stage such as fresh or failed."""
        from ingot.v1 import transfer_pb2 as pb

        stages = {name.removeprefix("UPLOAD_STAGE_").lower(): value for name, value in pb.UploadStage.items()}
        if status and status not in stages:
            known = ", ".join(name for name in stages if name != "unspecified")
            raise Invalid(
                f"status: expected one of {known}, got {status!r}.",
                reason="FIELD_INVALID",
                next_step="Use fresh for finished ones.",
            )
        stage = stages[status] if status else pb.UPLOAD_STAGE_UNSPECIFIED
        return list(self.uploads.list(stage=stage, limit=200))

    def process_file(self, file_id: str, rules: "Mapping[str, object] | None" = None) -> str:
        """Validate what an upload became; return the name of the operation, whose result is the report.

        Rules are such as {"min_records": 100}; others come from the policy of its dataset. One that did not
        pass before becomes ready when it passes now.
        """
        upload = self.uploads.get(file_id)
        if not upload.result:
            raise Precondition(
                f"{upload.name} is not complete: there is nothing to process yet.",
                reason="STATE_INVALID",
                facts={"upload": upload.name},
                next_step="Push the file again: it goes on where it was.",
            )
        return self.operations.start_validation(upload.result, rules).name

    def retry_failed_file(self, file_id: str) -> "pb.Upload":
        """Try a failed upload again and return it as it is then."""
        return self.uploads.retry(file_id)

    def cleanup_failed_uploads(self, hours_old: float = 24) -> int:
        """Forget one's uploads that failed longer ago than so many hours; return how many."""
        return self.uploads.purge(older_than=timedelta(hours=hours_old))

    def get_file_info(self, ref: AnyName) -> "pb.FileEntry":
        """Return size, digests and format of one file."""
        return self.uploads.file(ref)

    def download_file(
        self, ref: AnyName, target: Source, *, force: bool = False, on_progress: "OnProgress | None" = None
    ) -> Path:
        """Bring one file of a tree into the folder `target` and return where it is now."""
        _, path = self.names.file(ref)
        done = self.pull(ref, target, force=force, on_progress=on_progress)
        return done.folder / path
