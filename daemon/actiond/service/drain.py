"""Stopping: claim no more, finish or give back, exit with nothing claimed.

at once        gates shut; rows that were claimed but not started go back, uncharged
for drain_s    running calls may end; a second signal cuts this short
then           they are cancelled; their rows come back uncharged, with a note
at the end     every outcome is saved; finalizers of what was saved last may end; what still runs (a thread, a handler
               that ignores its cancellation) is left to the end of the process
"""

from __future__ import annotations

from collections.abc import Awaitable

import anyio

from actiond.batch.call import GRACE_S, Stop
from actiond.host.log import get_logger
from actiond.host.systemd import Notifier
from actiond.loops.processor_loop import ProcessorLoop
from actiond.loops.world import World
from actiond.postgres.connection import in_words
from actiond.service.hearing import cancel_running
from actiond.words.log_lines import LogLine

SAVE_S = 10.0  # for outcomes, when the database is slow to take them
FINALIZE_S = 5.0  # for finalizers that begin only now; a second signal cuts this short, too
_LOOK_S = 0.01

log = get_logger()


async def drain(
    loops: dict[str, ProcessorLoop], world: World, notifier: Notifier, drain_s: float, hurry: anyio.Event
) -> bool:
    """True if every outcome was saved, no call is left and no claim is in doubt."""
    world.stopping = True
    notifier.extend_timeout(drain_s + GRACE_S + SAVE_S + FINALIZE_S)
    running = sum(loop.crew.running for loop in loops.values())
    log.info(LogLine.DRAIN_STARTED, batches=running, timeout_s=drain_s)
    for loop in loops.values():
        loop.bell.ring()
        await _give_back(loop)
    await _within(drain_s, hurry, _until_idle(loops))
    left = cancel_running(loops, Stop.DRAIN)
    if left:
        log.warning(LogLine.DRAIN_EXPIRED, batches=left)
        with anyio.move_on_after(GRACE_S + 1):
            await _until_idle(loops)
    with anyio.move_on_after(SAVE_S):
        await _until_saved(loops)
    await _within(FINALIZE_S, hurry, _until_finalized(loops))
    if cancel_running(loops, Stop.DRAIN):
        with anyio.move_on_after(GRACE_S + 1):
            await _until_finalized(loops)
    crews = [loop.crew for loop in loops.values()]
    saved = not any(loop.writer.unsaved or loop.claiming for loop in loops.values())
    return saved and not any(crew.in_hand for crew in crews)


async def _give_back(loop: ProcessorLoop) -> None:
    try:
        returned = await loop.crew.give_back()
    except Exception as error:  # the boundary of a connection: the next try, or rescue
        log.warning(LogLine.CONNECTION_LOST, connection=loop.name, error=in_words(error), retry_in_s=0)
        return
    if returned:
        log.info(LogLine.CLAIMS_GIVEN_BACK, processor=loop.name, rows=returned, reason="the daemon stops")


async def _hurried(hurry: anyio.Event, scope: anyio.CancelScope) -> None:
    await hurry.wait()
    scope.cancel()


async def _within(limit_s: float, hurry: anyio.Event, until: Awaitable[None]) -> None:
    with anyio.move_on_after(limit_s):
        async with anyio.create_task_group() as waiting:
            waiting.start_soon(_hurried, hurry, waiting.cancel_scope)
            await until
            waiting.cancel_scope.cancel()


async def _until_idle(loops: dict[str, ProcessorLoop]) -> None:
    while any(loop.crew.in_hand or loop.claiming for loop in loops.values()):
        await anyio.sleep(_LOOK_S)
        for loop in loops.values():
            if loop.crew.in_hand > loop.crew.running:  # a claim that was under way when the gate shut
                await _give_back(loop)


async def _until_finalized(loops: dict[str, ProcessorLoop]) -> None:
    while any(loop.crew.finalizers.in_hand for loop in loops.values()):
        await anyio.sleep(_LOOK_S)


async def _until_saved(loops: dict[str, ProcessorLoop]) -> None:
    while any(loop.writer.unsaved or loop.writer.waiting for loop in loops.values()):
        for loop in loops.values():
            loop.bell.ring()
        await anyio.sleep(_LOOK_S)
