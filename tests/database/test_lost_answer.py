"""A claim whose answer was lost either committed, and is adopted, or never will."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from actiond.postgres.action_store import ActionStore, EndedRun, Parcel
from actiond.postgres.statements import Statements
from actiond.rules.bounds import Bounds
from actiond.words.errors import AnswerLost
from support.database import eventually
from support.work import a_claim, blocked, claim, insert, look, outcome, outcomes, run_row, settle, store_of

NOTHING = Parcel()


class LosesOneAnswer:
    """A pool that loses its connection at the next step: after the statement committed, or before it was sent."""

    def __init__(self, pool: Any, committed: bool) -> None:
        self._pool = pool
        self._committed = committed
        self.statement: tuple[Any, ...] | None = None

    async def fetch(self, query: str, *arguments: Any) -> Any:
        if query != Statements()["step"] or self.statement:
            return await self._pool.fetch(query, *arguments)
        self.statement = (query, *arguments)
        if self._committed:
            await self._pool.fetch(*self.statement)
        raise ConnectionResetError("the connection was lost")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)


async def lose(pool: Any, committed: bool, parcel: Parcel = NOTHING) -> tuple[ActionStore, int, tuple[Any, ...]]:
    """Claim and lose the answer: the store, the run id, and the statement as it was sent or not."""
    losing = LosesOneAnswer(pool, committed)
    store = store_of(losing)  # type: ignore[arg-type]
    with pytest.raises(AnswerLost) as lost:
        await store.step(parcel, a_claim())
    assert losing.statement is not None
    return store, int(lost.value.args[0]), losing.statement


async def test_a_claim_that_committed_is_adopted_as_if_its_answer_had_come(conn, pool) -> None:
    await insert(conn, 3, related="order 7", priority=1)
    await conn.execute("update actiond.action set state = '{}', retries_left = 4 where id = 2")
    store, run_id, _ = await lose(pool, committed=True)
    rows = await store.recover(run_id)
    assert [row.id for row in rows] == (await run_row(conn, run_id))["actions"] == [1, 2, 3]
    assert [(row.state, row.retries_left) for row in rows] == [(None, None), ("{}", 4), (None, None)]
    stored = await look(conn, 1)
    first = rows[0]
    assert (first.related, first.data, first.attempts, first.priority) == ("order 7", "{}", 1, 1)
    assert first.waited_s == pytest.approx((stored["started_at"] - stored["next_eligible_at"]).total_seconds())
    assert await store.recover(run_id) == rows
    assert (await claim(store)).rows == []
    assert (await settle(store, [outcome(row, run_id) for row in rows])).fenced == []


async def test_rows_of_an_adopted_claim_that_a_person_stopped_meanwhile_are_left_out(conn, pool) -> None:
    first, second = await insert(conn, 2)
    store, run_id, _ = await lose(pool, committed=True)
    await conn.execute("update actiond.action set status = 'canceled' where id = $1", first)
    assert [row.id for row in await store.recover(run_id)] == [second]


async def test_a_claim_that_never_ran_claims_nothing_and_is_refused_when_it_comes_late(conn, pool) -> None:
    (id_,) = await insert(conn)
    store, run_id, zombie = await lose(pool, committed=False)
    assert await store.recover(run_id) == []
    with pytest.raises(asyncpg.UniqueViolationError):
        await pool.fetch(*zombie)
    assert (await look(conn, id_))["claimed_by"] == 0
    assert await store.recover(run_id) == []
    assert (await run_row(conn, run_id))["actions"] == []
    assert [row.id for row in (await claim(store)).rows] == [id_]


@pytest.mark.parametrize("commits", [True, False])
async def test_a_claim_that_is_still_under_way_is_waited_for(commits, conn, db, pool) -> None:
    (id_,) = await insert(conn)
    store, run_id, statement = await lose(pool, committed=False)
    server_side = await db.connect()
    transaction = server_side.transaction()
    await transaction.start()
    assert [row["id"] for row in await server_side.fetch(*statement)] == [id_]
    recovery = asyncio.create_task(store.recover(run_id))
    await eventually(lambda: blocked(conn))
    assert not recovery.done()
    await (transaction.commit() if commits else transaction.rollback())
    assert [row.id for row in await recovery] == ([id_] if commits else [])
    assert (await look(conn, id_))["claimed_by"] == (store.daemon if commits else 0)
    await server_side.close()


async def test_a_lost_claim_that_another_daemon_has_rescued_meanwhile_holds_nothing(conn, pool) -> None:
    await insert(conn, 2)
    store, run_id, _ = await lose(pool, committed=True)
    await store.give_back(run_id, [1, 2])
    assert await store.recover(run_id) == []


async def test_outcomes_whose_answer_was_lost_are_sent_again_with_the_claim_that_follows(conn, pool) -> None:
    await insert(conn, 4)
    before = await claim(store_of(pool), limit=2)
    parcel = Parcel(outcomes(before), [EndedRun(before.run_id, "{2}", "{2}")])
    store, run_id, _ = await lose(pool, committed=True, parcel=parcel)
    adopted = await store.recover(run_id)
    again = await store.step(parcel, a_claim())
    assert (len(adopted), again.rows) == (2, [])
    assert await store.note_fenced(again.fenced) == []
    run = await run_row(conn, before.run_id)
    assert (run["completed"], run["fenced"], run["finished_at"] is not None) == (2, 0, True)


async def test_a_run_without_a_claim_needs_no_recovery(conn, pool) -> None:
    losing = LosesOneAnswer(pool, committed=True)
    with pytest.raises(AnswerLost) as lost:
        await store_of(losing).step(Parcel(), None)  # type: ignore[arg-type]
    assert lost.value.args == (0,)


async def test_a_claim_within_a_global_limit_is_recovered_in_the_same_way(conn, pool) -> None:
    await insert(conn, 3)
    store = store_of(pool)
    answer = await store.step_within(Parcel(), a_claim(), Bounds(calls=2), batch=False)
    assert [row.id for row in answer.rows] == [1, 2]
    assert await store.recover(answer.run_id) == answer.rows


async def test_what_the_database_refuses_is_not_taken_for_a_lost_answer(conn, pool) -> None:
    (id_,) = await insert(conn)
    answer = await claim(store_of(pool))
    with pytest.raises(asyncpg.CheckViolationError):
        await settle(store_of(pool), [outcomes(answer)[0]._replace(kind="failed", error="x" * 1001)])
    assert (await look(conn, id_))["claimed_by"] == 1
