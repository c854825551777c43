"""host/settings: from the environment and from files of secrets; what is wrong is named, and never shown."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from actiond.host import settings as module
from actiond.host.settings import PREFIX, Settings, read
from actiond.words.errors import SettingInvalid

UNIT = Path(__file__).parents[2] / "deploy" / "actiond@.service"


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "SECRETS", tmp_path / "run" / "secrets")
    for name in list(os.environ):
        if name.startswith(PREFIX) or name == "CREDENTIALS_DIRECTORY":
            monkeypatch.delenv(name)


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that systemd gives to a service."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    return tmp_path


def test_nothing_set_is_a_daemon_on_the_local_socket() -> None:
    assert read().work_dsn == read().presence_dsn == "postgresql:///actiond"


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIOND_DSN", " postgresql://app@db/orders ")
    monkeypatch.setenv("ACTIOND_CONCURRENCY", "7")
    monkeypatch.setenv("ACTIOND_POLL_INTERVAL_S", "0.5")
    monkeypatch.setenv("ACTIOND_LISTEN", "false")
    settings = read()
    assert settings.work_dsn == settings.presence_dsn == "postgresql://app@db/orders"
    assert (settings.concurrency, settings.poll_interval_s, settings.listen) == (7, 0.5, False)


def test_presence_may_take_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIOND_DSN", "postgresql://pooler/orders")
    monkeypatch.setenv("ACTIOND_LISTEN_DSN", "postgres://db/orders")
    assert read().work_dsn == "postgresql://pooler/orders"
    assert read().presence_dsn == "postgres://db/orders"


def test_a_command_line_wins_and_what_it_leaves_out_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIOND_DSN", "postgresql://env/a")
    monkeypatch.setenv("ACTIOND_LOG_LEVEL", "error")
    settings = read(dsn="postgresql://line/a", log_level=None)
    assert settings.work_dsn == "postgresql://line/a"
    assert settings.log_level == "error"


def test_a_variable_nobody_knows_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIOND_PG_BIN", "/usr/lib/postgresql/16/bin")
    assert read() == Settings()


@pytest.mark.parametrize("name", ["ACTIOND_LISTEN_DSN", "ACTIOND_PROCESSORS"])
def test_a_variable_without_default_that_is_set_to_nothing_is_not_set(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "")  # as it stands in deploy/actiond.env
    assert read() == Settings()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ACTIOND_DSN", "mysql://app:hunter22@db/orders", "a DSN begins with postgresql://"),
        ("ACTIOND_DSN", "host=db password=hunter22", "a DSN begins with postgresql://"),
        ("ACTIOND_LISTEN_DSN", "hunter22", "a DSN begins with postgresql://"),
        ("ACTIOND_CONCURRENCY", "many", "integer"),
        ("ACTIOND_CONCURRENCY", "-1", "greater than or equal to 0"),
        ("ACTIOND_CONNECTIONS", "0", "greater than or equal to 1"),
        ("ACTIOND_CONNECTIONS", "51", "less than or equal to 50"),
        ("ACTIOND_POLL_INTERVAL_S", "0", "greater than 0"),
        ("ACTIOND_POLL_INTERVAL_S", "soon", "number"),
        ("ACTIOND_POLL_INTERVAL_S", "nan", ""),
        ("ACTIOND_DRAIN_S", "inf", ""),
        ("ACTIOND_LISTEN", "perhaps", "boolean"),
        ("ACTIOND_LOG_FORMAT", "xml", "'auto', 'console', 'json' or 'journal'"),
        ("ACTIOND_LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
    ],
)
def test_a_wrong_value_names_its_variable_and_is_not_repeated(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingInvalid) as refused:
        read()
    message = str(refused.value)
    assert message.startswith(f"{name}: ")
    assert said in message
    assert "hunter22" not in message
    assert "\n" not in message
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_a_wrong_value_of_a_command_line_names_the_variable_too() -> None:
    with pytest.raises(SettingInvalid, match="ACTIOND_DSN: "):
        read(dsn="hunter22")


FAR = "postgresql://app:hunter22@db.example.org/orders"


def test_a_host_that_is_believed_unseen_is_told_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIOND_DSN", "postgresql://localhost/orders")
    monkeypatch.setenv("ACTIOND_LISTEN_DSN", FAR)
    assert read().trusted_unseen == {"ACTIOND_LISTEN_DSN": ["db.example.org"]}
    monkeypatch.setenv("ACTIOND_TLS", "require")
    with pytest.raises(SettingInvalid) as refused:
        read()
    assert str(refused.value).startswith(
        "ACTIOND_TLS: ACTIOND_LISTEN_DSN leads to db.example.org: add sslmode=verify-full"
    )
    assert "hunter22" not in str(refused.value)
    monkeypatch.setenv("ACTIOND_LISTEN_DSN", f"{FAR}?sslmode=verify-full")
    assert read().trusted_unseen == {}


def test_what_is_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIOND_DSN", "postgresql://app:hunter22@db/orders")
    monkeypatch.setenv("ACTIOND_LISTEN_DSN", "postgresql://app:hunter22@db/orders")
    settings = read()
    assert "hunter22" not in repr(settings) + str(settings) + str(settings.model_dump()) + settings.model_dump_json()


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read().concurrency = 5


# Files of secrets.


def test_a_secret_comes_as_a_file_of_its_name(credentials: Path) -> None:
    (credentials / "dsn").write_text("postgresql://app:hunter22@db/orders\n")
    (credentials / "listen_dsn").write_text("postgresql://app:hunter22@direct/orders\n")
    assert read().work_dsn == "postgresql://app:hunter22@db/orders"
    assert read().presence_dsn == "postgresql://app:hunter22@direct/orders"


def test_in_a_container_a_file_has_the_name_of_its_variable(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "secrets"
    folder.mkdir(parents=True)
    (folder / "dsn").write_text("https://somebody.elses/secret")
    assert read() == Settings()
    (folder / "actiond_dsn").write_text("postgresql://app:hunter22@db/orders\n")
    assert read().work_dsn == "postgresql://app:hunter22@db/orders"


def test_a_credential_comes_before_a_file_of_the_container(credentials: Path) -> None:
    folder = credentials / "run" / "secrets"
    folder.mkdir(parents=True)
    (folder / "actiond_dsn").write_text("postgresql://container/orders")
    (credentials / "actiond_dsn").write_text("postgresql://long/orders")
    assert read().work_dsn == "postgresql://long/orders"
    (credentials / "dsn").write_text("postgresql://short/orders")
    assert read().work_dsn == "postgresql://short/orders"


def test_a_file_that_cannot_be_read_is_named_and_not_passed_over(credentials: Path) -> None:
    (credentials / "dsn").write_bytes(b"postgresql://hunter22\xff")
    with pytest.raises(SettingInvalid, match="dsn cannot be read: it is no text") as refused:
        read()
    assert "hunter22" not in str(refused.value)
    (credentials / "dsn").unlink()
    (credentials / "dsn").mkdir()
    with pytest.raises(SettingInvalid, match="dsn cannot be read: Is a directory"):
        read()


def test_the_credential_that_the_unit_loads_is_the_one_that_is_read(credentials: Path) -> None:
    loaded = re.search(r"^LoadCredential=(\w+):", UNIT.read_text(), re.MULTILINE)
    assert loaded
    (credentials / loaded[1]).write_text("postgresql://app:hunter22@db/orders\n")
    assert read().work_dsn == "postgresql://app:hunter22@db/orders"


def test_the_environment_wins_over_a_file(credentials: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("dsn", "actiond_dsn"):
        (credentials / name).write_text("postgresql://file/orders")
    monkeypatch.setenv("ACTIOND_DSN", "postgresql://env/orders")
    assert read().work_dsn == "postgresql://env/orders"
    assert read(dsn="postgresql://line/orders").work_dsn == "postgresql://line/orders"


def test_a_wrong_file_names_the_setting_and_is_not_repeated(credentials: Path) -> None:
    for name in ("dsn", "actiond_dsn"):
        (credentials / name).write_text("mysql://app:hunter22@db/orders")
    with pytest.raises(SettingInvalid, match="ACTIOND_DSN: ") as refused:
        read()
    assert "hunter22" not in str(refused.value)


def test_a_folder_of_secrets_that_is_missing_or_holds_other_things_is_no_matter(
    credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (credentials / "other").write_text("x")
    (credentials / "deeper").mkdir()
    assert read() == Settings()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials / "nowhere"))
    assert read() == Settings()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "")
    assert read() == Settings()


def test_http_and_its_token_are_read_and_the_token_is_never_shown(
    monkeypatch: pytest.MonkeyPatch, credentials: Path
) -> None:
    (credentials / "http_token").write_text("x" * 40 + "\n")
    monkeypatch.setenv("ACTIOND_HTTP", "0.0.0.0:9464")
    settings = read()
    assert settings.http_token is not None
    assert settings.http_token.get_secret_value() == "x" * 40
    assert "x" * 8 not in repr(settings)


@pytest.mark.parametrize("token", ["short", "x" * 31, "x" * 20 + " " + "x" * 20, "ü" * 40, "x" * 40 + "\x1b"])
def test_a_token_that_could_be_guessed_or_not_sent_is_refused(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("ACTIOND_HTTP_TOKEN", token)
    with pytest.raises(SettingInvalid) as wrong:
        read()
    assert str(wrong.value) == "ACTIOND_HTTP_TOKEN: a token has at least 32 ASCII characters and no space"


@pytest.mark.parametrize("where", ["0.0.0.0:9464", "[::]:9464", "10.0.0.1:1", "db.example.org:1"])
def test_an_address_that_others_reach_wants_a_token(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setenv("ACTIOND_HTTP", where)
    with pytest.raises(SettingInvalid, match=r"ACTIOND_HTTP: .* so ACTIOND_HTTP_TOKEN is needed"):
        read()
    monkeypatch.setenv("ACTIOND_HTTP_TOKEN", "x" * 40)
    assert read().http == where


def test_what_is_no_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIOND_HTTP", "9464")
    with pytest.raises(SettingInvalid, match="ACTIOND_HTTP: write 127"):
        read()
