"""All commands: their names, where they live, and the list that `ingot --help` prints.

A command's module is imported only when it is called, so that a new one costs nothing at start.
"""

import difflib
from dataclasses import dataclass
from importlib import import_module

from ingot.client._errors import Invalid
from ingot.client.cli.command import FLAGS_WITH_VALUE, Command


@dataclass(frozen=True, slots=True)
class Entry:
    """One command: its words, its home (module:class) and one line about it."""

    name: str
    home: str
    about: str

    def load(self) -> type[Command]:
        """Import the command."""
        module, _, name = self.home.partition(":")
        found = getattr(import_module(f"ingot.client.cli.{module}"), name)
        if not isinstance(found, type) or not issubclass(found, Command):
            raise TypeError(f"{self.home} is no command")
        return found


GROUPS: dict[str, tuple[Entry, ...]] = {
    "Files": (
        Entry("push", "push:Push", "send files as a new version of a model or dataset"),
        Entry("pull", "pull:Pull", "fetch the files of a version, a checkpoint or an upload"),
        Entry("cat", "cat:Cat", "write one file, or a range of it, to standard output"),
        Entry("verify", "verify:Verify", "check files against their digests"),
        Entry("cache ls", "cache:Ls", "list the files that pulls keep on this machine"),
        Entry("cache rm", "cache:Rm", "remove some of them, or all"),
        Entry("cache prune", "cache:Prune", "remove what was used least lately"),
        Entry("cache verify", "cache:Verify", "check them, and remove what is damaged"),
        Entry("import", "imports:Import", "let the server fetch from the Hub, URLs or a bundle"),
        Entry("export", "exporting:Export", "let the server write to a folder, the Hub or a bundle"),
        Entry("validate", "validating:Validate", "check content against rules"),
    ),
    "Models and datasets": (
        Entry("ls", "artifacts:Ls", "list models, datasets, or the files of one"),
        Entry("search", "searching:Search", "find models and datasets by words and filters"),
        Entry("facets", "searching:Facets", "count what matches by tag, language, framework and so on"),
        Entry("watch", "searching:Watch", "follow what changes among models and datasets"),
        Entry("show", "artifacts:Show", "show one with its versions and aliases"),
        Entry("diff", "contents:Diff", "show what differs between two versions"),
        Entry("why", "lineage:Why", "show where one comes from and what came of it"),
        Entry("preview", "contents:Preview", "show first, last or random rows of a dataset"),
        Entry("create", "creating:Create", "create one that has no version yet"),
        Entry("edit", "editing:Edit", "change description, licence, metrics and the like"),
        Entry("tag", "editing:Tag", "add and remove tags"),
        Entry("rm", "editing:Rm", "move one, or a version, to the trash"),
        Entry("restore", "trash:Restore", "take one back out of the trash"),
        Entry("purge", "trash:Purge", "remove one in the trash for good"),
        Entry("alias ls", "aliases:Ls", "list the aliases of one"),
        Entry("alias history", "aliases:History", "show where an alias pointed"),
        Entry("alias set", "aliases:Set", "point an alias at a version"),
        Entry("alias rm", "aliases:Rm", "remove an alias"),
        Entry("approvals ls", "approvals:Ls", "list approvals, or what waits for one's decision"),
        Entry("approvals show", "approvals:Show", "show one with its evidence"),
        Entry("approvals request", "approvals:Request", "ask that a version be approved"),
        Entry("approvals approve", "approvals:Approve", "approve a version that waits"),
        Entry("approvals decline", "approvals:Decline", "decline one"),
        Entry("approvals withdraw", "approvals:Withdraw", "take back what one asked for"),
        Entry("approvals policy", "approvals:Policy", "show or set what approvals of one need"),
    ),
    "Training": (
        Entry("train", "train:Train", "train a model on a dataset"),
        Entry("reproduce", "reproduce:Reproduce", "train a model again and compare the results"),
        Entry("generate", "generate:Generate", "write text with a model"),
        Entry("jobs ls", "jobs:Ls", "list training jobs"),
        Entry("jobs show", "jobs:Show", "show one job: state, plan, numbers, problem"),
        Entry("jobs watch", "watching:Watch", "follow a job live"),
        Entry("jobs wait", "watching:Wait", "wait until a job has ended"),
        Entry("jobs logs", "job_records:Logs", "print the log of a job"),
        Entry("jobs metrics", "job_records:Metrics", "print series of numbers of a job"),
        Entry("jobs checkpoints", "job_records:Checkpoints", "list the checkpoints of a job"),
        Entry("jobs start", "jobs:Start", "queue a draft"),
        Entry("jobs pause", "jobs:Pause", "save and let go of the machine"),
        Entry("jobs resume", "jobs:Resume", "go on from the last checkpoint"),
        Entry("jobs cancel", "jobs:Cancel", "end a job without a result"),
        Entry("jobs rm", "jobs:Rm", "remove a job with its checkpoints"),
    ),
    "Server": (
        Entry("stats", "server:Stats", "totals of models, datasets, jobs and storage"),
        Entry("health", "server:Health", "whether the server is well"),
        Entry("storage", "server:Storage", "bytes per area, stored bytes and the disk"),
        Entry("usage", "usage:Usage", "how a model, a dataset or a namespace is used"),
        Entry("activity", "usage:Activity", "who did what, when and from where"),
        Entry("dashboard", "dashboard:Dashboard", "totals, queues, problems and response times"),
        Entry("settings", "dashboard:Settings", "settings of the server, and where they come from"),
        Entry("audit ls", "audit:Ls", "list who changed what (administrators)"),
        Entry("audit verify", "audit:Verify", "check that nothing was changed or cut off the audit log"),
        Entry("audit export", "audit:Export", "write the audit log to a file that can be verified anywhere"),
        Entry("audit head", "audit:Head", "print its newest entry, signed, to be kept elsewhere"),
        Entry("uploads ls", "uploads:Ls", "list uploads"),
        Entry("uploads show", "uploads:Show", "show one upload"),
        Entry("uploads watch", "upload_watching:Watch", "follow an upload live"),
        Entry("uploads stats", "uploads:Stats", "count uploads by how they ended"),
        Entry("uploads abort", "uploads:Abort", "give up an upload"),
        Entry("uploads retry", "uploads:Retry", "try a failed upload again"),
        Entry("uploads purge", "uploads:Purge", "forget failed uploads"),
        Entry("workers ls", "workers:Ls", "list machines that train"),
        Entry("operations ls", "operations:Ls", "list background work of the server"),
        Entry("operations show", "operations:Show", "show one piece of background work"),
        Entry("operations watch", "operation_watching:Watch", "follow one live, or all that runs"),
        Entry("operations cancel", "operations:Cancel", "ask one to stop"),
        Entry("operations retry", "operations:Retry", "run one again"),
        Entry("operations kinds", "operations:Kinds", "list what the server can do in the background"),
        Entry("upkeep", "upkeep:Upkeep", "clean, collect, scrub, verify or back up the store now"),
    ),
    "Who and where": (
        Entry("login", "account:Login", "sign in to a server and remember it"),
        Entry("logout", "account:Logout", "end the login, forget the server"),
        Entry("whoami", "account:Whoami", "show who is signed in"),
        Entry("context ls", "account:ContextLs", "list the servers one has signed in to"),
        Entry("context use", "account:ContextUse", "talk to another of them"),
        Entry("tokens ls", "tokens:Ls", "list API tokens"),
        Entry("tokens create", "tokens:Create", "make an API token, also for a worker"),
        Entry("tokens revoke", "tokens:Revoke", "make a token useless"),
        Entry("credentials ls", "credentials:Ls", "list the secrets kept for outside hosts"),
        Entry("credentials set", "credentials:Set", "keep a secret, such as a Hub token"),
        Entry("credentials rm", "credentials:Rm", "forget one"),
        Entry("users ls", "users:Ls", "list users"),
        Entry("users show", "users:Show", "show one user"),
        Entry("users create", "users:Create", "create a user with a namespace"),
        Entry("users edit", "users:Edit", "change name or role of one, or let nobody in as it"),
        Entry("users passwd", "users:Passwd", "set a password, one's own or another's"),
        Entry("users rm", "users:Rm", "remove one for good"),
        Entry("namespaces ls", "namespaces:Ls", "list what namespaces have and may have"),
        Entry("namespaces show", "namespaces:Show", "show one namespace"),
        Entry("namespaces create", "namespaces:Create", "create a namespace for a team"),
        Entry("namespaces rm", "namespaces:Rm", "remove an empty one"),
        Entry("namespaces quota", "namespaces:Quota", "set how much one may have"),
        Entry("members ls", "members:Ls", "list who belongs to a namespace"),
        Entry("members set", "members:Set", "let somebody in, or give another role"),
        Entry("members rm", "members:Rm", "remove a member"),
        Entry("access show", "access:Show", "show who sees a model or dataset"),
        Entry("access set", "access:Set", "set who sees it at large, or its owner"),
        Entry("access grant", "access:Grant", "show it to single users"),
        Entry("access revoke", "access:Revoke", "show it to them no more"),
        Entry("env", "environment:Env", "show versions, server and folders, for a report"),
        Entry("version", "environment:Version", "show the version of this program"),
        Entry("completion", "environment:Completion", "print completions for a shell"),
    ),
}
ENTRIES = {entry.name: entry for group in GROUPS.values() for entry in group}
# Words of the systems before Ingot, and of habit.
ALIASES = {
    "list": "ls",
    "get": "show",
    "download": "pull",
    "upload": "push",
    "update": "edit",
    "delete": "rm",
    "alias list": "alias ls",
    "alias delete": "alias rm",
    "jobs list": "jobs ls",
    "jobs get": "jobs show",
    "jobs delete": "jobs rm",
    "uploads list": "uploads ls",
    "uploads get": "uploads show",
    "workers list": "workers ls",
    "operations list": "operations ls",
    "operations get": "operations show",
    "operations delete": "operations cancel",
    "credentials list": "credentials ls",
    "credentials delete": "credentials rm",
    "context list": "context ls",
    "approvals list": "approvals ls",
    "approvals get": "approvals show",
    "audit list": "audit ls",
    "tokens list": "tokens ls",
    "users list": "users ls",
    "users get": "users show",
    "users add": "users create",
    "users update": "users edit",
    "users delete": "users rm",
    "passwd": "users passwd",
    "namespaces list": "namespaces ls",
    "namespaces get": "namespaces show",
    "namespaces delete": "namespaces rm",
    "namespaces members": "members ls",
    "members list": "members ls",
    "members add": "members set",
    "members delete": "members rm",
    "access get": "access show",
}
_NAMES = {*ENTRIES, *ALIASES}
NOUNS = frozenset(name.split()[0] for name in _NAMES if " " in name)


@dataclass(frozen=True, slots=True)
class Call:
    """What was typed: the command as typed, its entry (none: show the list), and the words left."""

    typed: str
    entry: Entry | None
    words: list[str]


def find(argv: list[str]) -> Call:
    """Return which command the words call. Raises Invalid with the nearest word."""
    flags, words = _split(argv)
    if words[:1] == ["help"]:
        words, flags = words[1:], ["--help"]
    if not words:
        return Call("", None, flags)
    first = words[0]
    if first in NOUNS:
        between, words = _split(words[1:])
        flags += between
        if not words:
            return Call(first, None, flags)
        first = f"{first} {words[0]}"
    if first not in _NAMES:
        raise _unknown(first)
    return Call(first, ENTRIES[ALIASES.get(first, first)], flags + words[1:])


def overview(noun: str = "") -> str:
    """Return the list of commands, or of those of one noun."""
    lines = [f"usage: ingot {noun or 'COMMAND'} {'COMMAND ' if noun else ''}[ARGUMENTS]", ""]
    if not noun:
        lines += ["Store, move and train models and datasets.", ""]
    widest = max(map(len, ENTRIES))
    for title, group in GROUPS.items():
        shown = [entry for entry in group if not noun or entry.name.startswith(f"{noun} ")]
        if shown:
            lines += [title, *(f"  {entry.name:{widest}}  {entry.about}" for entry in shown), ""]
    lines.append(f"More: ingot {noun + ' ' if noun else ''}COMMAND --help")
    return "\n".join(lines)


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    """Return the flags before the command, and everything from the command on."""
    at = 0
    while at < len(argv) and argv[at].startswith("-"):
        at += 2 if argv[at] in FLAGS_WITH_VALUE else 1
    return argv[:at], argv[at:]


def _unknown(typed: str) -> Invalid:
    noun, _, rest = typed.partition(" ")
    words = (
        {name for name in _NAMES if name.startswith(f"{noun} ")} if rest else {n.split()[0] for n in _NAMES}
    )
    near = difflib.get_close_matches(typed, sorted(words), n=1, cutoff=0.5)
    hint = f"Did you mean: ingot {near[0]}" if near else f"See: ingot {noun + ' ' if rest else ''}--help"
    return Invalid(f"There is no command {typed!r}.", reason="USAGE", next_step=hint)
