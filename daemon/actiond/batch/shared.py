"""What all crews of a daemon share: where calls may run, and whom to tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup

from actiond.batch.call import Call
from actiond.batch.lifespans import Lifespans
from actiond.batch.spans import Tracing
from actiond.batch.suspects import Suspects
from actiond.batch.workers import Workers
from actiond.contract.hooks import Enterable
from actiond.postgres.connection import Pool
from actiond.words.claimed import Settlement


@dataclass(frozen=True, slots=True)
class Shared:
    """What all crews of a daemon share."""

    tasks: TaskGroup  # the calls live here
    calls: anyio.CapacityLimiter | None  # over all processors; None = no limit
    threads: anyio.CapacityLimiter  # for handlers with executor="thread"
    workers: Workers  # for those with executor="process"
    suspects: Suspects
    handler_pool: Pool
    runaway: Callable[[], None]  # one more handler that nothing can end
    left: list[Call]  # calls that were stopped while their thread went on
    landed: Callable[[str, Sequence[Settlement]], None]  # these outcomes of a processor are committed
    lifespans: Lifespans
    settled: Callable[[str, Sequence[Settlement]], None] = lambda *_: None  # the same before, with a breaker
    tracing: Tracing | None = None
    arounds: tuple[Enterable, ...] = ()  # of every call on this daemon
