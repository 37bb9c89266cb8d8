"""Where settings come from, and that what is shown of them holds no secret."""

from pathlib import Path

import pytest

from ingot.server.core.shown_settings import ShownSetting
from ingot.server.settings import loading, showing
from ingot.server.settings.fields import Settings
from ingot.server.settings.table import table


def _shown(
    flags: dict[str, loading.Value], environment: dict[str, str], config: Path | None = None
) -> dict[str, ShownSetting]:
    loaded = loading.load_with_origins(flags, environment, config)
    return {each.name: each for each in showing.shown(loaded.settings, loaded.origins)}


def test_each_setting_tells_where_it_came_from(tmp_path: Path) -> None:
    config = tmp_path / "ingot.toml"
    config.write_text('drain_seconds = 5\nlog_level = "debug"\n')
    found = _shown({"log_level": "error"}, {"INGOT_ACTIVITY_DAYS": "7", "PORT": "7171"}, config)
    assert (found["log_level"].value, found["log_level"].origin) == ("error", "--log-level")
    assert (found["activity_days"].value, found["activity_days"].origin) == ("7", "INGOT_ACTIVITY_DAYS")
    assert (found["listen"].value, found["listen"].origin) == ("127.0.0.1:7171", "PORT")
    assert (found["drain_seconds"].value, found["drain_seconds"].origin) == ("5.0", str(config))
    assert (found["read_threads"].value, found["read_threads"].origin) == ("4", "default")


def test_all_settings_are_shown_in_their_order() -> None:
    shown = showing.shown(Settings(), {})
    assert [each.name for each in shown] == [each.name for each in table()]
    assert all(each.help and each.kind for each in shown)


def test_secrets_are_told_to_be_set_and_nothing_more() -> None:
    secrets = [each.name for each in table() if each.secret]
    assert secrets
    for name in secrets:
        found = _shown({}, {f"INGOT_{name.upper()}": "hunter2"})
        assert (found[name].value, found[name].populated, found[name].secret) == ("", True, True)
        assert not any("hunter2" in str(each) for each in found.values())
        assert not _shown({}, {})[name].populated


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("https://hub.example", "https://hub.example"),
        ("https://me:word@hub.example/x", "https://…@hub.example/x"),
        ("https://token@hub.example", "https://…@hub.example"),
    ],
)
def test_logins_in_addresses_are_left_out(given: str, shown: str) -> None:
    assert _shown({"hub_endpoint": given}, {})["hub_endpoint"].value == shown
