"""Plans as people read and edit them, on one connection."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg

from actiond.postgres.connection import Connection, with_hint
from actiond.postgres.statements import Statements
from actiond.words.errors import OperatorError

_sql = Statements()

#: What a person says of a plan, in the order of the statements; the values of a new one.
NEW: dict[str, Any] = {
    "description": None,
    "source": None,
    "key": None,
    "processor": None,
    "mapping": None,
    "page": 5000,
    "enabled": True,
    "overlap": "skip",
    "abort_percent": None,
    "then_plan": None,
    "then_on": "always",
    "notify": "never",
    "notify_processor": None,
    "flag": None,
}


@dataclass(frozen=True, slots=True)
class Preview:
    """What a run would do."""

    columns: list[str]  # of the source
    rows: int | None  # None: not counted within the time there was
    no_key: int  # of them, those whose key is NULL
    sample: list[dict[str, Any]]  # actions as they would be made; data as JSON text


async def plans(connection: Connection, name: str | None = None) -> list[dict[str, Any]]:
    """All, or the one of this name; mapping as JSON text."""
    return [dict(row) for row in await connection.fetch(_sql["plan_list"], name)]


async def the_one(connection: Connection, name: str) -> dict[str, Any]:
    """OperatorError if there is none."""
    found = await plans(connection, name)
    if not found:
        raise nothing(name)
    return found[0]


def nothing(name: str) -> OperatorError:
    """There is no such plan."""
    return OperatorError(f"there is no plan {name!r}; `actiond plan ls` lists them all")


async def add(connection: Connection, name: str, values: Mapping[str, Any]) -> None:
    """A new one; what is not in `values` is as in NEW. OperatorError if it is there already."""
    given = {**NEW, **values}
    if await connection.fetchval(_sql["plan_add"], name, *(given[each] for each in NEW)) is None:
        raise OperatorError(f"there is a plan {name!r} already: change it with `actiond plan set`")


async def change(connection: Connection, row: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Other values for this plan, as it was read. OperatorError if it has changed since."""
    given = [values.get(each, row[each]) for each in NEW]
    if await connection.fetchval(_sql["plan_change"], row["name"], *given, row["edition"]) is None:
        raise OperatorError(f"plan {row['name']!r} was changed meanwhile: look at it again, then repeat")


async def switch(connection: Connection, name: str, *, on: bool) -> None:
    """On or off."""
    if await connection.fetchval(_sql["plan_switch"], name, on) is None:
        raise nothing(name)


async def remove(connection: Connection, name: str) -> None:
    """Gone; its runs stay."""
    if await connection.fetchval(_sql["plan_remove"], name) is None:
        raise nothing(name)


async def run(connection: Connection, name: str) -> int:
    """Run it now: the id of the run, which is an action."""
    row = await the_one(connection, name)
    if not row["enabled"]:
        raise OperatorError(f"plan {name!r} is off: `actiond plan enable {shlex.quote(name)}` switches it on")
    if not row["flag_on"]:
        raise OperatorError(f"the flag {row['flag']!r} of plan {name!r} is off: `actiond flag on {row['flag']}`")
    if row["running"] is not None and row["overlap"] == "skip":
        raise OperatorError(
            f"run {row['running']} of plan {name!r} is still open: "
            f"`actiond plan runs {shlex.quote(name)}` shows how far it is"
        )
    id_: int = await connection.fetchval(_sql["plan_run"], name)
    return id_


async def runs(
    connection: Connection, name: str | None = None, run_id: int | None = None, at_most: int = 20
) -> list[dict[str, Any]]:
    """The log, newest first."""
    return [dict(row) for row in await connection.fetch(_sql["plan_runs"], name, run_id, at_most)]


async def preview(connection: Connection, name: str, limit: int) -> Preview:
    """What a run would do, in a transaction that writes nothing. OperatorError for a wrong source or mapping."""
    row = await the_one(connection, name)
    try:
        async with connection.transaction(readonly=True):
            columns = (await connection.prepare(row["query"])).get_attributes()
            names = [column.name for column in columns]
            types = [str(column.type.oid) for column in columns]
            texts = await connection.fetchrow(_sql["plan_texts"], name, names, types)
            assert texts is not None
            sample = await connection.fetch(texts["preview"], limit)
        rows, no_key = await _count(connection, texts["counted"])
    except asyncpg.PostgresError as wrong:
        raise OperatorError(f"plan {name!r} cannot run: {with_hint(wrong)}") from None
    return Preview(names, rows, no_key, [dict(each) for each in sample])


async def _count(connection: Connection, counted: str) -> tuple[int | None, int]:
    try:
        async with connection.transaction(readonly=True):
            row = await connection.fetchrow(counted)
    except (asyncpg.QueryCanceledError, TimeoutError):
        return None, 0
    assert row is not None
    return row[0], row[1]
