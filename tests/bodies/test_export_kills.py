"""Exports that are killed while they write: what is there is whole, old or new; the next attempt ends it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.bodies import body_spec, run_body, running_body
from helpers.patterns import pattern
from helpers.sdk import member_client, tree_of, write_tree
from ingot.client import Client
from ingot.server.core.artifacts import JsonObject
from ingot.server.core.body_protocol import BodySpec
from ingot.server.sources.bundles import Bundle
from ingot.server.sources.export_places import MARKER

pytestmark = pytest.mark.slow

FILES = {f"part{number}.bin": pattern(f"part{number}", 6_000_000) for number in range(6)}


class Rig:
    """A server with two versions, and specs of bodies that export them."""

    def __init__(self, client: Client, address: str, token: str, folder: Path) -> None:
        self._address, self._token, self._folder = address, token, folder
        self.root = folder / "root"
        (folder / "data").mkdir()
        self.old = client.push("models/tiny", write_tree(folder / "1", {"part0.bin": b"old"})).name
        self.new = client.push("models/tiny", write_tree(folder / "2", FILES)).name

    def spec(self, version: str, **destination: object) -> BodySpec:
        params: JsonObject = {
            "versions": [version],
            "destination": {"path": str(self.root), "root": str(self.root), **destination},  # type: ignore[dict-item]  # as the test says
        }
        return body_spec(
            self._folder,
            "export",
            params,
            server=self._address,
            token=self._token,
            settings={"data_dir": str(self._folder / "data")},
        )


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with member_client() as (client, server):
        yield Rig(client, server.address, server.token("member"), tmp_path)


def killed(spec: BodySpec, *, after: int) -> None:
    """Run a body and kill it once it told of so many bytes."""
    with running_body(spec) as body:
        body.wait_for(
            lambda report: (
                report.result
                or (
                    report.progress is not None
                    and report.progress.phase == "writing"
                    and report.progress.done >= after
                )
            )
        )


def test_a_folder_is_old_or_new_and_never_between(rig: Rig) -> None:
    asked = {"kind": "folder", "names": ["tiny"], "artifacts": ["uid"]}
    assert run_body(rig.spec(rig.old, **asked)).last.result is not None
    place = rig.root / "tiny"
    for after in (0, 20_000_000):
        killed(rig.spec(rig.new, **asked), after=after)
        seen = {path: data for path, data in tree_of(place).items() if path != MARKER}
        assert seen in ({"part0.bin": b"old"}, FILES)
    assert run_body(rig.spec(rig.new, **asked)).last.result is not None
    assert {path: data for path, data in tree_of(place).items() if path != MARKER} == FILES
    assert [each.name for each in rig.root.iterdir() if "lock" not in each.name] == ["tiny"]


def test_a_bundle_has_its_name_only_when_it_is_whole(rig: Rig) -> None:
    target = rig.root / "it.ingot"
    asked = {"kind": "bundle", "path": str(target)}
    for after in (0, 20_000_000):
        killed(rig.spec(rig.new, **asked), after=after)
        assert not target.exists() or target.stat().st_size > sum(map(len, FILES.values()))
    ended = run_body(rig.spec(rig.new, **asked)).last
    assert ended.result is not None
    with Bundle.open(target, frozenset({str(ended.result["signer"])})) as bundle:
        bundle.verify(lambda done, total: None)
    assert [each.name for each in rig.root.iterdir() if "lock" not in each.name] == ["it.ingot"]
