"""What an owner may say about an artifact: checks, one form for each value, update masks, search terms."""

import dataclasses
import re
from collections.abc import Collection

from ingot.server.core import texts
from ingot.server.core.artifacts import (
    Artifact,
    ArtifactFields,
    ArtifactOrder,
    JsonObject,
    NewVersion,
    Version,
)
from ingot.server.core.errors import Invalid, Reason, invalid_field
from ingot.server.core.expressions import Term
from ingot.server.core.facts import VersionFacts
from ingot.server.domain import filters

DISPLAY_NAME_LIMIT = 200
DESCRIPTION_LIMIT = 10_000
CARD_LIMIT = 200_000
CHANGELOG_LIMIT = 20_000
LICENSE_LIMIT = 100
TAG_LIMIT = 64
MOST_TAGS = 64
MOST_LANGUAGES = 32

SETTABLE = frozenset(each.name for each in dataclasses.fields(ArtifactFields))
# Fields of an artifact that the server gives; naming one in a mask is an error, sending one back is not.
FIXED = frozenset(
    [
        "name",
        "uid",
        "kind",
        "format",
        "owner",
        "current_version",
        "version_count",
        "size_bytes",
        "stored_bytes",
        "usage",
        "fetch",
        "model",
        "dataset",
        "create_time",
        "update_time",
        "delete_time",
        "etag",
        "versions",
    ]
)
# What filters ask for and facets count, `tag` standing for each of the tags.
FACETS = (
    *("tag", "language", "license", "framework", "task_type", "model_type", "format", "source"),
    *("lifecycle", "visibility", "owner"),
)
FILTERABLE = filters.Fields(
    FACETS,
    {
        "size_bytes": filters.NumberKind.BYTES,
        "version_count": filters.NumberKind.COUNT,
        "create_time": filters.NumberKind.TIME,
        "update_time": filters.NumberKind.TIME,
    },
    also={"tags": "tag"},
)
_ORDERS = {
    "": (ArtifactOrder.CREATED, True),
    "create_time": (ArtifactOrder.CREATED, False),
    "create_time desc": (ArtifactOrder.CREATED, True),
    "update_time": (ArtifactOrder.UPDATED, False),
    "update_time desc": (ArtifactOrder.UPDATED, True),
    "name": (ArtifactOrder.NAME, False),
    "name desc": (ArtifactOrder.NAME, True),
    "size_bytes": (ArtifactOrder.SIZE, False),
    "size_bytes desc": (ArtifactOrder.SIZE, True),
    "version_count": (ArtifactOrder.VERSIONS, False),
    "version_count desc": (ArtifactOrder.VERSIONS, True),
}
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")


def checked(fields: ArtifactFields, prefix: str = "artifact.") -> ArtifactFields:
    """Return the fields in their one form; `prefix` is their path in the request. Raises Invalid."""
    return ArtifactFields(
        display_name=texts.text(f"{prefix}display_name", fields.display_name, DISPLAY_NAME_LIMIT),
        description=texts.text(f"{prefix}description", fields.description, DESCRIPTION_LIMIT),
        card=texts.text(f"{prefix}card", fields.card, CARD_LIMIT),
        tags=tags(f"{prefix}tags", fields.tags),
        language=_languages(f"{prefix}language", fields.language),
        license=" ".join(texts.text(f"{prefix}license", fields.license, LICENSE_LIMIT).split()),
        framework=texts.word(f"{prefix}framework", fields.framework),
        task_type=texts.word(f"{prefix}task_type", fields.task_type),
        model_type=texts.word(f"{prefix}model_type", fields.model_type),
        source=texts.word(f"{prefix}source", fields.source),
        requirements=texts.json_object(f"{prefix}requirements", fields.requirements),
        metadata=texts.json_object(f"{prefix}metadata", fields.metadata),
        visibility=fields.visibility,
        lifecycle=fields.lifecycle,
        validation=fields.validation,
        approval=fields.approval,
    )


def tags(field: str, values: Collection[str]) -> tuple[str, ...]:
    """Return tags in lower case, each once, in the order given; a comma separates two. Raises Invalid."""
    found: dict[str, None] = {}
    for value in (part for each in values for part in each.split(",")):
        tag = " ".join(texts.text(field, value.casefold(), TAG_LIMIT).split())
        if tag:
            found[tag] = None
    if len(found) > MOST_TAGS:
        raise invalid_field(field, f"expected at most {MOST_TAGS} tags, got {len(found)}")
    return tuple(found)


def masked(
    before: ArtifactFields, new: ArtifactFields, paths: Collection[str], populated: Collection[str]
) -> ArtifactFields:
    """Return `before` with the fields of `new` that the update mask `paths` names, unchecked.

    No paths mean all of `populated` (what the request holds a value for), `*` all that may change.
    Raises Invalid (FIELD_INVALID) for an unknown or fixed path.
    """
    if "*" in paths:
        if len(paths) > 1:
            raise invalid_field("update_mask", "expected '*' alone, got other paths beside it")
        return new
    names = paths or SETTABLE.intersection(populated)
    for path in names:
        if path not in SETTABLE:
            raise _bad_path(path)
    return dataclasses.replace(before, **{name: getattr(new, name) for name in names})


def terms_of(artifact: Artifact) -> frozenset[Term]:
    """Return what filters find the artifact by."""
    fields = artifact.fields
    values: dict[str, Collection[str]] = {
        "tag": fields.tags,
        "language": fields.language.split(","),
        "license": (fields.license,),
        "framework": (fields.framework,),
        "task_type": (fields.task_type,),
        "model_type": (fields.model_type,),
        "format": (artifact.format,),
        "source": (fields.source,),
        "lifecycle": (fields.lifecycle,),
        "visibility": (fields.visibility,),
        "owner": (artifact.owner,),
    }
    return frozenset(
        Term(name, value.casefold()) for name, several in values.items() for value in several if value
    )


def search_text_of(artifact: Artifact) -> str:
    """Return the text that bare words are looked for in: names, description, tags and card."""
    fields = artifact.fields
    said = (artifact.name.artifact, fields.display_name, fields.description, *fields.tags, fields.card)
    return texts.index_text(" ".join(said))


def weight_of(artifact: Artifact) -> int:
    """Return about how many characters the artifact has on the wire, at least."""
    fields, rules, approval = artifact.fields, artifact.fields.validation.rules, artifact.fields.approval
    texts_length = len(fields.display_name) + len(fields.description) + len(fields.card)
    words = _words_length(fields.tags) + _words_length(rules.allowed_formats)
    words += _words_length(rules.required_columns) + _words_length(rules.allowed_languages)
    words += _words_length(approval.protected_aliases) + _facts_length(artifact.facts)
    words += _words_length([each.metric for each in approval.thresholds])
    return 500 + texts_length + words + _json_length(fields.requirements) + _json_length(fields.metadata)


def version_weight_of(version: Version) -> int:
    """Return about how many characters the version has on the wire, at least."""
    numbers = _json_length(version.metadata) + _json_length(version.performance_metrics)
    words = _words_length(version.aliases) + len(version.origin.source) + _facts_length(version.facts)
    return 500 + len(version.changelog) + numbers + words


def new_version_weight_of(target: NewVersion) -> int:
    """Return about how many characters has on the wire what an upload shall become, at least."""
    numbers = _json_length(target.metadata) + _json_length(target.performance_metrics)
    return 500 + len(target.changelog) + numbers + _words_length((*target.aliases, target.source))


def _facts_length(facts: VersionFacts | None) -> int:
    return (
        _words_length(facts.columns) + _words_length(facts.dtypes) + len(facts.architecture) if facts else 0
    )


def _words_length(words: Collection[str]) -> int:
    return sum(map(len, words)) + 8 * len(words) if words else 0  # each with what surrounds it


def _json_length(value: JsonObject) -> int:
    return len(str(value)) if value else 0


def _languages(field: str, value: str) -> str:
    codes = [code.strip() for code in value.split(",") if code.strip()]
    for code in codes:
        if not _LANGUAGE.fullmatch(code):
            raise invalid_field(field, f"expected language codes such as fa or en-GB, got {code[:40]!r}")
    if len(codes) > MOST_LANGUAGES:
        raise invalid_field(field, f"expected at most {MOST_LANGUAGES} languages, got {len(codes)}")
    return ",".join(dict.fromkeys(codes))


def _bad_path(path: str) -> Invalid:
    whole = path.partition(".")[0]
    if path in FIXED:
        why, next_step = "the server gives it; it cannot be set", "Leave it out of the mask."
    elif whole in SETTABLE:
        why, next_step = "parts of a field cannot be named", f"Name {whole} as a whole."
    else:
        why, next_step = "there is no such field", f"Expected some of: {', '.join(sorted(SETTABLE))}."
    return invalid_field("update_mask", f"{path[:80]!r}: {why}", next_step=next_step)


def order_of(text: str) -> tuple[ArtifactOrder, bool]:
    """Return what a list is sorted by and whether the largest come first. Raises Invalid (FILTER_INVALID)."""
    found = _ORDERS.get(" ".join(text.split()))
    if found is None:
        expected = ", ".join(each for each in _ORDERS if each)
        raise Invalid(
            Reason.FILTER_INVALID,
            f"order_by: expected one of {expected}, got {text[:80]!r}.",
            next_step="Leave it out for the newest first.",
            facts={"order_by": text[:80]},
        )
    return found
