"""A daemon as the unit starts it: credentials in a folder, a socket to tell news to, signals; all real but systemd."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command import actiond
from support.daemon import COMMAND
from support.database import eventually
from support.rows import ask, until
from support.systemd import Systemd

pytestmark = pytest.mark.slow

WORK = """
@processor("greet")
async def greet(action):
    return 1
"""
#: /run/secrets belongs to the machine, so this process has it elsewhere.
ELSEWHERE = "import pathlib, actiond.host.settings as s; s.SECRETS = pathlib.Path({folder!r}); "


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    listener = Systemd(tmp_path / "notify")
    yield listener
    listener.close()


async def test_ready_then_watchdog_then_stopping(db, start, processor_file, systemd, tmp_path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "dsn").write_text(f"{db.dsn}\n")
    env = {**systemd.env, "CREDENTIALS_DIRECTORY": str(credentials)}
    daemon = await start(None, processor_file(WORK), env=env).ready()
    await eventually(lambda: systemd.hears("WATCHDOG=1", times=3))
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends() == 0
    systemd.hears("STOPPING=1")
    news = [line for line in systemd.heard if line in ("READY=1", "WATCHDOG=1", "STOPPING=1")]
    assert news[0] == "READY=1"
    assert news.count("READY=1") == news.count("STOPPING=1") == 1
    assert news.count("WATCHDOG=1") >= 3
    assert set(news[1 : news.index("STOPPING=1")]) == {"WATCHDOG=1"}


async def test_a_secret_of_a_container_is_found(db, start, processor_file, tmp_path) -> None:
    (tmp_path / "actiond_dsn").write_text(f"{db.dsn}\n")
    command = [*COMMAND[:-1], ELSEWHERE.format(folder=str(tmp_path)) + COMMAND[-1]]
    daemon = await start(None, processor_file(WORK), command=command).ready()
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends() == 0


async def test_a_module_is_read_again_at_sighup(db, conn, start, tmp_path) -> None:
    module = tmp_path / "greetings_of_mine.py"
    source = "from actiond import processor\n\n@processor('greet')\nasync def greet(action): return {}\n"
    module.write_text(source.format(1))
    env = {"ACTIOND_PROCESSORS": "greetings_of_mine", "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    daemon = await start(db.dsn, env=env).ready()

    async def greeting() -> str:
        [row] = await until(conn, await ask(conn, "greet"), "completed")
        return row["result"]

    assert await greeting() == "1"
    module.write_text(source.format(2))
    daemon.signal(signal.SIGHUP)
    await daemon.says("processor_reloaded", processor="greet")
    assert await greeting() == "2"
    module.write_text("def broken(:\n")
    daemon.signal(signal.SIGHUP)
    await daemon.says("processor_reload_failed")
    assert await greeting() == "2"


# Secrets stay where they are.


def known_to_the_machine(pid: int) -> bytes:
    """Arguments and environment of a process, where they can be seen."""
    files = [Path(f"/proc/{pid}/{name}") for name in ("cmdline", "environ")]
    return b"".join(file.read_bytes() for file in files if file.exists())


async def test_a_password_is_in_no_argument_no_environment_no_line_and_no_status(
    db, conn, start, processor_file, tmp_path
) -> None:
    dsn = db.dsn.replace("//postgres@", "//postgres:hunter22@")
    assert dsn != db.dsn, "the tests' own server needs no password, and takes any"
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "dsn").write_text(dsn)
    daemon = await start(None, processor_file(WORK), env={"CREDENTIALS_DIRECTORY": str(credentials)}).ready()
    assert b"hunter22" not in known_to_the_machine(daemon.process.pid)
    for command in (("status",), ("status", "--json"), ("processors", "--json")):
        said = await actiond(*command, dsn=dsn)
        assert "hunter22" not in said.out + said.err
    await conn.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'actiond%'")
    await daemon.says("listener_restored")
    assert "hunter22" not in json.dumps(daemon.lines)


@pytest.mark.parametrize("wrong", ["@127.0.0.1:1/x", "@127.0.0.1:x/x", "@no.such.host.invalid/x", "@/x?host=/nowhere"])
async def test_a_dsn_that_leads_nowhere_does_not_tell_its_password(wrong: str) -> None:
    said = await actiond("status", dsn=f"postgresql://app:hunter22{wrong}")
    assert said.code in (2, 3)
    assert "hunter22" not in said.out + said.err


async def test_a_host_that_is_believed_unseen_is_told_at_the_start(db, start, processor_file) -> None:
    far = "postgresql://app:hunter22@no.such.host.invalid/x"
    daemon = start(db.dsn, processor_file(WORK), env={"ACTIOND_LISTEN_DSN": far})
    line = await daemon.says("host_unverified", connection="ACTIOND_LISTEN_DSN")
    assert line["hosts"] == ["no.such.host.invalid"]
    said = await actiond("status", dsn=far, env={"ACTIOND_TLS": "require"})
    assert said.code == 2
    assert said.line.startswith("actiond: ACTIOND_TLS: ACTIOND_DSN leads to no.such.host.invalid")
    quiet = start(db.dsn, processor_file(WORK), env={"ACTIOND_LISTEN_DSN": far, "ACTIOND_TLS": "off"})
    await quiet.says("connection_lost")
    assert quiet.heard("host_unverified") == []
