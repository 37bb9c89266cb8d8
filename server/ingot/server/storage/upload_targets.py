"""What an upload shall become, and why it failed, as JSON in its row."""

import json
from dataclasses import asdict

from ingot.server.core import names
from ingot.server.core.artifacts import ArtifactFields, Lifecycle, NewVersion, Visibility
from ingot.server.core.errors import Problem, Reason
from ingot.server.core.training import CheckpointKind, NewCheckpoint
from ingot.server.core.uploads import UploadTarget
from ingot.server.storage import policies


def encode(target: UploadTarget) -> str:
    """Return the target as JSON text."""
    fields = asdict(target)
    if isinstance(target, NewVersion):
        fields["artifact"] = str(target.artifact)
        if target.create is not None:
            fields["create"]["validation"] = policies.encode(target.create.validation)
            fields["create"]["approval"] = policies.encode_approval(target.create.approval)
    return json.dumps(fields, ensure_ascii=False)


def decode(text: str) -> UploadTarget:
    """Return the target from the JSON text that `encode` made."""
    fields = json.loads(text)
    if "job" in fields:
        return NewCheckpoint(**{**fields, "kind": CheckpointKind(fields["kind"])})
    create = fields["create"]
    if create is not None:
        create = ArtifactFields(
            **{
                **create,
                "tags": tuple(create["tags"]),
                "visibility": Visibility(create["visibility"]),
                "lifecycle": Lifecycle(create["lifecycle"]),
                "validation": policies.decode(create.get("validation", "")),
                "approval": policies.decode_approval(create.get("approval", "")),
            }
        )
    return NewVersion(
        **{
            **fields,
            "artifact": names.artifact_name(fields["artifact"]),
            "create": create,
            "aliases": tuple(fields["aliases"]),
        }
    )


def encode_problem(problem: Problem | None) -> str:
    """Return a problem as JSON text, empty without one."""
    return json.dumps(asdict(problem), ensure_ascii=False) if problem else ""


def decode_problem(text: str) -> Problem | None:
    """Return the problem from the text that `encode_problem` made."""
    if not text:
        return None
    fields = json.loads(text)
    return Problem(
        Reason(fields["reason"]), fields["message"], fields["facts"], fields["next_step"], fields["time"]
    )
