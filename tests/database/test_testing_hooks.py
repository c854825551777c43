"""actiond.testing gives what a daemon gives: resources, what is around calls, finalizers, hidden fields."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from actiond import Action, Batch, RunResult, batch_processor, lifespan, processor
from actiond.testing import Database, run_batch, run_once
from actiond.words.errors import ResourceBroken
from support.database import Database as OfSupport

happened: list[Any] = []


@lifespan
async def bank() -> AsyncIterator[str]:
    happened.append("open")
    yield "the real bank"
    happened.append("close")


async def noted(batch: Batch[Any]) -> AsyncIterator[None]:
    happened.append(f"around {len(batch)}")
    yield


async def report(run: RunResult) -> None:
    happened.append((bank.value, [action.outcome for action in run.actions], run.error))


@processor("charge", around=noted, finalize=report, retries=0, redact=("card",))
async def charge(action: Action[dict[str, Any]]) -> str:
    happened.append(action.created_by)
    if "card" in action.data:
        raise ValueError(f"no card {action.data['card']}")
    return bank.value


@batch_processor("charges", finalize=report)
async def charges(batch: Batch[Any]) -> None:
    async with batch.transaction():
        batch[0].complete(bank.value)
    for action in batch[1:]:
        action.fail("not today")


@pytest.fixture(autouse=True)
def _nothing_happened() -> None:
    happened.clear()


@pytest.fixture
def database(db: OfSupport) -> Database:
    return Database(db.dsn)


FAILED = (("the real bank", ["completed", "failed"], "ValueError: no card [hidden]"),)


async def test_run_batch_has_it_all() -> None:
    ended = await run_batch(charge, [{}, {"card": "4111-1111"}], created_by="ada")
    assert [(each.kind, each.result, each.error) for each in ended] == [
        ("completed", "the real bank", None),
        ("failed", None, "ValueError: no card [hidden]"),
    ]
    assert happened == ["open", "around 1", "ada", "around 1", "ada", *FAILED, "close"]


async def test_run_batch_takes_something_else_for_a_resource() -> None:
    (ended,) = await run_batch(charge, [{}], resources={bank: "a bank of paper"})
    assert ended.result == "a bank of paper"
    assert "open" not in happened


async def test_two_at_once_have_each_their_own() -> None:
    one, two = await asyncio.gather(
        run_batch(charge, [{}], resources={bank: "one"}), run_batch(charge, [{}], resources={bank: "two"})
    )
    assert (one[0].result, two[0].result) == ("one", "two")


async def test_run_once_has_it_all(database: Database, conn: asyncpg.Connection) -> None:
    await database.enqueue(charge, {})
    await database.enqueue(charge, {"card": "4111-1111"})
    done, failed = await database.run_once(charge)
    assert (done.result, failed.error) == ("the real bank", "ValueError: no card [hidden]")
    me = await conn.fetchval("select session_user")
    assert happened == ["open", "around 1", me, "around 1", me, *FAILED, "close"]
    assert failed.data == {"card": "4111-1111"}  # a test sees what is there


async def test_run_once_takes_something_else_for_a_resource(database: Database) -> None:
    await database.enqueue(charges, 1)
    await database.enqueue(charges, 2)
    done, again = await run_once(database.dsn, charges, resources={bank: "a bank of paper"})
    assert (done.result, again.status) == ("a bank of paper", "pending")
    assert happened == [("a bank of paper", ["completed", "retried"], None)]


def broken_one() -> Any:
    """A processor whose module has a resource that cannot be opened."""
    code = """
from actiond import lifespan, processor

@lifespan
async def broken():
    raise ConnectionError("nobody there")
    yield

@processor("p")
async def p(action): ...
"""
    names: dict[str, Any] = {}
    exec(compile(code, "a_module.py", "exec"), names)
    return names["p"]


async def test_one_that_cannot_be_opened_is_told_as_it_is(database: Database, conn: asyncpg.Connection) -> None:
    with pytest.raises(ResourceBroken, match="ConnectionError: nobody there"):
        await run_batch(broken_one(), [{}])
    id_ = await database.enqueue("p", {})
    with pytest.raises(ResourceBroken, match="ConnectionError: nobody there"):
        await database.run_once(broken_one())
    assert (await database.action(id_)).attempts == 0
