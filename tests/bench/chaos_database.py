"""Chaos scenarios of the server: its sessions, its connections, what others do in it, and a pooler before it."""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from contextlib import AsyncExitStack

import asyncpg
from tests.bench.chaos_stage import AWAY, LOOK_S, Stage, Way

from support.database import Database
from support.pooler import running_pooler

HELD_S = 8.0  # what goes on for a while goes on for so long
READERS, CUT_EVERY_S = 4, 0.2
RESTARTS, RESTART_ROWS = 20, 100
POOLER_AWAY_S = 2.0

LONG_READ = """
select count(md5(a.data::text || h.id)) from actiond.action a left join actiond.history h on h.action_id = a.id
"""
CUT_ONE = """
select pg_terminate_backend(pid) from pg_stat_activity
 where datname = current_database() and application_name like 'actiond%' order by random() limit 1
"""
CUT_ALL = """
select count(pg_terminate_backend(pid)) from pg_stat_activity
 where datname = current_database() and application_name like 'actiond%'
"""


async def idle_in_tx(stage: Stage) -> None:
    """A session keeps its snapshot and a transaction that has written, and does nothing: vacuum is held back."""
    async with stage.working(), stage.connected() as other:
        await other.execute("create table public.other (n int)")
        transaction = other.transaction(isolation="repeatable_read")
        await transaction.start()
        await other.execute("insert into public.other values (1)")
        await other.fetch("select count(*) from actiond.action")
        await asyncio.sleep(HELD_S)
        await stage.ask("vacuum actiond.action")
        await transaction.rollback()


async def active_readers(stage: Stage) -> None:
    """Reports overlap, so that there is an old snapshot at any time, and read everything over and over."""

    async def report(seed: int) -> int:
        reads = 0
        async with stage.connected() as connection:
            while time.time() < stage.fault_at + HELD_S:
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    for _ in range(5):
                        await connection.fetch(LONG_READ)
                        reads += 1
                        await asyncio.sleep(0.05 * seed)
        return reads

    async with stage.working():
        reads = await asyncio.gather(*(report(seed) for seed in range(READERS)))
        stage.said.append(f"{sum(reads)} reads of everything")


async def pg_backend_kill(stage: Stage) -> None:
    """Five times a second the server ends one of the daemons' sessions, whatever it is doing."""
    async with stage.working():
        cuts = 0
        while time.time() < stage.fault_at + HELD_S:
            cuts += len(await stage.ask(CUT_ONE))
            await asyncio.sleep(CUT_EVERY_S)
        stage.said.append(f"{cuts} sessions ended")


async def postgres_restart(stage: Stage) -> None:
    """Twenty times, killed and restarted in turns. From the first connection that it accepts to the next completion."""
    async with stage.working():
        for turn in range(RESTARTS):
            async with stage.connected() as connection:  # so that there is always something to do
                await stage.producer.insert(connection, "chaos_one", RESTART_ROWS)
            await asyncio.to_thread(stage.server.kill if turn % 2 else stage.server.restart)
            if turn % 2:
                await asyncio.gather(asyncio.to_thread(stage.server.start), _accepts(stage))
            else:
                await _accepts(stage)
            await asyncio.sleep(random.uniform(0.3, 1.5))


async def _accepts(stage: Stage) -> None:
    """Wait for it, and take the moment."""
    await stage.ask("select")
    stage.moments.append(time.time())


async def pool_exhaustion(stage: Stage) -> None:
    """Somebody takes every connection that the server has. The daemons lose theirs, and get none for eight seconds."""
    async with stage.working(), AsyncExitStack() as taken:
        connection = await taken.enter_async_context(stage.connected())
        await _take_all(stage, taken)
        ended, none_since = 0, time.time()
        while time.time() < none_since + HELD_S:
            if sessions := await connection.fetchval(CUT_ALL):  # one of them was quicker than we
                ended, none_since = ended + sessions, time.time()
                await _take_all(stage, taken)
            await asyncio.sleep(LOOK_S)
        stage.said.append(f"{ended} sessions of daemons ended")


async def _take_all(stage: Stage, taken: AsyncExitStack) -> None:
    while True:
        try:
            await taken.enter_async_context(stage.connected())
        except asyncpg.TooManyConnectionsError:
            return
        except AWAY:
            await asyncio.sleep(0.01)


async def pooler(stage: Stage) -> None:
    """Claims go through PgBouncer in transaction mode, over four connections; it is killed and comes back."""
    async with running_pooler(Database(stage.dsn, "chaos")) as pooler:
        way = Way(pooler.dsn, {"ACTIOND_LISTEN_DSN": stage.dsn})
        async with stage.working(way, way):
            await asyncio.to_thread(pooler.stop)
            await asyncio.sleep(POOLER_AWAY_S)
            await pooler.start()


def pooler_missing() -> str | None:
    found = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    return None if found else "pgbouncer is not installed here"
