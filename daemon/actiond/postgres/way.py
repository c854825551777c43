"""What stands between this program and the database: nothing, or a pooler, and of which kind.

A pooler answers in the place of the server, so the number it gives for the other end of a connection is not that of
the server's process. One that lends a session for as long as a client stays (session mode) passes notifications on;
one that lends it for a transaction only (transaction mode) keeps neither LISTEN nor the locks of a session, and says
nothing about it. So a channel that nobody else knows is listened to, and rung from another connection.

How a client must behave behind a pooler says connection.py.
"""

from __future__ import annotations

import asyncio
import secrets
from enum import Enum

from actiond.postgres.connection import Connection, first_connect
from actiond.postgres.statements import Statements

_NAME = "actiond probe"
HEARD_S = 1.0  # a notification arrives within milliseconds; one that is lost never does


class Way(Enum):
    """How a DSN leads to the database."""

    DIRECT = "direct"
    SESSION = "a pooler in session mode"
    TRANSACTION = "a pooler in transaction mode"


async def find_way(dsn: str, statements: Statements, variable: str) -> Way:
    """Two short connections at most; `variable` is where the DSN comes from, for errors (see first_connect)."""
    connection = await first_connect(dsn, _NAME, pooled=True, variable=variable)
    try:
        if await connection.fetchval(statements["server_pid"]) == connection.get_server_pid():
            return Way.DIRECT
        return Way.SESSION if await _hears(connection, dsn, statements) else Way.TRANSACTION
    finally:
        connection.terminate()


async def _hears(connection: Connection, dsn: str, statements: Statements) -> bool:
    channel, rung = f"actiond_probe_{secrets.token_hex(8)}", asyncio.Event()
    await connection.add_listener(channel, lambda *_: rung.set())
    other = await first_connect(dsn, _NAME, pooled=True)
    try:
        await other.execute(statements["ring_channel"], channel)
        await asyncio.wait_for(rung.wait(), HEARD_S)
    except TimeoutError:
        return False
    finally:
        other.terminate()
    return True
