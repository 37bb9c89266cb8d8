"""Push: what travels, what does not, and what happens when something breaks or changes on the way."""

import itertools
import os
import pathlib
import re
import sys
import tempfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.eventually import eventually
from helpers.patterns import pattern
from helpers.sdk import cut_connection, member_client, tree_of, write_tree
from ingot.client import (
    AlreadyExists,
    Conflict,
    Invalid,
    NotFound,
    SourceChanged,
    Stage,
    TransferProgress,
    artifact_fields,
)
from ingot.content import digests
from ingot.server.core.identity import system_caller
from ingot.server.core.names import UploadName
from ingot.server.core.uploads import UploadMove

MIB = 1024 * 1024
SMALL = {"data/a.jsonl": b'{"a": 1}\n', "data/b.jsonl": '{"ب": 2}\n'.encode(), "empty": b""}


@pytest.mark.skipif(sys.platform == "darwin", reason="names of files are UTF-8 there")
def test_a_folder_may_have_a_name_that_is_no_text(tmp_path: pathlib.Path) -> None:
    source = write_tree(tmp_path / os.fsdecode(b"caf\xe9"), SMALL)
    with member_client() as (client, _):
        done = client.push("models/tiny", source)
        assert client.uploads.get(done.upload).original_name == "caf?"
        client.pull("models/tiny", tmp_path / os.fsdecode(b"out\xe9"))
    assert tree_of(tmp_path / os.fsdecode(b"out\xe9")) == SMALL


@pytest.mark.contract("S0-33", "S1-16")
def test_a_folder_becomes_a_version_with_what_is_said_about_it(tmp_path: pathlib.Path) -> None:
    source = write_tree(tmp_path / "in", SMALL)
    with member_client() as (client, _):
        done = client.push(
            "models/tiny@prod",
            source,
            changelog="first",
            metadata={"features": 10},
            metrics={"accuracy": 0.975},
            fields=artifact_fields(description="A model", tags=["chat"], license="MIT"),
        )
        version = done.version
        assert version is not None
        assert done.name == version.name == "namespaces/member/models/tiny/versions/1"
        assert (version.changelog, version.metadata["features"]) == ("first", 10)
        assert version.performance_metrics["accuracy"] == 0.975
        assert [each.path for each in client.uploads.files("models/tiny@prod")] == sorted(SMALL)
        assert client.uploads.get(done.upload).original_name == "in"
    assert (done.file_count, done.size_bytes) == (3, sum(map(len, SMALL.values())))


def test_the_digest_is_that_of_the_tree(tmp_path: pathlib.Path) -> None:
    source = write_tree(tmp_path / "in", SMALL)
    with member_client() as (client, _):
        done = client.push("datasets/chat", source)
    rows = []
    for path, content in SMALL.items():
        entries = [(digests.chunk_digest(content), len(content))] if content else []
        segments = [digests.segment_digest(each) for each in digests.split_segments(entries)]
        rows.append((path, len(content), digests.file_root("cdc", len(content), segments)))
    assert done.digest == digests.format_digest(digests.tree_digest(rows))


def test_nothing_travels_twice(tmp_path: pathlib.Path) -> None:
    content = pattern("push", 6 * MIB)
    source = write_tree(tmp_path / "in", {"a": content, "b": content, "c": bytes(3 * MIB)})
    with member_client() as (client, _):
        first = client.push("datasets/chat", source)
        assert first.size_bytes == 15 * MIB
        assert 6 * MIB < first.sent_bytes <= 7 * MIB  # a once, and one chunk of zeros
        assert first.sent_bytes + first.reused_bytes == first.size_bytes
        again = client.push("datasets/chat", source)
        assert (again.sent_bytes, again.reused_bytes) == (0, first.size_bytes)
        assert (again.digest, again.name[-1]) == (first.digest, "2")
        (source / "a").write_bytes(b"one line more\n" + content)
        edited = client.push("datasets/chat", source)
        assert 0 < edited.sent_bytes < MIB
        assert client.uploads.get(edited.upload).received_bytes == edited.sent_bytes


@pytest.mark.contract("S3-3")
def test_progress_has_stages_and_adds_up(tmp_path: pathlib.Path) -> None:
    source = write_tree(tmp_path / "in", {"a": pattern("a", 3 * MIB), **SMALL})
    told: list[TransferProgress] = []
    with member_client() as (client, _):
        done = client.push("datasets/chat", source, on_progress=told.append)
    stages = [stage for stage, _ in itertools.groupby(each.stage for each in told)]
    assert stages[-4:] == [Stage.SENDING, Stage.VERIFYING, Stage.COMMITTING, Stage.DONE]
    last = told[-1]
    assert (last.files_done, last.files_total) == (4, 4)
    assert last.bytes_hashed == last.bytes_done == last.bytes_total == done.size_bytes
    assert last.bytes_moved == done.sent_bytes


def test_the_manifest_goes_before_the_last_chunks_are_there(tmp_path: pathlib.Path) -> None:
    source = write_tree(tmp_path / "in", {"a": pattern("beside", MIB)})
    with member_client() as (client, _):

        def wait(progress: TransferProgress) -> None:
            if progress.stage is Stage.SENDING and not progress.bytes_moved:
                upload = next(iter(client.uploads.list()))
                eventually(lambda: client.uploads.get(upload.name).chunk_count, what="a manifest")
                assert not client.uploads.get(upload.name).stored_chunks

        done = client.push("datasets/chat", source, on_progress=wait)
        assert done.sent_bytes == done.size_bytes == MIB


def test_a_dry_run_tells_what_would_travel_and_leaves_nothing(tmp_path: pathlib.Path) -> None:
    source = write_tree(tmp_path / "in", {"a": pattern("dry", 2 * MIB)})
    with member_client() as (client, _):
        planned = client.push("datasets/chat", source, dry_run=True)
        assert (planned.name, planned.sent_bytes) == ("", 2 * MIB)
        with pytest.raises(NotFound):
            list(client.uploads.files("datasets/chat"))
        client.push("datasets/chat", source)
        assert client.push("datasets/chat", source, dry_run=True).sent_bytes == 0


@pytest.mark.contract("S3-52", "S3-53")
def test_cut_connections_cost_only_what_was_on_its_way(tmp_path: pathlib.Path) -> None:
    source = write_tree(tmp_path / "in", {"a": pattern("cut", 24 * MIB)})
    with (
        member_client() as (_, server),
        cut_connection(server, after=[3 * MIB, 9 * MIB, 6 * MIB]) as client,
    ):
        done = client.push("datasets/chat", source, streams=2)
        assert done.sent_bytes == 24 * MIB
        out = tmp_path / "out"
    with member_client() as (client, server):
        client.push("datasets/chat", source)
        with cut_connection(server, after=[3 * MIB, 9 * MIB, 6 * MIB]) as broken:
            broken.pull("datasets/chat", out)
        assert tree_of(out) == tree_of(source)


def test_a_file_that_changes_on_the_way_is_cut_again(tmp_path: pathlib.Path) -> None:
    source = write_tree(tmp_path / "in", {"a": pattern("old", 12 * MIB), "b": b"same"})
    changes = iter([pattern("new", 11 * MIB)])

    def change(progress: TransferProgress) -> None:
        if progress.stage is Stage.SENDING and (content := next(changes, None)):
            (source / "a").write_bytes(content)

    with member_client() as (client, _):
        done = client.push("datasets/chat", source, on_progress=change)
        assert done.size_bytes == 11 * MIB + 4
        client.pull("datasets/chat", tmp_path / "out")
    assert tree_of(tmp_path / "out") == tree_of(source)


def test_a_file_that_never_rests_is_named(tmp_path: pathlib.Path) -> None:
    source = write_tree(tmp_path / "in", {"log": pattern("old", 9 * MIB), "b": b"same"})
    versions = itertools.count()

    def change(_: TransferProgress) -> None:
        (source / "log").write_bytes(pattern(f"new {next(versions)}", 9 * MIB))

    with member_client() as (client, _):
        with pytest.raises(SourceChanged, match="log changed while it was pushed") as caught:
            client.push("datasets/chat", source, on_progress=change)
        assert caught.value.exit_code == 6
        with pytest.raises(NotFound):
            client.uploads.file("datasets/chat:log")


def test_a_push_that_was_stopped_goes_on_in_the_same_upload(tmp_path: pathlib.Path) -> None:
    source = write_tree(tmp_path / "in", {"a": pattern("stop", 40 * MIB)})

    class Stopped(Exception):
        pass

    def stop(progress: TransferProgress) -> None:
        if progress.bytes_moved > 20 * MIB:
            raise Stopped

    with member_client() as (client, _):
        with pytest.raises(Stopped):
            client.push("datasets/chat", source, streams=1, limit_rate=60 * MIB, on_progress=stop)
        (open_upload,) = list(client.uploads.list())
        done = client.push("datasets/chat", source)
        assert done.upload == open_upload.name
        assert 0 < done.sent_bytes < 40 * MIB
        assert done.sent_bytes + done.reused_bytes == 40 * MIB


def test_a_push_whose_commit_still_runs_waits_for_it(tmp_path: pathlib.Path) -> None:
    """As when the client was killed in its commit and is run again at once."""
    source = write_tree(tmp_path / "in", {"a": pattern("sealed", 3 * MIB)})
    stages: list[Stage] = []

    def stop(progress: TransferProgress) -> None:
        if progress.stage is Stage.VERIFYING:
            raise InterruptedError

    with member_client() as (client, server):
        with pytest.raises(InterruptedError):
            client.push("datasets/chat", source, on_progress=stop)
        (upload,) = list(client.uploads.list())
        rules, name = server.app.transfer.uploads, UploadName(upload.name.removeprefix("uploads/"))

        def moved(move: UploadMove) -> None:
            server.app.database.write(lambda: rules.move(rules.find(system_caller(), name), move)).result(100)

        def reopen(progress: TransferProgress) -> None:
            if not stages:
                moved(UploadMove.REOPEN)
            stages.append(progress.stage)

        moved(UploadMove.SEAL)
        done = client.push("datasets/chat", source, on_progress=reopen)
    assert stages[0] is Stage.COMMITTING
    assert done.upload == upload.name
    assert done.sent_bytes == 0


def test_a_named_version_and_a_lost_race_are_refused(tmp_path: pathlib.Path) -> None:
    source = write_tree(tmp_path / "in", SMALL)
    with member_client() as (client, _):
        assert client.push("models/tiny@v1.0.0", source).name.endswith("/versions/1.0.0")
        with pytest.raises(AlreadyExists):
            client.push("models/tiny@1.0.0", source)
        (source / "empty").write_bytes(b"no more")
        with pytest.raises(Conflict):
            client.push("models/tiny", source, expected_latest="")


def test_what_a_person_forgot_is_said(tmp_path: pathlib.Path) -> None:
    with member_client() as (client, _):
        with pytest.raises(Invalid, match="nothing to push"):
            client.push("models/tiny", write_tree(tmp_path / "hidden", {".secret": b"x"}))
        with pytest.raises(Invalid, match="nothing to push in no paths at all"):
            client.push("models/tiny")
        with pytest.raises(Invalid, match="Cannot read"):
            client.push("models/tiny", tmp_path / "absent")
        with pytest.raises(Invalid, match=r"'metrics|metrics: the value of 'f1'"):
            client.push("models/tiny", tmp_path / "hidden", hidden=True, metrics={"f1": object()})


def test_the_rate_is_capped(tmp_path: pathlib.Path) -> None:
    source = write_tree(tmp_path / "in", {"a": pattern("rate", 3 * MIB)})
    with member_client() as (client, _):
        done = client.push("datasets/chat", source, limit_rate=4 * MIB)
        assert done.seconds > 0.4
        pulled = client.pull("datasets/chat", tmp_path / "out", limit_rate=4 * MIB)
        assert pulled.seconds > 0.4


def test_the_functions_of_before_mean_the_same(tmp_path: pathlib.Path) -> None:
    file = write_tree(tmp_path / "in", {"chat.jsonl": b'{"a": 1}\n'}) / "chat.jsonl"
    told: list[TransferProgress] = []
    with member_client() as (client, _):
        file_id = client.upload_large_file(file, on_progress=told.append)
        assert re.fullmatch(r"file_[0-9]+", file_id)
        assert told[-1].stage is Stage.DONE
        upload = client.get_upload_progress(file_id)
        assert (upload.progress_percent, upload.size_bytes, upload.original_name) == (100.0, 9, "chat.jsonl")
        assert [each.name for each in client.get_staged_files()] == [f"uploads/{file_id}"]
        assert [each.name for each in client.get_staged_files("fresh")] == [f"uploads/{file_id}"]
        assert client.get_staged_files("failed") == []
        with pytest.raises(Invalid, match="expected one of uploading, staged"):
            client.get_staged_files("done")
        assert client.get_file_info("datasets/chat:chat.jsonl").size_bytes == 9
        where = client.download_file("datasets/chat:chat.jsonl", tmp_path / "out")
        assert where.read_bytes() == file.read_bytes()


NAMES = st.text("abcdé.-_ سلام", min_size=1, max_size=8).filter(
    lambda name: name[0] not in ". " and name[-1] not in ". "
)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
CONTENT = st.one_of(
    st.binary(max_size=200),
    st.builds(pattern, st.sampled_from(["x", "y"]), st.integers(60_000, 3_000_000)),
    st.builds(bytes, st.integers(1, 2_000_000)),
)


def _has_conflict(files: dict[str, bytes]) -> bool:
    from ingot.content import paths

    try:
        paths.check_tree(files)
    except paths.PathError:
        return True
    return False


@given(st.dictionaries(PATHS, CONTENT, min_size=1, max_size=6).filter(lambda files: not _has_conflict(files)))
@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_what_goes_in_comes_out(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as temporary, member_client() as (client, _):
        folder = pathlib.Path(temporary)
        source = write_tree(folder / "in", files)
        pushed = client.push("datasets/chat", source)
        pulled = client.pull("datasets/chat", folder / "out")
        assert tree_of(folder / "out") == files
        assert pulled.digest == pushed.digest
