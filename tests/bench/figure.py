"""One figure: what was measured, what it should be, PASS or FAIL.

The targets stand here and nowhere else. A figure without a target is there to be looked at, or because
another one is a ratio to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """A bound and which side of it is good."""

    bound: float
    at_least: bool

    def met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {_number(self.bound)}"


def at_least(bound: float) -> Target:
    return Target(bound, at_least=True)


def at_most(bound: float) -> Target:
    return Target(bound, at_least=False)


#: name -> (unit, target), in the order of the table.
FIGURES: dict[str, tuple[str, Target | None]] = {
    "bare_loop": ("rows/s", None),
    "bare_loop_waiting": ("% of its time", None),
    "drain_one_process": ("of bare loop", at_least(0.9)),
    "drain_two_processes": ("of bare loop", at_least(1.15)),
    "drain_default_policy": ("of bare loop", at_least(0.5)),
    "drain_one_at_a_time": ("rows/s", at_least(15_000)),
    "hot_share_of_claims": ("", at_least(0.95)),
    "wal_per_action": ("bytes", at_most(750)),
    "wal_per_insert": ("bytes", None),
    "latency_p50": ("ms", at_most(2.0)),
    "latency_p99": ("ms", at_most(5.0)),
    "inserts_no_trigger": ("rows/s", None),
    "inserts_busy": ("of no trigger", at_least(0.75)),
    "inserts_idle": ("of no trigger", None),
    "idle_queries": ("per s", at_most(2.0)),
    "idle_cpu": ("% of a core", at_most(1.0)),
    "memory_million_waiting": ("MB resident", at_most(90)),
    # tests/bench/seeing.py, with millions of rows
    "folding": ("runs/s", at_least(5_000)),  # more than daemons can end
    **dict.fromkeys(
        (
            *("view_action_list", "view_recent_actions", "view_pending_actions", "view_running_actions"),
            *("view_failed_actions", "view_held_actions", "view_related", "view_orphans", "view_recent_failures"),
            *("view_stuck", "view_stats_processor", "view_stats_errors", "view_stats_retries", "view_throughput"),
        ),
        ("ms", at_most(100)),
    ),
    "command_help": ("ms", None),
    **dict.fromkeys(
        (
            *("command_status", "command_top_once", "command_ls", "command_ls_failed", "command_ls_held"),
            *("command_ls_running", "command_ls_rare", "command_ls_since", "command_ls_error", "command_failures"),
            *("command_failures_error", "command_errors", "command_stuck", "command_stats", "command_stats_hours"),
            *("command_stats_retries", "command_history", "command_history_one", "command_show"),
            *("command_explain", "command_explain_later", "command_doctor"),
        ),
        ("ms", at_most(1000)),
    ),
    # tests/bench/plans.py, with a million rows
    "bare_insert_select": ("rows/s", None),
    "plan_preview": ("s", None),
    "plan_inserts": ("of bare INSERT ... SELECT", at_least(0.6)),
    "plan_memory": ("MB resident", at_most(120)),
    "plan_killed": ("rows", None),
    # tests/bench/killed.py
    "killed_walk": ("s", None),
    "killed_family": ("s", None),
    # tests/bench/patience.py
    "dead_rows_p99": ("ms from INSERT to handler", at_most(50)),
    "away_cpu": ("% of a core", at_most(2)),
    "away_lines": ("lines of log", at_most(20)),
    "away_memory": ("MB more", at_most(1)),
    "away_back": ("s", at_most(2)),
    # tests/bench/soak.py: growth from the median of the first half to that of the second
    "soak_lost": ("rows", at_most(0)),
    "soak_memory_slope": ("MB an hour", at_most(1)),
    "soak_files": ("more", at_most(0)),
    "soak_threads": ("more", at_most(0)),
    "soak_tasks": ("more", at_most(0)),
    "soak_dead_tuples": ("times", at_most(1.5)),
    "soak_queue_mb": ("times", at_most(1.5)),
    "soak_latency_p50_ms": ("times", at_most(1.5)),
    "soak_latency_p99_ms": ("times", at_most(2)),
    # tests/bench/chaos.py: what each measures is told beside its scenario
    **dict.fromkeys(("chaos_idle_in_tx", "chaos_active_readers", "chaos_clock_skew"), ("s", at_most(3))),
    "chaos_sustained_high_load": ("s", at_most(10)),
    "chaos_event_burst": ("s", at_most(10)),
    "chaos_crash_recovery": ("s", at_most(6)),
    "chaos_repeated_kills": ("s", at_most(6)),
    "chaos_pg_backend_kill": ("s", at_most(5)),
    "chaos_postgres_restart": ("s", at_most(2)),
    "chaos_pool_exhaustion": ("s", at_most(10)),
    "chaos_pooler": ("s", at_most(5)),
    "chaos_half_open": ("s", at_most(15)),
    "chaos_cut_off": ("s", at_most(35)),
    "chaos_frozen": ("s", at_most(35)),
    "chaos_blocked_loop": ("s", at_most(3)),
    "chaos_sigterm": ("s", at_most(2)),
    "chaos_score": ("% of the scenarios", at_least(100)),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """`detail` is for the reader: what the value was made of."""

    name: str
    value: float
    detail: str = ""

    @property
    def unit(self) -> str:
        return FIGURES[self.name][0]

    @property
    def target(self) -> Target | None:
        return FIGURES[self.name][1]

    @property
    def passed(self) -> bool | None:
        """None: there is no target."""
        return None if self.target is None else self.target.met(self.value)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "value": round(self.value, 3),
            "unit": self.unit,
            "target": str(self.target) if self.target else None,
            "pass": self.passed,
            "detail": self.detail,
        }

    def cells(self) -> tuple[str, ...]:
        verdict = {None: "", True: "PASS", False: "FAIL"}[self.passed]
        target = str(self.target) if self.target else ""
        return (self.name, f"{_number(self.value)} {self.unit}".strip(), target, verdict, self.detail)


def table(figures: Sequence[Figure]) -> str:
    """In the order of FIGURES, in columns."""
    order = list(FIGURES)
    rows = [("figure", "value", "target", "", "")]
    rows += [figure.cells() for figure in sorted(figures, key=lambda figure: order.index(figure.name))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}".rstrip("0").rstrip(".")
