"""When a schedule is due: cron text in a zone, or an interval; as instants, one after the other.

cronsim reads the text and walks through wall-clock times without a zone. What a change of the clocks does to them is
decided here, by the rule of Debian's cron:

    a time that the clocks skip      runs once, at the first instant after the gap
    a time that comes twice          runs once, the first time
    minute or hour begin with *      runs by real time: whenever the clock on the wall shows a match, also twice

An interval counts real time from its start; no change of the clocks moves it.

(cronsim knows zones too, but runs `0 30 2 * * *` twice in autumn and not at all in spring, and loses slots where the
clocks are set by half an hour; tests/pure/test_cron.py scans every minute.)
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from actiond.words.duration import in_words

LONGEST_TEXT = 255  # characters of a cron text
SHORTEST, LONGEST = timedelta(seconds=1), timedelta(days=366)  # of an interval
ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = ("second", "minute", "hour", "day of month", "month", "day of week")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND, _MICROSECOND = timedelta(seconds=1), timedelta(microseconds=1)
_STRIDE = timedelta(hours=12)  # no zone changes its clocks and changes them back within that
_WIDEST_GAP = timedelta(hours=25)  # zones have skipped a whole day


class Rule(Protocol):
    """Something with slots."""

    def after(self, instant: datetime) -> Iterator[datetime]:
        """Every slot after that instant, in order, UTC."""

    def in_words(self) -> str:
        """For people."""


def zone(name: str) -> ZoneInfo:
    """An IANA zone. ValueError says which name was perhaps meant."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; not a name at all; the name of a folder
        raise ValueError(_no_zone(name[:100])) from None


@lru_cache(maxsize=100)  # it reads folders, and a daemon meets a wrong row again at every look
def _no_zone(name: str) -> str:
    known = {each.lower(): each for each in available_timezones()}
    if not known:
        return "this machine has no time zones: install its package tzdata"
    meant = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f" (did you mean {known[meant[0]]}?)" if meant else ""
    return f"there is no time zone {name!r}{hint}: write an IANA name such as Europe/Berlin"


class Cron:
    """Cron text of 5 fields, of 6 with seconds in front, or a name such as @daily, in a zone."""

    def __init__(self, text: str, timezone: str = "UTC") -> None:
        """ValueError says what is wrong with the text or the zone."""
        self.zone = zone(timezone)
        self._fields = _fields(text)
        try:
            self._words = CronSim(" ".join(self._fields), datetime(2000, 1, 1)).explain()  # noqa: DTZ001 - wall time
        except CronSimError as wrong:
            raise ValueError(f"cron {text!r}: {_said(str(wrong), self._fields)}") from None
        #: Named times, which the clocks may skip or repeat; everything else follows real time.
        self.fixed = not any(field.startswith("*") for field in self._fields[:-3])

    def after(self, instant: datetime) -> Iterator[datetime]:
        """Every slot after that instant, in order, UTC. Ends where fifty years hold no match."""
        return self._named(instant) if self.fixed else self._floating(instant)

    def in_words(self) -> str:
        """ "At 02:30 every day (Europe/Berlin)"."""
        return f"{self._words} ({self.zone.key})"

    def _walls(self, instant: datetime, offset: timedelta) -> Iterator[datetime]:
        """Matching wall-clock times after that instant, without a zone."""
        return CronSim(" ".join(self._fields), (instant + offset).replace(tzinfo=None))

    def _named(self, instant: datetime) -> Iterator[datetime]:
        last = instant
        for wall in self._walls(instant, offset_at(self.zone, instant)):
            slot = first_instant(self.zone, wall)
            if slot > last:  # in the second pass of a repeated hour, or after a gap, several times are one slot
                last = slot
                yield slot

    def _floating(self, instant: datetime) -> Iterator[datetime]:
        start = seen = instant
        while True:
            offset = offset_at(self.zone, seen)
            change = None
            for wall in self._walls(start, offset):
                slot = (wall - offset).replace(tzinfo=UTC)
                change = next_change(self.zone, seen, slot)
                if change is not None:
                    break
                seen = slot
                yield slot
            if change is None:
                return
            start, seen = change - _SECOND, change  # the first instant under the new offset may match itself


@dataclass(frozen=True, slots=True)
class Every:
    """An interval, counted from its start."""

    every: timedelta
    starts_at: datetime

    def __post_init__(self) -> None:
        """ValueError for one that is too short or too long."""
        if not SHORTEST <= self.every <= LONGEST:
            raise ValueError("an interval is from 1 second to 366 days")

    def after(self, instant: datetime) -> Iterator[datetime]:
        """Every slot after that instant, without an end; the first is the start itself."""
        gone = max(0, (instant - self.starts_at) // self.every + 1)
        while True:
            yield self.starts_at + gone * self.every
            gone += 1

    def in_words(self) -> str:
        """ "Every 5 min"."""
        return f"Every {in_words(self.every.total_seconds())}"


def rule(cron: str | None, every: timedelta | None, timezone: str, starts_at: datetime) -> Rule:
    """What a row of actiond.schedule says. ValueError says what is wrong with it."""
    if cron is not None:
        return Cron(cron, timezone)
    zone(timezone)  # slots of an interval are written in it
    assert every is not None, "a constraint of the table"
    return Every(every, starts_at)


def first_after(rule: Rule, since: datetime, starts_at: datetime) -> datetime | None:
    """The first slot after `since` and not before `starts_at`; None if there never is one."""
    return next(rule.after(max(since, starts_at - _MICROSECOND)), None)


def offset_at(zone: tzinfo, instant: datetime) -> timedelta:
    """How far the clocks are from UTC then."""
    return instant.astimezone(zone).utcoffset() or timedelta(0)


def next_change(zone: tzinfo, after: datetime, until: datetime) -> datetime | None:
    """The first instant after the one, and not after the other, when the clocks are set; to the second."""
    low = after
    while low < until:
        high = min(low + _STRIDE, until)
        if offset_at(zone, high) == offset_at(zone, low):
            low = high
            continue
        before = offset_at(zone, low)
        while high - low > _SECOND:
            middle = low + (high - low) / 2
            low, high = (middle, high) if offset_at(zone, middle) == before else (low, middle)
        return high.replace(microsecond=0)  # clocks are set at whole seconds
    return None


def first_instant(zone: tzinfo, wall: datetime) -> datetime:
    """When the clock on the wall first shows this time; if it skips it, the instant at which it does."""
    instant = wall.replace(tzinfo=zone).astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == wall:
        return instant
    change = next_change(zone, instant - _WIDEST_GAP, instant)
    assert change is not None, f"{wall} does not exist, so the clocks were set"
    return change


def _fields(text: str) -> list[str]:
    shown, said = text[:LONGEST_TEXT], text.strip().lower()
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"a cron text has at most {LONGEST_TEXT} characters")
    if said.startswith("@"):
        if said not in ALIASES:
            raise ValueError(f"cron {shown!r}: the names are {', '.join(ALIASES)}")
        return ALIASES[said].split()
    fields = text.upper().split()
    if len(fields) == 7:
        raise ValueError(f"cron {shown!r}: seven fields; there is no field for years here, leave the last one out")
    if len(fields) not in (5, 6):
        raise ValueError(
            f"cron {shown!r}: {len(fields)} fields; write five (minute, hour, day of month, month, day of week), "
            "or six with seconds in front"
        )
    for place in (-3, -1):
        fields[place] = "*" if fields[place] == "?" else fields[place]
    return fields


def _said(wrong: str, fields: list[str]) -> str:
    """cronsim names the field; the reader also wants to see it."""
    names = _FIELDS[-len(fields) :]
    if wrong == "Bad day-of-month" and re.fullmatch(r"[\d,-]+", fields[-3]) and fields[-2] != "*":
        return f"{fields[-3]!r}, in the months {fields[-2]!r}, is no day"
    for name, field in zip(names, fields, strict=True):
        if wrong.replace("-", " ").lower() == f"bad {name}":
            return f"{field!r} is no {name}"
    return wrong
