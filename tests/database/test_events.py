"""Events in SQL and Python: one action for each who subscribed, with the publisher's transaction or not at all."""

from __future__ import annotations

import asyncpg
import pytest

from actiond import publish
from actiond.contract import lineage
from actiond.postgres import events
from support.work import look

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
async def two_hear_of_it(conn) -> None:
    for processor in ("ship", "bill"):
        assert await events.subscribe(conn, "order_paid", processor)
    assert await events.subscribe(conn, "order_lost", "cry")


async def actions(conn: asyncpg.Connection) -> list[tuple[str, str, str | None]]:
    rows = await conn.fetch("select processor, data::text, related from actiond.action order by id")
    return [tuple(row) for row in rows]


async def test_everybody_who_subscribed_gets_an_action_of_their_own(conn) -> None:
    assert await conn.fetchval("""select actiond.publish('order_paid', '{"order": 7}', 'order 7')""") == 2
    assert await actions(conn) == [("bill", '{"order": 7}', "order 7"), ("ship", '{"order": 7}', "order 7")]
    assert await publish(conn, "order_lost", related="order 8") == 1
    assert (await actions(conn))[2] == ("cry", "{}", "order 8")


async def test_nobody_subscribed_is_no_error(conn) -> None:
    assert await publish(conn, "order_found", {"order": 7}) == 0
    assert await actions(conn) == []


async def test_it_goes_with_the_transaction_of_who_publishes(conn) -> None:
    transaction = conn.transaction()
    await transaction.start()
    assert await publish(conn, "order_paid") == 2
    await transaction.rollback()
    assert await actions(conn) == []
    async with conn.transaction():
        await publish(conn, "order_paid")
    assert len(await actions(conn)) == 2


async def test_many_at_once(conn) -> None:
    sent = await conn.fetchval(
        "select sum(actiond.publish('order_paid', jsonb_build_object('order', n))) from generate_series(1, 50) n"
    )
    assert (sent, len(await actions(conn))) == (100, 100)


async def test_who_hears_of_it_is_no_child_and_of_the_same_trace(conn) -> None:
    with lineage.running(1, TRACE):
        await publish(conn, "order_lost")
    row = await look(conn, 1)
    assert (row["parent_id"], row["trace"]) == (None, TRACE)


async def test_a_subscription_counts_from_the_next_event_on(conn) -> None:
    await publish(conn, "order_lost")
    assert await events.unsubscribe(conn, "order_lost", "cry")
    assert not await events.unsubscribe(conn, "order_lost", "cry")
    assert await publish(conn, "order_lost") == 0
    assert await actions(conn) == [("cry", "{}", None)]
    assert not await events.subscribe(conn, "order_paid", "bill")
    assert [row["processor"] for row in await events.subscriptions(conn, "order_paid")] == ["bill", "ship"]
    assert [row["event"] for row in await events.subscriptions(conn, processor="ship")] == ["order_paid"]


@pytest.mark.parametrize(("event", "processor"), [("", "p"), ("a b", "p"), ("a,b", "p"), ("x" * 256, "p"), ("e", "")])
async def test_names_that_no_command_could_take_are_refused(conn, event: str, processor: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await events.subscribe(conn, event, processor)
