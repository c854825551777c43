"""What happened to each row, noted beside the store; and what must be true of it.

while it runs   a claim is run once; an outcome lands under the run that its handler was given; what was given back
                had not begun; rows that daemons died on run one at a time on a daemon; no call outlives its timeout
at the end      every row has ended, once more only after a person reopened it; attempts are claims that were not
                given back; every run is closed and adds up
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from simulation.process import Process
from simulation.rows import Row
from simulation.server import Server

AT_ONCE_S = 0.05
FINAL = ("completed", "failed", "canceled")


class Red(Exception):
    """An invariant does not hold."""


class Ledger:
    """Of one world. `timeout_s`: of every call."""

    def __init__(self, server: Server, timeout_s: float, poisoned: Callable[[Process], None]) -> None:
        self.poisoned = poisoned
        self.broken: list[str] = []
        self.hits: Counter[str] = Counter()  # what this world has seen, so that quiet worlds are noticed
        self._server = server
        self._timeout_s = timeout_s
        self._claims: Counter[int] = Counter()
        self._ends: Counter[int] = Counter()
        self._begun: set[tuple[int, int]] = set()  # action, run
        self._suspects: dict[Process, Counter[int]] = {}  # runs of suspects that run, by process
        server.store.tell = self._told

    def red(self, what: str) -> None:
        self._server.note("ledger", "RED", what=what)
        self.broken.append(what)

    @contextmanager
    def running(self, process: Process, actions: Iterable[Any]) -> Iterator[None]:
        """Around the work of a handler."""
        began_s, held_s = self._server.loop.now_s, process.held_s
        run_id = next(iter(actions)).run_id
        for action in actions:
            if (action.id, run_id) in self._begun:
                self.red(f"action {action.id} began twice in run {run_id}")
            self._begun.add((action.id, run_id))
        suspect = any(action.row.crashes for action in actions)
        running = self._suspects.setdefault(process, Counter())
        running[run_id] += suspect
        if len(+running) > 1:
            self.red(f"{process.name} runs suspects of the runs {sorted(+running)} at once")
        process.note("begins", run=run_id, ids=[action.id for action in actions])
        try:
            yield
        finally:
            running[run_id] -= suspect
            took_s = self._server.loop.now_s - began_s - (process.held_s - held_s)
            if took_s > self._timeout_s + AT_ONCE_S and not process.dead:
                self.red(f"run {run_id} was not stopped in time: {took_s:.1f} s")

    def _told(self, what: str, row: Row, run_id: int, kind: str = "", result: str | None = None) -> None:
        self.hits[what] += 1
        self._server.note("row", what, id=row.id, run=run_id, **({"kind": kind} if kind else {}))
        if what == "claimed":
            self._claims[row.id] += 1
        elif what == "returned":
            self._claims[row.id] -= 1
            if (row.id, run_id) in self._begun:
                self.red(f"action {row.id} was given back uncharged, but had begun in run {run_id}")
        elif what == "landed":
            if result is not None and json.loads(result)["run"] != run_id:
                self.red(f"action {row.id}: run {run_id} wrote what was decided in another run: {result}")
            if kind in ("completed", "deferred") and (row.id, run_id) not in self._begun:
                self.red(f"action {row.id} is {kind} by run {run_id}, which never began it")
            self._ends[row.id] += kind in FINAL
        elif what == "rescued":
            self._ends[row.id] += row.status == "failed"
        elif what == "cancel":
            self._ends[row.id] = 1  # also of what has failed: that is no new end
        else:
            self._ends[row.id] = 0  # held, or goes on

    def settled(self) -> bool:
        """Nothing is left to do."""
        return all(row.status in FINAL or row.status == "held" for row in self._server.store.rows.values())

    def add_up(self) -> None:
        """At the end, once every daemon has stopped."""
        for row in self._server.store.rows.values():
            if row.status in FINAL and self._ends[row.id] != 1:
                self.red(f"action {row.id} has ended {self._ends[row.id]} times")
            if row.claimed_by:
                self.red(f"action {row.id} is still claimed, by daemon {row.claimed_by}")
            if row.attempts != self._claims[row.id]:
                self.red(f"action {row.id}: {row.attempts} attempts, {self._claims[row.id]} claims")
        for run in self._server.store.runs.values():
            if not run.finished:
                self.red(f"run {run.id} was never closed")
            left = len(run.actions) - sum(run.counts.values())  # of a rescued run, what a person took away
            if left < 0 or (left and "fenced" in run.counts) or run.counts.get("fenced", 0) < 0:
                self.red(f"run {run.id} of {len(run.actions)} rows does not add up: {run.counts}")
