"""The store in memory and the statements of sql/ leave the same behind, whatever is asked of them in whatever order.

One script, drawn by Hypothesis, drives an ActionStore and a DaemonStore on a real Postgres and the same on the store in
memory; after each step all rows, runs and the history are compared. The clock of the database stands and is moved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from actiond.postgres.action_store import ActionStore, Answer, EndedRun, Parcel
from actiond.postgres.connection import close_pool, work_pool
from actiond.postgres.daemon_store import DaemonStore
from actiond.postgres.statements import Statements
from actiond.rules.watermark import Watermark
from actiond.words.claimed import Settlement
from simulation.rows import Record
from simulation.server import Names
from simulation.store import Store
from support.clock import set_now
from support.database import Database, Server
from support.work import CLEAN, a_claim

EPOCH = datetime(2030, 1, 1, tzinfo=UTC)
KINDS = ("completed", "failed", "retried", "deferred", "canceled")
VERBS = ("cancel", "hold", "release", "retry", "run_now")
ROWS = """
select id, processor, status, claimed_by, run_id, attempts, crashes, retries_left, error, result::text as result,
       state::text as state, priority, next_eligible_at as due, finished_at as finished, started_at as started
  from actiond.action order by id
"""
RUNS = """
select id, processor, daemon, actions, finished_at is not null as finished, completed, failed, retried, deferred,
       canceled, fenced, returned from actiond.run order by id
"""
INSERT = "insert into actiond.action (processor, priority, next_eligible_at, retries_left) values ($1, $2, $3, $4)"
COUNTED = ("completed", "failed", "retried", "deferred", "canceled", "fenced", "returned")


class InMemory:
    """The store as a pool: what a statement asks is answered at once."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def fetch(self, name: str, *arguments: Any) -> list[Record]:
        return getattr(self._store, name)(*arguments)

    async def fetchval(self, name: str, *arguments: Any) -> Any:
        return (await self.fetch(name, *arguments))[0][0]

    async def execute(self, name: str, *arguments: Any) -> None:
        await self.fetch(name, *arguments)


class Both:
    """Two daemons on each of the two. `known`: run ids of the real one -> of the one in memory."""

    def __init__(self, real: Any, conn: asyncpg.Connection) -> None:
        self.conn = conn
        self.now = EPOCH
        self.memory = Store(lambda: _micros(self.now))
        pool: Any = InMemory(self.memory)
        self.stores = [(ActionStore(real, Statements()), ActionStore(pool, Names())) for _ in range(2)]  # type: ignore[arg-type]
        self.rescuers = (DaemonStore(real, Statements()), DaemonStore(pool, Names()))  # type: ignore[arg-type]
        self.known: dict[int, int] = {0: 0}
        for number, (ours, theirs) in enumerate(self.stores):
            ours.daemon = theirs.daemon = number + 1

    async def empty(self) -> None:
        await self.conn.execute(
            "truncate actiond.action, actiond.run, actiond.history restart identity; delete from actiond.daemon"
        )
        await set_now(self.conn, self.now.isoformat())

    async def rows(self) -> tuple[list[Any], list[Any]]:
        """All that is stored, in a shape that both have. A fence that nobody holds is just a fence."""
        real = [
            (*_row(row), self.known.get(row["run_id"], "fence"), _micros(row["due"]), _micros(row["finished"]))
            for row in await self.conn.fetch(ROWS)
        ]
        ours = set(self.known.values())
        memory = [
            (*_row(vars(row)), row.run_id if row.run_id in ours else "fence", row.due, row.finished)
            for row in self.memory.rows.values()
        ]
        return real, memory

    async def runs(self) -> tuple[list[Any], list[Any]]:
        real = [
            (
                self.known[r["id"]],
                r["processor"],
                r["daemon"],
                r["actions"],
                r["finished"],
                *(r[name] for name in COUNTED),
            )
            for r in await self.conn.fetch(RUNS)
        ]
        memory = [
            (r.id, r.processor, r.daemon, r.actions, r.finished, *(r.counts.get(name, 0) for name in COUNTED))
            for r in self.memory.runs.values()
        ]
        return sorted(real), sorted(memory)

    async def history(self) -> tuple[list[Any], list[Any]]:
        rows = await self.conn.fetch("select action_id, event, attempt from actiond.history order by action_id, id")
        return [tuple(row) for row in rows], sorted(self.memory.history, key=lambda each: each[0])


def _row(row: Any) -> tuple[Any, ...]:
    told = ("id", "processor", "status", "claimed_by", "attempts", "crashes", "retries_left", "error", "priority")
    return tuple(row[name] for name in (*told, "result", "state"))


def _micros(at: datetime | None) -> int | None:
    return None if at is None else round(at.timestamp() * 1e6)


def R(what: Awaitable[Any]) -> Any:
    """Its result. A state machine is not async, and its connections live longer than one example."""
    return Alike.loop.run_until_complete(what)


class Alike(RuleBasedStateMachine):
    """`loop` and `make` are set by the test."""

    loop: asyncio.AbstractEventLoop
    make: Callable[[], Both]

    @initialize()
    def begin(self) -> None:
        self.both = type(self).make()
        R(self.both.empty())
        self.held: list[list[tuple[int, Answer, Answer]]] = [[], []]  # claims by daemon: those that may still be open
        self.marks = [(Watermark(), Watermark()), (Watermark(), Watermark())]

    @rule(
        rows=st.integers(1, 4),
        processor=st.sampled_from(["p", "p", "q"]),
        priority=st.sampled_from([0, 2, 2]),
        in_s=st.sampled_from([-1.5, 0.0, 0.0, 0.25, 5.0]),
        left=st.sampled_from([None, None, 0, 2]),
    )
    def insert(self, rows: int, processor: str, priority: int, in_s: float, left: int | None) -> None:
        due = self.both.now + timedelta(seconds=in_s)
        columns = (processor, priority, due, left)
        for _ in range(rows):
            R(self.both.conn.execute(INSERT, *columns))
            self.both.memory.insert(processor, _micros(due), priority=priority, retries_left=left)

    @rule(
        who=st.integers(0, 1),
        limit=st.integers(0, 5),
        processor=st.sampled_from(["p", "p", "q"]),
        suspects=st.booleans(),
        marked=st.booleans(),
        said=st.lists(st.tuples(st.integers(0, 30), st.sampled_from(KINDS), st.booleans()), max_size=6),
        over=st.lists(st.integers(0, 5), max_size=2),
    )
    def step(
        self, who: int, limit: int, processor: str, suspects: bool, marked: bool, said: list[Any], over: list[int]
    ) -> None:
        """Outcomes of claims that this daemon made, late ones among them; ends of runs; and a claim."""
        answers = []
        for side in (0, 1):
            times, ids, _ = self.marks[who][side].begin(0.0) if marked and processor == "p" else Watermark().begin(0.0)
            claim = a_claim(limit, processor, suspect_allowed=suspects) if limit else None
            if claim is not None and marked:
                claim = type(claim)(processor, limit, claim.levels, times, ids, None, suspects)
            answers.append(R(self.both.stores[who][side].step(self._parcel(who, side, said, over), claim)))
        real, memory = answers
        assert [_said(row) for row in real.rows] == [_said(row) for row in memory.rows]
        assert sorted(s.id for s in real.fenced) == sorted(s.id for s in memory.fenced)
        assert R(self.both.stores[who][0].note_fenced(real.fenced)) == R(
            self.both.stores[who][1].note_fenced(memory.fenced)
        )
        if limit:
            self.both.known[real.run_id] = memory.run_id
        if real.rows:
            self.held[who].append((len(self.held[who]), real, memory))
            if processor == "p":
                for side in (0, 1):
                    self.marks[who][side].claimed(answers[side].rows, 0.0, short=len(real.rows) < limit)

    def _parcel(self, who: int, side: int, said: list[Any], over: list[int]) -> Parcel:
        claims = [(answer[side + 1]) for answer in self.held[who]]
        rows = [(row.id, answer.run_id) for answer in claims for row in answer.rows]
        chosen = {rows[place % len(rows)]: (kind, noted) for place, kind, noted in said} if rows else {}
        settlements = [
            Settlement(id_, run, kind, noted=noted, **(CLEAN[kind] | _more(kind, id_)))
            for (id_, run), (kind, noted) in chosen.items()
        ]
        ended = {claims[place % len(claims)].run_id for place in over} if claims else set()
        return Parcel(settlements, [EndedRun(run, "{}", "{}") for run in sorted(ended)])

    @precondition(lambda self: any(self.held))
    @rule(who=st.integers(0, 1), which=st.integers(0, 9), some=st.sets(st.integers(0, 4)))
    def give_back(self, who: int, which: int, some: set[int]) -> None:
        if self.held[who]:
            _, real, memory = self.held[who][which % len(self.held[who])]
            ids = [row.id for place, row in enumerate(real.rows) if place in some]
            stores = self.both.stores[who]
            assert R(stores[0].give_back(real.run_id, ids)) == R(stores[1].give_back(memory.run_id, ids))

    @precondition(lambda self: any(self.held))
    @rule(who=st.integers(0, 1), which=st.integers(0, 9), blame=st.booleans())
    def rescue(self, who: int, which: int, blame: bool) -> None:
        """Its daemon was found dead."""
        if self.held[who]:
            _, *runs = self.held[who][which % len(self.held[who])]
            open_ = [R(each.open_runs(who + 1)) for each in self.both.rescuers]
            assert [(self.both.known[r.id], r.processor, r.suspects) for r in open_[0]] == [
                (r.id, r.processor, r.suspects) for r in open_[1]
            ]
            back = [
                R(each.rescue(who + 1, run.run_id, blame)) for each, run in zip(self.both.rescuers, runs, strict=True)
            ]
            both = [(sorted(each.returned), sorted(each.quarantined)) for each in back]
            assert both[0] == both[1]

    @precondition(lambda self: any(self.held))
    @rule(who=st.integers(0, 1), which=st.integers(0, 9))
    def lose_an_answer(self, who: int, which: int) -> None:
        """Of a claim that committed."""
        if self.held[who]:
            _, *runs = self.held[who][which % len(self.held[who])]
            rows = [R(store.recover(run.run_id)) for store, run in zip(self.both.stores[who], runs, strict=True)]
            assert [_said(row) for row in rows[0]] == [_said(row) for row in rows[1]]

    @rule(who=st.integers(0, 1))
    def lose_a_claim(self, who: int) -> None:
        """That never committed; and never will."""
        real, memory = (R(store.draw_run_id()) for store in self.both.stores[who])
        self.both.known[real] = memory
        assert [R(store.recover(run)) for store, run in zip(self.both.stores[who], (real, memory), strict=True)] == [
            [],
            [],
        ]

    @precondition(lambda self: self.both.memory.rows)
    @rule(verb=st.sampled_from(VERBS), some=st.sets(st.integers(0, 30), min_size=1, max_size=4))
    def act(self, verb: str, some: set[int]) -> None:
        ids = sorted({1 + place % len(self.both.memory.rows) for place in some})
        R(self.both.conn.fetch(f"select * from actiond.{verb}($1::bigint[])", ids))
        self.both.memory.act(verb, ids)

    @rule(by_s=st.sampled_from([0.000001, 0.2, 0.75, 6.0]))
    def time_passes(self, by_s: float) -> None:
        self.both.now += timedelta(seconds=by_s)
        R(set_now(self.both.conn, self.both.now.isoformat()))

    @rule(who=st.integers(0, 1))
    def ask(self, who: int) -> None:
        """When the next row is due, and what was taken away."""
        real, memory = self.both.stores[who]
        for processor in ("p", "q"):
            due = [R(store.next_due_s(processor)) for store in (real, memory)]
            assert due[0] == pytest.approx(due[1], abs=1e-5) if due[0] is not None else due[1] is None
        runs = [[answer[side].run_id for answer in self.held[who]] for side in (1, 2)]
        gone = [sorted(R(store.withdrawn(ids))) for store, ids in zip((real, memory), runs, strict=True)]
        assert sorted((self.both.known[run], id_) for run, id_ in gone[0]) == gone[1]

    @invariant()
    def all_is_alike(self) -> None:
        for real, memory in (R(self.both.rows()), R(self.both.runs()), R(self.both.history())):
            assert real == memory


def _said(row: Any) -> tuple[Any, ...]:
    return (row.id, row.data, row.state, row.retries_left, row.attempts, row.crashes, row.priority, row.due_s)


def _more(kind: str, id_: int) -> dict[str, Any]:
    """Columns beyond what a kind needs, so that each is compared."""
    return {
        "completed": {"result": f'{{"of": {id_}}}'} if id_ % 2 else {},
        "deferred": {"state": f"[{id_}]", "delay_s": 0.5},
        "retried": {"retries_left": id_ % 3, "delay_s": 0.25 * (id_ % 2)},
    }.get(kind, {})


@pytest.fixture
def database(server: Server, template: str) -> Iterator[Database]:
    with server.kept(template) as database:
        yield database


@pytest.mark.slow
def test_the_store_in_memory_is_what_the_statements_are(database: Database) -> None:
    Alike.loop = asyncio.new_event_loop()
    pool, conn = R(work_pool(database.dsn, 1)), R(database.connect())
    Alike.make = staticmethod(lambda: Both(pool, conn))
    try:
        run_state_machine_as_test(
            Alike,
            settings=settings(
                max_examples=60,
                stateful_step_count=40,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate],  # with Phase.shrink a failure becomes short, in minutes
            ),
        )
    finally:
        R(conn.close())
        R(close_pool(pool))
        Alike.loop.close()
