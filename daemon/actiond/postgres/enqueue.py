"""Asking for work from Python, on the caller's own asyncpg connection: so in the caller's transaction.

async with connection.transaction():
    await connection.execute("insert into orders ...")
    await enqueue(connection, "send_receipt", {"order": 7}, related="order 7")

Inside the handler of one action, what is enqueued becomes its child. `parent` says something else: an id, or 0 for
nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from actiond.contract import lineage
from actiond.contract.processor import Processor
from actiond.postgres.payloads import checker, sealer
from actiond.postgres.statements import Statements
from actiond.words import duration, json_text
from actiond.words.outcome import Duration

_CHUNK = 5_000  # rows a statement: large enough to be quick, small enough to stay out of the way
_statements = Statements()


class Executes(Protocol):
    """An asyncpg connection, or a pool."""

    async def fetchval(self, query: str, *args: Any) -> Any: ...
    async def fetch(self, query: str, *args: Any) -> Any: ...


async def enqueue(
    connection: Executes,
    processor: Processor | str,
    data: Any = None,
    *,
    related: str | None = None,
    at: datetime | None = None,
    delay: Duration = timedelta(0),
    priority: int = 2,
    retries: int | None = None,
    held: bool = False,
    parent: int | None = None,
    waits_on: int | None = None,
    waits_for: Literal["success", "failure", "end"] = "success",
    repeat_every: Duration | None = None,
    trace: str | None = None,
    validate: bool = False,
    encrypt: bool = False,
) -> int:
    """One action; gives its id. `at` or `delay`: when it may run; `retries` None: as the processor says.

    `waits_on`: the id of an action that must end first, as `waits_for` says; if it ends otherwise this one is canceled.
    `repeat_every`: run again and again, on a grid that begins at its first time.
    `trace`: the caller's span as a W3C traceparent; the handler's span becomes its child. In a handler: the parent's.
    `validate`: PayloadInvalid for data that do not fit: by the processor itself if that is given, else by the schema
    that a daemon has declared (extra [validate]; OperatorError if none has).
    `encrypt`: the fields that a daemon has declared to be encrypted; by the processor itself they always are.
    """
    data = {} if data is None else data
    ready = await _readier(connection, processor, validate, encrypt)
    data = ready(data)
    id_: int = await connection.fetchval(
        _statements["enqueue"],
        _name(processor),
        json_text.dumps(data),
        related,
        at,
        duration.seconds(delay),
        priority,
        retries,
        held,
        _parent(parent),
        waits_on,
        waits_for if waits_on is not None else None,
        None if repeat_every is None else duration.seconds(repeat_every),
        trace or lineage.trace(),
    )
    return id_


async def enqueue_many(
    connection: Executes,
    processor: Processor | str,
    rows: Iterable[Any],
    *,
    priority: int = 2,
    delay: Duration = timedelta(0),
    parent: int | None = None,
    trace: str | None = None,
    validate: bool = False,
    encrypt: bool = False,
) -> list[int]:
    """One action for each payload, in order; gives their ids. A row may also be (payload, related).

    `validate`, `encrypt`: as for `enqueue`. The first that does not fit is raised: in a transaction nothing of them is
    asked for.
    """
    ready = await _readier(connection, processor, validate, encrypt)
    delay_s = duration.seconds(delay)
    ids: list[int] = []
    made_by, trace = _parent(parent), trace or lineage.trace()
    chunk: list[tuple[str, str | None]] = []
    for row in rows:
        data, related = row if isinstance(row, tuple) else (row, None)
        chunk.append((json_text.dumps(ready(data)), related))
        if len(chunk) == _CHUNK:
            ids += await insert_texts(connection, _name(processor), chunk, priority, delay_s, made_by, trace)
            chunk = []
    if chunk:
        ids += await insert_texts(connection, _name(processor), chunk, priority, delay_s, made_by, trace)
    return ids


async def insert_texts(
    connection: Executes,
    processor: str,
    rows: list[tuple[str, str | None]],
    priority: int,
    delay_s: float,
    parent: int | None = None,
    trace: str | None = None,
) -> list[int]:
    """The same for payloads that are JSON text already: (data, related) each."""
    found: list[Mapping[str, Any]] = await connection.fetch(
        _statements["insert_actions"],
        processor,
        [data for data, _ in rows],
        [related for _, related in rows],
        priority,
        delay_s,
        parent,
        trace,
    )
    return [row["id"] for row in found]


async def _readier(
    connection: Executes, processor: Processor | str, validate: bool, encrypt: bool
) -> Callable[[Any], Any]:
    """What makes a payload that was given one that is stored: with its version, checked, encrypted."""
    check = await checker(connection, processor) if validate else None
    if isinstance(processor, Processor):
        ready: Callable[[Any], Any] | None = processor.asked_with
    else:
        ready = await sealer(connection, processor) if encrypt else None
    by_code = isinstance(processor, Processor)  # checks what is ready: it knows its versions

    def made(data: Any) -> Any:
        if check is not None and not by_code:
            check(data)
        stored = data if ready is None else ready(data)
        if check is not None and by_code:
            check(stored)
        return stored

    return made


def _name(processor: Processor | str) -> str:
    return processor.name if isinstance(processor, Processor) else processor


def _parent(given: int | None) -> int | None:
    if given is None:
        return lineage.parent()
    return given or None
