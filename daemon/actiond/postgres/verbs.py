"""What an operator does: verbs on ids, bulk verbs, switches. Each is a SQL function; here are their names and shapes.

A bulk verb is an action of the built-in processor actiond.verb (sql/functions/110_bulk.sql): `start` asks for it,
`step` goes through one chunk of one that is held. Chunk and position commit together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from actiond.postgres.connection import Connection, Trouble, trouble
from actiond.postgres.read import listed
from actiond.postgres.statements import Statements
from actiond.words import json_text
from actiond.words.status import Verb

CHUNK = 1_000  # rows a transaction
LOOKS = 40  # of find() to count with: two million rows in all
COUNT_AT_MOST = 100_000
_TRIES = 5  # of one chunk that lost against other locks

_sql = Statements()


@dataclass(frozen=True, slots=True)
class Counted:
    """How many match; `more`: counting stopped there. Some of them, the newest first."""

    count: int
    more: bool
    sample: list[dict[str, Any]]

    def __str__(self) -> str:
        return f"{'more than ' if self.more else ''}{self.count:,}"


@dataclass(frozen=True, slots=True)
class Bulk:
    """A bulk verb, as far as it has come."""

    id: int
    verb: str
    filter: dict[str, Any]
    status: str
    reached: int
    changed: int
    over: bool

    @property
    def upto(self) -> int:
        """The last id it looks at."""
        return int(self.filter["upto"])


async def act(
    connection: Connection, verb: Verb, ids: list[int], reason: str | None, add_retries: int = 0
) -> list[dict[str, Any]]:
    """One row for each id: id, processor, was (None = there is no such action), status, changed."""
    rows = await connection.fetch(_sql["act"], verb.value, ids, reason, add_retries)
    return [dict(row) for row in rows]


async def narrowed(connection: Connection, verb: Verb, filter_: dict[str, Any]) -> dict[str, Any]:
    """The filter with what the verb can take, and every moment as a point in time."""
    text = await connection.fetchval(_sql["narrowed_filter"], verb.value, json_text.dumps(filter_))
    exact: dict[str, Any] = json_text.loads(text)
    return exact


async def count(connection: Connection, filter_: dict[str, Any], sample: int = 5) -> Counted:
    """How many match, bounded; and the newest of them."""
    text, found, after, over = json_text.dumps(filter_), 0, None, False
    newest: list[int] = []
    for _ in range(LOOKS):
        row = await connection.fetchrow(_sql["find_actions"], text, after, COUNT_AT_MOST + 1 - found, True)
        assert row is not None
        newest += row["ids"][: max(0, sample - len(newest))]
        found, after, over = found + len(row["ids"]), row["reached"], row["over"]
        if over or found > COUNT_AT_MOST:
            break
    return Counted(min(found, COUNT_AT_MOST), not over, await listed(connection, newest))


async def start(
    connection: Connection,
    verb: Verb,
    filter_: dict[str, Any],
    reason: str | None,
    *,
    add_retries: int = 0,
    held: bool = True,
    asked: str | None = None,
) -> int:
    """Ask for a bulk verb; gives its id. Held: it waits for `step`; else a daemon works through it."""
    id_: int = await connection.fetchval(
        _sql["bulk_start"], verb.value, json_text.dumps(filter_), reason, add_retries, held, asked
    )
    return id_


async def unfinished(connection: Connection, asked: str) -> int | None:
    """The id of a bulk verb that was asked for in the same words by the same role, and interrupted."""
    found: int | None = await connection.fetchval(_sql["bulk_unfinished"], asked)
    return found


async def look(connection: Connection, id_: int) -> Bulk | None:
    """One bulk verb; None if this is none."""
    row = await connection.fetchrow(_sql["bulk_look"], id_)
    if row is None:
        return None
    data = json_text.loads(row["data"])
    state = json_text.loads(row["state"] or "{}")
    return Bulk(
        row["id"],
        data["verb"],
        data["filter"],
        row["status"],
        state.get("reached", 0),
        state.get("changed", 0),
        state.get("over", False),
    )


async def step(connection: Connection, id_: int, at_most: int = CHUNK) -> bool:
    """The next chunk of one that is held; False: it is not held (any more), so not ours to go on with."""
    for left in reversed(range(_TRIES)):
        try:
            return await connection.fetchval(_sql["verb_step"], id_, 0, at_most) is not None
        except Exception as error:
            if trouble(error) is not Trouble.BUSY or not left:
                raise
    raise AssertionError("the last try returns or raises")


async def pause(connection: Connection, processors: list[str] | None, reason: str | None) -> list[dict[str, Any]]:
    """These, or everything: all or none of them. What `enabled` (or the setting `paused`) was and is."""
    return await _switch(connection, _sql["pause"], processors, reason)


async def resume(connection: Connection, processors: list[str] | None, reason: str | None) -> list[dict[str, Any]]:
    """The opposite; `closed`: an open breaker was closed, too."""
    return await _switch(connection, _sql["resume"], processors, reason)


async def _switch(
    connection: Connection, statement: str, processors: list[str] | None, reason: str | None
) -> list[dict[str, Any]]:
    names: list[str | None] = [None] if processors is None else list(processors)
    async with connection.transaction():
        return [_edit(await connection.fetchrow(statement, name, reason)) for name in names]


async def set_knob(
    connection: Connection, processor: str, knob: str, value: str | None, reason: str | None
) -> dict[str, Any]:
    """Override a knob; None: as declared again."""
    return _edit(await connection.fetchrow(_sql["set_processor"], processor, knob, value, reason))


def _edit(row: Any) -> dict[str, Any]:
    return {
        "name": row["name"],
        "before": json_text.loads_or_none(row["before"]),
        "after": json_text.loads_or_none(row["after"]),
        **({"breaker_closed": True} if row.get("closed") else {}),
    }
