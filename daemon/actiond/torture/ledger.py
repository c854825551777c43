"""The verdict: what the producer and the effects remember, against what the database says."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actiond.postgres.connection import Connection
from actiond.postgres.statements import Statements
from actiond.torture.faults import Tally

_sql = Statements()
_FINAL = ("completed", "failed", "canceled")


@dataclass(slots=True)
class Verdict:
    """Every list of complaints is empty when the promise was kept."""

    acknowledged: int
    present: int
    completed: int
    failed: int
    canceled: int
    effects: int
    repeated: int  # effects of an action beyond those its attempts account for
    reclaimed: int  # rows returned by rescue or given back
    fenced: int
    quarantined: int
    complaints: list[str] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        """Was the promise kept?"""
        return not self.complaints


async def verdict(connection: Connection, folder: Path, tally: Tally) -> Verdict:
    """Read both sides and compare."""
    acknowledged = [int(line) for line in _lines(folder / "acknowledged")]
    unknown = {line.split()[0] for line in _lines(folder / "unknown")}
    ran = Counter(int(line.split()[0]) for line in _lines(folder / "effects"))
    rows = {row["id"]: row for row in await connection.fetch(_sql["torture_ledger"], timeout=120)}
    events = {row["event"]: row["n"] for row in await connection.fetch(_sql["torture_events"], timeout=120)}
    statuses = Counter(row["status"] for row in rows.values())
    found = Verdict(
        acknowledged=len(acknowledged),
        present=len(rows),
        completed=statuses["completed"],
        failed=statuses["failed"],
        canceled=statuses["canceled"],
        effects=sum(ran.values()),
        repeated=sum(max(0, ran[id_] - _expected(id_)) for id_ in rows),
        reclaimed=events.get("crashed", 0),
        fenced=events.get("fenced", 0),
        quarantined=sum((row["error"] or "").startswith("quarantined") for row in rows.values()),
    )
    found.complaints += _compare(rows, acknowledged, unknown, ran)
    for row in await connection.fetch(_sql["invariants"], 1000, timeout=300):
        if row["broken"]:
            found.complaints.append(f"invariant {row['name']}: {row['broken']} rows, for example {row['example']}")
    if found.repeated > tally.rows_in_flight + tally.by_hand:
        found.complaints.append(
            f"{found.repeated} repeated effects, but only {tally.rows_in_flight} rows were in flight at a fault"
        )
    return found


def _compare(rows: dict[int, Any], acknowledged: list[int], unknown: set[str], ran: Counter[int]) -> list[str]:
    known = set(acknowledged)
    return [
        f"{len(ids)} actions {what}, for example {sorted(ids)[:3]}"
        for what, ids in (
            ("were acknowledged and are lost", known - rows.keys()),
            ("are there that nobody asked for", {i for i in rows.keys() - known if rows[i]["related"] not in unknown}),
            ("never ended", {i for i, row in rows.items() if row["status"] not in _FINAL}),
            ("were decided under a claim that was not current", {i for i, row in rows.items() if row["token_wrong"]}),
            ("are completed and never ran", {i for i, r in rows.items() if r["status"] == "completed" and not ran[i]}),
            (
                "failed that should have completed",
                {i for i, row in rows.items() if row["status"] == "failed" and i % 29 and row["crashes"] < 3},
            ),
        )
        if ids
    ]


def _expected(id_: int) -> int:
    """How often an action runs when nothing goes wrong: see effects._mark."""
    if id_ % 29 == 0:
        return 1
    return 1 + (id_ % 13 == 0) + (id_ % 11 == 0 and id_ % 13 != 0)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
