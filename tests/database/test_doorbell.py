"""The doorbell: silent while somebody is awake, rung when all sleep, and no row is ever slept over."""

from __future__ import annotations

import asyncio
import random
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from actiond.batch.suspects import Suspects
from actiond.batch.write_back import WriteBack
from actiond.contract.policy import Policy
from actiond.loops.bell import Bell
from actiond.loops.processor_loop import ProcessorLoop
from actiond.loops.world import World
from actiond.postgres import presence as presence_module
from actiond.postgres.presence import WAKE
from actiond.postgres.statements import Statements
from actiond.rules.pace import Speed
from actiond.rules.sizing import Sizing
from support.database import eventually
from support.presences import presences
from support.work import claim, insert, outcome, settle, store_of


@pytest.fixture(autouse=True)
def quick_beats(monkeypatch) -> None:
    monkeypatch.setattr(presence_module, "BEAT_S", 0.05)


@pytest.fixture
async def start_presence(db):
    async with presences(db) as start:
        yield start


@pytest.fixture
async def heard(db, conn):
    """What is rung, up to the moment of asking: a notification of our own comes after all that were committed."""
    payloads: list[str] = []
    listener = await db.connect()
    await listener.add_listener(WAKE, lambda *message: payloads.append(message[3]))

    async def until_now() -> list[str]:
        await conn.execute("notify actiond_wake, 'mark'")
        await eventually(lambda: payloads[-1:] == ["mark"])
        found = [payload for payload in payloads if payload != "mark"]
        payloads.clear()
        return found

    yield until_now
    await listener.close()


async def test_the_bell_is_held_by_one_and_when_that_one_leaves_it_rings_for_the_others(start_presence) -> None:
    first, second = await start_presence(), await start_presence()
    assert await first.presence.take("p") == (True, True)
    assert await first.presence.take("p") == (True, True)
    assert await second.presence.take("p") == (False, False)
    assert (first.presence.holds("p"), second.presence.holds("p")) == (True, False)
    assert await second.presence.take("q") == (True, True)
    await first.presence.leave("p")
    assert not first.presence.holds("p")
    assert not first.presence.sleeps("p")
    await second.tells(WAKE, "p")
    assert await second.presence.take("p") == (True, True)
    assert await first.presence.take("p") == (False, False)


async def test_a_bell_that_was_taken_twice_is_free_when_it_was_left_once(start_presence) -> None:
    first, second = await start_presence(), await start_presence()
    await asyncio.gather(*(first.presence.take("p") for _ in range(5)))
    await first.presence.leave("p")
    assert await second.presence.take("p") == (True, True)


async def test_leaving_a_bell_that_is_not_held_rings_nobody(start_presence, heard) -> None:
    first = await start_presence()
    await first.presence.leave("p")
    assert await heard() == []
    await first.presence.take("p")
    await asyncio.gather(*(first.presence.leave("p") for _ in range(3)))
    assert await heard() == ["p"]


async def test_a_daemon_does_not_hear_itself(start_presence) -> None:
    first, second = await start_presence(), await start_presence()
    await first.presence.take("p")
    await first.presence.leave("p")
    await second.tells(WAKE, "p")
    await first.presence.take("q")  # whatever was sent to it has come by now
    assert first.times(WAKE, "p") == 0


async def test_at_its_end_it_lets_go_of_every_bell_and_stays_away(start_presence) -> None:
    first, second = await start_presence(), await start_presence()
    for name in ("a", "b"):
        await first.presence.take(name)
    await first.presence.end()
    for name in ("a", "b"):
        await second.tells(WAKE, name)
        assert await second.presence.take(name) == (True, True)
    await first.stop()
    assert first.times("up") == 1


async def kill(conn, daemon: int) -> None:
    """End the session that says this daemon lives."""
    assert await conn.fetchval(
        "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted"
        " and classid = actiond.lock_class('daemon')::oid and objid = $1::int::oid",
        daemon,
    )


async def test_a_session_that_was_killed_forgets_its_bells_and_comes_back_listening(conn, start_presence) -> None:
    first, second = await start_presence(), await start_presence()
    daemon = first.daemon
    await first.presence.take("p")
    await kill(conn, daemon)
    await first.tells("down")
    await first.tells("up", times=2)
    assert not first.presence.holds("p")
    assert await second.presence.take("p") == (True, True)
    await conn.execute("notify actiond_wake, 'after'")
    await first.tells(WAKE, "after")
    assert first.daemon == daemon
    assert first.dead == second.dead == []
    await kill(conn, daemon)  # the lock is held again, or there would be nothing to kill
    await first.tells("up", times=3)


async def test_a_session_that_was_killed_owes_a_ring_to_those_who_counted_on_it(conn, start_presence) -> None:
    first, second = await start_presence(), await start_presence()
    for name in ("a", "b"):
        await first.presence.take(name)
    await kill(conn, first.daemon)
    await first.tells("up", times=2)
    await second.tells(WAKE, "a,b")
    await first.presence.take("c")
    await kill(conn, first.daemon)
    await second.tells(WAKE, "c")
    await first.tells("up", times=3)
    assert second.times(WAKE, "a,b") == 1


async def test_a_bell_asked_for_while_there_is_no_session_is_not_had(conn, start_presence) -> None:
    first = await start_presence()
    await first.stop()
    with pytest.raises((asyncpg.InterfaceError, asyncpg.PostgresError, OSError)):
        await first.presence.take("p")
    assert not first.presence.holds("p")


async def test_a_daemon_that_was_declared_dead_begins_anew_under_another_id(conn, start_presence) -> None:
    first = await start_presence()
    before = first.daemon
    await first.presence.take("p")
    await conn.execute("update actiond.daemon set ended_at = actiond.now(), ended = 'died' where id = $1", before)
    await first.tells("declared dead", before)
    await first.tells("up", times=2)
    assert first.daemon > before
    assert not first.presence.holds("p")
    rows = await conn.fetch("select id, ended from actiond.daemon order by id")
    assert [tuple(row) for row in rows] == [(before, "died"), (first.daemon, None)]


async def test_a_daemon_that_gives_up_its_lease_begins_anew_under_another_id(start_presence) -> None:
    first = await start_presence()
    before = first.daemon
    first.presence.renounce()
    await first.tells("up", times=2)
    assert first.daemon > before


async def test_a_session_whose_locks_are_not_known_for_certain_is_given_up(monkeypatch, start_presence) -> None:
    monkeypatch.setattr(presence_module, "BEAT_TIMEOUT_S", 0.2)
    slow = f"select t.*, pg_sleep(5) from ({Statements()['doorbell_take']}) t"
    first, second = await start_presence(Statements().but(doorbell_take=slow)), await start_presence()
    with pytest.raises(TimeoutError):
        await first.presence.take("p")
    await first.tells("up", times=2)

    async def taken() -> bool:
        return bool(await second.presence.take("p") == (True, True))

    await eventually(taken)  # once the server has seen that the session is gone


# Who rings


async def test_an_insert_rings_only_while_the_bell_is_held(conn, start_presence, heard) -> None:
    sleeper = await start_presence()
    await insert(conn)
    assert await heard() == []
    await sleeper.presence.take("p")
    await insert(conn)
    assert await heard() == ["p"]
    await insert(conn, processor="another")
    assert await heard() == []
    await sleeper.presence.leave("p")
    assert await heard() == ["p"]
    await insert(conn)
    assert await heard() == []


async def test_a_statement_rings_once_for_each_processor_that_sleeps(conn, start_presence, heard) -> None:
    sleeper = await start_presence()
    for name in ("a", "b"):
        await sleeper.presence.take(name)
    await conn.execute(
        "insert into actiond.action (processor) select p from unnest('{a,b,c}'::text[]) p, generate_series(1, 100)"
    )
    assert sorted(await heard()) == ["a", "b"]


async def test_what_was_rolled_back_or_is_held_rings_nobody(conn, start_presence, heard) -> None:
    sleeper = await start_presence()
    await sleeper.presence.take("p")
    transaction = conn.transaction()
    await transaction.start()
    await insert(conn)
    await transaction.rollback()
    await insert(conn, status="held")
    assert await heard() == []


async def test_a_row_for_later_rings_too_because_it_moves_the_alarm(conn, start_presence, heard) -> None:
    sleeper = await start_presence()
    await sleeper.presence.take("p")
    await conn.execute("select actiond.enqueue('p', due_in => '1 hour')")
    assert await heard() == ["p"]


async def test_nobody_falls_asleep_while_an_insert_is_not_committed(conn, db, start_presence) -> None:
    sleeper = await start_presence()
    inserter = await db.connect()
    transaction = inserter.transaction()
    await transaction.start()
    await insert(inserter)
    assert await sleeper.presence.take("p") == (True, False)
    assert await sleeper.presence.take("p") == (True, False)
    assert not sleeper.presence.holds("p")
    await transaction.commit()
    assert await sleeper.presence.take("p") == (True, True)
    await inserter.close()


CHANGES = {
    "released": ("held", "set status = 'pending'", True),
    "retried by hand": ("failed", "set status = 'pending'", True),
    "uncanceled": ("canceled", "set status = 'pending'", True),
    "made due earlier": ("pending", "set next_eligible_at = next_eligible_at - interval '1 min'", True),
    "put off": ("pending", "set next_eligible_at = next_eligible_at + interval '1 min'", False),
    "held": ("pending", "set status = 'held'", False),
    "given other data": ("pending", "set data = '{}'", False),
    "put earlier while held": ("held", "set next_eligible_at = next_eligible_at - interval '1 min'", False),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_by_hand_rings_when_it_makes_a_row_due(change, conn, store, start_presence, heard) -> None:
    status, edit, rings = CHANGES[change]
    (id_,) = await insert(conn, status="held" if status == "held" else "pending")
    if status in ("failed", "canceled"):
        await settle(store, [outcome(id_, (await claim(store)).run_id, status)])
    sleeper = await start_presence()
    await sleeper.presence.take("p")
    await conn.execute(f"update actiond.action {edit}")
    assert await heard() == (["p"] if rings else [])
    await sleeper.presence.leave("p")
    assert await heard() == ["p"]
    await conn.execute("update actiond.action set next_eligible_at = next_eligible_at - interval '1 hour'")
    assert await heard() == []


async def test_a_claim_and_its_outcomes_ring_nobody(conn, store, start_presence, heard) -> None:
    sleeper = await start_presence()
    await insert(conn, 4)
    await sleeper.presence.take("p")
    answer = await claim(store)
    kinds = ["completed", "failed", "retried", "deferred"]
    await settle(store, [outcome(row, answer.run_id, kind) for row, kind in zip(answer.rows, kinds, strict=True)])
    assert await heard() == []


# The race: inserters commit while a daemon goes to sleep, and there is no safety poll


class Sleeper:
    """A processor's loop on one daemon, with the real claim and the real doorbell, and a crew that does nothing."""

    def __init__(self, pool: Any, number: int, claimed: set[str], gets_busy: bool) -> None:
        self.claimed, self.gets_busy = claimed, gets_busy
        self.processor = SimpleNamespace(name="p", batch=True)
        self.policy, self.speed, self.sizing = Policy(batch_size=20), Speed(), Sizing()
        self.in_hand = self.running = 0
        self.asking = Suspects().asking
        self.bell = Bell()
        store = store_of(pool, number)
        world = World(listening=True, poll_soon=self.look)
        self.loop = ProcessorLoop(self, WriteBack(store, "p"), store, self, world, self.bell)  # type: ignore[arg-type]
        self.loop.policy_known = True
        self.presence: Any = None
        self._leaving: set[asyncio.Task[None]] = set()

    def heard(self, channel: str, payload: str) -> None:
        if channel == WAKE:
            self.bell.ring()

    def look(self) -> None:
        """What the poll has done that a loop asks for where looks from the beginning are slow, as on a busy machine."""
        self.loop.watermark.forget(at_once=True)
        self.bell.ring()

    def add(self, run_id: int, rows: list[Any], probe: bool = False) -> None:
        self.claimed.update(row.related for row in rows)
        self.in_hand = int(self.gets_busy)

    async def give_back_unwelcome(self) -> int:
        return 0

    def finish(self) -> None:
        """The batch is over."""
        if self.in_hand:
            self.in_hand = 0
            self.bell.ring()

    async def take(self, processor: str) -> tuple[bool, bool]:
        return await self.presence.take(processor)

    def leave(self, processor: str) -> None:
        if self.presence.sleeps(processor) and not self._leaving:
            task = asyncio.create_task(self.presence.leave(processor))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    def holds(self, processor: str) -> bool:
        return not self._leaving and self.presence.holds(processor)


INSERTERS = ("begin", "begin", "begin isolation level repeatable read")


@pytest.mark.slow
@pytest.mark.parametrize(("sleepers", "rounds"), [(1, 160), (3, 80)])
async def test_no_row_is_slept_over_when_inserters_race_a_daemon_that_goes_to_sleep(
    sleepers, rounds, db, pool, start_presence
) -> None:
    chance, claimed, late = random.Random(7), set[str](), []
    # Several: whoever claims is busy until all rows of the round are claimed, so the others must have been rung.
    loops = [Sleeper(pool, number, claimed, sleepers > 1) for number in range(1, sleepers + 1)]
    for each in loops:
        each.presence = (await start_presence(heard=each.heard)).presence
    tasks = [asyncio.create_task(each.loop.run()) for each in loops]
    inserters = [await db.connect() for _ in INSERTERS]
    for number in range(rounds):
        names = [f"{number}-{place}" for place in range(len(INSERTERS))]
        scripts = [
            f"{begin}; select pg_sleep({chance.uniform(0, 0.004)});"
            f"insert into actiond.action (processor, related) values ('p', '{name}');"
            f"select pg_sleep({chance.choice([0, 0, 0.001, 0.003])}); commit"
            for begin, name in zip(INSERTERS, names, strict=True)
        ]
        await asyncio.gather(*(inserter.execute(script) for inserter, script in zip(inserters, scripts, strict=True)))
        try:
            await eventually(lambda names=names: claimed.issuperset(names), within_s=10)
        except AssertionError:
            late.append(number)
            break
        for each in loops:
            each.finish()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for inserter in inserters:
        await inserter.close()
    assert late == []
    assert [each.loop.trouble for each in loops] == [None] * sleepers
