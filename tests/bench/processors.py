"""What the daemons of the benchmark run: nothing, as quickly as can be."""

from __future__ import annotations

import time

from actiond import Action, Batch, batch_processor, processor


@batch_processor("bench_500", batch_size=500)
async def by_500(batch: Batch) -> None:
    batch.complete()


@batch_processor("bench_default")
async def by_default(batch: Batch) -> None:
    batch.complete()


@processor("bench_each", batch_size=500)
async def each(action: Action) -> None:
    return None


@processor("bench_latency")
async def started_at(action: Action) -> int:
    """Its result is when it started; the clock is the same for all processes of a machine."""
    return time.monotonic_ns()


@batch_processor("bench_inserts")
async def inserted(batch: Batch) -> None:
    batch.complete()
