"""One statement: the outcomes of batches that ended, then the next claim."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from itertools import product

import pytest

from actiond.batch.run import Run
from actiond.contract.policy import Policy
from actiond.postgres.action_store import EndedRun, Parcel
from actiond.postgres.statements import Statements
from actiond.rules.retry import RetryPolicy
from actiond.rules.settlement import Rules, settle as settlement_of
from actiond.words.outcome import KEEP_ALIVE, SUDDEN_DEATH, Canceled, Completed, Deferred, Failed
from support.clock import set_now
from support.database import eventually
from support.work import (
    a_claim,
    blocked,
    claim,
    history,
    insert,
    look,
    outcome,
    outcomes,
    pool_of,
    run_row,
    settle,
    store_of,
)

COUNTS = ("completed", "failed", "retried", "deferred", "canceled", "fenced", "returned")


def broken(old: str, new: str, times: int = 1) -> Statements:
    """The step statement with one thing changed."""
    text = Statements()["step"]
    assert text.count(old) == times
    return Statements().but(step=text.replace(old, new))


# Outcomes


async def test_outcomes_of_every_kind_land_in_one_statement(conn, store) -> None:
    await set_now(conn, "2030-01-01 12:00:00+00")
    await insert(conn, 6)
    await conn.execute("update actiond.action set error = 'the last time', retries_left = 3")
    run_id = (answer := await claim(store)).run_id
    done, result, failed, retried, deferred, canceled = (row.id for row in answer.rows)
    fenced = (
        await settle(
            store,
            [
                outcome(done, run_id),
                outcome(canceled, run_id, "canceled", error="not needed"),
                outcome(retried, run_id, "retried", error="busy", delay_s=60.0, retries_left=2),
                outcome(failed, run_id, "failed", error="no", retries_left=0),
                outcome(result, run_id, result='{"a": 1}'),
                outcome(deferred, run_id, "deferred", delay_s=5.0, state='{"step": 2}'),
            ],
        )
    ).fenced
    assert fenced == []
    rows = await conn.fetch(
        "select status, error, retries_left, result::text, state::text, claimed_by, run_id, attempts,"
        " finished_at = actiond.now() as finished, next_eligible_at - actiond.now() as due_in"
        " from actiond.action order by id"
    )
    told = [
        (*row.values()[:5], row["finished"], row["due_in"].total_seconds())  # type: ignore[index]
        for row in ({k: v for k, v in record.items()} for record in rows)
    ] if False else [(tuple(row)[:5], row["finished"], row["due_in"].total_seconds()) for row in rows]
    assert told == []


