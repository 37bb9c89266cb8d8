"""Make versions of what a validation separated: the good records, and those that were put aside.

Both are uploads that go on where they were after a kill: their request ids follow from the operation. Files
without bad records pass through the work folder one by one; the server has their chunks, so none travels.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import json_format

from ingot.client import Manifest, artifact_fields
from ingot.server.bodies.work import Work
from ingot.server.core import params
from ingot.server.formats.quarantine import Quarantine
from ingot.v1 import transfer_pb2

_ID_LENGTH = 96  # of an artifact
_SUFFIX = "-quarantine"
_SPACE = uuid.UUID("6f1e6f3c-6f0b-4f65-9a5e-0d6a5f1c2b7d")


@dataclass(frozen=True, slots=True)
class Cleaned:
    """The names of both versions; there is no cleaned one when nothing good is left."""

    version: str
    quarantine: str


def places(folder: Path, path: str) -> tuple[Path, Path]:
    """Return where the cleaned copy of a file and its bad records go."""
    return folder / "cleaned" / path, folder / "aside" / f"{path}.jsonl"


def make(work: Work[params.ValidationParams], manifest: Manifest, bad: Mapping[str, Quarantine]) -> Cleaned:
    """Upload both versions and return their names."""
    artifact, _, number = manifest.tree.partition("/versions/")
    count = sum(each.bad_records for each in bad.values())
    told = {"validated_version": manifest.tree, "operation": work.spec.operation, "bad_records": count}
    kept_id = f"{artifact.rpartition('/')[2][: _ID_LENGTH - len(_SUFFIX)]}{_SUFFIX}"
    kept = f"{artifact.rpartition('/')[0]}/{kept_id}"
    quarantine = _upload(
        work,
        _new_version(kept, f"{count} bad records of version {number}.", told, f"Bad records of {artifact}"),
        {f"{path}.jsonl": each.aside for path, each in bad.items()},
    )
    good = {path: each.cleaned for path, each in bad.items() if each.good_records}
    rest = [each.path for each in manifest.files if each.path not in bad]
    if not good and not rest:
        return Cleaned("", quarantine)
    new = _new_version(artifact, f"Version {number} without {count} bad records.", told)
    return Cleaned(_upload(work, new, good, rest=rest, tree=manifest.tree), quarantine)


def _new_version(
    artifact: str, changelog: str, told: Mapping[str, object], description: str = ""
) -> transfer_pb2.NewVersion:
    new = transfer_pb2.NewVersion(
        artifact=artifact, changelog=changelog, create=artifact_fields(description=description)
    )
    json_format.ParseDict(dict(told), new.metadata)
    return new


def _upload(
    work: Work[params.ValidationParams],
    new: transfer_pb2.NewVersion,
    files: Mapping[str, Path],
    *,
    rest: list[str] | None = None,
    tree: str = "",
) -> str:
    """Upload local files, and the files of a tree that stay as they are; return the version."""
    request_id = str(uuid.uuid5(_SPACE, f"{work.spec.operation} {new.artifact}"))
    passing = work.folder / "passing"
    whole = len(files) + len(rest or ())
    with work.client.uploads.open(new, request_id=request_id) as upload:
        if not upload.is_committed:
            there = upload.files()
            for path, place in files.items():
                if path not in there:
                    upload.add({path: place})
            for path in rest or ():
                if path not in there:
                    work.progress(
                        len(upload.files()),
                        whole,
                        phase="writing the good records",
                        unit="files",
                        message=path,
                    )
                    done = work.client.pull(f"{tree}:{path}", passing, force=True)
                    local = done.folder / path
                    upload.add({path: local})
                    local.unlink()
        return upload.commit().name
