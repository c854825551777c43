"""The one clock of a database, moved by hand: every connection sees it, also a daemon in its own process."""

from __future__ import annotations

import asyncpg

CLOCK = "create or replace function actiond.now() returns timestamptz language sql volatile as $$ select {} $$"


async def set_now(connection: asyncpg.Connection, at: str) -> None:
    """It is this time, and stays it."""
    await connection.execute(CLOCK.format(f"timestamptz '{at}'"))


async def move_now(connection: asyncpg.Connection, by: str) -> None:
    """It is so much later than it really is, and goes on."""
    await connection.execute(CLOCK.format(f"pg_catalog.clock_timestamp() + interval '{by}'"))
