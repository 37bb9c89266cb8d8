"""docs/settings.md, made from the table of settings."""

from ingot.server.settings.table import table


def markdown() -> str:
    """Return the page docs/settings.md."""
    lines = [
        "# Settings of the server",
        "",
        "Made from `server/ingot/server/settings/fields.py` by `make coverage`; edit it there.",
        "",
        "A value comes from the first of: the flag, the environment (variables in their order), the TOML",
        "file given with `--config`, the default. In the environment a list is separated by commas.",
        "",
        "| setting | is | default | environment | what it does |",
        "|---|---|---|---|---|",
    ]
    for setting in table():
        variables = ", ".join(f"`{name}`" for name in setting.variables)
        cells = (f"`{setting.name}`", setting.kind_word, setting.default, variables, setting.help)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", _EXAMPLE])


_EXAMPLE = """\
As flags a setting is written with dashes, `--drain-seconds 5`; `--data` stands for `--data-dir`; secrets are
no flags. As a file:

```toml
data_dir = "/var/lib/ingot"
listen = ["127.0.0.1:7070"]
log_level = "info"
```
"""
