"""The values that a configuration file may hold: what is allowed, and how each stands in a column.

A value has one form here, the one that is written to the file: of JSON, durations in words, times with their offset.
What a file says and what a column holds are both brought into it, so two that mean the same are the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from actiond.words import duration, json_text

HIDDEN = "[hidden]"
_DIGITS = 6  # that survive in a real of Postgres


class Absent:
    """What a column shows of a value that nobody has set."""


ABSENT = Absent()


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class Shape:
    """`read`: of the file, ValueError says what is allowed. `shown`: of a column that is not NULL. `stored`: back."""

    read: Callable[[Any], Any]
    shown: Callable[[Any], Any] = _same
    stored: Callable[[Any], Any] = _same


def said(value: Any) -> str:
    """A value in a message, on one line."""
    try:
        text = json_text.dumps(value)
    except (ValueError, TypeError):
        text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a text, not {said(value)} (what looks like something else stands in quotes)")  # noqa: TRY004 - one error for all
    return value


def _names(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
        raise ValueError(f"a list of names, as [production, staging], not {said(value)}")
    return value


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"true or false, not {said(value)}")  # noqa: TRY004 - one error for all
    return value


def _json(value: Any) -> Any:
    json_text.dumps(value)
    return value


def _object(value: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"names with values, not {said(value)}")  # noqa: TRY004 - one error for all
    return _json(value)


def _duration(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a duration, as '5 min' or '1 h 30 min', not {said(value)}")  # noqa: TRY004 - one error for all
    return duration.written(duration.seconds(value))


def _moment(value: Any) -> str:
    try:
        at = datetime.fromisoformat(_text(value))
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ValueError(f"a time with its offset, as 2026-03-28T12:00:00+01:00, not {said(value)}")
    return at.astimezone(UTC).isoformat()


def _moment_shown(at: datetime) -> Any:
    # With a fraction of a second it is the moment when the row was made, and nobody's wish.
    return ABSENT if at.microsecond else at.astimezone(UTC).isoformat()


def whole(low: int, high: int) -> Shape:
    """From `low` to `high`."""

    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}, not {said(value)}")
        return value

    return Shape(read)


def number(low: float, below: float) -> Shape:
    """From `low` to less than `below`, to six digits."""

    def read(value: Any) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value < below:
            raise ValueError(f"a number from {low:g} to less than {below:g}, not {said(value)}")
        return _short(value)

    return Shape(read, _short)


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def choice(*allowed: str) -> Shape:
    """One of these."""

    def read(value: Any) -> str:
        if value not in allowed or not isinstance(value, str):
            raise ValueError(f"one of {', '.join(allowed)}, not {said(value)}")
        return value

    return Shape(read)


TEXT = Shape(_text)
NAMES = Shape(_names, list)
SWITCH = Shape(_switch)
JSON = Shape(_json, json_text.loads, json_text.dumps)
OBJECT = Shape(_object, json_text.loads, json_text.dumps)
DURATION = Shape(
    _duration,
    lambda amount: duration.written(amount.total_seconds()),
    lambda text: timedelta(seconds=duration.seconds(text)),
)
MOMENT = Shape(_moment, _moment_shown, datetime.fromisoformat)


def name_of_processor(name: str) -> str:
    """ValueError if it is none."""
    if not re.fullmatch(r"[^,\s]{1,255}", name):
        raise ValueError(f"{name[:300]!r} is no name of a processor: no comma, no space, at most 255 characters")
    return name


def hidden(value: Any, fields: frozenset[str]) -> Any:
    """The same JSON without what stands under these names (in lower case), at any depth."""
    if isinstance(value, dict):
        return {name: HIDDEN if name.lower() in fields else hidden(each, fields) for name, each in value.items()}
    return [hidden(each, fields) for each in value] if isinstance(value, list) else value


def hidden_constants(mapping: Any, fields: frozenset[str]) -> Any:
    """The mapping of a plan: constants for fields of these names; the name of a column tells nothing."""
    if not isinstance(mapping, dict):
        return mapping
    return {
        target: hidden(each, frozenset({"const"}))
        if isinstance(each, dict) and any(part in fields for part in target.lower().split("."))
        else hidden(each, fields)
        for target, each in mapping.items()
    }


def revealed(value: Any, stored: Any) -> Any:
    """The same JSON, where what is hidden is as it is stored. ValueError where nothing is stored in its place."""
    if isinstance(value, dict):
        there = stored if isinstance(stored, dict) else {}
        return {name: revealed(each, there.get(name, ABSENT)) for name, each in value.items()}
    if isinstance(value, list):
        below = stored if isinstance(stored, list) else []
        return [revealed(each, below[at] if at < len(below) else ABSENT) for at, each in enumerate(value)]
    if value == HIDDEN and isinstance(value, str):
        if stored is ABSENT:
            raise ValueError(f"{HIDDEN} stands for a value that is not shown, and here is none: write the value")
        return stored
    return value
