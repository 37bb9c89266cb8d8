"""The part of the Hub that writers use: create a repository, ask how files travel, send them, commit.

with hub_server(WritableHub) as hub: ...
"""

import base64
import json

from helpers.hub_repositories import HubRepository, blob_id, sha256
from helpers.hub_server import HubFront, Refusal


class WritableHub(HubFront):
    """A Hub that takes commits from every token it knows."""

    def reply_to_writer(self) -> None:
        if not self.token:
            raise Refusal(401, message="Invalid username or password.")
        parts = self.parts
        if parts[-3:] == ["lfs", "objects", "batch"]:
            return self._batch()
        if parts[:2] == ["api", "validate-yaml"]:
            return self.send_json({"errors": [], "warnings": []})
        if parts[:2] == ["api", "whoami-v2"]:
            return self.send_json({"type": "user", "name": "tester", "orgs": []})
        if parts[:3] == ["api", "repos", "create"]:
            return self._create()
        if parts[0] == "api" and parts[-2] in ("preupload", "commit", "branch"):
            repository = self.visible(parts[1], "/".join(parts[2:-2]))
            answer = {"preupload": self._preupload, "commit": self._commit, "branch": self._branch}
            return answer[parts[-2]](repository, parts[-1])
        raise Refusal(404)

    def _create(self) -> None:
        wanted = self.document()
        name = f"{wanted.get('organization') or 'tester'}/{wanted['name']}"
        kind = f"{wanted.get('type', 'model')}s"
        if (kind, name) in self.hub.repositories:
            return self.send_json(
                {"error": "You already created this repo", "url": self._url(kind, name)}, status=409
            )
        private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
        self.hub.add(name, {".gitattributes": b""}, kind=kind, private=private, readers={self.token})
        return self.send_json({"url": self._url(kind, name), "name": name, "id": "1"})

    def _url(self, kind: str, name: str) -> str:
        return f"{self.hub.url}/{'datasets/' if kind == 'datasets' else ''}{name}"

    def _preupload(self, repository: HubRepository, revision: str) -> None:
        commit = repository.find(revision)
        if commit is None:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        files = self.document()["files"]
        assert isinstance(files, list)
        answers = []
        for each in files:
            sample = base64.b64decode(each["sample"])
            large = each["size"] > repository.large_above or repository.is_large(each["path"], sample)
            known = repository.commits[commit].get(each["path"])
            answers.append(
                {
                    "path": each["path"],
                    "uploadMode": "lfs" if large else "regular",
                    "shouldIgnore": False,
                    "oid": None if known is None else sha256(known) if large else blob_id(known),
                }
            )
        self.send_json({"files": answers})

    def _batch(self) -> None:
        objects = self.document()["objects"]
        assert isinstance(objects, list)
        answers = []
        for each in objects:
            answer = {"oid": each["oid"], "size": each["size"]}
            if self.hub.content(each["oid"]) is None:
                link = f"{self.hub.network_url}/lfs/{each['oid']}?signature=good"
                answer["actions"] = {"upload": {"href": link}}
            answers.append(answer)
        self.send_json({"transfer": "basic", "objects": answers})

    def _commit(self, repository: HubRepository, revision: str) -> None:
        before = repository.find(revision)
        if before is None:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        files = dict(repository.commits[before])
        message = ""
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            match item["key"]:
                case "header":
                    message = value["summary"]
                    if value.get("parentCommit", before) != before:
                        raise Refusal(
                            412, message="A commit has happened since. Please refresh and try again."
                        )
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    content = self.hub.content(value["oid"])
                    if content is None or len(content) != value["size"]:
                        raise Refusal(400, message=f"LFS object {value['oid']} does not exist")
                    files[value["path"]] = content
                case "deletedFile":
                    del files[value["path"]]
                case "deletedFolder":
                    inside = value["path"].rstrip("/") + "/"
                    files = {path: content for path, content in files.items() if not path.startswith(inside)}
        commit = repository.commit(files, message, revision)
        url = f"{self._url(repository.kind, repository.name)}/commit/{commit}"
        self.send_json({"success": True, "commitOid": commit, "commitUrl": url})

    def _branch(self, repository: HubRepository, branch: str) -> None:
        if branch in repository.branches:
            raise Refusal(409, message=f"Reference already exists: {branch}")
        start = str(self.document().get("startingPoint", "main")) if self.body else "main"
        commit = repository.find(start)
        if commit is None:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {start}")
        repository.branches[branch] = commit
        self.send_json({"success": True})
