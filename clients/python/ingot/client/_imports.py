"""What an import reads and what it makes, in the words of the API.

hf://google/flan-t5-small[@revision]    hf://datasets/org/name    a repository of the Hub
https://huggingface.co/google/flan-t5-small                       the same, as a browser shows it
https://…                               a file; several of them become one version
/srv/in/all.ingot                       a bundle on the server
datasets/humaneval                      an artifact that is registered with its source
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ingot.client import _references
from ingot.client._errors import Invalid
from ingot.client._names import Names
from ingot.client._references import DATASETS, MODELS, HubSource, Reference, UrlSource
from ingot.content.texts import shortened
from ingot.v1 import catalog_pb2
from ingot.v1 import operations_pb2 as pb
from ingot.v1 import transfer_pb2 as transfer

BUNDLE_SUFFIX = ".ingot"
_HUB_PAGE = re.compile(
    r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/(?P<kind>datasets/)?(?P<repository>[\w.-]+/[\w.-]+)"
    r"(?:/tree/(?P<revision>[^?#]+))?/?",
    re.ASCII,
)
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_HUB_KINDS = {MODELS: pb.HUB_REPOSITORY_KIND_MODEL, DATASETS: pb.HUB_REPOSITORY_KIND_DATASET}


@dataclass(frozen=True, slots=True)
class BundleFile:
    """A bundle on the server, below one of its folders for imports; `signer` is `ed25519:<hex>`."""

    path: str
    signer: str = ""

    def __str__(self) -> str:
        return self.path


AnySource = HubSource | UrlSource | BundleFile | Reference
ImportSource = str | AnySource | pb.UrlFile


@dataclass(frozen=True, slots=True)
class ImportChoice:
    """What of a source is wanted, and how it is checked: first of the Hub, then at URLs, last in bundles."""

    revision: str = ""
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    paths: Sequence[str] = ()
    checksums: Sequence[str] = ()
    mirrors: Sequence[str] = ()
    unpack: bool = False
    signer: str = ""


def parse_source(text: str) -> AnySource:
    """Return what a text says is to be imported. Raises Invalid."""
    if page := _HUB_PAGE.fullmatch(text):
        kind = DATASETS if page["kind"] else MODELS
        return HubSource(page["repository"], kind, (page["revision"] or "").rstrip("/"))
    if text.startswith(("/", "./", "../")) or (text.endswith(BUNDLE_SUFFIX) and "://" not in text):
        return BundleFile(text)
    if "://" in text and not text.startswith(("hf://", "https://", "http://")):
        raise Invalid(
            f"Nothing can be imported from {shortened(text)!r}: expected {_FORMS}.",
            reason="FIELD_INVALID",
            facts={"got": shortened(text)},
            next_step="Give an address that begins with https://, http:// or hf://.",
        )
    try:
        found = _references.parse_reference(text)
    except Invalid as error:
        if _HUB_NAME.fullmatch(text) and error.next_step.startswith(f"Did you mean models/{text} or"):
            error.next_step = f"Did you mean hf://{text}?"
        raise
    if isinstance(found, HubSource | UrlSource):
        return found
    named = _references.parse_artifact(text)
    if named.version or named.alias or named.path:
        raise Invalid(
            f"Expected a registered model or dataset, got {text!r}.",
            reason="NAME_INVALID",
            facts={"got": text},
            next_step=f"Leave away what follows its name, or name a source: {_FORMS}",
        )
    return named


_FORMS = "hf://OWNER/NAME, https://… or a bundle on the server"


def request_of(
    sources: Sequence[ImportSource], choice: ImportChoice, names: Names
) -> tuple[pb.StartImportRequest, AnySource | None]:
    """Return the request with its source alone, and the source where there is one. Raises Invalid."""
    if not sources:
        raise _mixed("There is nothing to import.", f"Name a source: {_FORMS}")
    parsed = [
        parse_source(each) if isinstance(each, str) else each
        for each in sources
        if not isinstance(each, pb.UrlFile)
    ]
    urls = [each for each in sources if isinstance(each, pb.UrlFile)]
    if urls or any(isinstance(each, UrlSource) for each in parsed):
        if not all(isinstance(each, UrlSource) for each in parsed):
            raise _mixed("Files at URLs and another source cannot be one version.", "Import them one by one.")
        return pb.StartImportRequest(urls=_url_source(urls, [str(each) for each in parsed], choice)), None
    if len(parsed) > 1:
        raise _mixed(
            f"Expected one source, got {len(parsed)}.", "Only files at URLs can be imported together."
        )
    found = parsed[0]
    _refuse(choice, found)
    if isinstance(found, HubSource):
        return pb.StartImportRequest(hub=_hub_source(found, choice)), found
    if isinstance(found, BundleFile):
        signer = choice.signer or found.signer
        return pb.StartImportRequest(bundle=pb.BundleSource(path=found.path, signer=signer)), found
    return pb.StartImportRequest(registered=names.artifact(str(found))), found


def target_of(
    target: str | Reference | None,
    source: AnySource | None,
    names: Names,
    namespace: str,
    fields: catalog_pb2.Artifact | None,
) -> transfer.NewVersion:
    """Return the version to be; `namespace` is where it goes when only the source tells its name."""
    if fields is not None and not fields.ListFields():
        fields = None  # nothing is said
    if target is not None:
        named = names.reference(target)
        if named.path:
            raise _mixed(f"Expected a model or dataset to fill, got {str(target)!r}.", "Leave away the path.")
    elif namespace and isinstance(source, HubSource):
        named = Reference(source.kind, source.artifact_id, namespace)
    elif namespace and isinstance(source, BundleFile):
        named = Reference(MODELS, "bundle", namespace)  # it brings its own names; this tells where
    elif namespace and source is None:
        raise _mixed(
            f"Files at URLs need a name in the namespace {namespace}.",
            f"Name what they become: datasets/{namespace}/NAME or models/{namespace}/NAME",
        )
    else:
        return transfer.NewVersion(create=fields)
    return transfer.NewVersion(
        artifact=named.artifact_name,
        version_id=named.version,
        aliases=[named.alias] if named.alias else [],
        create=fields,
    )


def _hub_source(found: HubSource, choice: ImportChoice) -> pb.HubSource:
    if choice.revision and found.revision and choice.revision != found.revision:
        raise _mixed(
            f"Two revisions are named: {found.revision} and {choice.revision}.", "Name one of them alone."
        )
    return pb.HubSource(
        repository=found.repository,
        repository_kind=_HUB_KINDS[found.kind],
        revision=choice.revision or found.revision,
        include=choice.include,
        exclude=choice.exclude,
    )


def _url_source(files: Sequence[pb.UrlFile], urls: Sequence[str], choice: ImportChoice) -> pb.UrlSource:
    _refuse(choice, UrlSource(urls[0] if urls else "at URLs"))
    if choice.mirrors and len(urls) != 1:
        raise _mixed("A mirror holds the same bytes as one file.", "Import files with mirrors one by one.")
    for what, given in (("paths", choice.paths), ("checksums", choice.checksums)):
        if given and len(given) != len(urls):
            raise _mixed(
                f"Expected as many {what} as there are URLs, {len(urls)}, got {len(given)}.",
                "Give one for each, in their order.",
            )
    made = [
        pb.UrlFile(
            path=choice.paths[at] if choice.paths else "",
            urls=[url, *choice.mirrors],
            checksum=choice.checksums[at] if choice.checksums else "",
            unpack=choice.unpack,
        )
        for at, url in enumerate(urls)
    ]
    return pb.UrlSource(files=[*files, *made])


def _refuse(choice: ImportChoice, source: AnySource) -> None:
    """Raise Invalid for a choice that says nothing about the source."""
    about = (
        (HubSource, "a repository of the Hub", ("revision", "include", "exclude")),
        (UrlSource, "files at URLs", ("paths", "checksums", "mirrors", "unpack")),
        (BundleFile, "a bundle", ("signer",)),
    )
    for kind, what, names in about:
        given = [name for name in names if getattr(choice, name)]
        if given and not isinstance(source, kind):
            raise _mixed(
                f"{given[0]}: is about {what}, and the source is {source}.", f"Leave {given[0]} away."
            )


def _mixed(message: str, next_step: str) -> Invalid:
    return Invalid(message, reason="FIELD_INVALID", next_step=next_step)
