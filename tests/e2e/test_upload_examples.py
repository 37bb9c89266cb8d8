"""docs/upload-in-any-language.md: its programs run as they stand there, with nothing of ours but stubs."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from helpers.patterns import pattern
from helpers.processes import ServerProcess, server_process
from ingot.content import digests
from ingot.v1 import transfer_pb2, transfer_pb2_grpc

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "upload-in-any-language.md").read_text(encoding="utf-8")
CONTENT = pattern("example", 3 * 1024 * 1024 + 11)


def programs(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with server_process(tmp_path_factory.mktemp("examples") / "data") as running:
        yield running


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Path:
    path = tmp_path / "notes.bin"
    path.write_bytes(CONTENT)
    return path


def run(server: ServerProcess, artifact: str, *command: str) -> str:
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": os.environ.get("HOME", "/"),
        "SERVER": server.address,
        "TOKEN": server.admin_token,
        "ARTIFACT": artifact,
    }
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def stored(server: ServerProcess, version: str) -> bytes:
    with grpc.insecure_channel(server.address) as channel:
        stub = transfer_pb2_grpc.TransferServiceStub(channel)
        request = transfer_pb2.ReadFileRequest(tree=version, path="notes.bin")
        metadata = (("authorization", f"Bearer {server.admin_token}"),)
        return b"".join(each.data for each in stub.ReadFile(request, metadata=metadata))


@pytest.mark.contract("S3-17")
def test_the_python_program_needs_the_stubs_alone(server: ServerProcess, file: Path, tmp_path: Path) -> None:
    (program,) = programs("python")
    assert len(program.splitlines()) <= 21
    stubs = tmp_path / "stubs" / "ingot"
    stubs.mkdir(parents=True)
    (stubs / "v1").symlink_to(ROOT / "generated" / "python" / "ingot" / "v1")
    script = tmp_path / "upload.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(stubs.parent)!r})\n{program}", encoding="utf-8")
    printed = run(
        server, "", sys.executable, "-s", str(script), str(file), "namespaces/admin/datasets/python"
    )
    version, size, digest = printed.split()
    assert (version, int(size)) == ("namespaces/admin/datasets/python/versions/1", len(CONTENT))
    assert digest == digests.format_digest(digests.digest_of(CONTENT))
    assert stored(server, version) == CONTENT


def test_the_shell_uploads_a_file(server: ServerProcess, file: Path) -> None:
    (program, _) = programs("bash")
    printed = run(server, "namespaces/admin/datasets/shell", "bash", "-eu", "-c", program, "bash", str(file))
    reply = json.loads(printed)
    assert reply["file"]["blake3"] == digests.format_digest(digests.digest_of(CONTENT))
    assert stored(server, reply["version"]["name"]) == CONTENT


def test_the_shell_puts_a_chunk(server: ServerProcess, tmp_path: Path) -> None:
    (_, program) = programs("bash")
    chunk = tmp_path / "chunk.bin"
    chunk.write_bytes(CONTENT)  # far more than a command line takes
    printed = run(server, "namespaces/admin/datasets/chunk", "bash", "-eu", "-c", program, "bash", str(chunk))
    stored, end = json.JSONDecoder().raw_decode(printed)
    assert stored["outcome"] == "CHUNK_OUTCOME_STORED"
    assert json.loads(printed[end:])["upload"]["state"] == "UPLOAD_STATE_ABORTED"


def test_every_message_of_the_go_program_is_in_the_protos() -> None:
    (program,) = programs("go")
    words = {word.partition("_")[0] for word in re.findall(r"ingotv1\.(\w+)", program)}
    known = {*transfer_pb2.DESCRIPTOR.message_types_by_name, "NewTransferServiceClient", "Artifact"}
    assert words <= known
