"""Rows, actions, batches as tests of the pure floors need them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import anyio.lowlevel

from actiond.contract.action import Action, Scope
from actiond.contract.batch import Batch
from actiond.rules.retry import RetryPolicy
from actiond.rules.settlement import Rules
from actiond.words.claimed import ClaimedRow

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def a_row(id: int = 1, **columns: Any) -> ClaimedRow:  # noqa: A002
    """As claimed for the first time."""
    usual: dict[str, Any] = {
        "related": None,
        "data": "{}",
        "state": None,
        "retries_left": None,
        "attempts": 1,
        "crashes": 0,
        "priority": 2,
        "due_s": LONG_AGO.timestamp(),
        "waited_s": 0.0,
    }
    return ClaimedRow(id=id, **{**usual, **columns})


def a_scope(**given: Any) -> Scope:
    return Scope(**{"run_id": 7, "processor": "mail", **given})


def an_action(id: int = 1, data: Any = None, scope: Scope | None = None, **columns: Any) -> Action[Any]:  # noqa: A002
    return Action(a_row(id, **columns), data, scope or a_scope())


def a_batch(size: int = 3, scope: Scope | None = None, **given: Any) -> Batch[Any]:
    """Ids from 1 on."""
    scope = scope or a_scope()
    return Batch([an_action(n, scope=scope) for n in range(1, size + 1)], scope, given.pop("config", {}), **given)


def rules(retries: int = 3, history: str = "changes", **knobs: Any) -> Rules:
    """Fixed delays of 300 s, unless told otherwise."""
    return Rules(RetryPolicy(retries, **{"interval_s": 300.0, **knobs}), history)


async def undisturbed() -> None:
    """The task that called something can go on: it is not cancelled, and nothing arrives later."""
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    for _ in range(3):
        await anyio.lowlevel.checkpoint()
