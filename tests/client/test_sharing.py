"""Teams and access through the SDK, against a whole server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.servers import Server, running_server
from ingot.client import Client, Denied, Invalid, NotFound, Precondition


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path) as running:
        yield running


@pytest.mark.contract("S1-11", "S1-14")
def test_a_team_shares_what_it_makes_and_shows_one_thing_to_somebody_else(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "chat.jsonl").write_text('{"text": "salaam"}\n', encoding="utf-8")
    tokens = {user: server.token(user) for user in ("sara", "omid", "nima")}
    with (
        Client(server.address, tokens["sara"]) as sara,
        Client(server.address, tokens["omid"]) as omid,
        Client(server.address, tokens["nima"]) as nima,
    ):
        assert sara.auth.create_namespace("team-nlp").name == "namespaces/team-nlp"
        sara.auth.set_member("team-nlp", "users/omid", "writer")
        omid.push("datasets/team-nlp/chat", tmp_path / "chat.jsonl")
        found = [(each.user, each.role) for each in sara.auth.members("namespaces/team-nlp")]
        assert [user for user, _ in found] == ["users/omid", "users/sara"]

        with pytest.raises(NotFound):
            nima.pull("datasets/team-nlp/chat", tmp_path / "no")
        access = sara.catalog.set_access("datasets/team-nlp/chat", grant=["nima"])
        assert [each.user for each in access.readers] == ["users/nima"]
        nima.pull("datasets/team-nlp/chat", tmp_path / "yes")
        assert (tmp_path / "yes" / "chat.jsonl").is_file()
        assert [each.name for each in nima.catalog.list()] == ["namespaces/team-nlp/datasets/chat"]

        with pytest.raises(Denied):
            omid.auth.set_member("team-nlp", "nima", "owner")
        with pytest.raises(Precondition):
            sara.auth.delete_namespace("team-nlp")
        with pytest.raises(Invalid, match="owner, writer, reader"):
            sara.auth.set_member("team-nlp", "nima", "admin")
        assert omid.catalog.set_access("datasets/team-nlp/chat", revoke=["nima"]).readers == []  # it is his
        sara.auth.remove_member("team-nlp", "omid")
        with pytest.raises(NotFound):
            omid.catalog.access("datasets/team-nlp/chat")
