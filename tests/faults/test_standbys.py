"""A server that only reads: nothing is claimed, the log says why, and after a promotion everything goes on."""

from __future__ import annotations

import asyncio
import signal
import time
from urllib.parse import quote

import asyncpg
import pytest

from support.database import eventually
from support.rows import ask, completed_once, nothing_claimed, until
from support.servers import (
    LOOKED_AT,
    WORK,
    Ready,
    at_most_once_a_minute,
    become_standby,
    own_server,
    standby_of,
)

pytestmark = pytest.mark.slow

READS_ONLY = "the server only reads: it is a standby, or default_transaction_read_only is on"
AT_LEAST = 100  # rows, so that there is always some work


async def promoted(conn: asyncpg.Connection, ids: list[int], measured) -> None:
    """Promote the server of this connection; every row is completed once."""
    assert await conn.fetchval("select pg_promote()")
    since_s = time.monotonic()
    await eventually(lambda: some_completed(conn))
    measured(first_outcome_s=round(time.monotonic() - since_s, 2))
    await until(conn, ids, "completed")
    await completed_once(conn, ids)
    await eventually(lambda: nothing_claimed(conn))


async def some_completed(conn: asyncpg.Connection) -> bool:
    return bool(await conn.fetchval("select exists (select from actiond.action where status = 'completed')"))


async def test_a_daemon_that_starts_on_a_standby_waits_for_its_promotion(start, processor_file, measured) -> None:
    async with own_server() as server:
        conn = await asyncpg.connect(server.dsn("postgres"))
        ids = await ask(conn, "one", *[{}] * AT_LEAST)
        await conn.close()
        become_standby(server)
        await asyncio.to_thread(server.restart)
        conn = await asyncpg.connect(server.dsn("postgres"))
        daemon = start(server.dsn("postgres"), processor_file(WORK), env=LOOKED_AT)
        assert (await daemon.says("connection_lost", connection="start"))["error"].startswith(READS_ONLY)
        await Ready(daemon).is_(503, "it is starting")
        await promoted(conn, ids, measured)
        await Ready(daemon).is_(200)
        at_most_once_a_minute(daemon)
        await conn.close()
        daemon.signal(signal.SIGTERM)
        assert await daemon.ends() == 0


async def test_a_primary_that_becomes_a_standby_is_waited_for(start, processor_file, measured) -> None:
    async with own_server() as server:
        daemon = await start(server.dsn("postgres"), processor_file(WORK), env=LOOKED_AT).ready()
        conn = await asyncpg.connect(server.dsn("postgres"))
        await conn.execute("insert into actiond.setting (name, value) values ('paused', 'true')")
        ids = await ask(conn, "one", *[{}] * AT_LEAST)
        await conn.execute("delete from actiond.setting")
        await conn.close()
        become_standby(server)
        await asyncio.to_thread(server.restart)
        conn = await asyncpg.connect(server.dsn("postgres"))
        await eventually(lambda: daemon.heard("connection_lost", error=READS_ONLY))
        await daemon.says("lease_lost")
        await Ready(daemon).is_(503, READS_ONLY)
        assert daemon.process.poll() is None
        await promoted(conn, ids, measured)
        await Ready(daemon).is_(200)
        at_most_once_a_minute(daemon)
        assert not [line for line in daemon.lines if line.get("level") == "error" and line["event"] != "lease_lost"]
        await conn.close()


async def test_of_two_servers_a_daemon_follows_the_one_that_writes(start, processor_file, measured) -> None:
    async with own_server() as first, standby_of(first) as second:
        # The standby stands first, and nothing in the DSN says which kind is wanted.
        hosts = ",".join(quote(str(server.root / "run"), safe="/") for server in (second, first))
        dsn = f"postgresql://postgres@/postgres?host={hosts}"
        daemon = await start(dsn, processor_file(WORK), env=LOOKED_AT).ready()
        there = await asyncpg.connect(first.dsn("postgres"))
        await until(there, await ask(there, "one", *[{}] * AT_LEAST), "completed")
        ids = await ask(there, "one", *[{}] * AT_LEAST)
        await asyncio.to_thread(first.kill)
        there.terminate()
        await daemon.says("listener_lost")
        conn = await asyncpg.connect(second.dsn("postgres"))
        ids = await arrived(conn, ids)
        assert await conn.fetchval("select pg_promote()")
        since_s = time.monotonic()
        await daemon.says("listener_restored")
        await until(conn, [*ids, *await ask(conn, "one")], "completed")
        measured(all_done_s=round(time.monotonic() - since_s, 2))
        await completed_once(conn, ids)
        await Ready(daemon).is_(200)
        assert daemon.process.poll() is None
        await conn.close()


async def arrived(conn: asyncpg.Connection, ids: list[int]) -> list[int]:
    """Those that the standby had got before the primary died."""
    return [row["id"] for row in await conn.fetch("select id from actiond.action where id = any($1::bigint[])", ids)]
