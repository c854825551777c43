"""Every knob of a processor: its default, its unit, and whose word counts.

Effective = the operator's override (columns of actiond.processor), else what the code declared, else the
built-in default. Durations are seconds here; authors write timedelta or "5 min".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from actiond.rules import flags, rate, sizing, window
from actiond.rules.bounds import Bounds
from actiond.rules.breaker import BreakerPolicy
from actiond.rules.retry import RetryPolicy
from actiond.rules.settlement import Rules
from actiond.rules.window import Window
from actiond.words import duration, json_text
from actiond.words.errors import ProcessorInvalid

_RETENTIONS = ("retention_completed", "retention_failed")
#: Knobs in seconds; people write them as "5 min".
DURATIONS = (
    *("retry_interval", "retry_max_interval", "timeout", "start_delay", "breaker_pause", "breaker_max_pause"),
    *_RETENTIONS,
)
_NEVER_NOTHING = ("timeout", "retry_max_interval", "breaker_pause", "breaker_max_pause", *_RETENTIONS)
AUTO = "auto"
_SHORTEST_S = 1e-6  # Postgres counts no smaller
_BOUNDS: dict[str, tuple[float, float]] = {
    "batch_size": (1, 10_000),
    "concurrency": (1, 1_000),
    "global_concurrency": (1, 1_000_000),
    "retries": (0, 2_000_000_000),
    "burst": (1, 1_000_000),
    "breaker_outcomes": (1, 1_000),
}
_NO_LIMIT = ("global_concurrency", "rate", "burst", "flag", "window", *_RETENTIONS)  # None says something
_WRITTEN = {"rate": rate.written, "flag": flags.written, "window": window.written}
_CHOICES = {"backoff": ("fixed", "exponential"), "history": ("all", "changes", "none")}


@dataclass(frozen=True, slots=True)
class Policy:
    """One processor's knobs, resolved."""

    enabled: bool = True  # off: its rows wait
    batch_size: int | str = 200  # rows claimed at once, at most; or "auto", see rules/sizing.py
    concurrency: int = 1  # calls at once on one daemon: actions, or batches of a batch processor
    global_concurrency: int | None = None  # the same over all daemons; None = no limit
    retries: int = 3  # of an action that brings no number of its own
    retry_interval: float = 300.0  # s, until a failed action is tried again
    backoff: str = "fixed"  # or exponential: doubled at each failure, plus up to a quarter
    retry_max_interval: float = 3600.0  # s, what exponential grows to
    timeout: float = 300.0  # s, of one call
    start_delay: float = 0.0  # s, from the first row after a pause to the first claim: gathers a burst
    run_on_insert: bool = True  # off: rows wait for a wake
    history: str = "changes"  # all, changes, none
    rate: str | None = None  # rows over all daemons, as "100/min"; None, "none" = no limit
    burst: int | None = None  # rows that may start at once after a pause; None: a tenth of a second's, at least one
    breaker: float = 0.0  # the share of failures that opens it; 0 = no breaker
    breaker_outcomes: int = 20  # the latest, of which that share is taken
    breaker_pause: float = 60.0  # s, until a probe; doubled each time that one fails
    breaker_max_pause: float = 1800.0  # s, what it grows to
    retention_completed: float | None = None  # s, how long a completed or canceled action stays; None: for ever
    retention_failed: float | None = None  # s, likewise a failed one
    flag: str | None = None  # a feature flag: while it is off its rows wait; None, "none" = none
    window: str | None = None  # hours in which it claims, "22:00-06:00 Europe/Berlin"; None, "none" = at any time
    config: Mapping[str, Any] = field(default_factory=dict)  # the processor's own
    rules: Rules = field(init=False, repr=False, compare=False)  # what settlement needs of it
    bounds: Bounds = field(init=False, repr=False, compare=False)  # what a claim needs of it
    hours: Window | None = field(init=False, repr=False, compare=False)  # when it may claim

    def __post_init__(self) -> None:
        retry = RetryPolicy(self.retries, self.retry_interval, self.backoff, self.retry_max_interval)
        object.__setattr__(self, "rules", Rules(retry, self.history))
        object.__setattr__(self, "bounds", self._bounds())
        object.__setattr__(self, "hours", None if self.window is None else Window.of(self.window))

    @property
    def most_rows(self) -> int:
        """Of a claim."""
        return sizing.MOST if isinstance(self.batch_size, str) else self.batch_size

    def _bounds(self) -> Bounds:
        per_s = None if self.rate is None else rate.Rate.of(self.rate, self.burst)
        breaker = None
        if self.breaker:
            breaker = BreakerPolicy(self.breaker, self.breaker_outcomes, self.breaker_pause, self.breaker_max_pause)
        return Bounds(self.global_concurrency, rate=per_s, breaker=breaker)

    def overridden(self, overrides: Mapping[str, Any]) -> Policy:
        """This policy with an operator's values; None and names that are no knob leave it as it is.

        ValueError for hours that cannot be read here: this host may know fewer time zones than the database.
        """
        known = {name: overrides[name] for name in KNOBS if overrides.get(name) is not None}
        return replace(self, **known) if known else self


KNOBS = tuple(each.name for each in fields(Policy) if each.init)


def declared(knobs: Mapping[str, Any]) -> dict[str, Any]:
    """What an author wrote, checked and in seconds. ProcessorInvalid names the knob."""
    checked: dict[str, Any] = {}
    for name, value in knobs.items():
        if name not in KNOBS:
            raise ProcessorInvalid(f"there is no knob {name!r} (there are: {', '.join(KNOBS)})")
        try:
            checked[name] = _checked(name, value)
        except ValueError as wrong:
            raise ProcessorInvalid(f"{name}: {wrong}") from None
    return checked


def _checked(name: str, value: Any) -> Any:
    if value is None and name in _NO_LIMIT:
        return None
    if name in DURATIONS:
        return _checked_duration(name, value)
    if name == "batch_size" and value == AUTO:
        return AUTO
    if name in _WRITTEN:
        return _WRITTEN[name](value)
    if name == "breaker":
        return _checked_share(value)
    if name == "config":
        return _checked_config(value)
    if name in _BOUNDS:
        low, high = _BOUNDS[name]
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            or_auto = ' or "auto"' if name == "batch_size" else ""
            raise ValueError(f"a whole number from {low:.0f} to {high:.0f}{or_auto}, not {value!r}")
    elif name in _CHOICES and value not in _CHOICES[name]:
        raise ValueError(f"one of {', '.join(_CHOICES[name])}, not {value!r}")
    elif name in ("enabled", "run_on_insert") and not isinstance(value, bool):
        raise ValueError(f"True or False, not {value!r}")
    return value


def _checked_duration(name: str, value: Any) -> float:
    amount_s = duration.seconds(value)
    if amount_s == 0 and name in _NEVER_NOTHING:
        raise ValueError("it cannot be nothing")
    if 0 < amount_s < _SHORTEST_S:
        raise ValueError("it cannot be shorter than a microsecond")
    return amount_s


def _checked_share(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise ValueError(f"a share from 0 (no breaker) to 1, not {value!r}")
    return float(value)


def _checked_config(value: Any) -> Any:
    """As a handler will see it, also when an operator has overridden it: as JSON. A copy: nobody changes it later."""
    if not isinstance(value, Mapping):
        raise ValueError(f"a mapping, not {value!r}")  # noqa: TRY004 - one error for all
    try:
        return json_text.loads(json_text.dumps(dict(value)))
    except TypeError as wrong:
        raise ValueError(f"{wrong}") from None


def override(name: str, value: Any) -> Any:
    """A knob as an operator may set it, checked and in seconds. ProcessorInvalid."""
    checked = declared({name: value})[name]
    if name == "batch_size" and checked == AUTO:
        raise ProcessorInvalid(f"{name}: {AUTO!r} is declared by the code of a processor; an override is a number")
    return checked


def in_postgres(name: str, value: Any) -> str:
    """The same as Postgres reads it: retry_interval, "5 min" -> "300 s"."""
    return said(as_stored(Policy(**{name: override(name, value)}), frozenset({name}))[name])


def said(value: Any) -> str:
    """What Postgres stores of a knob, as text."""
    return json.dumps(value) if isinstance(value, Mapping | bool) else str(value)


def as_stored(policy: Policy, names: frozenset[str] | None = None) -> dict[str, Any]:
    """Knobs as JSON for actiond.processor: durations in words of Postgres, None left out."""
    values = {name: getattr(policy, name) for name in KNOBS if names is None or name in names}
    return {
        name: duration.exactly(value) if name in DURATIONS else value
        for name, value in values.items()
        if value is not None
    }
