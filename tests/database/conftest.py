"""What most of these tests ask for: the store of a daemon, as the daemon itself makes it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from actiond.postgres.action_store import ActionStore
from actiond.postgres.connection import Pool
from support.database import Database
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
