"""batch/execute_each: exactly the bad rows fail, the others are written together with their outcomes, at a known price.

What travels is counted by a proxy between the pool and the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import asyncpg
import pytest

from actiond.batch import execute_each
from actiond.batch.execute_each import HandlerDatabase
from actiond.contract.action import Action, Scope
from actiond.contract.batch import Batch
from actiond.postgres.action_store import ActionStore
from actiond.postgres.connection import Pool, close_pool, handler_pool
from actiond.rules.error_policy import ErrorPolicy
from actiond.words import json_text
from actiond.words.errors import RowsDoNotFit
from actiond.words.outcome import SUDDEN_DEATH, Canceled, Completed, Failed
from pure.build import rules
from pure.test_bisect import most_tries
from support.database import eventually
from support.proxy import Proxy, running_proxy
from support.rows import ask
from support.work import blocked, claim, history, look, run_row

pytestmark = pytest.mark.slow

INSERT = "insert into public.book (action, amount) values ($1, $2)"
HANDLER = "actiond handler"

Make = Callable[..., Awaitable[Batch[Any]]]


def of(action: Action[Any]) -> tuple[Any, ...]:
    return action.id, action.data


@pytest.fixture
async def proxy(db) -> AsyncIterator[Proxy]:
    async with running_proxy(db.dsn) as proxy:
        yield proxy


@pytest.fixture
async def handlers(proxy: Proxy) -> AsyncIterator[Pool]:
    """One connection, so that what it prepared once it need not prepare again."""
    pool = await handler_pool(proxy.dsn, 1)
    yield pool
    await close_pool(pool)


@pytest.fixture(autouse=True)
async def _book(conn: asyncpg.Connection) -> None:
    await conn.execute("create table public.book (action bigint primary key, amount int check (amount > 0))")


@pytest.fixture
async def a_batch(conn: asyncpg.Connection, store: ActionStore, handlers: Pool) -> Make:
    """a_batch(payloads...) -> a batch of new rows with these payloads, as a handler would hold it."""

    async def make(*payloads: Any, on_error: ErrorPolicy | None = None) -> Batch[Any]:
        await ask(conn, "p", *payloads)
        answer = await claim(store, limit=1000)
        scope = Scope(answer.run_id, "p", on_error=on_error or ErrorPolicy())
        actions = [Action(row, json_text.loads(row.data), scope) for row in answer.rows]
        return Batch(actions, scope, {}, HandlerDatabase(handlers, store, rules(), lambda _: None, scope))

    return make


async def written(conn: asyncpg.Connection) -> list[int]:
    return [row["action"] for row in await conn.fetch("select action from public.book order by 1")]


async def completed(conn: asyncpg.Connection) -> list[int]:
    rows = await conn.fetch("select id from actiond.action where status = 'completed' and claimed_by = 0 order by 1")
    return [row["id"] for row in rows]


def ids(actions: Sequence[Action[Any]]) -> list[int]:
    return [action.id for action in actions]


async def on_the_way(conn: asyncpg.Connection, sql: str) -> None:
    """A trigger on the book, which runs this for each new row."""
    await conn.execute(
        f"create function public.on_the_way() returns trigger language plpgsql as $$ begin {sql} return new; end $$;"
        "create trigger on_the_way before insert on public.book for each row execute function public.on_the_way()"
    )


async def test_all_rows_travel_together_in_one_transaction(conn, a_batch, proxy) -> None:
    first = await a_batch(1)
    await first.execute_each(INSERT, of)  # connects and prepares
    batch = await a_batch(*[5] * 512)
    proxy.round_trips.clear()
    proxy.executed.clear()
    accepted = await batch.execute_each(INSERT, of)
    assert ids(accepted) == ids(list(batch))
    assert proxy.executed["BEGIN;"] == proxy.executed["COMMIT;"] == 1
    assert proxy.executed[INSERT] == 512
    # begin, lock, all the rows, outcomes, commit, and the reset of the connection when the pool gets it back
    assert proxy.round_trips[HANDLER] == 6
    assert await written(conn) == await completed(conn) == ids([*first, *batch])
    assert (await run_row(conn, batch.run_id))["completed"] == 512


@pytest.mark.parametrize("bad", [{0}, {511}, {200}, {3, 4, 100, 101, 300, 444, 511}], ids=len)
async def test_of_512_the_bad_ones_fail_alone_at_the_promised_price(conn, a_batch, proxy, bad: set[int]) -> None:
    batch = await a_batch(*[-1 if place in bad else 1 for place in range(512)])
    actions = list(batch)
    accepted = await batch.execute_each(INSERT, of)
    good = [action for action in actions if action.data > 0]
    assert ids(accepted) == ids(good)
    assert await written(conn) == await completed(conn) == ids(good)
    for action in actions:
        if action.data > 0:
            assert action.outcome == Completed()
        else:
            assert isinstance(action.outcome, Failed)
            assert isinstance(action.outcome.error, asyncpg.CheckViolationError)
            assert f"({action.id}, {action.data})" in str(action.outcome.error)
    tries = proxy.executed["BEGIN;"]
    assert tries <= most_tries(512, len(bad))
    assert proxy.round_trips[HANDLER] <= 5 * tries + 10  # and what connecting and preparing takes


async def test_what_a_deferred_constraint_refuses_at_the_commit_fails_alone(conn, a_batch) -> None:
    await conn.execute(
        "create function public.thirteen() returns trigger language plpgsql as $$ begin if new.amount = 13 then"
        " raise exception 'thirteen brings bad luck' using errcode = '23514'; end if; return null; end $$;"
        "create constraint trigger thirteen after insert on public.book deferrable initially deferred"
        " for each row execute function public.thirteen()"
    )
    batch = await a_batch(1, 2, 13, 4, 13)
    accepted = await batch.execute_each(INSERT, of)
    assert await written(conn) == await completed(conn) == ids(accepted) == [batch[place].id for place in (0, 1, 3)]
    for place in (2, 4):
        outcome = batch[place].outcome
        assert isinstance(outcome, Failed)
        assert str(outcome.error) == "thirteen brings bad luck"


@pytest.mark.parametrize(
    ("payload", "sql", "said"),
    [
        ("x", INSERT, "invalid input for query argument $2: 'x' ('str' object cannot be interpreted as an integer)"),
        (2**40, INSERT, "invalid input for query argument $2: 1099511627776 (value out of int32 range)"),
        (None, INSERT.replace("$2", "1 / coalesce($2, 0)"), "division by zero"),
        (99, INSERT, "not today"),
        (50, INSERT.replace("book", "small_book"), "new row violates check option"),
    ],
    ids=["type", "range", "arithmetic", "trigger", "view"],
)
async def test_whatever_the_database_has_against_a_row_is_said_of_it_alone(conn, a_batch, payload, sql, said) -> None:
    await on_the_way(conn, "if new.amount = 99 then raise exception 'not today'; end if;")
    await conn.execute(
        "create view public.small_book as select * from public.book where amount < 50 with local check option"
    )
    batch = await a_batch(1, payload, 1)
    assert ids(await batch.execute_each(sql, of)) == [batch[0].id, batch[2].id]
    outcome = batch[1].outcome
    assert isinstance(outcome, Failed)
    assert str(outcome.error).startswith(said)


async def test_rows_that_spoil_each_other_are_told_apart(conn, a_batch) -> None:
    batch = await a_batch(1, 2, 3)
    accepted = await batch.execute_each(INSERT, [(7, 1), (7, 2), (8, 3)])
    assert await written(conn) == [7, 8]
    assert len(accepted) == 2
    refused = [action for action in batch if action not in accepted]
    assert isinstance(refused[0].outcome, Failed)
    assert "Key (action)=(7) already exists" in str(refused[0].outcome.error)


async def test_a_row_that_was_taken_away_leaves_the_batch_and_is_not_written(conn, a_batch) -> None:
    batch = await a_batch(1, 2, 3)
    gone = batch[1]
    await conn.execute("update actiond.action set status = 'canceled' where id = $1", gone.id)
    accepted = await batch.execute_each(INSERT, of)
    assert gone.withdrawn
    assert await written(conn) == ids(accepted) == ids(list(batch))
    assert gone.id not in ids(accepted)
    assert (await look(conn, gone.id))["status"] == "canceled"


async def test_some_of_the_actions(conn, a_batch) -> None:
    batch = await a_batch(1, 2, 3)
    batch[0].cancel("not wanted")
    assert ids(await batch.execute_each(INSERT, of, batch[1:])) == ids(batch[1:])
    assert batch[0].outcome == Canceled("not wanted")
    assert await written(conn) == ids(batch[1:])


async def test_what_was_decided_is_decided_for_good(conn, a_batch, proxy) -> None:
    batch = await a_batch(1, -2, 3)
    await batch.execute_each(INSERT, of)
    before = proxy.executed[INSERT]
    assert ids(await batch.execute_each(INSERT, lambda action: (action.id, 5))) == [batch[1].id]
    assert proxy.executed[INSERT] == before + 1
    assert await written(conn) == await completed(conn) == ids(list(batch))


async def test_an_action_whose_arguments_cannot_be_made_fails_alone(conn, a_batch) -> None:
    batch = await a_batch({"n": 1}, {}, {"n": 3}, {"n": "text"})

    def arguments(action: Action[Any]) -> Any:
        return "text" if action.data["n"] == "text" else (action.id, action.data["n"])

    assert len(await batch.execute_each(INSERT, arguments)) == 2
    assert batch[1].outcome is not None
    assert str(batch[1].outcome) == str(Failed(KeyError("n")))
    assert isinstance(batch[3].outcome, Failed)
    assert str(batch[3].outcome.error).endswith("needs one tuple of arguments for each action: not 'text'")


@pytest.mark.parametrize("rows", [[], [(1, 1)], [(1, 1)] * 3, ["ab", "cd"], [1, 2]], ids=repr)
async def test_there_is_one_tuple_for_each_action(conn, a_batch, rows) -> None:
    batch = await a_batch(1, 2)
    with pytest.raises(RowsDoNotFit):
        await batch.execute_each(INSERT, rows)
    assert [action.outcome for action in batch] == [None, None]


async def test_nothing_to_do_is_no_round_trip(a_batch, proxy) -> None:
    batch = await a_batch(1)
    assert await batch.execute_each(INSERT, [], []) == []
    assert proxy.executed["BEGIN;"] == 0


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("insert into public.nowhere values ($1, $2)", asyncpg.UndefinedTableError),
        ("insrt into public.book values ($1, $2)", asyncpg.PostgresSyntaxError),
        ("insert into public.book values ($1)", asyncpg.InterfaceError),
    ],
    ids=["no_such_table", "syntax", "number_of_arguments"],
)
async def test_an_error_of_the_statement_is_raised_at_once_and_blamed_on_nobody(a_batch, proxy, sql, error) -> None:
    batch = await a_batch(1, 2, 3)
    with pytest.raises(error):
        await batch.execute_each(sql, of)
    assert [action.outcome for action in batch] == [None] * 3
    assert proxy.executed["BEGIN;"] == 1


async def test_what_the_class_of_the_error_costs(a_batch) -> None:
    policy = ErrorPolicy.of(asyncpg.IntegrityConstraintViolationError, ())
    batch = await a_batch(1, -2, "x", on_error=policy)
    await batch.execute_each(INSERT, of)
    assert isinstance(batch[1].outcome, Failed)
    assert batch[1].outcome.behavior is SUDDEN_DEATH
    assert isinstance(batch[2].outcome, Failed)
    assert batch[2].outcome.behavior is not SUDDEN_DEATH


# What says nothing about a row.


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute_each, "_FIRST_PAUSE_S", 0.001)


@pytest.mark.parametrize("sqlstate", ["40001", "40P01", "55P03", "57014", "53400"])
async def test_rows_are_tried_again_together_when_the_server_could_not(
    conn, a_batch, proxy, impatient, sqlstate
) -> None:
    await conn.execute("create sequence public.tries")
    await on_the_way(
        conn,
        f"if new.amount = 2 and nextval('public.tries') <= 2 then raise exception 'busy' using errcode = '{sqlstate}';"
        " end if;",
    )
    batch = await a_batch(1, 2, 3)
    assert ids(await batch.execute_each(INSERT, of)) == ids(list(batch))
    assert await written(conn) == await completed(conn) == ids(list(batch))
    assert proxy.executed["BEGIN;"] == 3  # all three rows, three times


async def test_a_server_that_never_can_is_an_error_of_the_call_and_of_no_row(conn, a_batch, proxy, impatient) -> None:
    await on_the_way(conn, "if new.amount = 2 then raise exception 'busy' using errcode = '40001'; end if;")
    batch = await a_batch(1, 2, 3, -4)
    with pytest.raises(asyncpg.SerializationError):
        await batch.execute_each(INSERT, of)
    assert [action.outcome for action in batch] == [None] * 4
    assert proxy.executed["BEGIN;"] == execute_each.TRIES
    assert await written(conn) == []


async def test_a_deadlock_with_somebody_else_is_tried_again(conn, db, a_batch, impatient) -> None:
    update, book = "update public.book set amount = amount + $2 where action = $1", [(1, 10), (2, 10)]
    await conn.execute("insert into public.book values (1, 1), (2, 1)")
    batch, other = await a_batch(1, 2), await db.connect()
    transaction = other.transaction()
    await transaction.start()
    await other.execute("set local deadlock_timeout = '1min'; update public.book set amount = 5 where action = 2")
    running = asyncio.create_task(batch.execute_each(update, book))
    await eventually(lambda: blocked(conn))
    await other.execute("update public.book set amount = 5 where action = 1")  # waits until the batch has given up
    await transaction.commit()
    assert ids(await running) == ids(list(batch)) == await completed(conn)
    assert [row["amount"] for row in await conn.fetch("select amount from public.book order by action")] == [15, 15]
    await other.close()


@pytest.mark.parametrize("after", [False, True], ids=["before_it", "after_it"])
async def test_a_commit_whose_answer_is_lost_is_not_done_twice(conn, a_batch, proxy, impatient, after) -> None:
    batch = await a_batch(*range(1, 31), -1)
    proxy.cut_at("COMMIT;", after=after)
    accepted = await batch.execute_each(INSERT, of)
    assert proxy.cuts == 1
    assert ids(accepted) == await written(conn) == await completed(conn) == ids(list(batch))[:30]
    assert [action.outcome for action in accepted] == [Completed()] * 30
    assert isinstance(batch[30].outcome, Failed)
    assert not any(action.withdrawn for action in batch)
    assert (await run_row(conn, batch.run_id))["completed"] == 30
    assert await history(conn, accepted[0].id) == []


@pytest.mark.parametrize("at", ["BEGIN;", "lock_claimed", INSERT, "step"])
async def test_a_connection_that_breaks_says_nothing_about_a_row(conn, a_batch, proxy, impatient, at) -> None:
    batch = await a_batch(*range(1, 31), -1)
    proxy.cut_at(at, after=False, times=2)
    accepted = await batch.execute_each(INSERT, of)
    assert proxy.cuts == 2
    assert ids(accepted) == await written(conn) == await completed(conn) == ids(list(batch))[:30]


async def test_a_call_that_is_stopped_keeps_what_was_accepted_and_nothing_else(conn, a_batch) -> None:
    await on_the_way(conn, "if new.amount = 8 then perform pg_advisory_xact_lock_shared(4711); end if;")
    await conn.execute("select pg_advisory_lock(4711)")
    batch = await a_batch(-1, 2, 3, 4, 5, 6, 7, 8)
    running = asyncio.create_task(batch.execute_each(INSERT, of))
    await eventually(lambda: blocked(conn))
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert await written(conn) == await completed(conn) == ids(batch[1:4])
    assert [action.outcome for action in batch[4:]] == [None] * 4
