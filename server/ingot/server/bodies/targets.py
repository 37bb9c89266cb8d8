"""What an import makes: its target and what the source says, as the message that begins an upload."""

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf import json_format

from ingot.client import artifact_fields
from ingot.server.core import params
from ingot.v1 import transfer_pb2


@dataclass(frozen=True, slots=True)
class Described:
    """What a source says of itself; it counts where the target says nothing."""

    display_name: str = ""
    card: str = ""
    tags: Sequence[str] = ()
    language: str = ""
    license: str = ""
    framework: str = ""
    task_type: str = ""
    model_type: str = ""
    source: str = ""  # huggingface, url, …


def new_version(
    target: params.Target, *, source: str, commit: str = "", described: Described | None = None
) -> transfer_pb2.NewVersion:
    """Return the version to be; its artifact is created with all that is known when it is missing."""
    told = described or Described()
    create = artifact_fields(
        display_name=target.display_name or told.display_name,
        description=target.description,
        card=told.card,
        tags=target.tags or told.tags,
        language=target.language or told.language,
        license=target.license or told.license,
        framework=target.framework or told.framework,
        task_type=target.task_type or told.task_type,
        model_type=target.model_type or told.model_type,
        source=told.source,
        visibility=target.visibility,
    )
    new = transfer_pb2.NewVersion(
        artifact=target.artifact,
        version_id=target.version_id,
        create=create,
        changelog=target.changelog,
        aliases=target.aliases,
        source=source,
        source_commit=commit,
    )
    json_format.ParseDict(target.metadata, new.metadata)
    json_format.ParseDict(target.performance_metrics, new.performance_metrics)
    return new
