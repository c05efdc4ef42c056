"""Settings: flag, then variable, then default; all of them checked at once."""

from pathlib import Path

import pytest

from farthing.app import SETTINGS, read_settings, settings_in_force, unknown_variables, without_password
from farthing.kernel.errors import InvalidInput


def test_defaults_are_valid_and_complete() -> None:
    settings = read_settings({}, {})
    assert settings.tenant == "default"
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8080, 2)
    assert settings.database_url is None
    assert (settings.threads, settings.memory_limit) == (2, "2GB")
    assert settings.too_late_seconds == 316_224_000
    assert settings.too_early_seconds == 3600
    assert settings.keep_log_seconds == 86_400
    assert settings.data_dir.is_absolute()
    assert {setting.name for setting in SETTINGS} == set(settings.__slots__)


def test_a_flag_stands_before_a_variable_and_a_variable_before_the_default(tmp_path: Path) -> None:
    environ = {"FARTHING_DATA": str(tmp_path), "FARTHING_PORT": "9000", "FARTHING_TENANT": "  "}
    settings = read_settings(environ, {"port": "0", "tenant": None})
    assert (settings.data_dir, settings.port, settings.tenant) == (tmp_path, 0, "default")
    sources = {found.setting.name: found.source for found in settings_in_force(environ, {"port": "0"})}
    assert sources["data_dir"] == "FARTHING_DATA"
    assert sources["port"] == "--port"
    assert sources["tenant"] == "default"


def test_everything_that_is_wrong_is_named_at_once(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    environ = {
        "FARTHING_DATA": str(file),
        "FARTHING_DATABASE_URL": "mysql://somewhere",
        "FARTHING_PORT": "65536",
        "FARTHING_WORKERS": "many",
        "FARTHING_MEMORY_LIMIT": "lots",
        "FARTHING_TOO_LATE_SECONDS": "-1",
        "FARTHING_LOG_LEVEL": "loud",
    }
    with pytest.raises(InvalidInput) as refused:
        read_settings(environ, {"tenant": " x", "workers": "0"})
    assert refused.value.code == "invalid_settings"
    assert [fault.path for fault in refused.value.faults] == [
        "FARTHING_DATA",
        "FARTHING_DATABASE_URL",
        "--tenant",
        "FARTHING_PORT",
        "--workers",
        "FARTHING_LOG_LEVEL",
        "FARTHING_MEMORY_LIMIT",
        "FARTHING_TOO_LATE_SECONDS",
    ]
    assert refused.value.faults[3].message == "must be a whole number from 0 to 65535, not '65536'"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:s3cret@db.example/books", "postgresql://me:***@db.example/books"),
        ("postgresql://me@db.example/books", "postgresql://me@db.example/books"),
        (
            "postgresql:///books?host=/run&password=s3cret&x=1",
            "postgresql:///books?host=/run&password=***&x=1",
        ),
        ("postgresql://db/books?PASSWORD=s3cret", "postgresql://db/books?PASSWORD=***"),
    ],
)
def test_passwords_are_not_shown(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_variables_that_nobody_reads_are_named() -> None:
    assert unknown_variables({"FARTHING_PROT": "1", "FARTHING_PORT": "1", "PATH": "/bin"}) == [
        "FARTHING_PROT"
    ]
