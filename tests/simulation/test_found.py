"""What seeds have found, each alone: a fault at one moment, and what must come of it all the same."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from actiond.batch.run import Run
from actiond.batch.write_back import WriteBack
from actiond.postgres.action_store import ActionStore
from actiond.words.claimed import Settlement
from simulation.clients import Pool
from simulation.process import Process
from simulation.rows import Record
from simulation.server import Names, Server, lost
from simulation.world import World, world_of
from support.work import a_claim


class LosesOne(Pool):
    """The first answer that `which` says is lost; before its statement is applied, or after."""

    def __init__(self, server: Server, which: Callable[[str, list[Record]], bool], applied: bool) -> None:
        super().__init__(server)
        self.lost = False
        self._which, self._applied = which, applied

    async def fetch(self, name: str, *arguments: Any) -> list[Record]:
        if not self._applied and not self.lost and self._which(name, []):
            self.lost = True
            raise lost()
        rows = await super().fetch(name, *arguments)
        if self._applied and not self.lost and self._which(name, rows):
            self.lost = True
            raise lost()
        return rows


async def note_fails(world: World) -> None:
    server = Server(world.loop, random.Random(1), world.note)
    pool = LosesOne(server, lambda name, _: name == "note_fenced", applied=False)
    store = ActionStore(pool, Names())  # type: ignore[arg-type]
    store.daemon = 1
    server.store.insert("each", server.store.now())
    writer = WriteBack(store, "each")
    first = await writer.send(a_claim(1, "each"))
    run = Run.of(first.run_id, "each", first.rows)
    run.ended(1, 0.0)
    writer.add([Settlement(1, first.run_id, "completed")], run)
    server.act("cancel", [1])
    server.store.insert("each", server.store.now())
    answer = await writer.send(a_claim(1, "each"))
    assert pool.lost
    assert [row.id for row in answer.rows] == [2]
    writer.add([Settlement(2, answer.run_id, "completed")], Run.of(answer.run_id, "each", []))
    await writer.send(None)
    assert [event for _, event, _ in server.store.history] == ["canceled", "fenced"]


def test_a_claim_is_not_lost_with_a_note_that_fails_after_it() -> None:
    with world_of(1) as world:
        world.loop.run_until_complete(note_fails(world))


def a_process(world: World, which: Callable[[str, list[Record]], bool], applied: bool) -> tuple[Process, LosesOne]:
    """Started, with a pool that loses one answer."""
    process = world.spawn(start=False)
    pool = LosesOne(world.server, which, applied)
    process.on(pool)
    process.start()
    return process, pool


async def all_rows_taken(world: World) -> None:
    def claimed(name: str, rows: list[Record]) -> bool:
        return (
            name == "step" and rows[0]["id"] is not None and not world.server.act("hold", [row["id"] for row in rows])
        )

    _, pool = a_process(world, claimed, applied=True)
    world.server.insert([world.row("ok")], 0.0)
    await world.loop.pass_time(5.0)
    assert pool.lost
    assert [run.finished for run in world.server.store.runs.values() if run.actions] == [True]
    await world.bury()


def test_a_recovered_run_whose_rows_a_person_took_away_is_ended() -> None:
    with world_of(1) as world:
        world.loop.run_until_complete(all_rows_taken(world))


async def give_back_fails(world: World) -> None:
    process, pool = a_process(world, lambda name, _: name == "give_back", applied=False)
    server = world.server
    for _ in range(10):  # quick calls, so that more is claimed than can begin
        server.insert([("batch", {"data": '{"do": "ok", "s": 0.0}'})], 0.0)
        await world.loop.pass_time(0.05)
    server.insert([("batch", {"data": '{"do": "ok", "s": 1.0}'}) for _ in range(20)], 0.0)
    await world.loop.pass_time(0.2)
    await world.stopped(process)
    assert pool.lost
    assert process.clean
    assert [row.id for row in server.store.rows.values() if row.claimed_by] == []
    assert [run.id for run in server.store.runs.values() if not run.finished] == []
    assert world.ledger.broken == []


def test_a_daemon_that_stops_tries_again_to_give_back_what_never_began() -> None:
    with world_of(1) as world:
        world.loop.run_until_complete(give_back_fails(world))
