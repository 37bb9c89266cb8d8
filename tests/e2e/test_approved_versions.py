"""A version on its way to strangers, with real evidence: validated by the server, approved, pulled."""

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.sdk import write_tree
from helpers.servers import Server, running_server
from ingot.client import Client, NotFound, Precondition, artifact_fields
from ingot.v1 import catalog_pb2 as pb

pytestmark = pytest.mark.slow

GOOD = b"".join(b'{"text": "sentence number %d"}\n' % number for number in range(100))


class _Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("true",)


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path, validation="required") as server:
        yield server


def _checks(found: pb.Approval) -> dict[str, bool]:
    return {check.name: check.passed for check in found.evidence.checks if check.required}


@pytest.mark.contract("S1-15", "S1-53")
def test_real_evidence_decides(server: Server, tmp_path: Path) -> None:
    with (
        Client(server.address, server.token("sara")) as sara,
        Client(server.address, server.token("omid"), namespace="sara") as stranger,
        Client(server.address, server.admin_token) as admin,
    ):
        fields = artifact_fields(visibility="public")
        good = sara.push("datasets/chat", write_tree(tmp_path / "good", {"a.jsonl": GOOD}), fields=fields)
        assert good.version is not None
        asked = sara.approvals.request("datasets/chat", "cleaned by hand")
        assert _checks(asked) == {"validation": True, "scan": True, "license": False}
        with pytest.raises(Precondition) as refused:
            admin.approvals.decide(asked.name, approve=True, comment="looks good")
        assert refused.value.reason == "EVIDENCE_MISSING"
        with pytest.raises(NotFound):
            stranger.pull("datasets/chat", tmp_path / "early")
        sara.catalog.update("datasets/chat", artifact_fields(license="CC0-1.0"), ["license"])
        assert [each.name for each in admin.approvals.list(inbox=True)] == [asked.name]
        admin.approvals.decide(asked.name, approve=True, comment="looks good")
        pulled = stranger.pull("datasets/chat", tmp_path / "pulled")
        assert pulled.name == good.version.name
        assert (tmp_path / "pulled" / "a.jsonl").read_bytes() == GOOD


def test_a_scan_that_let_unsafe_content_pass_is_no_evidence(server: Server, tmp_path: Path) -> None:
    with (
        Client(server.address, server.token("sara")) as sara,
        Client(server.address, server.admin_token) as admin,
    ):
        fields = artifact_fields(license="MIT", visibility="public")
        fields.validation.mode = pb.VALIDATION_MODE_REQUIRED
        fields.validation.rules.allow_unsafe = True
        files = write_tree(tmp_path / "evil", {"model.pkl": pickle.dumps(_Evil())})
        sara.push("models/evil", files, fields=fields)
        asked = sara.approvals.request("models/evil")
        assert _checks(asked) == {"validation": True, "scan": False, "license": True}
        with pytest.raises(Precondition, match="let unsafe content pass"):
            admin.approvals.decide(asked.name, approve=True, comment="trust me")
