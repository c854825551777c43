"""Does a notification that one connection sends arrive on the connection that daemons listen with?

Through a pooler in transaction mode it does not: LISTEN is granted, and forgotten with the transaction.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping

from actiond.postgres.connection import Connection, first_connect
from actiond.postgres.statements import Statements
from actiond.words.findings import Finding

HEAR_S = 2.0  # a notification takes milliseconds

_REMEDY = "let ACTIOND_LISTEN_DSN lead straight to the database of ACTIOND_DSN, past any pooler"


async def hears(connection: Connection, listen_dsn: str, settings: Mapping[str, str], sql: Statements) -> list[Finding]:
    """listen_elsewhere, listen_silent, or nothing."""
    listener = await first_connect(listen_dsn, "actiond doctor", settings)
    try:
        here, there = [await each.fetchval(sql["doctor_place"]) for each in (connection, listener)]
        if here != there:
            what = f"the connection for LISTEN leads to {there}; the rows are in {here}"
            return [Finding("listen_elsewhere", what, _REMEDY)]
        heard = asyncio.Event()
        channel = f"actiond_doctor_{secrets.token_hex(6)}"
        await listener.add_listener(channel, lambda *said: heard.set())
        await connection.execute(sql["doctor_notify"], channel, "")
        try:
            await asyncio.wait_for(heard.wait(), HEAR_S)
        except TimeoutError:
            what = f"a notification did not arrive within {HEAR_S:g} s: is this a pooler in transaction mode?"
            return [Finding("listen_silent", what, _REMEDY + "; or ACTIOND_LISTEN=false")]
        return []
    finally:
        listener.terminate()
