"""Credentials: whose they are, and that a secret goes to its host only."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from helpers.catalogs import CatalogRig, machine
from ingot.server.core.errors import Denied, Invalid, NotFound, Reason
from ingot.server.core.identity import Caller, Role
from ingot.server.core.json_values import JsonObject
from ingot.server.core.operations import Operation, OperationState
from ingot.server.core.pages import PageTokens
from ingot.server.domain.credentials import LONGEST_SECRET, Credentials, HubAccess
from ingot.server.sources.hub_login import saved_token
from ingot.server.storage.credentials_sql import CredentialsSql
from ingot.server.storage.sealing import Sealer

HUB = "huggingface.co"


class Rig(CatalogRig):
    """The catalog, with credentials."""

    def credentials(self, hub: HubAccess | None = None) -> Credentials:
        store = CredentialsSql(Sealer(b"k" * 32))
        return Credentials(store, PageTokens(b"secret"), hub or HubAccess(), self.clock)


@pytest.fixture
def rig() -> Iterator[Rig]:
    found = Rig()
    yield found
    found.database.close()


@pytest.fixture
def sara(rig: Rig) -> Caller:
    return rig.user("sara")


def hub_import(requester: str = "users/sara") -> Operation:
    source = {"kind": "hub", "repository": "org/private"}
    return operation(requester, source)


def url_import(urls: Sequence[str], requester: str = "users/sara") -> Operation:
    return operation(requester, {"kind": "urls", "files": [{"urls": list(urls)}]})


def operation(requester: str, source: JsonObject) -> Operation:
    params = {"source": source, "target": {"artifact": "namespaces/sara/models/tiny"}}
    return Operation(1, "import", OperationState.RUNNING, requester, 0.0, params=params)


def test_a_credential_is_set_replaced_listed_and_forgotten(rig: Rig, sara: Caller) -> None:
    rules = rig.credentials()
    first = rig.write(rules.set, sara, "HuggingFace.co", "hf_one")
    assert first.name == "users/sara/credentials/huggingface.co"
    rig.clock.time += 10
    second = rig.write(rules.set, sara, HUB, "hf_two")
    assert (second.create_time, second.update_time) == (first.create_time, first.create_time + 10)
    assert rig.read(rules.secret_for, "sara", HUB) == "hf_two"
    rig.write(rules.set, sara, "example.com", "other")
    page = rig.read(rules.page, sara, 1, "")
    rest = rig.read(rules.page, sara, 1, page.next_token)
    assert [each.host for each in (*page.items, *rest.items)] == ["example.com", HUB]
    assert rest.next_token == ""
    for _ in range(2):
        rig.write(rules.delete, sara, "sara", HUB)
    assert rig.read(rules.secret_for, "sara", HUB) is None


@pytest.mark.parametrize(
    "secret", ["", "two words", "line\nbreak", "ünicode", "x" * (LONGEST_SECRET + 1), "\0"]
)
def test_what_cannot_be_a_token_is_refused_without_being_told(rig: Rig, sara: Caller, secret: str) -> None:
    with pytest.raises(Invalid) as caught:
        rig.write(rig.credentials().set, sara, HUB, secret)
    assert caught.value.reason is Reason.FIELD_INVALID
    assert not secret or secret not in repr(caught.value.__dict__)


def test_credentials_of_others_are_out_of_reach(rig: Rig, sara: Caller) -> None:
    rules, omid, root = rig.credentials(), rig.user("omid"), rig.user("root", Role.ADMIN)
    rig.write(rules.set, sara, HUB, "hf_sara")
    assert rig.read(rules.secret_for, "omid", HUB) is None
    assert rig.read(rules.page, omid, 0, "").items == ()
    assert rig.read(rules.page, root, 0, "").items == ()
    with pytest.raises(NotFound):
        rig.write(rules.delete, omid, "sara", HUB)
    rig.write(rules.delete, root, "sara", HUB)
    assert rig.read(rules.page, sara, 0, "").items == ()


def test_workers_keep_none(rig: Rig, sara: Caller) -> None:
    rules, worker = rig.credentials(), machine()
    with pytest.raises(Denied):
        rig.write(rules.set, worker, HUB, "hf_worker")
    assert rig.read(rules.page, worker, 0, "").items == ()
    with pytest.raises(NotFound):
        rig.write(rules.delete, worker, worker.user, HUB)


@pytest.mark.contract("S2-15")
def test_the_own_token_comes_first_then_the_servers_then_a_saved_login(
    rig: Rig, sara: Caller, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("hf_saved\n")

    def saved(host: str) -> str:
        return saved_token(host, {"HF_HOME": str(tmp_path)})

    with_login = rig.credentials(HubAccess(saved_login=saved))
    assert rig.read(with_login.for_operation, hub_import()) == {HUB: "hf_saved"}
    with_token = rig.credentials(HubAccess(token="hf_server", saved_login=saved))
    assert rig.read(with_token.for_operation, hub_import()) == {HUB: "hf_server"}
    rig.write(with_token.set, sara, HUB, "hf_sara")
    assert rig.read(with_token.for_operation, hub_import()) == {HUB: "hf_sara"}
    assert rig.read(rig.credentials().for_operation, hub_import("users/omid")) == {}
    assert "hf_server" not in repr(HubAccess(token="hf_server"))


def test_a_secret_goes_to_its_host_only(rig: Rig, sara: Caller) -> None:
    rules = rig.credentials(HubAccess("https://mirror.example:8443/hub", "hf_mirror", lambda _: ""))
    rig.write(rules.set, sara, "files.example", "secret")
    rig.write(rules.set, sara, HUB, "hf_sara")
    assert rig.read(rules.for_operation, hub_import()) == {"mirror.example:8443": "hf_mirror"}
    urls = ["https://files.example/a", "https://files.example:8443/a", "https://a.files.example/a"]
    assert rig.read(rules.for_operation, url_import(urls)) == {"files.example": "secret"}
    assert rig.read(rules.for_operation, url_import(["https://mirror.example/a"])) == {}
    clean = Operation(2, "clean", OperationState.RUNNING, "users/sara", 0.0)
    assert rig.read(rules.for_operation, clean) == {}


def test_a_registered_source_is_fetched_in_the_name_of_who_registered_it(rig: Rig, sara: Caller) -> None:
    rules, omid = rig.credentials(), rig.user("omid")
    rig.write(rules.set, sara, HUB, "hf_sara")
    rig.write(rules.set, omid, HUB, "hf_omid")
    asked = hub_import("users/sara")
    for registrar, secrets in (("users/omid", {HUB: "hf_omid"}), ("", {}), ("users/nobody", {})):
        fetch = dataclasses.replace(
            asked, params={**asked.params, "registered": True, "registrar": registrar}
        )
        assert rig.read(rules.for_operation, fetch) == secrets


def test_nobody_lends_a_person_s_secret_to_the_server_or_a_worker(rig: Rig, sara: Caller) -> None:
    rules = rig.credentials()
    rig.write(rules.set, sara, HUB, "hf_sara")
    for requester in ("system", "users/sara/tokens/tok_1", "users/omid"):
        assert rig.read(rules.for_operation, hub_import(requester)) == {}


def test_a_saved_login_is_found_where_the_hub_s_tools_keep_it(tmp_path: Path) -> None:
    cache = tmp_path / "huggingface"
    cache.mkdir()
    (cache / "token").write_text(" hf_cached\n")
    (tmp_path / "told").write_text("hf_told")
    environment = {"XDG_CACHE_HOME": str(tmp_path)}
    assert saved_token(HUB, environment) == "hf_cached"
    assert saved_token(HUB, {**environment, "HF_TOKEN_PATH": str(tmp_path / "told")}) == "hf_told"
    assert saved_token("mirror.example", environment) == "", "the login is for the Hub, not for a mirror"
    assert saved_token(HUB, {"HF_HOME": str(tmp_path / "nowhere")}) == ""
