"""Facets, searches and watches of artifacts on a whole server."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import grpc
import pysqlite3.dbapi2 as sqlite
import pytest

from helpers.servers import Server, running_server
from helpers.transfers import Pusher, refused
from ingot.v1 import catalog_pb2 as pb

MODEL, DATASET = pb.ARTIFACT_KIND_MODEL, pb.ARTIFACT_KIND_DATASET


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path) as running:
        yield running


def create(
    server: Server,
    artifact_id: str,
    kind: pb.ArtifactKind.ValueType = MODEL,
    user: str = "sara",
    **fields: object,
) -> pb.Artifact:
    request = pb.CreateArtifactRequest(
        parent=f"namespaces/{user}",
        kind=kind,
        artifact_id=artifact_id,
        artifact=pb.Artifact(**fields),  # type: ignore[arg-type]  # by name
    )
    return server.member(user).catalog.CreateArtifact(request).artifact


def found(server: Server, text: str, user: str = "sara", order: str = "") -> list[str]:
    request = pb.ListArtifactsRequest(parent="namespaces/-", filter=text, order_by=order)
    reply = server.member(user).catalog.ListArtifacts(request)
    return [each.name.rpartition("/")[2] for each in reply.artifacts]


def facets(server: Server, user: str = "sara", **wanted: object) -> tuple[int, dict[str, dict[str, int]]]:
    request = pb.GetFacetsRequest(**{"parent": "namespaces/-", **wanted})  # type: ignore[arg-type]  # by name
    reply = server.member(user).catalog.GetFacets(request)
    values = {each.field: {value.value: value.count for value in each.values} for each in reply.facets}
    return reply.total_count, values


# --- searching ------------------------------------------------------------------------------------------


@pytest.mark.contract("S0-10", "S0-104")
def test_persian_is_found_however_it_is_written(server: Server) -> None:
    create(server, "books", DATASET, card="# مجموعهٔ كتاب‌هاي فارسي\nنسخهٔ ۲")
    create(server, "poems", DATASET, description="شِعرهایِ کهن", language="fa")
    create(server, "numbers", DATASET, display_name="أرقام ٣٤")
    for text, expected in {
        "کتاب‌های": ["books"],  # Persian letters find Arabic ones, and a non-joiner
        "كتابهاي": ["books"],  # written as one
        "کتاب های فارسی": ["books"],  # written as two
        "شعرهای": ["poems"],  # vowel points do not count
        "2": ["books"],  # digits are digits
        "۳۴": ["numbers"],
        "مجموعه": ["books"],
        "NOT کتاب‌ها language:fa": ["poems"],
    }.items():
        assert found(server, text) == expected, text


def test_cards_are_searched_and_changes_are_found(server: Server) -> None:
    made = create(server, "tiny", card="A **distilled** model")
    assert found(server, "distilled") == ["tiny"]
    changed = pb.UpdateArtifactRequest(artifact=pb.Artifact(name=made.name, card="quantised"))
    server.member("sara").catalog.UpdateArtifact(changed)
    assert (found(server, "distilled"), found(server, "quantised")) == ([], ["tiny"])


def test_filters_compare_join_and_exclude(server: Server) -> None:
    for size, name in ((10, "small"), (5000, "large")):
        pusher = Pusher(server.member("sara").transfer, ())
        pusher.push({"model.bin": b"x" * size}, f"namespaces/sara/models/{name}")
    create(server, "empty", framework="pytorch", tags=["chat"])
    create(server, "data", DATASET, tags=["chat"])
    for text, expected in {
        "size_bytes > 1kB": ["large"],
        "size_bytes > 0 size_bytes <= 10": ["small"],
        "version_count = 1": ["large", "small"],
        "version_count = 0 -framework:pytorch": ["data"],
        "tag:chat OR size_bytes > 1000": ["data", "empty", "large"],
        "NOT (tag:chat OR small)": ["large"],
        "create_time > 2020-01-01 tag != chat": ["large", "small"],
        "update_time < 2020-01-01": [],
    }.items():
        assert found(server, text) == expected, text
    assert found(server, "", order="size_bytes desc")[:2] == ["large", "small"]
    assert found(server, "tag != chat", order="size_bytes") == ["small", "large"]


def test_a_server_indexes_again_what_older_code_has_written(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        create(server, "poems", DATASET, card="شعر", tags=["fa"])
        path = server.app.database.path
    with contextlib.closing(sqlite.connect(path)) as database, database:  # as after the migration
        for table in ("value", "block", "marks", "count", "total", "words"):
            database.execute(f"DELETE FROM artifact_{table}")
        database.execute("UPDATE artifact SET indexed = 0")
    with running_server(tmp_path) as server:
        request = pb.ListArtifactsRequest(parent="namespaces/-", filter="شعر tag:fa")
        (again,) = server.admin.catalog.ListArtifacts(request).artifacts
        assert again.name.endswith("/poems")
        counted = pb.GetCatalogStatsRequest(kind=DATASET)
        assert server.admin.catalog.GetCatalogStats(counted).total_count == 1


# --- facets ---------------------------------------------------------------------------------------------


@pytest.mark.contract("S0-21", "S0-43")
def test_statistics_follow_every_change(server: Server) -> None:
    def stats(kind: pb.ArtifactKind.ValueType, user: str = "sara") -> tuple[int, int, int, dict[str, int]]:
        request = pb.GetCatalogStatsRequest(kind=kind)
        found = server.member(user).catalog.GetCatalogStats(request)
        tags = {each.value: each.count for each in found.tags}
        return found.total_count, found.version_count, found.total_size_bytes, tags

    catalog = server.member("sara").catalog
    made = create(server, "a", tags=["chat"], visibility=pb.VISIBILITY_INTERNAL)
    create(server, "b", tags=["chat", "fa"])
    create(server, "c", DATASET, tags=["fa"])
    Pusher(server.member("sara").transfer, ()).push({"model.bin": b"x" * 70}, made.name)
    assert stats(MODEL) == (2, 1, 70, {"chat": 2, "fa": 1})
    assert stats(DATASET) == (1, 0, 0, {"fa": 1})
    assert stats(MODEL, "omid") == (1, 1, 70, {"chat": 1})
    hidden = pb.Artifact(name=made.name, visibility=pb.VISIBILITY_PRIVATE, tags=["new"])
    catalog.UpdateArtifact(pb.UpdateArtifactRequest(artifact=hidden))
    assert stats(MODEL) == (2, 1, 70, {"chat": 1, "fa": 1, "new": 1})
    assert stats(MODEL, "omid") == (0, 0, 0, {})
    catalog.DeleteArtifact(pb.DeleteArtifactRequest(name=made.name, force=True))
    assert stats(MODEL) == (1, 0, 0, {"chat": 1, "fa": 1})
    catalog.RestoreArtifact(pb.RestoreArtifactRequest(name=made.name))
    assert stats(MODEL) == (2, 1, 70, {"chat": 1, "fa": 1, "new": 1})


def test_facets_count_what_the_caller_sees(server: Server) -> None:
    create(server, "a", tags=["chat", "fa"], framework="pytorch")
    create(server, "b", tags=["chat"], framework="onnx", visibility=pb.VISIBILITY_INTERNAL)
    create(server, "c", DATASET, tags=["fa"])
    create(server, "d", tags=["chat"], user="omid")
    total, values = facets(server)
    assert (total, values["tag"]) == (3, {"chat": 2, "fa": 2})
    assert values["framework"] == {"onnx": 1, "pytorch": 1}
    assert facets(server, "omid")[0] == 2
    assert facets(server, "omid", parent="namespaces/sara")[1]["tag"] == {"chat": 1}
    total, values = facets(server, kind=MODEL, filter="tag:chat", fields=["framework", "tag"], max_values=1)
    assert (total, values) == (2, {"framework": {"onnx": 1}, "tag": {"chat": 2}})


def test_facets_tell_when_there_are_more(server: Server) -> None:
    create(server, "a", tags=["chat", "fa", "small"])
    for text in ("", "tag:chat"):
        request = pb.GetFacetsRequest(
            parent="namespaces/-", fields=["tag", "format"], max_values=2, filter=text
        )
        tags, formats = server.member("sara").catalog.GetFacets(request).facets
        assert (len(tags.values), tags.more, list(formats.values), formats.more) == (2, True, [], False)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (pb.GetFacetsRequest(parent="namespaces/-", fields=["colour"]), "FIELD_INVALID"),
        (pb.GetFacetsRequest(parent="namespaces/-", max_values=-1), "FIELD_INVALID"),
        (pb.GetFacetsRequest(parent="namespaces/-", filter="tag:"), "FILTER_INVALID"),
        (pb.GetFacetsRequest(parent="sara"), "NAME_INVALID"),
    ],
)
def test_facets_refuse(server: Server, request_: pb.GetFacetsRequest, reason: str) -> None:
    with refused(grpc.StatusCode.INVALID_ARGUMENT, reason):
        server.member("sara").catalog.GetFacets(request_)


# --- watching -------------------------------------------------------------------------------------------


class Watching:
    """A watch that is read message by message; heartbeats are passed over."""

    def __init__(self, server: Server, user: str = "sara", **wanted: object) -> None:
        request = pb.WatchArtifactsRequest(**{"parent": "namespaces/-", **wanted})  # type: ignore[arg-type]
        self._call = server.member(user).catalog.WatchArtifacts(request, timeout=100)
        self.token = ""

    def next(self) -> str:
        """Return the id of the next artifact, or what the next message is."""
        for message in self._call:
            self.token = message.resume_token
            kind = message.WhichOneof("message")
            if kind == "artifact":
                return str(message.artifact.name.rpartition("/")[2])
            if kind == "gone":
                return f"gone {message.gone}"
            if kind == "synced":
                return "synced"
        raise AssertionError("the watch ended")

    def close(self) -> None:
        self._call.cancel()


def test_a_watch_tells_the_latest_state_of_each_match(server: Server) -> None:
    chat = create(server, "chat", tags=["a"])
    create(server, "other")
    create(server, "omids", user="omid", tags=["a"])
    watch = Watching(server, filter="tag:a")
    assert [watch.next(), watch.next()] == ["chat", "synced"]
    create(server, "new", tags=["a"])
    assert watch.next() == "new"
    catalog = server.member("sara").catalog
    catalog.UpdateArtifact(pb.UpdateArtifactRequest(artifact=pb.Artifact(name=chat.name, tags=["b"])))
    assert watch.next() == f"gone {chat.uid}"
    watch.close()
    create(server, "late", tags=["a"])
    again = Watching(server, filter="tag:a", resume_token=watch.token)
    assert [again.next(), again.next()] == ["late", "synced"]
    again.close()


def test_who_sees_an_artifact_no_more_is_told(server: Server) -> None:
    shown = create(server, "shown", visibility=pb.VISIBILITY_INTERNAL)
    create(server, "hidden")
    watch = Watching(server, "omid", changes_only=True)
    assert watch.next() == "synced"
    hide = pb.Artifact(name=shown.name, visibility=pb.VISIBILITY_PRIVATE)
    server.member("sara").catalog.UpdateArtifact(pb.UpdateArtifactRequest(artifact=hide))
    assert watch.next() == f"gone {shown.uid}"
    server.member("sara").catalog.DeleteArtifact(pb.DeleteArtifactRequest(name=shown.name))
    create(server, "other", visibility=pb.VISIBILITY_INTERNAL)
    assert watch.next() == "other", "what goes on with what is hidden is not told"
    watch.close()


def test_a_token_of_another_watch_is_refused(server: Server) -> None:
    watch = Watching(server)
    watch.next()
    watch.close()
    request = pb.WatchArtifactsRequest(parent="namespaces/-", kind=DATASET, resume_token=watch.token)
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID"):
        list(server.member("sara").catalog.WatchArtifacts(request))
