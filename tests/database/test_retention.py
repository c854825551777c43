"""Old rows: what has outlived the retention of its processor goes, with what belongs to it, and nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from actiond.loops.clerks import RETENTION_S, of_old_rows
from actiond.postgres.retention_store import Page, RetentionStore
from actiond.postgres.statements import Statements
from support.work import claim, insert, outcomes, pool_of, register, settle, store_of

HOUR, DAY = "1 hour", "1 day"


async def keeps(conn: asyncpg.Connection, processor: str, completed: str | None, failed: str | None) -> None:
    await conn.execute(
        "insert into actiond.processor (name, retention_completed, retention_failed) "
        "values ($1, $2::text::interval, $3::text::interval)",
        processor, completed, failed,
    )  # fmt: skip


async def old(conn: asyncpg.Connection, rows: int = 1, processor: str = "p", status: str = "completed", **more: Any):
    """Ids of actions that ended two hours ago, and were made then."""
    ids = await insert(conn, rows, processor, **more)
    await conn.execute("set session_replication_role = replica")  # no trigger judges what is made up here
    await conn.execute(
        "update actiond.action set status = $2, created_at = created_at - interval '2 h', "
        "finished_at = actiond.now() - interval '2 h' where id = any ($1)",
        ids, status,
    )  # fmt: skip
    await conn.execute("reset session_replication_role")
    return ids


async def left(conn: asyncpg.Connection) -> list[int]:
    return [row["id"] for row in await conn.fetch("select id from actiond.action order by id")]


async def walk(pool: Any, rows: int = 1000) -> int:
    """A whole walk, due now; how many it deleted."""
    await pool.execute("update actiond.purge set due_at = '-infinity'")
    store = RetentionStore(pool, Statements(), rows)
    while (page := await store.purge()) is not None and page.walk_goes_on:
        pass
    assert page is not None
    assert page.deleted_by_walk is not None
    return page.deleted_by_walk


@pytest.mark.parametrize(
    ("status", "completed", "failed", "goes"),
    [
        ("completed", HOUR, None, True), ("completed", DAY, None, False), ("completed", None, HOUR, False),
        ("canceled", HOUR, None, True), ("canceled", None, HOUR, False),
        ("failed", None, HOUR, True), ("failed", HOUR, None, False), ("failed", HOUR, DAY, False),
        ("pending", HOUR, HOUR, False), ("held", HOUR, HOUR, False), ("completed", None, None, False),
    ],
)  # fmt: skip
async def test_what_goes(conn, pool, status, completed, failed, goes) -> None:
    await keeps(conn, "p", completed, failed)
    ids = await old(conn, 3, status=status)
    others = await old(conn, 2, processor="kept", status="completed")
    assert await walk(pool) == (3 if goes else 0)
    assert await left(conn) == (others if goes else sorted(ids + others))


async def test_what_code_declares_holds_until_somebody_overrides_it(conn, pool) -> None:
    await conn.execute(
        "insert into actiond.processor (name, declared) values ('p', jsonb_build_object('retention_completed', '1 h'))"
    )
    await conn.execute("update actiond.processor set retention_completed = '1 year'")
    await old(conn)
    assert await walk(pool) == 0
    await conn.execute("update actiond.processor set retention_completed = null")
    assert await walk(pool) == 1


async def test_the_history_of_an_action_goes_with_it_and_no_other(conn, pool) -> None:
    await keeps(conn, "p", HOUR, None)
    gone, stays = await old(conn, 2), await old(conn, 2, processor="kept")
    for id_ in gone + stays:
        await conn.execute("insert into actiond.history (action_id, event) values ($1, 'retried')", id_)
    await conn.execute("insert into actiond.history (processor, event) values ('p', 'set')")
    await walk(pool)
    found = await conn.fetch("select action_id, processor from actiond.history order by id")
    assert {row["action_id"] for row in found} == {*stays, None}


async def test_a_child_stays_while_its_parent_is_open(conn, pool) -> None:
    await keeps(conn, "p", HOUR, HOUR)
    (parent,) = await insert(conn, processor="parent")
    children = await old(conn, 3, parent_id=parent)
    assert await walk(pool) == 0
    await conn.execute("update actiond.action set status = 'canceled' where id = $1", parent)
    assert await walk(pool) == 3
    assert await left(conn) == [parent]
    assert children


async def test_an_action_stays_while_another_one_waits_for_it(conn, pool) -> None:
    await keeps(conn, "p", HOUR, HOUR)
    first, second = await old(conn, 2)
    await conn.execute("set session_replication_role = replica")
    await conn.execute(
        "insert into actiond.action (processor, status, waits_for, waits_on) values ('q', 'held', 'end', $1)", first
    )
    await conn.execute("reset session_replication_role")
    assert await walk(pool) == 1
    assert second not in await left(conn)
    assert first in await left(conn)


async def test_what_somebody_holds_locked_is_left_for_the_next_walk(conn, db, pool) -> None:
    await keeps(conn, "p", HOUR, None)
    first, second = await old(conn, 2)
    async with pool_of(db, 1) as other, other.acquire() as holder:
        transaction = holder.transaction()
        await transaction.start()
        await holder.execute("select from actiond.action where id = $1 for update", first)
        assert await walk(pool) == 1
        assert await left(conn) == [first]
        await transaction.rollback()
    assert second
    assert await walk(pool) == 1


async def test_a_row_that_is_retried_while_the_walk_comes_stays(conn, db, pool) -> None:
    """The lock is waited for by nobody, and whoever changed the row meanwhile has won."""
    await keeps(conn, "p", HOUR, HOUR)
    (id_,) = await old(conn, status="failed")
    await conn.fetch("select * from actiond.retry($1::bigint[])", [id_])
    assert await walk(pool) == 0
    assert await left(conn) == [id_]


async def test_a_walk_goes_page_by_page_and_rests(conn, pool) -> None:
    await keeps(conn, "p", HOUR, None)
    await old(conn, 25)
    young = await insert(conn, 25)
    await pool.execute("update actiond.purge set due_at = '-infinity'")
    store = RetentionStore(pool, Statements(), 10)
    assert [await store.purge(), await store.purge()] == [Page(10, None), Page(10, None)]
    assert await store.purge() == Page(5, 25), "the first page that is too young for any retention is the last"
    assert await store.purge() is None, "a rest"
    assert await left(conn) == young
    waits = await conn.fetchval("select extract(epoch from due_at - clock_timestamp()) from actiond.purge")
    assert 200 < waits <= 300


async def test_of_several_daemons_one_walks_and_another_goes_on_where_it_stopped(conn, db, pool) -> None:
    await keeps(conn, "p", HOUR, None)
    await old(conn, 400)
    async with pool_of(db, 4) as wide:
        stores = [RetentionStore(wide, Statements(), 7) for _ in range(4)]
        deleted = 0
        while await conn.fetchval("select due_at < clock_timestamp() from actiond.purge"):
            deleted += sum(page.deleted for page in await asyncio.gather(*(each.purge() for each in stores)) if page)
    assert deleted == 400
    assert await conn.fetchval("select deleted from actiond.purge") == 400
    assert await left(conn) == []


async def test_runs_go_when_nobody_keeps_anything_that_long_and_their_hours_stay(conn, pool) -> None:
    await keeps(conn, "p", HOUR, DAY)
    await register(conn, "p")
    await insert(conn, 3)
    store = store_of(pool)
    await settle(store, outcomes(await claim(store)))
    await conn.execute("update actiond.run set finished_at = started_at - interval '2 h'")
    for upto, failed, runs in (("infinity", DAY, 1), ("-infinity", HOUR, 1), ("infinity", HOUR, 0)):
        await conn.execute("update actiond.fold set upto = $1::text::timestamptz", upto)  # until then they are in hours
        await conn.execute("update actiond.processor set retention_failed = $1::text::interval", failed)
        await walk(pool)
        assert await conn.fetchval("select count(*) from actiond.run") == runs, (upto, failed)


async def test_the_loop_tells_what_a_walk_deleted(conn, pool) -> None:
    await keeps(conn, "p", HOUR, None)
    await old(conn, 3)
    loop = of_old_rows(RetentionStore(pool, Statements(), 2))
    with capture_logs() as lines:
        assert await loop.step() < 1
        assert await loop.step() >= 0.9 * RETENTION_S
        assert await loop.step() >= 0.9 * RETENTION_S
    assert [(line["event"], line["actions"]) for line in lines] == [("old_rows_deleted", 3)]


async def test_the_loop_lives_through_a_lost_connection(conn, db) -> None:
    async with pool_of(db, 1) as pool:
        loop = of_old_rows(RetentionStore(pool, Statements()))
    with capture_logs() as lines:
        assert await loop.step() == RETENTION_S
    assert [line["event"] for line in lines] == ["connection_lost"]


async def test_a_page_is_found_by_key(conn, pool) -> None:
    await old(conn, 2000)
    await conn.execute("analyze actiond.action")
    plan = await conn.fetch("explain select x.id from actiond.action x where x.id > 1000 order by x.id limit 10")
    assert any("action_pkey" in row[0] for row in plan)
