"""What most of these tests ask for: the store of a daemon, as the daemon itself makes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from actiond.postgres.action_store import ActionStore
from actiond.postgres.connection import Pool
from support.database import Database, Server
from support.roles import Peopled, peopled_database
from support.work import pool_of, store_of


@pytest.fixture
async def pool(db: Database) -> AsyncIterator[Pool]:
    async with pool_of(db) as pool:
        yield pool


@pytest.fixture
def store(pool: Pool) -> ActionStore:
    """The store of daemon 1, which need not be registered to claim."""
    return store_of(pool)


@pytest.fixture
async def a_role(db: Database) -> AsyncIterator[str]:
    """A role without any rights. Roles belong to the whole server, so it is dropped even there."""
    name = db.name.replace("test", "test_role")
    owner = await db.connect()
    await owner.execute(f"create role {name}")
    yield name
    await owner.execute(f"drop owned by {name}; drop role {name}")
    await owner.close()


@pytest.fixture(scope="module")
def peopled(server: Server, template: str) -> Iterator[Peopled]:
    """A database with the roles and a few rows (1 waits, 2 runs, 3 failed, 4 is completed); left as it was."""
    with peopled_database(server, template) as peopled:
        asyncio.run(_fill(peopled))
        yield peopled


async def _fill(peopled: Peopled) -> None:
    async with peopled.connected("postgres") as conn:
        await conn.execute(
            "insert into actiond.action (processor, data) select 'p', '\"private\"' from generate_series(1, 4)"
        )
        await conn.execute(
            "update actiond.action set claimed_by = 7, run_id = 7, attempts = 1, started_at = now() where id <> 1"
        )
        await conn.execute(
            """update actiond.action set claimed_by = 0, finished_at = now(), error = 'private', result = '"private"',
                      state = '"private"', status = case id when 3 then 'failed' else 'completed' end where id > 2"""
        )
        await conn.execute("insert into actiond.history (action_id, event, detail) values (3, 'failed', 'private')")
        await conn.execute("insert into actiond.processor (name, breaker) values ('p', 0.5)")
        await conn.execute("insert into actiond.brake (processor) values ('p')")
        await conn.execute(
            "insert into actiond.run (id, processor, daemon, actions, started_at) values (7, 'p', 7, '{2}', now())"
        )
