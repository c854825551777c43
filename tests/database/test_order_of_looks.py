"""What goes first: the next claim, or what the last one brought; what was claimed lately, or what lies behind it."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import anyio
import asyncpg
import pytest
from anyio.lowlevel import checkpoint

from actiond.contract.policy import Policy
from actiond.loops.policy_loop import PolicyLoop
from actiond.postgres.connection import Pool
from actiond.postgres.processor_store import ProcessorStore
from actiond.postgres.statements import Statements
from support.one_loop import Daemon, looks
from support.work import insert, store_of

CONCURRENCY = 4


class Told(Daemon):
    """Writes down when a claim is sent and when what it brought begins."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.said: list[str] = []
        self.calls: list[asyncio.Task[None]] = []
        self.meanwhile = lambda: self.said.append("claim")

    def add(self, run_id: int, rows: list[Any], probe: bool = False) -> None:
        async def begin() -> None:
            self.said.append("begins")

        super().add(run_id, rows, probe)
        self.calls.append(asyncio.create_task(begin()))


@pytest.mark.parametrize(
    ("rows", "order"),
    [
        pytest.param(CONCURRENCY - 1, ["claim", "begins", "claim"], id="the queue is empty"),
        pytest.param(2 * CONCURRENCY, ["claim", "claim", "begins"], id="there are more"),
    ],
)
async def test_the_next_claim_goes_first_only_where_more_rows_wait(conn, pool, rows: int, order: list[str]) -> None:
    await insert(conn, rows)
    daemon = Told(pool, 1, Policy(concurrency=CONCURRENCY))
    while len(daemon.said) < 3:
        await daemon.loop.step()
    await asyncio.gather(*daemon.calls)
    assert daemon.said[:3] == order


async def late(conn: asyncpg.Connection) -> int:
    """A row that lies behind all that was claimed: due since a minute."""
    return await conn.fetchval(
        "insert into actiond.action (processor, next_eligible_at)"
        " values ('p', actiond.now() - interval '1 min') returning id"
    )


async def a_loop_with_a_mark(conn: asyncpg.Connection, pool: Pool) -> Daemon:
    daemon = Daemon(pool, 1, Policy())
    ids = await insert(conn, 3)
    await looks(daemon)
    assert [id_ for id_, _ in daemon.got] == ids
    return daemon


async def test_what_lies_behind_the_mark_is_found_before_anybody_sleeps(conn, pool) -> None:
    daemon = await a_loop_with_a_mark(conn, pool)
    row = await late(conn)
    await looks(daemon)
    assert daemon.got[-1][0] == row


async def test_where_looks_from_the_beginning_are_slow_the_poll_finds_it(conn, pool) -> None:
    await conn.execute("insert into actiond.processor (name) values ('p')")
    daemon = await a_loop_with_a_mark(conn, pool)
    loop, mark = daemon.loop, daemon.loop.watermark
    policy = PolicyLoop(
        ProcessorStore(pool, Statements()), store_of(pool), {"p": loop}, daemon.world, 600, lambda *_: checkpoint()
    )
    loop.crew.processor.policy = daemon.policy
    mark._not_before_s = mark._by_itself_s = math.inf  # as after one that took very long
    await policy.step()
    assert not await policy.bell.wait(0)
    (new,), old = await insert(conn), await late(conn)
    await looks(daemon)
    assert daemon.got[-1][0] == new
    assert await policy.bell.wait(1)
    await policy.step()
    await looks(daemon)
    assert daemon.got[-1][0] == old


async def test_what_rang_before_a_look_is_no_reason_for_another(pool) -> None:
    loop = Daemon(pool, 1, Policy()).loop
    looked: list[str] = []

    async def step() -> float | None:
        looked.append("look")
        if len(looked) in (1, 3):
            loop.bell.ring()  # a call ends meanwhile
        return 0.0 if len(looked) == 1 else None

    loop.step = step  # type: ignore[method-assign]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(loop.run)
        for _ in range(20):
            await checkpoint()
        assert len(looked) == 2
        loop.bell.ring()
        for _ in range(20):
            await checkpoint()
        assert len(looked) == 4, "what rang while it looked and found nothing"
        tasks.cancel_scope.cancel()
