"""Fetching from servers that are good, broken and hostile: each fault and its outcome."""

import hashlib
import json
import random
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from blake3 import blake3

from helpers.fetching import Attentive, Names, Stop, fetcher
from helpers.url_server import (
    Behaviour,
    Cut,
    Dripping,
    Endless,
    File,
    Guarded,
    Raw,
    Stalled,
    Status,
    Unsized,
    UrlServer,
    WrongRange,
    in_turn,
    redirect,
    silent,
    url_server,
)
from ingot.server.core import failpoints
from ingot.server.core.disk_room import DiskSpace
from ingot.server.core.errors import (
    Conflict,
    DataLoss,
    Denied,
    Exhausted,
    IngotError,
    Invalid,
    NotFound,
    Precondition,
    Reason,
    Unavailable,
)
from ingot.server.sources import part_files
from ingot.server.sources.budgets import Budget, Limits, WantedFile
from ingot.server.sources.connections import Patience

CONTENT = random.Random(1).randbytes(300_000)
OTHER = random.Random(2).randbytes(300_000)
HALF = 150_000
SHA = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
DATE = "Wed, 01 Jul 2026 00:00:00 GMT"


@pytest.fixture
def server() -> Iterator[UrlServer]:
    with url_server() as running:
        yield running


@dataclass(frozen=True)
class Good:
    """A fault that is overcome."""

    behaviour: Behaviour
    ranges: tuple[str, ...]  # asked for, in order; "" is all of it
    checksum: str = ""
    size: int | None = None
    stall: float = 10.0  # seconds


@dataclass(frozen=True)
class Bad:
    """A fault that ends the fetching."""

    behaviour: Behaviour
    error: type[IngotError]
    reason: Reason
    message: str
    cause: str = ""
    checksum: str = ""
    size: int | None = None
    limits: Limits = field(default_factory=lambda: Limits(headroom=0))


def cut(etag: str = '"1"', last_modified: str = "") -> Cut:
    return Cut(CONTENT, etag, last_modified, after=HALF)


REST = f"bytes={HALF}-"
OVERCOME = {
    "no fault": Good(File(CONTENT), ("",)),
    "empty file": Good(File(b""), ("",), size=0),
    "no length, ends with the connection": Good(Unsized(CONTENT), ("",)),
    "cut, resumed by its ETag": Good(in_turn(cut(), File(CONTENT, '"1"')), ("", REST)),
    "cut, resumed by its date": Good(
        in_turn(cut("", last_modified=DATE), File(CONTENT, last_modified=DATE)), ("", REST)
    ),
    "cut, without validator, resumed by the checksum": Good(
        in_turn(cut(""), File(CONTENT)), ("", REST), checksum=SHA
    ),
    "cut, nothing to know the version by: again": Good(in_turn(cut(""), File(CONTENT)), ("", "")),
    "cut, only a weak ETag: again": Good(in_turn(cut('W/"1"'), File(CONTENT, 'W/"1"')), ("", "")),
    "cut, ranges ignored: again": Good(in_turn(cut(), File(CONTENT, '"1"', ranges=False)), ("", REST)),
    "cut, another range: again": Good(in_turn(cut(), WrongRange(CONTENT), File(CONTENT)), ("", REST, "")),
    "cut, changed in the middle, ranges kept: again": Good(
        in_turn(Cut(OTHER, '"1"', after=HALF), File(CONTENT, '"2"')), ("", REST)
    ),
    "cut, If-Range ignored, changed: again": Good(
        in_turn(
            Cut(OTHER, '"1"', after=HALF),
            Raw(
                b"HTTP/1.1 206 Part\r\nContent-Range: bytes 150000-299999/300000\r\n"
                b'Content-Length: 150000\r\nETag: "2"\r\n\r\n'
            ),
            File(CONTENT, '"2"'),
        ),
        ("", REST, ""),
    ),
    "cut, bytes of another version, caught by the checksum: again": Good(
        in_turn(Cut(OTHER, after=HALF), File(CONTENT)), ("", REST, ""), checksum=SHA
    ),
    "cut, shrunk below the part (416): again": Good(
        in_turn(cut(), Status(416, {"Content-Range": "bytes */9"}), File(CONTENT)), ("", REST, "")
    ),
    "stalled, resumed": Good(
        in_turn(Stalled(CONTENT, '"1"', after=HALF), File(CONTENT, '"1"')), ("", REST), stall=1.0
    ),
    "silent at first": Good(in_turn(silent, File(CONTENT)), ("", ""), stall=1.0),
    "dripping, resumed": Good(in_turn(Dripping(CONTENT), File(CONTENT)), ("", ""), stall=1.0),
    "an answer that is none before the good one": Good(
        Raw(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n"
            b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + CONTENT
        ),
        ("",),
    ),
    "cut, an ETag that is no ASCII": Good(in_turn(cut('"\xe9"'), File(CONTENT, '"\xe9"')), ("", REST)),
    "no HTTP at first": Good(in_turn(Raw(b"SSH-2.0-OpenSSH\r\n"), File(CONTENT)), ("", "")),
    "overloaded at first": Good(in_turn(Status(503), Status(429), File(CONTENT)), ("", "", "")),
    "told shorter than it is: the length told counts": Good(
        Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + CONTENT + b"more"), ("",), checksum=SHA
    ),
    ".gz called gzip-encoded": Good(File(CONTENT, headers={"Content-Encoding": "x-gzip"}), ("",)),
}


@pytest.mark.contract("S4-26")
@pytest.mark.parametrize("case", OVERCOME.values(), ids=OVERCOME.keys())
def test_faults_that_are_overcome(case: Good, server: UrlServer, tmp_path: Path) -> None:
    url = server.serve("/file.gz", case.behaviour)
    target = tmp_path / "file"
    told: list[int] = []
    expected = b"" if case.size == 0 else CONTENT
    with fetcher(patience=Patience(case.stall, 1000)) as made:
        size = made.fetch(WantedFile((url,), case.checksum, case.size), target, told.append)
    assert target.read_bytes() == expected
    assert (size, told[-1]) == (len(expected), len(expected))
    asked = tuple(each.headers.get("range", "") for each in server.asked)
    if case.stall < 10:  # a machine that pauses makes a good server silent, too
        asked = asked[: len(case.ranges)]
    assert asked == case.ranges
    assert {each.headers["accept-encoding"] for each in server.asked} == {"identity"}
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


ENDING = {
    "absent": Bad(Status(404), NotFound, Reason.SOURCE_NOT_FOUND, "does not exist", "http_404"),
    "gone": Bad(Status(410), NotFound, Reason.SOURCE_NOT_FOUND, "does not exist", "http_410"),
    "token needed": Bad(Status(401), Denied, Reason.SOURCE_DENIED, "may not be read", "http_401"),
    "forbidden": Bad(Status(403), Denied, Reason.SOURCE_DENIED, "may not be read", "http_403"),
    "teapot": Bad(Status(418), Precondition, Reason.SOURCE_UNREACHABLE, "which is no file", "http_418"),
    "always overloaded": Bad(
        Status(503), Unavailable, Reason.SOURCE_UNREACHABLE, "cannot be read now", "http_503"
    ),
    "always silent": Bad(silent, Unavailable, Reason.SOURCE_UNREACHABLE, "went silent", "stalled"),
    "100 Continue without end": Bad(
        Raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000),
        Unavailable,
        Reason.SOURCE_UNREACHABLE,
        "no answer yet",
        "cut",
    ),
    "a size of 5000 digits": Bad(
        Raw(b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nx"),
        Unavailable,
        Reason.SOURCE_UNREACHABLE,
        "does not speak HTTP",
        "cut",
    ),
    "a range of 5000 digits": Bad(
        Raw(
            b"HTTP/1.1 206 Part\r\nContent-Range: bytes 0-1/" + b"9" * 5000 + b"\r\n"
            b"Content-Length: 2\r\n\r\nxx"
        ),
        Unavailable,
        Reason.SOURCE_UNREACHABLE,
        "another part of the file",
    ),
    "a pause that is no date": Bad(
        Status(503, {"Retry-After": "Mon, 99 Foo 99999999999 99:99:99"}),
        Unavailable,
        Reason.SOURCE_UNREACHABLE,
        "cannot be read now",
        "http_503",
    ),
    "always stalled": Bad(
        Stalled(CONTENT, '"1"', after=HALF), Unavailable, Reason.SOURCE_UNREACHABLE, "went silent", "stalled"
    ),
    "always dripping": Bad(Dripping(CONTENT), Unavailable, Reason.SOURCE_UNREACHABLE, "is too slow", "slow"),
    "always cut": Bad(cut(), Unavailable, Reason.SOURCE_UNREACHABLE, "broke off", "cut"),
    "truncated, no length": Bad(
        Unsized(CONTENT, after=HALF),
        Unavailable,
        Reason.SOURCE_UNREACHABLE,
        "ended after",
        "cut",
        size=300_000,
    ),
    "changes each time": Bad(
        in_turn(cut('"1"'), cut('"2"'), cut('"3"')),
        Conflict,
        Reason.SOURCE_CHANGED,
        "changes while",
        "changed",
    ),
    "changes its size": Bad(
        in_turn(cut('"1"'), Cut(CONTENT[:-1], '"2"', after=HALF), Cut(CONTENT[:-2], '"3"', after=HALF)),
        Conflict,
        Reason.SOURCE_CHANGED,
        "changes while",
        "changed",
    ),
    "wrong bytes": Bad(
        File(OTHER), DataLoss, Reason.SOURCE_MISMATCH, "has the sha256 .* expected", "mismatch", checksum=SHA
    ),
    "other size than wanted": Bad(
        File(CONTENT), DataLoss, Reason.SOURCE_MISMATCH, "has 300000 bytes, expected 5", "mismatch", size=5
    ),
    "longer than wanted, no length": Bad(
        Unsized(CONTENT), DataLoss, Reason.SOURCE_MISMATCH, "sends more than the 5", "mismatch", size=5
    ),
    "endless, size wanted": Bad(
        Endless(), DataLoss, Reason.SOURCE_MISMATCH, "sends more than the 300000", "mismatch", size=300_000
    ),
    "endless, file limit": Bad(
        Endless(),
        Precondition,
        Reason.TOO_LARGE,
        "more than 1000000 bytes",
        limits=Limits(file_bytes=1_000_000, headroom=0),
    ),
    "endless, limit in all": Bad(
        Endless(), Precondition, Reason.TOO_LARGE, "in all", limits=Limits(all_bytes=1_000_000, headroom=0)
    ),
    "over the limit as told": Bad(
        File(CONTENT),
        Precondition,
        Reason.TOO_LARGE,
        "more than 1000",
        limits=Limits(file_bytes=1000, headroom=0),
    ),
    "no room on the disk": Bad(
        File(CONTENT),
        Exhausted,
        Reason.DISK_LOW,
        "room for 299999 more bytes, and 300000",
        limits=Limits(headroom=1, disk=lambda _: DiskSpace(1 << 40, 0, 300_000)),
    ),
    "gzip in spite of identity": Bad(
        File(CONTENT, headers={"Content-Encoding": "gzip"}),
        Precondition,
        Reason.SOURCE_UNREACHABLE,
        "gzip-encoded",
        "encoding",
    ),
    "no HTTP": Bad(Raw(b"SSH-2.0-OpenSSH\r\n"), Unavailable, Reason.SOURCE_UNREACHABLE, "speak HTTP", "cut"),
    "endless headers": Bad(
        Raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000),
        Unavailable,
        Reason.SOURCE_UNREACHABLE,
        "speak HTTP|broke",
    ),
    "two lengths": Bad(
        Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
        Unavailable,
        Reason.SOURCE_UNREACHABLE,
        "speak HTTP",
        "cut",
    ),
    "redirect loop": Bad(
        redirect("/file"), Precondition, Reason.SOURCE_UNREACHABLE, "more than 10 redirects", "redirect"
    ),
    "redirect to nowhere": Bad(
        Status(302), Precondition, Reason.SOURCE_UNREACHABLE, "without a place", "redirect"
    ),
    "redirect to a file": Bad(
        redirect("file:///etc/passwd"), Invalid, Reason.FIELD_INVALID, "scheme is 'file'"
    ),
    "redirect to a private address": Bad(
        redirect("http://10.0.0.1/"), Denied, Reason.SOURCE_ADDRESS_REFUSED, "10.0.0.1, which is not public"
    ),
    "redirect to metadata": Bad(
        redirect("http://169.254.169.254/latest/meta-data/"),
        Denied,
        Reason.SOURCE_ADDRESS_REFUSED,
        "where a cloud tells",
    ),
    "redirect to a disguised loopback": Bad(
        redirect("http://2130706433/"), Invalid, Reason.FIELD_INVALID, "no plain IP address"
    ),
    "redirect with credentials": Bad(
        redirect("http://u:p@127.0.0.1/"), Invalid, Reason.FIELD_INVALID, "holds credentials"
    ),
}


@pytest.mark.contract("S0-110", "S2-49", "S4-23", "S4-26")
@pytest.mark.parametrize("case", ENDING.values(), ids=ENDING.keys())
def test_faults_that_end_it(case: Bad, server: UrlServer, tmp_path: Path) -> None:
    url = server.serve("/file", case.behaviour)
    wanted = WantedFile((url,), case.checksum, case.size)
    patience = Patience({"stalled": 0.1, "slow": 0.25}.get(case.cause, 60.0), min_bytes_per_second=1000)
    for _ in range(5):
        with fetcher(limits=case.limits, patience=patience) as made, pytest.raises(case.error) as error:
            made.fetch(wanted, tmp_path / "file")
        if case.cause != "slow" or error.value.facts["cause"] == "slow":
            break  # else the machine paused for so long that a slow server was a silent one
    assert re.search(case.message, str(error.value))
    assert error.value.reason is case.reason
    assert error.value.facts.get("cause", "") == case.cause or not case.cause
    assert error.value.next_step
    assert not (tmp_path / "file").exists()
    if case.reason is Reason.SOURCE_MISMATCH:
        assert (tmp_path / "file.part").stat().st_size == 0


@pytest.mark.contract("S4-23")
@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "sha1", "md5", "blake3"])
def test_every_checksum_counts(algorithm: str, server: UrlServer, tmp_path: Path) -> None:
    def checksum(data: bytes) -> str:
        hasher = blake3(data) if algorithm == "blake3" else hashlib.new(algorithm, data)
        return f"{algorithm}:{hasher.hexdigest().upper()}"

    url = server.serve("/file", File(CONTENT))
    with fetcher() as made:
        made.fetch(WantedFile((url,), checksum(CONTENT)), tmp_path / "right")
        with pytest.raises(DataLoss):
            made.fetch(WantedFile((url,), checksum(OTHER)), tmp_path / "wrong")


@pytest.mark.parametrize(
    "text", ["sha256:12", "crc32:00000000", "d41d8cd98f00b204e9800998ecf8427e", "md5:" + "g" * 32]
)
def test_a_checksum_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    with fetcher() as made, pytest.raises(Invalid, match="sha256:<64 hex digits>"):
        made.fetch(WantedFile(("http://127.0.0.1/",), text), tmp_path / "file")


# --- mirrors ------------------------------------------------------------------------------------------------


def test_the_next_mirror_goes_on_where_the_first_one_failed(server: UrlServer, tmp_path: Path) -> None:
    with url_server() as other:
        urls = (server.serve("/a", Cut(CONTENT, '"a"', after=HALF)), other.serve("/b", File(CONTENT, '"b"')))
        with fetcher() as made:
            made.fetch(WantedFile(urls, SHA), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert (other.asked[0].start, other.asked[0].headers.get("if-range")) == (HALF, None)


def test_without_checksum_another_mirror_goes_on_only_with_the_same_etag(
    server: UrlServer, tmp_path: Path
) -> None:
    with url_server() as other, fetcher() as made:
        first = server.serve("/a", Cut(CONTENT, '"same"', after=HALF))
        made.fetch(WantedFile((first, other.serve("/b", File(CONTENT, '"same"')))), tmp_path / "same")
        assert (tmp_path / "same").read_bytes() == CONTENT
        assert other.asked[0].headers["if-range"] == '"same"'

        second = other.serve("/c", File(OTHER, '"other"'))
        made.fetch(WantedFile((first, second)), tmp_path / "other")
        assert (tmp_path / "other").read_bytes() == OTHER

        dated = server.serve("/d", Cut(CONTENT, last_modified=DATE, after=HALF))
        third = other.serve("/e", File(OTHER, last_modified=DATE))
        made.fetch(WantedFile((dated, third)), tmp_path / "dated")
        assert (tmp_path / "dated").read_bytes() == OTHER  # equal dates of two servers say nothing


def test_a_mirror_with_wrong_bytes_is_left_for_the_next(server: UrlServer, tmp_path: Path) -> None:
    urls = (
        server.serve("/wrong", File(OTHER)),
        server.serve("/absent", Status(404)),
        server.serve("/ok", File(CONTENT)),
    )
    with fetcher() as made:
        made.fetch(WantedFile(urls, SHA), tmp_path / "file")
        assert made.budget.taken_bytes == 2 * len(CONTENT)
        assert made.budget.kept_bytes == len(CONTENT)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_when_all_mirrors_fail_the_error_tells_of_all(server: UrlServer, tmp_path: Path) -> None:
    urls = (server.serve("/gone", Status(410)), server.serve("/busy", Status(503)))
    with (
        fetcher() as made,
        pytest.raises(Unavailable, match=r"/busy cannot be read now.*Other.*/gone does not") as error,
    ):
        made.fetch(WantedFile(urls), tmp_path / "file")
    assert error.value.facts["failures"] == "2"


# --- waiting ------------------------------------------------------------------------------------------------


def test_pauses_grow_and_what_a_server_tells_is_waited_for(server: UrlServer, tmp_path: Path) -> None:
    attentive = Attentive()
    url = server.serve(
        "/file", in_turn(Status(503), Status(429, {"Retry-After": "7"}), Status(500), File(CONTENT))
    )
    with fetcher(attention=attentive) as made:
        made.fetch(WantedFile((url,)), tmp_path / "file")
    first, told, third = attentive.waits
    assert 0.25 <= first <= 0.5
    assert told == 7.0
    assert 1.0 <= third <= 2.0


def test_a_server_that_asks_for_hours_ends_the_attempt_with_that_time(
    server: UrlServer, tmp_path: Path
) -> None:
    url = server.serve("/file", Status(503, {"Retry-After": "3600"}))
    with fetcher() as made, pytest.raises(Unavailable) as error:
        made.fetch(WantedFile((url,)), tmp_path / "file")
    assert error.value.retry_after == 3600.0
    assert len(server.asked) == 1


def assert_waited(attentive: Attentive, seconds: float, begun: float) -> None:
    """Check the longest of the pauses: none was really made, so they add up, less the time that passed."""
    passed = time.monotonic() - begun
    assert seconds - passed - 0.1 <= max(attentive.waits, default=0.0) <= seconds + 0.1


def test_a_rate_is_kept(server: UrlServer, tmp_path: Path) -> None:
    attentive, begun = Attentive(), time.monotonic()
    url = server.serve("/file", File(CONTENT))
    with fetcher(attention=attentive, rate=100_000.0) as made:
        made.fetch(WantedFile((url,)), tmp_path / "file")
    assert_waited(attentive, 3.0, begun)


def test_fetchers_side_by_side_share_rate_and_limits(server: UrlServer, tmp_path: Path) -> None:
    attentive, begun = Attentive(), time.monotonic()
    url = server.serve("/file", File(CONTENT))
    limits = Limits(all_bytes=500_000, headroom=0)
    with fetcher(attention=attentive, rate=100_000.0, limits=limits) as one, one.another() as other:
        one.fetch(WantedFile((url,)), tmp_path / "one")
        with pytest.raises(Precondition, match="500000 bytes in all") as error:
            other.fetch(WantedFile((url,)), tmp_path / "other")
        assert error.value.reason is Reason.TOO_LARGE
        server.serve("/small", File(CONTENT[:100_000]))
        other.fetch(WantedFile((server.url("/small"),)), tmp_path / "small")
        assert one.budget.kept_bytes == other.budget.kept_bytes == 400_000
    assert_waited(attentive, 4.0, begun)


def test_a_stop_is_heard_while_a_server_is_silent(server: UrlServer, tmp_path: Path) -> None:
    url = server.serve("/file", silent)
    patience = Patience(stall_seconds=60)
    with fetcher(attention=Attentive(stop_at=2), patience=patience) as made, pytest.raises(Stop):
        made.fetch(WantedFile((url,)), tmp_path / "file")


# --- secrets ------------------------------------------------------------------------------------------------


def test_a_secret_goes_to_its_host_and_not_along_with_a_redirect(server: UrlServer, tmp_path: Path) -> None:
    with url_server() as other:
        away = server.serve("/away", Guarded("s3cret", redirect(other.serve("/file", File(CONTENT)))))
        inside = server.serve("/inside", Guarded("s3cret", redirect("/here")))
        server.serve("/here", Guarded("s3cret", File(CONTENT)))
        with fetcher(secrets={"127.0.0.1": "s3cret"}) as made:
            made.fetch(WantedFile((away,)), tmp_path / "away")
            made.fetch(WantedFile((inside,)), tmp_path / "inside")
    assert "authorization" not in other.asked[0].headers
    assert [each.headers.get("authorization") for each in server.asked] == ["Bearer s3cret"] * 3


def test_a_secret_does_not_go_in_the_clear_to_a_name(server: UrlServer, tmp_path: Path) -> None:
    server.serve("/file", Guarded("s3cret", File(CONTENT)))
    names = Names({"files.example": [["127.0.0.1"]]})
    with fetcher(secrets={"files.example": "s3cret"}, resolver=names) as made, pytest.raises(Denied):
        made.fetch(WantedFile((server.url("/file", "files.example"),)), tmp_path / "file")
    assert "authorization" not in server.asked[0].headers


# --- addresses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "files.example"])
def test_private_addresses_are_refused_before_any_connection(
    host: str, server: UrlServer, tmp_path: Path
) -> None:
    server.serve("/file", File(CONTENT))
    names = Names({"files.example": [["127.0.0.1"]]})
    with fetcher(allowed=(), resolver=names) as made, pytest.raises(Denied) as error:
        made.fetch(WantedFile((server.url("/file", host),)), tmp_path / "file")
    assert error.value.reason is Reason.SOURCE_ADDRESS_REFUSED
    assert server.asked == []


def test_a_name_that_is_rebound_does_not_lead_inside(server: UrlServer, tmp_path: Path) -> None:
    """The name is allowed when it is looked up first, and private ever after: it is looked up once."""
    server.serve("/file", File(CONTENT))
    names = Names({"rebinding.example": [["127.0.0.1"], ["10.0.0.1"]]})
    with fetcher(allowed=["127.0.0.1"], resolver=names) as made:
        made.fetch(WantedFile((server.url("/file", "rebinding.example"),)), tmp_path / "file")
    assert names.asked == ["rebinding.example"]
    assert server.asked[0].headers["host"] == f"rebinding.example:{server.port}"


def test_a_name_that_is_rebound_between_requests_is_refused_then(server: UrlServer, tmp_path: Path) -> None:
    server.serve("/file", in_turn(cut(), File(CONTENT, '"1"')))
    names = Names({"rebinding.example": [["127.0.0.1"], ["10.0.0.1"]]})
    with fetcher(allowed=["127.0.0.1"], resolver=names) as made, pytest.raises(Denied, match=r"10.0.0.1"):
        made.fetch(WantedFile((server.url("/file", "rebinding.example"),)), tmp_path / "file")
    assert len(server.asked) == 1


def test_a_redirect_to_a_name_with_a_private_address_is_refused(server: UrlServer, tmp_path: Path) -> None:
    url = server.serve("/file", redirect("http://inside.example/secret"))
    names = Names({"inside.example": [["93.184.216.34", "10.0.0.1"]]})
    with (
        fetcher(resolver=names) as made,
        pytest.raises(Denied, match=r"inside.example has the address 10.0.0.1"),
    ):
        made.fetch(WantedFile((url,)), tmp_path / "file")


def test_the_next_address_of_a_name_is_tried(server: UrlServer, tmp_path: Path) -> None:
    server.serve("/file", File(CONTENT))
    names = Names({"two.example": [["127.255.255.1", "127.0.0.1"]]})  # nobody listens at the first one
    with fetcher(resolver=names) as made:
        made.fetch(WantedFile((server.url("/file", "two.example"),)), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_nobody_listening_is_a_network_failure(tmp_path: Path) -> None:
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))  # and does not listen, nor does anybody else there
    url = f"http://127.0.0.1:{taken.getsockname()[1]}/file"
    with taken, fetcher() as made, pytest.raises(Unavailable, match=r"No connection to 127.0.0.1") as error:
        made.fetch(WantedFile((url,)), tmp_path / "file")
    assert error.value.facts["cause"] == "connect"


# --- what is safe -------------------------------------------------------------------------------------------


class Leaving(Attentive):
    """Asks to stop once a server was asked so often."""

    def __init__(self, server: UrlServer, often: int) -> None:
        super().__init__()
        self._server, self._often = server, often

    def check(self) -> None:
        if len(self._server.asked) >= self._often:
            raise Stop


def test_a_later_attempt_goes_on_with_what_an_earlier_one_left(server: UrlServer, tmp_path: Path) -> None:
    url = server.serve("/file", in_turn(cut(), silent))
    with fetcher(attention=Leaving(server, 2)) as made, pytest.raises(Stop):
        made.fetch(WantedFile((url,)), tmp_path / "file")
    server.serve("/file", File(CONTENT, '"1"'))
    with fetcher() as made:
        made.fetch(WantedFile((url,)), tmp_path / "file")
        assert made.budget.taken_bytes == len(CONTENT) - HALF
    assert (tmp_path / "file").read_bytes() == CONTENT


class Killer(Attentive):
    """Stops the fetching once the journal tells of so many bytes, before anything else is written."""

    def __init__(self, journal: Path, synced: int) -> None:
        super().__init__()
        self._journal, self._synced = journal, synced

    def check(self) -> None:
        if self._journal.exists() and json.loads(self._journal.read_text())["synced"] == self._synced:
            raise Stop


def test_what_came_is_safe_as_soon_as_the_source_goes_silent(server: UrlServer, tmp_path: Path) -> None:
    url = server.serve("/file", Stalled(CONTENT, '"1"', after=HALF))
    killer = Killer(tmp_path / "file.part.json", HALF)
    with fetcher(attention=killer, patience=Patience(60.0)) as made, pytest.raises(Stop):
        made.fetch(WantedFile((url,)), tmp_path / "file")


def test_bytes_past_the_journal_are_not_trusted(server: UrlServer, tmp_path: Path) -> None:
    url = server.serve("/file", cut())
    with fetcher() as made, pytest.raises(Unavailable):
        made.fetch(WantedFile((url,)), tmp_path / "file")
    with (tmp_path / "file.part").open("ab") as part:
        part.write(b"\0" * 400_000)  # as a power cut may leave them
    server.serve("/file", File(CONTENT, '"1"'))
    with fetcher() as made:
        made.fetch(WantedFile((url,)), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked[-1].start == HALF


@pytest.mark.parametrize("text", ["", "{", '{"synced": 999999999, "version": {}}', '{"synced": 5}'])
def test_a_broken_journal_costs_time_and_nothing_else(text: str, server: UrlServer, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(OTHER)
    (tmp_path / "file.part.json").write_text(text)
    with fetcher() as made:
        made.fetch(WantedFile((server.serve("/file", File(CONTENT)),)), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_disk_that_fills_up_is_told_as_such_and_what_is_safe_stays(
    server: UrlServer, tmp_path: Path
) -> None:
    url = server.serve("/file", File(CONTENT, '"1"'))
    with (
        fetcher() as made,
        failpoints.armed("fetch.written:3=ENOSPC"),
        pytest.raises(Exhausted, match="disk is full") as error,
    ):
        made.fetch(WantedFile((url,)), tmp_path / "file")
    assert error.value.reason is Reason.DISK_LOW
    with fetcher() as made:
        made.fetch(WantedFile((url,)), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_disk_that_runs_low_ends_an_endless_body(server: UrlServer, tmp_path: Path) -> None:
    room = iter([10**9, 10**9, 0])
    limits = Limits(headroom=1, disk=lambda _: DiskSpace(1 << 40, 0, next(room)))
    url = server.serve("/file", Endless())
    with fetcher(limits=limits) as made, pytest.raises(Exhausted, match="room for 0 more"):
        made.fetch(WantedFile((url,)), tmp_path / "file")
    assert (tmp_path / "file.part").stat().st_size <= 3 * part_files.SYNC_BYTES


@pytest.mark.parametrize(
    ("disk", "needed", "fits"),
    [
        (DiskSpace(420 << 20, 211 << 20, 209 << 20), 40 << 20, True),  # a small disk is there to be used
        (DiskSpace(420 << 20, 360 << 20, 60 << 20), 40 << 20, False),
        (DiskSpace(1 << 40, 0, 200 << 20), 40 << 20, False),
    ],
)
def test_an_import_leaves_what_every_stream_leaves(
    disk: DiskSpace, needed: int, fits: bool, tmp_path: Path
) -> None:
    budget = Budget(Limits(disk=lambda _: disk))
    if fits:
        budget.check_disk(tmp_path, needed)
        return
    with pytest.raises(Exhausted, match=f"{disk.free} are free, of which") as error:
        budget.check_disk(tmp_path, needed)
    assert error.value.reason is Reason.DISK_LOW


# --- looking ------------------------------------------------------------------------------------------------


def test_a_look_tells_size_and_whether_it_could_be_resumed(server: UrlServer) -> None:
    with fetcher() as made:
        seen = made.look(WantedFile((server.serve("/a", File(CONTENT, '"1"')),)))
        assert (seen.size, seen.resumable, seen.validator) == (len(CONTENT), True, '"1"')
        seen = made.look(WantedFile((server.serve("/b", File(CONTENT, ranges=False)),)))
        assert (seen.size, seen.resumable) == (len(CONTENT), False)
        assert made.look(WantedFile((server.serve("/c", File(b"")),))).size == 0
        assert made.look(WantedFile((server.serve("/d", Unsized(CONTENT)),))).size is None
        with pytest.raises(NotFound):
            made.look(WantedFile((server.serve("/e", Status(404)),)))
        with pytest.raises(DataLoss, match="has 300000 bytes, expected 1"):
            made.look(WantedFile((server.url("/a"),), size=1))
    assert all(len(each.headers["range"]) == len("bytes=0-0") for each in server.asked)
