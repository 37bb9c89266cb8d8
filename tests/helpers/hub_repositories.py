"""Repositories of a Hub in memory: commits, branches, large files, and who may see them."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence

Files = dict[str, bytes]
JsonDocument = dict[str, object]

_LARGE_NAMES = (".safetensors", ".bin", ".gguf", ".onnx", ".parquet", ".h5", ".msgpack")


def blob_id(content: bytes) -> str:
    """Return the id git gives to a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def sha256(content: bytes) -> str:
    """Return the id the large file storage gives to a file."""
    return hashlib.sha256(content).hexdigest()


@dataclasses.dataclass(slots=True)
class HubRepository:
    """One repository; `kind` is models or datasets."""

    name: str
    kind: str = "models"
    private: bool = False
    gated: bool = False
    readers: set[str] = dataclasses.field(default_factory=set)  # tokens that may read what is not public
    facts: JsonDocument = dataclasses.field(default_factory=dict)  # cardData, tags, pipeline_tag, …
    large_above: int = 1024 * 1024  # bytes; larger files are large files, and so are those of known names
    branches: dict[str, str] = dataclasses.field(default_factory=dict)
    commits: dict[str, Files] = dataclasses.field(default_factory=dict)
    messages: list[str] = dataclasses.field(default_factory=list)
    claimed_sizes: dict[str, int] = dataclasses.field(default_factory=dict)  # that it tells instead

    def commit(self, files: Mapping[str, bytes], message: str = "files", branch: str = "main") -> str:
        """Make a commit that has exactly these files, and return its id."""
        listed = repr(sorted((path, blob_id(content)) for path, content in files.items()))
        seed = f"{self.kind} {self.name} {len(self.commits)} {message} {listed}"
        commit = hashlib.sha1(seed.encode(), usedforsecurity=False).hexdigest()
        self.commits[commit] = dict(files)
        self.branches[branch] = commit
        self.messages.append(message)
        return commit

    def find(self, revision: str) -> str | None:
        """Return the commit of a branch or a commit."""
        return self.branches.get(revision) or (revision if revision in self.commits else None)

    def is_large(self, path: str, content: bytes) -> bool:
        """Return whether a file is in the large file storage."""
        return len(content) > self.large_above or (bool(content) and path.endswith(_LARGE_NAMES))

    def entry(self, path: str, content: bytes) -> JsonDocument:
        """Return a file as the tree listing has it."""
        if not self.is_large(path, content):
            return {"type": "file", "path": path, "size": len(content), "oid": blob_id(content)}
        oid = sha256(content)
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"
        large = {"oid": oid, "size": len(content), "pointerSize": len(pointer)}
        return {
            "type": "file",
            "path": path,
            "size": len(content),
            "oid": blob_id(pointer.encode()),
            "lfs": large,
        }

    def tree(self, commit: str) -> Sequence[JsonDocument]:
        """Return files and folders as the recursive tree listing has them."""
        files = self.commits[commit]
        folders = {
            "/".join(parts[:depth])
            for parts in (path.split("/") for path in files)
            for depth in range(1, len(parts))
        }
        listed = [self.entry(path, content) for path, content in files.items()]
        listed += [{"type": "directory", "path": path, "size": 0, "oid": "0" * 40} for path in folders]
        return sorted(listed, key=lambda each: str(each["path"]))

    def sibling(self, path: str, content: bytes) -> JsonDocument:
        """Return a file as the repository's own description has it."""
        entry = self.entry(path, content)
        size = self.claimed_sizes.get(path, len(content))
        found: JsonDocument = {"rfilename": path, "size": size, "blobId": entry["oid"]}
        if large := entry.get("lfs"):
            assert isinstance(large, dict)
            found["lfs"] = {
                "sha256": large["oid"],
                "size": large["size"],
                "pointerSize": large["pointerSize"],
            }
        return found

    def info(self, commit: str, *, with_sizes: bool = False) -> JsonDocument:
        """Return what the Hub tells of the repository at a commit."""
        files = sorted(self.commits[commit].items())
        siblings = [
            self.sibling(path, content) if with_sizes else {"rfilename": path} for path, content in files
        ]
        return {
            "_id": "1",
            "id": self.name,
            "modelId": self.name,
            "sha": commit,
            "private": self.private,
            "gated": "auto" if self.gated else False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "lastModified": "2026-01-01T00:00:00.000Z",
            "createdAt": "2026-01-01T00:00:00.000Z",
            "siblings": siblings,
            **self.facts,
        }
