"""Which of the slots that are due fires: one, none, and how many were missed. And what its texts say.

A slot counts as missed when it does not fire because a later one was due already, or because it is older than the
grace. With daemons that are up, one slot is due at a time, and all policies do the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import chain
from typing import Any

from actiond.rules.cron import Rule

COUNTED = 1_000  # slots looked at in one go, so that a long downtime does not hold up the loop
_PLACEHOLDER = re.compile(r"\{(slot|fire_at)\}")


class Missed(StrEnum):
    """What becomes of slots for which no daemon was up."""

    ONCE = "once"  # the last of them fires
    SKIP = "skip"  # none fires that is late
    ALL = "all"  # each fires, oldest first


#: How late a slot may still fire, where the row does not say; None = however late.
GRACE: dict[Missed, timedelta | None] = {
    Missed.ONCE: None,
    Missed.SKIP: timedelta(minutes=1),
    Missed.ALL: timedelta(days=1),
}


@dataclass(frozen=True, slots=True)
class Due:
    """What to do now. After it, `next_at` may be due as well."""

    fires: datetime | None  # this slot
    missed: int  # so many do not
    next_at: datetime | None  # None = there is no further slot


def due(rule: Rule, next_at: datetime, now: datetime, missed: Missed, grace: timedelta | None) -> Due:
    """`next_at` is due: fire it, or a later one, or none."""
    longest = GRACE[missed] if grace is None else grace
    slots: list[datetime] = []
    following = None
    for slot in chain([next_at], rule.after(next_at)):
        following = slot
        if slot > now or len(slots) == COUNTED or (missed is Missed.ALL and _in_time(slots, now, longest)):
            break
        slots.append(slot)
        following = None
    fires = slots[-1] if _in_time(slots, now, longest) else None
    if missed is not Missed.ALL and following is not None and following <= now:
        fires = None  # counting stopped at COUNTED, and a later one is due
    return Due(fires, len(slots) - (fires is not None), following)


def _in_time(slots: list[datetime], now: datetime, longest: timedelta | None) -> bool:
    """May the last of these still fire?"""
    return bool(slots) and (longest is None or now - slots[-1] <= longest)


def filled(value: Any, slot: datetime, fire_at: datetime) -> Any:
    """The same JSON with {slot} and {fire_at} in its texts replaced; all other braces stay as they are."""
    if isinstance(value, str):
        texts = {"slot": slot, "fire_at": fire_at}
        return _PLACEHOLDER.sub(lambda found: texts[found[1]].isoformat(timespec="seconds"), value)
    if isinstance(value, list):
        return [filled(each, slot, fire_at) for each in value]
    if isinstance(value, dict):
        return {name: filled(each, slot, fire_at) for name, each in value.items()}
    return value
