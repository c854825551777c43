"""What Postgres does for our statements: never all of a large table, also by a plan it made when there was none."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from actiond.postgres.action_store import Claim, Parcel
from actiond.postgres.connection import work_pool
from actiond.postgres.statements import Statements
from actiond.rules.pace import LEVELS, Watermark
from support.clock import move_now
from support.database import eventually
from support.work import claim, insert, outcomes

MANY = 100_000
FEW = 10  # rows that a statement deals with
BUFFERS = 1_000  # pages it may look at for that; all rows that wait would be a hundred times as many

STEP = """1, '{ids}', '{runs}', '{{failed,failed}}', '{{no,no}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{t}}', '{{}}',
  '{{{run}}}', '{{"{{1}}"}}', '{{"{{1}}"}}',
  'p', 10, '{{0,1,2,3}}', array_fill(timestamptz '2000-01-01', '{{4}}'), '{{0,0,0,0}}', -1, null, true"""

#: Every statement of the work pool that looks at actions or runs, with arguments for one run of FEW rows.
ARGUMENTS = {
    "step": STEP,
    "next_due": "'p'",
    "poll": "",
    "waiting_names": "",
    "adopt_run": "{run}, 1",
    "give_back": "1, {run}, '{ids}'",
    "lock_claimed": "1, {run}, '{ids}'",
    "withdrawn": "1, '{{{run}}}'",
    "note_fenced": "'{ids}', '{runs}', '{kinds}', '{{}}'",
    "open_runs": "1, 100",
    "left_behind": "",
    "rescue": "1, {run}, false, 3",
    "running_globally": "'p', true",
}


def call(name: str, run: int, ids: list[int]) -> str:
    """EXECUTE of the prepared statement."""

    def array(values: Any) -> str:
        return "{" + ",".join(map(str, values)) + "}"

    arguments = ARGUMENTS[name].format(
        run=run, ids=array(ids), runs=array([run] * len(ids)), kinds=array(["completed"] * len(ids))
    )
    return f"execute {name}" + (f"({arguments})" if arguments else "")


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


class Planned:
    """A connection as claims and outcomes have it, with all statements prepared and run once."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.run, self.ids = 0, [0]

    async def prepare(self) -> None:
        for name in ARGUMENTS:
            await self.connection.execute(f"prepare {name} as {Statements()[name]}")
            await self._undone(call(name, 0, [0]))

    async def _undone(self, statement: str) -> Any:
        transaction = self.connection.transaction()
        await transaction.start()
        try:
            return await self.connection.fetch(statement)
        finally:
            await transaction.rollback()

    async def plan(self, name: str, options: str = "") -> dict[str, Any]:
        rows = await self._undone(f"explain (format json, costs off{options}) {call(name, self.run, self.ids)}")
        return json.loads(rows[0][0])[0]["Plan"]

    async def buffers(self, name: str) -> int:
        plan = await self.plan(name, ", analyze, buffers, timing off")
        return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


@pytest.fixture
async def planned(conn, db) -> AsyncIterator[Planned]:
    """Prepared on an empty table, which is loaded then; nothing tells Postgres to plan anew."""
    await conn.execute(
        "alter table actiond.action set (autovacuum_enabled = off); alter table actiond.run set (autovacuum_enabled = off);"
        "insert into actiond.processor (name) values ('p')"
    )
    pool = await work_pool(db.dsn, 1)
    async with pool.acquire() as connection:
        planned = Planned(connection)
        await planned.prepare()
        await insert(conn, MANY)
        # Ten thousand runs that ended, whose index entries nobody has removed.
        await conn.execute(
            "insert into actiond.run (id, processor, daemon, actions, started_at)"
            " select -i, 'p', 1, '{}', actiond.now() from generate_series(2, 10000) i;"
            "update actiond.run set finished_at = actiond.now()"
        )
        ids = [row["id"] for row in await conn.fetch(f"select id from actiond.action order by id desc limit {FEW}")]
        await conn.execute("update actiond.action set claimed_by = 1, run_id = 1 where id = any($1)", ids)
        await conn.execute(
            "insert into actiond.run (id, processor, daemon, actions, started_at) values (1, 'p', 1, $1, actiond.now())",
            ids,
        )
        planned.run, planned.ids = 1, ids
        yield planned
    pool.terminate()


async def test_x(planned, conn) -> None:
    for name in ARGUMENTS:
        print(name, await planned.buffers(name))
    await conn.execute("analyze")
    for name in ARGUMENTS:
        print(name, await planned.buffers(name))
