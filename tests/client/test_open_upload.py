"""An upload that is filled file by file, also over several runs."""

import pathlib
import uuid

import pytest

from helpers.patterns import pattern
from helpers.sdk import member_client, tree_of, write_tree
from ingot.client import Client, Invalid
from ingot.client._open_upload import OpenUpload
from ingot.v1 import catalog_pb2
from ingot.v1 import transfer_pb2 as pb

MIB = 1024 * 1024
FILES = {"a.bin": pattern("a", 3 * MIB), "b/c.txt": b"text\n", "b/empty": b"", "d.bin": pattern("a", 3 * MIB)}
TARGET = pb.NewVersion(artifact="namespaces/member/models/tiny", create=catalog_pb2.Artifact())


def opened(client: Client, request_id: str = "") -> OpenUpload:
    return client.uploads.open(TARGET, size_bytes=6 * MIB, original_name="tiny", request_id=request_id)


def test_files_may_go_as_soon_as_they_are_added(tmp_path: pathlib.Path) -> None:
    source = write_tree(tmp_path / "in", FILES)
    with member_client() as (client, _):
        with opened(client) as upload:
            for path in FILES:
                upload.add({path: source / path})
                (source / path).unlink()
            done = upload.commit()
        assert (done.file_count, done.size_bytes) == (4, 6 * MIB + 5)
        assert 3 * MIB <= done.sent_bytes < 4 * MIB  # what occurs twice travels once
        assert done.version is not None
        client.pull(done.name, tmp_path / "out")
        assert tree_of(tmp_path / "out") == FILES
        again = client.push("models/other", write_tree(tmp_path / "again", FILES))
        assert again.digest == done.digest


def test_another_run_goes_on_with_what_is_there(tmp_path: pathlib.Path) -> None:
    source = write_tree(tmp_path / "in", FILES)
    request_id = str(uuid.uuid4())
    with member_client() as (client, _):
        with opened(client, request_id) as upload:
            upload.add({"a.bin": source / "a.bin", "b/empty": source / "b/empty"})
            first = upload.name
        with opened(client, request_id) as upload:
            assert upload.name == first
            assert upload.files() == {"a.bin": 3 * MIB, "b/empty": 0}
            upload.add({path: source / path for path in FILES.keys() - upload.files().keys()})
            done = upload.commit()
        assert done.sent_bytes == 5  # d.bin is a.bin
        with opened(client, request_id) as upload:  # it was committed, but nobody heard of it
            assert upload.is_committed
            assert (upload.commit().name, upload.commit().digest) == (done.name, done.digest)
        assert client.uploads.get(first).result == done.name


def test_an_upload_that_was_given_up_is_refused(tmp_path: pathlib.Path) -> None:
    request_id = str(uuid.uuid4())
    with member_client() as (client, _):
        client.uploads.abort(opened(client, request_id).name)
        with pytest.raises(Invalid, match="ABORTED") as caught:
            opened(client, request_id)
    assert caught.value.reason == "UPLOAD_CLOSED"


def test_a_file_that_vanishes_is_named(tmp_path: pathlib.Path) -> None:
    source = write_tree(tmp_path / "in", {"a": b"x"})

    with member_client() as (client, _), opened(client) as upload:
        with pytest.raises(FileNotFoundError):
            upload.add({"gone": source / "gone"})
        link = source / "link"
        link.symlink_to(source / "a")
        upload.add({"a": link})
        assert upload.files() == {"a": 1}
