"""Schedules with real daemons: they fire by themselves, follow edits at once, and fire once whoever dies."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from collections import Counter
from datetime import datetime, timedelta

import pytest

from support.daemon import Daemon
from support.database import eventually
from support.rows import move_clock
from support.schedules import inserted, row, schedule

pytestmark = pytest.mark.slow

WORK = """
@processor("p", concurrency=4, history="all")
async def p(action):
    return action.data

@processor("nightly", run_on_insert=False)
async def nightly(action):
    pass
"""

ITEMS, SLOTS_EACH, KILLS = 40, 25, 6
SLOT = '{"item": "%s", "at": "{slot}"}'


async def test_a_slot_runs_by_itself_and_an_edit_is_heeded_at_once(db, conn, start, processor_file) -> None:
    daemon = await start(db.dsn, processor_file(WORK), env={"ACTIOND_POLL_INTERVAL_S": "3600"}).ready()
    await schedule(conn, every="1 s", data='{"at": "{slot}"}')
    await daemon.says("schedule_fired", times=2, schedule="s", processor="p")
    await conn.execute("update actiond.schedule set every = '1 day'")
    next_at = "select next_at > now() + interval '23 h' from actiond.schedule where next_at is not null"
    await eventually(lambda: conn.fetchval(next_at))
    await conn.execute("insert into actiond.schedule (name, processor, cron) values ('bad', 'p', '0 0 * * FUN')")
    await daemon.says("schedule_broken", schedule="bad")
    await eventually(lambda: conn.fetchval("select error is not null from actiond.schedule where name = 'bad'"))
    assert "'FUN' is no day of week" in (await row(conn, "bad"))["error"]


async def test_a_wake_by_schedule_runs_what_waits(db, conn, start, processor_file) -> None:
    await start(db.dsn, processor_file(WORK)).ready()
    await conn.execute("insert into actiond.action (processor) values ('nightly')")
    await schedule(conn, "wake", "nightly", every="1 s")
    await eventually(lambda: conn.fetchval("select status = 'completed' from actiond.action"))


async def test_after_a_downtime_one_slot_fires_and_the_log_counts_the_others(db, conn, start, processor_file) -> None:
    first = await start(db.dsn, processor_file(WORK)).ready()
    await schedule(conn, cron="0 * * * *", data="{}")
    await eventually(lambda: conn.fetchval("select next_at is not null from actiond.schedule"))
    first.signal(signal.SIGTERM)
    assert await first.ends() == 0
    await move_clock(conn, "5 hours")
    second = await start(db.dsn, processor_file(WORK)).ready()
    skipped = await second.says("schedule_skipped", reason="missed")
    fired = await second.says("schedule_fired")
    assert skipped["slots"] in (4, 5)
    assert fired["late_s"] < 3600
    assert len(await inserted(conn)) == 1


async def test_a_thousand_slots_each_once_under_random_kills_of_three_daemons(
    db, conn, start, processor_file, record_property
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    record_property("seed", seed)
    dice = random.Random(seed)
    path = processor_file(WORK)
    for number in range(ITEMS):
        missed = "all" if number < ITEMS * 3 // 4 else dice.choice(["once", "skip"])
        name = f"{missed} {number:02}"
        await schedule(conn, name, every="1 s", data=SLOT % name, missed=missed, overlap="allow")
    daemons: list[Daemon] = [await start(db.dsn, path).ready() for _ in range(3)]
    kills = 0
    async with asyncio.timeout(120):
        while kills < KILLS or not await conn.fetchval(
            "select bool_and(extract(epoch from coalesce(next_at, since) - since) > $1) from actiond.schedule",
            SLOTS_EACH,
        ):
            victim = dice.randrange(3)
            before = len(daemons[victim].heard("schedule_fired"))
            await daemons[victim].says("schedule_fired", times=before + dice.randrange(1, 25))
            daemons[victim].kill()
            kills += 1
            daemons[victim] = start(db.dsn, path)
            if dice.random() < 0.5:
                await daemons[victim].ready()
    await conn.execute("update actiond.schedule set name_enabled = false")
    for daemon in daemons:
        daemon.kill()
    total = await _accounted(conn)
    assert total >= 1000, f"seed {seed}"


async def _accounted(conn) -> int:
    """Every slot of every item from its start to its next: fired once, or by policy counted; gives how many."""
    fired = Counter((data["item"], data["at"]) for data in map(json.loads, await inserted(conn)))
    assert max(fired.values()) == 1
    total = 0
    for item in await conn.fetch("select * from actiond.schedule"):
        slots, at = [], item["starts_at"] + timedelta(seconds=1)
        while at < item["next_at"]:
            slots.append(at)
            at += timedelta(seconds=1)
        mine = {datetime.fromisoformat(at) for name, at in fired if name == item["name"]}
        assert item["fired"] == len(mine), item["name"]
        assert item["fired"] + item["missed_slots"] == len(slots), item["name"]
        assert mine <= {slot.replace(microsecond=0) for slot in slots}
        if item["missed"] == "all":
            assert len(mine) == len(slots), item["name"]
        total += len(slots)
    return total
