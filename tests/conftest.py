"""One server for a run of tests, one fresh database for each test that asks for one.

The schema is migrated once, into a template; a test's database is a copy of that.
"""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path

import asyncpg
import pytest

from support.daemon import Daemon, daemons
from support.database import Database, Server, running_server
from support.sources import USUAL_IMPORTS


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--mutant", help="Break this guard on purpose (tests/mutants/mutants.py).")
    parser.addoption("--seed", type=int, help="Run this one seed of the simulation (tests/simulation), and no other.")
    parser.addoption("--seeds", type=int, help="Run so many seeds of the simulation instead of 100.")


def pytest_configure(config: pytest.Config) -> None:
    if name := config.getoption("--mutant"):
        from mutants.mutants import MUTANTS  # whoever breaks nothing does not import what breaks things

        MUTANTS[name].apply()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def template(server: Server) -> Iterator[str]:
    """The name of a migrated database to copy; nobody may be connected to it."""
    from actiond.postgres.migrate import migrate  # tests that need no database do not wait for it

    database = asyncio.run(server.create())
    asyncio.run(migrate(database.dsn))
    yield database.name
    asyncio.run(server.drop(database))


@pytest.fixture
async def db(server: Server, template: str) -> AsyncIterator[Database]:
    """A database with the schema of actiond and no rows."""
    async with server.fresh(template) as database:
        yield database


@pytest.fixture
async def bare_db(server: Server) -> AsyncIterator[Database]:
    """A database without any schema."""
    async with server.fresh() as database:
        yield database


@pytest.fixture
async def conn(db: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await db.connect()
    yield connection
    await connection.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Daemon]]:
    """start(dsn, processor_file, env=...) -> a running daemon process, killed at the end."""
    with daemons() as starter:
        yield starter


@pytest.fixture
def processor_file(tmp_path: Path) -> Callable[[str], Path]:
    """processor_file(source) -> a file with that source, dedented, after the usual imports."""
    numbers = count()

    def write(source: str) -> Path:
        path = tmp_path / f"processors_{next(numbers)}.py"
        path.write_text(USUAL_IMPORTS + textwrap.dedent(source))
        return path

    return write
