"""Rules of exports: what is pinned, where it may go, one writer for each place, and what follows latest."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.catalogs import NO_KEY, CatalogRig
from helpers.jobs import bench
from ingot.server.core import params
from ingot.server.core.artifacts import VersionOrigin, Visibility
from ingot.server.core.errors import Denied, IngotError, Invalid, NotFound, Precondition, Reason
from ingot.server.core.exports import Layout, WantedBundle, WantedExport, WantedFolder, WantedHub
from ingot.server.core.identity import Caller, Role, system_caller
from ingot.server.core.names import artifact_name
from ingot.server.core.operation_stores import OperationFilter
from ingot.server.core.operations import Operation, OperationOptions, QueueLimits
from ingot.server.core.pages import PageTokens
from ingot.server.domain.credentials import Credentials, HubAccess
from ingot.server.domain.requests import RequestKey
from ingot.server.parts.exports import ExportParts
from ingot.server.settings.fields import Settings
from ingot.server.sources.export_places import MARKER
from ingot.server.storage.credentials_sql import CredentialsSql
from ingot.server.storage.sealing import Sealer
from ingot.server.storage.training_sql import TrainingSql

KEY = "ed25519:" + "0" * 64
TINY = "namespaces/sara/models/tiny"
LIMITS = QueueLimits({"export": 10})


class Rig(CatalogRig):
    """The catalog with exports below a folder of the test."""

    def __init__(self, folder: Path, *, mounted: bool = False, hub: HubAccess | None = None) -> None:
        super().__init__()
        self.hub = hub or HubAccess()
        self.root = folder / "out"
        self.mount = folder / "mount"
        self.parts = self.make(mounted=mounted)

    def make(self, *, mounted: bool) -> ExportParts:
        """Wire exports, as a server that is started anew."""
        settings = Settings(
            data_dir=self.root.parent / "data",
            export_roots=(str(self.root),),
            mount_point=self.mount if mounted else Path(),
        )
        store = CredentialsSql(Sealer(b"k" * 32))
        self.credentials = Credentials(store, PageTokens(b"secret"), self.hub, self.clock)
        return ExportParts(
            settings,
            self,
            self.operations.operations,
            self.requests,
            TrainingSql(),
            self.credentials,
            KEY,
            self.clock,
        )

    def start(
        self,
        caller: Caller,
        destination: WantedFolder | WantedHub | WantedBundle,
        *sources: str,
        key: RequestKey = NO_KEY,
    ) -> Operation:
        wanted = WantedExport(sources or (TINY,), destination)
        operation = self.write(
            self.parts.exports.start, caller, key, wanted, OperationOptions(), validate_only=False
        )
        assert operation is not None
        return operation

    def queued(self) -> list[Operation]:
        """Return all operations, oldest first."""
        page = self.read(
            self.operations.operations.page, system_caller(), OperationFilter(kind="export"), 1000, ""
        )
        return list(reversed(page.items))

    def run(self, operation: Operation, *, fails: bool = False) -> None:
        """Claim an operation and end it."""
        claims = self.operations.claims
        claimed = self.write(claims.claim, "here:1", operation.id, LIMITS)
        assert claimed is not None
        if fails:
            problem = Invalid(Reason.IN_USE, "in the way").problem(self.clock.now())
            self.write(claims.fail, operation.id, claimed.attempt, problem, retry=False)
        else:
            self.write(claims.succeed, operation.id, claimed.attempt, {})


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.database.close()


@pytest.fixture
def sara(rig: Rig) -> Caller:
    return rig.user("sara")


def folder_of(operation: Operation) -> params.FolderExport:
    asked = params.ExportParams.model_validate(operation.params)
    assert isinstance(asked.destination, params.FolderExport)
    return asked.destination


def refused(
    rig: Rig, caller: Caller, destination: WantedFolder | WantedHub | WantedBundle, *sources: str
) -> IngotError:
    with pytest.raises(IngotError) as caught:
        rig.start(caller, destination, *sources)
    assert rig.queued() == []
    return caught.value


# --- what -----------------------------------------------------------------------------------------------


def test_references_are_pinned_to_concrete_versions(rig: Rig, sara: Caller) -> None:
    rig.commit(sara, TINY, aliases=("prod",))
    rig.commit(sara, TINY)
    other = rig.commit(sara, "namespaces/sara/datasets/chat").name
    operation = rig.start(sara, WantedFolder("a"), f"{TINY}/aliases/prod", "namespaces/sara/datasets/chat")
    assert operation.params["versions"] == [f"{TINY}/versions/1", str(other)]
    latest = rig.start(sara, WantedFolder("b"), TINY)
    assert latest.params["versions"] == [f"{TINY}/versions/2"]
    assert (latest.namespace, latest.reads, latest.target) == ("sara", ("sara",), f"{TINY}/versions/2")


def test_what_one_may_not_read_is_not_found(rig: Rig, sara: Caller) -> None:
    rig.commit(sara, TINY)
    ali = rig.user("ali")
    assert refused(rig, ali, WantedFolder("a")).reason is Reason.ARTIFACT_NOT_FOUND
    assert isinstance(refused(rig, ali, WantedBundle("a.bundle")), NotFound)
    assert isinstance(refused(rig, sara, WantedFolder("a"), f"{TINY}/versions/9"), NotFound)


def test_a_reader_exports_what_is_shared_and_its_operation_reads_only_that(rig: Rig, sara: Caller) -> None:
    rig.create(sara, "tiny", visibility=Visibility.INTERNAL)
    rig.commit(sara, TINY)
    operation = rig.start(rig.user("ali"), WantedFolder("a"))
    assert (operation.namespace, operation.reads) == ("ali", ("sara",))


def test_two_versions_do_not_go_into_one_folder(rig: Rig, sara: Caller) -> None:
    rig.commit(sara, TINY)
    rig.commit(sara, TINY)
    error = refused(rig, sara, WantedFolder("a"), f"{TINY}/versions/1", f"{TINY}/versions/2")
    assert error.reason is Reason.FIELD_INVALID
    assert "would both be written to" in error.message


def test_one_repository_takes_one_version(rig: Rig, sara: Caller) -> None:
    rig.write(rig.credentials.set, sara, "huggingface.co", "hf_sara")
    rig.commit(sara, TINY)
    rig.commit(sara, "namespaces/sara/datasets/chat")
    assert (
        "one version" in refused(rig, sara, WantedHub("a/b"), TINY, "namespaces/sara/datasets/chat").message
    )
    found = rig.start(sara, WantedHub("a/b"), "namespaces/sara/datasets/chat")
    asked = params.ExportParams.model_validate(found.params)
    assert isinstance(asked.destination, params.HubExport)
    assert asked.destination.repository_kind == "dataset"


@pytest.mark.parametrize("wanted", [WantedHub("a/b/c"), WantedHub("../x"), WantedHub("a", branch="a..b")])
def test_names_of_the_hub_are_checked(rig: Rig, sara: Caller, wanted: WantedHub) -> None:
    rig.commit(sara, TINY)
    assert refused(rig, sara, wanted).reason is Reason.FIELD_INVALID


def test_a_bundle_takes_all_ready_versions_of_an_artifact_or_those_since(rig: Rig, sara: Caller) -> None:
    rig.commit(sara, TINY)
    rig.clock.time += 10
    rig.commit(sara, TINY)
    every = rig.start(sara, WantedBundle("a.bundle"))
    assert every.params["versions"] == [f"{TINY}/versions/1", f"{TINY}/versions/2"]
    later = rig.start(sara, WantedBundle("b.bundle", since=rig.clock.time - 5))
    assert later.params["versions"] == [f"{TINY}/versions/2"]
    with pytest.raises(Precondition, match="no version that was committed after"):
        rig.start(sara, WantedBundle("c.bundle", since=rig.clock.time))


def test_a_bundle_never_holds_two_artifacts_of_one_id(rig: Rig, sara: Caller) -> None:
    rig.commit(sara, TINY)
    ali = rig.user("ali")
    rig.create(ali, "Tiny", visibility=Visibility.INTERNAL)
    rig.commit(ali, "namespaces/ali/models/Tiny")
    error = refused(rig, sara, WantedBundle("a.bundle"), TINY, "namespaces/ali/models/Tiny")
    assert "the same id" in error.message


def test_a_bundle_tells_of_training_jobs_that_its_maker_may_see(rig: Rig, sara: Caller) -> None:
    with bench() as other:
        job = other.create(epochs=3, learning_rate=0.5)
    rig.write(TrainingSql().add, job)
    rig.create(sara, "tiny", visibility=Visibility.INTERNAL)
    rig.commit(sara, TINY, origin=VersionOrigin(training_job=job.name))

    def told(caller: Caller, path: str) -> tuple[params.JobFacts, ...]:
        asked = params.ExportParams.model_validate(rig.start(caller, WantedBundle(path)).params)
        assert isinstance(asked.destination, params.BundleExport)
        return asked.destination.jobs

    (facts,) = told(sara, "a.ingot")
    assert (facts.name, facts.dataset_version) == (job.name, str(job.dataset.name))
    assert facts.dataset_digest == f"blake3:{job.dataset.digest.hex()}"
    assert (facts.config["epochs"], facts.config["learning_rate"]) == (3, 0.5)
    assert told(rig.user("ali"), "b.ingot") == ()


# --- where ----------------------------------------------------------------------------------------------


@pytest.mark.contract("S4-36", "S2-8")
@pytest.mark.parametrize("path", ["/etc", "../outside", "a/../../outside", "link/x", "\0", "/"])
def test_only_allowed_folders_are_written(rig: Rig, sara: Caller, tmp_path: Path, path: str) -> None:
    rig.commit(sara, TINY)
    rig.root.mkdir()
    (rig.root / "link").symlink_to(tmp_path)
    assert refused(rig, sara, WantedFolder(path)).reason is Reason.BAD_PATH
    assert refused(rig, sara, WantedBundle(path)).reason is Reason.BAD_PATH


def test_a_path_begins_at_the_first_allowed_folder(rig: Rig, sara: Caller) -> None:
    rig.commit(sara, TINY)
    for given in ("x/./y/", str(rig.root / "x/y")):
        place = folder_of(rig.start(sara, WantedFolder(given)))
        assert (place.path, place.root, place.names) == (str(rig.root / "x/y"), str(rig.root), ("tiny",))


@pytest.mark.contract("S1-2", "S1-7")
def test_the_layout_by_owner_names_a_folder_for_each_and_the_uid(rig: Rig, sara: Caller) -> None:
    rig.commit(sara, TINY)
    uid = rig.read(rig.catalog.require_read, sara, artifact_name(TINY)).uid
    assert folder_of(rig.start(sara, WantedFolder("x", Layout.OWNER_UID))).names == (f"sara/{uid}",)


def test_validate_only_changes_nothing_and_refuses_the_same(rig: Rig, sara: Caller) -> None:
    rig.commit(sara, TINY)
    start = rig.parts.exports.start
    for destination, fine in ((WantedFolder("x", keep=True), True), (WantedFolder("/etc"), False)):
        wanted = WantedExport((TINY,), destination)
        if fine:
            assert rig.write(start, sara, NO_KEY, wanted, OperationOptions(), validate_only=True) is None
        else:
            with pytest.raises(Invalid):
                rig.write(start, sara, NO_KEY, wanted, OperationOptions(), validate_only=True)
    assert rig.queued() == []
    rig.commit(sara, TINY)
    assert rig.queued() == []


def test_a_request_sent_again_is_the_same_operation(rig: Rig, sara: Caller) -> None:
    rig.commit(sara, TINY)
    key = RequestKey(str(uuid.uuid4()), b"export")
    first = rig.start(sara, WantedFolder("x"), key=key)
    rig.run(first)
    assert rig.start(sara, WantedFolder("x"), key=key).name == first.name


def test_one_place_has_one_writer_at_a_time(rig: Rig, sara: Caller) -> None:
    rig.commit(sara, TINY)
    first = rig.start(sara, WantedFolder("x"))
    assert rig.start(sara, WantedFolder("x")).name == first.name
    rig.commit(sara, TINY)
    with pytest.raises(Precondition) as caught:
        rig.start(sara, WantedFolder("x"))
    assert caught.value.facts == {"operation": first.name}
    rig.run(first)
    assert rig.start(sara, WantedFolder("x")).name != first.name


def test_a_stranger_hears_that_a_place_is_busy_and_not_by_whom(rig: Rig, sara: Caller) -> None:
    rig.create(sara, "tiny", visibility=Visibility.INTERNAL)
    rig.commit(sara, TINY)
    rig.start(sara, WantedFolder("x"))
    with pytest.raises(Precondition) as caught:
        rig.start(rig.user("ali"), WantedFolder("x"))
    assert caught.value.facts == {}


def check(rig: Rig, caller: Caller, destination: WantedFolder | WantedHub | WantedBundle) -> Reason | None:
    """Return why an export could not be done, None when it can."""
    wanted = WantedExport((TINY,), destination)
    try:
        rig.read(rig.parts.exports.start, caller, NO_KEY, wanted, OperationOptions(), validate_only=True)
    except IngotError as error:
        return error.reason
    return None


def test_validate_only_finds_what_is_in_the_way(rig: Rig, sara: Caller) -> None:
    rig.commit(sara, TINY)
    assert check(rig, sara, WantedFolder("x")) is None
    (rig.root / "x" / "tiny").mkdir(parents=True)
    assert check(rig, sara, WantedFolder("x")) is Reason.IN_USE
    assert check(rig, sara, WantedFolder("y")) is None
    (rig.root / "a.ingot").write_bytes(b"precious")
    assert check(rig, sara, WantedBundle("a.ingot")) is Reason.IN_USE
    assert check(rig, sara, WantedBundle("b.ingot")) is None
    assert check(rig, sara, WantedHub("a/b")) is Reason.SOURCE_DENIED
    rig.write(rig.credentials.set, sara, "huggingface.co", "hf_sara")
    assert check(rig, sara, WantedHub("a/b")) is None


def test_nothing_is_exported_into_or_around_a_kept_folder(rig: Rig, sara: Caller) -> None:
    rig.create(sara, "tiny", visibility=Visibility.INTERNAL)
    rig.commit(sara, TINY)
    rig.start(sara, WantedFolder("shared/deep", keep=True))
    bob = rig.user("bob")
    rig.commit(bob, "namespaces/bob/models/shared")
    bad: list[tuple[WantedFolder | WantedBundle, str]] = [
        (WantedFolder("shared/deep/tiny"), TINY),
        (WantedFolder("shared/deep/Tiny/below", keep=True), "namespaces/bob/models/shared"),
        (WantedFolder(""), "namespaces/bob/models/shared"),
        (WantedBundle("shared/deep/tiny/evil.ingot"), TINY),
        (WantedBundle("shared/deep/tiny"), TINY),
        (WantedBundle("shared"), TINY),
    ]
    for destination, source in bad:
        where = WantedFolder(str(rig.root)) if destination == WantedFolder("") else destination
        with pytest.raises(Precondition) as caught:
            rig.start(bob, where, source)
        assert caught.value.reason is Reason.IN_USE
    rig.start(bob, WantedFolder("shared/deep/tinyer"))
    rig.start(bob, WantedBundle("shared/deep/tiny.ingot"))


def test_nothing_is_exported_into_what_was_exported(rig: Rig, sara: Caller) -> None:
    rig.commit(sara, TINY)
    (rig.root / "x" / "tiny").mkdir(parents=True)
    (rig.root / "x" / "tiny" / MARKER).write_text("{}")
    assert refused(rig, sara, WantedFolder("x/tiny")).reason is Reason.IN_USE
    assert refused(rig, sara, WantedBundle("x/tiny/a/b.ingot")).reason is Reason.IN_USE
    rig.start(sara, WantedFolder("x"))


@pytest.mark.parametrize("path", [".hidden", "x/.tiny.ingot-lock/y", f"x/{MARKER}"])
def test_names_that_exports_keep_for_themselves_are_refused(rig: Rig, sara: Caller, path: str) -> None:
    rig.commit(sara, TINY)
    assert refused(rig, sara, WantedBundle(path)).reason is Reason.BAD_PATH
    assert refused(rig, sara, WantedFolder(path)).reason is Reason.BAD_PATH


def test_only_administrators_write_to_the_hub_with_the_servers_token(tmp_path: Path) -> None:
    rig = Rig(tmp_path, hub=HubAccess(token="hf_server"))
    sara = rig.user("sara")
    rig.commit(sara, TINY)

    def given(caller: Caller) -> object:
        operation = rig.start(caller, WantedHub(f"{caller.user}/b"))
        return rig.read(rig.credentials.for_operation, operation).get("huggingface.co")

    with pytest.raises(Denied, match="for administrators") as caught:
        given(sara)
    assert "ingot credentials set huggingface.co" in caught.value.next_step
    assert given(rig.user("root", role=Role.ADMIN)) == "hf_server"
    rig.write(rig.credentials.set, sara, "huggingface.co", "hf_sara")
    assert given(sara) == "hf_sara"
    rig.write(rig.credentials.delete, sara, "sara", "huggingface.co")
    assert rig.read(rig.credentials.for_operation, rig.queued()[-1]) == {}


# --- keeping --------------------------------------------------------------------------------------------


@pytest.mark.contract("S2-47")
def test_a_kept_folder_follows_latest(rig: Rig, sara: Caller) -> None:
    rig.commit(sara, TINY)
    first = rig.start(sara, WantedFolder("x", keep=True))
    rig.run(first)
    rig.commit(sara, TINY)
    second = rig.queued()[-1]
    assert second.params["versions"] == [f"{TINY}/versions/2"]
    assert folder_of(second) == folder_of(first)
    assert (second.requester, second.namespace) == ("users/sara", "sara")


def test_latest_that_moves_during_an_export_is_exported_after_it(rig: Rig, sara: Caller) -> None:
    rig.commit(sara, TINY)
    first = rig.start(sara, WantedFolder("x", keep=True))
    rig.commit(sara, TINY)
    rig.commit(sara, TINY)
    assert rig.queued() == [first]
    rig.run(first)
    assert [each.params["versions"] for each in rig.queued()] == [
        [f"{TINY}/versions/1"],
        [f"{TINY}/versions/3"],
    ]


def test_a_kept_export_that_fails_is_not_asked_for_in_a_loop(rig: Rig, sara: Caller) -> None:
    rig.commit(sara, TINY)
    first = rig.start(sara, WantedFolder("x", keep=True))
    rig.run(first, fails=True)
    assert len(rig.queued()) == 1
    rig.commit(sara, TINY)
    assert len(rig.queued()) == 2


@pytest.mark.contract("S4-8")
def test_the_local_path_is_told_once_something_lies_there(rig: Rig, sara: Caller) -> None:
    rig.commit(sara, TINY)
    operation = rig.start(sara, WantedFolder("x", keep=True))
    artifact = rig.read(rig.catalog.require_read, sara, artifact_name(TINY))
    assert rig.read(rig.parts.exports.local_paths, [artifact]) == {}
    rig.run(operation)
    told = rig.read(rig.parts.exports.local_paths, [artifact])
    assert told == {artifact.uid: str(rig.root / "x" / "tiny")}


def test_the_same_export_without_keep_ends_the_following(rig: Rig, sara: Caller) -> None:
    rig.commit(sara, TINY)
    rig.run(rig.start(sara, WantedFolder("x", keep=True)))
    rig.run(rig.start(sara, WantedFolder("x")))
    rig.commit(sara, TINY)
    assert len(rig.queued()) == 2


def test_only_who_may_write_an_artifact_keeps_it_or_ends_that(rig: Rig, sara: Caller) -> None:
    rig.create(sara, "tiny", visibility=Visibility.INTERNAL)
    rig.commit(sara, TINY)
    ali = rig.user("ali")
    assert isinstance(refused(rig, ali, WantedFolder("x", keep=True)), Denied)
    rig.run(rig.start(sara, WantedFolder("x", keep=True)))
    with pytest.raises(Denied):
        rig.start(ali, WantedFolder("x"))


def test_a_kept_folder_takes_no_other_artifact(rig: Rig, sara: Caller) -> None:
    rig.commit(sara, TINY)
    rig.commit(sara, "namespaces/sara/datasets/Tiny")
    rig.run(rig.start(sara, WantedFolder("x", keep=True)))
    with pytest.raises(Precondition, match="keeps another artifact"):
        rig.start(sara, WantedFolder("x"), "namespaces/sara/datasets/Tiny")


def test_only_the_latest_version_is_kept(rig: Rig, sara: Caller) -> None:
    rig.commit(sara, TINY)
    rig.commit(sara, TINY)
    assert "latest version" in refused(rig, sara, WantedFolder("x", keep=True), f"{TINY}/versions/1").message


@pytest.mark.contract("S4-31")
def test_deleting_an_artifact_removes_what_was_kept_of_it(rig: Rig, sara: Caller) -> None:
    rig.commit(sara, TINY)
    kept = rig.start(sara, WantedFolder("x", keep=True))
    rig.run(kept)
    rig.run(rig.start(sara, WantedFolder("once")))
    rig.write(rig.catalog.delete, sara, artifact_name(TINY), NO_KEY, force=True)
    *_, last = rig.queued()
    assert len(rig.queued()) == 3
    assert folder_of(last).remove
    assert (folder_of(last).path, folder_of(last).names) == (folder_of(kept).path, ("tiny",))


def last_version_goes(rig: Rig, caller: Caller) -> None:
    def go() -> None:
        artifact = rig.catalog.require_read(caller, artifact_name(TINY))
        version = rig.versions.resolve(caller, artifact.name)
        rig.catalog.shrunk(artifact, version, None, rig.clock.now())

    rig.write(go)


def test_a_kept_folder_is_emptied_when_no_version_is_left_and_follows_on(rig: Rig, sara: Caller) -> None:
    rig.commit(sara, TINY)
    kept = rig.start(sara, WantedFolder("x", keep=True))
    rig.run(kept)
    last_version_goes(rig, sara)
    *_, removal = rig.queued()
    assert folder_of(removal).remove
    assert (folder_of(removal).path, folder_of(removal).names) == (folder_of(kept).path, ("tiny",))
    rig.commit(sara, TINY)
    *_, early = rig.queued()
    assert early.params["versions"] == [f"{TINY}/versions/2"]
    rig.run(early)
    rig.run(removal)  # it came last, and took the new version away
    *_, again = rig.queued()
    assert again.id != early.id
    assert again.params == early.params


def test_an_export_under_way_when_the_last_version_goes_is_taken_away(rig: Rig, sara: Caller) -> None:
    rig.commit(sara, TINY)
    kept = rig.start(sara, WantedFolder("x", keep=True))
    last_version_goes(rig, sara)
    assert rig.queued() == [kept], "nothing lies there yet"
    rig.run(kept)
    *_, removal = rig.queued()
    assert folder_of(removal).remove
    rig.run(removal, fails=True)
    assert len(rig.queued()) == 2, "what is in the way is told, and not tried again"


def test_an_export_that_came_before_the_removal_is_made_again_after_it(rig: Rig, sara: Caller) -> None:
    rig.commit(sara, TINY)
    rig.run(rig.start(sara, WantedFolder("x", keep=True)))
    rig.write(rig.catalog.delete, sara, artifact_name(TINY), NO_KEY, force=True)
    *_, removal = rig.queued()
    rig.commit(sara, TINY)
    early = rig.start(sara, WantedFolder("x", keep=True))
    rig.run(early, fails=True)
    rig.run(removal)
    *_, again = rig.queued()
    assert again.id not in (early.id, removal.id)
    assert (again.params, again.ended) == (early.params, False)


def test_the_mount_point_holds_folders_of_artifacts_and_nothing_else(tmp_path: Path) -> None:
    rig = Rig(tmp_path, mounted=True)
    sara = rig.user("sara")
    rig.commit(sara, TINY)
    for destination in (
        WantedFolder(str(rig.mount / "below")),
        WantedFolder(str(rig.mount), Layout.OWNER_UID),
        WantedBundle(str(rig.mount / "tiny.ingot")),
    ):
        with pytest.raises(Precondition) as caught:
            rig.start(sara, destination)
        assert caught.value.reason is Reason.IN_USE
    rig.run(rig.queued()[0])
    assert folder_of(rig.start(sara, WantedFolder(""))).path == str(rig.mount)


# --- the mount point ------------------------------------------------------------------------------------


@pytest.mark.contract("S2-8", "S2-47")
def test_the_mount_point_keeps_every_artifact_under_its_name(tmp_path: Path) -> None:
    rig = Rig(tmp_path, mounted=True)
    sara, ali = rig.user("sara"), rig.user("ali")
    rig.commit(sara, TINY)
    rig.commit(ali, "namespaces/ali/models/Tiny")
    rig.commit(sara, "namespaces/sara/datasets/tiny")
    assert [folder_of(each).names[0] for each in rig.queued()] == ["tiny", "ali.Tiny", "sara.tiny"]
    assert {folder_of(each).path for each in rig.queued()} == {str(rig.mount)}
    assert {each.requester for each in rig.queued()} == {"system"}


def test_a_new_mount_point_is_filled_with_what_is_there_and_only_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    sara = rig.user("sara")
    for number in range(3):
        rig.commit(sara, f"namespaces/sara/models/m{number}")
    rig.create(sara, "empty")
    assert rig.queued() == []
    kept = rig.make(mounted=True).kept
    assert rig.write(kept.catch_up) is None
    assert [folder_of(each).names for each in rig.queued()] == [("m0",), ("m1",), ("m2",)]
    for each in rig.queued():
        rig.run(each)
    rig.write(kept.catch_up)
    assert len(rig.queued()) == 3


def test_a_mount_point_that_is_no_longer_set_is_no_longer_followed(tmp_path: Path) -> None:
    rig = Rig(tmp_path, mounted=True)
    sara = rig.user("sara")
    rig.commit(sara, TINY)
    rig.run(rig.queued()[0])
    plain = rig.make(mounted=False).kept
    assert rig.write(plain.forget_other_mounts) == 1
    assert rig.write(plain.forget_other_mounts) == 0


def test_an_export_without_a_path_goes_to_the_mount_point(tmp_path: Path) -> None:
    rig = Rig(tmp_path, mounted=True)
    admin = rig.user("root", Role.ADMIN)
    rig.commit(admin, "namespaces/root/models/big")
    assert folder_of(rig.start(admin, WantedFolder(), "namespaces/root/models/big")).path == str(rig.mount)
