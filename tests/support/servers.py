"""Servers of a test's own, to be filled, stopped, cut off and promoted; and what a daemon must do meanwhile.

While something is wrong a daemon stays up, is not ready, and says what is wrong once a minute and not more often.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from actiond.host.postgres_binaries import server_user
from actiond.host.private_postgres import Binaries, PrivatePostgres, binaries_in, find_binaries
from actiond.postgres.migrate import migrate
from actiond.testing.databases import memory
from support.asking_http import get
from support.daemon import Daemon
from support.database import eventually

#: A daemon that is looked at, looks often, and loses its lease soon.
LOOKED_AT = {"ACTIOND_HTTP": "127.0.0.1:0", "ACTIOND_POLL_INTERVAL_S": "0.5", "ACTIOND_LEASE_S": "3"}
MINUTE_S = 59.9  # between two lines of one kind; a clock was read twice for each

WORK = """
@processor("one", history="all", concurrency=5, batch_size=20)
async def one(action):
    await asyncio.sleep(0.003)
    return action.run_id


@processor("long", history="all")
async def long(action):
    action.log.info("begun")
    await asyncio.sleep(0 if action.attempt > 1 else 600)
"""


def binaries(at_least: int = 15) -> Binaries:
    """Those of this test run (ACTIOND_TEST_PG), or the first found that are new enough; skips if there are none."""
    told = os.environ.get("ACTIOND_TEST_PG")
    found = [binaries_in(Path(told), "ACTIOND_TEST_PG")] if told else []
    found += find_binaries()
    fit = [each for each in found if each.major >= at_least]
    if not fit:
        pytest.skip(f"no PostgreSQL {at_least} or newer was found here (it has: {sorted({b.major for b in found})})")
    return fit[0]


def free_port() -> int:
    """Of 127.0.0.1, free a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@asynccontextmanager
async def own_server(
    root: Path | None = None, *, at_least: int = 15, port: int | None = None, **settings: str
) -> AsyncIterator[PrivatePostgres]:
    """Started, with the schema and the roles in the database postgres. `root`: kept when it stops."""
    chosen = binaries(at_least)
    place = None if root else memory()
    server = PrivatePostgres(root, temporary_in=place, binaries=chosen, port=port, settings=settings)
    try:
        await asyncio.to_thread(server.start)
        await migrate(server.dsn("postgres"), roles=True)
        yield server
    finally:
        await asyncio.to_thread(server.stop)


def said_by(server: PrivatePostgres, text: str) -> int:
    """How often the log of the server says this."""
    return (server.root / "log").read_text(errors="replace").count(text)


async def worker(conn: asyncpg.Connection, password: str | None = None) -> str:
    """A login that may do what a daemon needs, and that counts as anybody: no place is kept for it."""
    secret = f" password '{password}'" if password else ""
    await conn.execute(f"create role app_worker login{secret} in role actiond_daemon")
    return "app_worker"


def as_worker(dsn: str, password: str | None = None) -> str:
    """The same database as that login."""
    login = f"app_worker:{password}" if password else "app_worker"
    return re.sub(r"^(\w+://)([^@/]*@)?", rf"\g<1>{login}@", dsn)


async def sessions_end(conn: asyncpg.Connection, user: str = "app_worker") -> int:
    """The server ends every session of this user; gives how many there were."""
    many: int = await conn.fetchval(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = $1", user
    )
    return many


@dataclass(frozen=True, slots=True)
class Ready:
    """What /readyz of a daemon says."""

    daemon: Daemon

    async def is_(self, status: int, saying: str = "") -> str:
        """Wait until it answers with this status and this among what it says; gives that."""
        at = (await self.daemon.says("http_started"))["at"]

        async def answers() -> str | None:
            reply = await get(at, "/readyz")
            return reply.text if reply.status == status and saying in reply.text else None

        try:
            return await eventually(answers) or ""
        except AssertionError:
            reply = await get(at, "/readyz")
            raise AssertionError(f"/readyz still says {reply.status}: {reply.text}") from None


def at_most_once_a_minute(daemon: Daemon) -> None:
    """Assert it for what a daemon says of trouble, each connection and each error for itself."""
    told: dict[tuple[Any, ...], datetime] = {}
    for line in list(daemon.lines):
        if line.get("event") in ("connection_lost", "listener_lost", "backlog_unknown"):
            key, at = (line["event"], line.get("connection"), line["error"]), datetime.fromisoformat(line["timestamp"])
            assert key not in told or (at - told[key]).total_seconds() >= MINUTE_S, line
            told[key] = at


def become_standby(server: PrivatePostgres) -> None:
    """The next start is one of a standby, which waits for WAL from nobody until it is promoted."""
    signal = server.root / "data" / "standby.signal"
    signal.touch()
    given_to_the_server(signal)


@asynccontextmanager
async def standby_of(server: PrivatePostgres) -> AsyncIterator[PrivatePostgres]:
    """A copy of it that follows it, running."""
    program = binaries().folder / "pg_basebackup"
    if not program.is_file():
        pytest.skip(f"there is no pg_basebackup in {program.parent}, so no standby can be made")
    with tempfile.TemporaryDirectory(dir=memory(), prefix="actiond-standby-") as folder:
        root = Path(folder)
        given_to_the_server(root)
        source = ["-d", server.dsn(""), "--checkpoint=fast", "--write-recovery-conf"]
        command = [program, *source, "-D", root / "data"]
        await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
        given_to_the_server(*(root / "data").rglob("*"), root / "data")
        standby = PrivatePostgres(root, binaries=binaries())
        try:
            await asyncio.to_thread(standby.start)
            yield standby
        finally:
            await asyncio.to_thread(standby.stop)


def given_to_the_server(*paths: Path) -> None:
    """Where it runs as another user than we do."""
    user = server_user(None)
    for path in paths if user is not None else ():
        os.chown(path, user.uid, user.gid, follow_symlinks=False)  # type: ignore[union-attr]
