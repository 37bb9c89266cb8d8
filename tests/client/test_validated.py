"""What must pass a validation after it was pushed: waiting for it, what it found, retry and purge."""

import pathlib
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import TypeVar

import pytest
from google.protobuf import json_format

from helpers.command_lines import CommandLine
from helpers.eventually import eventually
from helpers.sdk import write_tree
from helpers.servers import Server, running_server
from helpers.validations import BAD_ROW, Validator
from ingot.client import Client, Integrity, Invalid, Precondition, Stage, TransferProgress
from ingot.server.core import params
from ingot.server.core.events import Progress
from ingot.server.core.operations import Operation
from ingot.v1 import catalog_pb2 as catalog
from ingot.v1 import transfer_pb2 as pb

T = TypeVar("T")

FILES = {"a.jsonl": b'{"text": "a"}\n' * 50, "b.jsonl": b'{"text": "b"}\n'}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("s")
    with running_server(folder, validation="required", operation_queues=("validate=0",)) as running:
        yield running


@pytest.fixture
def member(server: Server) -> str:
    """A user of its own for each test."""
    return f"u{len(server._tokens)}"


@pytest.fixture
def client(server: Server, member: str) -> Iterator[Client]:
    with Client(server.address, server.token(member), user="ada") as found:
        yield found


@pytest.fixture
def validator(server: Server) -> Validator:
    return Validator(server.app.operations, server.app.database)


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    return write_tree(tmp_path / "in", FILES)


def _aside(work: Callable[[], T]) -> "futures.Future[T]":
    """Do something in a thread that does not keep the process alive when the test fails."""
    done: futures.Future[T] = futures.Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001  # handed on to whoever asks for the result
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return done


def _next(client: Client, validator: Validator) -> Operation:
    """Claim the validation as soon as there is one."""
    eventually(lambda: any(client.uploads.list(stage=pb.UPLOAD_STAGE_STAGED)))
    return validator.begin()


def _findings(count: int) -> tuple[params.Finding, ...]:
    return tuple(BAD_ROW.model_copy(update={"row": row}) for row in range(1, count + 1))


# --- waiting ------------------------------------------------------------------------------------------


@pytest.mark.contract("S3-6")
def test_a_push_waits_until_its_version_is_ready(
    client: Client, validator: Validator, folder: pathlib.Path
) -> None:
    seen: list[TransferProgress] = []
    pushing = _aside(lambda: client.push("datasets/chat@prod", folder, on_progress=seen.append))
    operation = _next(client, validator)
    assert not pushing.done()
    validator.progress(operation, Progress("checking", 500, 714, "bytes"))
    eventually(lambda: seen[-1].bytes_validated == 500)
    validator.report(operation, passed=True)
    done = pushing.result(100)
    assert done.version is not None
    assert done.version.state == catalog.VERSION_STATE_READY
    assert list(done.version.aliases) == ["latest", "prod"]
    assert [each.stage for each in seen if each.stage in (Stage.VALIDATING, Stage.DONE)][-1] is Stage.DONE
    assert Stage.VALIDATING in {each.stage for each in seen}


def test_a_push_raises_what_its_validation_found(
    client: Client, validator: Validator, folder: pathlib.Path
) -> None:
    pushing = _aside(lambda: client.push("datasets/chat", folder))
    validator.report(_next(client, validator), passed=False, findings=(BAD_ROW,))
    with pytest.raises(Integrity) as caught:
        pushing.result(100)
    assert caught.value.reason == "VALIDATION_FAILED"
    assert "row 7: expected a value" in str(caught.value)
    assert caught.value.facts["operation"].startswith("operations/op_")
    # The same push again is a new one: nothing travels, and a new version is validated.
    again = client.push("datasets/chat", folder, wait=False)
    assert (again.sent_bytes, again.name[-1]) == (0, "2")
    validator.run()


def test_a_push_that_was_stopped_while_it_waited_waits_on(
    client: Client, validator: Validator, folder: pathlib.Path
) -> None:
    def stop(progress: TransferProgress) -> None:
        if progress.stage is Stage.VALIDATING:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.push("datasets/chat", folder, on_progress=stop)
    pushing = _aside(lambda: client.push("datasets/chat", folder))
    validator.report(_next(client, validator), passed=True)
    assert pushing.result(100).name.endswith("/versions/1")


def test_without_waiting_it_may_not_be_ready(
    client: Client, validator: Validator, folder: pathlib.Path
) -> None:
    done = client.push("datasets/chat", folder, wait=False)
    assert done.version is not None
    assert done.version.state == catalog.VERSION_STATE_STAGED
    waiting = _aside(lambda: client.uploads.wait(done.upload))
    validator.run()
    assert waiting.result(100).stage == pb.UPLOAD_STAGE_FRESH
    with pytest.raises(Precondition, match="ABORTED"):
        client.uploads.wait(client.uploads.abort(_opened(client)).name)


def _opened(client: Client) -> str:
    new = pb.NewVersion(artifact=client.names.artifact("datasets/other"), create=catalog.Artifact())
    with client.uploads.open(new) as upload:
        return upload.name


# --- retry and purge ----------------------------------------------------------------------------------


@pytest.mark.contract("S3-20", "S3-62")
def test_the_functions_of_before_do_what_their_names_say(
    client: Client, member: str, validator: Validator, folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    file_id = client.upload_large_file(folder / "a.jsonl", name="chat")
    assert client.get_upload_progress(file_id).stage == pb.UPLOAD_STAGE_STAGED
    assert [each.name for each in client.get_staged_files("staged")] == [f"uploads/{file_id}"]
    operation = client.process_file(file_id, {"min_records": 100})
    assert client.get_upload_progress(file_id).stage == pb.UPLOAD_STAGE_STAGED
    assert operation == client.catalog.version("datasets/chat@1").last_validation
    validator.run(passed=False, findings=(BAD_ROW,))
    assert client.get_upload_progress(file_id).problem.message
    assert [each.name for each in client.get_staged_files("failed")] == [f"uploads/{file_id}"]
    assert client.retry_failed_file(file_id).stage == pb.UPLOAD_STAGE_STAGED
    validator.run(passed=False)
    operation = client.process_file(file_id, {"max_bad_ratio": 0.5})
    asked = json_format.MessageToDict(client.operations.get(operation).params)
    assert asked["rules"]["max_bad_ratio"] == 0.5
    validator.run()
    assert client.get_upload_progress(file_id).stage == pb.UPLOAD_STAGE_FRESH
    found = client.download_file("datasets/chat:a.jsonl", tmp_path / "out")
    assert found.read_bytes() == FILES["a.jsonl"]
    assert client.get_file_info("datasets/chat:a.jsonl").size_bytes == len(FILES["a.jsonl"])
    second = client.upload_large_file(folder / "b.jsonl", name="chat")
    validator.run(passed=False)
    assert client.cleanup_failed_uploads() == 0
    assert client.cleanup_failed_uploads(0) == 1
    assert [each.name for each in client.get_staged_files()] == [f"uploads/{file_id}"]
    assert second not in {each.name for each in client.get_staged_files("failed")}
    with pytest.raises(Invalid):
        client.get_staged_files("done")
    with pytest.raises(Precondition):
        client.process_file(_opened(client))


def test_the_command_line_waits_retries_and_purges(
    server: Server,
    member: str,
    client: Client,
    validator: Validator,
    folder: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("INGOT_TOKEN", server.token(member))
    cli = CommandLine(server.address)
    later = _aside(lambda: validator.report(_next(client, validator), passed=False, findings=_findings(12)))
    run = cli.run("push", "datasets/chat", str(folder))
    later.result(100)
    assert run.code == 6
    assert "a.jsonl:1: error: expected a value (json_syntax, byte 120)" in run.err
    assert "a.jsonl:10: error" in run.err
    assert "a.jsonl:11: error" not in run.err
    assert "These are the first 10 of 12." in run.err
    assert "did not pass its validation" in run.err
    (upload,) = client.uploads.list(stage=pb.UPLOAD_STAGE_FAILED)

    later = _aside(lambda: validator.report(_next(client, validator), passed=True))
    run = cli.run("uploads", "retry", upload.name)
    later.result(100)
    assert (run.code, run.out) == (0, f"{upload.name} is fresh.\n")

    run = cli.run("push", "datasets/chat", str(folder), "--no-wait")
    assert run.out.startswith(f"datasets/{member}/chat@1 ")  # what was told to have failed is ready by now
    run = cli.run("push", "datasets/chat", str(folder), "--no-wait")
    assert run.out.startswith(f"datasets/{member}/chat@2 ")
    assert "It is staged until it passed its validation: ingot uploads show file_" in run.err
    validator.run(passed=False)
    assert cli.run("uploads", "purge", "--yes").out == "Forgot 0 failed uploads.\n"
    run = cli.run("uploads", "purge", "--older-than", "0", "--yes", "--json")
    assert run.out == '{\n  "purged": 1\n}\n'
    assert cli.run("uploads", "purge", "--all", "--yes").code == 4


@pytest.mark.contract("S3-32")
def test_an_operation_that_cannot_be_seen_is_no_obstacle(
    server: Server, client: Client, validator: Validator, folder: pathlib.Path
) -> None:
    """A token that may not look at operations still hears how its upload ended."""
    scopes = ["catalog.read", "catalog.write", "transfer.read", "transfer.write", "account"]
    secret = client.auth.create_token(scopes=scopes).secret
    with Client(server.address, secret, user="ada") as narrow:
        pushing = _aside(lambda: narrow.push("datasets/chat", folder))
        validator.report(_next(client, validator), passed=True)
        assert pushing.result(100).version is not None
