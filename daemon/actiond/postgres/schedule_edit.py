"""Schedules as people read and edit them, on one connection."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from actiond.postgres.connection import Connection
from actiond.postgres.statements import Statements
from actiond.words.errors import OperatorError

_sql = Statements()

#: What a person says of a schedule, in the order of the statements; the values of a new one.
NEW: dict[str, Any] = {
    "cron": None,
    "every": None,
    "timezone": "UTC",
    "starts_at": None,
    "data": None,
    "related": None,
    "priority": 2,
    "missed": "once",
    "grace": None,
    "overlap": "skip",
    "environments": None,
    "enabled": True,
    "flag": None,
}


async def now(connection: Connection) -> datetime:
    """The time of the database."""
    at: datetime = await connection.fetchval(_sql["now"])
    return at


async def schedules(
    connection: Connection, name: str | None = None, processor: str | None = None
) -> list[dict[str, Any]]:
    """Those of this name, or for this processor, or all; data as JSON text."""
    return [dict(row) for row in await connection.fetch(_sql["list_schedules"], name, processor)]


async def the_only(connection: Connection, name: str, processor: str | None) -> dict[str, Any]:
    """The one that is meant; OperatorError if there is none, or more than one."""
    found = await some(connection, name, processor)
    if len(found) > 1:
        names = ", ".join(each["processor"] for each in found)
        raise OperatorError(f"schedule {name!r} has several processors: say which with --processor ({names})")
    return found[0]


async def some(connection: Connection, name: str, processor: str | None) -> list[dict[str, Any]]:
    """At least one; OperatorError if there is none."""
    found = await schedules(connection, name, processor)
    if not found:
        raise nothing(name, processor)
    return found


def nothing(name: str, processor: str | None) -> OperatorError:
    """There is no such schedule."""
    about = f"{name!r}" if processor is None else f"{name!r} for processor {processor!r}"
    return OperatorError(f"there is no schedule {about}; `actiond schedule ls` lists them all")


async def add(connection: Connection, name: str, processor: str, values: Mapping[str, Any]) -> None:
    """A new one; what is not in `values` is as in NEW. OperatorError if it is there already."""
    given = {**NEW, **values}
    if await connection.fetchval(_sql["add_schedule"], name, processor, *(given[each] for each in NEW)) is None:
        raise OperatorError(
            f"there is a schedule {name!r} for processor {processor!r} already: change it with `actiond schedule set`"
        )


async def change(connection: Connection, row: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Other values for this row, as it was read. OperatorError if it has changed since."""
    given = [values.get(each, row[each]) for each in NEW]
    edition = await connection.fetchval(_sql["change_schedule"], row["name"], row["processor"], *given, row["edition"])
    if edition is None:
        raise OperatorError(f"schedule {row['name']!r} was changed meanwhile: look at it again, then repeat")


async def switch(connection: Connection, name: str, processor: str | None, *, on: bool) -> list[str]:
    """On or off: one row, or (`processor` None) the whole name; gives the processors it is about."""
    rows = await connection.fetch(_sql["switch_schedules"], name, processor, on)
    if not rows:
        raise nothing(name, processor)
    return sorted(row["processor"] for row in rows)


async def remove(connection: Connection, name: str, processor: str | None) -> list[str]:
    """Gone; gives the processors it was about."""
    rows = await connection.fetch(_sql["remove_schedules"], name, processor)
    return sorted(row["processor"] for row in rows)


async def run_now(connection: Connection, row: Mapping[str, Any], data: str | None, related: str | None) -> int | None:
    """Do now what the next slot would; its slots stay as they are. The id of the action; None for a wake."""
    done = await connection.fetchrow(
        _sql["fire_schedule"],
        row["name"],
        row["processor"],
        row["edition"],
        row["next_at"],
        row["next_at"],
        row["now"],
        data,
        related,
        0,
        True,
    )
    if done is None:
        raise OperatorError(f"schedule {row['name']!r} has just fired or was edited: look at it again, then repeat")
    action: int | None = done["action_id"]
    return action
