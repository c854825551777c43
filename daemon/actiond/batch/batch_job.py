"""Batch jobs: start finds the items, execute works on them in scopes, finish sees what became of all.

    job action: start, page by page --> waits for its children --> finish --> completed
                  |                          ^
                  `-- an action per item ----'   run by execute, `scope` at a time, an outcome each

The job is an action, its items are its children. A page of items and how far start has come commit in one
transaction, so a daemon that dies inside start leaves neither gaps nor doubles. Retries, cancels, errors of an item
are those of any action.
"""

from __future__ import annotations

import inspect
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from typing import Any

from actiond.contract.action import Action
from actiond.contract.batch import Batch
from actiond.contract.policy import Policy
from actiond.contract.processor import Processor, declare
from actiond.postgres.enqueue import enqueue_many
from actiond.postgres.statements import Statements

SCOPE = 200  # items in one call of execute
PAGE = 5_000  # items that start makes in one transaction
_FAILED_IDS = 1_000  # in the report
_OF_JOBS = ("retries", "retry_interval", "timeout", "history", "around", "redact")  # said of items, true of jobs, too
_sql = Statements()


@dataclass(frozen=True, slots=True)
class Item:
    """One piece of a batch job. `key`: where start goes on after it; any JSON."""

    key: Any
    data: Any
    related: str | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """What became of the items."""

    total: int
    completed: int
    failed: int
    canceled: int
    failed_ids: list[int]  # of the first 1,000


class BatchJob(ABC):
    """Override `start`, `execute` and, if need be, `finish`. It has no state of its own: it serves many jobs."""

    @abstractmethod
    def start(
        self, job: Action[Any], connection: Any, after: Any, limit: int
    ) -> Awaitable[Sequence[Item]] | AsyncIterator[Item]:
        """The items.

        A coroutine gives a page: at most `limit` items behind the key `after` (None: from the beginning), fewer when
        there are no more; it is called until then. An async generator gives all of them; they are inserted in pages,
        in one transaction.
        """

    @abstractmethod
    async def execute(self, batch: Batch[Any]) -> None:
        """One scope of items: mark each, as any batch handler does."""

    async def finish(self, job: Action[Any], connection: Any, totals: Totals) -> Any:
        """Once, when no item is open; what it gives is the job's result. In the transaction that completes the job."""
        return {"total": totals.total, "completed": totals.completed, "failed": totals.failed}


def batch_job(
    name: str, job: BatchJob, *, scope: int = SCOPE, overlap: bool = False, page: int = PAGE, **knobs: Any
) -> tuple[Processor, Processor]:
    """(processor of the jobs, processor of their items, named `name.items`). Knobs are those of the items.

    Unless `overlap`, a job that begins while an older one of its name is open cancels itself and says so.
    """
    items = f"{name}.items"

    async def run(batch: Batch[Any]) -> None:
        async with batch.transaction() as connection:
            for action in batch:
                if action.state is not None and action.state.get("started"):
                    found = await connection.fetchrow(_sql["family_totals"], action.id, _FAILED_IDS)
                    action.complete(await job.finish(action, connection, Totals(**dict(found))))
                elif action.state is None and not overlap and (older := await _older(connection, name, action)):
                    action.cancel(f"action {older} of {name!r} is still open")
                else:
                    await _start(action, connection)

    async def _start(action: Action[Any], connection: Any) -> None:
        state = action.state or {"after": None, "items": 0}
        if inspect.isasyncgenfunction(job.start):
            made, after, whole = await _all(action, connection), None, True
        else:
            found = await job.start(action, connection, state["after"], page)  # type: ignore[misc]
            made, whole = await _insert(action, connection, found), len(found) < page
            after = found[-1].key if found else None
        state = {"after": after, "items": state["items"] + made}
        if whole:
            action.wait_for_children(state={**state, "started": True})
        else:
            action.defer("0 s", state=state)

    async def _all(action: Action[Any], connection: Any) -> int:
        made, some = 0, list[Item]()
        async for item in job.start(action, connection, None, page):  # type: ignore[union-attr]
            some.append(item)
            if len(some) == page:
                made, some = made + await _insert(action, connection, some), []
        return made + await _insert(action, connection, some)

    async def _insert(action: Action[Any], connection: Any, found: Sequence[Item]) -> int:
        rows = [(item.data, item.related) for item in found]
        return len(await enqueue_many(connection, items, rows, parent=action.id))

    frame = sys._getframe(1)
    of_jobs: dict[str, Any] = {key: knobs[key] for key in _OF_JOBS if key in knobs}
    return (
        declare(name, run, {**of_jobs, "batch_size": 1}, batch=True, built_in=Policy(), frame=frame),
        declare(items, job.execute, {"batch_size": scope, **knobs}, batch=True, built_in=Policy(), frame=frame),
    )


async def _older(connection: Any, name: str, action: Action[Any]) -> int | None:
    older: int | None = await connection.fetchval(_sql["older_open"], name, action.id)
    return older
