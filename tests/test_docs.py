"""Documents tell the truth: links lead somewhere, commands exist, RPCs say their errors and scopes."""

import pathlib
import re
import subprocess

import pytest
from google.protobuf import descriptor_pb2

from ingot.v1 import common_pb2

ROOT = pathlib.Path(__file__).parents[1]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "generated").glob("*.md"),
        *(ROOT / "server").glob("*.md"),
        *(ROOT / "clients").glob("*/*.md"),
        *(ROOT / "bench").glob("*.md"),
    ]
)
WANTED = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "docs/ARCHITECTURE.md"]
ADR_PARTS = ["## Context", "## Decision", "## Consequences"]


def _name(page: pathlib.Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _targets() -> dict[str, str]:
    """Return the Makefile's targets with what it says about them."""
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    found = (re.match(r"([a-z-]+):(?:.*?## (.*))?$", line) for line in lines)
    return {match[1]: match[2] for match in found if match}


@pytest.mark.parametrize("name", WANTED)
def test_page_exists(name: str) -> None:
    assert (ROOT / name).stat().st_size > 500


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: pathlib.Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"[a-z]+:|#", link)]
    assert [link for link in links if not (page.parent / link.partition("#")[0]).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_pages_name_only_make_targets_that_exist(page: pathlib.Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`make ([a-z-]+)|^make ([a-z-]+)", text, re.MULTILINE)
    assert {first or second for first, second in named} - _targets().keys() == set()


def test_every_target_says_what_it_does_and_make_prints_it() -> None:
    command = ["make", "-C", str(ROOT), "--no-print-directory"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True)
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert phony
    for target in set(phony[1].split()) - {"help"}:
        assert _targets()[target]
        assert re.search(rf"^ +{target} +{re.escape(_targets()[target])}$", printed.stdout, re.MULTILINE)


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "adr").glob("*.md")), ids=_name)
def test_decisions_have_one_form(page: pathlib.Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", page.name)
    assert re.match(rf"# {page.name[:4]}\b", text)
    assert [part for part in ADR_PARTS if part not in text] == []


def _methods() -> dict[str, tuple[descriptor_pb2.MethodOptions, str]]:
    """Return the options and the comment of every RPC of ours, by its name."""
    files = descriptor_pb2.FileDescriptorSet()
    files.ParseFromString((ROOT / "generated" / "descriptors" / "ingot.binpb").read_bytes())
    found = {}
    for file in files.file:
        comments = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
        for at, service in enumerate(file.service):
            for index, method in enumerate(service.method):
                comment = comments.get((6, at, 2, index), "")
                found[f"{service.name}.{method.name}"] = (method.options, comment)
    return found


METHODS = _methods()


@pytest.mark.parametrize("name", METHODS)
def test_rpc_says_its_errors_and_its_scopes(name: str) -> None:
    options, comment = METHODS[name]
    assert "Errors:" in comment, f"{name} lists no errors"
    assert bool(options.Extensions[common_pb2.required_scopes]) != options.Extensions[common_pb2.public]
    if name.partition(".")[2].startswith(("Get", "List")):
        assert options.idempotency_level == descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS
