"""The tables in memory: each statement of sql/ that a daemon sends about rows is a method of that name.

For timing and faults only: one statement at a time, no families, repeats, rates, breakers. test_store.py compares.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from itertools import count
from typing import Any

import asyncpg

from simulation.rows import QUARANTINED, Record, Row, Run, act, land


class Store:
    """`refuses(row, kind)`: somebody's trigger says no. `tell(what, row, run id, ...)` hears what happens to a row."""

    def __init__(self, now: Callable[[], int]) -> None:
        self.now = now
        self.rows: dict[int, Row] = {}
        self.runs: dict[int, Run] = {}
        self.history: list[tuple[int, str, int | None]] = []  # action, event, attempt
        self.refuses: Callable[[Row, str], bool] = lambda row, kind: False
        self.tell: Callable[..., None] = lambda what, row, run_id, **more: None
        self._ids, self._run_ids = count(1), count(1)

    def insert(self, processor: str, due: int, **columns: Any) -> Row:
        row = Row(next(self._ids), processor, due, **columns)
        self.rows[row.id] = row
        return row

    def act(self, verb: str, ids: Any) -> list[tuple[Row, Row]]:
        """What a person does; gives the rows that changed, before and after."""
        changed = []
        for before in [self.rows[i] for i in sorted(ids) if i in self.rows]:
            if (acted := act(verb, before, self.now(), next(self._run_ids))) is not None:
                after, event = acted
                self.rows[after.id] = after
                self.history += [(after.id, event, after.attempts)] if event else []
                self.tell(verb, after, before.run_id)
                changed.append((before, after))
        return changed

    def draw_run_ids(self, many: int) -> list[dict[str, int]]:
        return [{"id": next(self._run_ids)} for _ in range(many)]

    def step(self, daemon: int, ids: Any, run_ids: Any, kinds: Any, *more: Any) -> list[Record]:
        *said, over, _, _, processor, limit, levels, times, marks, run_id, due_at, suspects = more
        kinds = [*kinds, *["completed"] * (len(ids) - len(kinds))]
        said = [[*column, *[None] * (len(ids) - len(column))] for column in said]
        since = {level: (_micros(at), mark) for level, at, mark in zip(levels, times, marks, strict=True)}
        claimed = self._next(processor, limit, since, _micros(due_at) if due_at else self.now(), suspects)
        outcomes = sorted(zip(ids, run_ids, kinds, zip(*said, strict=True), strict=True), key=lambda each: each[:2])
        landing = [(self.rows[i], *what) for i, run, *what in outcomes if self._held(daemon, run, [i])]
        if any(self.refuses(row, kind) for row, kind, _ in landing):
            raise asyncpg.RaiseError("a trigger refuses this outcome")
        if claimed and run_id in self.runs:
            raise asyncpg.UniqueViolationError("run_pkey")
        for row, kind, columns in landing:
            self.tell("landed", row, row.run_id, kind=kind, result=columns[3])
            self.runs[row.run_id].count(kind)
            self.history += [(row.id, kind, row.attempts)] if columns[5] else []
            land(row, kind, self.now(), *columns)
        for run in [self.runs[i] for i in over if i in self.runs]:
            if run.daemon == daemon:
                run.count("fenced", len(run.actions) - sum(run.counts.values()))
                run.finished = True
        for row in claimed:
            row.claimed_by, row.run_id, row.attempts, row.started = daemon, run_id, row.attempts + 1, self.now()
            self.tell("claimed", row, run_id)
        if claimed:
            self.runs[run_id] = Run(run_id, processor, daemon, [row.id for row in claimed])
        written = None if len(landing) == len(ids) else [row.id for row, *_ in landing]
        return [Record(**row.claimed(), written=written) for row in claimed] or [Record(id=None, written=written)]

    def _next(self, processor: str, limit: int, since: Any, due_by: int, suspects: bool) -> list[Row]:
        waiting = [r for r in self._waiting(processor) if r.due <= due_by and (suspects or not r.crashes)]
        seen = [r for r in waiting if r.priority in since and (r.due, r.id) >= since[r.priority]][:limit]
        if not seen or not seen[0].crashes:
            return [row for row in seen if not row.crashes]
        alike = [row for row in seen if row is seen[0] or seen[0].crashes == row.crashes == 1]
        return alike[: math.ceil(math.sqrt(limit))]

    def _waiting(self, processor: str) -> list[Row]:
        mine = [row for row in self.rows.values() if row.processor == processor and row.waits]
        return sorted(mine, key=lambda row: (row.priority, row.due, row.id))

    def _held(self, daemon: int, run_id: int, ids: Any) -> list[Row]:
        return [self.rows[i] for i in sorted(ids) if i in self.rows and self.rows[i].held_by(daemon, run_id)]

    def give_back(self, daemon: int, run_id: int, ids: Any) -> list[Record]:
        freed = self._held(daemon, run_id, ids)
        for row in freed:
            row.claimed_by, row.run_id, row.attempts = 0, next(self._run_ids), row.attempts - 1
            self.tell("returned", row, run_id)
        if freed:
            self.runs[run_id].count("returned", len(freed))
        return [Record(id=row.id) for row in freed]

    def rescue(self, daemon: int, run_id: int, blame_suspects: bool, allowed: int) -> list[Record]:
        run = self.runs[run_id]
        freed = [] if run.finished or run.daemon != daemon else self._held(daemon, run_id, run.actions)
        for row in freed:
            row.claimed_by, row.run_id = 0, next(self._run_ids)
            row.crashes += row.crashes > 0 or not blame_suspects
            if row.crashes >= allowed:
                row.status, row.error, row.finished = "failed", QUARANTINED, self.now()
            self.history.append((row.id, "crashed" if row.waits else "failed", row.attempts))
            self.tell("rescued", row, run_id)
        run.count("returned", len(freed))
        run.finished = run.finished or run.daemon == daemon
        return [Record(id=row.id, status=row.status, crashes=row.crashes) for row in freed]

    def void_run(self, run_id: int, daemon: int) -> list[Record]:
        if run_id in self.runs:
            raise asyncpg.UniqueViolationError("run_pkey")
        self.runs[run_id] = Run(run_id, "(void)", daemon, [], finished=True)
        return []

    def adopt_run(self, run_id: int, daemon: int) -> list[Record]:
        run = self.runs[run_id]
        held = sorted(self._held(daemon, run_id, run.actions), key=lambda row: run.actions.index(row.id))
        return [Record(**row.claimed()) for row in held]

    def note_fenced(self, ids: Any, run_ids: Any, *_: Any) -> list[Record]:
        late = [i for i, run in zip(ids, run_ids, strict=True) if self.rows[i].run_id != run or self.rows[i].claimed_by]
        self.history += [(i, "fenced", None) for i in late]
        return [Record(id=i) for i in late]

    def withdrawn(self, daemon: int, run_ids: Any) -> list[Record]:
        runs = [self.runs[i] for i in run_ids if i in self.runs and self.runs[i].daemon == daemon]
        return [Record(run_id=r.id, id=i) for r in runs for i in r.actions if self.rows[i].run_id != r.id]

    def next_due(self, processor: str) -> list[Record]:
        ahead_s = [(row.due - self.now()) / 1e6 for row in self._waiting(processor)]
        return [Record(due_in_s=min((s if s > 0 else 0.01 for s in ahead_s if s > -1), default=None))]

    def open_runs(self, daemon: int, limit: int) -> list[Record]:
        mine = [run for run in self.runs.values() if run.daemon == daemon and not run.finished]
        suspects = {run.id: any(row.crashes for row in self._held(daemon, run.id, run.actions)) for run in mine}
        last = sorted(mine, key=lambda run: (suspects[run.id], run.id))[:limit]
        return [Record(run_id=r.id, processor=r.processor, suspects=any(suspects.values())) for r in last]


def _micros(at: datetime) -> int:
    return round(at.timestamp() * 1e6)
