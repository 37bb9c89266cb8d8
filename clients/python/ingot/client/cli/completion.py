"""Completion scripts, made from the list of commands: words are completed, files after them."""

from ingot.client.cli.commands import ALIASES, ENTRIES, NOUNS


def script(kind: str) -> str:
    """Return the script for bash, zsh or fish."""
    return (
        _fish()
        if kind == "fish"
        else _bash()
        if kind == "bash"
        else f"autoload -U bashcompinit\nbashcompinit\n{_bash()}"
    )


def _words(noun: str = "") -> list[str]:
    """Return the first words of all commands, or the second ones of a noun."""
    names = [*ENTRIES, *ALIASES]
    if not noun:
        return sorted({name.split()[0] for name in names} | {"help"})
    return sorted(name.split()[1] for name in names if name.startswith(f"{noun} "))


def _bash() -> str:
    cases = "\n".join(f"      {noun}) words={' '.join(_words(noun))!r} ;;" for noun in sorted(NOUNS))
    return f"""\
_ingot() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" words=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    words={" ".join(_words())!r}
  elif [ "$COMP_CWORD" -eq 2 ]; then
    case "${{COMP_WORDS[1]}}" in
{cases}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _ingot ingot
"""


def _fish() -> str:
    lines = [f"complete -c ingot -n __fish_use_subcommand -a {' '.join(_words())!r}"]
    lines += [
        f"complete -c ingot -n '__fish_seen_subcommand_from {noun}' -a {' '.join(_words(noun))!r}"
        for noun in sorted(NOUNS)
    ]
    return "\n".join(lines) + "\n"
