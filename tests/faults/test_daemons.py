"""Faults around daemons whose server is well: storms of failures, locks, deadlocks, old snapshots, rows that vanish."""

from __future__ import annotations

import asyncio
import signal

import anyio.lowlevel
import asyncpg
import pytest

from support.database import Database, eventually
from support.impatient import IMPATIENT
from support.rows import ask, look, nothing_claimed, until

pytestmark = pytest.mark.slow

WORK = """
@processor("work", retries=20, retry_interval="0.2 s", history="all", batch_size=50)
async def work(action):
    return action.data


@batch_processor("batches", batch_size=50)
async def batches(batch):
    batch.complete()


@processor("failing", retries=3, retry_interval="1 h")
async def failing(action):
    raise RuntimeError("as always")


@processor("broken", retries=50, retry_interval="1 s", breaker=0.5, breaker_outcomes=10, breaker_pause="1 h")
async def broken(action):
    raise RuntimeError("as always")


@processor("held_up", batch_size=10)
async def held_up(action):
    while not os.path.exists(action.data):
        await asyncio.sleep(0.02)
"""


async def test_the_only_daemon_is_killed_and_started_again(db, conn, start, processor_file, tmp_path) -> None:
    """As systemd does: what was in flight waits for nobody but the successor."""
    gate = tmp_path / "gate"
    first = await start(db.dsn, processor_file(WORK)).ready()
    ids = await ask(conn, "held_up", *[str(gate)] * 10)
    await eventually(lambda: conn.fetchval("select count(*) = 10 from actiond.action where claimed_by <> 0"))
    first.signal(signal.SIGKILL)
    assert await first.ends() == -signal.SIGKILL
    gate.touch()
    second = await start(db.dsn, processor_file(WORK)).ready()
    await second.says("rows_rescued", rows=10)
    await until(conn, ids, "completed")
    assert {(row["attempts"], row["crashes"]) for row in await look(conn, ids)} == {(2, 1)}


async def test_a_storm_of_failures_holds_up_no_other_processor(db, conn, start, processor_file) -> None:
    """Each row fails once and waits for its retry; a breaker stops the rest before it begins."""
    daemon = await start(db.dsn, processor_file(WORK)).ready()
    await conn.execute("insert into actiond.action (processor) select 'failing' from generate_series(1, 10000)")
    broken = await ask(conn, "broken", *range(2000))
    await until(conn, await ask(conn, "work", *range(200)), "completed")
    await daemon.says("breaker_opened", processor="broken")
    await eventually(lambda: _charged(conn, "failing", 10_000))
    await eventually(lambda: nothing_claimed(conn))
    tried = await conn.fetchval("select count(*) from actiond.action where id = any ($1) and attempts > 0", broken)
    assert tried < 200, "the breaker opened after ten outcomes and what was under way"


async def _charged(conn: asyncpg.Connection, processor: str, rows: int) -> bool:
    return rows == await conn.fetchval(
        "select count(*) from actiond.action where processor = $1 and retries_left = 2", processor
    )


async def test_whoever_locks_the_table_is_waited_for(db: Database, conn, start, processor_file, tmp_path) -> None:
    """A migration of somebody else: ACCESS EXCLUSIVE, for longer than a statement may take."""
    gate = tmp_path / "gate"
    daemon = await start(db.dsn, processor_file(IMPATIENT + WORK)).ready()
    ids = await ask(conn, "held_up", *[str(gate)] * 10)
    await eventually(lambda: conn.fetchval("select count(*) = 10 from actiond.action where claimed_by <> 0"))
    other = await db.connect()
    try:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("lock table actiond.action in access exclusive mode")
        gate.touch()
        await daemon.says("connection_lost")
        assert daemon.process.poll() is None
        await transaction.rollback()
        await until(conn, ids, "completed")
        await until(conn, await ask(conn, "work", *range(100)), "completed")
    finally:
        other.terminate()
    rows = await look(conn, ids)
    assert {(row["attempts"], row["crashes"]) for row in rows} == {(1, 0)}, "a lock is nobody's fault"


async def test_deadlocks_with_operators_charge_nobody(db: Database, conn, start, processor_file) -> None:
    """Others update the same rows, in the opposite order, while a daemon claims them and writes their outcomes."""
    await start(db.dsn, processor_file(WORK)).ready()
    over = asyncio.Event()

    async def disturb() -> int:
        other, deadlocks = await db.connect(), 0
        await other.execute("set deadlock_timeout = '10 ms'")
        while not over.is_set():
            try:
                async with other.transaction():
                    for order in ("desc", "asc"):
                        await other.execute(
                            "update actiond.action set priority = 3 - priority where id in (select id from "
                            f"actiond.action where status = 'pending' order by id {order} limit 40)"
                        )
            except asyncpg.DeadlockDetectedError:
                deadlocks += 1
            await anyio.lowlevel.checkpoint()
        other.terminate()
        return deadlocks

    disturbing = [asyncio.create_task(disturb()) for _ in range(2)]
    ids = [id_ for _ in range(20) for id_ in await ask(conn, "batches", *range(200))]
    await until(conn, ids, "completed")
    over.set()
    await asyncio.gather(*disturbing)
    rows = await conn.fetch("select distinct crashes, retries_left, error from actiond.action where id = any ($1)", ids)
    assert [tuple(row) for row in rows] == [(0, None, None)]


async def test_rows_that_vanish_under_a_daemon(db, conn, start, processor_file, tmp_path) -> None:
    """The table is emptied, or restored from a backup, while handlers run: what they say is about nothing."""
    gate = tmp_path / "gate"
    daemon = await start(db.dsn, processor_file(WORK)).ready()
    await ask(conn, "held_up", *[str(gate)] * 10)
    await eventually(lambda: conn.fetchval("select count(*) = 10 from actiond.action where claimed_by <> 0"))
    await conn.execute("truncate actiond.action, actiond.run, actiond.history restart identity")
    gate.touch()
    await daemon.says("outcomes_fenced")
    await until(conn, await ask(conn, "work", *range(50)), "completed")
    assert daemon.process.poll() is None
    assert await conn.fetchval("select count(*) from actiond.action") == 50


async def test_ids_beyond_four_bytes(db, conn, start, processor_file) -> None:
    await conn.execute("alter table actiond.action alter column id restart with 3000000000")
    await conn.execute("select setval('actiond.run_id_seq', 3000000000)")
    await conn.execute("alter table actiond.history alter column id restart with 3000000000")
    await start(db.dsn, processor_file(WORK)).ready()
    ids = await ask(conn, "work", *range(100)) + await ask(conn, "batches", *range(100))
    await until(conn, ids, "completed")
    assert min(ids) >= 3_000_000_000
    assert await conn.fetchval("select min(id) from actiond.run") > 3_000_000_000


async def test_an_old_snapshot_holds_vacuum_back_and_the_claims_go_on(
    db: Database, conn, start, processor_file
) -> None:
    """Somebody's report runs for hours: dead versions of rows stay where the claims look."""
    other = await db.connect()
    try:
        transaction = other.transaction(isolation="repeatable_read")
        await transaction.start()
        await other.fetchval("select count(*) from actiond.action")
        await start(db.dsn, processor_file(WORK)).ready()
        for _ in range(5):
            ids = await ask(conn, "batches", *range(4000))
            await until(conn, ids, "completed")
        await conn.execute("vacuum actiond.action")
        dead = await conn.fetchval("select n_dead_tup from pg_stat_user_tables where relname = 'action'")
        assert dead >= 20_000, "nothing was held back: this would prove nothing"
        looked = await conn.fetch(
            "explain (analyze, buffers, format text) select id from actiond.action where processor = 'batches' and "
            "status = 'pending' order by priority, next_eligible_at, id limit 50"
        )
        assert looked
        await until(conn, await ask(conn, "batches", *range(1000)), "completed")
        await transaction.rollback()
    finally:
        other.terminate()
