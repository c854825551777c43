"""The verdict: what the producer and the effects remember, against what the database says."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actiond.postgres.connection import Connection
from actiond.postgres.statements import Statements
from actiond.torture.effects import CHILDREN
from actiond.torture.faults import Tally
from actiond.torture.producer import PARENT

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
    families: int  # parents whose children were all made
    slots: int  # of the schedule that fired
    by_bulk: int  # changes by bulk verbs
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
        repeated=sum(max(0, ran[id_] - _expected(id_, row["processor"])) for id_, row in rows.items()),
        reclaimed=events.get("crashed", 0),
        fenced=events.get("fenced", 0),
        quarantined=sum((row["error"] or "").startswith("quarantined") for row in rows.values()),
        families=0,
        slots=0,
        by_bulk=0,
    )
    found.complaints += _compare(rows, acknowledged, unknown, ran)
    await _composed(connection, found)
    for row in await connection.fetch(_sql["invariants"], 1000, timeout=300):
        if row["broken"]:
            found.complaints.append(f"invariant {row['name']}: {row['broken']} rows, for example {row['example']}")
    if found.repeated > tally.rows_in_flight + tally.by_hand + found.by_bulk:
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
            ("are there that nobody asked for", _nobodys(rows, known, unknown)),
            ("never ended", {i for i, row in rows.items() if row["status"] not in _FINAL}),
            ("were decided under a claim that was not current", {i for i, row in rows.items() if row["token_wrong"]}),
            ("are completed and never ran", {i for i, r in rows.items() if r["status"] == "completed" and not ran[i]}),
            (
                "failed that should have completed",
                {
                    i
                    for i, row in rows.items()
                    if row["status"] == "failed" and (i % 29 or row["processor"] == PARENT) and row["crashes"] < 3
                },
            ),
        )
        if ids
    ]


def _nobodys(rows: dict[int, Any], known: set[int], unknown: set[str]) -> set[int]:
    """Neither a producer, nor a parent, nor the schedule has asked for these."""
    return {
        id_
        for id_ in rows.keys() - known
        if rows[id_]["related"] not in unknown and rows[id_]["parent_id"] not in rows and not rows[id_]["scheduled"]
    }


async def _composed(connection: Connection, found: Verdict) -> None:
    """Families, slots, bulk verbs: what they made or changed, once each."""
    families = await connection.fetch(_sql["torture_families"], timeout=120)
    found.families = sum(row["children"] == CHILDREN for row in families)
    slots = await connection.fetchrow(_sql["torture_slots"], timeout=120)
    assert slots is not None
    found.slots = slots["fired"]
    bulks = await connection.fetch(_sql["torture_bulks"], timeout=120)
    found.by_bulk = sum(row["acts"] for row in bulks)
    for wrong, what in (
        ([r["id"] for r in families if r["children"] not in (0, CHILDREN)], "parents made their children not once"),
        (
            [r["id"] for r in families if r["status"] == "completed" and r["children"] != CHILDREN],
            "parents completed without children",
        ),
        ([r["id"] for r in families if r["early"]], "parents ran again before their children had ended"),
        ([r["id"] for r in bulks if r["acts"] != r["actions"]], "bulk verbs acted twice on an action"),
        ([r["id"] for r in bulks if r["acts"] != r["changed"]], "bulk verbs count what they did not do"),
        ([r["id"] for r in bulks if r["status"] != "completed"], "bulk verbs did not complete"),
    ):
        if wrong:
            found.complaints.append(f"{len(wrong)} {what}, for example {wrong[:3]}")
    if not slots["fired"] == slots["inserted"] == slots["slots"] == slots["grid"]:
        found.complaints.append(
            f"of {slots['grid']} slots {slots['fired']} fired: {slots['inserted']} actions for {slots['slots']};"
            f" {slots['missed']} missed, for example {slots['lost']}"
        )


def _expected(id_: int, processor: str) -> int:
    """How often an action runs when nothing goes wrong: see effects._mark."""
    if processor == PARENT:
        return 2
    if id_ % 29 == 0:
        return 1
    return 1 + (id_ % 13 == 0) + (id_ % 11 == 0 and id_ % 13 != 0)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
