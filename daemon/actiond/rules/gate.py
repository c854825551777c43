"""May this processor claim now; if not, why.

One function for the loop, for `status` and for `explain`: all reasons, the deciding one first.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Shut(StrEnum):
    """Why a processor may not claim, in the order of their weight."""

    STOPPING = "the daemon is stopping"
    CUT_OFF = "the daemon cannot renew its lease"
    PAUSED = "everything is paused (setting paused)"
    DISABLED = "the processor is disabled"
    UNSAVED = "too many outcomes wait to be saved"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the gate looks at."""

    stopping: bool = False
    cut_off: bool = False
    paused: bool = False
    enabled: bool = True
    unsaved: int = 0  # settlements that the database has not confirmed
    unsaved_max: int = 10_000


def shut(now: Circumstances) -> list[Shut]:
    """Every reason that holds; empty = open."""
    return [
        reason
        for reason, holds in (
            (Shut.STOPPING, now.stopping),
            (Shut.CUT_OFF, now.cut_off),
            (Shut.PAUSED, now.paused),
            (Shut.DISABLED, not now.enabled),
            (Shut.UNSAVED, now.unsaved >= now.unsaved_max),
        )
        if holds
    ]
