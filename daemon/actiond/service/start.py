"""Steps of the start that a stop cuts short."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import anyio

from actiond.loops.presence_thread import PresenceThread


@asynccontextmanager
async def registered(presence: PresenceThread, known: anyio.Event, stop: anyio.Event) -> AsyncIterator[None]:
    """Presence, registered (or told to stop before that); and at the end, presence stopped last."""
    await presence.start()
    try:
        await unless(stop, known.wait())
        yield
    finally:
        with anyio.CancelScope(shield=True):
            await presence.stop()


async def unless(stop: anyio.Event, step: Awaitable[None]) -> None:
    """Until the step is done, or a stop is asked for: then it is cancelled."""
    async with anyio.create_task_group() as either:
        either.start_soon(_then_cancel, stop, either.cancel_scope)
        await step
        either.cancel_scope.cancel()


async def _then_cancel(event: anyio.Event, others: anyio.CancelScope) -> None:
    await event.wait()
    others.cancel()
