"""A disk that flips bits in many chunks of a pack: the first reader is told, and one push heals them all."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from helpers.eventually import eventually
from helpers.patterns import pattern
from helpers.servers import Stubs, running_server
from helpers.transfers import refused
from ingot.v1 import catalog_pb2, operations_pb2
from ingot.v1 import transfer_pb2 as pb

DATA = pattern("healthy", 3_000_000)
EACH = 300_000  # a flipped bit in about every chunk


def push(stubs: Stubs) -> str:
    """Push the file; return the name of its version."""
    new = pb.NewVersion(artifact="namespaces/sara/datasets/chat", create=catalog_pb2.Artifact())

    def messages() -> Iterator[pb.UploadFileRequest]:
        yield pb.UploadFileRequest(header=pb.UploadFileHeader(path="a.bin", version=new))
        yield pb.UploadFileRequest(data=DATA[:1_500_000])
        yield pb.UploadFileRequest(data=DATA[1_500_000:])
        yield pb.UploadFileRequest(finish=pb.UploadFileFinish())

    return stubs.transfer.UploadFile(messages()).version.name


def read(stubs: Stubs, tree: str) -> bytes:
    return b"".join(
        each.data for each in stubs.transfer.ReadFile(pb.ReadFileRequest(tree=tree, path="a.bin"))
    )


def flip_bits(folder: Path) -> None:
    for pack in folder.glob("packs/*/*.pack"):
        content = bytearray(pack.read_bytes())
        for place in range(5000, len(content) - 5000, EACH):
            content[place] ^= 1
        pack.chmod(0o600)
        with pack.open("r+b") as file:  # in place: the server has it open
            file.write(content)


@pytest.mark.contract("S3-59", "S3-60")
def test_one_push_heals_all_that_a_disk_broke_in_a_pack(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        stubs = server.member("sara")
        first = push(stubs)
        flip_bits(server.folder)
        with refused(grpc.StatusCode.DATA_LOSS, "DATA_LOSS"):
            read(stubs, first)

        def scrubbed() -> bool:
            found = server.admin.operations.ListOperations(operations_pb2.ListOperationsRequest()).operations
            return [each.state for each in found if each.kind == "scrub"] == [
                operations_pb2.OPERATION_STATE_SUCCEEDED
            ]

        eventually(scrubbed)
        second = push(stubs)
        assert read(stubs, second) == read(stubs, first) == DATA
