"""What became of a chaos scenario: rows against what was acknowledged, and how long it took until all was well again.

Everything is read from the rows when all is over, so that looking costs nothing while the fault lasts. A row is late
while it has waited for more than LATE_S seconds; throughput is back at the first moment at which none is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import asyncpg
from tests.bench.chaos_processors import fails_first
from tests.bench.chaos_stage import LATE_S, Stage
from tests.bench.figure import Figure

from actiond.postgres.statements import Statements

ROWS = """
select a.id, a.processor, a.status, a.related, a.attempts, extract(epoch from a.created_at)::float8 as created,
       extract(epoch from a.finished_at)::float8 as finished,
       coalesce(h.completions, 0) as completions
  from actiond.action a
  left join (select action_id, count(*) as completions from actiond.history where event = 'completed' group by 1) h
    on h.action_id = a.id
"""
BACK = 0.8  # of the rate before the fault, at least, after it
Rows = Sequence[asyncpg.Record]
Measure = Callable[[Stage, Rows], float]


@dataclass(frozen=True, slots=True)
class Result:
    """`figure` is the time that the scenario is about; there are no complaints when the promise was kept."""

    name: str
    figure: Figure
    rows: int
    repeated: int  # attempts beyond those that are asked for
    rates: tuple[float, float, float]  # completions a second before, during, after
    complaints: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.complaints and self.figure.passed is not False

    def as_json(self) -> dict[str, Any]:
        before, during, after = (round(rate, 1) for rate in self.rates)
        return {
            "scenario": self.name,
            "pass": self.passed,
            "figure": self.figure.as_json(),
            "rows": self.rows,
            "run_again": self.repeated,
            "rows_per_s": {"before": before, "during": during, "after": after},
            "complaints": self.complaints,
        }


async def result(name: str, stage: Stage, measure: Measure) -> Result:
    """Read the rows and judge."""
    rows = await stage.ask(ROWS)
    value = measure(stage, rows)
    complaints = [*stage.complaints, *_ledger(rows, stage)]
    complaints += [
        f"invariant {invariant['name']}: {invariant['broken']}, as {invariant['example']}"
        for invariant in await stage.ask(Statements()["invariants"], 1000)
        if invariant["broken"]
    ]
    back_at = stage.over_at + recovered_s(stage, rows)
    rates = (
        _rate(rows, stage.began_at, stage.fault_at),
        _rate(rows, stage.fault_at, stage.over_at),
        _rate(rows, back_at, stage.ended_at),
    )
    if rates[2] < BACK * rates[0]:
        complaints.append(f"{rates[2]:.0f} rows/s after the fault, {rates[0]:.0f} before it")
    said = "; ".join([*stage.said, f"the longest wait of a row {longest_s(stage, rows):.1f} s"])
    again = sum(row["attempts"] - 1 - fails_first(row["processor"], row["id"]) for row in rows)
    return Result(name, Figure(f"chaos_{name}", value, said), len(rows), again, rates, complaints)


def _ledger(rows: Rows, stage: Stage) -> list[str]:
    known, there = stage.producer.acknowledged, {row["id"] for row in rows}
    return [
        f"{len(ids)} rows {what}, as {min(ids)}"
        for what, ids in (
            ("were acknowledged and are lost", known - there),
            (
                "are there that nobody asked for",
                {r["id"] for r in rows if r["id"] not in known and r["related"] not in stage.producer.unknown},
            ),
            ("are not completed", {row["id"] for row in rows if row["status"] != "completed"}),
            ("were completed not once", {r["id"] for r in rows if r["completions"] != 1}),
        )
        if ids
    ]


def _rate(rows: Rows, since: float, until: float) -> float:
    return sum(since <= (row["finished"] or 0) < until for row in rows) / max(until - since, 0.1)


def recovered_s(stage: Stage, rows: Rows) -> float:
    """From the end of the fault until no row is late."""
    moment = stage.over_at
    for late_at, ended_at in sorted((row["created"] + LATE_S, row["finished"] or stage.ended_at) for row in rows):
        if late_at <= moment < ended_at:
            moment = ended_at
    return moment - stage.over_at


def longest_s(stage: Stage, rows: Rows) -> float:
    """What a row had to wait from its INSERT to its end."""
    return max((row["finished"] or stage.ended_at) - row["created"] for row in rows)


def watched_s(stage: Stage, rows: Rows) -> float:
    """The worst of: from a fault until the last of the rows that it hit had ended."""
    ends = {row["id"]: row["finished"] or stage.ended_at for row in rows}
    took = [max(ends[id_] for id_ in ids) - since for since, ids in stage.watched]
    return _worst(stage, took)


def moments_s(stage: Stage, rows: Rows) -> float:
    """The worst of: from a moment until the first row ended after it."""
    ends = sorted(row["finished"] for row in rows if row["finished"])
    return _worst(stage, [next((end for end in ends if end > at), stage.ended_at) - at for at in stage.moments])


def values_s(stage: Stage, rows: Rows) -> float:
    """The worst of what the scenario measured itself."""
    return _worst(stage, stage.values)


def _worst(stage: Stage, took: list[float]) -> float:
    if not took:
        stage.complaints.append("nothing was measured")
        return 0.0
    if len(took) > 1:
        stage.said.append(f"{len(took)} times, {min(took):.2f} to {max(took):.2f} s, median {median(took):.2f}")
    return max(took)
