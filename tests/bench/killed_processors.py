"""What the daemons run that are killed by tests/bench/killed.py."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import asyncpg

from actiond import Action, Batch, CursorStep, Step, Walk, batch_processor, enqueue_many, processor, steps

_connections: dict[str, asyncpg.Connection] = {}


async def _connection() -> asyncpg.Connection:
    """One for the whole process: what is measured is the walk, not logging in."""
    known = _connections.get("one")
    if known is None or known.is_closed():
        known = _connections["one"] = await asyncpg.connect(os.environ["ACTIOND_DSN"])
    return known


class Visit(CursorStep):
    """Leaves a mark on every row, and adds up what they hold."""

    chunk = 1_000

    async def fetch(self, walk: Walk, after: Any, limit: int) -> Sequence[Any]:
        text = "select id, amount from public.item where id > $1 order by id limit $2"
        return await (await _connection()).fetch(text, after or 0, limit)

    async def each(self, walk: Walk, rows: Sequence[Any]) -> None:
        text = "update public.item set visits = visits + 1 where id between $1 and $2"
        await (await _connection()).execute(text, rows[0]["id"], rows[-1]["id"])
        walk.memory["sum"] = walk.memory.get("sum", 0) + sum(row["amount"] for row in rows)

    async def finalize(self, walk: Walk) -> None:
        walk.memory["walked"] = walk.done


class Report(Step):
    async def execute(self, walk: Walk) -> None:
        walk.memory["reported"] = True


walk_all = steps("killed_walk", [Visit(), Report()], retries=3, timeout="10 min")


@batch_processor("killed_parent", batch_size=1, timeout="10 min")
async def parent(batch: Batch[Any]) -> None:
    """Makes as many children as its data say, with itself set waiting in the same transaction; then runs again."""
    async with batch.transaction() as connection:
        for action in batch:
            if action.state is None:
                await enqueue_many(
                    connection,
                    "killed_child",
                    [{"number": n} for n in range(action.data["children"])],
                    parent=action.id,
                )
                action.wait_for_children(state={"asked": True})
            else:
                await connection.execute("insert into public.second_run (action_id) values ($1)", action.id)
                action.complete(dict(await connection.fetchrow(OPEN, action.id)))


OPEN = """
select count(*) as children, count(*) filter (where status in ('pending', 'held')) as open
  from actiond.action where parent_id = $1
"""


@processor("killed_child", retries=3, retry_interval="0.5 s", batch_size=500, concurrency=200)
async def child(action: Action[Any]) -> None:
    """One in ten fails the first time."""
    if action.attempt == 1 and action.id % 10 == 0:
        raise RuntimeError("one in ten fails the first time")
