"""Filters: one function finds what people mean, in id order, a bounded look at a time, and never skips a row."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest

from support.clock import set_now
from support.work import claim, insert, outcome, settle

NOW = "2030-01-01 12:00:00+00"


async def find(conn, filter_: dict[str, Any], after: int | None = None, **options: Any) -> tuple[list[int], int, bool]:
    """(ids, reached, over)"""
    given = "".join(f", {name} => {value}" for name, value in options.items())
    row = await conn.fetchrow(f"select * from actiond.find($1, $2{given})", json.dumps(filter_), after)
    return row["ids"], row["reached"], row["over"]


async def all_of(conn, filter_: dict[str, Any], **options: Any) -> list[int]:
    """Look by look, to the end; every look is bounded and goes forward."""
    found: list[int] = []
    after, over = None, False
    while not over:
        ids, reached, over = await find(conn, filter_, after, **options)
        assert after is None or over or (reached < after if options.get("newest_first") else reached > after)
        found, after = found + ids, reached
    return found


@pytest.fixture
async def rows(conn, store) -> dict[str, int]:
    """One row of each kind, on the hour."""
    made: dict[str, int] = {}
    await set_now(conn, "2030-01-01 08:00:00+00")
    for name, kind, error in (("done", "completed", None), ("failed", "failed", "no route to 10.1.2.3 for 'ada'")):
        (made[name],) = await insert(conn, related="order 7")
        answer = await claim(store)
        await settle(store, [outcome(made[name], answer.run_id, kind, error=error)])
    await set_now(conn, "2030-01-01 11:00:00+00")
    (made["running"],) = await insert(conn)
    await claim(store)
    (made["waiting"],) = await insert(conn, related="order 8")
    (made["other"],) = await insert(conn, processor="q")
    (made["held"],) = await insert(conn, status="held")
    (made["canceled"],) = await insert(conn)
    await conn.execute("update actiond.action set status = 'canceled' where id = $1", made["canceled"])
    await set_now(conn, NOW)
    return made


@pytest.mark.parametrize(
    ("filter_", "names"),
    [
        ({}, "done failed running waiting other held canceled"),
        ({"processor": "q"}, "other"),
        ({"processor": "nobody"}, ""),
        ({"status": "running"}, "running"),
        ({"status": "pending"}, "waiting other"),
        ({"status": "pending", "processor": "q"}, "other"),
        ({"status": ["pending", "running"]}, "running waiting other"),
        ({"status": "completed"}, "done"),
        ({"status": ["failed", "held", "canceled"]}, "failed held canceled"),
        ({"status": ["failed", "completed"]}, "done failed"),
        ({"status": []}, ""),
        ({"related": "order 7"}, "done failed"),
        ({"related": "order 7", "status": "failed"}, "failed"),
        ({"related": "order"}, ""),
        ({"error": "no route"}, "failed"),
        ({"error": "%"}, ""),
        ({"fingerprint": "no route to <n> for <text>"}, "failed"),
        ({"created_since": "2 h"}, "running waiting other held canceled"),
        ({"created_since": "2030-01-01 11:00+00"}, "running waiting other held canceled"),
        ({"created_until": "2030-01-01 11:00+00"}, "done failed"),
        ({"finished_since": "1 d"}, "done failed canceled"),
        ({"finished_since": "90 min"}, "canceled"),
        ({"finished_since": "6 h", "finished_until": "2 h"}, "done failed"),
    ],
    ids=str,
)
@pytest.mark.parametrize("newest_first", [False, True])
async def test_a_filter_finds_what_it_says(filter_, names, newest_first, rows, conn) -> None:
    wanted = sorted((rows[name] for name in names.split()), reverse=newest_first)
    assert await all_of(conn, filter_, newest_first=newest_first) == wanted
    assert await all_of(conn, filter_, newest_first=newest_first, at_most=1) == wanted
    assert await all_of(conn, filter_, newest_first=newest_first, look_at=2) == wanted


async def test_what_a_bulk_verb_changed_is_found_also_when_it_was_changed_again(rows, conn) -> None:
    await conn.execute("select * from actiond.act('hold', $1, for_verb => 77)", [rows["waiting"], rows["other"]])
    await conn.execute("select * from actiond.release($1)", [rows["other"]])
    assert await all_of(conn, {"changed_by": 77}) == [rows["waiting"], rows["other"]]
    assert await all_of(conn, {"changed_by": 77, "status": "held"}, at_most=1) == [rows["waiting"]]
    assert await all_of(conn, {"changed_by": 78}) == []


async def test_ids_above_the_ceiling_are_not_meant(rows, conn) -> None:
    assert await all_of(conn, {"upto": rows["failed"]}) == [rows["done"], rows["failed"]]
    assert await all_of(conn, {"upto": rows["failed"]}, newest_first=True) == [rows["failed"], rows["done"]]


@pytest.mark.parametrize(
    "wrong",
    [
        {"procesor": "p"},
        {"status": "Pending"},
        {"status": ["pending", "nonsense"]},
        {"created_since": "soon"},
        {"changed_by": "x"},
        [],
        "p",
    ],
    ids=str,
)
async def test_a_filter_that_makes_no_sense_is_refused(wrong, conn) -> None:
    with pytest.raises(asyncpg.PostgresError):
        await find(conn, wrong)


async def test_a_moment_is_fixed_when_it_is_said(conn) -> None:
    await set_now(conn, NOW)
    exact = json.loads(await conn.fetchval("select actiond.exactly($1)", '{"created_since": "90 min"}'))
    assert exact["created_since"].startswith("2030-01-01T10:30:00")


FINISHED, WAITING = 24_000, 8_000


@pytest.fixture
async def many(conn) -> None:
    """Every 1,000th of the finished has failed; those that wait are the newest."""
    await conn.execute(
        f"""alter table actiond.action set (autovacuum_enabled = off);
        set session_replication_role = replica;
        insert into actiond.action (processor, status, finished_at, attempts, run_id)
        select 'p' || i % 3, case when i % 1000 = 0 then 'failed' else 'completed' end, actiond.now(), 1, 5
          from generate_series(1, {FINISHED}) i;
        insert into actiond.action (processor, related) select 'p' || i % 3, 'r' || i % 2
          from generate_series(1, {WAITING}) i;
        set session_replication_role = origin"""
    )


MATCHING = [
    ({"status": "failed"}, FINISHED // 1000),
    ({"status": "failed", "processor": "p0"}, FINISHED // 3000),
    ({"status": "pending", "related": "r1"}, WAITING // 2),
    ({"status": "pending"}, WAITING),
    ({"processor": "nobody"}, 0),
    ({"error": "x"}, 0),
]


@pytest.mark.slow
async def test_no_row_is_skipped_and_none_found_twice(many, conn) -> None:
    for statistics in (False, True):
        if statistics:
            await conn.execute("analyze actiond.action")
        for filter_, matching in MATCHING:
            for newest_first in (False, True):
                found = await all_of(conn, filter_, newest_first=newest_first, look_at=3_000)
                assert len(found) == matching, filter_
                assert found == sorted(set(found), reverse=newest_first)


async def pages(conn, filter_: dict[str, Any], after: int | None = None) -> int:
    told = await conn.fetchval(
        "explain (analyze, buffers, format json) select * from actiond.find($1, $2, 1000)", json.dumps(filter_), after
    )
    plan = json.loads(told)[0]["Plan"]
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


async def test_what_is_set_aside_is_found_by_its_index(many, conn) -> None:
    whole = await conn.fetchval("select pg_relation_size('actiond.action') / 8192")
    await pages(conn, {"status": "failed"})
    for filter_ in ({"status": "failed"}, {"status": ["failed", "held"], "processor": "p1"}, {"related": "nothing"}):
        assert await pages(conn, filter_) < whole / 4
