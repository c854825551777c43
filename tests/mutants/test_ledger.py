"""The ledger turns red over a daemon without the fence.

Chance decides whether a frozen daemon wakes up with an outcome that meets a row of another one, so one run of
torture misses the mutant now and then. Three in a row do not.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import actiond.torture.torture as under_fire
from actiond.torture.torture import Plan, torture

MUTANT = Path(__file__).with_name("daemon.py")


async def red(seed: int) -> bool:
    """Did a run without the fence break the promise, or get stuck over what it had broken?"""
    plan = Plan(rows=6_000, kills=0, freezes=3, pg_kills=0, seed=seed)
    return not (await torture(plan, command=(sys.executable, "-P", str(MUTANT), "no_fence"))).verdict.kept


@pytest.mark.slow
async def test_the_ledger_finds_a_daemon_without_the_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_fire, "STALLED_S", 20.0)  # broken rows may never end
    assert await red(1) or await red(2) or await red(3)
