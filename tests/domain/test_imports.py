"""Imports: what is refused before it is queued, derived names, and that the same wish is one operation."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.catalogs import NO_KEY, CatalogRig
from ingot.server.core import params
from ingot.server.core.artifacts import ArtifactFields, VersionOrigin, Visibility
from ingot.server.core.errors import AlreadyExists, Denied, Invalid, NotFound, Precondition, Reason
from ingot.server.core.identity import Caller, Role
from ingot.server.core.imports import WantedImport, WantedTarget
from ingot.server.core.names import ArtifactName, Kind, artifact_name
from ingot.server.core.operations import NewOperation, Operation, OperationOptions, QueueLimits
from ingot.server.core.params import BundleImport, HubImport, UrlFile, UrlImport
from ingot.server.domain.import_sources import ImportSources
from ingot.server.domain.imports import CatalogView, Imports
from ingot.server.domain.requests import RequestKey
from ingot.server.sources.addresses import Addresses, parse_networks
from ingot.server.sources.url_checks import UrlChecks
from ingot.server.storage.allowed_folders import AllowedFoldersOnDisk
from ingot.server.storage.operations_sql import OperationsSql

FLAN = HubImport(repository="google/flan-t5-small")
SHA = "sha256:" + "ab" * 32
SIGNER = "ed25519:" + "0a" * 32
ANY = QueueLimits({"download": 100})


class Registered:
    """One artifact of sara is registered."""

    def params(self, caller: Caller, artifact: ArtifactName) -> NewOperation:
        target = params.Target(artifact=str(artifact))
        wanted = params.ImportParams(source=FLAN, target=target, registered=True)
        return NewOperation(
            "import", wanted.document(), str(artifact), artifact.namespace, key=f"fetch {artifact}"
        )


class Rig(CatalogRig):
    """The catalog, with imports from `folder` and from one private network."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        checks = UrlChecks(Addresses(parse_networks(["10.1.0.0/16"])))
        sources = ImportSources(checks, AllowedFoldersOnDisk((folder,), "import_roots"))
        view = CatalogView(self.versions, self.artifacts, self.access)
        self.imports = Imports(
            sources, Registered(), view, self.operations.operations, OperationsSql(), self.requests
        )

    def start(
        self,
        caller: Caller,
        source: HubImport | UrlImport | BundleImport | ArtifactName = FLAN,
        target: WantedTarget | None = None,
        key: RequestKey = NO_KEY,
        **more: object,
    ) -> Operation:
        wanted = WantedImport(source, target or WantedTarget())
        wanted = dataclasses.replace(wanted, **more)  # type: ignore[arg-type]  # as the test says
        return self.write(self.imports.start, caller, key, wanted)

    def end(self, operation: Operation) -> None:
        self.write(self.operations.claims.claim, "one", operation.id, ANY)
        self.write(self.operations.claims.succeed, operation.id, 1, {})


def asked(operation: Operation) -> params.ImportParams:
    return params.ImportParams.model_validate(operation.params)


def files(*urls: str, **fields: object) -> UrlImport:
    """Return the import of one file from several URLs."""
    return UrlImport(files=(UrlFile(urls=urls, **fields),))  # type: ignore[arg-type]  # as the test says


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    found = Rig(tmp_path)
    yield found
    found.database.close()


@pytest.fixture
def sara(rig: Rig) -> Caller:
    return rig.user("sara")


# --- names ----------------------------------------------------------------------------------------------


def test_a_name_is_derived_and_the_original_kept(rig: Rig, sara: Caller) -> None:
    queued = rig.start(sara)
    assert queued.target == "namespaces/sara/models/google_flan-t5-small"
    target = asked(queued).target
    assert (target.artifact, target.display_name) == (queued.target, "google/flan-t5-small")
    assert target.visibility == "", "not told: as artifacts are made"
    data = rig.start(sara, HubImport(repository="openai/gsm8k", repository_kind="dataset"))
    assert data.target == "namespaces/sara/datasets/openai_gsm8k"
    assert rig.start(sara, HubImport(repository="gpt2")).target == "namespaces/sara/models/gpt2"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.com/a/humaneval.jsonl.gz", "datasets/humaneval"),
        ("https://example.com/tiny-v1.5.gguf", "models/tiny-v1.5"),
        ("https://example.com/%D9%81%D8%A7%20x.csv?token=1", "datasets/x"),
        ("https://example.com/weights.SAFETENSORS", "models/weights"),
    ],
)
def test_names_of_files_give_id_and_kind(rig: Rig, sara: Caller, url: str, name: str) -> None:
    assert rig.start(sara, files(url)).target == f"namespaces/sara/{name}"


def test_what_cannot_be_derived_must_be_told(rig: Rig, sara: Caller) -> None:
    for url in ("https://example.com/data.zip", "https://example.com/فا.csv"):
        with pytest.raises(Invalid, match="cannot be derived"):
            rig.start(sara, files(url))
    told = rig.start(sara, files("https://example.com/data.zip"), WantedTarget(kind=Kind.DATASET))
    assert told.target == "namespaces/sara/datasets/data"
    long = HubImport(repository=f"{'o' * 60}/{'m' * 60}")
    with pytest.raises(Invalid, match="cannot be derived"):
        rig.start(sara, long)
    target = WantedTarget(artifact_name("namespaces/sara/models/long"))
    assert rig.start(sara, long, target).target == "namespaces/sara/models/long"


def test_another_original_never_takes_a_derived_name(rig: Rig, sara: Caller) -> None:
    first = rig.start(sara, HubImport(repository="a_b/c"))
    with pytest.raises(AlreadyExists, match="operations/op_1 imports") as caught:
        rig.start(sara, HubImport(repository="a/b_c"))
    assert caught.value.reason is Reason.NAME_COLLIDES
    rig.end(first)
    origin = VersionOrigin(source="hf://a_b/c@123456")
    rig.commit(sara, "namespaces/sara/models/a_b_c", origin=origin)
    with pytest.raises(AlreadyExists) as caught:
        rig.start(sara, HubImport(repository="a/b_c"))
    assert caught.value.reason is Reason.NAME_COLLIDES
    again = rig.start(sara, HubImport(repository="A_B/c", revision="v2"))
    assert again.target == "namespaces/sara/models/a_b_c", "the same original, whatever its case"
    other = WantedTarget(artifact_name("namespaces/sara/models/other"))
    assert rig.start(sara, HubImport(repository="a/b_c"), other).target.endswith("/other")


def test_an_artifact_that_was_not_imported_is_not_taken_over(rig: Rig, sara: Caller) -> None:
    rig.create(sara, "gpt2")
    with pytest.raises(AlreadyExists, match="was not imported"):
        rig.start(sara, HubImport(repository="gpt2"))
    rig.create(sara, "org_empty", display_name="org/empty")
    assert rig.start(sara, HubImport(repository="org/empty")).target.endswith("/org_empty")


def test_a_version_id_may_be_that_of_an_earlier_import_of_the_same(rig: Rig, sara: Caller) -> None:
    name = "namespaces/sara/models/google_flan-t5-small"
    rig.commit(sara, name, version_id="1.0", origin=VersionOrigin(source="hf://google/flan-t5-small@1"))
    rig.commit(sara, name, version_id="2.0")
    same = rig.start(sara, target=WantedTarget(version_id="v1.0"))
    assert asked(same).target.version_id == "1.0"
    with pytest.raises(AlreadyExists) as caught:
        rig.start(sara, target=WantedTarget(version_id="2.0"))
    assert caught.value.reason is Reason.NAME_TAKEN


def test_everything_about_the_target_reaches_the_body(rig: Rig, sara: Caller) -> None:
    create = ArtifactFields(
        display_name="Flan", tags=("T5", "fa"), license="apache-2.0", visibility=Visibility.PUBLIC
    )
    target = WantedTarget(
        create=create,
        version_id="v3",
        changelog="first",
        aliases=("prod", "prod"),
        metadata={"a": 1},
        performance_metrics={"bleu": 0.5},
    )
    told = asked(rig.start(sara, target=target)).target
    assert (told.display_name, told.tags, told.license) == ("Flan", ("t5", "fa"), "apache-2.0")
    assert (told.visibility, told.version_id, told.changelog, told.aliases) == (
        "PUBLIC",
        "3",
        "first",
        ("prod",),
    )
    assert (told.metadata, told.performance_metrics) == ({"a": 1}, {"bleu": 0.5})


# --- whose ----------------------------------------------------------------------------------------------


def test_only_who_may_write_there_imports_there(rig: Rig, sara: Caller) -> None:
    omid = rig.user("omid")
    target = WantedTarget(artifact_name("namespaces/sara/models/tiny"))
    with pytest.raises(NotFound) as caught:
        rig.start(omid, target=target)
    assert caught.value.reason is Reason.NAMESPACE_NOT_FOUND
    with pytest.raises(NotFound):
        rig.start(omid, BundleImport(path="x.bundle"), target)
    rig.create(sara, "tiny", visibility=Visibility.PUBLIC)
    with pytest.raises(NotFound):
        rig.start(omid, target=target)


def test_the_same_wish_is_one_operation_until_it_has_ended(rig: Rig, sara: Caller) -> None:
    first = rig.start(sara)
    assert rig.start(sara) == first
    for how in ({"max_bytes_per_second": 5}, {"options": OperationOptions(priority=-3)}):
        with pytest.raises(Precondition, match="does that already, with") as caught:
            rig.start(sara, **how)
        assert (caught.value.reason, caught.value.facts["operation"]) == (Reason.IN_USE, first.name)
    for other in (
        rig.start(sara, force=True),
        rig.start(sara, check_only=True),
        rig.start(sara, HubImport(repository="google/flan-t5-small", revision="v2")),
        rig.start(sara, target=WantedTarget(changelog="other")),
        rig.start(rig.user("omid")),
    ):
        assert other.id != first.id
    rig.end(first)
    assert rig.start(sara).id != first.id


def test_who_may_not_see_the_operation_of_another_gets_an_own_one(rig: Rig, sara: Caller) -> None:
    """Two people who may write to a namespace, one of whom may not see what the other asked for."""
    root = rig.user("root", Role.ADMIN)
    target = WantedTarget(artifact_name("namespaces/sara/models/tiny"))
    first = rig.start(root, target=target)
    assert rig.start(sara, target=target) == first, "the owner sees what is done in the own namespace"
    assert first.requester == "users/root"
    fetched = artifact_name("namespaces/omid/models/tiny")
    shared = rig.start(root, fetched)
    own = rig.start(sara, fetched)
    assert (own.requester, own.id != shared.id) == ("users/sara", True)
    assert rig.start(sara, fetched) == own


def test_a_repeated_request_gets_the_first_operation(rig: Rig, sara: Caller) -> None:
    key = RequestKey("0198c5a2-7a4e-7c3b-9d0e-3f6a1b2c4d5e", b"one")
    first = rig.start(sara, key=key)
    rig.end(first)
    assert rig.start(sara, key=key).id == first.id


# --- sources --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        *(
            HubImport(repository=name)
            for name in ("", "a/b/c", "-a/b", "a/../b", "a--b/c", "a/b.git", "a/ b", "a/")
        ),
        *(
            HubImport(repository="a/b", revision=text)
            for text in ("a b", "../x", "-x", "a//b", "x\n", "x" * 300)
        ),
        *(HubImport(repository="a/b", include=(glob,)) for glob in ("", "/etc/*", "../*", "a\0b", "x" * 600)),
        HubImport(repository="a/b", exclude=("*",) * 1000),
    ],
)
def test_hub_sources_that_cannot_be_are_refused(rig: Rig, sara: Caller, source: HubImport) -> None:
    with pytest.raises(Invalid) as caught:
        rig.start(sara, source)
    assert caught.value.reason is Reason.FIELD_INVALID
    assert caught.value.fields[0].field.startswith("hub.")


def test_hub_sources_that_can_be_are_taken(rig: Rig, sara: Caller) -> None:
    source = HubImport(
        repository="a/b.c-D_1", revision="refs/pr/1", include=("*.json", "data/**"), exclude=("*.bin",)
    )
    assert asked(rig.start(sara, source)).source == source
    with pytest.raises(Invalid, match="expected a model"):
        rig.start(sara, target=WantedTarget(artifact_name("namespaces/sara/datasets/x")))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (files("https://example.com/a.csv", checksum="md5:xyz"), Reason.FIELD_INVALID),
        (files("gopher://example.com/a.csv"), Reason.FIELD_INVALID),
        (files("https://exa mple.com/a.csv"), Reason.FIELD_INVALID),
        (files("https:///a.csv"), Reason.FIELD_INVALID),
        (files("https://example.com/a.csv", *["https://b.example/a.csv"] * 50), Reason.FIELD_INVALID),
        (files("https://example.com/a.csv", path="/a.csv"), Reason.BAD_PATH),
        (files("https://example.com/a.csv", path="a/../b.csv"), Reason.BAD_PATH),
        (files("https://example.com/con.csv"), Reason.BAD_PATH),
        (files("https://example.com/a.zip", path="x//y", unpack=True), Reason.BAD_PATH),
        (
            UrlImport(files=tuple(UrlFile(urls=(f"https://e.example/{at}/A.csv",)) for at in range(2))),
            Reason.BAD_PATH,
        ),
    ],
)
def test_urls_that_cannot_be_are_refused(rig: Rig, sara: Caller, source: UrlImport, reason: Reason) -> None:
    with pytest.raises(Invalid) as caught:
        rig.start(sara, source, WantedTarget(artifact_name("namespaces/sara/datasets/x")))
    assert caught.value.reason is reason


def test_addresses_inside_are_refused_unless_they_are_allowed(rig: Rig, sara: Caller) -> None:
    for url in ("http://127.0.0.1/a.csv", "http://[::1]/a.csv", "http://10.2.0.1/a.csv"):
        with pytest.raises(Denied) as caught:
            rig.start(sara, files(url))
        assert caught.value.reason is Reason.SOURCE_ADDRESS_REFUSED
    assert rig.start(sara, files("http://10.1.0.1/a.csv")).target == "namespaces/sara/datasets/a"


def test_paths_and_checksums_have_one_form(rig: Rig, sara: Caller) -> None:
    source = UrlImport(
        files=(
            UrlFile(urls=("https://e.example/a.csv",), checksum=SHA.upper().replace("SHA256", "sha256")),
            UrlFile(urls=("https://e.example/b.zip",), path="parts/", unpack=True),
            UrlFile(urls=("https://e.example/c.zip",), unpack=True),
        )
    )
    found = asked(rig.start(sara, source)).source
    assert isinstance(found, UrlImport)
    assert [each.path for each in found.files] == ["a.csv", "parts", ""]
    assert found.files[0].checksum == SHA


def test_bundles_are_read_below_the_allowed_folders(rig: Rig, sara: Caller, tmp_path: Path) -> None:
    queued = rig.start(sara, BundleImport(path="week 3.bundle", signer=SIGNER.upper().replace("ED", "ed")))
    found = asked(queued).source
    assert isinstance(found, BundleImport)
    assert found.path == str(tmp_path / "week 3.bundle")
    assert (queued.target, queued.namespace) == ("namespaces/sara", "sara")
    assert artifact_name(asked(queued).target.artifact).namespace == "sara"
    (tmp_path / "folder").mkdir()
    for path in ("/etc/passwd", "../x.bundle", "", "folder", "new/", str(tmp_path), "x" * 256):
        with pytest.raises(Invalid) as caught:
            rig.start(sara, BundleImport(path=path))
        assert caught.value.reason is Reason.BAD_PATH
    with pytest.raises(Invalid, match="signer"):
        rig.start(sara, BundleImport(path="x", signer="rsa:12"))
    with pytest.raises(Invalid, match="brings its own"):
        rig.start(sara, BundleImport(path="x"), WantedTarget(changelog="mine"))


def test_long_names_are_not_echoed_whole(rig: Rig, sara: Caller) -> None:
    long = "x" * 5000
    wanted = (
        files(f"https://e.example/{long}.bin"),
        files(f"https://{long}/a.csv"),
        files(f"{long}://e.example/a.csv"),
        files("https://e.example/a.csv", path=f"a/{long}"),
        files("https://e.example/a.csv", path=f"{long[:900]}."),
        BundleImport(path=f"/{long[:3900]}"),
    )
    for source in wanted:
        with pytest.raises(Invalid) as caught:
            rig.start(sara, source)
        told = (
            caught.value.message,
            *caught.value.facts.values(),
            *(each.message for each in caught.value.fields),
        )
        assert max(map(len, told)) < 1000, source
        assert "…" in caught.value.message


def test_a_registered_source_is_fetched_as_it_is_registered(rig: Rig, sara: Caller) -> None:
    name = artifact_name("namespaces/sara/models/flan")
    queued = rig.start(sara, name, force=True, max_bytes_per_second=9)
    assert (queued.target, queued.key) == (str(name), f"fetch {name}")
    found = asked(queued)
    assert (found.registered, found.force, found.max_bytes_per_second) == (True, True, 9)
    assert rig.start(sara, name) == queued
    assert rig.start(sara, name, check_only=True).id != queued.id
    with pytest.raises(Invalid, match="target"):
        rig.start(sara, name, WantedTarget(changelog="x"))
