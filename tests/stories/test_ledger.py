"""The promise, by ledger: producers and effects remember outside of the database."""

from __future__ import annotations

import pytest

from actiond.torture.torture import Plan, torture


@pytest.mark.slow
async def test_nothing_is_lost_and_nothing_is_final_twice_under_fire() -> None:
    report = await torture(Plan(rows=20_000, kills=7, freezes=1, pg_kills=3, seed=11))
    assert report.verdict.complaints == []
    assert report.verdict.present >= 20_000
    assert report.tally.kills_in_flight * 2 >= report.tally.kills
    assert min(report.verdict.families, report.verdict.slots, report.verdict.by_bulk) > 0
    assert report.verdict.repeated > 0, "no fault met work that had effects: this proved nothing"


@pytest.mark.slow
async def test_a_run_that_is_not_over_in_time_is_no_promise_kept() -> None:
    report = await torture(Plan(rows=1_000_000, kills=0, freezes=0, pg_kills=0, minutes=0.05))
    assert not report.verdict.kept
    assert any("give it more --minutes" in each for each in report.verdict.complaints)
