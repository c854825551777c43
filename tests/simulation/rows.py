"""What the store in memory is made of: rows, runs, answers; and what a person's verb does to a row."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

TAKES = {"cancel": "pending running held failed", "hold": "pending running", "release": "held canceled"}
TAKES |= {"retry": "held failed canceled", "run_now": "pending held failed canceled"}
QUARANTINED = "quarantined: daemon died"


class Record(tuple):  # noqa: SLOT001 - a tuple cannot have slots of its own
    """A row of an answer, as asyncpg gives it: by name, by place, in order."""

    columns: dict[str, Any]

    def __new__(cls, **columns: Any) -> Record:
        record = super().__new__(cls, columns.values())
        record.columns = columns
        return record

    def keys(self) -> Any:
        return self.columns.keys()

    def __getitem__(self, key: Any) -> Any:
        return self.columns[key] if isinstance(key, str) else super().__getitem__(key)


@dataclass
class Row:
    """Of actiond.action. Times are microseconds."""

    id: int
    processor: str
    due: int
    data: str = "{}"
    priority: int = 2
    status: str = "pending"
    claimed_by: int = 0
    run_id: int = 0
    attempts: int = 0
    crashes: int = 0
    retries_left: int | None = None
    error: str | None = None
    result: str | None = None
    state: str | None = None
    started: int = 0
    finished: int | None = None

    @property
    def waits(self) -> bool:
        return self.status == "pending" and self.claimed_by == 0

    def held_by(self, daemon: int, run_id: int) -> bool:
        return self.status == "pending" and (self.claimed_by, self.run_id) == (daemon, run_id)

    def claimed(self) -> dict[str, Any]:
        """The columns of a claimed row, in their order."""
        mine = {
            name: getattr(self, name) for name in ("data", "state", "retries_left", "attempts", "crashes", "priority")
        }
        waited = {"due_s": self.due / 1e6, "waited_s": (self.started - self.due) / 1e6}
        return {"id": self.id, "related": None, **mine, **waited, "repeats": False, "trace": None, "created_by": "sim"}


@dataclass
class Run:
    id: int
    processor: str
    daemon: int
    actions: list[int]
    finished: bool = False
    counts: dict[str, int] = field(default_factory=dict)  # kind of outcome, returned, fenced -> rows

    def count(self, what: str, rows: int = 1) -> None:
        """What has ended counts no more."""
        if not self.finished:
            self.counts[what] = self.counts.get(what, 0) + rows


def act(verb: str, row: Row, now: int, fence: int) -> tuple[Row, str | None] | None:
    """What a verb makes of a row, and the event for history; None: it does not take it."""
    if ("running" if row.claimed_by else row.status) not in TAKES[verb].split():
        return None
    after = replace(row, status={"cancel": "canceled", "hold": "held"}.get(verb, "pending"))
    if verb in ("retry", "run_now"):
        after.due = now if verb == "retry" else min(row.due, now)
    after.priority, after.error = 0 if verb == "run_now" else row.priority, None if verb == "retry" else row.error
    if after.status == row.status:
        return after, "rescheduled" if (row.priority, row.due) != (after.priority, after.due) else None
    after.claimed_by, after.run_id, after.finished = 0, fence, now if verb == "cancel" else None
    return after, "released" if after.status == "pending" else after.status


def land(row: Row, kind: str, now: int, *columns: Any) -> None:
    """What an outcome makes of its row; the columns are those of sql/step.sql, from the errors on."""
    error, delay_s, retries_left, result, state, *_ = columns
    row.status, row.claimed_by = "pending" if kind in ("retried", "deferred") else kind, 0
    row.error = row.error if kind == "deferred" else error
    row.retries_left = row.retries_left if retries_left is None else retries_left
    row.result, row.state = result or row.result, state or row.state
    row.finished = None if row.status == "pending" else now
    row.crashes = 0 if kind == "deferred" else row.crashes
    row.due = now + round(delay_s * 1e6) if row.status == "pending" else row.due
