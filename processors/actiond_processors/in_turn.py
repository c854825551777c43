"""Batches whose rows are taken one after the other: when time runs out, only the row that had begun has failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from actiond import KEEP_ALIVE, Action, Batch

NOT_BEGUN = "the time of its batch was over before it began"


@contextmanager
def in_turn(batch: Batch[Any]) -> Iterator[Callable[[Action[Any]], None]]:
    """Gives a function that says "this one has begun". A cancellation inside gives back the others, uncharged."""
    begun: set[int] = set()
    try:
        yield lambda action: begun.add(action.id)
    except asyncio.CancelledError:
        for action in batch if begun else ():  # with none, the first is to blame: else it would go on for ever
            if action.id not in begun and action.outcome is None:
                action.fail(NOT_BEGUN, KEEP_ALIVE, after="0 s")
        raise
