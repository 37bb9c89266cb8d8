"""Page tokens of somebody or something else, and filters of all kinds: what lists answer, what they refuse.

Filters are made together with what they mean, which is then asked of each artifact by itself.
"""

import base64
import dataclasses
import operator
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import grpc
import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.permission_requests import REQUESTS, At
from helpers.permission_world import UPLOADED, World, world
from helpers.refusals import reason_of
from helpers.servers import Stubs, running_server
from helpers.transfers import Pusher, refused
from ingot.server.rpc import methods
from ingot.v1 import auth_pb2, workers_pb2
from ingot.v1 import catalog_pb2 as pb

RPCS = {method.name: method for service in methods.services() for method in service.methods}
TOKENS = ("page_token", "resume_token")
LISTS = sorted(
    name
    for name, rpc in RPCS.items()
    if {"page_token", "next_page_token"} <= {*rpc.input_type.fields_by_name, *rpc.output_type.fields_by_name}
    or "resume_token" in {*rpc.input_type.fields_by_name} & {*rpc.output_type.fields_by_name}
)

# --- page tokens ----------------------------------------------------------------------------------------

# What else a list may be asked for: its token is of no use there.
OTHERWISE: dict[str, list[dict[str, object]]] = {
    "CompareVersions": [{"include_same": False}],
    "ListAliasMoves": [{"parent": "namespaces/team/datasets/private/aliases/latest"}],
    "ListAliases": [{"parent": "namespaces/team/models/private"}],
    "ListApprovals": [{"inbox": True}, {"state": pb.APPROVAL_STATE_APPROVED}, {"parent": "namespaces/team"}],
    "ListArtifacts": [
        {"filter": "size_bytes >= 0"},
        {"order_by": "name"},
        {"order_by": "create_time"},
        {"kind": pb.ARTIFACT_KIND_MODEL},
        {"parent": "namespaces/team"},
        {"show_deleted": True},
    ],
    "ListAuditEntries": [{"action": "update"}, {"principal": "users/olga"}, {"target": "namespaces/team"}],
    "ListActivity": [{"action": "get"}, {"failed_only": True}, {"target": "namespaces/team"}],
    "ListFiles": [{"tree": "namespaces/team/models/private/versions/1"}],
    "ListMembers": [{"parent": "namespaces/olga"}],
    "ListOperations": [{"kind": "validate"}, {"queue": "validate"}, {"parent": "namespaces/team"}],
    "ListTokens": [{"parent": "users/olga"}],
    "ListTrainingJobs": [{"parent": "namespaces/team"}, {"state": 1}],
    "ListUploads": [{"parent": "namespaces/team"}],
    "ListVersions": [{"parent": "namespaces/team/models/private"}, {"show_deleted": True}],
    "WatchArtifacts": [
        {"filter": "tag:chat"},
        {"kind": pb.ARTIFACT_KIND_MODEL},
        {"parent": "namespaces/team"},
    ],
    "WatchOperations": [{"kind": "validate"}, {"target": "namespaces/team"}, {"active_only": True}],
}


@dataclasses.dataclass(frozen=True, slots=True)
class Lists:
    """A world in which every list has a second page, for the administrator."""

    world: World
    requests: dict[str, Message]
    tokens: dict[str, str]


@pytest.fixture(name="lists", scope="module")
def _lists(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lists]:
    with world(tmp_path_factory.mktemp("lists")) as made:
        found = Lists(made, fill(made), {})
        for rpc, request in found.requests.items():
            found.tokens[rpc] = following(made.stubs["admin"], rpc, request)
        yield found


def fill(made: World) -> dict[str, Message]:
    """Make two of everything; return a request for the first page of each list."""
    admin, place = made.stubs["admin"], made.place("private", "admin")
    for host in ("example.com", "huggingface.co"):
        admin.auth.SetCredential(auth_pb2.SetCredentialRequest(host=host, secret="secret"))
    admin.auth.CreateToken(auth_pb2.CreateTokenRequest())
    made.stubs["worker"].workers.RegisterWorker(workers_pb2.RegisterWorkerRequest(display_name="two"))
    files = {f"{name}.txt": name.encode() for name in "abc"}
    version = Pusher(made.keeper(place).transfer, ()).push(files, place.dataset)
    alias = pb.SetAliasRequest(name=f"{place.dataset}/aliases/prod", version=version)
    admin.catalog.SetAlias(alias)
    for _ in range(2):
        made.new_operation(place)
        made.new_job(place)
        made.new_open_upload(place)
        made.new_approval(place)
        checkpoint(made)
    told: dict[str, dict[str, object]] = {
        "CompareVersions": {"base": place.version, "other": version, "include_same": True},
        "ListFiles": {"tree": version},
        "ListCheckpoints": {"parent": made.job},
    }
    requests: dict[str, Message] = {}
    for rpc in LISTS:
        at = At(made, "admin", place, made.job)
        request = REQUESTS[rpc].ask(at)
        assert isinstance(request, Message)
        small = {"page_size": 1} if "page_size" in fields_of(request) else {}
        requests[rpc] = again(request, **small, **told.get(rpc, {}))
    return requests


def checkpoint(made: World) -> None:
    """Let the worker save one more checkpoint of its job."""
    name = made.new_checkpoint_upload(made.place("private", "admin"))
    pusher = Pusher(made.stubs["assignd"].transfer, ())
    pusher.put_missing(name, UPLOADED)
    pusher.manifest(name, UPLOADED)
    pusher.commit(name, UPLOADED)


def again(request: Message, **fields: object) -> Message:
    """Return a copy of a request with other fields."""
    copy = type(request)()
    copy.CopyFrom(request)
    for name, value in fields.items():
        setattr(copy, name, value)
    return copy


def answer(stubs: Stubs, rpc: str, request: Message, token: str = "") -> Message:
    """Return a page, or the first message of a watch."""
    method = RPCS[rpc]
    word = method.containing_service.name.removesuffix("Service").lower()
    field = next(name for name in TOKENS if name in method.input_type.fields_by_name)
    reply = getattr(getattr(stubs, word), rpc)(again(request, **{field: token}), timeout=100)
    if not method.server_streaming:
        assert isinstance(reply, Message)
        return reply
    first = next(reply)
    reply.cancel()
    assert isinstance(first, Message)
    return first


def following(stubs: Stubs, rpc: str, request: Message, token: str = "") -> str:
    """Return the token that a page ends with."""
    reply = answer(stubs, rpc, request, token)
    field = "next_page_token" if "next_page_token" in reply.DESCRIPTOR.fields_by_name else "resume_token"
    return str(getattr(reply, field))


def told(lists: Lists, caller: str, rpc: str, token: str, **fields: object) -> str:
    """Return the reason for which a token is refused, "" when it is not."""
    try:
        answer(lists.world.stubs[caller], rpc, again(lists.requests[rpc], **fields), token)
    except grpc.RpcError as error:
        return reason_of(error) if error.code() is grpc.StatusCode.INVALID_ARGUMENT else error.code().name
    return ""


def mangled(token: str) -> Iterator[str]:
    """Yield what has become of a token on its way."""
    yield from (token[:-1], token[:1], token[1:], token[: len(token) // 2], f"{token}=", f"{token}\n")
    yield from (f"{token}A", f"{token}{token}", f" {token}", f"!{token}", f"{token}\0", token.swapcase())
    yield from ("\u0660", "-1", "1", "null", "A" * 1_000_000, "\U0001f4a9" * 1000, "' OR 1=1 --")
    for at in (0, 5, 16, len(token) // 2, len(token) - 2, len(token) - 1):
        yield f"{token[:at]}{'B' if token[at] == 'A' else 'A'}{token[at + 1 :]}"
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    for bit in (0, 8 * 11, 8 * 12, 8 * (len(raw) - 1)):
        flipped = bytes(byte ^ (1 << bit % 8 if at == bit // 8 else 0) for at, byte in enumerate(raw))
        yield base64.urlsafe_b64encode(flipped).rstrip(b"=").decode()


def test_every_list_has_a_second_page(lists: Lists) -> None:
    assert sorted(lists.requests) == LISTS
    assert len(LISTS) >= 21
    assert not [rpc for rpc, token in lists.tokens.items() if not token]
    assert {*OTHERWISE} <= {*LISTS}


def test_damaged_tokens_are_refused(lists: Lists) -> None:
    wrong = [
        f"{rpc} {token[:80]!r}: {reason or 'OK'}"
        for rpc, good in lists.tokens.items()
        for token in mangled(good)
        if (reason := told(lists, "admin", rpc, token)) != "PAGE_TOKEN_INVALID"
    ]
    assert not wrong, "\n".join(wrong)


def test_tokens_of_another_list_are_refused(lists: Lists) -> None:
    wrong = [
        f"{other} of {rpc}: {reason or 'OK'}"
        for rpc in lists.tokens
        for other, token in lists.tokens.items()
        if other != rpc and (reason := told(lists, "admin", rpc, token)) != "PAGE_TOKEN_INVALID"
    ]
    assert not wrong, "\n".join(wrong)


def test_tokens_of_another_question_are_refused(lists: Lists) -> None:
    wrong = [
        f"{rpc} {fields}: {reason or 'OK'}"
        for rpc, several in OTHERWISE.items()
        for fields in several
        if (reason := told(lists, "admin", rpc, lists.tokens[rpc], **fields)) != "PAGE_TOKEN_INVALID"
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("caller", ["none", "elsewhr", "reader", "owner"])
def test_tokens_of_another_caller_show_nothing_more(lists: Lists, caller: str) -> None:
    """The administrator's tokens, and the owner's: at most rows that the caller lists anyway."""
    stubs = lists.world.stubs
    for rpc, request in lists.requests.items():
        for token in {lists.tokens[rpc], of_owner(stubs["owner"], rpc, request)}:
            reason = told(lists, caller, rpc, token)
            assert reason in ("", *REFUSED), rpc
            if not reason:
                whole = again(request, page_size=1000) if "page_size" in fields_of(request) else request
                seen = rows(answer(stubs[caller], rpc, request, token))
                assert seen <= rows(answer(stubs[caller], rpc, whole)), rpc


REFUSED = ("PAGE_TOKEN_INVALID", "NOT_FOUND", "PERMISSION_DENIED", "UNAUTHENTICATED")


def fields_of(request: Message) -> set[str]:
    return {*request.DESCRIPTOR.fields_by_name}


def of_owner(stubs: Stubs, rpc: str, request: Message) -> str:
    try:
        return following(stubs, rpc, request)
    except grpc.RpcError:  # it is for administrators
        return ""


def rows(reply: Message) -> set[str]:
    """Return the rows of a page as text."""
    for field, value in reply.ListFields():
        if field.is_repeated:
            for each in value:
                if isinstance(each, pb.Approval):
                    each.evidence.ClearField("time")  # is gathered anew whenever somebody looks
            return {str(each) for each in value}
    return set()


# --- filters --------------------------------------------------------------------------------------------

Holds = Callable[[pb.Artifact], bool]
WORDS = ("chat", "chatter", "small", "کتاب", "7", "flan")
TAGS = ("fa", "two words", "café", 'a "b" \\', "50%", "x_y", "'; --")
FRAMEWORKS = ("pytorch", "onnx")
SIZES = (0, 5, 1000, 3000)


@pytest.fixture(name="catalog", scope="module")
def _catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stubs, list[pb.Artifact]]]:
    with running_server(tmp_path_factory.mktemp("filters"), calls_per_second=0.0) as server:
        stubs = server.member()
        for number in range(24):
            kind = ("models", "datasets")[number % 2]
            artifact = pb.Artifact(
                description=" ".join(word for at, word in enumerate(WORDS) if number >> at % 4 & 1 + at // 4),
                tags=[tag for at, tag in enumerate(TAGS) if (number + at) % 3 == 0],
                framework=("", *FRAMEWORKS)[number % 3],
                license=("", "MIT", "Apache-2.0")[number % 5 % 3],
            )
            name = f"namespaces/sara/{kind}/n{number}"
            request = pb.CreateArtifactRequest(
                parent="namespaces/sara",
                kind=pb.ARTIFACT_KIND_DATASET if number % 2 else pb.ARTIFACT_KIND_MODEL,
                artifact_id=f"n{number}",
                artifact=artifact,
            )
            stubs.catalog.CreateArtifact(request)
            if size := SIZES[number % 4]:
                Pusher(stubs.transfer, ()).push({"a.bin": b"x" * size}, name)
        everything = pb.ListArtifactsRequest(parent="namespaces/-", page_size=1000)
        yield stubs, list(stubs.catalog.ListArtifacts(everything).artifacts)


def words_of(artifact: pb.Artifact) -> list[str]:
    said = " ".join([artifact.name.rpartition("/")[2], artifact.description, *artifact.tags])
    return re.findall(r"\w+", said.replace("_", " ").casefold().replace("é", "e"))


def quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _word(word: str, upper: bool) -> tuple[str, Holds]:
    return word.upper() if upper else word, lambda each: word in words_of(each)


def _beginning(word: str) -> tuple[str, Holds]:
    return f"{word}*", lambda each: any(found.startswith(word) for found in words_of(each))


def _tag(tag: str, sign: str) -> tuple[str, Holds]:
    return f"tag{sign}{quoted(tag)}", lambda each: (tag.casefold() in each.tags) is not ("!" in sign)


def _value(field: str, value: str, sign: str) -> tuple[str, Holds]:
    def holds(each: pb.Artifact) -> bool:
        return (str(getattr(each, field)).casefold() == value.casefold()) is not ("!" in sign)

    return f"{field} {sign} {value}", holds


COMPARED: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    ":": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


def _number(field: str, sign: str, number: tuple[str, float]) -> tuple[str, Holds]:
    text, value = number
    return f"{field}{sign}{text}", lambda each: COMPARED[sign](getattr(each, field), value)


def _time(sign: str, day: datetime) -> tuple[str, Holds]:
    def holds(each: pb.Artifact) -> bool:
        return COMPARED[sign](each.create_time.ToNanoseconds(), day.timestamp() * 1e9)

    return f"create_time {sign} {day:%Y-%m-%d}", holds


def _not(part: tuple[str, Holds], minus: bool) -> tuple[str, Holds]:
    return f"-({part[0]})" if minus else f"NOT ({part[0]})", lambda each: not part[1](each)


def _all(parts: list[tuple[str, Holds]], join: str) -> tuple[str, Holds]:
    return join.join(f"({text})" for text, _ in parts), lambda each: all(holds(each) for _, holds in parts)


def _any(parts: list[tuple[str, Holds]]) -> tuple[str, Holds]:
    return " OR ".join(f"({text})" for text, _ in parts), lambda each: any(holds(each) for _, holds in parts)


EQUAL = st.sampled_from(["=", ":", "!="])
SIGNS = st.sampled_from(sorted(COMPARED))
LEAVES: st.SearchStrategy[tuple[str, Holds]] = st.one_of(
    st.builds(_word, st.sampled_from([*WORDS, "two", "cafe", "none"]), st.booleans()),
    st.builds(_beginning, st.sampled_from(["ch", "chatt", "کت", "zz", "n1"])),
    st.builds(_tag, st.sampled_from([*TAGS, "CAFÉ", "none", "%", "_"]), EQUAL),
    st.builds(_value, st.just("framework"), st.sampled_from([*FRAMEWORKS, "PyTorch"]), EQUAL),
    st.builds(_value, st.just("license"), st.sampled_from(["mit", "Apache-2.0"]), EQUAL),
    st.builds(
        _number,
        st.just("size_bytes"),
        SIGNS,
        st.sampled_from(
            [("0", 0), ("5B", 5), ("1kB", 1000), ("1KiB", 1024), ("0.003MB", 3000), ("9PB", 9e15)]
        ),
    ),
    st.builds(_number, st.just("version_count"), SIGNS, st.sampled_from([("0", 0), ("1", 1), ("7", 7)])),
    st.builds(
        _time,
        st.sampled_from(["<", "<=", ">", ">="]),
        st.sampled_from([datetime(1970, 1, 1, tzinfo=UTC), datetime(2999, 12, 31, tzinfo=UTC)]),
    ),
)
FILTERS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(_not, inner, st.booleans()),
        st.builds(_all, st.lists(inner, min_size=1, max_size=3), st.sampled_from([" ", " AND "])),
        st.builds(_any, st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=5,
)


@given(FILTERS)
@settings(max_examples=200)
def test_a_filter_finds_what_it_says(
    catalog: tuple[Stubs, list[pb.Artifact]], made: tuple[str, Holds]
) -> None:
    (stubs, everything), (text, holds) = catalog, made
    request = pb.ListArtifactsRequest(parent="namespaces/-", page_size=1000, filter=text)
    expected = [each.name for each in everything if holds(each)]
    assert [each.name for each in stubs.catalog.ListArtifacts(request).artifacts] == expected
    counted = stubs.catalog.GetFacets(pb.GetFacetsRequest(parent="namespaces/-", filter=text))
    assert counted.total_count == len(expected)


SIGNS_OF_FILTERS = (
    *(
        "tag",
        "size_bytes",
        "create_time",
        "AND",
        "OR",
        "NOT",
        "NEAR",
        "MATCH",
        ":",
        "=",
        "!=",
        "<",
        ">=",
        "(",
    ),
    *(
        ")",
        '"',
        "'",
        "\\",
        "*",
        "-",
        "--",
        ";",
        "%",
        "_",
        "^",
        "+",
        "1",
        "1e400",
        "9" * 30,
        "NaN",
        "0x1f",
        "\0",
    ),
    *("٣", "\u202e", "\u200c", "ي", "e\u0301", "ß", "ﬃ", "\U0001f4a9", "\n", " ", "{", "}", "artifact_words"),
)
GARBAGE = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=80),
    st.lists(st.sampled_from(SIGNS_OF_FILTERS), max_size=25).map("".join),
    st.lists(st.sampled_from(SIGNS_OF_FILTERS), max_size=25).map(" ".join),
)


@given(GARBAGE)
@settings(max_examples=300)
def test_garbage_is_answered_or_refused_in_words(catalog: tuple[Stubs, list[pb.Artifact]], text: str) -> None:
    request = pb.ListArtifactsRequest(parent="namespaces/-", filter=text)
    reason = ""
    try:
        catalog[0].catalog.ListArtifacts(request)
    except grpc.RpcError as error:
        reason = f"{error.code().name} {reason_of(error)}"
    assert reason in ("", "INVALID_ARGUMENT FILTER_INVALID")


@pytest.mark.parametrize(
    "text", ["(" * 100_000, "a " * 1_000_000, "tag:" * 500_000, "NOT " * 500, "x*" * 999]
)
def test_huge_filters_are_refused(catalog: tuple[Stubs, list[pb.Artifact]], text: str) -> None:
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FILTER_INVALID"):
        catalog[0].catalog.ListArtifacts(pb.ListArtifactsRequest(parent="namespaces/-", filter=text))


@pytest.mark.parametrize("tag", ["café", "cafe\u0301", "CAFE\u0301"])
def test_a_value_is_found_in_each_of_its_forms(catalog: tuple[Stubs, list[pb.Artifact]], tag: str) -> None:
    request = pb.ListArtifactsRequest(parent="namespaces/-", filter=f'tag:"{tag}"')
    assert len(catalog[0].catalog.ListArtifacts(request).artifacts) == 8
