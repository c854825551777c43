"""An action as it stands in the database, for tests to assert on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from actiond.postgres.connection import Connection
from actiond.postgres.statements import Statements
from actiond.words import json_text

_sql = Statements()


@dataclass(frozen=True, slots=True)
class StoredAction:
    """One row. `status` is pending, held, running, completed, failed or canceled."""

    id: int
    processor: str
    status: str
    data: Any
    related: str | None
    attempts: int
    retries_left: int | None
    next_eligible_at: datetime
    result: Any
    error: str | None
    state: Any


async def look(connection: Connection, ids: Sequence[int]) -> list[StoredAction]:
    """These, in this order, without those that are not there."""
    return [_stored(dict(row)) for row in await connection.fetch(_sql["testing_actions"], ids)]


def _stored(row: dict[str, Any]) -> StoredAction:
    read = {name: json_text.loads_or_none(row[name]) for name in ("data", "result", "state")}
    return StoredAction(**(row | read))
