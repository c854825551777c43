"""The promise, by ledger: producers and effects remember outside of the database."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from actiond.torture.torture import Plan, torture
from mutants.statements import BROKEN

MUTANT = Path(__file__).resolve().parents[1] / "mutants" / "daemon.py"


@pytest.mark.slow
async def test_nothing_is_lost_and_nothing_is_final_twice_under_fire() -> None:
    report = await torture(Plan(rows=20_000, kills=7, freezes=1, pg_kills=3, seed=11))
    assert report.verdict.complaints == []
    assert report.verdict.present >= 20_000
    assert report.tally.kills_in_flight * 2 >= report.tally.kills
    assert report.verdict.repeated > 0, "no fault met work that had effects: this proved nothing"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(BROKEN))
async def test_a_daemon_without_its_fence_is_found_out(name: str) -> None:
    report = await torture(
        Plan(rows=1_500, kills=0, freezes=1, pg_kills=0, minutes=1, seed=5), command=(sys.executable, str(MUTANT), name)
    )
    assert report.tally.freezes_in_flight == 1
    assert not report.verdict.kept
    said = " ".join(report.verdict.complaints)
    assert "under a claim that was not current" in said or "completed_twice" in said
