"""Files with tensors: what travels, whoever cuts them, and what a pull finds of them on this machine."""

import json
import os
import pathlib

import pytest

from helpers import model_files
from helpers.patterns import pattern
from helpers.sdk import member_client, write_tree
from ingot.client import Client, PushResult, _sending
from ingot.client._journal import Cut, FileState, Journal
from ingot.v1 import transfer_pb2 as pb

MIB = 1024 * 1024
SIZES = {"wte": 9 * MIB + 3, "w0": 3 * MIB, "b0": 1000, "w1": 600_000, "b1": 5000, "head": 5 * MIB}


def safetensors(names: list[str], new: tuple[str, ...] = (), **metadata: str) -> bytes:
    header: dict[str, object] = {"__metadata__": metadata}
    data = b""
    for name in names:
        raw = pattern(f"{name} {name in new}", SIZES[name])
        header[name] = {"dtype": "U8", "shape": [len(raw)], "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    return model_files.safetensors(header, data)


NAMES = list(SIZES)
BASE = safetensors(NAMES)
SMALL = 10_000  # bytes of all small tensors and of a header


def push(client: Client, folder: pathlib.Path, files: dict[str, bytes]) -> PushResult:
    for old in folder.glob("*"):
        old.unlink()
    return client.push("models/tiny", write_tree(folder, files))


@pytest.mark.contract("S0-29")
def test_only_what_is_new_of_a_model_travels(tmp_path: pathlib.Path) -> None:
    with member_client() as (client, _):
        push(client, tmp_path / "in", {"model.safetensors": BASE})
        changed = safetensors(NAMES, ("w1",), note="longer " * 100)
        done = push(client, tmp_path / "in", {"model.safetensors": changed})
        assert SIZES["w1"] < done.sent_bytes < SIZES["w1"] + SMALL
        assert done.sent_bytes + done.reused_bytes == len(changed)
        index = json.dumps({"weight_map": {"wte": "model-1.safetensors"}}).encode()
        shards = {
            "model-1.safetensors": safetensors(NAMES[:2]),
            "model-2.safetensors": safetensors(NAMES[2:]),
            "model.safetensors.index.json": index,
        }
        assert push(client, tmp_path / "in", shards).sent_bytes < 2 * SMALL
        other = push(client, tmp_path / "in", {"model.safetensors": safetensors(NAMES[::-1])})
        assert other.sent_bytes < SMALL
        files = {each.path: each.profile for each in client.uploads.files("models/tiny@3")}
        assert files == {
            "model-1.safetensors": "tensor",
            "model-2.safetensors": "tensor",
            "model.safetensors.index.json": "cdc",
        }
        for version, content in ((1, BASE), (2, changed), (4, safetensors(NAMES[::-1]))):
            client.pull(f"models/tiny@{version}", tmp_path / "out")
            assert (tmp_path / "out" / "model.safetensors").read_bytes() == content


def test_a_known_file_is_not_read_again_and_keeps_its_profile(tmp_path: pathlib.Path) -> None:
    folder = write_tree(tmp_path / "in", {"model.safetensors": BASE})
    os.utime(folder / "model.safetensors", (1, 1))
    with member_client() as (client, _):
        first = client.push("models/tiny", folder)
        again = client.push("models/other", folder)
        assert (again.digest, again.sent_bytes) == (first.digest, 0)


def streamed(client: Client, artifact: str, profile: str) -> pb.UploadFileResponse:
    """Send the file as it flows, with the profile that a client of another kind may ask for."""
    target = pb.NewVersion(artifact=client.names.artifact(artifact))
    target.create.framework = "pytorch"
    header = pb.UploadFileHeader(version=target, path="model.safetensors", profile=profile)
    uploads = client.uploads
    steps = [BASE[at : at + 700_001] for at in range(0, len(BASE), 700_001)]
    return _sending.send(uploads._calls, uploads._stub, header, steps)


def test_a_journal_remembers_the_profile(tmp_path: pathlib.Path) -> None:
    state = FileState(size=5, mtime_ns=1, ctime_ns=1, inode=1)
    entries = bytes(32) + (5).to_bytes(4, "little")
    known = {profile: Cut(5, entries, profile) for profile in ("cdc", "tensor", "of another time")}
    journal = Journal(tmp_path)
    journal.put_all((profile, state, cut) for profile, cut in known.items())
    journal.close()
    journal = Journal(tmp_path)
    found = {profile: journal.get(profile, state) for profile in known}
    journal.close()
    assert found == {**known, "of another time": None}


@pytest.mark.parametrize("told", ["", "tensor", "cdc"])
def test_a_stream_is_cut_like_a_file_unless_told_otherwise(tmp_path: pathlib.Path, told: str) -> None:
    with member_client() as (client, _):
        first = push(client, tmp_path / "in", {"model.safetensors": BASE})
        sent = streamed(client, "models/streamed", told)
        assert sent.file.profile == ("cdc" if told == "cdc" else "tensor")
        assert (sent.version.digest == first.digest) is (told != "cdc")


def test_a_pull_finds_tensors_in_the_file_it_replaces(tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"
    with member_client() as (client, _):
        push(client, tmp_path / "in", {"model.safetensors": BASE})
        push(client, tmp_path / "in", {"model.safetensors": safetensors(NAMES[::-1], ("w1",))})
        client.pull("models/tiny@1", out)
        os.utime(out / "model.safetensors", (1, 1))  # the journal knows it no more
        done = client.pull("models/tiny@2", out)
        assert SIZES["w1"] < done.received_bytes < SIZES["w1"] + SMALL
        assert client.verify_folder(out).ok


def test_what_a_pull_brought_is_known_though_it_was_cut_otherwise(tmp_path: pathlib.Path) -> None:
    """The version that was streamed as cdc and the one that was pushed are cut by two profiles."""
    out = tmp_path / "out"
    with member_client() as (client, _):
        streamed(client, "models/tiny", "cdc")
        changed = safetensors(NAMES, ("w1",))
        push(client, tmp_path / "in", {"model.safetensors": changed})
        client.pull("models/tiny@1", out)
        os.utime(out / "model.safetensors", (1, 1))
        done = client.pull("models/tiny@2", out)  # and does not refuse to replace it
        assert done.received_bytes < SIZES["w1"] + SMALL
        assert (out / "model.safetensors").read_bytes() == changed
