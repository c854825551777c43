"""Every knob of the environment: its unit in the name or the text, its default, its reason.

Read from ACTIOND_* variables; each may also come as a file, so that a DSN with a password need not stand in the
environment: `dsn` or `actiond_dsn` in the credentials folder of systemd, `actiond_dsn` in /run/secrets, which is
for everything in a container. A variable wins over a file. The page docs/settings.md and the file
deploy/actiond.env are made from this class by host/pages.py.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import unquote

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from actiond.host import http_address
from actiond.rules import redaction
from actiond.rules.transit import unverified
from actiond.words.errors import SettingInvalid

PREFIX = "ACTIOND_"
SECRETS = Path("/run/secrets")
TOKEN_FROM = 32  # characters: a shorter one could be guessed


class _Files(PydanticBaseSettingsSource):
    """One file a setting. pydantic-settings' own source knows only the long name."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        long_name = f"{PREFIX.lower()}{field_name}"
        credentials = os.environ.get("CREDENTIALS_DIRECTORY")
        files = [Path(credentials, name) for name in (field_name, long_name)] if credentials else []
        if os.access(SECRETS, os.X_OK):  # a folder that is closed to us holds nothing for us
            files.append(SECRETS / long_name)
        texts = (text for path in files if (text := _text(path)) is not None)
        return next(texts, None), field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: text for name, text in found.items() if text is not None}


def _text(path: Path) -> str | None:
    """SettingInvalid for a file that is there and cannot be read."""
    try:
        return path.read_text("utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as wrong:  # ValueError: no UTF-8; what it is must not be shown
        why = wrong.strerror if isinstance(wrong, OSError) else "it is no text"
        raise SettingInvalid(f"{path} cannot be read: {why}") from None


class Settings(BaseSettings):
    """Frozen once read; SIGHUP reads overrides and processors again, not these."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    dsn: SecretStr = Field(
        SecretStr("postgresql:///actiond"),
        description="Where the rows are: postgresql://user:password@host:5432/database. May go through a "
        "pooler, also in transaction mode: see listen_dsn.",
    )
    listen_dsn: SecretStr | None = Field(
        None,
        description="A direct connection to the same database, for LISTEN and the liveness lock, where `dsn` goes "
        "through a pooler. Default: `dsn`.",
    )
    pooled: Literal["auto", "yes", "no"] = Field(
        "auto",
        description="Does `dsn` lead through a pooler, so that no setting and no prepared statement outlives a "
        "transaction? auto = found out at the start.",
    )
    tls: Literal["warn", "require", "off"] = Field(
        "warn",
        description="What to do about a DSN that leads to another host without sslmode=verify-full: warn = the daemon "
        "says so at its start; require = nothing connects; off = a tunnel, a mesh, a network of your own.",
    )
    processors: str = Field(
        "",
        description="Modules or files with processors, separated by commas: my.module, /srv/app/processors.py. "
        "Installed packages with the entry point `actiond.processors` are found without it.",
    )
    around: str = Field(
        "",
        description="module:function, several separated by commas: async context managers around every batch of every "
        "processor on this host, the first outermost.",
    )
    built_ins: str = Field(
        "",
        description="Which built-in processors rows of `actiond.processor` may use on this host, separated by commas: "
        "http, email. Default: all. Who may write that table runs programs here with `command`.",
    )
    concurrency: int = Field(
        0, ge=0, description="Handler calls at once on this daemon, over all processors; 0 = only each processor's own."
    )
    threads: int = Field(
        40, ge=1, le=1000, description="Worker threads for handlers that are not async, over all processors."
    )
    workers: int = Field(
        0,
        ge=0,
        le=1000,
        description="Worker processes for handlers with executor=process, over all processors; 0 = as many as there "
        "are CPUs. None is started before the first call.",
    )
    worker_memory_mb: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Megabytes that each worker process may use, unless its processor says `memory_mb`; beyond, an "
        "allocation is a MemoryError of its action. A bare worker takes some 40. 0 = no limit.",
    )
    loop_blocked_s: float = Field(
        1.0,
        ge=0.25,
        le=3600,
        description="Seconds that a handler may hold the event loop before the log names it with its stack "
        "(`loop_blocked`).",
    )
    connections: int = Field(
        3,
        ge=1,
        le=50,
        description="Connections for claims and outcomes. With handler_connections and one for presence this is all "
        "that a daemon opens.",
    )
    handler_connections: int = Field(
        5, ge=1, le=100, description="Connections for batch.transaction(), opened when first used."
    )
    poll_interval_s: float = Field(
        5.0, gt=0, le=3600, description="Seconds between safety polls: what a lost notification costs at most."
    )
    listen: bool = Field(
        True, description="Off: never LISTEN, find rows by polling alone (poolers without sessions, other engines)."
    )
    lease_s: float = Field(
        30.0,
        ge=3,
        le=600,
        description="Seconds without a heartbeat (it comes every second) after which a frozen or cut-off daemon counts "
        "as dead; a killed one is noticed within about 3.5 s whatever this says.",
    )
    drain_s: float = Field(
        20.0,
        ge=0,
        le=3600,
        description="Seconds that running calls may take to end after SIGTERM; then they are cancelled.",
    )
    unsaved_max: int = Field(
        10_000,
        ge=1,
        description="Outcomes of one processor that may wait for the database; above it nothing is claimed.",
    )
    runaways_max: int = Field(
        3, ge=1, description="Handlers that ignore their cancellation before the daemon ends itself to be started anew."
    )
    log_format: Literal["auto", "console", "json", "journal"] = Field(
        "auto", description="auto = console on a terminal, else json; journal = for systemd, without timestamps."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is printed.")

    log_adapter: str = Field(
        "",
        description="module:callable that also gets every event, as a dict, in a thread of its own; stderr gets its "
        "lines all the same. One that does not load costs a warning.",
    )
    http_token: SecretStr | None = Field(
        None,
        description="At least 32 characters that a client has to send as `Authorization: Bearer ...`. Better as a "
        "file of this name among the credentials than here.",
    )
    http_hosts: str = Field(
        "",
        description="Names of this host, separated by commas, that a client may put into `Host`, beside localhost, "
        "the host name and addresses in numbers: a web page must not get here by a name of its own.",
    )
    http: str = Field(
        "",
        description="Where /metrics, /healthz and /readyz are served: 127.0.0.1:9464 or the path of a unix socket, "
        "/run/actiond/main/http.sock. Empty: nowhere. An address that other hosts can reach needs http_token. "
        "Needs the extra actiond[metrics].",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """A command line, then variables, then files."""
        return init_settings, env_settings, _Files(settings_cls)

    @field_validator("dsn", "listen_dsn", mode="before")
    @classmethod
    def _looks_like_a_dsn(cls, value: Any, info: ValidationInfo) -> Any:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if text == "" and info.field_name == "listen_dsn":
            return None
        if isinstance(text, str) and not text.strip().startswith(("postgres://", "postgresql://")):
            raise ValueError("a DSN begins with postgresql://")
        return text.strip() if isinstance(text, str) else text

    @model_validator(mode="after")
    def _verifies(self) -> Self:
        if self.tls == "require" and self.trusted_unseen:
            name, hosts = next(iter(self.trusted_unseen.items()))
            raise ValueError(
                f"{name} leads to {', '.join(hosts)}: add sslmode=verify-full and, for a CA of your own, "
                "sslrootcert=FILE"
            )
        return self

    @property
    def trusted_unseen(self) -> dict[str, list[str]]:
        """Variable -> the hosts that its DSN would believe without having seen who they are."""
        given = {"ACTIOND_DSN": self.dsn, "ACTIOND_LISTEN_DSN": self.listen_dsn}
        found = {name: unverified(dsn.get_secret_value(), os.environ) for name, dsn in given.items() if dsn is not None}
        return {name: hosts for name, hosts in found.items() if hosts}

    @field_validator("http_token")
    @classmethod
    def _hard_to_guess(cls, token: SecretStr | None) -> SecretStr | None:
        given = token.get_secret_value() if token is not None else ""
        if not given:
            return None
        if len(given) < TOKEN_FROM or not given.isascii() or not given.isprintable() or " " in given:
            raise ValueError(f"a token has at least {TOKEN_FROM} ASCII characters and no space")
        return token

    @field_validator("http")
    @classmethod
    def _closed_to_strangers(cls, text: str, info: ValidationInfo) -> str:
        # Declared after http_token, so that it is known here; it is not if it was wrong, and that is told then.
        if text and not http_address.parse(text).loopback and info.data.get("http_token") is None:
            raise ValueError(
                f"{text} can be reached from other hosts, so ACTIOND_HTTP_TOKEN is needed "
                "(or listen on 127.0.0.1 or a unix socket)"
            )
        return text

    @property
    def work_dsn(self) -> str:
        """For claims, outcomes and handlers."""
        return self.dsn.get_secret_value()

    @property
    def presence_dsn(self) -> str:
        """For LISTEN and the liveness lock."""
        return (self.listen_dsn or self.dsn).get_secret_value()


def read(**given: Any) -> Settings:
    """From the environment, with what a command line gives on top. SettingInvalid names the variable."""
    try:
        chosen = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as wrong:
        first = wrong.errors(include_url=False, include_input=False)[0]
        name = PREFIX + str(first["loc"][0] if first["loc"] else "tls").upper()  # the one that is about several
        raise SettingInvalid(f"{name}: {first['msg'].removeprefix('Value error, ')}") from None
    redaction.learn(*_secrets_of(chosen))
    return chosen


def _secrets_of(chosen: Settings) -> list[str]:
    """What is to be hidden wherever it stands. Not a password that is also the name of a user, a host, a database."""
    found = [chosen.http_token.get_secret_value()] if chosen.http_token else []
    for dsn in {chosen.work_dsn, chosen.presence_dsn}:
        password = re.match(r"\w+://[^/@:]*:([^/@]+)@", dsn)
        if password and dsn.count(password[1]) == 1:
            found += {password[1], unquote(password[1])}
    return found
