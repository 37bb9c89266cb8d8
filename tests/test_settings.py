"""Settings: where a value comes from, what is refused, and that the table is the only place."""

import re
from pathlib import Path

import pytest

from ingot.server.core.kinds import QUEUES
from ingot.server.settings import checks, loading, page, table
from ingot.server.settings.fields import Settings, SettingsError

ROOT = Path(__file__).parents[1]


def test_without_anything_the_defaults_hold() -> None:
    assert loading.load({}, {}) == Settings()


def test_flags_beat_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    file = tmp_path / "ingot.toml"
    file.write_text('data_dir = "/from/file"\nlog_level = "error"\nio_threads = 3\n')
    environment = {"INGOT_DATA_DIR": "/from/environment", "INGOT_LOG_LEVEL": "warning"}
    found = loading.load({"data_dir": "/from/flag"}, environment, file)
    assert (found.data_dir, found.log_level, found.io_threads) == (Path("/from/flag"), "warning", 3)


@pytest.mark.contract("S1-21")
def test_upload_dir_of_a_source_system_names_the_data_folder() -> None:
    assert loading.load({}, {"UPLOAD_DIR": "/srv/uploads"}).data_dir == Path("/srv/uploads")


def test_other_variables_of_the_source_systems_are_accepted() -> None:
    environment = {
        "MODELS_MOUNT_POINT": "./models",
        "DATABASE_URL": "sqlite:////srv/meta.db",
        "PORT": "3001",
    }
    found = loading.load({}, environment)
    assert found.mount_point == Path("models")
    assert found.database == "sqlite:////srv/meta.db"
    assert found.listen == ("127.0.0.1:3001",)


@pytest.mark.contract("S2-14")
def test_the_mount_point_is_models_unless_set_and_then_keeps_everything() -> None:
    unset, chosen = (
        loading.load({}, {}),
        loading.load({}, {"MODELS_MOUNT_POINT": "/srv/models"}),
    )
    assert (unset.usual_export_folder, unset.mount) == (Path("models").absolute(), None)
    assert (chosen.usual_export_folder, chosen.mount) == (Path("/srv/models"), Path("/srv/models"))
    assert unset.usual_export_folder in unset.export_folders


def test_our_own_variable_beats_one_of_a_source_system() -> None:
    environment = {
        "PORT": "3001",
        "INGOT_LISTEN": "127.0.0.1:1, 127.0.0.1:2",
        "UPLOAD_DIR": "/a",
        "INGOT_DATA_DIR": "/b",
    }
    found = loading.load({}, environment)
    assert (found.listen, found.data_dir) == (("127.0.0.1:1", "127.0.0.1:2"), Path("/b"))


def test_the_database_is_in_the_data_folder_unless_set() -> None:
    assert loading.load({"data_dir": "/srv"}, {}).database == "sqlite:////srv/ingot.db"


@pytest.mark.parametrize(
    ("flags", "environment", "told"),
    [
        ({}, {"INGOT_IO_THREADS": "many"}, "INGOT_IO_THREADS: expected a whole number, got 'many'"),
        ({}, {"INGOT_IO_THREADS": "0"}, "io_threads: expected more than 0, got 0"),
        ({"drain_seconds": "-1"}, {}, "drain_seconds: expected 0 or more, got -1"),
        ({}, {"INGOT_HEALTH": "maybe"}, "INGOT_HEALTH: expected true or false, got 'maybe'"),
        ({"worker_lease_seconds": "3"}, {}, "expected at most half of worker_lease_seconds"),
        (
            {"body_memory_bytes": "1000"},
            {},
            "body_memory_bytes: expected 0 or at least 268435456, .* got 1000",
        ),
        ({"operation_lease_seconds": "1"}, {}, "operation_lease_seconds: expected at least 3, .*, got 1"),
        ({"operation_queues": "download"}, {}, "operation_queues: expected queue=number .*, got 'download'"),
        ({}, {"INGOT_OPERATION_QUEUES": "download=2,upload=1"}, "one of the queues .*, got 'upload=1'"),
        ({"operation_queues": ("maintenance=0",)}, {}, "expected maintenance=1 or more, got maintenance=0"),
        ({"operation_dispatcher": "redis"}, {}, "expected rows or memory, got 'redis'"),
        ({"operation_attempts": "0"}, {}, "operation_attempts: expected more than 0, got 0"),
        ({"clean_hours": "-1"}, {}, "clean_hours: expected 0 or more, got -1"),
        ({"backup_keep": "-1"}, {}, "backup_keep: expected 0 or more, got -1"),
        ({"scrub_hours": "-1"}, {}, "scrub_hours: expected 0 or more, got -1"),
        ({"collect_hours": "nan"}, {}, "--collect-hours: expected a number, got 'nan'"),
        ({}, {"INGOT_CALL_SECONDS": "inf"}, "INGOT_CALL_SECONDS: expected a number, got 'inf'"),
        ({"max_model_bytes": str(2**63)}, {}, "--max-model-bytes: expected a whole number, got '9223"),
        ({"disk_upload_percent": "97"}, {}, "none below the one before it, got 85, 97, 96"),
        ({"log_level": "loud"}, {}, "log_level: expected one of debug, info, warning, error, got 'loud'"),
        ({"listen": ("7070",)}, {}, "listen: expected host:port such as 127.0.0.1:7070, got '7070'"),
        ({}, {"PORT": "99999"}, "listen: expected host:port"),
        ({"listen": ("0.0.0.0:7070",)}, {}, "0.0.0.0:7070 can be reached from other machines.*--insecure"),
        ({"tls_cert": "server.pem"}, {}, "tls_cert, tls_key: expected both, or none of them"),
        ({"tls_key": "server.key"}, {}, "tls_cert, tls_key: expected both, or none of them"),
        ({"tls_client_ca": "ca.pem"}, {}, "tls_client_ca: expected with tls_cert and tls_key only"),
        ({"login_minutes": "0"}, {}, "login_minutes: expected more than 0, got 0"),
        ({"listen": ("[::]:7070",)}, {}, r"\[::\]:7070 can be reached from other machines"),
        ({"listen": ("ingot.example:7070",)}, {}, "ingot.example:7070 can be reached"),
    ],
)
def test_a_value_that_cannot_be_is_refused(
    flags: dict[str, loading.Value], environment: dict[str, str], told: str
) -> None:
    with pytest.raises(SettingsError, match=told):
        loading.load(flags, environment)


def test_a_reachable_address_needs_an_explicit_word() -> None:
    flags: dict[str, loading.Value] = {"listen": ("0.0.0.0:7070",), "insecure": True}
    assert loading.load(flags, {}).listen == ("0.0.0.0:7070",)


def test_a_reachable_address_with_a_certificate_needs_none() -> None:
    flags: dict[str, loading.Value] = {
        "listen": ("0.0.0.0:7070",),
        "tls_cert": "server.pem",
        "tls_key": "server.key",
    }
    assert loading.load(flags, {}).has_tls


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.9.9.9:1", "localhost:1", "[::1]:1"])
def test_loopback_addresses_are_known(address: str) -> None:
    assert checks.is_loopback(address)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('log_levle = "info"', "there is no setting 'log_levle'. Did you mean log_level?"),
        ("log_level = ", "is not TOML"),
        ("io_threads = true", r"io_threads in .*: expected a whole number, got True"),
        ("listen = [1]", "expected a list of texts"),
        ("listen = []", "listen: expected at least one address such as 127.0.0.1:7070, got none"),
    ],
)
def test_a_file_that_cannot_be_is_refused(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "ingot.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=told):
        loading.load({}, {}, file)


def test_a_list_in_a_file_may_be_empty(tmp_path: Path) -> None:
    file = tmp_path / "ingot.toml"
    file.write_text("export_roots = []\n")
    assert loading.load({}, {}, file).export_roots == ()


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        loading.load({}, {}, tmp_path / "none.toml")


def test_a_queue_that_is_not_named_keeps_its_default() -> None:
    limits = checks.queue_limits(("download=7", "export=0"))
    assert [limits.of(queue) for queue in QUEUES] == [7, 2, 0, 2]
    assert checks.queue_limits(()) == checks.queue_limits(Settings().operation_queues)


def test_the_page_is_current() -> None:
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == page.markdown()


@pytest.mark.parametrize("setting", table.table(), ids=lambda setting: setting.name)
def test_every_setting_is_used_somewhere(setting: table.Setting) -> None:
    code = [
        path.read_text(encoding="utf-8")
        for path in (ROOT / "server").rglob("*.py")
        if not path.name.startswith("settings")
    ]
    properties = {
        "audit_head_file": "audit_head",
        "backup_dir": "backup_folder",
        "database_url": "database",
        "insecure": "listen",
        "mount_point": "mount",
        "export_roots": "export_folders",
        "import_roots": "import_folders",
    }
    name = properties.get(setting.name, setting.name)
    # Bodies get them by name: settings.texts("name").
    assert any(re.search(rf"settings\.({name}\b|\w+\(\"{name}\"\))", text) for text in code)


@pytest.mark.contract("S2-15")
def test_the_token_for_the_hub_comes_from_its_usual_variables_and_is_never_shown(tmp_path: Path) -> None:
    for variable in ("INGOT_HUB_TOKEN", "HUGGINGFACE_TOKEN", "HF_TOKEN"):
        found = loading.load({}, {variable: "hf_secret"})
        assert found.hub_token == "hf_secret"
        assert "hf_secret" not in repr(found)
    file = tmp_path / "ingot.toml"
    file.write_text("hub_token = 12345678\n")
    with pytest.raises(SettingsError, match="hub_token") as caught:
        loading.load({}, {}, file)
    assert "12345678" not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"HF_ENDPOINT": "huggingface.co"}, "hub_endpoint"),
        ({"INGOT_IMPORT_PRIVATE_NETWORKS": "10.0.0.1/8"}, "import_private_networks"),
        ({"INGOT_OPERATION_QUEUES": "maintenance=0"}, "maintenance"),
        ({"INGOT_OPERATION_QUEUES": "downloads=1"}, "operation_queues"),
    ],
)
def test_settings_of_sources_and_queues_are_checked(environment: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        loading.load({}, environment)
