"""What the protos say about each method: who may call it, and how the record names it.

Scopes stand in the protos as method options and are read from the descriptors, so nothing can be served that
has no rule: the pipeline refuses a method it does not find here.
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from google.protobuf import descriptor, descriptor_pb2
from google.protobuf.message import Message

from ingot.server.core.identity import Scope
from ingot.server.rpc import data_messages
from ingot.v1 import (
    auth_pb2,
    catalog_pb2,
    common_pb2,
    operations_pb2,
    system_pb2,
    training_pb2,
    transfer_pb2,
    workers_pb2,
)

_FILES = (auth_pb2, catalog_pb2, operations_pb2, system_pb2, training_pb2, transfer_pb2, workers_pb2)
_STANDARD = ("/grpc.health.v1.Health/", "/grpc.reflection.v1.", "/grpc.reflection.v1alpha.")
_FIRST_WORD = re.compile(r"[A-Z][a-z]+")
_TARGET_FIELDS = ("name", "tree", "upload", "job", "model", "worker", "parent", "namespace")
TARGET_LIMIT = 256  # characters; the longest name, of a version, has 230
_WRAPPED = ("header", "artifact", "version", "job", "user", "namespace")  # messages with the name
_ACTIONS = {
    "BeginUpload": "upload",
    "FindMissing": "upload",
    "PutChunks": "upload",
    "PutChunk": "upload",
    "UploadFile": "upload",
    "PutManifest": "upload",
    "CommitUpload": "upload",
    "ReadManifest": "download",
    "ReadFile": "download",
    "ReadChunks": "download",
    "StartTrainingJob": "train",
}


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC: `path` as on the wire, `scopes` all of which a credential needs unless it is public."""

    path: str
    public: bool
    scopes: frozenset[Scope]
    streams: bool = False  # in either direction
    carries_secret: bool = False  # of a person: refused where others could read it
    standard: bool = False  # health and reflection: neither recorded nor refused while draining
    audited: bool = False  # it may change something, and what it changes is somebody's act
    relayed: bool = False  # it comes from a data process, which says where its client is

    @property
    def short(self) -> str:
        """`CatalogService/GetArtifact`."""
        return self.path.rpartition(".")[2]

    @property
    def name(self) -> str:
        """`GetArtifact`."""
        return self.path.rpartition("/")[2]

    @property
    def follows(self) -> bool:
        """Whether its streams have no end of their own."""
        return self.name.startswith("Watch") or self.name == "ReadTrainingLogs"

    @property
    def action(self) -> str:
        """What the record calls it."""
        first = _FIRST_WORD.match(self.name)
        return _ACTIONS.get(self.name, first[0].lower() if first else self.name)


def services() -> list[descriptor.ServiceDescriptor]:
    """Return all services of the protos."""
    return [service for file in _FILES for service in file.DESCRIPTOR.services_by_name.values()]


@functools.cache
def all_methods() -> Mapping[str, Method]:
    """Return every method of the protos by its path. Raises ValueError for one without a rule."""
    found = [_method(service, method) for service in services() for method in service.methods]
    return MappingProxyType({method.path: method for method in found})


def relayed_methods() -> dict[str, Method]:
    """Return the methods that data processes serve, by the paths at which these ask about them."""
    known = {method.short: method for method in all_methods().values()}
    return {
        data_messages.path_of(name): replace(known[f"TransferService/{name}"], relayed=True)
        for name in (data_messages.PUT_CHUNKS, data_messages.READ_CHUNKS)
    }


def standard_method(path: str) -> Method | None:
    """Return the rule of a health or reflection method, None for any other path."""
    if path.startswith(_STANDARD):
        return Method(path, public=True, scopes=frozenset(), standard=True)
    return None


def target_of(request: Message) -> str:
    """Return the name of what a request is about, empty when it names nothing.

    It goes into the log and the record whoever sent it, so it is cleaned and cut; names have no spaces, and
    with one a target could pose as other fields of its line.
    """
    fields = request.DESCRIPTOR.fields_by_name
    for name in _TARGET_FIELDS:
        value = getattr(request, name) if name in fields else None
        if isinstance(value, str) and value:
            return printable(value[: 4 * TARGET_LIMIT], TARGET_LIMIT).replace(" ", "_")
    for name in _WRAPPED:
        value = getattr(request, name) if name in fields else None
        if isinstance(value, Message):
            return target_of(value)
    return ""


def printable(text: str, limit: int) -> str:
    """Return text that is safe in logs and tables: without control characters, at most `limit` characters."""
    return "".join(letter for letter in text.strip() if letter.isprintable())[:limit]


def _method(service: descriptor.ServiceDescriptor, method: descriptor.MethodDescriptor) -> Method:
    options = method.GetOptions()
    scopes = frozenset(Scope(scope) for scope in options.Extensions[common_pb2.required_scopes])
    public = options.Extensions[common_pb2.public]
    if public == bool(scopes):
        raise ValueError(f"{method.full_name} needs either required_scopes or public in its proto")
    streams = method.client_streaming or method.server_streaming
    changes = options.idempotency_level != descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS
    audited = changes and not options.Extensions[common_pb2.routine]
    secret = options.Extensions[common_pb2.carries_secret]
    path = f"/{service.full_name}/{method.name}"
    return Method(path, public, scopes, streams, audited=audited, carries_secret=secret)
