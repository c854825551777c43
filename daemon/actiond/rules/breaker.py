"""The breaker of a processor: when too many of its latest outcomes are failures, its rows wait until a probe succeeds.

    closed --the share of failures among the last N outcomes is reached-> open, for a pause
    open   --the pause is over: one row is claimed, the probe---------> completed: closed, and nothing is remembered
                                                                        failed: open, for twice the pause, up to a bound

What counts as a failure is what a later try may cure: everything that costs a retry or comes back uncharged. An action
that dies at once (SUDDEN_DEATH) says something of its payload, and a deferral, a cancel or a wait nothing at all. While
it is open only the probe counts: other outcomes are of calls that began before.

The state is a row of actiond.brake, shared by all daemons. Here is what becomes of it; times are seconds from now.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from actiond.words.claimed import Settlement

GOOD, BAD = "+", "-"
_MOST_DOUBLINGS = 60
_SUCCESSES = ("completed", "repeated")


class Verdict(NamedTuple):
    """What an outcome says of the other side: it answered, it did not, or nothing (None)."""

    run_id: int
    good: bool | None


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """The knobs of a processor that concern its breaker, resolved."""

    share: float  # of failures; above 0, at most 1
    outcomes: int  # so many are looked at; before there are so many it stays closed
    pause_s: float
    max_pause_s: float


@dataclass(frozen=True, slots=True)
class Breaker:
    """One breaker, at one moment."""

    recent: str = ""  # the latest outcomes, oldest first, + or - each; while it is open, those that opened it
    left_s: float | None = None  # None = closed; else what is left of the pause
    failed_probes: int = 0
    probe: int | None = None  # the run of the probe, until its outcome is heard
    probe_is_lost: bool = False  # that run is over, and its outcome will not be heard any more

    @property
    def failed(self) -> int:
        """How many of the recent outcomes are failures."""
        return self.recent.count(BAD)

    @property
    def probing(self) -> bool:
        """A probe is under way."""
        return self.left_s is not None and self.probe is not None and not self.probe_is_lost

    @property
    def room(self) -> int | None:
        """How many rows may be claimed; None = any number."""
        if self.left_s is None:
            return None
        return 0 if self.left_s > 0 or self.probing else 1

    def probed_by(self, run_id: int) -> Breaker:
        """A probe is claimed."""
        return replace(self, probe=run_id, probe_is_lost=False)

    def heard(self, policy: BreakerPolicy, verdicts: Iterable[Verdict]) -> Breaker:
        """After these outcomes, in their order. The same if they change nothing."""
        if self.left_s is not None:
            return self._heard_of_probe(policy, [each.good for each in verdicts if each.run_id == self.probe])
        signs = "".join(GOOD if each.good else BAD for each in verdicts if each.good is not None)
        recent = (self.recent + signs)[-policy.outcomes :]
        if signs and len(recent) == policy.outcomes and recent.count(BAD) / policy.outcomes >= policy.share:
            return Breaker(recent, left_s=_pause_s(policy, 0))
        return self if recent == self.recent else Breaker(recent)

    def _heard_of_probe(self, policy: BreakerPolicy, said: list[bool | None]) -> Breaker:
        if not said:
            return self
        if False in said:
            failed_probes = self.failed_probes + 1
            return Breaker(self.recent, _pause_s(policy, failed_probes), failed_probes)
        return Breaker() if True in said else replace(self, probe=None, probe_is_lost=False)


def verdict(settlement: Settlement) -> Verdict:
    """Of one outcome."""
    good: bool | None = None
    if settlement.kind in _SUCCESSES:
        good = settlement.error is None
    elif settlement.kind == "retried" or (settlement.kind == "failed" and settlement.retries_left is not None):
        good = False
    return Verdict(settlement.run_id, good)


def _pause_s(policy: BreakerPolicy, failed_probes: int) -> float:
    doubled: float = policy.pause_s * 2.0 ** min(failed_probes, _MOST_DOUBLINGS)
    return min(doubled, policy.max_pause_s)
