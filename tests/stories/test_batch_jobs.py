"""Batch jobs: start, execute, finish; also when daemons die in the middle of each."""

from __future__ import annotations

import json

import pytest

from support.database import eventually
from support.rows import ask, look, until

pytestmark = pytest.mark.slow

WORK = """
from actiond import BatchJob, Item, batch_job


class Orders(BatchJob):
    async def start(self, job, connection, after, limit):
        await asyncio.sleep(job.data.get("start_s", 0))
        rows = await connection.fetch(
            "select id from public.orders where id > $1 order by id limit $2", after or 0, limit)
        return [Item(row["id"], {"order": row["id"]}, f"order {row['id']}") for row in rows]

    async def execute(self, batch):
        for action in batch:
            if action.data["order"] % 100 == 0:
                action.fail("no stock", SUDDEN_DEATH)
            else:
                action.complete()

    async def finish(self, job, connection, totals):
        await connection.execute("insert into public.finished values ($1)", job.id)
        return {"total": totals.total, "failed": totals.failed, "failed_ids": len(totals.failed_ids)}


class Letters(Orders):
    async def start(self, job, connection, after, limit):
        for number in range(job.data["count"]):
            yield Item(number, {"order": number + 1})


orders, order_items = batch_job("orders", Orders(), scope=50, page=200, retries=2)
letters, letter_items = batch_job("letters", Letters(), page=7, overlap=True)
"""


async def stock(conn, orders: int) -> None:
    await conn.execute("create table public.orders (id int primary key); create table public.finished (id bigint)")
    await conn.execute("insert into public.orders select generate_series(1, $1)", orders)


async def test_a_job_over_a_query_ends_once_with_its_totals_whoever_is_killed(db, conn, start, processor_file) -> None:
    await stock(conn, 3000)
    file = processor_file(WORK)
    daemons = [await start(db.dsn, file).ready() for _ in range(2)]
    [id_] = await ask(conn, "orders", {"start_s": 0.05})
    for wanted in (400, 1600):  # two deaths inside start

        async def made(at_least: int = wanted) -> bool:
            count = await conn.fetchval("select count(*) from actiond.action where parent_id = $1", id_)
            return count >= at_least

        await eventually(made)
        daemons.pop(0).kill()
        daemons.append(await start(db.dsn, file).ready())
    [row] = await until(conn, [id_], "completed")
    assert json.loads(row["result"]) == {"total": 3000, "failed": 30, "failed_ids": 30}
    distinct = "select count(*), count(distinct data ->> 'order') from actiond.action where parent_id = $1"
    assert tuple(await conn.fetchrow(distinct, id_)) == (3000, 3000)
    assert await conn.fetchval("select count(*) from public.finished") == 1
    held = "select max(cardinality(actions)) from actiond.run where processor = 'orders.items'"
    assert await conn.fetchval(held) == 50


@pytest.mark.parametrize("count", [0, 20])
async def test_start_may_be_a_generator_and_may_find_nothing(db, conn, start, processor_file, count) -> None:
    await stock(conn, 0)
    await start(db.dsn, processor_file(WORK)).ready()
    [id_] = await ask(conn, "letters", {"count": count})
    [row] = await until(conn, [id_], "completed")
    assert json.loads(row["result"])["total"] == count


async def test_a_job_does_not_begin_beside_an_older_one(db, conn, start, processor_file) -> None:
    await stock(conn, 10)
    await conn.execute("insert into actiond.processor (name, enabled) values ('orders.items', false)")
    await start(db.dsn, processor_file(WORK)).ready()
    [first] = await ask(conn, "orders", {})
    await until(conn, [first], "held")
    [second] = await ask(conn, "orders", {})
    [row] = await until(conn, [second], "canceled")
    assert row["error"] == f"action {first} of 'orders' is still open"
    await conn.execute("update actiond.processor set enabled = null where name = 'orders.items'")
    await until(conn, [first], "completed")
    [third] = await ask(conn, "orders", {})
    await until(conn, [third], "completed")
    assert [row["status"] for row in await look(conn, [first, second, third])] == ["completed", "canceled", "completed"]
