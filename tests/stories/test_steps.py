"""A step that walks through many rows, and daemons that are killed under it."""

from __future__ import annotations

import json

import pytest

from support.database import eventually
from support.rows import ask, until

pytestmark = pytest.mark.slow

ROWS = 40_000

WORK = """
import asyncpg
from actiond import CursorStep, Step, steps


class Visit(CursorStep):
    chunk = 500

    async def fetch(self, walk, after, limit):
        connection = await asyncpg.connect(os.environ["ACTIOND_DSN"])
        try:
            return await connection.fetch(
                "select id from public.item where id > $1 order by id limit $2", after or 0, limit)
        finally:
            await connection.close()

    async def each(self, walk, rows):
        connection = await asyncpg.connect(os.environ["ACTIOND_DSN"])
        try:
            await connection.execute(
                "update public.item set visits = visits + 1 where id between $1 and $2", rows[0]["id"], rows[-1]["id"])
        finally:
            await connection.close()

    async def finalize(self, walk):
        walk.memory["visited"] = walk.done


class Report(Step):
    async def execute(self, walk):
        walk.memory["reported"] = True


nightly = steps("nightly", [Visit(), Report()], retries=3)
"""


async def test_a_cursor_goes_on_behind_its_last_key_however_often_its_daemon_is_killed(
    db, conn, start, processor_file
) -> None:
    await conn.execute("create table public.item (id int primary key, visits int not null default 0)")
    await conn.execute("insert into public.item select generate_series(1, $1)", ROWS)
    file = processor_file(WORK)
    daemons = [await start(db.dsn, file).ready() for _ in range(2)]
    [id_] = await ask(conn, "nightly", {})
    killed = 0
    for share in (0.2, 0.5, 0.8):

        async def so_far(wanted: float = share * ROWS) -> bool:
            done = await conn.fetchval("select (state ->> 'done')::int from actiond.action where id = $1", id_)
            return (done or 0) >= wanted

        await eventually(so_far)
        holder = await conn.fetchval("select pid from actiond.daemon d, actiond.action a where d.id = a.claimed_by")
        for daemon in [each for each in daemons if each.process.pid == holder]:
            daemon.kill()
            daemons.remove(daemon)
            daemons.append(await start(db.dsn, file).ready())
            killed += 1
    [row] = await until(conn, [id_], "completed")
    assert json.loads(row["result"]) == {"visited": ROWS, "reported": True}
    assert row["crashes"] <= killed
    assert await conn.fetchval("select count(*) from public.item where visits = 0") == 0
    assert await conn.fetchval("select max(visits) from public.item") <= 1 + killed
