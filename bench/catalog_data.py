"""A large catalog for the bench: made up of words and values as people use them, written through the stores.

A few words, tags and namespaces are in very many artifacts and most are in few (Zipf), sizes span twelve
powers of ten, one artifact in ten has a card of a few hundred words, and one in five is described in Persian.
"""

import dataclasses
import itertools
import random
import sys
import time
from collections.abc import Iterator, Sequence

from ingot.server.app import App
from ingot.server.core import ids
from ingot.server.core.artifacts import (
    Artifact,
    ArtifactFields,
    Lifecycle,
    Version,
    VersionState,
    Visibility,
)
from ingot.server.core.identity import Role, User
from ingot.server.core.names import ArtifactName, Kind
from ingot.server.domain import catalog_fields
from ingot.server.storage.identity_sql import UsersSql
from ingot.server.storage.versions_sql import VersionsSql

START = 1_700_000_000.0
YEARS = 3
BATCH = 2000
MINE = "sara"  # namespace of the member who asks
COMMON_WORDS = ("model", "data", "language", "large", "مدل", "فارسی")
LATIN = "etaoinshrdlucmfwypvbgkjqxz"
PERSIAN = "ایرندهوبمتسشلکزفگقعجپخحصطغضثذژچظ"
FRAMEWORKS = ("pytorch", "onnx", "tensorflow", "jax", "scikit-learn", "gguf", "xgboost", "keras")
TASKS = tuple(f"task-{number}" for number in range(30))
LICENSES = ("apache-2.0", "mit", "cc-by-4.0", "gpl-3.0", "openrail", "other", "cc0-1.0", "llama3")
LANGUAGES = ("en", "fa", "zh", "de", "fr", "ar", "es", "tr", *(f"x-{number:02}" for number in range(30)))
FORMATS = ("safetensors", "jsonl", "gguf", "csv", "onnx", "pytorch", "parquet", "joblib")
TYPES = ("llm", "stt", "tts", "classifier", "embedding", "vision", "diffusion")
RARE_TAG = "once-in-a-while"  # in one artifact of 20,000


class Choice:
    """Picks from a list, the first ones far more often than the last."""

    def __init__(self, values: Sequence[str], slope: float = 1.0) -> None:
        self._values = values
        self._weights = list(itertools.accumulate(1 / (place + 1) ** slope for place in range(len(values))))

    def some(self, pick: random.Random, count: int) -> list[str]:
        """Return so many."""
        return pick.choices(self._values, cum_weights=self._weights, k=count)

    def one(self, pick: random.Random) -> str:
        """Return one."""
        return self.some(pick, 1)[0]


def words(count: int, letters: str, seed: int) -> list[str]:
    """Return made-up words of three to ten letters."""
    pick = random.Random(seed)
    return ["".join(pick.choices(letters, k=pick.randint(3, 10))) for _ in range(count)]


class Maker:
    """Makes artifacts and versions, the same ones for the same number."""

    def __init__(self, seed: int = 1) -> None:
        self._pick = random.Random(seed)
        self._latin = Choice([*COMMON_WORDS[:4], *words(40_000, LATIN, 1)])
        self._persian = Choice([*COMMON_WORDS[4:], *words(20_000, PERSIAN, 2)])
        self._tags = Choice([f"tag-{number}" for number in range(3000)])
        self._namespaces = Choice([MINE, *(f"team-{number}" for number in range(2000))], 0.7)
        self._languages, self._frameworks = Choice(LANGUAGES), Choice(FRAMEWORKS)
        self._tasks, self._licenses = Choice(TASKS), Choice(LICENSES)
        self._formats, self._types = Choice(FORMATS), Choice(TYPES)

    def artifact(self, number: int, total: int, versions: int) -> Artifact:
        """Return the artifact of a number."""
        pick = self._pick
        speech = self._persian if pick.random() < 0.2 else self._latin
        created = START + YEARS * 365 * 86400 * number / total
        size = int(10 ** pick.uniform(2, 11))
        tags = set(self._tags.some(pick, pick.randrange(6)))
        if number % 20_000 == 17:
            tags.add(RARE_TAG)
        fields = ArtifactFields(
            display_name=" ".join(speech.some(pick, 3)),
            description=" ".join(speech.some(pick, 14)),
            card=" ".join(speech.some(pick, 300)) if pick.random() < 0.1 else "",
            tags=tuple(sorted(tags)),
            language=self._languages.one(pick),
            license=self._licenses.one(pick),
            framework=self._frameworks.one(pick),
            task_type=self._tasks.one(pick),
            model_type=self._types.one(pick),
            source="manual",
            visibility=Visibility.PRIVATE if pick.random() < 0.4 else Visibility.INTERNAL,
            lifecycle=Lifecycle.DEPRECATED if pick.random() < 0.05 else Lifecycle.ACTIVE,
        )
        kind = Kind.MODEL if pick.random() < 0.6 else Kind.DATASET
        namespace = self._namespaces.one(pick)
        return Artifact(
            name=ArtifactName(namespace, kind, f"{speech.one(pick)[:20]}-{number}"),
            uid=ids.new_uid(created),
            fields=fields,
            owner=f"users/{namespace}",
            create_time=created,
            update_time=created + pick.expovariate(1 / 5_000_000),
            format=self._formats.one(pick),
            current_version=str(versions),
            version_count=versions,
            size_bytes=size,
            version_bytes=size * versions,
            stored_bytes=size * versions // 2,
        )


def versions_of(artifact: Artifact, count: int) -> list[Version]:
    """Return the versions of an artifact."""
    return [
        Version(
            name=artifact.name.version(str(number)),
            uid=ids.new_uid(artifact.create_time),
            state=VersionState.READY,
            digest=number.to_bytes(32, "big"),
            file_count=3,
            size_bytes=artifact.size_bytes,
            new_bytes=artifact.size_bytes // 2,
            format=artifact.format,
            creator=artifact.owner,
            create_time=artifact.create_time + number,
            ready_time=artifact.create_time + number,
            changelog="more of it",
            performance_metrics={"accuracy": 0.9},
        )
        for number in range(1, count + 1)
    ]


def build(server: App, artifacts: int, versions: int) -> float:
    """Write the whole catalog into the database of a server that does not run; return the seconds it took."""
    begun = time.perf_counter()
    database = server.database
    database.write(_people).result()
    for batch in _batches(artifacts, versions):
        database.write(_store, server, batch, versions).result()
        print(f"\rmade {batch[-1].name.artifact.rpartition('-')[2]}", end="", file=sys.stderr)
    print(file=sys.stderr)
    search = server.catalog.search
    database.read(search.look_for_common_words)  # as the daily cleaning does
    while database.write(search.learn_words).result():
        pass
    return time.perf_counter() - begun


def _batches(artifacts: int, versions: int) -> Iterator[list[Artifact]]:
    maker = Maker()
    for first in range(0, artifacts, BATCH):
        last = min(first + BATCH, artifacts)
        yield [maker.artifact(number, artifacts, versions) for number in range(first, last)]


def _store(server: App, batch: Sequence[Artifact], versions: int) -> None:
    server.catalog.artifacts.add_many(
        [(each, catalog_fields.search_text_of(each), catalog_fields.terms_of(each)) for each in batch]
    )
    store = VersionsSql()
    for each in batch:
        store.add_many(each, versions_of(each, versions))


def _people() -> None:
    users = UsersSql()
    for name in (MINE, "admin"):
        users.add(User(name, f"uid-{name}", name, Role.MEMBER if name == MINE else Role.ADMIN, START))


def renamed(artifact: Artifact, number: int) -> Artifact:
    """Return an artifact of another name, to be added by a measured write."""
    name = dataclasses.replace(artifact.name, artifact=f"new-{number}")
    return dataclasses.replace(artifact, name=name, uid=ids.new_uid(artifact.create_time))
