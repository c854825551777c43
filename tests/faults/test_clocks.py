"""Wall clocks that jump. Times belong to the database; a daemon counts durations and looks at no calendar of its own.

So the clock of a daemon's host does not matter at all. The clock of the database does: leases may seem to be over, and
then the fence keeps what is final from becoming so twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import asyncpg
import pytest

from actiond.host.private_postgres import PrivatePostgres
from actiond.postgres.migrate import migrate
from support.database import Server, eventually
from support.other_clock import OtherClock, other_clock
from support.rows import ask, completed_once, nothing_claimed, until
from support.schedules import schedule

pytestmark = pytest.mark.slow

HOUR_S, DAY_S = 3600.0, 86400.0
JUMPS = (HOUR_S, -HOUR_S, DAY_S, -DAY_S, 0.0)
WORK = """
@processor("p", concurrency=4, history="all", retries=5, retry_interval="0.5 s")
async def p(action):
    await asyncio.sleep(0.05)
    if action.attempt == 1 and action.id % 5 == 0:
        raise RuntimeError("once")
    return action.data
"""


@pytest.fixture
def clock() -> Iterator[OtherClock]:
    with other_clock() as clock:
        yield clock


async def test_the_clock_of_a_daemons_host_may_jump(db, conn, start, processor_file, clock) -> None:
    """An hour and a day ahead and back: nothing runs early or late, no slot is lost or fires twice, nobody is dead."""
    daemon = await start(db.dsn, processor_file(WORK), env=clock.environment).ready()
    await schedule(conn, every="1 s", data='{"slot": "{slot}"}')
    later = await ask(conn, "p", *range(10), next_eligible_at=await _in(conn, "50 min"))
    for jump_s in JUMPS:
        clock.goes_wrong(jump_s)
        ids = await ask(conn, "p", *range(50))
        await until(conn, ids, "completed")
        await completed_once(conn, ids)
        fired = await conn.fetchval("select fired from actiond.schedule")
        await eventually(lambda fired=fired: conn.fetchval("select fired >= $1 + 2 from actiond.schedule", fired))
    stamps = sorted(line["timestamp"] for line in daemon.lines if "timestamp" in line)
    assert stamps[-1][:10] > stamps[0][:10], "the daemon saw none of it: this would prove nothing"
    untouched = await conn.fetch("select attempts, status from actiond.action where id = any ($1)", later)
    assert {tuple(row) for row in untouched} == {(0, "pending")}
    slots = await conn.fetch("select data ->> 'slot' as slot from actiond.action where data ? 'slot'")
    assert max(Counter(row["slot"] for row in slots).values()) == 1
    assert await conn.fetchval("select missed_slots from actiond.schedule") == 0
    assert await conn.fetchval("select count(*) from actiond.daemon where ended = 'died'") == 0


async def _in(conn: asyncpg.Connection, ahead: str) -> object:
    return await conn.fetchval("select actiond.now() + $1::text::interval", ahead)


@pytest.fixture
def jumping_server(clock: OtherClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A Postgres of its own that looks at the other clock."""
    for name, value in clock.environment.items():
        monkeypatch.setenv(name, value)
    postgres = PrivatePostgres()
    dsn = postgres.start()
    for name in clock.environment:
        monkeypatch.delenv(name)
    with postgres:
        yield Server(dsn, postgres)


async def test_the_clock_of_the_database_may_jump(jumping_server, start, processor_file, clock) -> None:
    """Two daemons are at work: whoever seems dead is rescued, what it still says is fenced, all ends once."""
    async with jumping_server.fresh() as database:
        await migrate(database.dsn)
        conn = await database.connect()
        daemons = [start(database.dsn, processor_file(WORK)) for _ in range(2)]
        for daemon in daemons:
            await daemon.ready()
        await schedule(conn, every="1 s", data='{"slot": "{slot}"}')
        for jump_s in JUMPS:
            before = await conn.fetchval("select clock_timestamp()")
            ids = await ask(conn, "p", *range(200))
            await eventually(lambda: conn.fetchval("select count(*) > 0 from actiond.action where claimed_by <> 0"))
            clock.goes_wrong(jump_s)
            ids += await ask(conn, "p", *range(50), next_eligible_at=await _in(conn, "-2 days"))
            if jump_s < 0:  # what was due before is due in an hour or a day now: by hand
                await conn.execute(
                    "update actiond.action set next_eligible_at = actiond.now() where id = any ($1) and claimed_by = 0 "
                    "and status = 'pending'",
                    ids,
                )
            after = await conn.fetchval("select clock_timestamp()")
            assert abs((after - before).total_seconds()) > HOUR_S / 2, "the server saw nothing of it"
            await eventually(lambda ids=ids: _over(conn, ids))
            await completed_once(conn, ids)
        await eventually(lambda: nothing_claimed(conn))
        slots = await conn.fetch("select data ->> 'slot' as slot from actiond.action where data ? 'slot'")
        assert max(Counter(row["slot"] for row in slots).values()) == 1
        assert [daemon.process.poll() for daemon in daemons] == [None, None]
        await conn.close()


async def _over(conn: asyncpg.Connection, ids: list[int]) -> bool:
    """All completed. A retry that is due in what has become the far future is pulled forward, as an operator would."""
    await conn.execute(
        "update actiond.action set next_eligible_at = actiond.now() where id = any ($1) and status = 'pending' "
        "and claimed_by = 0 and next_eligible_at > actiond.now() + interval '1 min'",
        ids,
    )
    return bool(
        await conn.fetchval("select bool_and(status = 'completed') from actiond.action where id = any ($1)", ids)
    )
