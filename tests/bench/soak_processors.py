"""What the daemons of a soak run: a little of everything that holds something, and a census of themselves."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from actiond import SUDDEN_DEATH, Action, Batch, batch_processor, enqueue, processor

CHILDREN = 5


@processor("soak_probe")
async def probe(action: Action[Any]) -> int:
    """Its result is when it started; the clock is the same for all processes of a machine."""
    return time.monotonic_ns()


@batch_processor("soak_batch", batch_size=100)
async def by_the_hundred(batch: Batch[Any]) -> None:
    """One in fifty fails for good, in a transaction with the outcomes."""
    async with batch.transaction() as connection:
        await connection.execute("select 1")
        for action in batch:
            if action.id % 50 == 0:
                action.fail("one in fifty fails", SUDDEN_DEATH)
            else:
                action.complete({"n": action.id})


@processor("soak_flaky", retries=3, retry_interval="5 s")
async def flaky(action: Action[Any]) -> None:
    """Fails the first time."""
    if action.attempt == 1:
        raise RuntimeError("fails the first time")


@processor("soak_thread", executor="thread")
def in_a_thread(action: Action[Any]) -> str:
    return "x" * 1000


@processor("soak_process", executor="process")
def in_a_process(action: Action[Any]) -> int:
    return sum(range(10_000))


@processor("soak_late", timeout="1 s", retries=0)
async def late(action: Action[Any]) -> None:
    """Never ends by itself."""
    await asyncio.Event().wait()


@batch_processor("soak_family")
async def family(batch: Batch[Any]) -> None:
    """Makes children and waits for them."""
    async with batch.transaction() as connection:
        for action in batch:
            if action.state is None:
                for _ in range(CHILDREN):
                    await enqueue(connection, "soak_child", parent=action.id)
                action.wait_for_children(state="asked")
            else:
                action.complete()


@processor("soak_child")
async def child(action: Action[Any]) -> None:
    return None


@processor("soak_census")
async def census(action: Action[Any]) -> dict[str, int]:
    """How many tasks the process has in which this runs."""
    return {"pid": os.getpid(), "tasks": len(asyncio.all_tasks())}
