"""The processors under torture: slow enough to be killed in the middle, and every effect leaves a line.

The line goes to an O_APPEND file before the mark is made: no rollback can take it back, so an action that ran
twice shows twice. The result names the run that decided it, so an outcome that landed under another claim
shows too.
"""

from __future__ import annotations

import os
import random
from typing import Any

import anyio

from actiond.contract.action import Action
from actiond.contract.batch import Batch
from actiond.contract.processor import batch_processor, processor
from actiond.postgres.enqueue import enqueue
from actiond.words.outcome import SUDDEN_DEATH

EFFECTS = "ACTIOND_TORTURE_EFFECTS"  # path of the file
CHILDREN = 3  # of each parent
PAUSE_S = 0.1  # a call takes up to twice this long
_opened: dict[str, int] = {}
_RETRIES = 1_000_000  # what ends an action here must be a decision, not a budget used up by faults


def _leave_effects(actions: list[Action[Any]]) -> None:
    path = os.environ[EFFECTS]
    if path not in _opened:
        _opened[path] = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)
    os.write(_opened[path], b"".join(b"%d %d\n" % (action.id, action.run_id) for action in actions))


def _mark(action: Action[Any]) -> None:
    """By id, so that everybody knows what must become of it."""
    if action.id % 29 == 0:
        action.fail("must fail", SUDDEN_DEATH)
    elif action.id % 13 == 0 and action.state is None:
        action.defer("0.1 s", state={"deferred": True})
    elif action.id % 11 == 0 and action.attempt == 1:
        action.fail("must be tried again")
    else:
        action.complete({"run": action.run_id})


@batch_processor("torture_batch", batch_size=40, concurrency=2, retries=_RETRIES, retry_interval="0.2 s", history="all")
async def torture_batch(batch: Batch[Any]) -> None:
    """Half of the work."""
    await anyio.sleep(PAUSE_S * random.random())
    _leave_effects(list(batch))
    await anyio.sleep(PAUSE_S * random.random())
    for action in batch:
        _mark(action)


@processor("torture_each", batch_size=40, concurrency=40, retries=_RETRIES, retry_interval="0.2 s", history="all")
async def torture_each(action: Action[Any]) -> None:
    """The other half, one at a time."""
    await anyio.sleep(PAUSE_S * random.random())
    _leave_effects([action])
    await anyio.sleep(PAUSE_S * random.random())
    _mark(action)


@batch_processor(
    "torture_parent", batch_size=20, concurrency=2, retries=_RETRIES, retry_interval="0.2 s", history="all"
)
async def torture_parent(batch: Batch[Any]) -> None:
    """Makes children and waits for them, in one transaction; completes when it runs again."""
    _leave_effects(list(batch))
    async with batch.transaction() as connection:
        for action in batch:
            if action.state is None:
                for _ in range(CHILDREN):
                    await enqueue(connection, "torture_each", parent=action.id)
                action.wait_for_children(state="asked")
            else:
                action.complete({"run": action.run_id})
    await anyio.sleep(PAUSE_S * random.random())
