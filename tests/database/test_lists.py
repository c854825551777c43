"""The views of one status, and what was asked for about one record: what is in them, and in which order."""

from __future__ import annotations

import pytest

from support.clock import set_now
from support.work import claim, insert, outcome, settle, store_of

VIEWS = ("recent_actions", "pending_actions", "running_actions", "failed_actions", "held_actions")


async def ids(conn, view: str) -> list[int]:
    return [row["id"] for row in await conn.fetch(f"select id from actiond.{view}")]


async def test_every_action_is_in_the_view_of_its_status_and_in_no_other(conn, store) -> None:
    failed, completed, canceled, running = await insert(conn, 4)
    answer = await claim(store)
    said = [outcome(i, answer.run_id, k) for i, k in ((failed, "failed"), (completed, "completed"))]
    await settle(store, [*said, outcome(canceled, answer.run_id, "canceled")])
    (held,) = await insert(conn, status="held")
    (waiting,) = await insert(conn)
    found = {view: await ids(conn, view) for view in VIEWS}
    assert found == {
        "recent_actions": [waiting, held, running, canceled, completed, failed],
        "pending_actions": [waiting],
        "running_actions": [running],
        "failed_actions": [failed],
        "held_actions": [held],
    }


async def test_the_views_have_the_columns_of_the_list(conn) -> None:
    wanted = await conn.prepare("select * from actiond.action_list")
    for view in VIEWS:
        found = await conn.prepare(f"select * from actiond.{view}")
        assert [a.name for a in found.get_attributes()] == [a.name for a in wanted.get_attributes()]


async def test_recent_is_made_in_the_last_seven_days(conn) -> None:
    await set_now(conn, "2030-01-01 00:00:00+00")
    await insert(conn)
    await set_now(conn, "2030-01-01 00:00:01+00")
    young = await insert(conn)
    await set_now(conn, "2030-01-08 00:00:01+00")
    assert await ids(conn, "recent_actions") == young


async def test_pending_is_in_the_order_in_which_it_will_run(conn) -> None:
    await set_now(conn, "2030-01-01 00:00:00+00")
    (later,) = await insert(conn)
    (other,) = await insert(conn, processor="a")
    (urgent,) = await insert(conn, priority=0)
    await set_now(conn, "2029-12-31 00:00:00+00")
    (sooner,) = await insert(conn)
    assert await ids(conn, "pending_actions") == [other, urgent, sooner, later]


async def test_the_latest_failure_comes_first(conn, store) -> None:
    first, second = await insert(conn, 2)
    run_id = (await claim(store)).run_id
    for id_ in (second, first):
        await settle(store, [outcome(id_, run_id, "failed")])
    assert await ids(conn, "failed_actions") == [first, second]


@pytest.mark.parametrize("how", ["held", "given to another run", "run over"])
async def test_a_row_that_its_run_lost_is_not_running(conn, store, how) -> None:
    (id_,) = await insert(conn)
    run_id = (await claim(store)).run_id
    assert await ids(conn, "running_actions") == [id_]
    if how == "held":
        await conn.execute("update actiond.action set status = 'held' where id = $1", id_)
    elif how == "given to another run":
        await conn.execute("update actiond.action set run_id = run_id + 1000 where id = $1", id_)
    else:
        await conn.execute("update actiond.run set finished_at = now() where id = $1", run_id)
    assert await ids(conn, "running_actions") == []


async def test_what_is_related_to_a_record_comes_newest_first_and_bounded(conn, pool) -> None:
    first = await insert(conn, 2, related="order 7")
    await insert(conn, related="order 8")
    await insert(conn)
    second = await insert(conn, status="held", related="order 7")
    assert [row["id"] for row in await conn.fetch("select id from actiond.related('order 7')")] == [
        *second, *reversed(first),
    ]  # fmt: skip
    assert [row["id"] for row in await conn.fetch("select id from actiond.related('order 7', 1)")] == second
    await claim(store_of(pool))
    assert [row["status"] for row in await conn.fetch("select status from actiond.related('order 7')")] == [
        "held", "running", "running",
    ]  # fmt: skip


async def test_the_first_since_is_the_lowest_id_also_where_times_are_not_in_order(conn) -> None:
    ids = []
    for at in ("2030-01-01", "2030-03-01", "2030-02-01", "2030-04-01"):
        await set_now(conn, at)
        ids += await insert(conn)
    for since, first in (("2030-01-15", 1), ("2030-02-15", 1), ("2030-03-15", 3), ("2020-01-01", 0)):
        assert await conn.fetchval(f"select actiond.first_since('{since}')") == ids[first]
    assert await conn.fetchval("select actiond.first_since('2031-01-01')") is None
