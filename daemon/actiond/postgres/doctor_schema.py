"""The doctor's look at the schema: what migrate made, and what is there now; the plan of a claim."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from actiond.postgres.action_store import Claim, Parcel, step_arguments
from actiond.postgres.connection import Connection, Pooled
from actiond.postgres.migrate import files_of
from actiond.postgres.statements import FUNCTIONS, Statements
from actiond.rules import drift
from actiond.rules.pace import LEVELS
from actiond.rules.watermark import BEGINNING
from actiond.words.findings import Finding


async def catalog(connection: Connection, sql: Statements) -> Iterator[Finding]:
    """Tables, constraints, indexes, triggers."""
    made = [dict(row) for row in await connection.fetch(sql["schema"])]
    return drift.catalog(made, [dict(row) for row in await connection.fetch(sql["doctor_catalog"])])


async def functions(connection: Connection, sql: Statements) -> Iterator[Finding]:
    """Their texts."""
    made = next(each for each in files_of() if each.name == FUNCTIONS)
    found = [drift.Function(**row) for row in await connection.fetch(sql["doctor_functions"])]
    return drift.functions(drift.functions_in(made.text), found)


async def plan(connection: Pooled, sql: Statements) -> list[Finding]:
    """Of the statement that daemons claim with, on a connection as theirs. Explained, not run."""
    times, ids = [BEGINNING[0]] * len(LEVELS), [BEGINNING[1]] * len(LEVELS)
    claim = Claim("", 1, LEVELS, times, ids)
    prepared = await connection.prepare(sql["step"])
    explained = await prepared.explain(*step_arguments(0, Parcel(), claim, 0))
    whole: Any = json.loads(explained) if isinstance(explained, str) else explained
    return list(drift.plan(list(_nodes(whole[0]["Plan"]))))


def _nodes(step: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield step
    for below in step.get("Plans", ()):
        yield from _nodes(below)
