"""Parents and children, and actions that wait for one other."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import asyncpg
import pytest

from actiond import enqueue, enqueue_many
from actiond.contract import lineage
from actiond.loops.release_loop import ReleaseLoop
from actiond.postgres.family_store import FamilyStore
from actiond.postgres.statements import Statements
from support.work import claim, history, insert, look, outcome, outcomes, pool_of, settle, store_of


@pytest.fixture
def families(pool) -> FamilyStore:
    return FamilyStore(pool, Statements())


async def a_family(conn, store, children: int = 2) -> tuple[int, list[int]]:
    """A parent that waits, and its children, all pending."""
    (parent,) = await insert(conn, processor="parent")
    answer = await claim(store, processor="parent")
    ids = await enqueue_many(conn, "child", [{}] * children, parent=parent)
    await settle(store, [outcome(parent, answer.run_id, "waiting", state='{"step": 2}')])
    return parent, ids


async def status(conn, id_: int) -> str:
    return (await look(conn, id_))["status"]


async def test_a_parent_is_held_until_its_last_child_ends_and_runs_again_with_its_state(conn, store, families) -> None:
    parent, (first, second) = await a_family(conn, store)
    row = await look(conn, parent)
    assert (row["status"], row["waits_for"], row["claimed_by"], row["state"]) == ("held", "children", 0, '{"step": 2}')
    assert row["finished_at"] is None
    answer = await claim(store, processor="child")
    await settle(store, [outcome(first, answer.run_id)])
    assert await families.release([first], []) == {}
    await settle(store, [outcome(second, answer.run_id, "failed")])
    assert await families.release([second], []) == {parent: "pending"}
    assert await families.release([second], [parent]) == {}
    again = await claim(store, processor="parent")
    assert [(row.id, row.attempts, row.state) for row in again.rows] == [(parent, 2, '{"step": 2}')]
    assert [event["event"] for event in await history(conn, parent)] == ["released"]


@pytest.mark.parametrize("open_as", ["pending", "held", "running", "retried", "deferred", "waiting"])
async def test_a_child_that_is_open_in_any_way_keeps_its_parent_waiting(conn, store, families, open_as) -> None:
    parent, (child,) = await a_family(conn, store, 1)
    if open_as == "held":
        await conn.execute("update actiond.action set status = 'held' where id = $1", child)
    elif open_as != "pending":
        answer = await claim(store, processor="child")
        if open_as != "running":
            await settle(store, [outcome(child, answer.run_id, open_as)])
    assert await families.release([child], [parent]) == {}
    assert await status(conn, parent) == "held"


async def test_a_parent_without_an_open_child_is_released_by_its_own_outcome(conn, store, families) -> None:
    parent, _ = await a_family(conn, store, 0)
    assert await families.release([], [parent]) == {parent: "pending"}


@pytest.mark.parametrize("how", ["canceled by hand", "deleted", "retried by hand"])
async def test_what_people_do_to_children_counts(conn, store, families, how) -> None:
    parent, (child,) = await a_family(conn, store, 1)
    if how == "deleted":
        await conn.execute("delete from actiond.action where id = $1", child)
    else:
        await conn.execute("update actiond.action set status = 'canceled' where id = $1", child)
    if how == "retried by hand":
        await conn.execute("update actiond.action set status = 'pending' where id = $1", child)
    assert bool(await families.release([], [parent])) is (how != "retried by hand")


async def test_a_person_who_releases_or_cancels_a_parent_ends_its_waiting(conn, store, families) -> None:
    for wanted in ("pending", "canceled"):
        parent, children = await a_family(conn, store, 1)
        await conn.execute("update actiond.action set status = $2 where id = $1", parent, wanted)
        row = await look(conn, parent)
        assert (row["status"], row["waits_for"]) == (wanted, None)
        await conn.execute("update actiond.action set status = 'canceled' where id = any($1::bigint[])", children)
        assert await families.release(children, [parent]) == {}


async def test_of_the_last_two_children_that_end_at_once_one_releases_the_parent(db, conn, store) -> None:
    """Many families, their last members settled by two daemons at the same moment."""
    async with pool_of(db, size=8) as pool:
        families, daemons = FamilyStore(pool, Statements()), [store_of(pool, 1), store_of(pool, 2)]
        for _ in range(40):
            parent, _ = await a_family(conn, store)
            answers = [await claim(daemon, limit=1, processor="child") for daemon in daemons]
            released: list[int] = []

            async def last(daemon: Any, answer: Any, into: list[int]) -> None:
                await settle(daemon, outcomes(answer))
                into += await families.release([row.id for row in answer.rows], [])

            await asyncio.gather(*(last(d, a, released) for d, a in zip(daemons, answers, strict=True)))
            assert released == [parent]


@pytest.mark.parametrize(
    ("waits_for", "ended", "becomes"),
    [
        ("success", "completed", "pending"),
        ("success", "failed", "canceled"),
        ("success", "canceled", "canceled"),
        ("success", "deleted", "canceled"),
        ("failure", "completed", "canceled"),
        ("failure", "failed", "pending"),
        ("failure", "canceled", "pending"),
        ("end", "completed", "pending"),
        ("end", "failed", "pending"),
        ("end", "canceled", "pending"),
        ("end", "deleted", "pending"),
    ],
)
async def test_an_action_may_wait_for_another(conn, store, families, waits_for, ended, becomes) -> None:
    (first,) = await insert(conn, processor="first")
    then = await enqueue(conn, "then", waits_on=first, waits_for=waits_for)
    assert await families.release([first], [then]) == {}
    answer = await claim(store, processor="first")
    assert await families.release([first], [then]) == {}
    if ended == "deleted":
        await conn.execute("delete from actiond.action where id = $1", first)
    else:
        await settle(store, [outcome(first, answer.run_id, ended)])
    assert await families.release([first], []) == {then: becomes}
    row = await look(conn, then)
    assert (row["status"], row["waits_for"], row["waits_on"]) == (becomes, None, None)
    if becomes == "canceled":
        assert row["finished_at"] is not None
        assert row["error"].startswith(f"action {first} ")
        assert row["error"].endswith(f", this waited for its {waits_for}")


@pytest.mark.parametrize(
    ("columns", "values", "constraint"),
    [
        ("waits_for", "'children'", "who_waits_is_held"),
        ("status, waits_for", "'held', 'success'", "waits_on_names_what_is_waited_for"),
        ("status, waits_for, waits_on", "'held', 'children', 1", "waits_on_names_what_is_waited_for"),
        ("status, waits_on", "'held', 1", "waits_on_names_what_is_waited_for"),
        ("status, waits_for, waits_on", "'held', 'success', 1000000", "waits_on_is_an_older_action"),
        ("status, waits_for, waits_on", "'held', 'luck', 1", "waits_for_is_known"),
        ("parent_id", "1000000", "parent_is_an_older_action"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_name(conn, columns, values, constraint) -> None:
    await insert(conn, 2)
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await conn.execute(f"insert into actiond.action (processor, {columns}) values ('p', {values})")
    assert refused.value.constraint_name == constraint


async def test_a_processor_that_enqueues_itself_is_stopped_at_some_depth(conn) -> None:
    await conn.execute("insert into actiond.setting (name, value) values ('max_depth', '5')")
    id_ = await enqueue(conn, "self")
    for _ in range(5):
        id_ = await enqueue(conn, "self", parent=id_)
    with pytest.raises(asyncpg.PostgresError, match="nest deeper than 5") as refused:
        await enqueue(conn, "self", parent=id_)
    assert refused.value.sqlstate == "AC003"


async def test_what_is_enqueued_inside_a_handler_is_its_child(conn) -> None:
    made_by = await enqueue(conn, "p")
    with lineage.running(made_by):
        child, orphan = await enqueue(conn, "p"), await enqueue(conn, "p", parent=0)
        many = await enqueue_many(conn, "p", [{}, {}])
    assert [(await look(conn, id_))["parent_id"] for id_ in (child, orphan, *many)] == [made_by, None, made_by, made_by]
    assert lineage.parent() is None


async def test_progress_counts_the_children(conn, store) -> None:
    parent, children = await a_family(conn, store, 10)
    answer = await claim(store, limit=6, processor="child")
    ids = [row.id for row in answer.rows]
    await settle(store, [outcome(id_, answer.run_id) for id_ in ids[:3]])
    await settle(store, [outcome(ids[3], answer.run_id, "failed"), outcome(ids[4], answer.run_id, "canceled")])
    row = dict(await conn.fetchrow("select * from actiond.progress($1)", parent))
    rate, eta = row.pop("rate"), row.pop("eta")
    assert row == {"total": 10, "open": 5, "running": 1, "completed": 3, "failed": 1, "canceled": 1}
    assert rate > 0
    assert eta.total_seconds() > 0
    assert await conn.fetchval("select eta from actiond.progress($1)", children[0]) is not None


async def test_a_family_is_canceled_with_all_its_generations(conn, store) -> None:
    parent, (first, second) = await a_family(conn, store)
    grandchild = await enqueue(conn, "child", parent=second)
    answer = await claim(store, limit=1, processor="child")
    await settle(store, [outcome(first, answer.run_id)])
    other = await enqueue(conn, "child")
    assert await conn.fetchval("select actiond.cancel_family($1)", parent) == 3
    assert [await status(conn, id_) for id_ in (parent, first, second, grandchild, other)] == [
        "canceled",
        "completed",
        "canceled",
        "canceled",
        "pending",
    ]


async def test_the_loop_releases_what_it_hears_of_and_sweeps_up_the_rest(conn, store, families) -> None:
    loop = ReleaseLoop(families)
    await loop.step()
    heard, (child,) = await a_family(conn, store, 1)
    answer = await claim(store, processor="child")
    done = [outcome(child, answer.run_id)]
    await settle(store, done)
    loop.landed(done)
    await loop.step()
    assert await status(conn, heard) == "held", "as long as nobody is known to wait, outcomes are not looked at"
    loop.landed([outcome(heard, 1, "waiting")])
    assert await loop.step() > 0
    assert await status(conn, heard) == "pending"
    missed, _ = await a_family(conn, store, 0)
    await ReleaseLoop(families).step()
    assert await status(conn, missed) == "pending"


async def test_a_sweep_goes_through_all_pages(conn, families, monkeypatch) -> None:
    monkeypatch.setattr("actiond.postgres.family_store.PAGE", 3)
    monkeypatch.setattr("actiond.loops.release_loop.PAGE", 3)
    monkeypatch.setattr("actiond.loops.release_loop.BUSY_S", 0.0)
    (first,) = await insert(conn, processor="first")
    waiting = [await enqueue(conn, "then", waits_on=first, waits_for="end") for _ in range(7)]
    random.Random(1).shuffle(waiting)
    await conn.execute("delete from actiond.action where id = $1", first)
    loop = ReleaseLoop(families)
    for _ in range(3):
        await loop.step()
    assert {await status(conn, id_) for id_ in waiting} == {"pending"}
