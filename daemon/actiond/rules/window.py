"""The hours in which a processor may claim: times of a day, of some days of the week or of all, in a zone.

    22:00-06:00 Europe/Berlin                                  every night, over midnight
    Mon-Fri 22:00-06:00, Sat-Sun 00:00-24:00 Europe/Berlin     a day is the one on which the hours begin

It is open whenever the clock on the wall shows a time within them, the end not counted. So a time that the clocks
skip is never open, and one that comes twice is open twice. The SQL function actiond.window_opens_at reads the same
text for those who look: a test holds both alike.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from actiond.rules.cron import next_change, offset_at, zone

NO_WINDOW = "none"
LONGEST_TEXT = 500  # characters
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY, _WEEK = 24 * 60, 7 * 24 * 60  # minutes
_MINUTE = timedelta(minutes=1)
_HOURS = re.compile(r"(?:([A-Za-z]+)(?: ?- ?([A-Za-z]+))? )?(\d{1,2}):(\d\d) ?- ?(\d{1,2}):(\d\d)(?: ([^\d\s]\S*))?")
_EXAMPLES = "'22:00-06:00 Europe/Berlin', 'Mon-Fri 08:00-18:00, Sat 09:00-12:00 Europe/Berlin', or 'none'"
_LOOK_AHEAD = timedelta(days=16)  # hours of one day of the week that the clocks skip come a week later


@dataclass(frozen=True, slots=True)
class Hours:
    """One part of the text: (first day, last day) from 0 = Monday, minutes of the day from and to; over midnight."""

    days: tuple[int, int] | None  # None = every day
    start: int
    end: int

    def __str__(self) -> str:
        first, last = self.days or (0, 6)
        days = "" if self.days is None else DAYS[first] + ("" if first == last else f"-{DAYS[last]}") + " "
        return f"{days}{_clock(self.start)}-{_clock(self.end)}"

    def spans(self) -> Iterator[tuple[int, int]]:
        """Minutes of the week, from and to; what goes over its end goes on at its beginning."""
        first, last = self.days or (0, 6)
        for day in range(first, last + 1 if first <= last else last + 8):
            start = day % 7 * _DAY + self.start
            end = start + ((self.end - self.start) % _DAY or _DAY)
            yield start, min(end, _WEEK)
            if end > _WEEK:
                yield 0, end - _WEEK


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of the week in a zone."""

    hours: tuple[Hours, ...]
    zone: ZoneInfo
    _spans: tuple[tuple[int, int], ...]
    _edges: tuple[int, ...]  # minutes of the week at which it may turn

    @classmethod
    def of(cls, text: str) -> Window | None:
        """ "none" -> None. ValueError says what is wrong."""
        return None if text == NO_WINDOW else _window(text)

    def __str__(self) -> str:
        return f"{', '.join(map(str, self.hours))} {self.zone.key}"

    def open(self, at: datetime) -> bool:
        """Then?"""
        minute = self._of_week(at) // _MINUTE
        return any(start <= minute < end for start, end in self._spans)

    def turns_at(self, at: datetime) -> datetime | None:
        """The first instant after that one at which it opens or closes, UTC; None = it never does."""
        now, seen = self.open(at), at.astimezone(UTC)
        until = seen + _LOOK_AHEAD
        while seen < until:
            wall = self._of_week(seen)
            place = bisect_right(self._edges, wall / _MINUTE)
            edge = self._edges[place] if place < len(self._edges) else self._edges[0] + _WEEK
            turn = seen + (edge * _MINUTE - wall)
            seen = next_change(self.zone, seen, turn) or turn  # the clocks may be set before that
            if self.open(seen) is not now:
                return seen
        return None

    def _of_week(self, at: datetime) -> timedelta:
        """What the clock on the wall shows, from Monday, 00:00."""
        wall = at.astimezone(UTC).replace(tzinfo=None) + offset_at(self.zone, at)
        return wall - datetime(wall.year, wall.month, wall.day) + wall.weekday() * timedelta(days=1)  # noqa: DTZ001


def written(text: object) -> str:
    """As it is stored: "mon-fri 8:00 - 18:00" -> "Mon-Fri 08:00-18:00 UTC". ValueError says what is wrong."""
    if text == NO_WINDOW:
        return NO_WINDOW
    if not isinstance(text, str):
        raise ValueError(f"hours as {_EXAMPLES}, not {text!r}")  # noqa: TRY004 - one error for all
    return str(_window(text))


@lru_cache(maxsize=1000)  # a policy is made anew at every poll
def _window(text: str) -> Window:
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"hours have at most {LONGEST_TEXT} characters")
    parts = [" ".join(part.split()) for part in text.split(",")]
    hours, named = [], None
    for place, part in enumerate(parts, 1):
        found = _HOURS.fullmatch(part)
        if found is None:
            raise ValueError(f"hours as {_EXAMPLES}, not {part!r}")
        *said, named = found.groups()
        if named is not None and place < len(parts):
            raise ValueError(f"one zone, after the last hours: {named!r} stands before others")
        hours.append(_hours(part, said))
    spans = tuple(sorted({span for each in hours for span in each.spans()}))
    edges = tuple(sorted({edge % _WEEK for span in spans for edge in span}))
    return Window(tuple(hours), zone(named or "UTC"), spans, edges)


def _hours(part: str, said: list[str | None]) -> Hours:
    first, last, *clock = said
    days = None if first is None else (_day(first), _day(last or first))
    start, end = (int(hour or 0) * 60 + int(minute or 0) for hour, minute in (clock[:2], clock[2:]))
    if any(int(minute or 0) > 59 for minute in clock[1::2]) or start >= _DAY or end > _DAY:
        raise ValueError(f"{part!r}: times are from 00:00 to 23:59, an end may be 24:00")
    if start == end:
        raise ValueError(f"{part!r} ends when it begins: a whole day is 00:00-24:00")
    return Hours(days, start, end)


def _day(said: str) -> int:
    if said.capitalize() not in DAYS:
        raise ValueError(f"{said!r} is no day of the week: write {', '.join(DAYS)}")
    return DAYS.index(said.capitalize())


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
