"""Why is this row not running? Reads only; nothing is counted without a bound."""

from __future__ import annotations

from typing import Any

from actiond.postgres.connection import Connection
from actiond.postgres.statements import Statements
from actiond.rules import explanation
from actiond.words import json_text

_sql = Statements()


async def facts(connection: Connection, id_: int) -> dict[str, Any]:
    """One row of actiond.explain_facts; status `missing` for an id that does not exist."""
    row = await connection.fetchrow(_sql["explain"], id_)
    assert row is not None
    return {**row, "daemons": json_text.loads(row["daemons"])}


async def reasons(connection: Connection, id_: int) -> tuple[dict[str, Any], list[explanation.Reason]]:
    """The facts, and every reason, the deciding one first."""
    found = await facts(connection, id_)
    return found, explanation.explain(id_, found)
