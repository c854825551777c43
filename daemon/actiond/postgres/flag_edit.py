"""Feature flags as people read and switch them, on one connection."""

from __future__ import annotations

from typing import Any

from actiond.postgres.connection import Connection
from actiond.postgres.statements import Statements
from actiond.words import json_text

_sql = Statements()


async def flags(connection: Connection) -> list[dict[str, Any]]:
    """Every one that is set or asked for; enabled None: nobody has set it, so it is off."""
    return [dict(row) for row in await connection.fetch(_sql["list_flags"])]


async def turn(connection: Connection, name: str, on: bool | None, reason: str | None) -> dict[str, Any] | None:
    """On, off or (None) forgotten: what it was and is. None: there was nothing to forget."""
    row = await connection.fetchrow(_sql["set_flag"], name, on, reason)
    if row is None:
        return None
    before, after = (json_text.loads_or_none(row[side]) for side in ("before", "after"))
    return {"name": row["name"], "before": before, "after": after}
