"""From a committed INSERT to the start of its handler, on a daemon that sleeps.

The client reads the clock when the answer to its INSERT is there, the handler when it starts (CLOCK_MONOTONIC,
one for all processes). Between two INSERTs the daemon has time to store the outcome, find nothing else and
hold the bell again, so every INSERT rings.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.figure import Figure
from tests.bench.place import Place

SAMPLES = 300
WARM_UP = 20
PAUSE_S = (0.03, 0.05)

INSERT = """insert into actiond.action (processor, data) values ('bench_latency', '{"n": 1}') returning id"""
STARTED = "select id, result::text as at from actiond.action where id = any ($1) order by id"


@dataclass(frozen=True, slots=True)
class Samples:
    """Milliseconds, in order."""

    since_commit: list[float]
    since_sent: list[float]


async def measure(place: Place) -> list[Figure]:
    await place.clear()
    async with place.daemons():
        found = await sampled(place)
    said = "from sending the INSERT"
    longest = f"longest of {SAMPLES}: {found.since_commit[-1]:.2f}"
    return [
        Figure("latency_p50", share(found.since_commit, 0.5), f"{said} {share(found.since_sent, 0.5):.2f}"),
        Figure(
            "latency_p99", share(found.since_commit, 0.99), f"{said} {share(found.since_sent, 0.99):.2f}; {longest}"
        ),
    ]


async def sampled(place: Place) -> Samples:
    """Of single rows, while a daemon runs."""
    committed: dict[int, int] = {}
    sent: dict[int, int] = {}
    insert = await place.connection.prepare(INSERT)
    for _ in range(WARM_UP + SAMPLES):
        await asyncio.sleep(random.uniform(*PAUSE_S))
        before_ns = time.monotonic_ns()
        row_id = await insert.fetchval()
        committed[row_id], sent[row_id] = time.monotonic_ns(), before_ns
    await asyncio.sleep(1)
    rows = await place.connection.fetch(STARTED, list(committed))
    started = {row["id"]: int(row["at"]) for row in rows if row["at"] is not None}
    if len(started) != WARM_UP + SAMPLES:
        raise RuntimeError(f"{len(started)} of {WARM_UP + SAMPLES} handlers started within a second")
    measured = list(started)[WARM_UP:]
    return Samples(
        sorted((started[row_id] - committed[row_id]) / 1e6 for row_id in measured),
        sorted((started[row_id] - sent[row_id]) / 1e6 for row_id in measured),
    )


def share(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))]
