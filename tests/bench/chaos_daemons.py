"""Chaos scenarios of daemons: load, death, a handler that holds the loop, an end under load."""

from __future__ import annotations

import asyncio
import random
import signal
import time

from tests.bench.chaos_stage import AWAY, END_S, Stage, Way
from tests.bench.place import Process

LOAD_S, LOAD_CHUNK, LOAD_PAUSE_S = 10.0, 200, 0.1  # 2,000 rows a second
BURSTS, BURST_ROWS = 3, 3_000
KILLS = 5
DRAIN_S, LONG_ROWS, LONG_S = 2.0, 8, "5"  # more than the other daemon can have at once
AT_ONCE = 4

HELD_BY_PID = """
select (select count(*) from actiond.action where claimed_by = any (ids))
     + (select count(*) from actiond.run where finished_at is null and daemon = any (ids))
  from (select array_agg(id) as ids from actiond.daemon where pid = $1) d
"""
DIED = "select count(*) from actiond.daemon where ended = 'died'"


async def sustained_high_load(stage: Stage) -> None:
    """Ten times the usual rate, for ten seconds."""
    async with stage.working(), stage.connected() as connection:
        before, due = len(stage.producer.acknowledged), stage.fault_at
        while time.time() < stage.fault_at + LOAD_S:
            await stage.producer.insert(connection, "chaos_load", LOAD_CHUNK)
            due += LOAD_PAUSE_S
            await asyncio.sleep(max(0.0, due - time.time()))
        offered = (len(stage.producer.acknowledged) - before) / (time.time() - stage.fault_at)
        stage.said.append(f"{offered:,.0f} rows/s offered")


async def event_burst(stage: Stage) -> None:
    """Thousands of rows in one transaction, three times, a second apart."""
    async with stage.working(), stage.connected() as connection:
        for burst in range(BURSTS):
            processor = ("chaos_load", "chaos_batch", "chaos_load")[burst]
            await stage.producer.insert(connection, processor, BURST_ROWS)
            await asyncio.sleep(1)


async def crash_recovery(stage: Stage) -> None:
    """The only daemon is killed with rows in hand. Another one is started; from then until the last of these ended."""
    async with stage.working(Way(stage.dsn)):
        ids = await stage.stopped_holding(stage.daemons[0])
        stage.daemons[0].process.kill()
        await asyncio.sleep(2)
        second = stage.start()
        await second.says("daemon_ready", END_S)
        stage.watched.append((time.time(), ids))
        stage.said.append(f"{len(ids)} rows in hand")
        await stage.ended(ids)


async def repeated_kills(stage: Stage) -> None:
    """One of two is killed with rows in hand, five times. From SIGKILL until the last of these ended."""
    async with stage.working():
        rows = 0
        for _ in range(KILLS):
            killed = stage.daemons[-2]
            ids = await stage.stopped_holding(killed)
            killed.process.kill()
            stage.watched.append((time.time(), ids))
            rows += len(ids)
            fresh = stage.start()
            await stage.ended(ids)
            await fresh.says("daemon_ready", END_S)
        stage.said.append(f"{rows} rows in hand")


async def frozen(stage: Stage) -> None:
    """One of two is frozen (SIGSTOP) with rows in hand. Until the last of these ended elsewhere; then it wakes up."""
    async with stage.working():
        ids = await stage.stopped_holding(stage.daemons[0])
        stage.watched.append((time.time(), ids))
        stage.said.append(f"{len(ids)} rows in hand")
        await stage.ended(ids)
        stage.daemons[0].process.send_signal(signal.SIGCONT)


async def blocked_loop(stage: Stage) -> None:
    """A handler holds the event loop of one of two for six seconds: nobody may take that daemon for dead."""
    async with stage.working():
        async with stage.connected() as connection:
            ids = await stage.producer.insert(connection, "chaos_blocker", 1)
        await stage.ended(ids)
        stage.said.append("six seconds")
        if (died := (await stage.ask(DIED))[0][0]) != 0:
            stage.complaints.append(f"{died} daemons were taken for dead")


async def sigterm(stage: Stage, stops: int) -> None:
    """SIGTERM at a random moment, with handlers that take longer than the drain. What it takes beyond the drain."""
    async with stage.working(Way(stage.dsn)):
        for begun in range(0, stops, AT_ONCE):
            many = min(AT_ONCE, stops - begun)
            await asyncio.gather(*(_stopped_once(stage) for _ in range(many)))


async def _stopped_once(stage: Stage) -> None:
    daemon = stage.start(Way(stage.dsn, {"ACTIOND_DRAIN_S": f"{DRAIN_S:g}"}))
    await daemon.says("daemon_ready", END_S)
    try:
        async with stage.connected() as connection:
            await stage.producer.insert(connection, "chaos_long", LONG_ROWS, LONG_S)
    except AWAY as problem:
        stage.complaints.append(f"cannot insert: {problem}")
    await asyncio.sleep(random.uniform(0, 0.5))
    began_s = time.monotonic()
    daemon.process.terminate()
    code = await asyncio.to_thread(daemon.process.wait, END_S)
    stage.values.append(max(0.0, time.monotonic() - began_s - DRAIN_S))
    await _left_nothing(stage, daemon, code)
    stage.daemons.remove(daemon)
    daemon.stop()


async def _left_nothing(stage: Stage, daemon: Process, code: int) -> None:
    if code:
        stage.complaints.append(f"a daemon ended with {code}")
    if held := (await stage.ask(HELD_BY_PID, daemon.pid))[0][0]:
        stage.complaints.append(f"a daemon left {held} rows or runs behind")
