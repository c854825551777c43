"""The notifications of the whole server: a queue that others fill, and rings that others forge."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest

from support.command import actiond
from support.daemon import NO_POLL, Daemon
from support.database import eventually
from support.proxy import running_proxy
from support.rows import ask, completed_once, nothing_claimed, until
from support.servers import LOOKED_AT, WORK, Ready, at_most_once_a_minute, own_server

pytestmark = pytest.mark.slow

FULL = "select pg_notification_queue_usage()"
ALL_CHANNELS = ("actiond_wake", "actiond_policy", "actiond_withdrawn")


async def blocker(dsn: str) -> asyncpg.Connection:
    """A session that listens, and then stays in a transaction: the server keeps everything for it."""
    blocking = await asyncpg.connect(dsn)
    await blocking.execute("listen anything")
    await blocking.execute("begin; select 1")
    return blocking


async def fill(conn: asyncpg.Connection, up_to: float) -> None:
    """The queue of notifications, to this share of it; 1 = until it takes no more."""
    try:
        while await conn.fetchval(FULL) < up_to:
            await conn.execute("select pg_notify('noise', i || repeat('x', 7000)) from generate_series(1, 5) as i")
    except asyncpg.ProgramLimitExceededError:
        assert up_to == 1


async def taken(conn: asyncpg.Connection) -> list[int]:
    """One more row, if the server takes it."""
    with suppress(asyncpg.ProgramLimitExceededError):
        return await ask(conn, "one")
    return []


async def findings(dsn: str) -> list[str]:
    said = await actiond("doctor", "--json", dsn=dsn)
    return [each["name"] for each in json.loads(said.out)["findings"]]


async def test_a_full_queue_of_notifications_keeps_nobody_from_claiming(start, processor_file, measured) -> None:
    async with own_server(at_least=17, max_notify_queue_pages="64") as server:
        dsn = server.dsn("postgres")
        conn = await asyncpg.connect(dsn)
        daemons = [await start(dsn, processor_file(WORK), env=LOOKED_AT).ready() for _ in range(2)]
        await eventually(lambda: any(each.heard("doorbell_armed", processor="one") for each in daemons))
        blocking = await blocker(dsn)
        assert "notification_queue" not in await findings(dsn)
        await fill(conn, 0.2)
        assert "notification_queue" in await findings(dsn)
        measured(doctor_warns_at=round(await conn.fetchval(FULL), 2))
        for each in daemons:
            await each.says("notifications_pile_up")
        await fill(conn, 1)

        # While a daemon sleeps, an insert rings; now it cannot, and the producer is told at the commit.
        with pytest.raises(asyncpg.ProgramLimitExceededError, match="too many notifications"):
            await eventually(lambda: ask(conn, "one", {}))
        # Daemons go on, also when their sessions break: what is there they find by looking.
        async with conn.transaction():
            await conn.execute("set local session_replication_role = replica")  # no trigger
            ids = await ask(conn, "one", *[{}] * 200)
        await until(conn, ids, "completed")
        before = [len(each.heard("lease_lost")) for each in daemons]
        await conn.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'actiond presence'"
        )
        for each in daemons:
            await each.says("listener_restored")
        async with conn.transaction():
            await conn.execute("set local session_replication_role = replica")
            more = await ask(conn, "one", *[{}] * 200)
        await until(conn, more, "completed")
        for each in daemons:
            await Ready(each).is_(200)
        assert [len(each.heard("lease_lost")) for each in daemons] == before == [0, 0]
        assert await conn.fetchval(FULL) > 0.9

        await blocking.close()
        await until(conn, await eventually(lambda: taken(conn)), "completed")  # daemons free the queue: nobody else can
        await completed_once(conn, [*ids, *more])
        await eventually(lambda: nothing_claimed(conn))
        for each in daemons:
            at_most_once_a_minute(each)
        await conn.close()


async def test_producers_of_a_daemon_that_only_polls_do_not_notify(start, processor_file) -> None:
    async with own_server(at_least=17, max_notify_queue_pages="64") as server:
        dsn = server.dsn("postgres")
        conn = await asyncpg.connect(dsn)
        env = {**LOOKED_AT, "ACTIOND_LISTEN": "false"}
        daemon = await start(dsn, processor_file(WORK), env=env).ready()
        blocking = await blocker(dsn)
        await fill(conn, 1)
        ids = await ask(conn, "one", *[{}] * 200)
        await until(conn, ids, "completed")
        await completed_once(conn, ids)
        daemon.signal(signal.SIGTERM)
        assert await daemon.ends() == 0
        await blocking.close()
        await conn.close()


FLOOD = 100_000  # notifications, of each kind
AT_ONCE = 2_000


async def flood(dsn: str, payload: str) -> None:
    """FLOOD of them, on each channel in turn. Each transaction sends different ones, or Postgres would send one."""
    stranger = await asyncpg.connect(dsn)
    for number in range(FLOOD // AT_ONCE):
        channel = ALL_CHANNELS[number % len(ALL_CHANNELS)]
        await stranger.execute(f"select pg_notify('{channel}', {payload}) from generate_series(1, {AT_ONCE}) as i")
    await stranger.close()


def memory_mb(daemon: Daemon) -> float:
    """What this process holds."""
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def cpu_s(daemon: Daemon) -> float:
    fields = Path(f"/proc/{daemon.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def test_forged_notifications_cost_little_and_hold_up_nothing(db, conn, start, processor_file, measured) -> None:
    payloads = {
        "blank": "''",
        "names": "'one,' || i",
        "random": "md5(random()::text)",
        "long": "rpad(i::text, 7999, md5(random()::text))",
        "numbers": "'1 ' || i || ' ' || i",
    }
    async with running_proxy(db.dsn) as proxy:  # it counts what is asked
        env = {**NO_POLL, "ACTIOND_HTTP": "127.0.0.1:0", "ACTIOND_LISTEN_DSN": db.dsn}
        daemon = await start(proxy.dsn, processor_file(WORK), env=env).ready()
        await daemon.says("doorbell_armed", processor="one")
        await flood(db.dsn, payloads["random"])  # whatever grows once has grown
        lines, kept_mb = len(daemon.lines), memory_mb(daemon)
        proxy.executed.clear()
        began_s, began_cpu_s = time.monotonic(), cpu_s(daemon)
        waits: list[float] = []
        async with asyncio.TaskGroup() as tasks:
            floods = [tasks.create_task(flood(db.dsn, payload)) for payload in payloads.values()]
            while not all(each.done() for each in floods):
                asked_s = time.monotonic()
                await until(conn, await ask(conn, "one"), "completed")
                waits.append(time.monotonic() - asked_s)
        took_s = time.monotonic() - began_s
        steps = sum(count for text, count in proxy.executed.items() if text.startswith("-- step:"))
        polls = sum(count for text, count in proxy.executed.items() if text.startswith("-- poll:"))
        said = len(daemon.lines) - lines
        measured(
            notifications_a_second=round(len(payloads) * FLOOD / took_s),
            looks_a_second=round(steps / took_s, 1),
            polls_a_second=round(polls / took_s, 1),
            slowest_row_s=round(max(waits), 3),
            grown_mb=round(memory_mb(daemon) - kept_mb, 1),
            cpu_share=round((cpu_s(daemon) - began_cpu_s) / took_s, 2),
            log_lines=said,
        )
        vain = 20 * took_s + 20  # looks: so many a second, and a burst
        # Each of the two processors looks in vain, and once more before it sleeps; each row costs a few looks.
        assert steps <= 2 * 2 * vain + 6 * len(waits)
        assert polls <= 2 * vain
        assert said <= 4 * vain + 20 * len(waits)
        assert memory_mb(daemon) - kept_mb < 30
        assert not daemon.heard("lease_lost")
        await eventually(lambda: nothing_claimed(conn))
        await Ready(daemon).is_(200)
