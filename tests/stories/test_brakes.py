"""Rates and breakers of real daemons: a counterpart that goes away and comes back, and two daemons under one rate."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest

from support.clock import set_now
from support.command import actiond
from support.database import eventually
from support.rows import ask, events, look, until

pytestmark = pytest.mark.slow

CALLS = """
@processor("call", breaker=0.5, breaker_outcomes=6, breaker_pause="{pause}", breaker_max_pause="{pause}",
           retry_interval="0.2 s", concurrency=3)
async def call(action):
    stream = await anyio.connect_tcp("127.0.0.1", action.data)
    async with stream:
        return (await stream.receive()).decode()


@processor("other")
async def other(action):
    pass
"""
OUTCOMES, CONCURRENCY = 6, 3

LIMITED = """
@processor("limited", rate="20/s", burst=20, concurrency=30)
async def limited(action):
    pass


@processor("other")
async def other(action):
    pass
"""


@pytest.fixture
def port() -> int:
    """One that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@asynccontextmanager
async def counterpart(port: int) -> AsyncIterator[None]:
    """It answers, as long as this lasts."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", port):
        yield


async def charged(conn: asyncpg.Connection) -> int:
    """How many rows have used a retry. At their first charge they say how many are left."""
    count: int = await conn.fetchval(
        "select count(*) from actiond.action where processor = 'call' and retries_left is not null"
    )
    return count


async def test_while_the_counterpart_is_down_rows_wait_uncharged_and_when_it_is_back_all_complete(
    db, conn, start, processor_file, port: int
) -> None:
    daemon = await start(db.dsn, processor_file(CALLS.format(pause="0.3 s"))).ready()
    async with counterpart(port):
        await until(conn, await ask(conn, "call", port, port), "completed")
    early = await ask(conn, "call", *[port] * 100)
    opened = await daemon.says("breaker_opened", processor="call")
    assert (opened["failed"] >= OUTCOMES / 2, opened["outcomes"], opened["pause_s"]) == (True, OUTCOMES, 0.3)
    spent = await charged(conn)
    assert OUTCOMES / 2 <= spent <= OUTCOMES + CONCURRENCY  # those that opened it, and calls that were under way
    late = await ask(conn, "call", *[port] * 10)
    await daemon.says("breaker_probes", processor="call", times=3)
    failed = await daemon.says("probe_failed", processor="call", times=2)
    assert failed["pause_s"] == 0.3
    await until(conn, await ask(conn, "other"), "completed")  # others go on
    async with counterpart(port):
        await daemon.says("breaker_closed", processor="call")
        rows = await until(conn, early + late, "completed", within_s=20)
    assert await charged(conn) == spent
    assert all(row["retries_left"] is None for row in rows[-len(late) :])
    assert {row["result"] for row in rows} == {'"hello"'}
    runs = [line["run_id"] for line in daemon.heard("breaker_probes")]
    probed = await conn.fetch("select actions from actiond.run where id = any($1::bigint[])", runs)
    assert {len(run["actions"]) for run in probed} == {1}
    first = probed[0]["actions"][0]
    assert (await events(conn, first))[0] == "retried"


async def test_an_open_breaker_outlives_its_daemon_is_explained_and_closed_by_hand(
    db, conn, start, processor_file, port: int
) -> None:
    source = processor_file(CALLS.format(pause="1 h"))
    first = await start(db.dsn, source).ready()
    await ask(conn, "call", *[port] * OUTCOMES)
    await first.says("breaker_opened")
    first.signal(signal.SIGTERM)
    assert await first.ends() == 0
    second, third = start(db.dsn, source), start(db.dsn, source)
    for each in (second, third):
        await each.ready()
    async with counterpart(port):
        ids = await ask(conn, "call", *[port] * 5)
        await until(conn, await ask(conn, "other"), "completed")
        assert {(row["status"], row["attempts"]) for row in await look(conn, ids)} == {("pending", 0)}
        explained = json.loads((await actiond("explain", str(ids[0]), "--json", dsn=db.dsn)).out)["reasons"]
        assert explained[0]["name"] == "breaker"
        assert explained[0]["remedy"] == "close it at once: `actiond resume call`"
        status = (await actiond("status", dsn=db.dsn)).out
        assert "call (breaker open)" in status
        assert "! the breaker of 'call' is open, as " in status
        resumed = await actiond("resume", "call", "--reason", "they are back", dsn=db.dsn)
        assert resumed.out.splitlines()[0] == "call is claimed again; its breaker was open, and is closed"
        rows = await until(conn, ids, "completed")
    assert {row["attempts"] for row in rows} == {1}
    told = json.loads((await actiond("processors", "call", "--history", "--json", dsn=db.dsn)).out)
    assert [(entry["event"], entry["after"]["breaker"]) for entry in told] == [
        ("paused", "open"),
        ("resumed", "closed"),
    ]
    assert told[0]["reason"].endswith("of the latest 6 outcomes are failures")
    assert told[1]["reason"] == "they are back"


async def test_a_breaker_that_opens_on_one_daemon_is_open_on_all(
    db, conn, start, processor_file: Callable[[str], object], port: int
) -> None:
    source = processor_file(CALLS.format(pause="1 h"))
    both = [start(db.dsn, source) for _ in range(2)]
    for each in both:
        await each.ready()
    await ask(conn, "call", *[port] * 40)
    await eventually(lambda: sum(len(each.heard("breaker_opened")) for each in both) == 1)
    await until(conn, await ask(conn, "other"), "completed")
    await eventually(lambda: conn.fetchval("select not exists (select from actiond.run where finished_at is null)"))
    assert 40 - await charged(conn) >= 40 - 2 * (OUTCOMES + CONCURRENCY)
    ids = await ask(conn, "call", *[port] * 5)
    await until(conn, await ask(conn, "other"), "completed")
    assert {row["attempts"] for row in await look(conn, ids)} == {0}


async def test_two_daemons_keep_to_one_rate(db, conn, start, processor_file) -> None:
    await set_now(conn, "2030-01-01 12:00:00+00")  # time stands still, so there are no other tokens than the first
    source = processor_file(LIMITED)
    both = [start(db.dsn, source) for _ in range(2)]
    for each in both:
        await each.ready()

    async def completed() -> int:
        count: int = await conn.fetchval(
            "select count(*) from actiond.action where processor = 'limited' and status = 'completed'"
        )
        return count

    ids = await ask(conn, "limited", *[{}] * 45)
    await eventually(lambda: _is(completed, 20))
    explained = json.loads((await actiond("explain", str(ids[-1]), "--json", dsn=db.dsn)).out)["reasons"]
    assert [each["name"] for each in explained] == ["rate", "behind"]
    assert "limited (rate reached)" in (await actiond("status", dsn=db.dsn)).out
    await set_now(conn, "2030-01-01 12:00:00.5+00")
    await eventually(lambda: _is(completed, 30))
    await until(conn, await ask(conn, "other", *[{}] * 20), "completed")
    assert await completed() == 30
    done = await actiond("set", "limited", "rate", "none", dsn=db.dsn)
    assert done.out.splitlines()[0] == "limited: rate as declared -> none"
    await until(conn, ids, "completed")


async def _is(count: Callable[[], object], wanted: int) -> bool:
    """Exactly so many; AssertionError for more."""
    found = await count()  # type: ignore[misc]
    assert found <= wanted
    return bool(found == wanted)
