"""What the Hub tells of a repository, and how its refusals are told apart."""

import dataclasses
import pathlib
import socket
from collections.abc import Iterator

import pytest

from helpers.fetching import Names
from helpers.hub_faults import Fault
from helpers.hub_repositories import blob_id, sha256
from helpers.hub_server import Hub as HubServer
from helpers.hub_server import hub_server
from helpers.patterns import pattern
from ingot.server.core.errors import Denied, IngotError, Invalid, NotFound, Precondition, Unavailable
from ingot.server.sources.addresses import Addresses, parse_networks
from ingot.server.sources.budgets import Limits
from ingot.server.sources.connections import Patience
from ingot.server.sources.hub import PIECE, Hub, HubFile
from ingot.server.sources.hub_cards import HubCard
from ingot.server.sources.urls import Fetcher

WEIGHTS = pattern("weights", 100_000)
FILES = {"README.md": b"# Tiny\n", "sub/model.safetensors": WEIGHTS, "empty": b""}
FACTS: dict[str, object] = {
    "cardData": {"license": "apache-2.0", "language": ["en", "fr", "not a language"]},
    "tags": ["transformers", "t5", "license:apache-2.0", "en", "arxiv:1910.10683"],
    "pipeline_tag": "text2text-generation",
    "library_name": "transformers",
    "config": {"model_type": "t5"},
}


@pytest.fixture
def server() -> Iterator[HubServer]:
    with hub_server() as hub:
        hub.add("google/flan-t5-small", FILES, facts=FACTS)
        for name in ("bert-base-uncased", "facebook/opt-125m", "gpt2"):
            hub.add(name, FILES)
        hub.add("org/chat", FILES, kind="datasets")
        hub.add("org/private", FILES, private=True, readers={"hf_mine"})
        hub.add("org/gated", FILES, gated=True, readers={"hf_mine"})
        hub.tokens.add("hf_other")
        yield hub


@pytest.mark.contract("S2-32")
@pytest.mark.parametrize("name", ["bert-base-uncased", "google/flan-t5-small", "facebook/opt-125m", "gpt2"])
def test_a_repository_is_pinned_with_sizes_and_digests(server: HubServer, name: str) -> None:
    found = Hub(server.url).look_up(name, "model")
    assert (found.source, found.private, found.gated) == (f"hf://{name}", False, False)
    assert found.commit == server.repositories["models", name].branches["main"]
    by_path = {each.path: each for each in found.files}
    assert by_path["README.md"] == HubFile("README.md", 7, "", blob_id(FILES["README.md"]))
    assert by_path["sub/model.safetensors"].sha256 == sha256(WEIGHTS)
    assert by_path["sub/model.safetensors"].size == len(WEIGHTS)
    assert len(found.files) == 3


def test_what_its_card_says_is_taken_in_our_words(server: HubServer) -> None:
    assert Hub(server.url).look_up("google/flan-t5-small", "model").card == HubCard(
        license="apache-2.0",
        language="en,fr",
        tags=("transformers", "t5"),
        task_type="text2text-generation",
        framework="transformers",
        model_type="t5",
    )


def test_what_a_card_says_against_our_rules_is_left_out(server: HubServer) -> None:
    tags = ["kept", "two\nlines", "bell\x07", "half \ud800", "ß" * 40, "x" * 65, "a,b"]
    facts = {**FACTS, "tags": tags, "cardData": {"license": "half \ud800"}}
    server.add("org/odd", FILES, facts=facts)
    card = Hub(server.url).look_up("org/odd", "model").card
    assert (card.tags, card.license) == (("kept",), "")


def test_datasets_branches_and_commits(server: HubServer) -> None:
    repository = server.repositories["datasets", "org/chat"]
    first = repository.branches["main"]
    second = repository.commit({"new": b"x"}, branch="next")
    hub = Hub(server.url)
    assert hub.look_up("org/chat", "dataset").source == "hf://datasets/org/chat"
    assert hub.look_up("org/chat", "dataset", "next").commit == second
    assert hub.look_up("org/chat", "dataset", first).commit == first


def test_a_server_that_tells_no_sizes_is_asked_for_its_tree(server: HubServer) -> None:
    server.page_size = 2
    server.bare_siblings = True
    found = Hub(server.url).look_up("gpt2", "model")
    assert {each.path: each.size for each in found.files} == {path: len(FILES[path]) for path in FILES}
    assert len(server.asked("GET /api/models/gpt2/tree/")) == 2


def test_a_token_opens_what_is_private(server: HubServer) -> None:
    assert Hub(server.url, "hf_mine").look_up("org/private", "model").private
    assert Hub(server.url).look_up("org/gated", "model").gated  # its files are not for everybody


@pytest.mark.parametrize(
    ("name", "token", "revision", "kind", "reason", "words"),
    [
        ("org/none", "", "", Denied, "SOURCE_DENIED", "no such name, or private"),
        ("org/private", "", "", Denied, "SOURCE_DENIED", "no such name, or private"),
        ("org/none", "hf_other", "", NotFound, "SOURCE_NOT_FOUND", "has no hf://org/none"),
        ("org/private", "hf_other", "", NotFound, "SOURCE_NOT_FOUND", "does not show it to this token"),
        ("gpt2", "hf_revoked", "", Denied, "SOURCE_DENIED", "does not take the token"),
        ("gpt2", "", "v9", NotFound, "SOURCE_NOT_FOUND", "no revision 'v9'"),
        ("a/b/c", "", "", Invalid, "NAME_INVALID", "expected hf://OWNER/NAME"),
    ],
)
@pytest.mark.contract("S2-49")
def test_refusals_are_told_apart(
    server: HubServer, name: str, token: str, revision: str, kind: type[IngotError], reason: str, words: str
) -> None:
    with pytest.raises(kind) as caught:
        Hub(server.url, token).look_up(name, "model", revision)
    assert caught.value.reason == reason
    assert words in caught.value.message
    if kind is Denied:
        assert f"ingot credentials set {Hub(server.url).host}" in caught.value.next_step
        assert "HUGGINGFACE_TOKEN" in caught.value.next_step
    assert "hf_" not in caught.value.message.replace("hf://", "")


@pytest.mark.parametrize(
    ("fault", "kind", "cause"),
    [
        (Fault(status=503), Unavailable, "http_503"),
        (Fault(status=500), Unavailable, "http_500"),
        (Fault(status=429, headers={"Retry-After": "17"}), Unavailable, "http_429"),
        (Fault(cut_after=10), Unavailable, "network"),
        (Fault(stall_after=10), Unavailable, "stalled"),
        (Fault(short_by=10), Precondition, "protocol"),
        (Fault(status=200, body=b"<html>log in</html>"), Precondition, "protocol"),
        (Fault(status=200, body=b'{"id": "gpt2"}'), Precondition, "protocol"),
    ],
)
def test_what_goes_wrong_on_the_way_is_named(
    server: HubServer, fault: Fault, kind: type[IngotError], cause: str
) -> None:
    server.faults.add("GET /api/models/gpt2", fault)
    with pytest.raises(kind) as caught:
        Hub(server.url, seconds=60.0 if fault.stall_after is None else 0.3).look_up("gpt2", "model")
    assert (caught.value.reason, caught.value.facts["cause"]) == ("SOURCE_UNREACHABLE", cause)
    assert caught.value.retry_after == (17.0 if fault.status == 429 else None)


PRIVATE = {"Location": "http://169.254.169.254/latest"}


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_pass_the_wall(server: HubServer, status: int) -> None:
    server.faults.add("GET /api/models/gpt2", Fault(status=status, headers=PRIVATE))
    with pytest.raises(Denied) as caught:
        Hub(server.url).look_up("gpt2", "model")
    assert caught.value.reason == "SOURCE_ADDRESS_REFUSED"


def test_only_the_own_host_may_have_any_address(server: HubServer) -> None:
    port = server.url.rpartition(":")[2]
    elsewhere = {"Location": f"http://127.0.0.2:{port}/api/models/facebook/opt-125m"}
    server.faults.add("GET /api/models/gpt2", Fault(status=307, headers=elsewhere), times=2)
    with pytest.raises(Denied, match="does not fetch from there"):
        Hub(server.url).look_up("gpt2", "model")
    allowed = Addresses(parse_networks(["127.0.0.2"]))
    with pytest.raises(Unavailable):  # it went there, where nobody listens
        Hub(server.url, addresses=allowed).look_up("gpt2", "model")
    here = {"Location": f"{server.url}/api/models/facebook/opt-125m"}
    server.faults.add("GET /api/models/gpt2", Fault(status=307, headers=here))
    assert Hub(server.url).look_up("gpt2", "model").files


def test_a_redirect_without_end_is_no_hub(server: HubServer) -> None:
    here = {"Location": f"{server.url}/api/models/gpt2"}
    server.faults.add("GET /api/models/gpt2", Fault(status=307, headers=here), times=100)
    with pytest.raises(Precondition, match="does not answer as the Hugging Face Hub"):
        Hub(server.url).look_up("gpt2", "model")


@pytest.mark.parametrize("bare", [False, True], ids=["siblings", "tree"])
@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ('"sha": "COMMIT"', '"sha": "/tmp/elsewhere"'),
        ('"sha": "COMMIT"', '"sha": "../../../elsewhere"'),
        ('"sha": "COMMIT"', '"sha": 7'),
        ('"size": 7', '"size": "7"'),
        ('"size": 7', '"size": -7'),
        ('"size": 7', '"size": 7.5'),
        ('"size": 7', '"size": 9999999999999999999999'),
        ('README.md"', 'README\\ud800"'),
        ("BLOB", "blob"),
        ("SHA256", "sha256"),
    ],
)
def test_what_cannot_be_is_not_believed(server: HubServer, told: str, wrong: str, bare: bool) -> None:
    commit, server.bare_siblings = server.repositories["models", "gpt2"].branches["main"], bare
    real = {"COMMIT": commit, "BLOB": blob_id(FILES["README.md"]), "SHA256": sha256(WEIGHTS)}
    for word, text in real.items():
        told = told.replace(word, text)
    server.lie = (told, wrong)
    with pytest.raises(Precondition, match="does not answer as the Hugging Face Hub") as caught:
        Hub(server.url).look_up("gpt2", "model")
    assert caught.value.facts["cause"] == "protocol"


def test_an_endpoint_that_is_none_is_named() -> None:
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))  # and does not listen, nor does anybody else there
    with taken, pytest.raises(Unavailable) as away:
        Hub(f"http://127.0.0.1:{taken.getsockname()[1]}").look_up("gpt2", "model")
    assert away.value.facts["cause"] == "connect"
    with pytest.raises(Unavailable) as nowhere:
        Hub("http://nobody.example", addresses=Addresses(resolver=Names({}))).look_up("gpt2", "model")
    assert nowhere.value.facts["cause"] == "dns"
    with pytest.raises(Invalid, match="hub_endpoint"):
        Hub("huggingface.co")


class Patient:
    """Nobody asks to stop."""

    def check(self) -> None:
        pass

    def wait(self, seconds: float) -> None:
        raise AssertionError(f"it paused for {seconds} s")


def test_huge_files_come_in_pieces(server: HubServer, tmp_path: pathlib.Path) -> None:
    server.largest_answer = 40_000
    hub = Hub(server.url)
    found = hub.look_up("gpt2", "model")
    file = next(each for each in found.files if each.sha256)
    wanted = hub.wanted_file(found, file)
    assert wanted.piece == PIECE < 50 * 10**9
    fetcher = Fetcher(
        Addresses(parse_networks(["127.0.0.0/8"])),
        Patient(),
        patience=Patience(),
        limits=Limits(),
        secrets={},
    )
    with fetcher:
        fetcher.fetch(dataclasses.replace(wanted, piece=40_000), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == WEIGHTS
    ranges = [each.range for each in server.asked("GET /lfs/")]
    assert ranges == ["bytes=0-39999", "bytes=40000-79999", "bytes=80000-"]
