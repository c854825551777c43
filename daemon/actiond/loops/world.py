"""What all loops of a daemon share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from actiond.batch.tally import Counts
from actiond.loops.opening import DatabaseClock


@dataclass(slots=True)
class World:
    """What is the same for all of them."""

    stopping: bool = False
    cut_off: bool = False
    paused: bool = False
    flags: dict[str, bool] = field(default_factory=dict)  # feature flags that somebody has set
    clock: DatabaseClock = field(default_factory=DatabaseClock)
    notify_outcomes: bool = False  # tell those who read the feed
    listening: bool = False  # notifications arrive, so the doorbell is worth taking
    unsaved_max: int = 10_000
    counts: Counts = field(default_factory=Counts)
    poll_soon: Callable[[], None] = lambda: None  # to find what lies behind the marks of a loop
