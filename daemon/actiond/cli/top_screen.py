"""What `actiond top` shows and what its keys do: no terminal and no database here.

A key changes the view; a frame is made of the view, the last look at the database, and the size of the screen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from actiond.cli.looking import nothing_to_show
from actiond.cli.output import cell
from actiond.cli.say import printable
from actiond.postgres.figures import Rows
from actiond.postgres.read import Status, counted, held_back, worth_a_line
from actiond.words.duration import in_words

KEYS = "q quit   s sort   ↑ ↓ select   enter its failures"
KEYS_INSIDE = "q quit   ↑ ↓ another processor   esc back"
_AROUND = 8  # lines of a frame that are no processor
_PROBLEMS = 5

_Row = dict[str, Any]


def _failing(each: _Row) -> float:
    return float(each["failed_5min"] + each["retried_5min"]) / 5


#: How the processors can be sorted: by -> the most of it first. (By name: as they come.)
SORTS: dict[str, Callable[[_Row], float]] = {
    "processor": lambda each: 0.0,
    "due": lambda each: each["due"],
    "oldest": lambda each: each["oldest_due_s"] or 0.0,
    "running": lambda each: each["running"],
    "done/min": lambda each: each["completed_5min"],
    "failing/min": _failing,
    "failed": lambda each: each["failed"],
}


@dataclass(slots=True)
class View:
    """What the person at the keys has chosen."""

    sort: str = "processor"
    everything: bool = False  # also those of actiond itself that have nothing to do
    selected: str | None = None  # a processor
    moved: bool = False  # chosen by a key: the selection stays with it; else it is always the first line
    inside: bool = False  # its failures are shown
    quit: bool = False
    shown: list[str] = field(default_factory=list)  # processors, in the order of the last frame

    def order(self, processors: list[_Row]) -> list[_Row]:
        """Sorted, and the selection kept on what is still there."""
        shown = worth_a_line(processors, everything=self.everything)
        ordered = sorted(shown, key=lambda each: (-SORTS[self.sort](each), each["processor"]))
        self.shown = [each["processor"] for each in ordered]
        if self.selected not in self.shown or not self.moved:
            self.selected = self.shown[0] if self.shown else None
        return ordered

    def press(self, key: str) -> None:
        """One key; those that mean nothing here do nothing."""
        match key:
            case "q":
                self.quit = True
            case "s":
                sorts = list(SORTS)
                self.sort = sorts[(sorts.index(self.sort) + 1) % len(sorts)]
            case "down" | "j":
                self._move(1)
            case "up" | "k":
                self._move(-1)
            case "enter":
                self.inside = not self.inside and self.selected is not None
                self.moved = True
            case "escape":
                self.inside = False

    def _move(self, by: int) -> None:
        if self.selected in self.shown:
            place = self.shown.index(self.selected) + by
            self.selected = self.shown[min(max(place, 0), len(self.shown) - 1)]
            self.moved = True


def frame(view: View, status: Status, failures: Rows, height: int) -> RenderableType:
    """The whole screen, in so many lines."""
    ordered = view.order(status.processors)
    problems = [Text(f"! {printable(problem)}", "yellow", no_wrap=True) for problem in status.problems[:_PROBLEMS]]
    if len(status.problems) > _PROBLEMS:
        problems.append(Text(f"  and {len(status.problems) - _PROBLEMS} more: actiond status", "yellow"))
    below = problems or [Text("no problems", "green")]
    room = max(height - _AROUND - len(below), 3)
    if view.inside:
        body: RenderableType = _failures(view.selected, failures, room)
    elif ordered:
        body = _processors(view, ordered, room)
    else:
        body = Text(nothing_to_show(status.processors))
    keys = KEYS_INSIDE if view.inside else f"{KEYS}   (by {view.sort})"
    return Group(_head(status), "", body, "", *below, "", Text(keys, "dim", no_wrap=True))


def _head(status: Status) -> Text:
    alive = sum(daemon["alive"] for daemon in status.daemons)
    each = status.processors
    words = [
        f"{alive} daemon{'' if alive == 1 else 's'}",
        f"{counted(sum(row['due'] for row in each))} due",
        f"{sum(row['running'] for row in each):,} running",
        f"{sum(row['completed_5min'] for row in each) / 5:,.1f} done/min",
        f"{sum(map(_failing, each)):,.1f} failing/min",
    ]
    return Text("actiond   ", "bold", no_wrap=True).append("   ".join(words), "not bold")


def _processors(view: View, ordered: list[_Row], room: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = ("processor", "due", "oldest", "scheduled", "running", "done/min", "failing/min", "failed", "daemons")
    for name in columns:
        title = f"{name} ▼" if name == view.sort != "processor" else name
        table.add_column(title, justify="left" if name == "processor" else "right", no_wrap=True)
    at = view.shown.index(view.selected) if view.selected in view.shown else 0
    first = min(max(0, at - room // 2), max(0, len(ordered) - room))
    for each in ordered[first : first + room]:
        values = (
            printable(each["processor"] + held_back(each)),
            counted(each["due"]),
            "" if each["oldest_due_s"] is None else in_words(each["oldest_due_s"]),
            counted(each["scheduled"]),
            f"{each['running']:,}",
            f"{each['completed_5min'] / 5:,.1f}",
            f"{_failing(each):,.1f}",
            counted(each["failed"]),
            f"{each['live_daemons']}",
        )
        style = "reverse" if each["processor"] == view.selected else _style(each)
        table.add_row(*map(Text, values), style=style)
    return table


def _style(each: _Row) -> str:
    waiting = each["due"] or each["scheduled"]
    goes_on = each["live_daemons"] and each["enabled"] and each["flag_on"] and each["breaker"] in (None, "closed")
    if waiting and not goes_on:
        return "yellow"
    return "red" if each["failed_5min"] else ""


def _failures(processor: str | None, failures: Rows, room: int) -> RenderableType:
    title = Text(f"failures of {printable(processor or '')}, the latest first", "bold")
    if not failures:
        return Group(title, Text("none in the last 7 days"))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("action", "failed", "attempts", "error"):
        table.add_column(name, no_wrap=True, overflow="ellipsis", justify="right" if name == "attempts" else "left")
    for row in failures[: max(room - 1, 1)]:
        error = cell((row["error"] or "").split("\n")[0])
        table.add_row(row["ref"], cell(row["finished_at"]), f"{row['attempts']}", Text(error))
    return Group(title, table)
