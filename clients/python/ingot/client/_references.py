"""References: how people name things, parsed and printed in one place.

    models/tiny            the version `latest` in my own namespace
    models/team/tiny@3     version 3 in the namespace `team`          datasets/chat@v1.0.0
    models/tiny@prod:config.json       one file of what the alias `prod` points at
    namespaces/team/models/tiny/versions/3[:path]                     the API's long form
    trainingJobs/job_12/checkpoints/500[:path]      uploads/file_12[:path]
    hf://google/flan-t5-small[@revision]    hf://datasets/org/name    https://…

The wire knows long names only; a reference without a namespace means the caller's own.
"""

import re
from dataclasses import dataclass, replace

from ingot.client._errors import Invalid

MODELS = "models"
DATASETS = "datasets"
KINDS = (MODELS, DATASETS)
LATEST = "latest"

_NAMESPACE = re.compile(r"[a-z0-9][a-z0-9-]{0,38}")
_ARTIFACT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_VERSION = re.compile(r"v?[0-9][A-Za-z0-9.-]{0,63}")
_ALIAS = re.compile(r"(?!v[0-9])[a-z][a-z0-9-]{0,31}")
_MADE = re.compile(r"[a-z]+_[0-9]{1,18}")
_HUB = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?", re.ASCII)
_FORM = "models/NAME or datasets/NAME, with [NAMESPACE/] before and [@VERSION-OR-ALIAS][:PATH] after NAME"


@dataclass(frozen=True, slots=True)
class Reference:
    """A model or dataset, one of its versions, or one file in it. Empty fields are not given."""

    kind: str
    artifact: str
    namespace: str = ""
    version: str = ""
    alias: str = ""
    path: str = ""

    def __str__(self) -> str:
        namespace = f"{self.namespace}/" if self.namespace else ""
        at = f"@{self.version or self.alias}" if self.version or self.alias else ""
        return f"{self.kind}/{namespace}{self.artifact}{at}" + (f":{self.path}" if self.path else "")

    def in_namespace(self, default: str) -> "Reference":
        """Return it with the default namespace where none is given."""
        return self if self.namespace else replace(self, namespace=default)

    @property
    def artifact_name(self) -> str:
        """Long name of the artifact; the namespace must be filled in."""
        return f"namespaces/{self.namespace}/{self.kind}/{self.artifact}"

    @property
    def name(self) -> str:
        """Long name of the version, the alias, or the artifact when neither is given."""
        if self.version:
            return f"{self.artifact_name}/versions/{self.version}"
        return f"{self.artifact_name}/aliases/{self.alias}" if self.alias else self.artifact_name


@dataclass(frozen=True, slots=True)
class TreeReference:
    """A checkpoint or an open upload by its long name, or one file in it."""

    name: str
    path: str = ""

    def __str__(self) -> str:
        return self.name + (f":{self.path}" if self.path else "")


@dataclass(frozen=True, slots=True)
class HubSource:
    """A repository of the Hugging Face Hub."""

    repository: str
    kind: str = MODELS
    revision: str = ""

    def __str__(self) -> str:
        collection = "datasets/" if self.kind == DATASETS else ""
        return f"hf://{collection}{self.repository}" + (f"@{self.revision}" if self.revision else "")

    @property
    def artifact_id(self) -> str:
        """Id under which it is stored here: `google/flan-t5-small` becomes `google_flan-t5-small`."""
        return self.repository.replace("/", "_")


@dataclass(frozen=True, slots=True)
class UrlSource:
    """A file on the web."""

    url: str

    def __str__(self) -> str:
        return self.url


AnyReference = Reference | TreeReference | HubSource | UrlSource


def parse_reference(text: str) -> AnyReference:
    """Return what `text` refers to. Raises Invalid with the nearest form that would be right."""
    if text.startswith("hf://"):
        return _hub(text)
    if text.startswith(("https://", "http://")):
        return UrlSource(text)
    head, _, path = text.partition(":")
    if head.startswith(("uploads/", "trainingJobs/")):
        return _tree(text, head, path)
    if head.startswith("namespaces/"):
        return _long(text, head, path)
    return _short(text, head, path)


def parse_artifact(text: str) -> Reference:
    """Return a reference to a model or dataset, or something in it. Raises Invalid for anything else."""
    found = parse_reference(text)
    if not isinstance(found, Reference):
        raise _bad(text, _FORM)
    return found


def parse_tree(text: str) -> Reference | TreeReference:
    """Return a reference to anything that has files here. Raises Invalid for foreign sources."""
    found = parse_reference(text)
    if isinstance(found, Reference | TreeReference):
        return found
    raise _bad(text, _FORM, next_step=f"Fetch it first: ingot import {text}")


def made_name(text: str, collection: str, prefix: str) -> str:
    """Return the long name of what the server numbered: `12`, `job_12`, `trainingJobs/job_12` are one."""
    bare = text.removeprefix(f"{collection}/")
    if bare.isascii() and bare.isdigit():
        bare = f"{prefix}_{bare}"
    if not _MADE.fullmatch(bare):
        raise _bad(text, f"{prefix}_NUMBER")
    return f"{collection}/{bare}"


def _short(text: str, head: str, path: str) -> Reference:
    head, at, selector = head.partition("@")
    parts = head.split("/")
    if parts[0] not in KINDS or len(parts) not in (2, 3):
        raise _bad(text, _FORM, next_step=_suggestion(text, parts))
    namespace = parts[1] if len(parts) == 3 else ""
    if namespace and not _NAMESPACE.fullmatch(namespace):
        raise _bad(text, "a namespace of lower-case letters, digits and '-'", part=namespace)
    if at and not selector:
        raise _bad(text, "a version or an alias after '@'")
    return _reference(text, parts[0], namespace, parts[-1], selector, path)


def _long(text: str, head: str, path: str) -> Reference:
    parts = head.split("/")
    if len(parts) not in (4, 6) or parts[2] not in KINDS or not _NAMESPACE.fullmatch(parts[1]):
        raise _bad(text, "namespaces/NAMESPACE/models/NAME[/versions/VERSION or /aliases/ALIAS]")
    if len(parts) == 6 and parts[4] not in ("versions", "aliases"):
        raise _bad(text, "versions or aliases after the name", part=parts[4])
    selector = parts[5] if len(parts) == 6 else ""
    found = _reference(text, parts[2], parts[1], parts[3], selector, path)
    if len(parts) == 6 and bool(found.version) != (parts[4] == "versions"):
        raise _bad(text, f"one of the {parts[4]}", part=selector)
    return found


def _reference(text: str, kind: str, namespace: str, artifact: str, selector: str, path: str) -> Reference:
    if not _ARTIFACT.fullmatch(artifact):
        raise _bad(text, "a name of letters, digits, '.', '_' and '-', at most 96", part=artifact)
    if not selector:
        return Reference(kind, artifact, namespace, path=path)
    if _VERSION.fullmatch(selector):
        return Reference(kind, artifact, namespace, version=selector.removeprefix("v"), path=path)
    if _ALIAS.fullmatch(selector):
        return Reference(kind, artifact, namespace, alias=selector, path=path)
    expected = "a version such as 3 or v1.0.0, or an alias of lower-case letters, digits and '-'"
    raise _bad(text, expected, part=selector)


def _tree(text: str, head: str, path: str) -> TreeReference:
    parts = head.split("/")
    upload = parts[0] == "uploads" and len(parts) == 2 and bool(_MADE.fullmatch(parts[1]))
    checkpoint = (
        parts[0] == "trainingJobs"
        and len(parts) == 4
        and bool(_MADE.fullmatch(parts[1]))
        and parts[2] == "checkpoints"
        and parts[3].isascii()
        and parts[3].isdigit()
    )
    if not upload and not checkpoint:
        raise _bad(text, "trainingJobs/JOB/checkpoints/STEP or uploads/UPLOAD")
    return TreeReference(head, path)


def _hub(text: str) -> HubSource:
    repository, _, revision = text.removeprefix("hf://").partition("@")
    kind = MODELS
    for prefix in KINDS:
        if repository.startswith(f"{prefix}/") and (prefix == DATASETS or repository.count("/") == 2):
            kind, repository = prefix, repository.removeprefix(f"{prefix}/")
            break
    if not _HUB.fullmatch(repository):
        raise _bad(text, "hf://OWNER/NAME or hf://datasets/OWNER/NAME, with [@REVISION]")
    return HubSource(repository, kind, revision)


def _suggestion(text: str, parts: list[str]) -> str:
    import difflib

    if parts[0] in KINDS:
        return f"Write for example: {parts[0]}/{next((part for part in parts[1:] if part), 'NAME')}"
    words = {"model": MODELS, "dataset": DATASETS, "data": DATASETS, MODELS: MODELS, DATASETS: DATASETS}
    near = difflib.get_close_matches(parts[0].lower(), words, n=1)
    if near and len(parts) > 1:
        return f"Did you mean {'/'.join([words[near[0]], *parts[1:]])}?"
    if near:
        return f"Did you mean {words[near[0]]}, models/{text} or datasets/{text}?"
    if text.startswith(("/", "./", "../", "~")):
        return "That is a path of this machine. Write for example: models/tiny"
    if len(parts) == 3 and parts[1] in KINDS:
        return f"Did you mean {parts[1]}/{parts[0]}/{text.split('/', 2)[2]}?"
    if "://" in text:
        return "Sources are hf://OWNER/NAME, and files at http:// and https://."
    bare = text.lstrip("./")
    return f"Did you mean models/{bare} or datasets/{bare}?" if bare else "Write for example: models/tiny"


def _bad(text: str, expected: str, *, part: str | None = None, next_step: str = "") -> Invalid:
    got = repr(text) if part is None else f"{part!r} in {text!r}"
    return Invalid(
        f"Not a reference: expected {expected}, got {got}.",
        reason="NAME_INVALID",
        facts={"got": text},
        next_step=next_step,
    )
