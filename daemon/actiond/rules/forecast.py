"""The next slots of a schedule, and what the next changes of the clocks do to it; for people who ask."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from itertools import islice

from actiond.rules.cron import Rule, next_change, offset_at

FIRES = 10
HORIZON = timedelta(days=400)  # both changes of a year are within it
_AROUND = timedelta(hours=3)  # of a change
_AROUND_FIRES = 6


@dataclass(frozen=True, slots=True)
class Change:
    """The clocks are set."""

    at: datetime
    before: str  # what the clock would show at that instant without the change: 2026-03-29T02:00:00+01:00
    after: str  # and what it shows: 2026-03-29T03:00:00+02:00
    fires: list[str]  # slots around it, with their offsets


def next_fires(rule: Rule, after: datetime, zone: tzinfo, many: int = FIRES) -> list[datetime]:
    """The next slots, in the zone."""
    return [slot.astimezone(zone) for slot in islice(rule.after(after), many)]


def changes(rule: Rule, after: datetime, zone: tzinfo) -> list[Change]:
    """The next two changes of the clocks, each with the slots around it; where there are none, with the next one."""
    found: list[Change] = []
    seen = after
    while len(found) < 2 and (at := next_change(zone, seen, after + HORIZON)) is not None:
        slots = list(islice(rule.after(at - _AROUND), _AROUND_FIRES))
        shown = [slot for slot in slots if slot <= at + _AROUND] or slots[:1]
        before = timezone(offset_at(zone, at - timedelta(seconds=1)))
        texts = [slot.astimezone(zone).isoformat() for slot in shown]
        found.append(Change(at, at.astimezone(before).isoformat(), at.astimezone(zone).isoformat(), texts))
        seen = at
    return found
