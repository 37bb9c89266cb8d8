"""The server is killed while everybody changes things: what was acknowledged is in the audit log."""

import pathlib
import signal
import threading

import grpc
import pytest

from helpers.eventually import eventually
from helpers.forked_servers import KILLED, ForkedServers
from ingot.client import Client
from ingot.client._errors import IngotError
from ingot.v1 import catalog_pb2, catalog_pb2_grpc, system_pb2, system_pb2_grpc

pytestmark = pytest.mark.slow

CREATE = "CatalogService/CreateArtifact"
CALLERS, EACH, ROUNDS = 4, 400, 3


class Writer(threading.Thread):
    """Makes artifacts, each under a request id of its own, until the server is gone."""

    def __init__(self, address: str, token: str, name: str) -> None:
        super().__init__(name=name)
        self.acknowledged: list[str] = []  # ids of calls
        self._token = token
        self._channel = grpc.insecure_channel(address)

    def run(self) -> None:
        stub = catalog_pb2_grpc.CatalogServiceStub(self._channel)
        for number in range(EACH):
            call = f"{self.name}-{number}"
            request = catalog_pb2.CreateArtifactRequest(
                parent="namespaces/admin", kind=catalog_pb2.ARTIFACT_KIND_MODEL, artifact_id=f"m-{call}"
            )
            metadata = (("authorization", f"Bearer {self._token}"), ("x-request-id", call))
            try:
                stub.CreateArtifact(request, metadata=metadata, timeout=100)
            except grpc.RpcError:
                break
            self.acknowledged.append(call)
        self._channel.close()


def _round(servers: ForkedServers, data: pathlib.Path, number: int) -> set[str]:
    """Let everybody write and kill the server in the middle; return the calls that were acknowledged."""
    with servers.serving(data) as server:
        token = server.admin_token
        writers = [Writer(server.address, token, f"r{number}w{each}") for each in range(CALLERS)]
        for writer in writers:
            writer.start()
        wanted = 40 * (number + 1)
        eventually(lambda: sum(len(writer.acknowledged) for writer in writers) >= wanted, what="they write")
        assert server.stop(signal.SIGKILL) == KILLED
        for writer in writers:
            writer.join()
    return {call for writer in writers for call in writer.acknowledged}


@pytest.mark.contract("S2-42", "S3-51")
def test_kill_9_loses_no_entry_and_no_activity_and_alarms_nobody(
    servers: ForkedServers, tmp_path: pathlib.Path
) -> None:
    data = tmp_path / "data"
    acknowledged = set().union(*(_round(servers, data, number) for number in range(ROUNDS)))
    assert len(acknowledged) >= 40
    with (
        servers.serving(data) as server,
        Client(server.address, server.admin_token) as client,
        grpc.insecure_channel(server.address) as channel,
    ):
        entries = [each for each in client.audit.entries() if each.method == CREATE]
        calls = [each.request_id for each in entries]
        assert acknowledged <= set(calls)
        assert len(calls) == len(set(calls))  # one for each call
        names = {artifact.name for artifact in client.catalog.list("models")}
        assert names == {each.target for each in entries}  # what is there has its entry, and nothing else

        stub = system_pb2_grpc.SystemServiceStub(channel)
        metadata = (("authorization", f"Bearer {server.admin_token}"),)
        rows: list[str] = []
        token = ""
        while True:
            request = system_pb2.ListActivityRequest(action="create", page_size=1000, page_token=token)
            page = stub.ListActivity(request, metadata=metadata)
            rows += [each.request_id for each in page.activities if each.code == "OK"]
            token = page.next_page_token
            if not token:
                break
        assert acknowledged <= set(rows)
        assert len(rows) == len(set(rows))

        found = client.audit.verify()
        assert list(found.findings) == []
        assert found.checked == found.head.number >= len(entries)


def test_a_log_that_was_cut_off_is_told_at_the_next_start(
    servers: ForkedServers, tmp_path: pathlib.Path
) -> None:
    from ingot.server.storage.database import open_database

    data = tmp_path / "data"
    with servers.serving(data) as server, Client(server.address, server.admin_token) as client:
        for number in range(5):
            client.catalog.create(f"models/m{number}")
        kept = client.audit.head()
        server.stop()
    database = open_database(f"sqlite:///{data / 'ingot.db'}")
    with database.direct() as connection:
        connection.execute_sql("DELETE FROM audit_entry WHERE number > 2")
    database.close()
    with servers.serving(data) as server, Client(server.address, server.admin_token) as client:
        client.catalog.create("models/later")  # goes on, and covers nothing up
        faults = [system_pb2.AuditFault.Name(each.fault) for each in client.audit.verify(kept).findings]
        assert faults[0] == "AUDIT_FAULT_ALARM"
        assert "AUDIT_FAULT_CUT_OFF" in faults or "AUDIT_FAULT_OTHER_HISTORY" in faults
        with pytest.raises(IngotError):
            client.catalog.create("models/later")
        server.stop()
    with servers.serving(data) as server, Client(server.address, server.admin_token) as client:
        again = [system_pb2.AuditFault.Name(each.fault) for each in client.audit.verify().findings]
        assert again == ["AUDIT_FAULT_ALARM"]  # told once, found for ever
