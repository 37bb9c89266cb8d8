"""What `ingot --help` and each command's help say: everything is listed, and every example can be typed."""

import pathlib
import re
import shlex

import pytest

from helpers.command_lines import CommandLine
from ingot.client.cli import command, commands

# The commands of the plan, so that one that gets lost is missed.
PROMISED = [
    "login",
    "logout",
    "whoami",
    "env",
    "version",
    "completion",
    "push",
    "pull",
    "cat",
    "verify",
    "cache/ls",
    "cache/rm",
    "cache/prune",
    "cache/verify",
    "ls",
    "search",
    "facets",
    "watch",
    "show",
    "rm",
    "restore",
    "purge",
    "namespaces/ls",
    "namespaces/show",
    "namespaces/quota",
    "namespaces/create",
    "namespaces/rm",
    "members/ls",
    "members/set",
    "members/rm",
    "access/show",
    "access/set",
    "access/grant",
    "access/revoke",
    "approvals/ls",
    "approvals/show",
    "approvals/request",
    "approvals/approve",
    "approvals/decline",
    "approvals/withdraw",
    "approvals/policy",
    "audit/ls",
    "audit/verify",
    "audit/export",
    "audit/head",
    "diff",
    "preview",
    "create",
    "edit",
    "tag",
    "train",
    "reproduce",
    "why",
    "generate",
    "stats",
    "health",
    "storage",
    "usage",
    "activity",
    "dashboard",
    "settings",
    "context/ls",
    "context/use",
    "alias/ls",
    "alias/history",
    "alias/set",
    "alias/rm",
    "jobs/ls",
    "jobs/show",
    "jobs/watch",
    "jobs/logs",
    "jobs/metrics",
    "jobs/checkpoints",
    "jobs/start",
    "jobs/pause",
    "jobs/resume",
    "jobs/cancel",
    "jobs/rm",
    "jobs/wait",
    "uploads/ls",
    "uploads/show",
    "uploads/watch",
    "uploads/stats",
    "uploads/abort",
    "uploads/retry",
    "uploads/purge",
    "workers/ls",
    "operations/ls",
    "operations/show",
    "operations/watch",
    "operations/cancel",
    "operations/retry",
    "operations/kinds",
    "upkeep",
    "import",
    "export",
    "validate",
    "credentials/ls",
    "credentials/set",
    "credentials/rm",
    "tokens/ls",
    "tokens/create",
    "tokens/revoke",
    "users/ls",
    "users/show",
    "users/create",
    "users/edit",
    "users/passwd",
    "users/rm",
]


def test_every_promised_command_is_there_and_no_other() -> None:
    assert set(commands.ENTRIES) == {name.replace("/", " ") for name in PROMISED}


def test_overview_lists_every_command_with_a_line_about_it() -> None:
    run = CommandLine().run("--help")
    assert run.code == 0
    for entry in commands.ENTRIES.values():
        assert f"  {entry.name} " in run.out
        assert entry.about in run.out


@pytest.mark.parametrize("noun", sorted(commands.NOUNS))
def test_a_noun_alone_lists_its_commands(noun: str) -> None:
    run = CommandLine().run(noun)
    assert run.code == 0
    listed = {line.split("  ")[1] for line in run.out.splitlines() if line.startswith("  ")}
    assert listed == {name for name in commands.ENTRIES if name.startswith(f"{noun} ")}


@pytest.mark.parametrize("noun", sorted(commands.NOUNS))
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_a_noun_with_a_flag_for_help_lists_its_commands(noun: str, flag: str) -> None:
    run = CommandLine().run(noun, flag)
    assert (run.code, run.err) == (0, "")
    assert run.out == CommandLine().run(noun).out


def test_flags_may_stand_between_a_noun_and_its_command() -> None:
    asked = CommandLine().run("jobs", "--help", "ls")
    assert (asked.code, asked.out) == (0, CommandLine().run("jobs", "ls", "--help").out)
    call = commands.find(["jobs", "-s", "one:1", "ls", "--json"])
    assert (call.typed, call.words) == ("jobs ls", ["-s", "one:1", "--json"])
    nothing = CommandLine().run("jobs", "--json")
    assert (nothing.code, nothing.out) == (2, "")
    assert "Name a command." in nothing.err


@pytest.mark.parametrize("name", commands.ENTRIES)
def test_help_says_what_it_does_and_has_two_examples(name: str) -> None:
    run = CommandLine().run(*name.split(), "--help")
    assert run.code == 0
    assert run.out.startswith(f"usage: ingot {name}")
    assert len(run.out.partition("examples:\n")[2].splitlines()) == 2


@pytest.mark.parametrize("name", commands.ENTRIES)
def test_examples_parse(name: str) -> None:
    for example in commands.ENTRIES[name].load().examples:
        for part in re.split(" [<>] ", example)[0].split(" && "):
            program, *words = shlex.split(part)
            assert program == "ingot"
            call = commands.find(words)
            assert call.entry is not None
            command.parse(call.entry.load(), call.typed, call.words)


@pytest.mark.parametrize(("alias", "name"), commands.ALIASES.items())
def test_aliases_call_what_they_stand_for(alias: str, name: str) -> None:
    assert commands.find(alias.split()).entry == commands.ENTRIES[name]


def test_help_command_and_version_flag() -> None:
    assert CommandLine().run("help", "push").out == CommandLine().run("push", "--help").out
    assert CommandLine().run("--version").out.startswith("ingot ")


@pytest.mark.parametrize(
    ("typed", "nearest"),
    [
        (["psuh"], "ingot push"),
        (["job", "ls"], "ingot jobs"),
        (["jobs", "wach"], "ingot jobs watch"),
        (["zzz"], "ingot --help"),
    ],
)
def test_a_wrong_word_offers_the_nearest_right_one(typed: list[str], nearest: str) -> None:
    run = CommandLine().run(*typed)
    assert run.code == 2
    assert run.err.startswith("error: There is no command ")
    assert nearest in run.err


def test_a_wrong_flag_offers_the_nearest_right_one() -> None:
    run = CommandLine().run("push", "datasets/chat", "file", "--lisence", "MIT")
    assert run.code == 2
    assert run.err == (
        "error: ingot push does not take --lisence.\n  next: Did you mean --license? See: ingot push --help\n"
    )


@pytest.mark.parametrize("kind", ["bash", "zsh", "fish"])
def test_completion_names_every_word(kind: str) -> None:
    script = CommandLine().run("completion", kind).out
    for name in [*commands.ENTRIES, *commands.ALIASES]:
        for word in name.split():
            assert word in script


def test_the_readme_names_every_command_and_no_other() -> None:
    page = pathlib.Path(__file__).parents[3] / "clients" / "python" / "README.md"
    text = page.read_text(encoding="utf-8")
    table = text.partition("| about | commands |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([a-z ]+)`", table)) == set(commands.ENTRIES)
    for line in re.findall(r"^ingot .*$", text, re.MULTILINE):
        call = commands.find(shlex.split(line.partition("  #")[0])[1:])
        assert call.entry is not None
        command.parse(call.entry.load(), call.typed, call.words)
