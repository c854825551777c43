"""A database with a canary: whatever is carried out that should not be leaves a trace in it, or makes a file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from support import hostile
from support.database import Database, Server
from support.hostile import Canary
from support.roles import Peopled, peopled_database


@pytest.fixture
async def canary(db: Database, conn: asyncpg.Connection, tmp_path: Path) -> AsyncIterator[Canary]:
    """Asked for before anything else, and once more when the test is over."""
    await conn.execute(hostile.MAKE_CANARY)
    canary = Canary(conn, tmp_path / "touched")
    yield canary
    assert await canary.sings()


@pytest.fixture(scope="module")
def peopled(server: Server, template: str) -> Iterator[Peopled]:
    """A database with the roles of deploy/roles.sql, and a login for each."""
    with peopled_database(server, template) as peopled:
        yield peopled
