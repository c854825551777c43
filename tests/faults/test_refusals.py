"""A server that refuses a daemon that was ready: for as long as it takes, and then everything goes on."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import pytest

from support.daemon import COMMAND, Daemon
from support.database import eventually
from support.rows import ask, completed_once, nothing_claimed, until
from support.servers import (
    LOOKED_AT,
    WORK,
    Ready,
    as_worker,
    at_most_once_a_minute,
    free_port,
    own_server,
    said_by,
    sessions_end,
    worker,
)

pytestmark = pytest.mark.slow

REFUSED = 20  # times: so it really tries


@asynccontextmanager
async def refused(daemon: Daemon, conn: asyncpg.Connection, reason: str) -> AsyncIterator[list[int]]:
    """Around the mending: rows wait, the daemon has lost its lease, is not ready and is there; gives the rows."""
    ids = await ask(conn, "one", *[{}] * 50)
    await daemon.says("lease_lost")
    await eventually(lambda: any(reason in line["error"] for line in daemon.heard("connection_lost")))
    await sessions_end(conn)  # one may have been on its way in
    await Ready(daemon).is_(503, reason)
    yield ids
    assert daemon.process.poll() is None


async def goes_on(daemon: Daemon, conn: asyncpg.Connection, ids: list[int], measured) -> None:
    mended_s = time.monotonic()
    await until(conn, ids[:1], "completed")
    measured(first_outcome_s=round(time.monotonic() - mended_s, 2))
    await until(conn, ids, "completed")
    assert await Ready(daemon).is_(200) == "ok\n"
    await completed_once(conn, ids)
    await eventually(lambda: nothing_claimed(conn))
    at_most_once_a_minute(daemon)
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends() == 0


async def test_a_server_without_a_free_place_is_waited_for(start, processor_file, measured) -> None:
    async with own_server(max_connections="25") as server:
        conn = await asyncpg.connect(server.dsn("postgres"))
        await worker(conn)
        daemon = await start(as_worker(server.dsn("postgres")), processor_file(WORK), env=LOOKED_AT).ready()
        crowd: list[asyncpg.Connection] = []

        async def nobody_else_fits() -> bool:
            with suppress(asyncpg.TooManyConnectionsError):
                crowd.append(await asyncpg.connect(server.dsn("postgres")))
            return not await sessions_end(conn) and said_by(server, "sorry, too many clients already") >= REFUSED

        await eventually(nobody_else_fits)
        async with refused(daemon, conn, "sorry, too many clients already") as ids:
            for each in crowd:
                await each.close()
        await goes_on(daemon, conn, ids, measured)
        await conn.close()


async def test_a_server_that_does_not_let_anybody_in_yet_is_waited_for(start, processor_file, measured) -> None:
    """It shuts down and waits for the last session: the code is that of a server that starts up."""
    async with own_server() as server:
        conn = await asyncpg.connect(server.dsn("postgres"))
        await worker(conn)
        daemon = await start(as_worker(server.dsn("postgres")), processor_file(WORK), env=LOOKED_AT).ready()
        assert server.pid is not None
        os.kill(server.pid, signal.SIGTERM)
        await eventually(lambda: said_by(server, "smart shutdown request"))
        await sessions_end(conn)
        async with refused(daemon, conn, "the database system is shutting down") as ids:
            await eventually(lambda: said_by(server, "the database system is shutting down") >= REFUSED)
            await conn.close()
            await eventually(lambda: said_by(server, "database system is shut down"))
            await asyncio.to_thread(server.restart)
        conn = await asyncpg.connect(server.dsn("postgres"))
        await goes_on(daemon, conn, ids, measured)
        await conn.close()


@pytest.mark.parametrize(
    ("breaks", "mends", "reason"),
    [
        ("password 'another'", "password 'right'", "password authentication failed"),
        ("valid until '2000-01-01'", "valid until 'infinity'", "password authentication failed"),
        ("nologin", "login", "is not permitted to log in"),
    ],
    ids=["wrong_password", "expired_password", "may_not_log_in"],
)
async def test_credentials_that_no_longer_hold_are_tried_until_they_do(
    start, processor_file, measured, breaks, mends, reason
) -> None:
    async with own_server(port=free_port()) as server:
        conn = await asyncpg.connect(server.dsn("postgres"))
        await worker(conn, "right")
        dsn = as_worker(server.dsn("postgres"), "right")
        daemon = await start(dsn, processor_file(WORK), env=LOOKED_AT).ready()
        await conn.execute(f"alter role app_worker {breaks}")
        assert await sessions_end(conn) > 0
        async with refused(daemon, conn, reason) as ids:
            await eventually(lambda: said_by(server, reason) >= REFUSED)
            await conn.execute(f"alter role app_worker {mends}")
        await goes_on(daemon, conn, ids, measured)
        assert "right" not in str([line.get("error") for line in daemon.lines])
        await conn.close()


NAME = "db.actiond.test"


def with_names_of(hosts: Path, switch: Path) -> list[str]:
    """A command whose process sees these files as /etc/hosts and /etc/nsswitch.conf; skips where that cannot be."""
    script = 'mount --bind "$0" /etc/hosts && mount --bind "$1" /etc/nsswitch.conf && shift && exec "$@"'
    within = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(hosts), str(switch)]
    if not shutil.which("unshare") or subprocess.run([*within, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine gives a process no mount namespace, so names cannot be taken away from it alone")
    return within


async def test_a_name_that_leads_nowhere_is_asked_for_until_it_leads_somewhere(
    start, processor_file, tmp_path, measured
) -> None:
    known, unknown = f"127.0.0.1 localhost {NAME}\n", "127.0.0.1 localhost\n"
    hosts, switch = tmp_path / "hosts", tmp_path / "nsswitch.conf"
    hosts.write_text(known)
    switch.write_text("hosts: files\n")
    within = with_names_of(hosts, switch)
    async with own_server(port=free_port()) as server:
        conn = await asyncpg.connect(server.dsn("postgres"))
        await worker(conn, "right")
        dsn = as_worker(server.dsn("postgres"), "right").replace("127.0.0.1", NAME)
        file = processor_file(WORK)
        daemon = await start(dsn, file, env={**LOOKED_AT, "ACTIOND_TLS": "off"}, command=[*within, *COMMAND]).ready()
        hosts.write_text(unknown)
        assert await sessions_end(conn) > 0
        async with refused(daemon, conn, "gaierror") as ids:
            hosts.write_text(known)
        await goes_on(daemon, conn, ids, measured)
        await conn.close()
