"""The feed of outcomes, on the caller's own asyncpg connection: what became of actions, each once, none missed.

async for entry in outcomes(connection, since=position, follow=True):
    ...
    position = entry.position  # keep it, best in the transaction that does what the outcome asks for

A notification only says "look again" (setting `notify_outcomes`). Who follows looks once a second anyway, so one that
is lost, or never sent, costs a second and no outcome.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple

import anyio

from actiond.postgres.connection import Connection
from actiond.postgres.statements import Statements
from actiond.words import duration
from actiond.words.outcome import Duration

CHANNEL = "actiond_outcomes"
PAGE = 1_000

_sql = Statements()


class OutcomeEntry(NamedTuple):
    """What became of one action in one run; the columns of actiond.outcomes_since."""

    id: int  # of the entry of history
    at: datetime
    action_id: int
    processor: str | None  # None: the action was deleted meanwhile
    related: str | None
    outcome: str  # completed, failed, retried, deferred, repeated, canceled, crashed
    attempt: int | None
    run_id: int | None
    by: str  # role
    detail: str | None  # the error; 1,000 characters; "(hidden)" from who may not read it
    position: str  # after this entry


async def outcomes(
    connection: Connection,
    since: str | None = None,
    *,
    follow: bool = False,
    page: int = PAGE,
    poll: Duration = "1 s",
) -> AsyncGenerator[OutcomeEntry, None]:
    """Every outcome after the position `since` (None: from the beginning of history), and with `follow` all to come.

    `page`: how many to ask for at once, 1 to 10,000; `poll`: how long to wait for a notification before it looks. The
    connection is used only while the next one is asked for: between two of them it is the caller's. What breaks it is
    raised; go on with another one and the last position. An error with SQLSTATE AC003: that is no position of this
    database.
    """
    poll_s = duration.seconds(poll)
    async with _listening(connection) if follow else _deaf() as heard:
        while True:
            rows = await connection.fetch(_sql["outcomes_since"], since, page)
            for row in rows:
                entry = OutcomeEntry._make(row)
                since = entry.position
                yield entry
            if not rows:
                if not follow:
                    return
                await heard(poll_s)


async def position(connection: Connection) -> str:
    """That of who has seen everything until now."""
    now: str = await connection.fetchval(_sql["outcomes_position"])
    return now


async def missing(connection: Connection, processor: str | None = None) -> dict[str, str]:
    """Processors some of whose outcomes are not in the feed, because their history does not keep them.

    And what it keeps: `changes` (not the completions at the first attempt) or `none`.
    """
    rows = await connection.fetch(_sql["not_in_feed"], processor)
    return {row["processor"]: row["keeps"] for row in rows}


@asynccontextmanager
async def _listening(connection: Connection) -> AsyncIterator[Callable[[float], Any]]:
    """Gives what waits for a notification, at most so many seconds."""
    rung = anyio.Event()

    def ring(*_: object) -> None:
        rung.set()

    async def heard(within_s: float) -> None:
        nonlocal rung
        with anyio.move_on_after(within_s):
            await rung.wait()
        rung = anyio.Event()

    await connection.add_listener(CHANNEL, ring)
    try:
        yield heard
    finally:
        if not connection.is_closed():
            await connection.remove_listener(CHANNEL, ring)


@asynccontextmanager
async def _deaf() -> AsyncIterator[Callable[[float], Any]]:
    yield anyio.sleep
