"""What the daemons of the chaos scenarios run. Everything is kept in history: it is the witness of each completion."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from actiond import Action, Batch, batch_processor, processor

BLOCKED_S = 6.0  # beyond what a silent daemon may take before it counts as dead


def fails_first(processor: str, id_: int) -> bool:
    """Is this one asked to fail once?"""
    return processor == "chaos_one" and id_ % 7 == 0


@processor("chaos_one", concurrency=10, retries=5, retry_interval="0.2 s", history="all")
async def one(action: Action[Any]) -> None:
    await asyncio.sleep(0.02)
    if action.attempt == 1 and fails_first("chaos_one", action.id):
        raise RuntimeError("fails the first time")


@batch_processor("chaos_batch", batch_size=20, concurrency=2, history="all")
async def many(batch: Batch[Any]) -> None:
    await asyncio.sleep(0.05)
    batch.complete()


@batch_processor("chaos_load", batch_size=200, history="all")
async def load(batch: Batch[Any]) -> None:
    batch.complete()


@processor("chaos_blocker", history="all")
async def blocker(action: Action[Any]) -> None:
    """Holds the event loop, as a library does that is not asynchronous."""
    time.sleep(BLOCKED_S)  # noqa: ASYNC251 - that is the fault


@processor("chaos_long", concurrency=10, history="all")
async def long(action: Action[float]) -> None:
    """Takes its seconds the first time: longer than a daemon may drain."""
    await asyncio.sleep(action.data if action.attempt == 1 else 0.0)
