"""What people ask beyond lists: failures, errors that are the same, what is stuck, figures, the latest changes.

Reads only, and bounded: figures come from the hours that runs were added to, failures and history from the latest
so many. Where a bound can hide something the answer says so.
"""

from __future__ import annotations

from typing import Any

from actiond.postgres.connection import Connection
from actiond.postgres.statements import Statements

FAILURES_SEARCHED = 5_000  # when a text is looked for
HISTORY_SEARCHED = 50_000

_sql = Statements()

Rows = list[dict[str, Any]]


async def failures(
    connection: Connection, since_s: float, limit: int, processor: str | None = None, error: str | None = None
) -> Rows:
    """The latest failed actions; with an error text, of the latest FAILURES_SEARCHED those that have it."""
    look_at = limit if error is None else max(limit, FAILURES_SEARCHED)
    return _rows(await connection.fetch(_sql["failures"], since_s, limit, processor, error, look_at))


async def errors(connection: Connection, since_s: float, look_at: int, processor: str | None = None) -> Rows:
    """The latest failures grouped by what is the same in their errors, the most frequent first."""
    return _rows(await connection.fetch(_sql["errors"], since_s, look_at, processor))


async def stuck(connection: Connection, after_s: float, limit: int, processor: str | None = None) -> Rows:
    """Actions that have not moved for so long, the worst kind first."""
    return _rows(await connection.fetch(_sql["stuck"], after_s, limit, processor))


async def stats(connection: Connection, since_s: float, processor: str | None = None) -> Rows:
    """A row a processor: outcomes, success, waits and times; in whole hours."""
    return _rows(await connection.fetch(_sql["stats"], since_s, processor))


async def retries(connection: Connection, since_s: float, processor: str | None = None) -> Rows:
    """A row a processor that retried something."""
    return _rows(await connection.fetch(_sql["retries"], since_s, processor))


async def throughput(connection: Connection, since_s: float, processor: str | None = None) -> Rows:
    """A row an hour in which a run ended."""
    return _rows(await connection.fetch(_sql["throughput"], since_s, processor))


async def latest_history(
    connection: Connection,
    *,
    processor: str | None = None,
    event: str | None = None,
    by: str | None = None,
    since_s: float | None = None,
    limit: int = 50,
    below: int | None = None,
) -> Rows:
    """The latest entries that match, of HISTORY_SEARCHED."""
    found = await connection.fetch(
        _sql["latest_history"], processor, event, by, since_s, limit, HISTORY_SEARCHED, below
    )
    return _rows(found)


def _rows(found: list[Any]) -> Rows:
    return [dict(row) for row in found]
