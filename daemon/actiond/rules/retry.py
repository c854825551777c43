"""When again, and when no more."""

from __future__ import annotations

from dataclasses import dataclass

_LONGEST_DOUBLING = 62  # 2**62 intervals: beyond any maximum, and still a float


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The knobs of a processor that concern retries, resolved. Durations in seconds."""

    retries: int
    interval_s: float
    backoff: str = "fixed"  # or exponential
    max_interval_s: float = 3600.0


def retries_left(policy: RetryPolicy, stored: int | None) -> int:
    """A row that was never charged has the processor's retries."""
    return policy.retries if stored is None else stored


def delay_s(policy: RetryPolicy, left: int, jitter: float) -> float:
    """How long until the next try of an action with `left` retries before this charge.

    Fixed is the interval. Exponential doubles it with every charge up to the maximum, and adds up to a
    quarter (`jitter` in 0..1): rows that failed together do not come back together, and none comes early.
    """
    if policy.backoff == "fixed":
        return policy.interval_s
    charged_before = max(0, policy.retries - left)
    doubled: float = policy.interval_s * 2.0 ** min(charged_before, _LONGEST_DOUBLING)
    return min(doubled, policy.max_interval_s) * (1 + jitter / 4)
