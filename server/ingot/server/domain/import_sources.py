"""Where an import reads: what is wrong for sure is refused before it is queued, and names are derived.

    hub      google/flan-t5-small            → model google_flan-t5-small, original hf://google/flan-t5-small
    urls     https://example.com/a/fa.jsonl  → dataset fa, original that URL
    bundle   a file below the allowed folders; it brings its own names

The original tells two sources apart whose derived names are the same: the id of an artifact never silently
stands for something else than before.
"""

import re
import urllib.parse
from dataclasses import dataclass
from pathlib import PurePosixPath

from ingot.content import paths
from ingot.server.core import names
from ingot.server.core.errors import FieldProblem, Invalid, Reason, invalid_field
from ingot.server.core.exports import AllowedFolders
from ingot.server.core.imports import SourceChecks
from ingot.server.core.names import Kind
from ingot.server.core.params import BundleImport, HubImport, UrlFile, UrlImport

MOST_GLOBS = 200
MOST_MIRRORS = 32
_GLOB_LIMIT = 500
_REPOSITORY = re.compile(
    r"(?!.*(--|\.\.))[A-Za-z0-9_][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,95})?"
)
_REVISION = re.compile(r"(?![-/.])(?!.*(//|\.\.|@\{))[A-Za-z0-9._/+-]{1,200}(?<![/.])")
_SIGNER = re.compile(r"ed25519:[0-9a-f]{64}")
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")
_MODELS = (
    "safetensors",
    "gguf",
    "onnx",
    "pt",
    "pth",
    "ckpt",
    "h5",
    "keras",
    "pkl",
    "pickle",
    "joblib",
    "tflite",
)
_DATASETS = ("json", "jsonl", "ndjson", "csv", "tsv", "txt", "parquet", "arrow")
_WRAPPINGS = ("gz", "bz2", "xz", "zst", "zip", "tar", "tgz")


@dataclass(frozen=True, slots=True)
class Source:
    """A source that may be read, and what follows from it for an artifact whose name is not told."""

    params: HubImport | UrlImport | BundleImport
    original: str  # the same for the same thing outside, whatever its revision
    display_name: str
    artifact_id: str  # "" when none can be derived
    kind: Kind | None


class ImportSources:
    """Checks sources."""

    def __init__(self, checks: SourceChecks, folders: AllowedFolders) -> None:
        self._checks = checks
        self._folders = folders

    def checked(self, source: HubImport | UrlImport | BundleImport) -> Source:
        """Return a source in its one form.

        Raises Invalid (FIELD_INVALID, BAD_PATH), Denied (SOURCE_ADDRESS_REFUSED).
        """
        match source:
            case HubImport():
                return _hub(source)
            case UrlImport():
                return self._urls(source)
            case BundleImport():
                return self._bundle(source)

    def original(self, source: HubImport | UrlImport | BundleImport) -> str:
        """Return the original of a source that was checked before."""
        match source:
            case HubImport():
                return _hub_original(source)
            case UrlImport():
                return self._checks.shown(source.files[0].urls[0])
            case BundleImport():
                return source.path

    def _urls(self, source: UrlImport) -> Source:
        files = tuple(self._url_file(file, f"urls.files[{at}]") for at, file in enumerate(source.files))
        try:
            paths.check_tree(file.path for file in files if not file.unpack)
        except paths.PathError as error:
            raise _bad_path("urls.files", error) from error
        first = files[0]
        name = PurePosixPath(first.path or _last_part(first.urls[0])).name
        stem, extension = _split(name)
        kind = next((kind for kind, all_ in _EXTENSIONS.items() if extension in all_), None)
        made = UrlImport(files=files)
        return Source(made, self.original(made), name, _id_of(stem), kind)

    def _url_file(self, file: UrlFile, field: str) -> UrlFile:
        if len(file.urls) > MOST_MIRRORS:
            raise invalid_field(f"{field}.urls", f"expected at most {MOST_MIRRORS}, got {len(file.urls)}")
        for url in file.urls:
            self._checks.check_url(url)
        path = file.path.rstrip("/") if file.unpack else file.path or _last_part(file.urls[0])
        if not path and not file.unpack:
            raise invalid_field(
                f"{field}.path", "expected a path, since the URL does not end with the name of a file"
            )
        if path:
            try:
                paths.check_path(path)
            except paths.PathError as error:
                raise _bad_path(f"{field}.path", error) from error
        return file.model_copy(update={"path": path, "checksum": self._checks.checksum(file.checksum)})

    def _bundle(self, source: BundleImport) -> Source:
        signer = source.signer.strip().lower()
        if signer and not _SIGNER.fullmatch(signer):
            raise invalid_field("bundle.signer", f"expected ed25519:<64 hex digits>, got {signer[:100]!r}")
        path = self._folders.find_file(source.path, "bundle.path").path
        stem = PurePosixPath(path).stem
        return Source(BundleImport(path=path, signer=signer), path, stem, _id_of(stem), Kind.MODEL)


def _hub(source: HubImport) -> Source:
    repository = source.repository.strip()
    if not _REPOSITORY.fullmatch(repository) or repository.endswith((".git", "-", ".")):
        raise invalid_field(
            "hub.repository",
            f"expected a repository such as google/flan-t5-small or gpt2, got {repository[:120]!r}",
            next_step="Copy its name from the page of the repository, without the address before it.",
        )
    if source.revision and not _REVISION.fullmatch(source.revision):
        raise invalid_field(
            "hub.revision", f"expected a branch, tag or commit, got {source.revision[:120]!r}"
        )
    for field, globs in (("hub.include", source.include), ("hub.exclude", source.exclude)):
        _check_globs(field, globs)
    source = source.model_copy(update={"repository": repository})
    return Source(
        params=source,
        original=_hub_original(source),
        display_name=repository,
        artifact_id=_id_of(repository.replace("/", "_")),
        kind=Kind.DATASET if source.repository_kind == "dataset" else Kind.MODEL,
    )


def _hub_original(source: HubImport) -> str:
    return f"hf://{'datasets/' if source.repository_kind == 'dataset' else ''}{source.repository}"


def original_of(source: str) -> str:
    """Return the original of the source that a version tells: without the commit that it was pinned to."""
    return source.rpartition("@")[0] or source if source.startswith("hf://") else source


def same(one: str, other: str) -> bool:
    """Return whether two originals are the same thing; the Hub does not tell names apart by case."""
    return one == other or (one.startswith("hf://") and one.casefold() == other.casefold())


def _check_globs(field: str, globs: tuple[str, ...]) -> None:
    if len(globs) > MOST_GLOBS:
        raise invalid_field(field, f"expected at most {MOST_GLOBS}, got {len(globs)}")
    for glob in globs:
        plain = glob.isprintable() and not glob.startswith("/") and ".." not in glob.split("/")
        if not glob or len(glob) > _GLOB_LIMIT or not plain:
            raise invalid_field(
                field, f"expected a pattern such as *.safetensors or data/*, got {glob[:120]!r}"
            )


def _last_part(url: str) -> str:
    return urllib.parse.unquote(urllib.parse.urlsplit(url).path).rpartition("/")[2]


def _split(name: str) -> tuple[str, str]:
    """Return the name without its extensions, and the one that tells the format: fa.jsonl.gz is fa, jsonl."""
    stem, extension = name, ""
    while True:
        before, dot, last = stem.rpartition(".")
        if not dot or not before or last.lower() not in (*_MODELS, *_DATASETS, *_WRAPPINGS):
            return stem, extension
        stem, extension = before, last.lower()
        if extension not in _WRAPPINGS:
            return stem, extension


def _id_of(text: str) -> str:
    """Return an id made from a name, "" when there is none."""
    made = _UNFIT.sub("_", text).lstrip("._-")
    try:
        return names.check_artifact_id(made)
    except Invalid:
        return ""


def _bad_path(field: str, error: paths.PathError) -> Invalid:
    message = f"{field}: {error}."
    return Invalid(
        Reason.BAD_PATH,
        message,
        next_step="Give it another path in the version.",
        facts={"path": error.path, "field": field},
        fields=(FieldProblem(field, message, Reason.BAD_PATH),),
    )


_EXTENSIONS = {Kind.MODEL: _MODELS, Kind.DATASET: _DATASETS}
