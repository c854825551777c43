"""Feature flags in the database: what is on, who is told, what schedules and plans do, and what people see."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from actiond import processor
from actiond.postgres import flag_edit, plan_edit, read
from actiond.postgres.schedule_store import Move, ScheduleStore
from actiond.postgres.statements import Statements
from actiond.rules import diagnosis
from actiond.testing import run_once
from actiond.words.errors import OperatorError
from support.clock import set_now
from support.database import eventually
from support.schedules import inserted, loop_of, row, schedule, settle
from support.work import insert, register


async def turn(conn: asyncpg.Connection, flag: str, on: bool | None = True) -> tuple[Any, Any]:
    """What it was and is."""
    edit = await flag_edit.turn(conn, flag, on, None)
    assert edit is not None
    return edit["before"], edit["after"]


# The flag


async def test_a_flag_is_off_until_somebody_switches_it_on(conn) -> None:
    async def is_on(flag: str | None) -> bool:
        found: bool = await conn.fetchval("select actiond.flag_on($1)", flag)
        return found

    assert [await is_on(each) for each in ("new", None, "none")] == [False, True, True]
    assert await turn(conn, "new") == (None, True)
    assert [await is_on(each) for each in ("new", "old")] == [True, False]
    assert await turn(conn, "new", False) == (True, False)
    assert not await is_on("new")
    assert await turn(conn, "new", None) == (False, None)
    assert await flag_edit.turn(conn, "new", None, None) is None
    assert not await is_on("new")


@pytest.mark.parametrize("name", ["", "none", "two words", "-a", "x" * 101, None])
async def test_what_is_no_name_is_refused_with_a_hint(conn, name: str | None) -> None:
    with pytest.raises(asyncpg.PostgresError, match="is no name of a flag") as refused:
        await flag_edit.turn(conn, name, True, None)  # type: ignore[arg-type]
    assert refused.value.sqlstate == "AC006"


@pytest.mark.parametrize(("name", "value"), [("flag:a b", "true"), ("flag:none", "true"), ("flag:a", '"on"')])
async def test_a_setting_that_is_no_flag_cannot_be_called_like_one(conn, name: str, value: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError, match="a_flag_has_a_name_and_is_on_or_off"):
        await conn.execute("insert into actiond.setting (name, value) values ($1, $2::jsonb)", name, value)


async def test_every_turn_is_told_to_the_daemons_and_kept_in_history(db, conn) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    await conn.add_listener("actiond_policy", lambda *said: heard.put_nowait(said[2]))
    other = await db.connect()
    for on in (True, False, None):
        await flag_edit.turn(other, "new", on, "release 12")
        await asyncio.wait_for(heard.get(), 30)
    await other.close()
    entries = await conn.fetch("select event, verb, reason, before, after from actiond.history order by id")
    assert [(each["before"], each["after"]) for each in entries] == [
        (None, '{"flag:new": true}'), ('{"flag:new": true}', '{"flag:new": false}'), ('{"flag:new": false}', None),
    ]  # fmt: skip
    assert {(each["event"], each["verb"], each["reason"]) for each in entries} == {("set", "set", "release 12")}


# Schedules


@pytest.fixture
async def noon(conn: asyncpg.Connection) -> asyncpg.Connection:
    await set_now(conn, "2026-05-05 12:00+00")
    return conn


async def at(conn: asyncpg.Connection, time: str, pool: Any) -> None:
    await set_now(conn, f"2026-05-05 {time}+00")
    await settle(loop_of(pool))


@pytest.mark.parametrize(("missed", "fires"), [("once", 1), ("skip", 1), ("all", 4)])
async def test_a_schedule_whose_flag_is_off_fires_nothing_and_makes_up_for_it_only_where_all_are_made_up_for(
    noon, pool, missed: str, fires: int
) -> None:
    await schedule(noon, cron="0 * * * *", data="{}", flag="new", missed=missed, overlap="allow")
    await turn(noon, "new")
    await at(noon, "12:30", pool)
    await turn(noon, "new", False)
    await at(noon, "15:30", pool)
    assert await inserted(noon) == []
    assert (await read.status(noon)).problems == ["no daemon is running: start one with `actiond run`"]
    await turn(noon, "new")
    await at(noon, "15:30", pool)
    await at(noon, "16:00", pool)
    assert len(await inserted(noon)) == fires
    assert (await row(noon))["missed_slots"] == 0


async def test_a_flag_that_is_switched_on_again_though_it_is_on_changes_no_slot(noon, pool) -> None:
    await turn(noon, "new")
    await schedule(noon, cron="0 * * * *", data="{}", flag="new")
    await at(noon, "12:30", pool)
    await set_now(noon, "2026-05-05 13:00:01+00")
    await turn(noon, "new")
    await turn(noon, "other")
    await settle(loop_of(pool))
    assert len(await inserted(noon)) == 1


async def test_an_edit_of_the_flag_of_a_schedule_is_a_switch_too(noon, pool) -> None:
    await schedule(noon, cron="0 * * * *", data="{}")
    await at(noon, "12:30", pool)
    await noon.execute("update actiond.schedule set flag = 'new'")
    await at(noon, "14:30", pool)
    await noon.execute("update actiond.schedule set flag = null")
    await at(noon, "14:30", pool)
    assert await inserted(noon) == []
    await at(noon, "15:00", pool)
    assert len(await inserted(noon)) == 1


async def test_a_slot_that_a_daemon_is_about_to_fire_does_not_when_the_flag_goes_off(noon, pool) -> None:
    await turn(noon, "new")
    await schedule(noon, cron="0 * * * *", data="{}", flag="new")
    await at(noon, "12:30", pool)
    await set_now(noon, "2026-05-05 13:00+00")
    store = ScheduleStore(pool, Statements())
    (item,) = (await store.due(1, 10)).items
    await turn(noon, "new", False)
    assert item.next_at is not None
    assert await store.fire(item, Move(item.next_at.replace(hour=14), item.next_at, "{}")) is None
    assert (await store.due(1, 10)).items == []
    assert await inserted(noon) == []


# Plans


async def plan(conn: asyncpg.Connection, flag: str | None = "new") -> None:
    await plan_edit.add(conn, "p", {"source": "select 1 as id", "processor": "letters", "flag": flag})


async def test_a_plan_whose_flag_is_off_refuses_to_run_and_says_which(conn) -> None:
    await plan(conn)
    with pytest.raises(OperatorError, match=r"the flag 'new' of plan 'p' is off: `actiond flag on new`"):
        await plan_edit.run(conn, "p")
    with pytest.raises(asyncpg.PostgresError, match="the flag 'new' of plan 'p' is off"):
        await conn.execute("select actiond.plan_run('p')")
    await turn(conn, "new")
    assert await plan_edit.run(conn, "p") == 1


WAITING = """insert into actiond.action (processor, data, state, next_eligible_at) values
             ('actiond.plan', '{"plan": "p"}', '{"flag": "new"}', actiond.now() + interval '1 h') returning id"""


async def due(conn: asyncpg.Connection, id_: int) -> bool:
    found: bool = await conn.fetchval("select next_eligible_at <= actiond.now() from actiond.action where id = $1", id_)
    return found


async def another_flag(conn: asyncpg.Connection) -> None:
    await turn(conn, "old")
    await conn.execute("update actiond.plan set flag = 'old'")


async def no_flag(conn: asyncpg.Connection) -> None:
    await conn.execute("update actiond.plan set flag = null")


@pytest.mark.parametrize("lets_go", [turn, another_flag, no_flag], ids=["on", "another", "none"])
async def test_runs_that_wait_for_their_flag_go_on_at_once_and_no_others(
    conn, lets_go: Callable[..., Awaitable[Any]]
) -> None:
    await plan(conn)
    waiting = await conn.fetchval(WAITING)
    later = await conn.fetchval(WAITING.replace('{"flag": "new"}', '{"edition": 1}'))
    foreign = await conn.fetchval(WAITING.replace('"plan": "p"', '"plan": "q"'))
    await turn(conn, "else")
    await conn.execute("update actiond.plan set flag = 'never'")
    assert not await due(conn, waiting)
    await conn.execute("update actiond.plan set flag = 'new'")
    await (lets_go(conn, "new") if lets_go is turn else lets_go(conn))
    assert [await due(conn, each) for each in (waiting, later, foreign)] == [True, False, False]


async def test_a_flag_that_is_switched_on_while_a_run_is_about_to_wait_is_not_overlooked(db, conn) -> None:
    await plan(conn)
    run, other = await db.connect(), await db.connect()
    sql = Statements()
    async with run.transaction():
        await run.fetchrow(sql["plan_begin"], "p", 1)
        assert not await run.fetchval(sql["flag_on"], "new")
        switching = asyncio.create_task(turn(other, "new"))
        waits = "select exists (select from pg_stat_activity where pid = $1 and wait_event_type = 'Lock')"
        await eventually(lambda: conn.fetchval(waits, other.get_server_pid()))
        id_ = await run.fetchval(WAITING)
    await switching
    assert await due(conn, id_)
    await run.close()
    await other.close()


async def test_a_run_that_begins_while_a_flag_is_being_switched_on_reads_what_is_then(db, conn) -> None:
    await plan(conn)
    run, other = await db.connect(), await db.connect()
    sql = Statements()
    async with other.transaction():
        await turn(other, "new")
        beginning = asyncio.create_task(run.fetchrow(sql["plan_begin"], "p", 1))
        waits = "select exists (select from pg_stat_activity where pid = $1 and wait_event_type = 'Lock')"
        await eventually(lambda: conn.fetchval(waits, run.get_server_pid()))
    await beginning
    assert await run.fetchval(sql["flag_on"], "new")
    await run.close()
    await other.close()


# People


async def test_the_list_has_what_is_set_and_what_is_asked_for(conn) -> None:
    await conn.execute(
        "insert into actiond.processor (name, declared, flag) values ('a', '{\"flag\": \"code\"}', null),"
        " ('b', '{\"flag\": \"code\"}', 'ours'), ('c', '{\"flag\": \"code\"}', 'none'), ('d', '{}', null)"
    )
    await schedule(conn, "s", "a", every="1 hour", flag="ours")
    await plan(conn, "ours")
    await turn(conn, "ours")
    await turn(conn, "idle", False)
    assert [(row["flag"], row["enabled"], row["asked_by"]) for row in await flag_edit.flags(conn)] == [
        ("code", None, ["processor a"]),
        ("idle", False, []),
        ("ours", True, ["plan p", "processor b", "schedule s for a"]),
    ]


async def test_a_misspelt_flag_is_found_and_one_that_is_off_is_noted_while_rows_wait(conn) -> None:
    await register(conn, "a", "b")
    await conn.execute("insert into actiond.processor (name, flag) values ('a', 'new_chekout'), ('b', 'old')")
    await turn(conn, "new_checkout")
    await turn(conn, "old", False)
    await insert(conn, 2, processor="a")
    await insert(conn, processor="b")
    (unknown,) = diagnosis.flags(await flag_edit.flags(conn))
    assert (unknown.name, unknown.what) == (
        "flag_unknown",
        "processor a asks for flag 'new_chekout', which nobody has set; did you mean 'new_checkout'?",
    )
    now = await read.status(conn)
    assert [found.what for found in diagnosis.work(now.processors, now.settings, now.daemons)] == [
        "the flag 'new_chekout' of 'a' is off, and 2 rows wait",
        "the flag 'old' of 'b' is off, and 1 row waits",
    ]
    assert now.problems == [
        "2 rows wait for 'a', whose flag 'new_chekout' is off, as nobody has ever set it: is its name right?",
        "1 row waits for 'b', whose flag 'old' is off",
    ]
    assert [read.held_back(each) for each in now.processors] == [" (flag off)", " (flag off)"]


async def test_a_test_runs_what_a_flag_lets_run_whatever_the_hour(db, conn) -> None:
    @processor("gated", flag="new", window="00:00-00:01 Europe/Berlin")
    async def gated(action: Any) -> str:
        return "done"

    await set_now(conn, "2026-05-05 12:00+00")
    await insert(conn, processor="gated")
    assert await run_once(db.dsn, gated) == []
    await turn(conn, "new")
    (done,) = await run_once(db.dsn, gated)
    assert (done.status, done.result) == ("completed", "done")
    stored = json.loads(await conn.fetchval("select declared from actiond.processor where name = 'gated'"))
    assert (stored["flag"], stored["window"]) == ("new", "00:00-00:01 Europe/Berlin")
