"""Cancelled at every await: nothing hangs, nothing is swallowed, and no row is lost."""

from __future__ import annotations

import asyncio
import random
from itertools import count

import pytest

from actiond.batch.run import Run
from actiond.batch.write_back import WriteBack
from actiond.postgres.action_store import ActionStore
from actiond.words.claimed import Settlement
from simulation.clients import Pool
from simulation.loop import Part, VirtualLoop
from simulation.server import Names, Server
from simulation.world import CALM_S, World, world_of
from support.work import a_claim

ROWS = 6
SHARES = 4  # of all awaits, one test each
AWAITS = 60  # less than a daemon has in its life, or these tests prove nothing


async def daemon_cancelled(world: World, at: int) -> int:
    """The first of two daemons is cancelled at its await of that number; gives how many it had."""
    first, second = world.spawn(), world.spawn()
    first.main.before_step = lambda step: step == at and first.task.cancel()
    world.server.insert([world.row(deed) for deed in ["ok", "ok", "fail", "later", "forget", "refused"] * 2], 0.01)
    await world.loop.pass_time(2.0)
    if not first.task.done():
        world.loop.release(first.main)
        first.stopping.set()
    _, hangs = await asyncio.wait([first.task], timeout=CALM_S)
    assert not hangs, f"cancelled at its await {at}, the daemon goes on"
    first.dead = True
    for _ in range(int(CALM_S)):
        if world.ledger.settled():
            break
        await world.loop.pass_time(1.0)
    assert world.ledger.settled(), f"cancelled at its await {at}, the daemon left rows behind"
    await world.stopped(second)
    world.ledger.add_up()
    assert world.ledger.broken == []
    await world.bury()
    return first.main.steps


@pytest.mark.slow
@pytest.mark.parametrize("share", range(SHARES))
def test_a_daemon_that_is_cancelled_anywhere_ends_and_others_do_its_rows(share: int) -> None:
    for at in count(share + 1, SHARES):
        with world_of(1) as world:
            steps = world.loop.run_until_complete(daemon_cancelled(world, at))
        if steps < at:
            break
    assert at > AWAITS


async def write_back_cancelled(loop: VirtualLoop, at: int) -> bool:
    """A claim with outcomes, one of which is refused, is cancelled at its await of that number, and sent again."""
    server = Server(loop, random.Random(at), lambda *_, **__: None)
    store = ActionStore(Pool(server), Names())  # type: ignore[arg-type]
    store.daemon = 1
    for _ in range(ROWS):
        server.store.insert("each", server.store.now())
    writer, part = WriteBack(store, "each"), Part("writer")
    answer = await writer.send(a_claim(ROWS, "each"))
    run = Run.of(answer.run_id, "each", answer.rows)
    run.ended(ROWS, 0.0)
    server.store.refuses = lambda row, kind: row.id == 3 and kind == "completed"
    writer.add([Settlement(row.id, answer.run_id, "completed") for row in answer.rows], run)
    task = loop.create_task(writer.send(a_claim(ROWS, "each")), context=part.context)
    part.before_step = lambda step: step == at and task.cancel()
    await asyncio.wait([task])
    assert task.cancelled() or at > part.steps
    for _ in range(ROWS):
        if writer.unsaved or writer.waiting:
            await writer.send(None)
    assert (writer.unsaved, writer.waiting) == (0, 0)
    ends = {row.id: row.status for row in server.store.rows.values()}
    assert ends == {id_: "failed" if id_ == 3 else "completed" for id_ in range(1, ROWS + 1)}
    assert server.store.runs[answer.run_id].finished
    return at <= part.steps


def test_a_write_back_that_is_cancelled_anywhere_loses_no_outcome() -> None:
    for at in count(1):
        with world_of(at) as world:
            if not world.loop.run_until_complete(write_back_cancelled(world.loop, at)):
                break
    assert at > ROWS
