"""Durations: "5 min" and timedelta, both ways; counts. Python knows only durations: times belong to the database."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

from actiond.words.outcome import Duration

LONGEST_S = 1000 * 366 * 86400.0  # a thousand years: Postgres could still add it to today
_LONGEST_TEXT = 100  # characters

_SECONDS = {"us": 1e-6, "ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_UNIT = {
    **{unit: unit for unit in _SECONDS},
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("m", "mins", "minute", "minutes"), "min"),
    **dict.fromkeys(("hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("day", "days"), "d"),
    **dict.fromkeys(("week", "weeks"), "w"),
}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*")


def seconds(duration: Duration | float) -> float:
    """ "1 h 30 min" -> 5400.0. A bare number counts seconds. ValueError for anything else, and below zero."""
    if isinstance(duration, timedelta):
        amount = duration.total_seconds()
    elif isinstance(duration, str):
        amount = _parsed(duration)
    elif isinstance(duration, int | float) and not isinstance(duration, bool):
        amount = float(max(-1, min(duration, LONGEST_S + 1)))  # 10**400 is no float
    else:
        kind = type(duration).__name__
        raise ValueError(f"not a duration: {kind} (write a timedelta, or text as '5 min')")  # noqa: TRY004 - one error for all
    if not 0 <= amount <= LONGEST_S:
        raise ValueError("a duration cannot be below zero, or longer than a thousand years")
    return amount


def _parsed(text: str) -> float:
    amount, end, lower = 0.0, 0, text[:_LONGEST_TEXT].lower()
    while part := _PART.match(lower, end):
        unit = _UNIT.get(part.group(2))
        if unit is None:
            break
        amount, end = amount + float(part.group(1)) * _SECONDS[unit], part.end()
    if end != len(text) or not end:
        shown = text[:_LONGEST_TEXT]
        raise ValueError(f"not a duration: {shown!r} (write for example '30 s', '5 min', '1 h 30 min', '2 d')")
    return amount


def exactly(amount_s: float) -> str:
    """90.0 -> "90 s", for `seconds` and for Postgres' interval: no digit is lost, and none is an exponent."""
    return f"{Decimal(repr(amount_s)).normalize():f} s"


def written(amount_s: float) -> str:
    """5400.0 -> "1 h 30 min", for `seconds`: as a person would write it, and nothing is lost."""
    if amount_s != int(amount_s) or amount_s < 1:
        return exactly(amount_s)
    parts, rest = [], int(amount_s)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if rest >= size:
            parts.append(f"{rest // size} {unit}")
            rest %= size
    return " ".join(parts)


def in_words(amount_s: float) -> str:
    """90.0 -> "1 min 30 s"; two units at most, so that columns stay narrow."""
    if amount_s < 1:
        return f"{amount_s * 1000:.0f} ms"
    if amount_s < 10:
        return f"{amount_s:.1f} s".replace(".0 s", " s")
    words, rest = [], round(amount_s)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if rest >= size:
            words.append(f"{rest // size} {unit}")
            rest %= size
        elif words:
            break
    return " ".join(words[:2])


def counted(count: int, what: str) -> str:
    """1, "row" -> "1 row"; 2000 -> "2,000 rows"."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
