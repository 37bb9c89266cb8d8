"""The examples of every `--help`, typed one after the other against what `make run` starts."""

import os
import pathlib
import subprocess
import sys

import pytest

from helpers.eventually import eventually
from helpers.hub_server import hub_server
from helpers.processes import server_process
from ingot.client.cli import commands

ROOT = pathlib.Path(__file__).parents[2]

# In this order they tell one story: what an example needs comes before it. A number picks one of the two.
STORY = """
version env completion health login whoami context/ls context/use
push ls show preview diff alias/set alias/ls alias/history cat pull verify create edit tag
uploads/ls uploads/show uploads/watch uploads/stats
approvals/request approvals/ls approvals/show approvals/withdraw:0 approvals/policy
audit/ls audit/head audit/verify audit/export
search facets cache/ls cache/verify cache/prune stats storage usage activity dashboard settings
workers/ls operations/ls operations/show operations/watch operations/kinds
credentials/set credentials/ls credentials/rm import validate export upkeep uploads/purge
users/create users/ls users/show users/edit users/passwd namespaces/create
members/set members/ls members/rm namespaces/rm
access/grant access/show access/revoke access/set namespaces/ls namespaces/show namespaces/quota
tokens/create tokens/ls tokens/revoke
train jobs/ls jobs/show jobs/watch jobs/wait:0 jobs/logs jobs/metrics jobs/checkpoints generate why
alias/rm rm restore jobs/rm:0 logout
"""

# These need a job, an upload or an operation in another state than the story leaves it in; test_jobs.py,
# test_reproduce.py, test_trash_commands.py, test_cache.py, test_approval_commands.py and
# test_operations_live.py show them.
ELSEWHERE = {
    "jobs start",
    "jobs pause",
    "jobs resume",
    "jobs cancel",
    "jobs wait",
    "jobs rm",
    "uploads abort",
    "uploads retry",
    "operations cancel",
    "operations retry",
    "purge",
    "reproduce",
    "cache rm",
    "approvals approve",
    "approvals decline",
    "approvals withdraw",
    "users rm",
    "watch",
}


def _examples() -> list[str]:
    found: list[str] = []
    for item in STORY.split():
        name, _, number = item.replace("/", " ").partition(":")
        both = commands.ENTRIES[name].load().examples
        found += [both[int(number)]] if number else both
    return found


def test_the_story_has_every_example() -> None:
    every = {example for entry in commands.ENTRIES.values() for example in entry.load().examples}
    elsewhere = {example for name in ELSEWHERE for example in commands.ENTRIES[name].load().examples}
    assert every - set(_examples()) <= elsewhere


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.contract("S0-112", "S1-71")
def test_every_example_works(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    (tmp_path / ".config" / "fish" / "completions").mkdir(parents=True)
    token = tmp_path / ".cache" / "huggingface" / "token"
    token.parent.mkdir(parents=True)
    token.write_text("hf_example", encoding="ascii")
    (tmp_path / "password.txt").write_text("correct horse battery\n", encoding="ascii")
    with (
        hub_server() as hub,
        server_process(tmp_path / ".run", "--with-worker", "--hub-endpoint", hub.url) as server,
    ):
        hub.add("google/flan-t5-small", {"config.json": b"{}", "model.safetensors": b"weights"})
        hub.add("openai/openai_humaneval", {"test.jsonl": b'{"prompt": "def"}\n'}, kind="datasets")

        def typed(line: str) -> "subprocess.CompletedProcess[str]":
            line = line.replace("localhost:7070", server.address)
            return subprocess.run(
                line,
                shell=True,
                cwd=tmp_path,
                input="",
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )

        assert eventually(lambda: "online" in typed("ingot workers ls").stdout, timeout=100)
        failed = {line: done.stderr for line in _examples() if (done := typed(line)).returncode != 0}
        assert failed == {}
