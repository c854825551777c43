"""Fixtures for tests of processors on a real Postgres; pytest finds them by the entry point `actiond`.

pytest imports this in every run on a machine where actiond is installed, whatever is tested. So it is a package of
its own (importing anything of `actiond` brings asyncpg and pydantic) and imports actiond in the fixtures alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from actiond.testing import Database, Server

T = TypeVar("T")


@pytest.fixture(scope="session")
def actiond_server() -> Iterator[Server]:
    """The server of ACTIOND_DSN, else a private Postgres that ends with the session."""
    from actiond.host.private_postgres import PostgresUnavailable
    from actiond.testing import running_server
    from actiond.words.errors import OperatorError

    try:
        with running_server() as server:
            yield server
            _wait_for(server.close())
    except (PostgresUnavailable, OperatorError) as missing:
        pytest.fail(str(missing), pytrace=False)


@pytest.fixture
def actiond_database(actiond_server: Server) -> Iterator[Database]:
    """A fresh database with the schema of actiond and no rows; dropped after the test."""
    from actiond.words.errors import OperatorError

    try:
        database = _wait_for(actiond_server.create())
    except OperatorError as missing:
        pytest.fail(str(missing), pytrace=False)
    yield database
    _wait_for(actiond_server.drop(database))


def _wait_for(work: Coroutine[Any, Any, T]) -> T:
    """In a thread: the event loop of this one belongs to whoever tests."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
