"""Schedules on a real database: one fire a slot, policies, edits, and what is wrong told without stopping others."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import asyncpg
import pytest

from actiond.loops.schedule_loop import ScheduleLoop
from actiond.postgres.connection import Pool
from actiond.postgres.schedule_store import Move, ScheduleStore
from actiond.postgres.statements import Statements
from support.clock import set_now
from support.schedules import inserted, loop_of, row, schedule, settle
from support.work import pool_of

SLOT = '{"at": "{slot}"}'


@pytest.fixture
def loop(pool: Pool) -> ScheduleLoop:
    return loop_of(pool)


@pytest.fixture
async def noon(conn: asyncpg.Connection) -> asyncpg.Connection:
    """It is noon of a quiet day, and stays it until a test says otherwise."""
    await set_now(conn, "2026-05-05 12:00+00")
    return conn


def at(texts: list[str]) -> list[str]:
    return [json.loads(text)["at"] for text in texts]


async def hours(conn: asyncpg.Connection, hour: str, loop: ScheduleLoop) -> None:
    await set_now(conn, f"2026-05-05 {hour}+00")
    await settle(loop)


async def test_a_slot_inserts_one_action_when_it_is_due_and_not_before(noon, loop) -> None:
    await schedule(noon, cron="30 * * * *", data=SLOT, related="r {slot}", priority=1, timezone="Europe/Berlin")
    assert await loop.step() == 0.0  # planned
    assert (await row(noon))["next_at"].isoformat() == "2026-05-05T12:30:00+00:00"
    assert await loop.step() == 5.0
    await set_now(noon, "2026-05-05 12:29:59+00")
    assert await loop.step() == 1.0
    await set_now(noon, "2026-05-05 12:30:02+00")
    assert await loop.step() == 0.0
    action = await noon.fetchrow("select * from actiond.action")
    assert json.loads(action["data"]) == {"at": "2026-05-05T14:30:00+02:00"}
    assert (action["related"], action["priority"], action["status"]) == ("r 2026-05-05T14:30:00+02:00", 1, "pending")
    stored = await row(noon)
    assert (stored["last_action"], stored["fired"], stored["edition"]) == (action["id"], 1, 1)
    assert stored["last_at"].isoformat() == "2026-05-05T12:30:00+00:00"
    assert stored["next_at"].isoformat() == "2026-05-05T13:30:00+00:00"
    assert await loop.step() > 0
    assert len(await inserted(noon)) == 1


async def test_without_data_it_wakes_the_processor(noon, loop) -> None:
    await noon.execute("insert into actiond.processor (name, run_on_insert) values ('p', false), ('q', false)")
    await schedule(noon, every="1 hour")
    await settle(loop)
    heard: asyncio.Queue[str] = asyncio.Queue()
    await noon.add_listener("actiond_wake", lambda *said: heard.put_nowait(said[3]))
    await hours(noon, "13:00", loop)
    woken = dict(await noon.fetch("select name, woken_at::text from actiond.processor"))
    assert woken == {"p": "2026-05-05 13:00:00+00", "q": None}
    assert await asyncio.wait_for(heard.get(), 5) == "p"
    assert await inserted(noon) == []
    assert (await row(noon))["last_action"] is None
    assert (await row(noon))["fired"] == 1


async def test_many_loops_race_and_each_slot_fires_once(db, noon) -> None:
    many, slots = 30, 5
    for number in range(many):
        await schedule(noon, f"s{number:02}", every="1 min", data=SLOT, missed="all", overlap="allow")
    async with pool_of(db, 8) as pool:
        loops = [loop_of(pool, daemon) for daemon in range(1, 9)]
        await settle(loops[0])
        await set_now(noon, f"2026-05-05 12:0{slots}+00")

        async def until_quiet(loop: ScheduleLoop) -> None:
            while await _due(noon_pool):
                await loop.step()

        noon_pool = pool
        await asyncio.gather(*(until_quiet(loop) for loop in loops))
    rows = await noon.fetch("select data ->> 'at' as at, count(*) as times from actiond.action group by 1 order by 1")
    assert [tuple(each) for each in rows] == [
        (f"2026-05-05T12:0{minute}:00+00:00", many) for minute in range(1, slots + 1)
    ]
    assert {each["fired"] for each in await noon.fetch("select fired from actiond.schedule")} == {slots}


async def _due(pool: Pool) -> bool:
    return await pool.fetchval("select exists (select from actiond.schedule where next_at <= actiond.now())")


async def test_of_two_that_computed_the_same_slot_one_fires(noon, pool) -> None:
    store = ScheduleStore(pool, Statements())
    await schedule(noon, every="1 hour", data="{}", overlap="allow")
    await settle(loop_of(pool))
    await set_now(noon, "2026-05-05 13:00+00")
    first, second = [(await store.due(daemon, 10)).items[0] for daemon in (1, 2)]
    move = Move((await noon.fetchval("select timestamptz '2026-05-05 14:00+00'")), first.next_at, "{}")
    assert (await store.fire(first, move)) is not None
    assert (await store.fire(second, move)) is None
    assert len(await inserted(noon)) == 1


async def test_the_action_and_the_next_slot_are_one_transaction(noon, loop) -> None:
    await schedule(noon, every="1 hour", data="{}")
    await schedule(noon, "t", every="1 hour", data="{}", overlap="allow")
    await settle(loop)
    await noon.execute("alter table actiond.action add constraint no_more check (false) not valid")
    await hours(noon, "13:00", loop)
    for name in ("s", "t"):
        stored = await row(noon, name)
        assert stored["next_at"].isoformat() == "2026-05-05T13:00:00+00:00"
        assert "no_more" in stored["error"]
        assert stored["fired"] == 0
    await noon.execute("alter table actiond.action drop constraint no_more")
    await settle(loop)
    assert len(await inserted(noon)) == 2
    assert (await row(noon))["error"] is None


async def test_a_row_that_somebody_holds_is_left_for_later_and_holds_up_no_other(db, noon, loop) -> None:
    for name in ("a", "b"):
        await schedule(noon, name, every="1 hour", data="{}")
    await settle(loop)
    await set_now(noon, "2026-05-05 13:00+00")
    other = await db.connect()
    await other.execute("begin; select from actiond.schedule where name = 'a' for update")
    await settle(loop)
    assert [(await row(noon, name))["fired"] for name in ("a", "b")] == [0, 1]
    assert 0.05 <= await loop.step() <= 0.2
    await other.close()
    await settle(loop)
    assert (await row(noon, "a"))["fired"] == 1


# Downtime.


@pytest.mark.parametrize(
    ("columns", "fires", "missed"),
    [
        ({}, ["18:00"], 5),
        ({"missed": "skip"}, [], 6),
        ({"missed": "skip", "grace": "15 min"}, ["18:00"], 5),
        ({"grace": "5 min"}, [], 6),
        ({"missed": "all", "overlap": "allow"}, ["13:00", "14:00", "15:00", "16:00", "17:00", "18:00"], 0),
        ({"missed": "all", "overlap": "allow", "grace": "100 min"}, ["17:00", "18:00"], 4),
    ],
    ids=["once", "skip", "skip, grace", "once, grace", "all", "all, grace"],
)
async def test_slots_that_nobody_was_up_for(noon, loop, columns: dict[str, Any], fires: list[str], missed: int) -> None:
    await schedule(noon, cron="@hourly", data=SLOT, **columns)
    await settle(loop)
    await hours(noon, "18:10", loop)
    assert at(await inserted(noon)) == [f"2026-05-05T{hour}:00+00:00" for hour in fires]
    stored = await row(noon)
    assert (stored["fired"], stored["missed_slots"]) == (len(fires), missed)
    assert stored["next_at"].isoformat() == "2026-05-05T19:00:00+00:00"


async def test_a_long_downtime_is_counted_in_parts_and_exactly(noon, loop) -> None:
    await schedule(noon, every="10 s", data=SLOT)
    await settle(loop)
    await set_now(noon, "2026-05-05 22:00:05+00")
    assert await settle(loop) > 3
    stored = await row(noon)
    assert (stored["fired"], stored["missed_slots"]) == (1, 3599)
    assert at(await inserted(noon)) == ["2026-05-05T22:00:00+00:00"]


async def test_a_row_inserted_while_no_daemon_was_up_counts_from_its_insert(noon, loop) -> None:
    await schedule(noon, cron="@hourly", data=SLOT)
    await hours(noon, "14:30", loop)
    assert at(await inserted(noon)) == ["2026-05-05T14:00:00+00:00"]
    assert (await row(noon))["missed_slots"] == 1


# Overlap.


async def test_while_the_last_action_is_open_no_other_is_inserted(noon, loop) -> None:
    await schedule(noon, cron="@hourly", data=SLOT)
    await settle(loop)
    await hours(noon, "13:00", loop)
    await hours(noon, "14:00", loop)
    await noon.execute("update actiond.action set status = 'held'")
    await hours(noon, "15:00", loop)
    stored = await row(noon)
    assert (stored["fired"], stored["overlapped"], stored["missed_slots"]) == (1, 2, 0)
    assert stored["last_at"].isoformat() == "2026-05-05T13:00:00+00:00"
    await noon.execute("update actiond.action set status = 'canceled'")
    await hours(noon, "16:00", loop)
    assert at(await inserted(noon)) == ["2026-05-05T13:00:00+00:00", "2026-05-05T16:00:00+00:00"]


async def test_overlap_may_be_allowed(noon, loop) -> None:
    await schedule(noon, cron="@hourly", data=SLOT, overlap="allow")
    await settle(loop)
    await hours(noon, "13:00", loop)
    await hours(noon, "14:00", loop)
    assert len(await inserted(noon)) == 2


# Switches and edits.


async def test_switched_off_nothing_fires_and_on_again_the_past_does_not(noon, loop) -> None:
    await schedule(noon, cron="@hourly", data=SLOT)
    await settle(loop)
    await noon.execute("update actiond.schedule set enabled = false")
    await hours(noon, "15:30", loop)
    assert await inserted(noon) == []
    await noon.execute("update actiond.schedule set enabled = true")
    await settle(loop)
    assert (await row(noon))["next_at"].isoformat() == "2026-05-05T16:00:00+00:00"
    assert (await row(noon))["missed_slots"] == 0
    assert await inserted(noon) == []


async def test_switched_on_again_one_that_makes_up_for_all_makes_up_for_the_past_too(noon, loop) -> None:
    await schedule(noon, cron="@hourly", data=SLOT, missed="all", overlap="allow", enabled=False)
    await hours(noon, "13:30", loop)
    await noon.execute("update actiond.schedule set enabled = true")
    await hours(noon, "14:30", loop)
    assert at(await inserted(noon)) == ["2026-05-05T13:00:00+00:00", "2026-05-05T14:00:00+00:00"]


async def test_an_interval_keeps_its_grid_while_it_is_off(noon, loop) -> None:
    await schedule(noon, every="40 min", data=SLOT)
    await settle(loop)
    await noon.execute("update actiond.schedule set enabled = false")
    await set_now(noon, "2026-05-05 13:00+00")
    await noon.execute("update actiond.schedule set enabled = true")
    await settle(loop)
    assert (await row(noon))["next_at"].isoformat() == "2026-05-05T13:20:00+00:00"


async def test_one_switch_turns_off_a_whole_name_and_leaves_the_switches_of_its_rows(noon, loop) -> None:
    for processor in ("p", "q"):
        await schedule(noon, "s", processor, cron="@hourly", data=SLOT)
    await schedule(noon, "t", cron="@hourly", data=SLOT)
    await noon.execute("update actiond.schedule set enabled = false where processor = 'q'")
    await settle(loop)
    await noon.execute("update actiond.schedule set name_enabled = false where name = 's' and processor = 'p'")
    await schedule(noon, "s", "r", cron="@hourly", data=SLOT)
    off = {
        tuple(each)
        for each in await noon.fetch("select processor, name_enabled from actiond.schedule where name = 's'")
    }
    assert off == {("p", False), ("q", False), ("r", False)}
    await hours(noon, "13:00", loop)
    assert [len(await inserted(noon, each)) for each in ("p", "q", "r")] == [1, 0, 0]  # of t
    await noon.execute("update actiond.schedule set name_enabled = true where name = 's'")
    await settle(loop)
    await hours(noon, "14:00", loop)
    assert [len(await inserted(noon, each)) for each in ("p", "q", "r")] == [2, 0, 1]


async def test_an_edited_rule_is_computed_anew_also_while_a_slot_is_due(noon, loop) -> None:
    await schedule(noon, cron="@hourly", data=SLOT)
    await settle(loop)
    await set_now(noon, "2026-05-05 13:05+00")
    await noon.execute("update actiond.schedule set cron = '0 8 * * *', timezone = 'Asia/Tokyo'")
    await settle(loop)
    assert (await row(noon))["next_at"].isoformat() == "2026-05-05T23:00:00+00:00"
    assert await inserted(noon) == []
    await noon.execute("update actiond.schedule set cron = null, every = '10 min'")
    await settle(loop)
    assert (await row(noon))["next_at"].isoformat() == "2026-05-05T13:15:00+00:00"


@pytest.mark.parametrize(
    "edit",
    [
        "update actiond.schedule set cron = '0 8 * * *', every = null",
        "update actiond.schedule set data = '{\"new\": true}'",
        "update actiond.schedule set enabled = false",
        "update actiond.schedule set name_enabled = false",
        "alter table actiond.schedule disable trigger all; update actiond.schedule set enabled = false",
        "update actiond.schedule set next_at = next_at + interval '1 min'",
        "delete from actiond.schedule",
    ],
    ids=["cron", "data", "off", "name off", "off without triggers", "next_at", "gone"],
)
async def test_an_edit_is_never_overtaken_by_what_stood_there_before(noon, pool, edit: str) -> None:
    store = ScheduleStore(pool, Statements())
    await schedule(noon, every="1 hour", data="{}")
    await settle(loop_of(pool))
    await set_now(noon, "2026-05-05 13:00+00")
    [item] = (await store.due(1, 10)).items
    await noon.execute(edit)
    assert await store.fire(item, Move(item.next_at, item.next_at, "{}")) is None
    assert await inserted(noon) == []


async def test_an_edit_that_is_not_committed_yet_is_waited_for_by_nobody_and_then_heeded(db, noon, loop) -> None:
    await schedule(noon, cron="@hourly", data=SLOT)
    await settle(loop)
    await set_now(noon, "2026-05-05 13:00+00")
    editor = await db.connect()
    transaction = editor.transaction()
    await transaction.start()
    await editor.execute("update actiond.schedule set enabled = false")
    await settle(loop)
    await transaction.commit()
    await editor.close()
    await settle(loop)
    assert await inserted(noon) == []


async def test_daemons_are_told_of_edits_and_not_of_slots(noon, loop) -> None:
    heard: list[str] = []
    await noon.add_listener("actiond_policy", lambda *said: heard.append(said[2]))
    await schedule(noon, cron="@hourly", data=SLOT)
    await settle(loop)
    await hours(noon, "13:00", loop)
    assert len(heard) == 1
    for edit in ("set data = '{}'", "set next_at = next_at - interval '1 min'", "set next_at = null"):
        await noon.execute(f"update actiond.schedule {edit}")
    await noon.execute("delete from actiond.schedule")
    await noon.execute("select 1")
    assert len(heard) == 5


async def test_a_start_in_the_future(noon, loop) -> None:
    await schedule(noon, every="1 hour", data=SLOT, starts_at="2026-05-05 14:10+00")
    await schedule(noon, "t", cron="0 14 * * *", data=SLOT, starts_at="2026-05-06 14:00+00")
    await settle(loop)
    assert (await row(noon))["next_at"].isoformat() == "2026-05-05T14:10:00+00:00"
    assert (await row(noon, "t"))["next_at"].isoformat() == "2026-05-06T14:00:00+00:00"


# Environments.


async def test_a_row_fires_only_in_its_environments_and_what_passed_elsewhere_is_nobodys(noon, loop) -> None:
    await schedule(noon, cron="@hourly", data=SLOT, environments=["production", "staging"])
    await settle(loop)
    await hours(noon, "14:30", loop)
    await noon.execute("insert into actiond.setting (name, value) values ('environment', '\"test\"')")
    await hours(noon, "15:30", loop)
    assert await inserted(noon) == []
    await noon.execute("update actiond.setting set value = '\"production\"'")
    await settle(loop)
    assert (await row(noon))["next_at"].isoformat() == "2026-05-05T16:00:00+00:00"
    await hours(noon, "16:00", loop)
    assert at(await inserted(noon)) == ["2026-05-05T16:00:00+00:00"]
    assert (await row(noon))["missed_slots"] == 0


# What is wrong.


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"cron": "61 * * * *"}, "'61' is no minute"),
        ({"cron": "@hourly", "timezone": "Europe/Berln"}, "did you mean Europe/Berlin?"),
        ({"every": "1 hour", "timezone": "Mars"}, "no time zone 'Mars'"),
        ({"cron": "0 0 31 2 *"}, "'31'"),
    ],
    ids=["cron", "zone", "zone of an interval", "never"],
)
async def test_a_wrong_row_is_told_of_and_holds_up_no_other(noon, loop, columns: dict[str, Any], said: str) -> None:
    await schedule(noon, "a wrong one", data=SLOT, **columns)
    await schedule(noon, cron="@hourly", data=SLOT)
    await settle(loop)
    assert said in (await row(noon, "a wrong one"))["error"]
    await hours(noon, "13:00", loop)
    assert len(await inserted(noon)) == 1
    await noon.execute(
        "update actiond.schedule set cron = '@hourly', every = null, timezone = 'UTC' where error is not null"
    )
    assert (await row(noon, "a wrong one"))["error"] is None
    await settle(loop)
    await hours(noon, "14:00", loop)
    assert (await row(noon, "a wrong one"))["fired"] == 1


async def test_a_page_full_of_wrong_rows_holds_up_no_other(noon, loop) -> None:
    await noon.execute(
        "insert into actiond.schedule (name, processor, cron)"
        " select 'bad ' || n, 'p', 'x' from generate_series(1, 120) as n"
    )
    await schedule(noon, "z", cron="@hourly", data=SLOT)
    await settle(loop)
    await settle(loop)
    await hours(noon, "13:00", loop)
    assert len(await inserted(noon)) == 1


async def test_data_that_grows_too_large_is_told_of(noon, loop) -> None:
    big = json.dumps({"x": ["{slot}" + str(number) for number in range(15_000)]})
    await schedule(noon, cron="@hourly", data=big)
    await settle(loop)
    await noon.execute("alter table actiond.action drop constraint data_is_at_most_256_kib")
    await noon.execute("alter table actiond.action add constraint small check (length(data::text) < 300000)")
    await hours(noon, "13:00", loop)
    assert "small" in (await row(noon))["error"]


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        ({}, "either_cron_or_every"),
        ({"cron": "@daily", "every": "1 h"}, "either_cron_or_every"),
        ({"every": "0.5 s"}, "every_is_1_second_to_366_days"),
        ({"every": "1 month"}, "every_counts_no_months"),
        ({"every": "1 h", "missed": "twice"}, "missed_is_once_skip_or_all"),
        ({"every": "1 h", "overlap": "maybe"}, "overlap_is_skip_or_allow"),
        ({"every": "1 h", "related": "r"}, "a_wake_is_about_no_record"),
        ({"every": "1 h", "priority": 9}, "priority_is_0_to_3"),
        ({"every": "1 h", "grace": "-1 s"}, "grace_is_not_negative"),
        ({"every": "1 h", "name": ""}, "name_is_1_to_255_characters"),
        ({"every": "1 h", "processor": "a, b"}, "processor_is_1_to_255_characters"),
        ({"every": "1 h", "starts_at": "infinity"}, "times_are_between_2000_and_2200"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_a_refused_value_names_the_constraint(conn, columns: dict[str, Any], constraint: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await schedule(conn, **columns)
    assert refused.value.constraint_name == constraint


async def test_a_server_that_is_away_costs_a_pause_and_nothing_else(db, noon, loop) -> None:
    await schedule(noon, cron="@hourly", data=SLOT)
    await settle(loop)
    await set_now(noon, "2026-05-05 13:00+00")
    await noon.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'actiond work'"
        " and datname = current_database()"
    )
    while not await inserted(noon):
        await loop.step()
    assert at(await inserted(noon)) == ["2026-05-05T13:00:00+00:00"]


async def test_each_look_is_kept_for_whoever_asks_whether_schedules_are_looked_after(noon, loop) -> None:
    await noon.execute("insert into actiond.daemon (lease_until) values (now())")
    await loop.step()
    assert await noon.fetchval("select ticked_at::text from actiond.daemon") == "2026-05-05 12:00:00+00"
