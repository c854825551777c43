"""What all crews of a daemon share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup

from actiond.batch.call import Call
from actiond.batch.lifespans import Lifespans
from actiond.batch.spans import Tracing
from actiond.batch.suspects import Suspects
from actiond.contract.hooks import Enterable
from actiond.postgres.connection import Pool
from actiond.words.claimed import Settlement


@dataclass(frozen=True, slots=True)
class Shared:
    """One for each daemon."""

    tasks: TaskGroup  # the calls live here
    calls: anyio.CapacityLimiter | None  # over all processors; None = no limit
    threads: anyio.CapacityLimiter  # for handlers that are not async
    suspects: Suspects
    handler_pool: Pool
    runaway: Callable[[], None]  # one more handler that nothing can end
    left: list[Call]  # calls that were stopped while their thread went on
    landed: Callable[[Sequence[Settlement]], None]  # these outcomes are committed
    lifespans: Lifespans
    tracing: Tracing | None = None
    arounds: tuple[Enterable, ...] = ()  # of every call on this daemon
