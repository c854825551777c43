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

from tests.bench.figure import Figure
from tests.bench.place import Place

SAMPLES = 300
WARM_UP = 20
PAUSE_S = (0.03, 0.05)

INSERT = """insert into actiond.action (processor, data) values ('bench_latency', '{"n": 1}') returning id"""


async def measure(place: Place) -> list[Figure]:
    await place.clear()
    async with place.daemons():
        committed: dict[int, int] = {}
        sent: dict[int, int] = {}
        insert = await place.connection.prepare(INSERT)
        for _ in range(WARM_UP + SAMPLES):
            await asyncio.sleep(random.uniform(*PAUSE_S))
            before_ns = time.monotonic_ns()
            row_id = await insert.fetchval()
            committed[row_id], sent[row_id] = time.monotonic_ns(), before_ns
        await asyncio.sleep(1)
        rows = await place.connection.fetch("select id, result::text as at from actiond.action order by id")
    started = {row["id"]: int(row["at"]) for row in rows if row["at"] is not None}
    if len(started) != WARM_UP + SAMPLES:
        raise RuntimeError(f"{len(started)} of {WARM_UP + SAMPLES} handlers started within a second")
    measured = list(started)[WARM_UP:]
    since_commit = sorted((started[row_id] - committed[row_id]) / 1e6 for row_id in measured)
    since_sent = sorted((started[row_id] - sent[row_id]) / 1e6 for row_id in measured)
    return [
        Figure("latency_p50", _share(since_commit, 0.5), f"from sending the INSERT {_share(since_sent, 0.5):.2f}"),
        Figure(
            "latency_p99",
            _share(since_commit, 0.99),
            f"from sending the INSERT {_share(since_sent, 0.99):.2f}; longest of {SAMPLES}: {since_commit[-1]:.2f}",
        ),
    ]


def _share(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))]
