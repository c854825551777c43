"""What Postgres does for our statements: never all of a large table, also by a plan it made when there was none."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from actiond.postgres.action_store import Claim, Parcel
from actiond.postgres.connection import work_pool
from actiond.postgres.statements import Statements
from actiond.rules.pace import LEVELS
from actiond.rules.watermark import BEGINNING, Watermark
from support.database import eventually
from support.work import claim, insert, outcomes, store_of

MANY = 100_000
FEW = 10  # rows that a statement deals with
BUFFERS = 350  # pages that may take; all rows that wait are thousands

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

#: Every statement of the work pool that looks at actions or runs, with arguments for one run of FEW rows.
ARGUMENTS = {
    "step": "1, {ids}, {runs}, '{{failed}}', '{{no}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{t}}', '{{}}',"
    " array[{run}], array['{{1}}'], array['{{1}}'],"
    " 'p', {few}, '{{0,1,2,3}}', array_fill({mark_at}, '{{4}}'), array_fill({mark_id}, '{{4}}'), -1, null, true",
    "next_due": "'p'",
    "poll": "",
    "waiting_names": "",
    "adopt_run": "{run}, 1",
    "give_back": "1, {run}, {ids}",
    "lock_claimed": "1, {run}, {ids}",
    "withdrawn": "1, array[{run}]",
    "note_fenced": "{ids}, {runs}, array_fill('completed'::text, array[cardinality({ids})]), '{{}}'",
    "open_runs": "1, 100",
    "left_behind": "",
    "rescue": "1, {run}, false, 3",
    "running_globally": "'p', true",
    "fold_until": "",
    "fold_runs": "actiond.now(), 5000",
}


def array(values: Iterable[int]) -> str:
    return f"array[{', '.join(map(str, values))}]::bigint[]"


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """This step of a plan and all below it."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


class Planned:
    """A connection as claims and outcomes have it, where every statement was prepared and run once."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self.run, self.ids = 0, [0]

    async def prepare(self) -> None:
        for name in ARGUMENTS:
            await self.connection.execute(f"prepare {name} as {Statements()[name]}")
            await self._undone(self._call(name))

    def _call(self, name: str, mark: tuple[Any, int] = BEGINNING) -> str:
        arguments = ARGUMENTS[name].format(
            run=f"{self.run}::bigint",
            ids=array(self.ids),
            runs=array([self.run] * len(self.ids)),
            few=FEW,
            mark_at=f"timestamptz '{mark[0]}'",
            mark_id=f"{mark[1]}::bigint",
        )
        return f"execute {name}" + (f"({arguments})" if arguments else "")

    async def _undone(self, statement: str) -> Any:
        transaction = self.connection.transaction()
        await transaction.start()
        try:
            return await self.connection.fetch(statement)
        finally:
            await transaction.rollback()

    async def plan(self, name: str, options: str = "", mark: tuple[Any, int] = BEGINNING) -> dict[str, Any]:
        rows = await self._undone(f"explain (format json, costs off{options}) {self._call(name, mark)}")
        plan: dict[str, Any] = json.loads(rows[0][0])[0]["Plan"]
        return plan

    async def buffers(self, name: str, mark: tuple[Any, int] = BEGINNING) -> int:
        """Pages that its greediest part looked at. What nobody reads, as `ended`, does not count in the whole."""
        plan = await self.plan(name, ", analyze, buffers, timing off", mark)
        return max(node["Shared Hit Blocks"] + node["Shared Read Blocks"] for node in nodes(plan))

    async def excessive(self) -> dict[str, int]:
        """The statements that looked at more than a few rows need."""
        used = {name: await self.buffers(name) for name in ARGUMENTS}
        return {name: pages for name, pages in used.items() if pages > BUFFERS}


@pytest.fixture
async def planned(conn, db) -> AsyncIterator[Planned]:
    """Prepared on empty tables, which nobody will tell Postgres are empty no more."""
    await conn.execute(
        "insert into actiond.processor (name) values ('p');"
        "alter table actiond.action set (autovacuum_enabled = off);"
        "alter table actiond.run set (autovacuum_enabled = off)"
    )
    pool = await work_pool(db.dsn, 1)
    async with pool.acquire() as connection:
        planned = Planned(connection)  # type: ignore[arg-type]
        await planned.prepare()
        yield planned
    pool.terminate()


async def load(conn, planned: Planned) -> None:
    """Many rows that wait, and FEW that are claimed by one open run."""
    await insert(conn, MANY)
    planned.run = await conn.fetchval("select nextval('actiond.run_id_seq')")
    rows = await conn.fetch(
        f"update actiond.action set claimed_by = 1, run_id = $1 where id > {MANY - FEW} returning id", planned.run
    )
    planned.ids = [row["id"] for row in rows]
    await conn.execute(
        "insert into actiond.run (id, processor, daemon, actions, started_at) values ($1, 'p', 1, $2, actiond.now())",
        planned.run,
        planned.ids,
    )


async def test_no_statement_looks_at_all_rows_that_wait_by_an_old_plan_or_a_new_one(conn, planned) -> None:
    await load(conn, planned)
    assert await planned.excessive() == {}
    await conn.execute("analyze")
    assert await planned.excessive() == {}


async def test_the_step_finds_every_action_by_index_and_sorts_only_what_it_was_given(conn, planned) -> None:
    await load(conn, planned)
    for _ in ("by the plan for the empty table", "by a new one"):
        plan = await planned.plan("step")
        kinds = {node["Node Type"] for node in nodes(plan)}
        assert not kinds & {"Hash Join", "Merge Join"}
        on_action = [node for node in nodes(plan) if node.get("Relation Name") == "action"]
        assert {node["Node Type"] for node in on_action} == {"Index Scan", "ModifyTable"}
        by = {node["Index Name"]: node["Index Cond"] for node in on_action if "Index Name" in node}
        assert set(by) == {"action_pkey", "action_due"}
        assert "processor" in by["action_due"]
        assert "priority" in by["action_due"]
        assert "ROW(next_eligible_at, id) >= ROW" in by["action_due"]
        on_run = {
            node["Index Name"] for node in nodes(plan) if node.get("Relation Name") == "run" and "Index Name" in node
        }
        assert on_run == {"run_pkey"}
        sorts = [
            node for node in nodes(plan) if "Sort" in node["Node Type"] and "CTE mine" in node.get("Subplan Name", "")
        ]
        assert len(sorts) == 1
        for sort in (node for node in nodes(plan) if "Sort" in node["Node Type"]):
            assert "action" not in {node.get("Relation Name") for node in nodes(sort)}
        await conn.execute("analyze")


async def test_a_step_finds_its_runs_by_id_however_many_have_ended_under_an_old_snapshot(conn, db, planned) -> None:
    reader = await db.connect()
    async with reader.transaction(isolation="repeatable_read"):
        await reader.execute("select 1")
        await load(conn, planned)
        await conn.execute(
            "insert into actiond.run (id, processor, daemon, actions, started_at)"
            " select -i, 'p', 1, array_fill(i, '{100}'), actiond.now() from generate_series(2, 6000) i;"
            "update actiond.run set finished_at = actiond.now() where id < 0"
        )
        assert await planned.buffers("step") <= BUFFERS
    await reader.close()


async def test_behind_the_watermark_lie_the_rows_that_were_done_and_nobody_pays_for_them(
    conn, db, pool, planned
) -> None:
    reader = await db.connect()
    async with reader.transaction(isolation="repeatable_read"):
        await reader.execute("select 1")  # vacuum may remove nothing that this snapshot could see
        await insert(conn, 12_000, next_eligible_at=LONG_AGO)
        store, watermark, done = store_of(pool), Watermark(), 0
        parcel = Parcel()
        while done < 10_000:
            times, ids, _ = watermark.begin(0)
            answer = await store.step(parcel, Claim("p", 1_000, LEVELS, times, ids))
            watermark.claimed(answer.rows, 0, short=False)
            parcel, done = Parcel(outcomes(answer)), done + len(answer.rows)
        await store.step(parcel, None)
        times, ids, whole = watermark.begin(0.5)
        assert not whole
        from_there, from_the_beginning = [
            await planned.buffers("step", mark) for mark in ((times[2], ids[2]), BEGINNING)
        ]
        assert from_there < from_the_beginning / 2
    await reader.close()


async def test_rows_behind_the_watermark_are_found_when_it_is_forgotten(conn, store) -> None:
    watermark = Watermark()

    async def ids() -> list[int]:
        times, from_ids, _ = watermark.begin(0)
        answer = await store.step(Parcel(), Claim("p", 100, LEVELS, times, from_ids))
        watermark.claimed(answer.rows, 0, short=True)
        return [row.id for row in answer.rows]

    first = await insert(conn, 3)
    assert await ids() == first
    assert await ids() == []
    (late,) = await conn.fetchrow(
        "insert into actiond.action (processor, next_eligible_at)"
        " values ('p', actiond.now() - interval '1 min') returning id"
    )
    (urgent,) = await insert(conn, priority=0)
    (next_one,) = await insert(conn)
    assert await ids() == [urgent, next_one]
    watermark.forget()
    assert await ids() == [late]


async def test_rows_of_one_bulk_insert_are_told_apart_by_their_ids(conn, store) -> None:
    watermark, claimed = Watermark(), []
    wanted = await insert(conn, 50, next_eligible_at=LONG_AGO)
    while len(claimed) < 50:
        times, ids, _ = watermark.begin(0)
        answer = await store.step(Parcel(), Claim("p", 7, LEVELS, times, ids))
        watermark.claimed(answer.rows, 0, short=False)
        claimed += [row.id for row in answer.rows]
    assert claimed == wanted


async def test_a_claim_writes_no_index(conn, db) -> None:
    await conn.execute("alter table actiond.action set (autovacuum_enabled = off)")
    await insert(conn, 2_000, data='{"to": "somebody@example.org", "subject": "a payload of usual length"}')
    pool = await work_pool(db.dsn, 1)
    while (await claim(store_of(pool), limit=200)).rows:
        pass
    await pool.fetch("select pg_stat_force_next_flush()")

    async def updated() -> tuple[int, int] | None:
        row = await conn.fetchrow(
            "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relid = 'actiond.action'::regclass"
        )
        return tuple(row) if row["n_tup_upd"] >= 2_000 else None

    rows, hot = await eventually(updated)
    assert rows == 2_000
    assert hot / rows >= 0.95
    pool.terminate()
