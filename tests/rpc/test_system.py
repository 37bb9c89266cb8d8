"""SystemService on a whole server: first contact, health, storage, and the record of what was done."""

import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from helpers.eventually import eventually
from helpers.servers import Server, Stubs, running_server
from ingot.server.core.clock import SystemClock
from ingot.server.core.identity import system_caller
from ingot.server.core.usage import ActivityFilter
from ingot.server.storage.usage_sql import UsageSql
from ingot.v1 import auth_pb2, catalog_pb2, operations_pb2, system_pb2

INFO = system_pb2.GetServerInfoRequest()
HEALTH = system_pb2.GetHealthRequest()
HEALTHY = system_pb2.HEALTH_STATUS_HEALTHY


class _Later(SystemClock):
    """A clock two days ahead."""

    def now(self) -> float:
        return super().now() + 2 * 24 * 3600


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path) as running:
        yield running


def test_first_contact_needs_no_credential_and_survives_a_bad_one(server: Server) -> None:
    for stubs in (server.stubs(), server.stubs("ingot_9_nonsense")):
        info = stubs.system.GetServerInfo(INFO)
        assert info.version == server.app.facts.version
        assert list(info.api_revisions) == ["v1"]
        assert {"catalog", "transfer", "training", "system"} <= set(info.features)
        assert info.server_id == (server.folder / "server_id").read_text()
        assert info.server_time.seconds > 1.7e9


def well(stubs: Stubs) -> system_pb2.GetHealthResponse:
    """Return the health once all is well: a disk that is busy with others keeps a write waiting."""

    def look() -> system_pb2.GetHealthResponse | None:
        found = stubs.system.GetHealth(HEALTH)
        return found if found.status == HEALTHY else None

    found = eventually(look, what="a server that is well")
    assert found is not None
    return found


@pytest.mark.contract("S0-22", "S0-44", "S0-64", "S2-40", "S3-25", "S3-40")
def test_health_says_little_to_strangers_and_all_to_users(server: Server) -> None:
    stranger = well(server.stubs())
    assert stranger == system_pb2.GetHealthResponse(status=HEALTHY)

    member = well(server.member())
    assert [(part.name, part.status) for part in member.parts] == [
        ("database", HEALTHY),
        ("writer", HEALTHY),
        ("packs", HEALTHY),
        ("disk", HEALTHY),
        ("operations", HEALTHY),
    ]
    assert member.database_version.startswith("SQLite 3.")
    assert (member.active_uploads, member.failed_uploads, member.total_files) == (0, 0, 0)
    assert member.HasField("write_queue")
    assert member.start_time.seconds > 1.7e9
    assert member.mount_point == ""

    admin = server.admin.system.GetHealth(HEALTH)
    assert admin.mount_point == str(server.folder)


@pytest.mark.contract("S3-58", "S4-19")
def test_a_writer_that_is_held_is_named_and_what_only_reads_goes_on(server: Server) -> None:
    stubs, admin = server.member("sara"), server.admin
    stubs.auth.GetMe(auth_pb2.GetMeRequest())
    held, release = threading.Event(), threading.Event()

    def hold_the_writer() -> None:
        held.set()
        release.wait(100)

    holding = server.app.database.write(hold_the_writer)
    try:
        assert held.wait(100)
        waiting = server.app.database.write(lambda: None)
        health = admin.system.GetHealth(HEALTH)
        assert health.status == system_pb2.HEALTH_STATUS_DEGRADED
        (writer,) = [part for part in health.parts if part.status != HEALTHY]
        assert writer.name == "writer"
        assert "hold_the_writer is being written" in writer.message
        assert health.write_queue.holder.endswith("hold_the_writer")
        assert health.write_queue.length >= 2
        assert health.write_queue.held.ToTimedelta().total_seconds() >= 1.9
        assert health.write_queue.longest_wait.ToTimedelta().total_seconds() >= 1.9
        stranger = server.stubs().system.GetHealth(HEALTH)
        assert stranger == system_pb2.GetHealthResponse(status=system_pb2.HEALTH_STATUS_DEGRADED)
        assert stubs.auth.GetMe(auth_pb2.GetMeRequest()).user.name == "users/sara"
        listed = catalog_pb2.ListArtifactsRequest(parent="namespaces/sara")
        assert not stubs.catalog.ListArtifacts(listed).artifacts
    finally:
        release.set()
    holding.result(100)
    waiting.result(100)
    health = well(admin)
    assert health.write_queue.length == 0
    assert health.write_queue.longest_wait.ToTimedelta().total_seconds() >= 1.9, "it is kept for a minute"


@pytest.mark.contract("S3-58")
def test_operations_that_wait_long_degrade_the_server_and_are_told(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        operation = operations_pb2.StartUpkeepRequest(kind=operations_pb2.UPKEEP_KIND_VERIFY)
        name = server.admin.operations.StartUpkeep(operation).operation.name
        with server.app.database.direct() as connection:
            connection.execute_sql(
                "UPDATE operation SET phase = 'waiting', state = 'QUEUED', queue = 'elsewhere', "
                "due = due - 3600 WHERE number = ?",
                (int(name.removeprefix("operations/op_")),),
            )
        told = server.admin.system.GetHealth(HEALTH)
        assert told.status == system_pb2.HEALTH_STATUS_DEGRADED
        (part,) = [part for part in told.parts if part.status != HEALTHY]
        assert part.name == "operations"
        assert "1 wait for their turn, the first for 60 minutes" in part.message
        assert f"{name} (verify) in queue elsewhere" in part.message
        assert name not in str(server.member("omid").system.GetHealth(HEALTH)), "it is not theirs"


def test_lost_chunks_make_the_server_unwell_and_say_what_to_do(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        with server.app.database.direct() as connection:
            connection.execute_sql(
                "INSERT INTO pack(name, size_bytes, created, missing, checked) VALUES ('p', 1, 0, 1, 0)"
            )
            connection.execute_sql(
                "INSERT INTO chunk(digest, pack, position, length, lost) VALUES (x'00', 1, 0, 1, 1)"
            )
        health = server.admin.system.GetHealth(HEALTH)
        assert health.status == system_pb2.HEALTH_STATUS_UNHEALTHY
        (packs,) = [part for part in health.parts if part.status != HEALTHY]
        assert packs.name == "packs"
        assert "1 chunks are lost (1 packs are missing)" in packs.message


def test_a_database_that_cannot_be_read_is_told_not_raised(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        stubs = server.admin
        stubs.system.GetHealth(HEALTH)
        with server.app.database.direct() as connection:
            connection.execute_sql("ALTER TABLE upload RENAME TO gone")
        health = stubs.system.GetHealth(HEALTH)
        assert health.status == system_pb2.HEALTH_STATUS_UNHEALTHY
        assert [part.name for part in health.parts if part.status != HEALTHY] == ["database"]
        assert "no such table: upload" in health.parts[0].message
        stranger = server.stubs().system.GetHealth(HEALTH)
        assert stranger == system_pb2.GetHealthResponse(status=system_pb2.HEALTH_STATUS_UNHEALTHY)


@pytest.mark.contract("S0-1", "S0-2")
def test_storage_tells_every_area_and_the_disk(server: Server) -> None:
    storage = server.admin.system.GetStorage(system_pb2.GetStorageRequest())
    assert [area.name for area in storage.areas] == ["datasets", "models", "checkpoints", "trash", "staging"]
    assert storage.logical_bytes == storage.chunk_bytes == storage.pack_bytes == 0
    assert storage.disk_total_bytes > storage.disk_free_bytes > 0
    assert storage.database_bytes > 0


def test_figures_of_the_disk_are_for_administrators(server: Server) -> None:
    with server.app.database.direct() as connection:
        connection.execute_sql(
            "INSERT INTO pack(name, size_bytes, created, missing, checked) VALUES ('p', 9, 0, 0, 0)"
        )
        connection.execute_sql(
            "INSERT INTO chunk(digest, pack, position, length, lost) VALUES (x'00', 1, 0, 7, 0)"
        )
    whole = server.admin.system.GetStorage(system_pb2.GetStorageRequest())
    assert (whole.chunk_bytes, whole.chunk_count, whole.pack_bytes, whole.pack_count) == (7, 1, 9, 1)
    told = server.member().system.GetStorage(system_pb2.GetStorageRequest())
    assert told == system_pb2.GetStorageResponse(areas=whole.areas, logical_bytes=whole.logical_bytes)
    disks = [
        next(part.message for part in stubs.system.GetHealth(HEALTH).parts if part.name == "disk")
        for stubs in (server.admin, server.member())
    ]
    assert "MB are free" in disks[0]
    assert not any(letter.isdigit() for letter in disks[1])


def _activities(server: Server, token: str, action: str = "") -> list[tuple[str, str, str, str]]:
    request = system_pb2.ListActivityRequest(action=action)
    reply = server.stubs(token).system.ListActivity(request)
    return [(each.action, each.target, each.principal, each.declared_user) for each in reply.activities]


@pytest.mark.contract("S2-9", "S2-42", "S2-43")
def test_every_request_is_listed_newest_first_with_user_address_and_action(server: Server) -> None:
    stubs = server.stubs(server.token("sara"), x_ingot_user="sara.m")
    stubs.system.GetHealth(HEALTH)
    stubs.auth.ListTokens(auth_pb2.ListTokensRequest(parent="users/sara"))
    reply = stubs.system.ListActivity(system_pb2.ListActivityRequest())
    first, second = reply.activities
    assert (first.action, first.method, first.target) == ("list", "AuthService/ListTokens", "users/sara")
    assert (second.action, second.method) == ("get", "SystemService/GetHealth")
    for activity in reply.activities:
        assert (activity.principal, activity.declared_user) == ("users/sara", "sara.m")
        assert (activity.address, activity.code) == ("local", "OK")
        assert activity.time.seconds > 1.7e9
        assert activity.request_id


def test_members_see_their_own_activity_and_administrators_all(server: Server) -> None:
    sara, omid = server.token("sara"), server.token("omid")
    server.stubs(sara).system.GetHealth(HEALTH)
    server.stubs(omid).system.GetHealth(HEALTH)
    server.stubs().system.GetHealth(HEALTH)
    assert [principal for _, _, principal, _ in _activities(server, sara)] == ["users/sara"]
    everyone = [principal for _, _, principal, _ in _activities(server, server.admin_token, action="get")]
    assert everyone == ["", "users/omid", "users/sara"]


def test_activity_is_filtered_and_paged(server: Server) -> None:
    stubs = server.member("sara")
    for _ in range(5):
        stubs.auth.ListTokens(auth_pb2.ListTokensRequest(parent="users/sara"))
        stubs.system.GetHealth(HEALTH)
    request = system_pb2.ListActivityRequest(page_size=2, target="users/sara")
    sizes = []
    while True:
        reply = stubs.system.ListActivity(request)
        assert {activity.action for activity in reply.activities} == {"list"}
        sizes.append(len(reply.activities))
        request.page_token = reply.next_page_token
        if not request.page_token:
            break
    assert sizes == [2, 2, 1]


@pytest.mark.parametrize(
    "request_", [system_pb2.ListActivityRequest(page_size=-1), system_pb2.ListActivityRequest(page_token="x")]
)
def test_a_page_that_cannot_be_is_refused(server: Server, request_: system_pb2.ListActivityRequest) -> None:
    with pytest.raises(grpc.RpcError, match="INVALID_ARGUMENT"):
        server.admin.system.ListActivity(request_)


def test_activity_reaches_the_database_by_itself(server: Server) -> None:
    server.member("sara").auth.ListTokens(auth_pb2.ListTokensRequest(parent="users/sara"))

    def stored() -> list[str]:
        """Read the rows themselves: whoever asks the server for them brings what waits there first."""
        found, _ = server.app.database.read(UsageSql().activities, ActivityFilter(action="list"), None, 10)
        return [each.method for each in found]

    eventually(lambda: stored() == ["AuthService/ListTokens"])


def test_a_revoked_token_is_refused_from_the_next_call_on(server: Server) -> None:
    stubs = server.member("sara")
    me = stubs.auth.GetMe(auth_pb2.GetMeRequest())
    stubs.auth.RevokeToken(auth_pb2.RevokeTokenRequest(name=me.token))
    with pytest.raises(grpc.RpcError, match="revoked"):
        stubs.auth.GetMe(auth_pb2.GetMeRequest())


def test_the_record_outlives_a_restart_and_old_entries_do_not(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        server.member("sara").system.GetHealth(HEALTH)
    with running_server(tmp_path) as server:
        assert [each[2] for each in _activities(server, server.admin_token, action="get")] == ["users/sara"]
    with running_server(tmp_path, activity_days=1, clock=_Later()) as server:
        eventually(lambda: _activities(server, server.admin_token, action="get") == [])


def test_downloads_are_counted_once_per_id_and_accesses_each_time(server: Server) -> None:
    usage, database = server.app.usage, server.app.database
    caller = system_caller()
    for download in ("d1", "d1", "d2"):
        usage.downloaded(caller, "uid", download)
    usage.accessed(caller, "uid")
    usage.accessed(caller, "uid")
    eventually(lambda: database.read(usage.of, ["uid"])["uid"].access_count == 2)
    found = database.read(usage.of, ["uid"])["uid"]
    assert (found.download_count, found.total_requests, found.unique_users) == (2, 4, 1)
    assert found.first_downloaded_by == "system"
