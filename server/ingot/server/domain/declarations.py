"""Lists of sources: files that declare models and datasets by name and by where they come from.

Ingot's own form, as TOML or JSON:

    [[datasets]]
    name = "humaneval"
    description = "164 programming problems with unit tests"
    hub = "openai/openai_humaneval"           # or url = "https://…", or files = [{ urls = […], path = … }]
    license = "mit"

A JSON file that only names Hub repositories is read too (`huggingface_models.json`): strings such as
`org/name`, or objects with `repo_id`, `model_id`, `id` or the like, in lists and objects. Below a key with
"dataset" in it they are datasets, else models. A name without `org/` counts as the id of an object, and in
lists at the top or below a key that speaks of models, datasets or repositories.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Literal

import pydantic
from pydantic import Field

from ingot.server.core import names
from ingot.server.core.artifacts import ArtifactFields, Visibility
from ingot.server.core.errors import Invalid, Reason
from ingot.server.core.names import Kind
from ingot.server.core.params import HubImport, Params, UrlFile, UrlImport
from ingot.server.core.registrations import Declaration
from ingot.server.domain import catalog_fields

_REPOSITORY = re.compile(
    r"(?!.*(--|\.\.))[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?(?<![-.])"
)
_SOURCES = frozenset(["hub", "url", "files"])
_HUB_KEYS = ("repo_id", "repository", "model_id", "dataset_id", "hf_id", "huggingface_id")
_ID_KEYS = (*_HUB_KEYS, "hub", "id", "model", "dataset", "name")
_GROUPS = re.compile("model|dataset|repo")
_NO_SOURCES = re.compile("path|dir|folder|file|url|license|tag|language|task")
_DEEPEST = 20


class _Entry(Params):
    """One entry of Ingot's own form."""

    name: str = ""
    hub: str = ""
    revision: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    url: str = ""
    files: tuple[UrlFile, ...] = ()
    unpack: bool = False
    checksum: str = ""
    size_bytes: int = Field(default=0, ge=0)
    display_name: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    language: str = ""
    license: str = ""
    framework: str = ""
    task_type: str = ""
    model_type: str = ""
    visibility: Visibility = Visibility.INTERNAL


class _Lists(Params):
    """A file in Ingot's own form."""

    models: tuple[_Entry, ...] = ()
    datasets: tuple[_Entry, ...] = ()


def parse(text: str, name: str) -> list[Declaration]:
    """Return what a file declares; `name` is its path, for messages.

    Raises Invalid (FIELD_INVALID, NAME_INVALID).
    """
    content = _content(text, name)
    if name.endswith(".toml") or _is_own(content):
        return unique(_own(content, name), name)
    repositories = list(dict.fromkeys(_repositories(content, Kind.MODEL, name, isinstance(content, list))))
    if content and not repositories:
        raise _unusable(name, "it names no source; expected models and datasets, or Hub repositories")
    entries = [(kind, _Entry(hub=repository)) for kind, repository in repositories]
    return unique([_declaration(kind, entry, f"{name}: {entry.hub}") for kind, entry in entries], name)


def hub_id(repository: str) -> str:
    """Return the id of a Hub repository's artifact: `google/flan-t5-small` is `google_flan-t5-small`."""
    return repository.replace("/", "_")


def _content(text: str, name: str) -> object:
    form = "TOML" if name.endswith(".toml") else "JSON"
    try:
        return tomllib.loads(text) if form == "TOML" else json.loads(text)
    except RecursionError:
        raise _unusable(name, f"not usable {form}: it is nested too deeply") from None
    except ValueError as error:  # also of numbers with too many digits
        raise _unusable(name, f"not {form}: {error}") from None


# --- Ingot's own form ---------------------------------------------------------------------------------------


def _is_own(content: object) -> bool:
    """Tell our form in JSON from a list of repositories: only ours says hub, url or files of entries."""
    if not isinstance(content, dict) or not content.keys() <= {"models", "datasets"}:
        return False
    if not all(isinstance(group, list) for group in content.values()):
        return False
    entries = [each for group in content.values() for each in group]
    keys = {key for each in entries if isinstance(each, dict) for key in each}
    return not entries or bool(keys & _SOURCES and not keys.intersection(_HUB_KEYS))


def _own(content: object, name: str) -> list[Declaration]:
    try:
        lists = _Lists.model_validate(content)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        raise _unusable(f"{name}: {place.lstrip('.')}", first["msg"]) from None
    return [
        _declaration(kind, entry, f"{name}: {kind.value}[{at}]")
        for kind, entries in ((Kind.MODEL, lists.models), (Kind.DATASET, lists.datasets))
        for at, entry in enumerate(entries)
    ]


def _declaration(kind: Kind, entry: _Entry, place: str) -> Declaration:
    sources = [bool(entry.hub), bool(entry.url), bool(entry.files)]
    if sum(sources) != 1:
        raise _unusable(place, f"expected one of hub, url and files, got {sum(sources)}")
    if not entry.name and not entry.hub:
        raise _unusable(place, "expected a name")
    fields = ArtifactFields(
        display_name=entry.display_name or entry.hub or entry.name,
        description=entry.description,
        tags=entry.tags,
        language=entry.language,
        license=entry.license,
        framework=entry.framework,
        task_type=entry.task_type,
        model_type=entry.model_type,
        source="huggingface" if entry.hub else "url",
        visibility=entry.visibility,
    )
    return Declaration(
        kind=kind,
        source=_hub(kind, entry, place) if entry.hub else _urls(entry, place),
        id=names.check_artifact_id(entry.name or hub_id(entry.hub), f"{place}.name"),
        fields=catalog_fields.checked(fields, f"{place}."),
        checksum=entry.checksum,
        size_bytes=entry.size_bytes,
    )


def _hub(kind: Kind, entry: _Entry, place: str) -> HubImport:
    if not _REPOSITORY.fullmatch(entry.hub):
        raise _unusable(f"{place}.hub", f"expected name or org/name, got {entry.hub[:120]!r}")
    if entry.unpack:
        raise _unusable(f"{place}.unpack", "expected it with url; the files of a repository stay as they are")
    if entry.checksum or entry.size_bytes:
        raise _unusable(
            place,
            "expected no checksum or size_bytes with hub, which tells those of each file; pin a revision",
        )
    word: Literal["model", "dataset"] = "dataset" if kind is Kind.DATASET else "model"
    return HubImport(
        repository=entry.hub,
        repository_kind=word,
        revision=entry.revision,
        include=entry.include,
        exclude=entry.exclude,
    )


def _urls(entry: _Entry, place: str) -> UrlImport:
    if entry.revision or entry.include or entry.exclude:
        raise _unusable(place, "expected revision, include and exclude with hub only")
    if entry.files and entry.unpack:
        raise _unusable(f"{place}.unpack", "expected it at each of the files")
    if len(entry.files) > 1 and (entry.checksum or entry.size_bytes):
        raise _unusable(place, "expected checksum and size_bytes at each of the files")
    (file, *more) = entry.files or (UrlFile(urls=(entry.url,), unpack=entry.unpack),)
    told = {
        "checksum": file.checksum or entry.checksum,
        "size_bytes": file.size_bytes or entry.size_bytes,
    }
    return UrlImport(files=(file.model_copy(update=told), *more))


# --- lists of Hub repositories ------------------------------------------------------------------------------


def _repositories(
    content: object, kind: Kind, name: str, bare: bool, depth: int = 0
) -> Iterator[tuple[Kind, str]]:
    """Yield the Hub repositories named in `content`; `bare` names without an org count in lists."""
    if depth > _DEEPEST:
        raise _unusable(name, f"expected at most {_DEEPEST} levels of lists and objects")
    if isinstance(content, str):
        if _REPOSITORY.fullmatch(content) and "/" in content:
            yield kind, content
    elif isinstance(content, list):
        for each in content:
            if bare and isinstance(each, str) and _REPOSITORY.fullmatch(each):
                yield kind, each
            else:
                inner = bare and isinstance(each, list)
                yield from _repositories(each, kind, name, inner, depth + 1)
    elif isinstance(content, dict):
        named = _named(content)
        if named is not None:
            by, repository = named
            told = f"{by} {content.get('type', '')} {content.get('kind', '')}".lower()
            yield Kind.DATASET if "dataset" in told else kind, repository
            return
        for key, value in content.items():
            below = key.lower()
            if not _NO_SOURCES.search(below):
                found = Kind.DATASET if "dataset" in below else kind
                inner = bare or bool(_GROUPS.search(below))
                yield from _repositories(value, found, name, inner, depth + 1)


def _named(entry: Mapping[str, object]) -> tuple[str, str] | None:
    """Return which key of an object names its repository, and the name; None when it groups others."""
    if any(isinstance(value, list | dict) and _GROUPS.search(key.lower()) for key, value in entry.items()):
        return None
    for key in _ID_KEYS:
        value = entry.get(key)
        if isinstance(value, str) and _REPOSITORY.fullmatch(value):
            return key, value
    return None


def unique(found: list[Declaration], name: str) -> list[Declaration]:
    """Return each declaration once; the same one twice is one.

    Raises Invalid (FIELD_INVALID) for two different sources on one name; `name` says where, for the message.
    """
    kept: dict[tuple[Kind, str], Declaration] = {}
    for each in found:
        key = (each.kind, each.id.lower())
        if key in kept and kept[key].source != each.source:
            raise _unusable(name, f"{each.id!r} is declared twice, with different sources")
        kept.setdefault(key, each)
    return list(kept.values())


def _unusable(place: str, why: str) -> Invalid:
    return Invalid(
        Reason.FIELD_INVALID,
        f"The list of sources cannot be used. {place}: {why}.",
        next_step="Correct it; docs/sources.md shows the form.",
        facts={"place": place},
    )
