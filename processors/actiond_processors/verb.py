"""The processor of bulk verbs: every daemon has it, so any daemon goes on with what any other has left.

    select actiond.bulk('retry', '{"processor": "welcome", "status": "failed", "finished_since": "yesterday"}');

Each chunk is a transaction of its own, in which the database also keeps how far it came: see
sql/functions/110_bulk.sql. A daemon that is killed loses at most the chunk under way, which then did not happen.
"""

from __future__ import annotations

import json
import time
from typing import Any

from actiond import SUDDEN_DEATH, Action, Batch, Statements, batch_processor

CHUNK = 1_000  # rows a transaction
A_TURN_S = 20.0  # then others may have their turn, and the timeout stays far

_sql = Statements()


@batch_processor("actiond.verb", batch_size=1, retries=100, retry_interval="1 s", timeout="2 min")
async def verb(batch: Batch[Any]) -> None:
    """One bulk verb, a chunk after the other, until it is over or held."""
    (action,) = batch
    began_s = time.monotonic()
    while not action.withdrawn and action.outcome is None:
        if time.monotonic() - began_s > A_TURN_S:
            action.defer("0 s")
        else:
            await _chunk(batch, action)


async def _chunk(batch: Batch[Any], action: Action[Any]) -> None:
    try:
        async with batch.transaction([action]) as connection:
            if action.withdrawn:  # held or canceled between two chunks
                return
            text = await connection.fetchval(_sql["verb_step"], action.id, action.run_id, CHUNK)
            state = json.loads(text)
            if state["over"]:
                action.complete({"changed": state["changed"]})
    except Exception as refused:
        # AC: what was asked makes no sense; 42501: the daemon's role may not. Trying again changes neither.
        state = getattr(refused, "sqlstate", None) or ""
        if not state.startswith(("AC", "22", "42501")):
            raise
        action.fail(str(refused), SUDDEN_DEATH)
