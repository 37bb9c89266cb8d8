"""Resource names: the one place where the server parses and formats them.

`x_id` is one component, `x_name` the full path. Long names only; short forms are the clients' affair.

    namespaces/{n}                       trainingJobs/{job}                    users/{u}
    namespaces/{n}/models/{a}            trainingJobs/{job}/checkpoints/{step} users/{u}/tokens/{id}
    namespaces/{n}/datasets/{a}          uploads/{id}   operations/{id}        users/{u}/credentials/{host}
    workers/{id}
    …/versions/{v}   …/aliases/{alias}
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from ingot.server.core.errors import FieldProblem, Invalid, Reason

_ARTIFACT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_VERSION_ID = re.compile(r"[0-9][A-Za-z0-9.-]{0,63}")
_ALIAS_ID = re.compile(r"(?!v[0-9])[a-z][a-z0-9-]{0,31}")
_NAMESPACE_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,38}")
_MADE_ID = re.compile(r"[a-z]+_(?:0|[1-9][0-9]{0,17})")  # one form each: no file_01
LATEST = "latest"
ANY_NAMESPACE = "-"


class Kind(StrEnum):
    """What kind of thing an artifact is; the value is its collection in names."""

    MODEL = "models"
    DATASET = "datasets"

    @property
    def word(self) -> str:
        """Return the word for one of them."""
        return "model" if self is Kind.MODEL else "dataset"


@dataclass(frozen=True, slots=True)
class ArtifactName:
    """Name of a model or dataset."""

    namespace: str
    kind: Kind
    artifact: str

    def __str__(self) -> str:
        return f"namespaces/{self.namespace}/{self.kind.value}/{self.artifact}"

    def version(self, version_id: str) -> "VersionName":
        """Return the name of one of its versions."""
        return VersionName(self, version_id)

    def alias(self, alias_id: str) -> "AliasName":
        """Return the name of one of its aliases."""
        return AliasName(self, alias_id)


@dataclass(frozen=True, slots=True)
class VersionName:
    """Name of one version."""

    artifact: ArtifactName
    version: str

    def __str__(self) -> str:
        return f"{self.artifact}/versions/{self.version}"


@dataclass(frozen=True, slots=True)
class AliasName:
    """Name of one alias."""

    artifact: ArtifactName
    alias: str

    def __str__(self) -> str:
        return f"{self.artifact}/aliases/{self.alias}"


@dataclass(frozen=True, slots=True)
class CheckpointName:
    """Name of a checkpoint: its job's id and its step."""

    job: str
    step: int

    def __str__(self) -> str:
        return f"trainingJobs/{self.job}/checkpoints/{self.step}"


@dataclass(frozen=True, slots=True)
class UploadName:
    """Name of an upload."""

    upload: str

    def __str__(self) -> str:
        return f"uploads/{self.upload}"


VersionReference = VersionName | AliasName | ArtifactName
TreeName = VersionName | AliasName | ArtifactName | CheckpointName | UploadName


def artifact_name(text: str, field: str = "name") -> ArtifactName:
    """Parse the name of a model or dataset. Raises Invalid (NAME_INVALID)."""
    found = _reference(text)
    if not isinstance(found, ArtifactName):
        raise _bad(field, text, "namespaces/{namespace}/models/{id} or …/datasets/{id}")
    return found


def version_reference(text: str, field: str = "name") -> VersionReference:
    """Parse a version, an alias, or an artifact meaning its latest version. Raises Invalid (NAME_INVALID)."""
    found = _reference(text)
    if found is None:
        raise _bad(
            field, text, "namespaces/{namespace}/models/{id}, with /versions/{version} or /aliases/{alias}"
        )
    return found


def version_name(text: str, field: str = "name") -> VersionName:
    """Parse the name of a version, and of nothing that leads to one. Raises Invalid."""
    name = _reference(text)
    if not isinstance(name, VersionName):
        raise _bad(field, text, "namespaces/{namespace}/models/{id}/versions/{version}")
    return name


def alias_name(text: str, field: str = "name") -> AliasName:
    """Parse the name of an alias. Raises Invalid (NAME_INVALID)."""
    found = _reference(text)
    if not isinstance(found, AliasName):
        raise _bad(field, text, "namespaces/{namespace}/models/{id}/aliases/{alias}")
    return found


def tree_name(text: str, field: str = "tree") -> TreeName:
    """Parse the name of anything that owns a manifest. Raises Invalid (NAME_INVALID)."""
    if text.startswith("uploads/"):
        return UploadName(made_id(text, "uploads", field))
    if text.startswith("trainingJobs/"):
        return checkpoint_name(text, field)
    return version_reference(text, field)


def checkpoint_name(text: str, field: str = "name") -> CheckpointName:
    """Parse the name of a checkpoint. Raises Invalid (NAME_INVALID)."""
    parts = text.split("/")
    well_formed = len(parts) == 4 and parts[0] == "trainingJobs" and parts[2] == "checkpoints"
    if not well_formed or not _MADE_ID.fullmatch(parts[1]) or not re.fullmatch(r"[0-9]{1,18}", parts[3]):
        raise _bad(field, text, "trainingJobs/{job}/checkpoints/{step}")
    return CheckpointName(parts[1], int(parts[3]))


def made_id(text: str, collection: str, field: str = "name") -> str:
    """Parse `{collection}/{id}` whose id the server made and return the id. Raises Invalid (NAME_INVALID)."""
    parts = text.split("/")
    if len(parts) != 2 or parts[0] != collection or not _MADE_ID.fullmatch(parts[1]):
        raise _bad(field, text, f"{collection}/{{id}}")
    return parts[1]


def namespace_id(text: str, field: str = "parent", *, any_allowed: bool = False) -> str:
    """Parse `namespaces/{id}` and return the id, `-` for all where that is allowed. Raises Invalid."""
    parts = text.split("/")
    if len(parts) == 2 and parts[0] == "namespaces":
        if any_allowed and parts[1] == ANY_NAMESPACE:
            return ANY_NAMESPACE
        if _NAMESPACE_ID.fullmatch(parts[1]):
            return parts[1]
    raise _bad(field, text, "namespaces/{id}" + (" or namespaces/-" if any_allowed else ""))


def whole_collection(text: str) -> tuple[str, Kind] | None:
    """Return namespace (`-` for all) and kind of `namespaces/{namespace}/{kind}/-`; None for other names."""
    parts = text.split("/")
    if len(parts) != 4 or parts[0] != "namespaces" or parts[3] != ANY_NAMESPACE:
        return None
    if parts[2] not in tuple(Kind) or not (parts[1] == ANY_NAMESPACE or _NAMESPACE_ID.fullmatch(parts[1])):
        return None
    return parts[1], Kind(parts[2])


def user_id(text: str, field: str = "name") -> str:
    """Parse `users/{id}` and return the id. Raises Invalid (NAME_INVALID)."""
    parts = text.split("/")
    if len(parts) != 2 or parts[0] != "users" or not _NAMESPACE_ID.fullmatch(parts[1]):
        raise _bad(field, text, "users/{id}")
    return parts[1]


def member_ids(text: str, field: str = "name") -> tuple[str, str]:
    """Parse `namespaces/{namespace}/members/{user}` and return both ids. Raises Invalid (NAME_INVALID)."""
    parts = text.split("/")
    if len(parts) != 4 or parts[0] != "namespaces" or parts[2] != "members":
        raise _bad(field, text, "namespaces/{namespace}/members/{user}")
    return namespace_id("/".join(parts[:2]), field), user_id(f"users/{parts[3]}", field)


def token_ids(text: str, field: str = "name") -> tuple[str, str]:
    """Parse `users/{user}/tokens/{id}` and return both ids. Raises Invalid (NAME_INVALID)."""
    parts = text.split("/")
    if len(parts) != 4 or parts[2] != "tokens" or not _MADE_ID.fullmatch(parts[3]):
        raise _bad(field, text, "users/{user}/tokens/{id}")
    return user_id("/".join(parts[:2]), field), parts[3]


def credential_ids(text: str, field: str = "name") -> tuple[str, str]:
    """Parse `users/{user}/credentials/{host}`; return user and host as they stand. Raises Invalid."""
    parts = text.split("/")
    if len(parts) != 4 or parts[2] != "credentials" or not parts[3]:
        raise _bad(field, text, "users/{user}/credentials/{host}")
    return user_id("/".join(parts[:2]), field), parts[3]


def check_artifact_id(text: str, field: str = "artifact_id") -> str:
    """Return a chosen artifact id when it is one. Raises Invalid (NAME_INVALID)."""
    if not _ARTIFACT_ID.fullmatch(text):
        raise _bad(field, text, "a letter or digit, then letters, digits, '.', '_' or '-', at most 96")
    return text


def check_version_id(text: str, field: str = "version_id") -> str:
    """Return a chosen version id without a leading `v`. Raises Invalid (NAME_INVALID)."""
    bare = text[1:] if re.match(r"v[0-9]", text) else text
    if not _VERSION_ID.fullmatch(bare):
        raise _bad(field, text, "a digit, then letters, digits, '.' or '-', at most 64, such as v1.0.0")
    return bare


def check_alias_id(text: str, field: str = "alias") -> str:
    """Return an alias id when it may be set by a person. Raises Invalid (NAME_INVALID)."""
    if text == LATEST:
        raise _bad(field, text, "another word: latest moves by itself to the newest ready version")
    if not _ALIAS_ID.fullmatch(text):
        raise _bad(field, text, "a lower-case letter, then letters, digits or '-', at most 32, not v3")
    return text


def check_namespace_id(text: str, field: str = "user_id") -> str:
    """Return a chosen user or namespace id when it is one. Raises Invalid (NAME_INVALID)."""
    if not _NAMESPACE_ID.fullmatch(text):
        raise _bad(field, text, "a letter or digit, then lower-case letters, digits or '-', at most 39")
    return text


def is_namespace_id(text: str) -> bool:
    """Return whether a text has the form of an id of a namespace or a user."""
    return _NAMESPACE_ID.fullmatch(text) is not None


def leading_number(version_id: str) -> int:
    """Return the number that a version id starts with: 3 for `3`, 1 for `1.0.0`; 0 above 15 digits.

    A version without a chosen id gets one above the largest of these, so absurd numbers do not count.
    """
    digits = re.match(r"[0-9]*", version_id)
    text = digits[0] if digits else ""
    return int(text) if 0 < len(text) <= 15 else 0


def _reference(text: str) -> VersionReference | None:
    parts = text.split("/")
    if len(parts) not in (4, 6) or parts[0] != "namespaces":
        return None
    if not _NAMESPACE_ID.fullmatch(parts[1]) or parts[2] not in tuple(Kind):
        return None
    if not _ARTIFACT_ID.fullmatch(parts[3]):
        return None
    artifact = ArtifactName(parts[1], Kind(parts[2]), parts[3])
    if len(parts) == 4:
        return artifact
    version = parts[5][1:] if re.match(r"v[0-9]", parts[5]) else parts[5]
    if parts[4] == "versions" and _VERSION_ID.fullmatch(version):
        return artifact.version(version)
    if parts[4] == "aliases" and _ALIAS_ID.fullmatch(parts[5]):
        return artifact.alias(parts[5])
    return None


def _bad(field: str, text: str, expected: str) -> Invalid:
    shown = text if len(text) <= 120 else text[:117] + "..."
    message = f"{field}: expected {expected}, got {shown!r}."
    return Invalid(
        Reason.NAME_INVALID,
        message,
        facts={"field": field, "got": shown},
        fields=(FieldProblem(field, message, Reason.NAME_INVALID),),
    )
