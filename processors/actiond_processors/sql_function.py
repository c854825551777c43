"""A processor that is a function in the database: no Python of one's own.

    insert into actiond.processor (name, uses, config)
    values ('post_invoice', 'sql_function', '{"function": "billing.post_invoice"}');

`per` is "row" (the default) or "batch".

    row     function(related text, data jsonb) returns anything: what it returns is the result, what it raises
            is the failure of that action alone
    batch   function(actions jsonb) returns table (id bigint, error text, result jsonb): one row for each action;
            error NULL = completed; an action it leaves out has failed

The function runs inside batch.transaction(): its writes and the outcome commit together, so in the same database
the work is done exactly once.
"""

from __future__ import annotations

import json
import re
from typing import Any

from actiond import Action, Batch, Processor, ProcessorInvalid, Statements, batch_processor

_NAME = re.compile(r'("[^"]+"|[A-Za-z_][\w$]*)(\.("[^"]+"|[A-Za-z_][\w$]*))?')
_sql = Statements()


def make(name: str, config: dict[str, Any]) -> Processor:
    """From a row of actiond.processor. ProcessorInvalid says what the config lacks."""
    function, per = config.get("function"), config.get("per", "row")
    if not isinstance(function, str) or not _NAME.fullmatch(function):
        raise ProcessorInvalid(f'{name!r}: config needs {{"function": "schema.name"}}, not {function!r}')
    if per not in ("row", "batch"):
        raise ProcessorInvalid(f'{name!r}: config "per" is "row" or "batch", not {per!r}')

    async def for_rows(batch: Batch[Any]) -> None:
        for action in list(batch):
            await _row(function, batch, action)

    async def for_batch(batch: Batch[Any]) -> None:
        await _batch(function, batch)

    return batch_processor(name)(for_rows if per == "row" else for_batch)


async def _row(function: str, batch: Batch[Any], action: Action[Any]) -> None:
    try:
        async with batch.transaction([action]) as connection:
            if action.withdrawn:  # canceled or held before its turn came
                return
            data = json.dumps(action.data, ensure_ascii=False)
            result = await connection.fetchval(_sql["call_for_row"], function, action.related, data)
            action.complete(_value(result))
    except Exception as refused:
        if not _said_by_the_function(refused):
            raise
        action.fail(f"{refused}")


async def _batch(function: str, batch: Batch[Any]) -> None:
    async with batch.transaction() as connection:
        by_id = {action.id: action for action in batch}
        asked = [{"id": a.id, "related": a.related, "attempt": a.attempt, "data": a.data} for a in batch]
        for row in await connection.fetch(_sql["call_for_batch"], function, json.dumps(asked, ensure_ascii=False)):
            action = by_id.get(row["id"])
            if action is None:
                continue  # an id that nobody asked about
            if row["error"] is None:
                action.complete(_value(row["result"]))
            else:
                action.fail(row["error"])


def _value(result: str | None) -> Any:
    value = None if result is None else json.loads(result)
    return None if value == "" else value  # a function that returns void


def _said_by_the_function(error: Exception) -> bool:
    """An error of the statement, and not of the connection: those concern the whole batch."""
    state = getattr(error, "sqlstate", None)
    return isinstance(state, str) and state[:2] not in ("08", "40", "53", "57", "58")
