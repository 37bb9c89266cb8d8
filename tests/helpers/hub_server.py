"""A Hub on loopback: real HTTP servers that speak what `huggingface_hub` speaks.

    with hub_server() as hub:
        repository = hub.add("google/flan-t5-small", {"config.json": b"{}", "model.safetensors": weights})
        hub.faults.add("GET /lfs/", Fault(cut_after=1000))
        ...                                     # point HF_ENDPOINT, or our setting, at hub.url
        hub.requests                            # what was asked, in order

Small files are answered by the Hub itself, large ones by a second server on another port, like the Hub's
content network: it is reached by a redirect with a signature and refuses requests that carry a token.
"""

import contextlib
import dataclasses
import json
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from helpers.hub_faults import Fault, Faults
from helpers.hub_repositories import HubRepository, JsonDocument, blob_id, sha256

_PIECE = 64 * 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """A request that came."""

    method: str
    path: str  # with its query
    range: str
    token: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Hub:
    """What both servers share: repositories, large files, tokens, faults, and what was asked."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], HubRepository] = {}
        self.large: dict[str, bytes] = {}  # uploaded to the large file storage, by sha256
        self.tokens: set[str] = set()  # that are good for anything
        self.faults = Faults()
        self.requests: list[Seen] = []
        self.page_size = 1000  # entries of a page of a tree listing
        self.bare_siblings = False  # a mirror that tells names only
        self.largest_answer = 10**12  # bytes the content network sends at once
        self.lie = ("", "")  # a text of its JSON answers, and what stands there instead
        self.stopped = threading.Event()
        self.url = ""
        self.network_url = ""

    def add(
        self, name: str, files: Mapping[str, bytes], *, kind: str = "models", **about: object
    ) -> HubRepository:
        """Add a repository with one commit on its main branch."""
        repository = HubRepository(name, kind)
        for field, value in about.items():
            setattr(repository, field, value)
        self.tokens |= repository.readers
        repository.commit(files)
        self.repositories[kind, name] = repository
        return repository

    def asked(self, what: str) -> list[Seen]:
        """Return the requests whose `METHOD path` begins so."""
        return [each for each in self.requests if str(each).startswith(what)]

    def content(self, oid: str) -> bytes | None:
        """Return a large file."""
        if oid in self.large:
            return self.large[oid]
        for repository in self.repositories.values():
            for files in repository.commits.values():
                for content in files.values():
                    if len(content) and sha256(content) == oid:
                        return content
        return None


class Refusal(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.headers = {"X-Error-Code": code} if code else {}
        if message:
            self.headers["X-Error-Message"] = message


class HubHandler(BaseHTTPRequestHandler):
    """Sending and counting, for both servers; children answer in `reply`."""

    protocol_version = "HTTP/1.1"
    hub: Hub
    fault: Fault | None = None

    def reply(self) -> None:
        """Answer the request. Raises Refusal."""
        raise NotImplementedError

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""

    @property
    def token(self) -> str:
        """The token that came along."""
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    @property
    def parts(self) -> list[str]:
        """The path in parts, decoded."""
        return [urllib.parse.unquote(each) for each in self.path.partition("?")[0].split("/")[1:]]

    @property
    def query(self) -> dict[str, str]:
        """The query."""
        return dict(urllib.parse.parse_qsl(self.path.partition("?")[2]))

    def document(self) -> JsonDocument:
        """Return the request's body as JSON."""
        found: JsonDocument = json.loads(self.body)
        return found

    def send(self, content: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Send an answer, with its fault."""
        fault = self.fault or Fault()
        if fault.flip is not None and content:
            at = fault.flip % len(content)
            content = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        if fault.short_by:
            content = content[: -fault.short_by]
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {}), **fault.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self._send_body(content, fault)

    def send_json(self, value: object, headers: Mapping[str, str] | None = None, status: int = 200) -> None:
        """Send JSON."""
        text = json.dumps(value).replace(*self.hub.lie) if self.hub.lie[0] else json.dumps(value)
        self.send(text.encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def send_file(self, content: bytes, headers: Mapping[str, str]) -> None:
        """Send a file or the range of it that was asked for."""
        if not self.headers.get("Range", ""):
            return self.send(content, 200, {"Accept-Ranges": "bytes", **headers})
        start, end = self._range(content)
        if start >= len(content):
            return self.send(b"", 416, {"Content-Range": f"bytes */{len(content)}"})
        told = {"Content-Range": f"bytes {start}-{end}/{len(content)}", "Accept-Ranges": "bytes"}
        return self.send(content[start : end + 1], 206, {**told, **headers})

    def asked_bytes(self, content: bytes) -> int:
        """Return how many bytes of a file are asked for."""
        start, end = self._range(content)
        return end + 1 - start

    def _range(self, content: bytes) -> tuple[int, int]:
        first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        return int(first), min(int(last or len(content) - 1), len(content) - 1)

    def _serve(self) -> None:
        seen = Seen(self.command, self.path, self.headers.get("Range", ""), self.token)
        self.hub.requests.append(seen)
        self.body = self._read_body()
        self.fault = self.hub.faults.take(str(seen))
        try:
            if self.fault and self.fault.status:
                self.send(self.fault.body, self.fault.status)
            else:
                self.reply()
        except Refusal as refusal:
            self.send(json.dumps({"error": str(refusal)}).encode(), refusal.status, refusal.headers)
        except ConnectionError:
            self.close_connection = True  # whoever asked has left

    def _send_body(self, content: bytes, fault: Fault) -> None:
        stop = min((each for each in (fault.cut_after, fault.stall_after) if each is not None), default=None)
        sent = content if stop is None else content[:stop]
        for start in range(0, len(sent), _PIECE):
            if fault.pause and self.hub.stopped.wait(fault.pause):
                break
            self.wfile.write(sent[start : start + _PIECE])
        if fault.stall_after is not None:
            self.wfile.flush()
            self.hub.stopped.wait(60)
        if stop is not None:
            self.close_connection = True

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        body = b""
        while size := int(self.rfile.readline().strip(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body


class ContentNetwork(HubHandler):
    """The server of large files."""

    def reply(self) -> None:
        if self.token:
            raise Refusal(400, message="Only one auth mechanism allowed")
        if self.query.get("signature") != "good":
            raise Refusal(403, message="Access denied")
        oid = self.parts[-1]
        if self.command == "PUT":
            if sha256(self.body) != oid:
                raise Refusal(400, message="Content does not match its digest")
            self.hub.large[oid] = self.body
            return self.send(b"", headers={"ETag": f'"{oid}"'})
        content = self.hub.content(oid)
        if content is None:
            raise Refusal(404)
        if self.asked_bytes(content) > self.hub.largest_answer:
            raise Refusal(400, message="The object is too large for one answer")
        return self.send_file(content, {"ETag": f'"{oid}"', "Content-Type": "application/octet-stream"})


class HubFront(HubHandler):
    """The Hub itself, as readers use it; `hub_writing` adds what writers use."""

    def reply(self) -> None:
        if self.token and self.token not in self.hub.tokens:
            raise Refusal(401, message="Invalid credentials in Authorization header")
        parts = self.parts
        if parts[0] == "api" and parts[1] in ("models", "datasets") and self.command == "GET":
            return self._api(parts[1], parts[2:])
        if "resolve" in parts and self.command in ("GET", "HEAD"):
            kind = "datasets" if parts[0] == "datasets" else "models"
            return self._resolve(kind, parts[1:] if kind == "datasets" else parts)
        return self.reply_to_writer()

    def reply_to_writer(self) -> None:
        """Answer what only writers ask. Raises Refusal."""
        raise Refusal(404)

    def visible(self, kind: str, name: str) -> HubRepository:
        """Return a repository that the token may see. Raises Refusal, alike for unknown and private ones."""
        repository = self.hub.repositories.get((kind, name))
        if repository is None or (repository.private and self.token not in repository.readers):
            raise Refusal(404 if self.token else 401, "RepoNotFound", "Repository not found")
        return repository

    def _api(self, kind: str, parts: list[str]) -> None:
        name, rest = _named(parts, ("revision", "tree"))
        repository = self.visible(kind, name)
        commit = _commit(repository, rest[1] if rest else "main")
        if rest[:1] == ["tree"]:
            return self._tree(repository, commit, "/".join(rest[2:]))
        with_sizes = bool(self.query.get("blobs")) and not self.hub.bare_siblings
        return self.send_json(repository.info(commit, with_sizes=with_sizes))

    def _tree(self, repository: HubRepository, commit: str, folder: str) -> None:
        entries = [
            each
            for each in repository.tree(commit)
            if not folder or str(each["path"]).startswith(f"{folder}/")
        ]
        start = int(self.query.get("cursor", "0"))
        page = entries[start : start + self.hub.page_size]
        headers = {}
        if start + len(page) < len(entries):
            query = urllib.parse.urlencode({**self.query, "cursor": start + len(page)})
            headers["Link"] = f'<{self.hub.url}{self.path.partition("?")[0]}?{query}>; rel="next"'
        self.send_json(page, headers)

    def _resolve(self, kind: str, parts: list[str]) -> None:
        name, rest = _named(parts, ("resolve",))
        repository = self.visible(kind, name)
        if repository.gated and self.token not in repository.readers:
            refusal = "Access to this repository is restricted and you are not in the authorized list."
            raise Refusal(403 if self.token else 401, "GatedRepo", refusal)
        commit = _commit(repository, rest[1])
        path = "/".join(rest[2:])
        content = repository.commits[commit].get(path)
        if content is None:
            raise Refusal(404, "EntryNotFound", "Entry not found")
        told = {"X-Repo-Commit": commit}
        if not repository.is_large(path, content):
            return self.send_file(content, {**told, "ETag": f'"{blob_id(content)}"'})
        oid = sha256(content)
        told |= {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(len(content)), "ETag": f'"{oid}"'}
        told["Location"] = f"{self.hub.network_url}/lfs/{oid}?signature=good"
        return self.send(b"", 302, told)


def _named(parts: list[str], words: tuple[str, ...]) -> tuple[str, list[str]]:
    """Return the name of a repository and what comes after it."""
    at = next((index for index, part in enumerate(parts) if part in words), len(parts))
    return "/".join(parts[:at]), parts[at:]


def _commit(repository: HubRepository, revision: str) -> str:
    commit = repository.find(revision)
    if commit is None:
        raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    return commit


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that left."""


@contextlib.contextmanager
def hub_server(front: type[HubFront] = HubFront) -> Iterator[Hub]:
    """Serve a Hub for the length of a with block."""
    hub = Hub()
    handlers = [type("Handler", (each,), {"hub": hub}) for each in (front, ContentNetwork)]
    servers = [_Server(("127.0.0.1", 0), each) for each in handlers]
    hub.url, hub.network_url = (f"http://127.0.0.1:{each.server_address[1]}" for each in servers)
    threads = [
        threading.Thread(target=each.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        for each in servers
    ]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        hub.stopped.set()
        for server in servers:
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join(5)
