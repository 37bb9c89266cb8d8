"""A registered dataset, whole: declared, pulled without a word about imports, updated, removed."""

from pathlib import Path

import pytest

from helpers.eventually import eventually
from helpers.patterns import pattern
from helpers.sdk import tree_of
from helpers.servers import running_server
from helpers.url_server import File, url_server
from ingot.client import Client, NotFound
from ingot.server.storage import sql
from ingot.v1 import catalog_pb2
from ingot.v1 import operations_pb2 as pb

NAME = "namespaces/library/datasets/humaneval"
FIRST, SECOND = pattern("first", 300_000), pattern("second", 200_000)


@pytest.mark.slow
@pytest.mark.contract(
    "S4-2", "S4-3", "S4-10", "S4-11", "S4-12", "S4-16", "S4-20", "S4-21", "S4-22", "S4-27", "S4-31", "S4-45"
)
def test_a_registered_dataset_is_fetched_by_its_first_reader_and_removed_with_its_files(
    tmp_path: Path,
) -> None:
    with url_server() as web:
        url = web.serve("/humaneval.bin", File(FIRST, '"1"'))
        listed = tmp_path / "sources.toml"
        listed.write_text(f'[[datasets]]\nname = "humaneval"\nurl = "{url}"\n')
        loopback, sources = ("127.0.0.0/8",), (str(listed),)
        with (
            running_server(tmp_path, import_private_networks=loopback, sources=sources) as server,
            Client(server.address, server.token("sara"), user="sara") as sara,
            Client(server.address, server.admin_token, user="admin") as admin,
        ):

            def fetch() -> catalog_pb2.Fetch:
                return sara.catalog.get(NAME).fetch

            def update() -> None:
                asked = pb.StartImportRequest(registered=NAME, force=True)
                admin.operations.wait(server.admin.operations.StartImport(asked).operation.name)

            assert fetch().state == catalog_pb2.FETCH_STATE_REGISTERED
            sara.pull(NAME, tmp_path / "one")
            assert tree_of(tmp_path / "one") == {"humaneval.bin": FIRST}
            told = fetch()
            assert told.state == catalog_pb2.FETCH_STATE_FETCHED
            assert (told.downloaded, told.size_bytes) == (True, len(FIRST))
            assert told.checksum == sara.catalog.version(NAME).digest
            assert told.download_time.seconds

            asked = len(web.asked)
            sara.pull(NAME, tmp_path / "two")
            assert len(web.asked) == asked  # nobody fetched anything

            web.serve("/humaneval.bin", File(SECOND, '"2"'))
            update()
            sara.pull(NAME, tmp_path / "three")
            assert tree_of(tmp_path / "three") == {"humaneval.bin": SECOND}
            versions = [each.name for each in sara.catalog.versions(NAME)]
            assert versions == [f"{NAME}/versions/2", f"{NAME}/versions/1"]

            before = sara.catalog.get(NAME)
            request = catalog_pb2.DeleteArtifactRequest(name=NAME, force=True)
            server.admin.catalog.DeleteArtifact(request)
            after = sara.catalog.get(NAME)
            assert (after.uid != before.uid, after.fetch.state) == (True, catalog_pb2.FETCH_STATE_REGISTERED)
            with pytest.raises(NotFound):
                sara.catalog.version(versions[0])

            def ended(kind: str) -> bool:
                found = list(admin.operations.list(kind=kind))
                return bool(found) and found[0].state == pb.OPERATION_STATE_SUCCEEDED

            eventually(lambda: ended("remove"))
            rows = server.app.database.read(_rows)
            assert rows == (0, 0)
            eventually(lambda: ended("collect"))


def _rows() -> tuple[int, int]:
    """Return how many versions and files of trees there are."""
    return sql.rows("SELECT count(*) FROM version")[0][0], sql.rows("SELECT count(*) FROM tree_file")[0][0]
