"""The Hub of our tests is one: the unmodified `huggingface_hub` reads from it and writes to it.

Each use is a process of its own, as people use it, with nothing replaced.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from helpers.hub_faults import Fault
from helpers.hub_server import Hub, hub_server
from helpers.hub_writing import WritableHub
from helpers.patterns import pattern
from helpers.sdk import tree_of, write_tree

MIB = 1024 * 1024
WEIGHTS = pattern("weights", 3 * MIB)
FILES = {
    "README.md": b"---\nlicense: mit\n---\n# Tiny\n",
    "config.json": b'{"model_type": "t5"}',
    "model.safetensors": WEIGHTS,
    "onnx/model.onnx": pattern("onnx", 200_000),
    "empty.txt": b"",
}


def python(code: str, hub: Hub, folder: pathlib.Path, **values: object) -> str:
    """Run a program that uses the library, and return what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    }
    program = f"import json, sys\nv = json.loads(sys.argv[1])\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(values)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


SNAPSHOT = """
from huggingface_hub import snapshot_download
print(snapshot_download(v["name"], repo_type=v.get("type"), token=v.get("token"), revision=v.get("revision")))
"""


@pytest.mark.slow
def test_the_unmodified_library_downloads_a_snapshot(tmp_path: pathlib.Path) -> None:
    with hub_server() as hub:
        hub.page_size = 2
        hub.add("google/tiny", FILES)
        hub.add("org/chat", {"train.parquet": WEIGHTS}, kind="datasets", private=True, readers={"hf_mine"})
        found = python(SNAPSHOT, hub, tmp_path, name="google/tiny")
        assert tree_of(pathlib.Path(found)) == FILES
        private = python(SNAPSHOT, hub, tmp_path, name="org/chat", type="dataset", token="hf_mine")
        assert tree_of(pathlib.Path(private)) == {"train.parquet": WEIGHTS}
        assert len(hub.asked("GET /api/models/google/tiny/tree")) > 2  # it was paged
        assert {each.token for each in hub.asked("GET /lfs/")} == {""}  # the token stays at the Hub


@pytest.mark.slow
def test_the_unmodified_library_resumes_after_a_cut(tmp_path: pathlib.Path) -> None:
    with hub_server() as hub:
        content = pattern("weights", 12 * MIB)
        hub.add("google/tiny", {"model.safetensors": content})
        hub.faults.add("GET /lfs/", Fault(cut_after=11 * MIB))
        found = python(SNAPSHOT, hub, tmp_path, name="google/tiny")
        assert tree_of(pathlib.Path(found)) == {"model.safetensors": content}
        ranges = [each.range for each in hub.asked("GET /lfs/")]
    assert ranges == ["", f"bytes={10 * MIB}-"]  # it writes pieces of 10 MiB


ERRORS = """
from huggingface_hub import snapshot_download
for name, token in v["asked"]:
    try:
        snapshot_download(name, token=token or False)
    except Exception as error:
        print(type(error).__name__)
"""


@pytest.mark.slow
def test_the_unmodified_library_understands_its_refusals(tmp_path: pathlib.Path) -> None:
    with hub_server() as hub:
        hub.add("org/private", FILES, private=True, readers={"hf_mine"})
        hub.add("org/gated", FILES, gated=True, readers={"hf_mine"})
        hub.tokens.add("hf_other")
        asked = [("org/none", ""), ("org/none", "hf_other"), ("org/private", "hf_other"), ("org/gated", "")]
        told = python(ERRORS, hub, tmp_path, asked=asked).split()
    assert told == [*["RepositoryNotFoundError"] * 3, "GatedRepoError"]


UPLOAD = """
from huggingface_hub import HfApi
api = HfApi(token="hf_mine")
api.create_repo(v["name"], exist_ok=True, private=True)
if v["branch"] != "main":
    api.create_branch(v["name"], branch=v["branch"], exist_ok=True)
done = api.upload_folder(
    repo_id=v["name"], folder_path=v["source"], revision=v["branch"], commit_message="from a test"
)
print(done.oid)
"""


@pytest.mark.slow
def test_the_unmodified_library_uploads_a_folder(tmp_path: pathlib.Path) -> None:
    folder = write_tree(tmp_path / "in", FILES)
    with hub_server(WritableHub) as hub:
        hub.tokens.add("hf_mine")
        for branch in ("main", "next"):
            oid = python(UPLOAD, hub, tmp_path, name="org/new", source=str(folder), branch=branch)
            repository = hub.repositories["models", "org/new"]
            assert repository.private
            assert repository.branches[branch] == oid
            uploaded = repository.commits[oid]
            assert {path: uploaded[path] for path in FILES} == FILES
        assert "from a test" in repository.messages
        assert len(hub.asked("PUT /lfs/")) == 2  # what is there already does not travel again
